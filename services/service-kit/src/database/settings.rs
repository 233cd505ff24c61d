use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sqlx::any::AnyConnectOptions;
use url::Url;

use super::DatabaseError;

/// Most characters of a name in PostgreSQL.
const MOST_NAME_CHARACTERS: usize = 63;
/// How long the server waits for a lock, unless the URL says it. It gives up
/// before its client does, so that no session waits there for nobody.
const LOCK_TIMEOUT: &str = "30s";

/// Where the database of a service is, as its configuration says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum DatabaseSettings {
    /// A file on a volume that no other service has.
    Sqlite {
        /// The file; it is made if it is not there.
        path: PathBuf,
    },
    /// A schema in a database of a PostgreSQL server (12 or newer).
    Postgresql {
        /// A file with `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
        url_file: PathBuf,
        /// The schema of the service; it is made if it is not there.
        schema: String,
    },
}

impl DatabaseSettings {
    /// Which kind of database it is.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite { .. } => Dialect::Sqlite,
            Self::Postgresql { .. } => Dialect::Postgresql,
        }
    }

    /// What the driver needs to connect.
    pub(super) fn connect_options(&self) -> Result<AnyConnectOptions, DatabaseError> {
        let url = match self {
            Self::Sqlite { path } => sqlite_url(path)?,
            Self::Postgresql { url_file, schema } => postgresql_url(url_file, schema)?,
        };
        Ok(url.parse()?)
    }
}

/// What the databases differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgresql,
}

impl Dialect {
    /// Begins a transaction that may write.
    pub(super) const fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgresql => "BEGIN",
        }
    }
}

fn sqlite_url(path: &Path) -> Result<String, DatabaseError> {
    let invalid = |problem: &str| {
        DatabaseError::configuration(format!("the path of the database, {}, {problem}", path.display()))
    };
    if path.components().any(|part| matches!(part, Component::ParentDir)) {
        return Err(invalid("contains `..`"));
    }
    // Escapes what means something else in an address.
    let file = Url::from_file_path(path).map_err(|()| invalid("does not begin with `/`"))?;
    Ok(format!("sqlite://{}?mode=rwc", file.path()))
}

fn postgresql_url(url_file: &Path, schema: &str) -> Result<String, DatabaseError> {
    // Errors name the file, never what is in it: that has a password.
    let invalid =
        |problem: String| DatabaseError::configuration(format!("the file {} {problem}", url_file.display()));
    if !is_schema_name(schema) {
        return Err(DatabaseError::configuration(format!(
            "`{schema}` is no name of a schema: give up to {MOST_NAME_CHARACTERS} lower-case letters, digits and \
             `_`, beginning with a letter"
        )));
    }
    let text =
        std::fs::read_to_string(url_file).map_err(|error| invalid(format!("cannot be read: {error}")))?;
    let mut url = Url::parse(text.trim()).map_err(|error| invalid(format!("has no URL: {error}")))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(invalid("has a URL that does not begin with postgres://".to_owned()));
    }
    // Settings with which every session starts, also those that are opened
    // again after the server was away.
    let says_lock_timeout = url.query().is_some_and(|query| query.contains("lock_timeout"));
    url.query_pairs_mut().append_pair("options[search_path]", schema);
    if !says_lock_timeout {
        url.query_pairs_mut().append_pair("options[lock_timeout]", LOCK_TIMEOUT);
    }
    Ok(url.into())
}

fn is_schema_name(name: &str) -> bool {
    name.len() <= MOST_NAME_CHARACTERS
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.starts_with("pg_")
        && name.chars().all(|character| matches!(character, 'a'..='z' | '0'..='9' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_those_of_the_configuration() {
        let sqlite: DatabaseSettings = serde_json::from_str(r#"{"sqlite": {"path": "/data/a.db"}}"#).unwrap();
        assert_eq!(sqlite, DatabaseSettings::Sqlite { path: "/data/a.db".into() });
        let text = r#"{"postgresql": {"urlFile": "/secrets/url", "schema": "analysis_base"}}"#;
        let postgresql: DatabaseSettings = serde_json::from_str(text).unwrap();
        let expected = DatabaseSettings::Postgresql {
            url_file: "/secrets/url".into(),
            schema: "analysis_base".to_owned(),
        };
        assert_eq!(postgresql, expected);
        let unknown = r#"{"postgresql": {"urlFile": "/secrets/url", "schema": "a", "url": "x"}}"#;
        assert!(serde_json::from_str::<DatabaseSettings>(unknown).is_err());
    }

    #[test]
    fn paths_of_sqlite_are_escaped() {
        let url = |path: &str| sqlite_url(Path::new(path));
        assert_eq!(url("/var/a b/c?d#e%f.db").unwrap(), "sqlite:///var/a%20b/c%3Fd%23e%25f.db?mode=rwc");
        assert!(url("relative.db").is_err());
        assert!(url("/var/../etc/x").is_err());
    }

    #[test]
    fn the_url_of_postgresql_is_read_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("url");
        std::fs::write(&file, "postgres://me:p%40ss@db:5432/main?sslmode=require\n").unwrap();
        assert_eq!(
            postgresql_url(&file, "analysis_base").unwrap(),
            "postgres://me:p%40ss@db:5432/main?sslmode=require&options%5Bsearch_path%5D=analysis_base\
             &options%5Block_timeout%5D=30s"
        );
        std::fs::write(&file, "postgres://db/main?options[lock_timeout]=5s").unwrap();
        assert_eq!(
            postgresql_url(&file, "a").unwrap(),
            "postgres://db/main?options[lock_timeout]=5s&options%5Bsearch_path%5D=a"
        );
        for schema in ["", "Public", "pg_catalog", "a-b", "1a", "a\"; DROP TABLE x; --"] {
            assert!(postgresql_url(&file, schema).is_err(), "{schema}");
        }
        std::fs::write(&file, "mysql://me:hidden@db/main").unwrap();
        let error = postgresql_url(&file, "a").unwrap_err();
        assert!(!crate::problem::chain(&error).contains("hidden"));
    }
}
