use std::fmt;

use crds::analysis::{Column, CsvOptions, JsonLinesOptions, Source, SourceFormat};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service_kit::Problem;
use utoipa::ToSchema;

use crate::serve::schema::{self, ColumnDescription};

/// Most characters of a name.
const MOST_CHARACTERS: usize = 63;

/// The name of a data set: a lower-case letter, then lower-case letters, digits, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetName(String);

impl DatasetName {
    /// Reads a name.
    ///
    /// # Errors
    /// 422 if it is none.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let is_name = text.len() <= MOST_CHARACTERS
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        if is_name {
            return Ok(Self(text.to_owned()));
        }
        Err(Problem::unprocessable(format!(
            "`{text}` cannot be the name of a data set: give up to {MOST_CHARACTERS} lower-case letters, digits, `_` \
             and `-`, beginning with a letter."
        )))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Which version of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// The one that came last.
    Latest,
    /// This one.
    Exactly(i64),
}

impl Number {
    /// Reads `latest` or a number.
    ///
    /// # Errors
    /// 404 for anything else: there cannot be such a version.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        match text.parse() {
            _ if text == "latest" => Ok(Self::Latest),
            Ok(number @ 1..) => Ok(Self::Exactly(number)),
            _ => Err(Problem::not_found(format!(
                "`{text}` is no version of a data set: give a number from 1, or `latest`."
            ))),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => formatter.write_str("latest"),
            Self::Exactly(number) => number.fmt(formatter),
        }
    }
}

/// How the data of a version is read; as in a source of an AnalysisJob.
// A source of an analysis has the same members, and refuses others as well, which
// serde does not do for members that are taken from here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadOptions {
    /// How CSV is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::csv_options)]
    pub csv: Option<CsvOptions>,
    /// How JSON lines are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::json_lines_options)]
    pub json_lines: Option<JsonLinesOptions>,
    /// Types of columns. Columns that are not named get the type that the first rows suggest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(schema_with = schema::columns)]
    pub columns: Vec<Column>,
}

impl ReadOptions {
    /// A source that is read so. Where its data are is still to be said.
    #[must_use]
    pub fn source(&self, name: &str, format: Option<SourceFormat>) -> Source {
        Source {
            name: name.to_owned(),
            format,
            csv: self.csv.clone(),
            json_lines: self.json_lines.clone(),
            columns: self.columns.clone(),
            inline: None,
            config_map: None,
            persistent_volume_claim: None,
            uri: None,
            dataset: None,
        }
    }
}

/// A version of a data set: data that never changes.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Name of the data set.
    #[schema(example = "flights")]
    pub dataset: String,
    /// Number of the version: 1, 2, 3 and so on. No other data ever get it, not even when these were deleted.
    #[schema(example = 3)]
    pub version: i64,
    /// Format of the data.
    #[schema(schema_with = schema::source_format)]
    pub format: SourceFormat,
    /// How the data is read.
    pub options: ReadOptions,
    /// Size in bytes, as uploaded.
    #[schema(example = 52_428_800)]
    pub bytes: i64,
    /// SHA-256 of the bytes, in hexadecimal.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    pub sha256: String,
    /// The columns, with the types that they have for a query.
    pub columns: Vec<ColumnDescription>,
    /// When it was uploaded.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A data set: a name with versions.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dataset {
    /// Its name.
    #[schema(example = "flights")]
    pub name: String,
    /// When its first version was uploaded; after a deletion, when the first one after that was.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// How many versions there are.
    #[schema(example = 3)]
    pub versions: i64,
    /// The version that came last, of those that there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<Version>,
}

/// The word for a format, as in JSON.
#[must_use]
pub const fn format_name(format: SourceFormat) -> &'static str {
    match format {
        SourceFormat::Csv => "csv",
        SourceFormat::JsonLines => "jsonLines",
        SourceFormat::Parquet => "parquet",
        SourceFormat::Arrow => "arrow",
    }
}

/// The media type of a format.
#[must_use]
pub const fn media_type(format: SourceFormat) -> &'static str {
    match format {
        SourceFormat::Csv => "text/csv",
        SourceFormat::JsonLines => "application/x-ndjson",
        SourceFormat::Parquet => "application/vnd.apache.parquet",
        SourceFormat::Arrow => "application/vnd.apache.arrow.file",
    }
}

/// The format that a media type says.
#[must_use]
pub fn format_of(media_type: &str) -> Option<SourceFormat> {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "text/csv" | "application/csv" | "text/tab-separated-values" => Some(SourceFormat::Csv),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Some(SourceFormat::JsonLines)
        }
        "application/vnd.apache.parquet" | "application/parquet" | "application/x-parquet" => {
            Some(SourceFormat::Parquet)
        }
        "application/vnd.apache.arrow.file" | "application/vnd.apache.arrow.stream" => {
            Some(SourceFormat::Arrow)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for name in ["a", "flights", "flights-2013_01", &"a".repeat(63)] {
            assert!(DatasetName::parse(name).is_ok(), "{name}");
        }
        for name in ["", "1a", "A", "a b", "a/b", "a..b", "ä", "_a", &"a".repeat(64)] {
            assert!(DatasetName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_version_has_a_number_or_is_the_latest() {
        assert_eq!(Number::parse("latest").expect("latest"), Number::Latest);
        assert_eq!(Number::parse("12").expect("number"), Number::Exactly(12));
        for text in ["", "0", "-1", "1.0", "Latest", "99999999999999999999"] {
            assert!(Number::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_words_for_formats_are_those_of_json() {
        for format in [SourceFormat::Csv, SourceFormat::JsonLines, SourceFormat::Parquet, SourceFormat::Arrow]
        {
            assert_eq!(serde_json::to_value(format).expect("json"), format_name(format));
            assert_eq!(format_of(media_type(format)), Some(format));
        }
        assert_eq!(format_of("Text/CSV; charset=utf-8"), Some(SourceFormat::Csv));
        assert_eq!(format_of("application/octet-stream"), None);
    }
}
