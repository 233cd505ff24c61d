//! Building images without a daemon and without a registry.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache;
use crate::process::Tool;

/// What goes into one image.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    /// The full name with its tag.
    pub(crate) reference: &'a str,
    pub(crate) dockerfile: &'a Path,
    pub(crate) context: &'a Path,
    /// Takes the place of the Dockerfile's stage `build`: a folder with `out/` in it.
    pub(crate) build_stage: Option<&'a Path>,
    pub(crate) arguments: &'a [(&'a str, &'a str)],
}

impl Image<'_> {
    /// Builds the image and writes it to an archive that containerd and `kind` can load.
    pub(crate) fn archive(&self, path: &Path) -> Result<()> {
        self.build()?;
        let partial = path.with_extension("partial");
        let _ = fs::remove_file(&partial);
        buildah()?
            .args(["push", "--quiet", self.reference])
            .arg(format!("docker-archive:{}:{}", partial.display(), self.reference))
            .quiet()?;
        fs::rename(&partial, path).with_context(|| format!("moving {} into place", path.display()))?;
        // The archive is what is kept; the store would only grow.
        buildah()?.args(["rmi", "--force", self.reference]).quiet()
    }

    /// Builds the image and uploads it to the registry in its name.
    pub(crate) fn push(&self) -> Result<()> {
        self.build()?;
        buildah()?.args(["push", self.reference]).run()
    }

    fn build(&self) -> Result<()> {
        let mut command =
            buildah()?.args(["build", "--quiet", "--tag", self.reference, "--file"]).arg(self.dockerfile);
        if let Some(folder) = self.build_stage {
            command = command.arg("--build-context").arg(format!("build={}", folder.display()));
        }
        for (name, value) in self.arguments {
            command = command.arg("--build-arg").arg(format!("{name}={value}"));
        }
        command.arg(self.context).quiet().with_context(|| format!("building the image {}", self.reference))
    }
}

/// A store of its own, so that the images of a user are left alone.
fn buildah() -> Result<Tool> {
    let store = cache::cache()?.join("buildah");
    let driver = std::env::var("STORAGE_DRIVER").unwrap_or_else(|_| "overlay".to_owned());
    Ok(Tool::new("buildah")
        .arg("--root")
        .arg(store.join("storage"))
        .arg("--runroot")
        .arg(store.join("run"))
        .args(["--storage-driver", &driver]))
}

/// Where archives of images are kept.
pub(crate) fn archives() -> Result<PathBuf> {
    let folder = cache::cache()?.join("images");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}
