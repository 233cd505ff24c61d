//! Data sets in the database.

use crds::analysis::SourceFormat;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use service_kit::database::{Database, DatabaseError, Statement, Transaction};
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _};

use super::model::{Dataset, DatasetName, Number, ReadOptions, Version, format_name};
use crate::serve::schema::ColumnDescription;

const FIND: &str = "\
SELECT id, dataset, version, format, options, bytes, sha256, columns, created_at, statistics
FROM versions WHERE dataset = $1 AND version = $2";

const FIND_LATEST: &str = "\
SELECT id, dataset, version, format, options, bytes, sha256, columns, created_at, statistics
FROM versions WHERE dataset = $1 ORDER BY version DESC LIMIT 1";

const PAGE_OF_VERSIONS: &str = "\
SELECT id, dataset, version, format, options, bytes, sha256, columns, created_at, statistics
FROM versions WHERE dataset = $1 AND version < $2 ORDER BY version DESC LIMIT $3";

macro_rules! select_datasets {
    ($rest:literal) => {
        concat!(
            "SELECT datasets.name, datasets.created_at AS begun_at,
    (SELECT count(*) FROM versions WHERE dataset = datasets.name) AS versions,
    id, dataset, version, format, options, bytes, sha256, columns, versions.created_at, statistics
FROM datasets LEFT JOIN versions ON versions.dataset = datasets.name
    AND version = (SELECT max(version) FROM versions WHERE dataset = datasets.name)
WHERE last_version > deleted_version AND ",
            $rest
        )
    };
}
const PAGE: &str = select_datasets!("datasets.name > $1 ORDER BY datasets.name LIMIT $2");
const FIND_DATASET: &str = select_datasets!("datasets.name = $1");

/// Gives the number of the new version. It also keeps others from doing the
/// same until the end of the transaction.
const NEXT: &str = "\
INSERT INTO datasets (name, last_version, created_at) VALUES ($1, 1, $2)
ON CONFLICT (name) DO UPDATE SET last_version = datasets.last_version + 1,
    created_at = CASE WHEN datasets.last_version > datasets.deleted_version THEN datasets.created_at
        ELSE excluded.created_at END
RETURNING last_version";

const INSERT: &str = "\
INSERT INTO versions (id, dataset, version, format, options, bytes, sha256, columns, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

const USERS: &str = "\
SELECT DISTINCT analysis FROM analysis_inputs JOIN versions ON versions.id = analysis_inputs.version
WHERE dataset = $1 AND ($2 = 0 OR versions.version = $2) LIMIT 3";

/// Before its versions: it keeps others from adding one until the end of the
/// transaction.
const DELETE: &str = "UPDATE datasets SET deleted_version = last_version WHERE name = $1";

const DELETE_VERSIONS: &str = "\
DELETE FROM versions WHERE dataset = $1 AND ($2 = 0 OR version = $2) RETURNING id, statistics";

const SET_STATISTICS: &str = "\
UPDATE versions SET statistics = $2 WHERE id = $1 AND (statistics IS NULL OR statistics = $3)";

const BYTES: &str = "SELECT CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM versions";

/// A version as it is kept.
#[derive(Clone, Debug)]
pub struct VersionRecord {
    /// Names its objects.
    pub id: String,
    /// The analysis with its profile, once it was asked for.
    pub statistics: Option<String>,
    /// What is told of it.
    pub version: Version,
}

impl VersionRecord {
    /// The object with its data.
    #[must_use]
    pub fn data(&self) -> String {
        data_object(&self.id)
    }

    /// The object with its first rows.
    #[must_use]
    pub fn preview(&self) -> String {
        preview_object(&self.id)
    }

    fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            statistics: row.try_get("statistics")?,
            version: Version {
                dataset: row.try_get("dataset")?,
                version: row.try_get("version")?,
                format: format(row)?,
                options: json(row, "options")?,
                bytes: row.try_get("bytes")?,
                sha256: row.try_get("sha256")?,
                columns: json(row, "columns")?,
                created_at: time(row, "created_at")?,
            },
        })
    }
}

/// What the objects of a version begin with.
#[must_use]
pub fn prefix(id: &str) -> String {
    format!("datasets/{id}")
}

/// The object with the data of a version.
#[must_use]
pub fn data_object(id: &str) -> String {
    format!("datasets/{id}/data")
}

/// The object with the first rows of a version.
#[must_use]
pub fn preview_object(id: &str) -> String {
    format!("datasets/{id}/preview.parquet")
}

/// A version that is to be made.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// Names its objects, which are there already.
    pub id: String,
    /// Of which data set.
    pub dataset: DatasetName,
    /// Its format.
    pub format: SourceFormat,
    /// How it is read.
    pub options: ReadOptions,
    /// Its size.
    pub bytes: u64,
    /// Its digest, in hexadecimal.
    pub sha256: String,
    /// Its columns.
    pub columns: Vec<ColumnDescription>,
}

/// Makes the version, and the data set if it is the first one.
///
/// # Errors
/// If the database fails.
pub async fn insert(
    transaction: &mut Transaction,
    new: NewVersion,
    now: i64,
) -> Result<Version, DatabaseError> {
    let number = sqlx::query_scalar::<Any, i64>(NEXT)
        .bind(new.dataset.as_str())
        .bind(now)
        .fetch_one(&mut **transaction)
        .await?;
    let bytes = i64::try_from(new.bytes).unwrap_or(i64::MAX);
    sqlx::query(INSERT)
        .bind(new.id.as_str())
        .bind(new.dataset.as_str())
        .bind(number)
        .bind(format_name(new.format))
        .bind(to_json(&new.options)?)
        .bind(bytes)
        .bind(new.sha256.as_str())
        .bind(to_json(&new.columns)?)
        .bind(now)
        .execute(&mut **transaction)
        .await?;
    Ok(Version {
        dataset: new.dataset.as_str().to_owned(),
        version: number,
        format: new.format,
        options: new.options,
        bytes,
        sha256: new.sha256,
        columns: new.columns,
        created_at: Timestamp::from_millisecond(now).unwrap_or_default(),
    })
}

fn find_statement(name: &str, number: Number) -> Statement<'static> {
    match number {
        Number::Latest => sqlx::query(FIND_LATEST).bind(name),
        Number::Exactly(number) => sqlx::query(FIND).bind(name).bind(number),
    }
}

/// The version, if it is there.
///
/// # Errors
/// If the database fails.
pub async fn find(
    database: &Database,
    name: &str,
    number: Number,
) -> Result<Option<VersionRecord>, DatabaseError> {
    let row = find_statement(name, number).fetch_optional(database.pool()).await?;
    Ok(row.as_ref().map(VersionRecord::read).transpose()?)
}

/// The same within a transaction.
///
/// # Errors
/// If the database fails.
pub async fn find_in(
    transaction: &mut Transaction,
    name: &str,
    number: Number,
) -> Result<Option<VersionRecord>, DatabaseError> {
    let row = find_statement(name, number).fetch_optional(&mut **transaction).await?;
    Ok(row.as_ref().map(VersionRecord::read).transpose()?)
}

/// Versions before the number, the last ones first.
///
/// # Errors
/// If the database fails.
pub async fn page_of_versions(
    database: &Database,
    name: &str,
    before: i64,
    most: i64,
) -> Result<Vec<Version>, DatabaseError> {
    let statement = sqlx::query(PAGE_OF_VERSIONS).bind(name).bind(before).bind(most);
    let rows = statement.fetch_all(database.pool()).await?;
    let versions: Result<_, sqlx::Error> =
        rows.iter().map(|row| VersionRecord::read(row).map(|record| record.version)).collect();
    Ok(versions?)
}

/// Data sets after the name, in the order of their names.
///
/// # Errors
/// If the database fails.
pub async fn page(database: &Database, after: &str, most: i64) -> Result<Vec<Dataset>, DatabaseError> {
    let rows = sqlx::query(PAGE).bind(after).bind(most).fetch_all(database.pool()).await?;
    let datasets: Result<_, sqlx::Error> = rows.iter().map(read_dataset).collect();
    Ok(datasets?)
}

/// The data set, if it is there.
///
/// # Errors
/// If the database fails.
pub async fn find_dataset(database: &Database, name: &str) -> Result<Option<Dataset>, DatabaseError> {
    let row = sqlx::query(FIND_DATASET).bind(name).fetch_optional(database.pool()).await?;
    Ok(row.as_ref().map(read_dataset).transpose()?)
}

fn read_dataset(row: &AnyRow) -> Result<Dataset, sqlx::Error> {
    let is_empty = row.try_get::<Option<String>, _>("id")?.is_none();
    Ok(Dataset {
        name: row.try_get("name")?,
        created_at: time(row, "begun_at")?,
        versions: row.try_get("versions")?,
        latest: if is_empty { None } else { Some(VersionRecord::read(row)?.version) },
    })
}

/// What is to be deleted: one version, or a data set with all of its versions.
#[derive(Clone, Copy, Debug)]
pub struct Deleted<'a> {
    /// Of which data set.
    pub name: &'a str,
    /// Which version; `None` for all.
    pub version: Option<i64>,
}

/// What is left when something was deleted.
#[derive(Clone, Debug, Default)]
pub struct Remains {
    /// The ids of the versions that are gone.
    pub versions: Vec<String>,
    /// The analyses with their profiles, which nobody needs any more.
    pub statistics: Vec<String>,
}

/// Analyses that are under way and use what is to be deleted; some of them.
///
/// # Errors
/// If the database fails.
pub async fn users(
    transaction: &mut Transaction,
    deleted: Deleted<'_>,
) -> Result<Vec<String>, DatabaseError> {
    let users = sqlx::query_scalar::<Any, String>(USERS)
        .bind(deleted.name)
        .bind(deleted.version.unwrap_or_default())
        .fetch_all(&mut **transaction)
        .await?;
    Ok(users)
}

/// Deletes rows. The objects are left, and so are the numbers: no other version
/// gets them.
///
/// # Errors
/// If the database fails; [`is_in_use`] tells whether an analysis has just begun to use a version.
pub async fn delete(transaction: &mut Transaction, deleted: Deleted<'_>) -> Result<Remains, DatabaseError> {
    if deleted.version.is_none() {
        sqlx::query(DELETE).bind(deleted.name).execute(&mut **transaction).await?;
    }
    let gone = sqlx::query_as::<Any, (String, Option<String>)>(DELETE_VERSIONS)
        .bind(deleted.name)
        .bind(deleted.version.unwrap_or_default())
        .fetch_all(&mut **transaction)
        .await?;
    let (versions, statistics): (Vec<_>, Vec<_>) = gone.into_iter().unzip();
    Ok(Remains { versions, statistics: statistics.into_iter().flatten().collect() })
}

/// Whether something could not be deleted because something else refers to it.
#[must_use]
pub fn is_in_use(error: &DatabaseError) -> bool {
    let DatabaseError::Other { source } = error else { return false };
    source
        .downcast_ref::<sqlx::Error>()
        .and_then(sqlx::Error::as_database_error)
        .is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation)
}

/// Says where the profile of a version is, unless somebody else has said so
/// since `before` was read. Gives whether it did.
///
/// # Errors
/// If the database fails.
pub async fn set_statistics(
    transaction: &mut Transaction,
    id: &str,
    before: Option<&str>,
    analysis: &str,
) -> Result<bool, DatabaseError> {
    let done = sqlx::query(SET_STATISTICS)
        .bind(id)
        .bind(analysis)
        .bind(before.unwrap_or_default())
        .execute(&mut **transaction)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Size of all data together.
///
/// # Errors
/// If the database fails.
pub async fn bytes(database: &Database) -> Result<i64, DatabaseError> {
    Ok(sqlx::query_scalar::<Any, i64>(BYTES).fetch_one(database.pool()).await?)
}

/// A format in a row.
///
/// # Errors
/// If there is none.
pub fn format(row: &AnyRow) -> Result<SourceFormat, sqlx::Error> {
    let text: String = row.try_get("format")?;
    serde_json::from_value(Value::String(text)).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Something that is kept as JSON in a row.
///
/// # Errors
/// If it is something else.
pub fn json<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T, sqlx::Error> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// A time in a row.
///
/// # Errors
/// If there is none.
pub fn time(row: &AnyRow, column: &str) -> Result<Timestamp, sqlx::Error> {
    Timestamp::from_millisecond(row.try_get(column)?).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Something as it is kept in a row.
///
/// # Errors
/// Never for what this service keeps.
pub fn to_json(value: &impl serde::Serialize) -> Result<String, DatabaseError> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()).into())
}
