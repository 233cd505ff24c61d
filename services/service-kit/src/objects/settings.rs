use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the objects of a service are, as its configuration says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ObjectSettings {
    /// A folder on a volume.
    Folder {
        /// The folder; it is made if it is not there.
        path: PathBuf,
    },
    /// A bucket in an S3-compatible store.
    S3 {
        /// `s3://BUCKET/PREFIX`
        url: String,
        /// The address of a store that is not Amazon's.
        endpoint: Option<String>,
        /// The region; `us-east-1` without it.
        region: Option<String>,
        /// A folder with the files `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`
        /// and perhaps `AWS_SESSION_TOKEN`.
        credentials_folder: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_those_of_the_configuration() {
        let folder: ObjectSettings =
            serde_json::from_str(r#"{"folder": {"path": "/data/objects"}}"#).unwrap();
        assert_eq!(folder, ObjectSettings::Folder { path: "/data/objects".into() });
        let text = r#"{"s3": {"url": "s3://bucket/prefix", "endpoint": null, "region": null,
            "credentialsFolder": "/var/run/secrets/aisaas/objects"}}"#;
        let expected = ObjectSettings::S3 {
            url: "s3://bucket/prefix".to_owned(),
            endpoint: None,
            region: None,
            credentials_folder: "/var/run/secrets/aisaas/objects".into(),
        };
        assert_eq!(serde_json::from_str::<ObjectSettings>(text).unwrap(), expected);
    }
}
