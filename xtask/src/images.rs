//! The images of the operator and the services.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use crate::buildah::{self, Image};
use crate::cache::{self, Key};
use crate::cargo;
use crate::cluster::containerd;
use crate::cluster::state::Paths;
use crate::packages;
use crate::process::Tool;
use crate::step;
use crate::target::Delivery;
use crate::versions::REGISTRY;

/// What an image is made of. A service more is an entry more.
struct Component {
    /// Its folder, with the Dockerfile in it.
    folder: &'static str,
    binary: &'static str,
    image: &'static str,
    /// Where its reference belongs in the chart's values.
    value: &'static str,
}

const COMPONENTS: &[Component] = &[
    Component {
        folder: "operator",
        binary: "ai-saas-platform-operator",
        image: "ai-saas-platform-operator",
        value: "operator.image",
    },
    Component {
        folder: "services/analysis-base",
        binary: "analysis-base",
        image: "ai-saas-platform-analysis-base",
        value: "images.analysisBase",
    },
    Component {
        folder: "services/monolith",
        binary: "monolith",
        image: "ai-saas-platform",
        value: "images.monolith",
    },
];

/// An image that the cluster can start.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) value: &'static str,
    pub(crate) repository: String,
    /// Taken from the content, so that other content rolls the Deployment.
    pub(crate) tag: String,
}

/// Builds every image whose content changed and takes it to the cluster.
pub(crate) fn deliver(delivery: &Delivery) -> Result<Vec<Reference>> {
    packages::ensure(packages::IMAGES)?;
    step::detail("compiling the binaries");
    cargo::build()?;
    COMPONENTS.iter().map(|component| component.deliver(delivery)).collect()
}

impl Component {
    fn deliver(&self, delivery: &Delivery) -> Result<Reference> {
        let root = cache::repository()?;
        let dockerfile = root.join(self.folder).join("Dockerfile");
        let binary = cargo::binaries()?.join(self.binary);
        let tag = Key::default().file(&binary)?.file(&dockerfile)?.short();
        let registry = match delivery {
            Delivery::Push { registry } => registry.as_str(),
            Delivery::Node | Delivery::Kind { .. } => REGISTRY,
        };
        let repository = format!("{registry}/{}", self.image);
        let reference = format!("{repository}:{tag}");

        let stage = cache::cache()?.join("images").join(format!(".{}.stage", self.image));
        let _ = fs::remove_dir_all(&stage);
        let out = stage.join("out");
        fs::create_dir_all(&out).with_context(|| format!("creating {}", out.display()))?;
        fs::copy(&binary, out.join(self.binary)).with_context(|| format!("copying {}", binary.display()))?;
        let revision =
            Tool::new("git").args(["rev-parse", "HEAD"]).directory(&root).output().unwrap_or_default();
        let created = created();
        let image = Image {
            reference: &reference,
            dockerfile: &dockerfile,
            // The stage `build`, the only one that reads the checkout, is replaced.
            context: &stage,
            build_stage: Some(&stage),
            arguments: &[("VERSION", &tag), ("REVISION", revision.trim()), ("CREATED", &created)],
        };
        match delivery {
            Delivery::Push { .. } => {
                step::detail(&format!("pushing {reference}"));
                image.push()?;
            }
            Delivery::Node => {
                let paths = Paths::new()?;
                if containerd::has(&paths, &reference) {
                    step::detail(&format!("{reference} is on the node"));
                } else {
                    step::detail(&format!("putting {reference} onto the node"));
                    containerd::import(&paths, &self.archive(&image, &tag)?)?;
                }
            }
            Delivery::Kind { cluster } => {
                step::detail(&format!("loading {reference} into kind's cluster {cluster}"));
                let archive = self.archive(&image, &tag)?;
                Tool::new("kind").args(["load", "image-archive", "--name", cluster]).arg(archive).quiet()?;
            }
        }
        fs::remove_dir_all(&stage).with_context(|| format!("removing {}", stage.display()))?;
        Ok(Reference { value: self.value, repository, tag })
    }

    /// Builds the archive if it is not in the cache, and removes those of older content.
    fn archive(&self, image: &Image<'_>, tag: &str) -> Result<PathBuf> {
        let folder = buildah::archives()?;
        let archive = folder.join(format!("{}-{tag}.tar", self.image));
        if !archive.is_file() {
            let prefix = format!("{}-", self.image);
            for entry in
                fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?.flatten()
            {
                if entry.file_name().to_string_lossy().starts_with(&prefix) {
                    let _ = fs::remove_file(entry.path());
                }
            }
            image.archive(&archive)?;
        }
        Ok(archive)
    }
}

/// Now, as the image specification wants it.
fn created() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// The Gregorian date of a number of days since 1970.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(59), (1970, 3, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(20_453), (2025, 12, 31));
    }

    #[test]
    fn every_component_has_a_name_of_its_own() {
        let mut images: Vec<_> = COMPONENTS.iter().map(|component| component.image).collect();
        images.sort_unstable();
        images.dedup();
        assert_eq!(images.len(), COMPONENTS.len());
    }
}
