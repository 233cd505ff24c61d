//! Where a service keeps its data: from the specification to its claim, its
//! configuration and the Secrets that it mounts. Pure.

use crds::platform::configuration::{DatabaseConfiguration, ObjectsConfiguration, paths};
use crds::platform::{Claim, PlatformSpec, SecretKey};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::services::ServiceDefinition;

/// Room for the embedded database of a service.
const DATABASE_SIZE: &str = "5Gi";
/// Room for the objects of a service.
const OBJECTS_SIZE: &str = "10Gi";

/// Where a service keeps its data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceStorage {
    /// Its records.
    pub database: Option<DatabaseConfiguration>,
    /// Its objects.
    pub objects: Option<ObjectsConfiguration>,
    /// What it needs a claim for, if it needs one.
    pub claim: Option<ServiceClaim>,
    /// The Secret with the address of its database.
    pub database_secret: Option<SecretKey>,
    /// Name of the Secret with the credentials of its store.
    pub objects_secret: Option<String>,
}

/// A claim as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceClaim {
    /// How much room.
    pub size: Quantity,
    /// Storage class; the default one if `None`.
    pub storage_class: Option<String>,
}

/// Tells where a service keeps its data.
///
/// # Errors
/// Which size cannot be read.
pub fn storage(service: &ServiceDefinition, spec: &PlatformSpec) -> Result<ServiceStorage, String> {
    let mut storage = ServiceStorage::default();
    let mut claims: Vec<(Claim, &str, &str)> = Vec::new();
    if service.has_database {
        let database = spec.database.clone().unwrap_or_default();
        if let Some(postgresql) = database.postgresql {
            storage.database = Some(DatabaseConfiguration::Postgresql {
                url_file: format!("{}/{}", paths::DATABASE_SECRET_FOLDER, paths::DATABASE_URL_FILE),
                schema: service.name.replace('-', "_"),
            });
            storage.database_secret = Some(postgresql.secret);
        } else {
            storage.database = Some(DatabaseConfiguration::Sqlite { path: paths::DATABASE.to_owned() });
            let claim = database.embedded.unwrap_or_default();
            claims.push((claim, DATABASE_SIZE, "spec.database.embedded.size"));
        }
    }
    if service.has_objects {
        let place = spec.storage.clone().unwrap_or_default();
        if let Some(s3) = place.s3 {
            storage.objects = Some(ObjectsConfiguration::S3 {
                url: format!("{}/{}", s3.url.trim_end_matches('/'), service.name),
                endpoint: s3.endpoint,
                region: s3.region,
                credentials_folder: paths::OBJECTS_SECRET_FOLDER.to_owned(),
            });
            storage.objects_secret = Some(s3.secret.name);
        } else {
            storage.objects = Some(ObjectsConfiguration::Folder { path: paths::OBJECTS.to_owned() });
            let claim = place.persistent_volume_claim.unwrap_or_default();
            claims.push((claim, OBJECTS_SIZE, "spec.storage.persistentVolumeClaim.size"));
        }
    }
    storage.claim = joined(claims)?;
    Ok(storage)
}

/// One claim for all that is kept on one.
fn joined(claims: Vec<(Claim, &str, &str)>) -> Result<Option<ServiceClaim>, String> {
    if claims.is_empty() {
        return Ok(None);
    }
    let mut size = 0_u64;
    let mut storage_class = None;
    for (claim, default_size, field) in claims {
        let text = claim.size.unwrap_or_else(|| default_size.to_owned());
        let bytes = bytes(&text).ok_or_else(|| format!("{field}: `{text}` is not a size such as `20Gi`"))?;
        size = size.saturating_add(bytes);
        storage_class = storage_class.or(claim.storage_class_name);
    }
    Ok(Some(ServiceClaim { size: quantity(size), storage_class }))
}

const UNITS: [(&str, u64); 6] = [
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

fn bytes(text: &str) -> Option<u64> {
    let (digits, factor) =
        UNITS.iter().find_map(|(unit, factor)| text.strip_suffix(*unit).map(|digits| (digits, factor)))?;
    digits.parse::<u64>().ok()?.checked_mul(*factor)
}

fn quantity(bytes: u64) -> Quantity {
    let whole = UNITS[..2].iter().rev().find(|(_, factor)| bytes.is_multiple_of(*factor));
    Quantity(match whole {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_added_up_and_told_in_round_numbers() {
        let check = |one: &str, other: &str, expected: &str| {
            let claim = |size: &str| Claim { size: Some(size.to_owned()), storage_class_name: None };
            let joined = joined(vec![(claim(one), "", "a"), (claim(other), "", "b")]).unwrap().unwrap();
            assert_eq!(joined.size.0, expected, "{one} and {other}");
        };
        check("5Gi", "10Gi", "15Gi");
        check("512Mi", "1Gi", "1536Mi");
        check("1G", "1Gi", "2073741824");
        check("99999Ti", "99999Ti", "204797952Gi");
    }

    #[test]
    fn a_size_that_cannot_be_read_is_named() {
        for text in ["", "Gi", "many", "-1Gi", "1", "99999999999Ti"] {
            let claim = Claim { size: Some(text.to_owned()), storage_class_name: None };
            let error = joined(vec![(claim, "", "spec.database.embedded.size")]).unwrap_err();
            assert!(error.contains("spec.database.embedded.size"), "{error}");
        }
    }
}
