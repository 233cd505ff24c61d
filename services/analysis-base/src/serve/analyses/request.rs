//! What a client asks for, and what a process is to do then.

use std::collections::{BTreeMap, HashMap};

use crds::analysis::{
    AnalysisSpecification, Chart, Column, CsvOptions, JsonLinesOptions, Output, OutputFormat, Profile,
    Source, SourceFormat, UriSource,
};
use crds::reference::ClaimPath;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::serve::datasets::{ReadOptions, data_object};
use crate::serve::place::Place;
use crate::serve::schema;

/// For analyses that do not say how long they may take.
const USUAL_DEADLINE: u32 = 300;
/// No analysis may take longer.
pub(super) const LONGEST_DEADLINE: u32 = 3600;

/// An analysis, as an AnalysisJob describes it: data, and one query or one profile of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnalysisRequest {
    /// The data to read, 1 to 16 sources. Each becomes a table of its name.
    #[schema(min_items = 1, max_items = 16)]
    pub sources: Vec<AnalysisSource>,
    /// One SQL query over the sources; what it returns is the result. Only a query (SELECT, WITH, VALUES) is
    /// accepted. Give exactly one of `sql` and `profile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::sql)]
    pub sql: Option<String>,
    /// Describe a source column by column instead of querying it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::profile)]
    pub profile: Option<Profile>,
    /// Charts to draw, each as SVG and as Vega-Lite.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(schema_with = schema::charts)]
    pub charts: Vec<Chart>,
    /// How many seconds the analysis may run before it is stopped and counts as failed; 300 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3600)]
    pub active_deadline_seconds: Option<u32>,
    /// A field of an AnalysisJob that there is not here.
    #[serde(default, skip_serializing)]
    #[schema(ignore)]
    pub(super) output: Option<Value>,
}

/// Data to read. Give exactly one of `dataset`, `inline` and `uri`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnalysisSource {
    /// Name of the table that this source becomes.
    #[schema(schema_with = schema::source_name)]
    pub name: String,
    /// A data set of this service. How it is read was said when it was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<DatasetReference>,
    /// The data itself, as text: csv or jsonLines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::inline)]
    pub inline: Option<String>,
    /// Data that is fetched by its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<AnalysisUri>,
    /// Format of `inline` or `uri`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::source_format)]
    pub format: Option<SourceFormat>,
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
    /// A field of an AnalysisJob that there is not here.
    #[serde(default, skip_serializing)]
    #[schema(ignore)]
    pub(super) config_map: Option<Value>,
    /// A field of an AnalysisJob that there is not here.
    #[serde(default, skip_serializing)]
    #[schema(ignore)]
    pub(super) persistent_volume_claim: Option<Value>,
}

/// A version of a data set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatasetReference {
    /// Name of the data set.
    #[schema(example = "flights")]
    pub name: String,
    /// Number of the version; the latest one if left out. An analysis keeps to the version that was the latest
    /// when it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, example = 3)]
    pub version: Option<i64>,
}

/// Data that is fetched by its address, without credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnalysisUri {
    /// `https://…` or `http://…`, at a public address. Others, and `s3://BUCKET/KEY`, are read only if the
    /// administrator allows it (`spec.allowPrivateAddresses of the Platform`).
    #[schema(example = "https://example.com/flights.csv", max_length = 2048)]
    pub url: String,
    /// For s3: address of the store, if it is not Amazon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// For s3: region of the bucket; us-east-1 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// A field of an AnalysisJob that there is not here.
    #[serde(default, skip_serializing)]
    #[schema(ignore)]
    pub(super) secret: Option<Value>,
}

/// A version of a data set that an analysis reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Names its objects.
    pub id: String,
    /// How it is called in messages.
    pub name: String,
    /// Its format.
    pub format: SourceFormat,
    /// How it is read.
    pub options: ReadOptions,
}

/// The versions of data sets that an analysis reads, by names of sources.
pub type Inputs = HashMap<String, Input>;

impl AnalysisRequest {
    /// The profile of a version of a data set.
    #[must_use]
    pub fn of_profile(dataset: &str, version: i64) -> Self {
        const SOURCE: &str = "data";
        let dataset = DatasetReference { name: dataset.to_owned(), version: Some(version) };
        let source =
            AnalysisSource { name: SOURCE.to_owned(), dataset: Some(dataset), ..AnalysisSource::default() };
        let profile = Profile {
            source: SOURCE.to_owned(),
            columns: Vec::new(),
            top_values: None,
            histogram_bins: None,
            correlations: None,
        };
        Self {
            sources: vec![source],
            profile: Some(profile),
            active_deadline_seconds: Some(LONGEST_DEADLINE),
            ..Self::default()
        }
    }

    /// How long it may run, in seconds.
    #[must_use]
    pub fn deadline_seconds(&self) -> u32 {
        self.active_deadline_seconds.unwrap_or(USUAL_DEADLINE)
    }

    /// The sources that are data sets, with their names.
    pub fn datasets(&self) -> impl Iterator<Item = (&str, &DatasetReference)> {
        let datasets = self.sources.iter().map(|source| (source.name.as_str(), source.dataset.as_ref()));
        datasets.filter_map(|(name, dataset)| Some((name, dataset?)))
    }

    /// The same with the versions that are the latest now.
    #[must_use]
    pub fn pinned(mut self, versions: &HashMap<String, i64>) -> Self {
        for source in &mut self.sources {
            if let Some(dataset) = &mut source.dataset {
                dataset.version = versions.get(&source.name).copied().or(dataset.version);
            }
        }
        self
    }

    /// What a process is to do.
    #[must_use]
    pub fn specification(&self, inputs: &Inputs, place: &Place) -> AnalysisSpecification {
        let sources =
            self.sources.iter().map(|source| source.specification(inputs.get(&source.name), place)).collect();
        AnalysisSpecification {
            sources,
            sql: self.sql.clone(),
            profile: self.profile.clone(),
            charts: self.charts.clone(),
            output: Some(parquet_output()),
            platforms: BTreeMap::new(),
            idempotency_key: None,
        }
    }
}

/// The result as a file in the folder of the process.
#[must_use]
pub fn parquet_output() -> Output {
    Output {
        format: OutputFormat::Parquet,
        config_map: None,
        persistent_volume_claim: Some(ClaimPath { claim_name: "output".to_owned(), path: String::new() }),
        s3: None,
        dataset: None,
    }
}

impl AnalysisSource {
    fn specification(&self, input: Option<&Input>, place: &Place) -> Source {
        if let Some(input) = input {
            let mut source = input.options.source(&self.name, Some(input.format));
            place.point(&mut source, &data_object(&input.id));
            return source;
        }
        let options = ReadOptions {
            csv: self.csv.clone(),
            json_lines: self.json_lines.clone(),
            columns: self.columns.clone(),
        };
        let uri = self.uri.as_ref().map(|uri| UriSource {
            url: uri.url.clone(),
            endpoint: uri.endpoint.clone(),
            region: uri.region.clone(),
            secret: None,
        });
        Source { inline: self.inline.clone(), uri, ..options.source(&self.name, self.format) }
    }
}
