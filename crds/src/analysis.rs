//! AnalysisJob: data in, one analysis, a result and charts out.

mod chart;
mod job;
mod output;
mod profile;
mod source;
mod specification;
mod status;
mod summary;

pub use chart::{Chart, Encoding, Encodings, Mark, MeasurementType};
pub use job::{AnalysisJob, AnalysisJobSpec};
pub use output::{ConfigMapOutput, DatasetOutput, Output, OutputFormat, S3Output};
pub use profile::Profile;
pub use source::{
    Column, ColumnType, Compression, CsvOptions, DatasetSource, JsonLinesOptions, Source, SourceFormat,
    UriSource,
};
pub use specification::{
    AnalysisSpecification, OUTPUT_MARKER, OutputPart, PlatformAccess, SPECIFICATION_ANNOTATION, exit_code,
    paths,
};
pub use status::{AnalysisJobStatus, OutputStatus, WrittenFile};
pub use summary::{FailureReason, RunSummary, SUMMARY_LIMIT_BYTES};
