//! Where the objects of the service are, as an analysis sees them.

use std::path::PathBuf;

use crds::analysis::{Source, UriSource};
use crds::reference::{ClaimPath, SecretReference};
use service_kit::objects::ObjectSettings;

/// What the place is called in the specification of an analysis.
const NAME: &str = "objects";

/// A folder or a bucket.
#[derive(Clone, Debug)]
pub enum Place {
    /// A folder on this machine.
    Folder(PathBuf),
    /// A prefix in an S3-compatible store.
    Bucket {
        /// `s3://BUCKET/PREFIX`
        url: String,
        /// Address of the store, if it is not Amazon's.
        endpoint: Option<String>,
        /// Region of the bucket.
        region: Option<String>,
        /// The folder with the credentials, a file for each key.
        credentials: PathBuf,
    },
}

impl From<&ObjectSettings> for Place {
    fn from(settings: &ObjectSettings) -> Self {
        match settings {
            ObjectSettings::Folder { path } => Self::Folder(path.clone()),
            ObjectSettings::S3 { url, endpoint, region, credentials_folder } => Self::Bucket {
                url: url.clone(),
                endpoint: endpoint.clone(),
                region: region.clone(),
                credentials: credentials_folder.clone(),
            },
        }
    }
}

impl Place {
    /// What it is called in the specification of an analysis: a claim or a Secret.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        NAME
    }

    /// What the analysis calls the object in what it says.
    #[must_use]
    pub fn address(&self, object: &str) -> String {
        match self {
            Self::Folder(_) => object.to_owned(),
            Self::Bucket { url, .. } => format!("{}/{object}", url.trim_end_matches('/')),
        }
    }

    /// Makes the object the data of the source.
    pub fn point(&self, source: &mut Source, object: &str) {
        let address = self.address(object);
        match self {
            Self::Folder(_) => {
                source.persistent_volume_claim =
                    Some(ClaimPath { claim_name: NAME.to_owned(), path: address });
            }
            Self::Bucket { endpoint, region, .. } => {
                source.uri = Some(UriSource {
                    url: address,
                    endpoint: endpoint.clone(),
                    region: region.clone(),
                    secret: Some(SecretReference { name: NAME.to_owned() }),
                });
            }
        }
    }
}
