//! Parquet and Arrow files, which the engine reads itself: it skips what a
//! query does not need, and splits files among the cores.

use std::sync::Arc;

use crds::analysis::{Source, SourceFormat};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::convert::fb_to_schema;
use datafusion::arrow::ipc::reader::read_footer_length;
use datafusion::arrow::ipc::root_as_footer;
use datafusion::catalog::TableProvider;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use object_store::ObjectStoreExt;
use url::Url;

use super::counting::CountingStore;
use super::place::{Place, SourceFile};
use super::{Progress, SourceError};
use crate::failure::{Failure, Limits, engine_text};

/// Makes a Parquet or Arrow source a table; reads the schema of its first file.
pub(super) async fn table(
    context: &SessionContext,
    source: &Source,
    place: Place,
    limits: Limits,
    progress: &Arc<Progress>,
) -> Result<Arc<dyn TableProvider>, Failure> {
    for file in &place.files {
        if file.size == 0 {
            return Err(SourceError::data(&source.name, &file.name, "the file is empty").into());
        }
    }
    // Two sources may be in buckets of one name with different credentials,
    // so each source is a host of its own to the engine.
    let root =
        Url::parse(&format!("aisaas://{}/", source.name.replace('_', "-"))).map_err(Failure::internal)?;
    let store = Arc::new(CountingStore::new(&place.store, progress));
    context.register_object_store(&root, Arc::clone(&store) as _);

    let urls = place
        .files
        .iter()
        .map(|file| {
            let mut url = root.clone();
            // The engine decodes the address again, and the name of a file may
            // itself hold what looks encoded (partitions that Spark writes).
            url.set_path(&file.path.as_ref().replace('%', "%25"));
            ListingTableUrl::try_new(url, None)
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Failure::from_engine(&error, limits))?;
    let format: Arc<dyn FileFormat> = match source.format {
        SourceFormat::Arrow => Arc::new(ArrowFormat),
        _ => Arc::new(ParquetFormat::default()),
    };
    let options = ListingOptions::new(format).with_file_extension("");
    let config = ListingTableConfig::new_with_multi_paths(urls).with_listing_options(options);
    let schema = match (source.format, place.files.first()) {
        (SourceFormat::Arrow, Some(file)) => arrow_file_schema(&place, file).await,
        _ => Ok(None),
    };
    let opened = async {
        let config = match schema? {
            Some(schema) => config.with_schema(schema),
            None => config.infer_schema(&context.state()).await?,
        };
        ListingTable::try_new(config)
    };
    let table = opened.await.map_err(|error| unreadable(source, &place, &error, limits))?;
    if place.counts {
        store.start_counting();
    }
    Ok(Arc::new(table))
}

/// The schema in the footer of an Arrow IPC file; `None` for a stream.
///
/// The engine looks for the schema at a fixed place behind the beginning, if
/// the file is in a store on the network. Some programs, this one among them,
/// leave more room there.
async fn arrow_file_schema(place: &Place, file: &SourceFile) -> datafusion::error::Result<Option<SchemaRef>> {
    const MAGIC: &[u8] = b"ARROW1";
    const TRAILER_BYTES: u64 = 10;
    let read = async |start: u64, end: u64| place.store.get_range(&file.path, start..end).await;
    if file.size <= 2 * TRAILER_BYTES || read(0, MAGIC.len() as u64).await? != MAGIC {
        return Ok(None);
    }
    let footer_end = file.size - TRAILER_BYTES;
    let mut trailer = [0; TRAILER_BYTES as usize];
    trailer.copy_from_slice(&read(footer_end, file.size).await?);
    let length = read_footer_length(trailer)? as u64;
    let footer = read(footer_end.saturating_sub(length), footer_end).await?;
    let damaged = |detail: String| DataFusionError::Execution(detail);
    let footer =
        root_as_footer(&footer).map_err(|error| damaged(format!("its footer cannot be read: {error}")))?;
    let schema = footer.schema().ok_or_else(|| damaged("its footer has no schema".to_owned()))?;
    Ok(Some(Arc::new(fb_to_schema(schema))))
}

/// The engine's message with the name of the source.
fn unreadable(source: &Source, place: &Place, error: &DataFusionError, limits: Limits) -> Failure {
    use crds::analysis::FailureReason::{AccessDenied, SourceNotFound, SourceUnavailable};
    let failure = Failure::from_engine(error, limits);
    if matches!(failure.reason, AccessDenied | SourceNotFound | SourceUnavailable) {
        return failure;
    }
    let kind =
        if source.format == SourceFormat::Arrow { "an Arrow IPC file or stream" } else { "a Parquet file" };
    let file = place.files.first().map_or("", |file| file.name.as_str());
    SourceError::data(
        &source.name,
        file,
        format!("this is not {kind}, or it is damaged ({})", engine_text(error)),
    )
    .into()
}
