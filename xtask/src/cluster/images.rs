//! The images that the node itself runs on, each made of one static binary.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::containerd;
use super::state::{Paths, Record};
use crate::buildah::{self, Image};
use crate::cache::{self, Key};
use crate::go_modules::{self, Build};
use crate::process::Tool;
use crate::versions::{
    BUSYBOX_TAG, COREDNS_TAG, ETCD_TAG, KUBERNETES, LOCAL_PATH_TAG, METRICS_SERVER_TAG, NODE_REPOSITORY,
    PAUSE_TAG,
};

enum Content {
    /// At the path that kubeadm's manifests call.
    Command(&'static Build, &'static str),
    /// As the entrypoint.
    Entrypoint(&'static Build, &'static str),
    Pause,
    Busybox,
}

struct NodeImage {
    name: &'static str,
    tag: &'static str,
    content: Content,
}

const IMAGES: &[NodeImage] = &[
    NodeImage { name: "pause", tag: PAUSE_TAG, content: Content::Pause },
    NodeImage { name: "etcd", tag: ETCD_TAG, content: Content::Command(&go_modules::ETCD, "etcd") },
    kubernetes("kube-apiserver"),
    kubernetes("kube-controller-manager"),
    kubernetes("kube-scheduler"),
    NodeImage {
        name: "coredns",
        tag: COREDNS_TAG,
        content: Content::Entrypoint(&go_modules::COREDNS, "coredns"),
    },
    NodeImage { name: "busybox", tag: BUSYBOX_TAG, content: Content::Busybox },
    NodeImage {
        name: "local-path-provisioner",
        tag: LOCAL_PATH_TAG,
        content: Content::Entrypoint(&go_modules::LOCAL_PATH, "local-path-provisioner"),
    },
    NodeImage {
        name: "metrics-server",
        tag: METRICS_SERVER_TAG,
        content: Content::Entrypoint(&go_modules::METRICS_SERVER, "metrics-server"),
    },
];

const fn kubernetes(name: &'static str) -> NodeImage {
    NodeImage { name, tag: KUBERNETES, content: Content::Command(&go_modules::KUBERNETES, name) }
}

/// The full name of one of the node's images.
pub(crate) fn reference(name: &str) -> String {
    let tag = IMAGES.iter().find(|image| image.name == name).map_or("latest", |image| image.tag);
    format!("{NODE_REPOSITORY}/{name}:{tag}")
}

/// Builds the archives that are not in the cache.
pub(crate) fn build() -> Result<Vec<(String, PathBuf)>> {
    IMAGES
        .iter()
        .map(|image| {
            let archive = image.archive()?;
            Ok((reference(image.name), archive))
        })
        .collect()
}

/// Puts the images onto the node, those that it does not have yet.
pub(crate) fn import(paths: &Paths, record: &mut Record, archives: &[(String, PathBuf)]) -> Result<()> {
    for (reference, archive) in archives {
        let key = archive.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        if record.images.get(reference) == Some(&key) && containerd::has(paths, reference) {
            continue;
        }
        containerd::import(paths, archive)?;
        record.images.insert(reference.clone(), key);
        record.save(paths)?;
    }
    Ok(())
}

impl NodeImage {
    fn archive(&self) -> Result<PathBuf> {
        let sources = cache::repository()?.join("cluster/images");
        let (dockerfile, files): (_, Vec<(PathBuf, &str)>) = match &self.content {
            Content::Command(build, program) => ("Dockerfile", vec![(build.path(program)?, program)]),
            Content::Entrypoint(build, program) => {
                ("Dockerfile.entrypoint", vec![(build.path(program)?, "binary")])
            }
            Content::Pause => ("Dockerfile.pause", vec![(PathBuf::from("/usr/bin/catatonit"), "catatonit")]),
            Content::Busybox => ("Dockerfile.busybox", vec![(PathBuf::from("/bin/busybox"), "bin/busybox")]),
        };
        let dockerfile = sources.join(dockerfile);
        let mut key = Key::default().text(&reference(self.name)).file(&dockerfile)?;
        for (path, _) in &files {
            // The cache's paths name the version of what lies there; reading hundreds of megabytes says no more.
            key = match path.starts_with(cache::cache()?) {
                true => key.text(&path.to_string_lossy()),
                false => key.file(path)?,
            };
        }
        let archive = buildah::archives()?.join(format!("{}-{}.tar", self.name, key.short()));
        if archive.is_file() {
            return Ok(archive);
        }
        let context = cache::cache()?.join("images").join(format!(".{}.context", self.name));
        let _ = fs::remove_dir_all(&context);
        for (source, name) in &files {
            let destination = context.join(name);
            if let Some(folder) = destination.parent() {
                fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
            }
            fs::copy(source, &destination).with_context(|| format!("copying {}", source.display()))?;
        }
        if matches!(self.content, Content::Busybox) {
            link_applets(&context.join("bin"))?;
        }
        Image {
            reference: &reference(self.name),
            dockerfile: &dockerfile,
            context: &context,
            build_stage: None,
            arguments: &[("BINARY", self.name)],
        }
        .archive(&archive)?;
        fs::remove_dir_all(&context).with_context(|| format!("removing {}", context.display()))?;
        Ok(archive)
    }
}

fn link_applets(folder: &Path) -> Result<()> {
    let applets = Tool::new(folder.join("busybox")).arg("--list").output()?;
    for applet in applets.lines().filter(|applet| !applet.is_empty() && *applet != "busybox") {
        symlink("busybox", folder.join(applet)).with_context(|| format!("linking {applet}"))?;
    }
    Ok(())
}
