//! Sources: from where the specification says to a table of the query engine.
//!
//! ```text
//!   place      where the data is → a store and the files in it
//!   dataset    a data set of a Platform, which says how it is read, as such a file
//!   records    bytes → chunks that end where a record ends
//!   csv, json  a chunk → record batches; the schema; what is wrong in which line
//!   values     values of text as values of their columns' types
//!   text       all of that as a table that is read in a stream, on all cores
//!   columnar   Parquet and Arrow, read by the engine itself (through engine_store)
//!   columns    the columns that such files have together
//! ```

mod bytes;
mod columnar;
mod columns;
mod csv;
mod dataset;
mod download;
mod engine_store;
mod error;
mod json;
mod place;
mod public;
mod records;
mod secret;
mod store;
mod text;
mod values;

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crds::analysis::{Source, SourceFormat};
use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;

pub(crate) use error::root_cause;
pub use error::{CREDENTIALS_ADVICE, DENIED_ADVICE, DOWNLOAD_ADVICE, SourceError, store_failure};
pub(crate) use secret::Secret;
pub(crate) use store::{Bucket, open_bucket};

use crate::datasets::Platforms;
use crate::environment::Environment;
use crate::failure::Failure;

/// Is told of a step before it begins.
type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// How far a run has come.
#[derive(Default)]
pub struct Progress {
    rows: AtomicU64,
    bytes: AtomicU64,
    tell: Option<Tell>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Progress").field("rows", &self.rows).field("bytes", &self.bytes).finish()
    }
}

impl Progress {
    /// Progress that is told of each step before it begins.
    #[must_use]
    pub fn telling(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { tell: Some(Box::new(tell)), ..Self::default() }
    }

    /// A step begins: what the run does, in words that follow "while it".
    pub(crate) fn begin(&self, step: &str) {
        if let Some(tell) = &self.tell {
            tell(step);
        }
    }

    pub(crate) fn add_rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Rows read from the sources so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Bytes read from the sources so far, as stored there.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Where files from web servers and data sets go.
#[derive(Clone, Debug)]
pub struct Downloads {
    /// A folder of its own.
    pub folder: PathBuf,
    /// Most bytes of one file; `None` for no limit but the disk's.
    pub limit_bytes: Option<u64>,
    /// Whether only addresses of the public internet are gone to.
    pub public_addresses_only: bool,
}

/// Makes the source a table.
///
/// Nothing is read yet but what the schema needs; a file on a web server is
/// copied to the folder of `downloads` first, since such a server may be unable
/// to give parts of it, and so is a data set of one of the `platforms`.
///
/// # Errors
/// If the source is not there, is refused, does not answer, or is not what it is said to be.
pub async fn open(
    context: &SessionContext,
    source: &Source,
    environment: &Environment,
    downloads: &Downloads,
    platforms: &Platforms,
    progress: &Arc<Progress>,
) -> Result<Arc<dyn TableProvider>, Failure> {
    let (source, place) = match &source.dataset {
        Some(meant) => {
            let (described, place) = dataset::fetch(source, meant, platforms, downloads, progress).await?;
            (Cow::Owned(described), place)
        }
        None => (Cow::Borrowed(source), place::find(source, environment, downloads, progress).await?),
    };
    let source: &Source = &source;
    let Some(format) = source.format else {
        let problem = "say in `format` which format the data has".to_owned();
        return Err(SourceError::Specification { source_name: source.name.clone(), problem }.into());
    };
    let files = place.files.len();
    let table = match format {
        SourceFormat::Csv | SourceFormat::JsonLines => {
            text::table(source, place, environment.cores, progress).await?
        }
        SourceFormat::Parquet | SourceFormat::Arrow => {
            columnar::table(context, source, place, environment.limits(), progress).await?
        }
    };
    tracing::info!(source = source.name, files, columns = table.schema().fields().len(), "source is open");
    Ok(table)
}
