//! Parquet and Arrow files, which the engine reads itself: it skips what a
//! query does not need, and splits files among the cores.

use std::pin::pin;
use std::sync::Arc;

use crds::analysis::{Source, SourceFormat};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::convert::fb_to_schema;
use datafusion::arrow::ipc::reader::read_footer_length;
use datafusion::arrow::ipc::root_as_footer;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::logical_expr::{cast, ident, lit};
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::scalar::ScalarValue;
use futures::{StreamExt, stream};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use url::Url;

use super::columns::Columns;
use super::engine_store::EngineStore;
use super::place::{Place, SourceFile};
use super::{Progress, SourceError};
use crate::failure::{Failure, Limits, engine_text};

/// Schemas that are read at once: each is a request to the store, and takes memory.
const READ_AT_ONCE: usize = 16;
/// Most different layouts of Arrow files: each becomes a part of the query's plan.
const MOST_LAYOUTS: usize = 100;

/// Files that the engine can read as one.
///
/// It finds the columns of Parquet by their names in each file, but those of
/// Arrow by their places, and reads all files as the first: with a footer or
/// as a stream.
struct Layout {
    has_footer: bool,
    schema: SchemaRef,
    files: Vec<usize>,
}

/// Makes a Parquet or Arrow source a table; reads the schemas of all its files.
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
    let store = Arc::new(EngineStore::new(&source.name, place, progress));
    let readable: Arc<dyn ObjectStore> = Arc::<EngineStore>::clone(&store);
    context.register_object_store(&root, Arc::clone(&readable));

    let format: Arc<dyn FileFormat> = match source.format {
        Some(SourceFormat::Arrow) => Arc::new(ArrowFormat),
        _ => Arc::new(ParquetFormat::default()),
    };
    let (layouts, columns) = layouts(context, source, &store, &readable, format.as_ref(), limits).await?;
    let whole = columns.schema();
    let tables = layouts.into_iter().map(|layout| {
        let schema =
            if source.format == Some(SourceFormat::Arrow) { layout.schema } else { Arc::clone(&whole) };
        let urls = layout.files.into_iter().map(|index| {
            let mut url = root.clone();
            url.set_path(store.object(index).location.as_ref());
            ListingTableUrl::try_new(url, None)
        });
        let options = ListingOptions::new(Arc::clone(&format)).with_file_extension("");
        let config = ListingTableConfig::new_with_multi_paths(urls.collect::<EngineResult<Vec<_>>>()?)
            .with_listing_options(options)
            .with_schema(schema);
        Ok(Arc::new(ListingTable::try_new(config)?) as Arc<dyn TableProvider>)
    });
    let joined = tables.collect::<EngineResult<Vec<_>>>().and_then(|tables| join(context, tables, &whole));
    let table = joined.map_err(|error| Failure::from_engine(&error, limits))?;
    store.start_counting();
    Ok(table)
}

/// The layouts of the files, and the columns that they have together.
async fn layouts(
    context: &SessionContext,
    source: &Source,
    store: &EngineStore,
    readable: &Arc<dyn ObjectStore>,
    format: &dyn FileFormat,
    limits: Limits,
) -> Result<(Vec<Layout>, Columns), Failure> {
    let is_arrow = source.format == Some(SourceFormat::Arrow);
    let state = context.state();
    let read = stream::iter(0..store.files().len())
        .map(|index| file_schema(store.object(index), readable, format, &state, is_arrow))
        .buffered(READ_AT_ONCE)
        .enumerate();
    let mut read = pin!(read);
    let mut columns = Columns::default();
    let mut layouts: Vec<Layout> = Vec::new();
    while let Some((index, schema)) = read.next().await {
        let file = &store.files()[index];
        let (has_footer, schema) = schema.map_err(|error| unreadable(source, file, &error, limits))?;
        columns
            .add(&file.name, &schema)
            .map_err(|problem| SourceError::data(&source.name, &file.name, problem))?;
        let same = layouts.iter().position(|layout| {
            !is_arrow || (layout.has_footer == has_footer && layout.schema.fields() == schema.fields())
        });
        match same {
            Some(place) => layouts[place].files.push(index),
            None if layouts.len() == MOST_LAYOUTS => {
                let problem = format!(
                    "in the files up to this one, the columns, their order or their types are of more than \
                     {MOST_LAYOUTS} kinds. Write the files alike"
                );
                return Err(SourceError::data(&source.name, &file.name, problem).into());
            }
            None => layouts.push(Layout { has_footer, schema, files: vec![index] }),
        }
    }
    Ok((layouts, columns))
}

/// Whether a file has a footer to read it by, and its schema.
async fn file_schema(
    object: ObjectMeta,
    store: &Arc<dyn ObjectStore>,
    format: &dyn FileFormat,
    state: &dyn Session,
    is_arrow: bool,
) -> EngineResult<(bool, SchemaRef)> {
    if is_arrow && let Some(schema) = arrow_file_schema(store.as_ref(), &object).await? {
        return Ok((true, schema));
    }
    let schema = format.infer_schema(state, store, &[object]).await?;
    Ok((!is_arrow, schema))
}

/// The schema in the footer of an Arrow IPC file; `None` for a stream.
///
/// The engine looks for the schema at a fixed place behind the beginning, if
/// the file is in a store on the network. Some programs, this one among them,
/// leave more room there.
async fn arrow_file_schema(store: &dyn ObjectStore, file: &ObjectMeta) -> EngineResult<Option<SchemaRef>> {
    const MAGIC: &[u8] = b"ARROW1";
    const TRAILER_BYTES: u64 = 10;
    /// Enough for most footers, so that one request suffices.
    const TAIL_BYTES: u64 = 64 << 10;
    let tail_start = file.size.saturating_sub(TAIL_BYTES);
    let tail = store.get_range(&file.location, tail_start..file.size).await?;
    let Some((rest, trailer)) = tail.split_last_chunk::<{ TRAILER_BYTES as usize }>() else {
        return Ok(None);
    };
    if !trailer.ends_with(MAGIC) {
        return Ok(None);
    }
    let damaged = |detail: String| DataFusionError::Execution(detail);
    let length = read_footer_length(*trailer)?;
    let footer = if let Some(start) = rest.len().checked_sub(length) {
        tail.slice(start..rest.len())
    } else {
        let end = file.size - TRAILER_BYTES;
        let start = end.checked_sub(length as u64);
        let start = start.ok_or_else(|| damaged("its footer is cut off".to_owned()))?;
        store.get_range(&file.location, start..end).await?
    };
    let footer =
        root_as_footer(&footer).map_err(|error| damaged(format!("its footer cannot be read: {error}")))?;
    let schema = footer.schema().ok_or_else(|| damaged("its footer has no schema".to_owned()))?;
    Ok(Some(Arc::new(fb_to_schema(schema))))
}

/// Tables of different layouts as one with all columns.
fn join(
    context: &SessionContext,
    tables: Vec<Arc<dyn TableProvider>>,
    whole: &SchemaRef,
) -> EngineResult<Arc<dyn TableProvider>> {
    if let [table] = tables.as_slice() {
        return Ok(Arc::clone(table));
    }
    let mut joined: Option<DataFrame> = None;
    for table in tables {
        let schema = table.schema();
        let values = whole.fields().iter().map(|field| {
            let value = match schema.column_with_name(field.name()) {
                Some(_) => cast(ident(field.name()), field.data_type().clone()),
                None => lit(ScalarValue::try_new_null(field.data_type())?),
            };
            Ok(value.alias(field.name()))
        });
        let values = values.collect::<EngineResult<Vec<_>>>()?;
        let part = context.read_table(table)?.select(values)?;
        joined = Some(match joined {
            Some(before) => before.union(part)?,
            None => part,
        });
    }
    joined
        .map(DataFrame::into_view)
        .ok_or_else(|| DataFusionError::Internal("a source without files".to_owned()))
}

/// The engine's message with the name of the source.
fn unreadable(source: &Source, file: &SourceFile, error: &DataFusionError, limits: Limits) -> Failure {
    use crds::analysis::FailureReason::{AccessDenied, SourceNotFound, SourceUnavailable};
    let failure = Failure::from_engine(error, limits);
    if matches!(failure.reason, AccessDenied | SourceNotFound | SourceUnavailable) {
        return failure;
    }
    let kind = if source.format == Some(SourceFormat::Arrow) {
        "an Arrow IPC file or stream"
    } else {
        "a Parquet file"
    };
    let problem = format!("this is not {kind}, or it is damaged ({})", engine_text(error));
    SourceError::data(&source.name, &file.name, problem).into()
}
