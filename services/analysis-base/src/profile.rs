//! A profile: one pass over a source that describes each of its columns.
//!
//! ```text
//!   batches ──┬─▶ thread: columns 0, 2, 4 … and half of the pairs ──┐
//!             └─▶ thread: columns 1, 3, 5 … and the other half ─────┴─▶ a row for each column
//! ```
//!
//! Everything is exact while a column has few different values (some ten
//! thousand, by the memory limit). Beyond that the column is marked
//! `approximate`: distinct values come from a HyperLogLog (standard error
//! 0.8 %), the most frequent values are those counted for certain, and
//! quantiles and histogram come from a sketch (error of the rank below 0.5 %).
//! Counts, minimum and maximum are always exact; mean, standard deviation and
//! correlations are of all values, in double precision.

mod column;
mod correlation;
mod distinct;
mod frequency;
mod number;
mod sketch;
mod table;
mod text;

use std::sync::Arc;

use crds::analysis::{FailureReason, Profile};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::{DataFrame, Expr, ident};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use column::{ColumnProfile, Description};
use correlation::Correlations;

use crate::failure::{Failure, Limits, listed};

const TOP_VALUES: u32 = 10;
const HISTOGRAM_BINS: u32 = 20;

/// How columns are described.
#[derive(Clone, Copy, Debug)]
struct Settings {
    top_values: usize,
    histogram_bins: usize,
    correlations: bool,
    /// Different values of one column that are counted exactly.
    exact_values: usize,
}

impl Settings {
    fn new(options: &Profile, columns: usize, limits: Limits) -> Self {
        // A counted value takes up to 64 bytes, the copy of a growing table
        // included; a quarter of the memory is for all columns together.
        let affordable = limits.memory_bytes / 4 / 64 / columns.max(1) as u64;
        Self {
            top_values: options.top_values.unwrap_or(TOP_VALUES) as usize,
            histogram_bins: options.histogram_bins.unwrap_or(HISTOGRAM_BINS).max(1) as usize,
            correlations: options.correlations.unwrap_or(true),
            exact_values: usize::try_from(affordable).unwrap_or(usize::MAX).clamp(1 << 10, 1 << 16),
        }
    }
}

/// The columns that are to be described.
///
/// # Errors
/// If one of them is not there.
pub fn select(frame: DataFrame, options: &Profile, limits: Limits) -> Result<DataFrame, Failure> {
    if options.columns.is_empty() {
        return Ok(frame);
    }
    let names: Vec<String> = frame.schema().fields().iter().map(|field| field.name().clone()).collect();
    if let Some(missing) = options.columns.iter().find(|name| !names.contains(name)) {
        return Err(Failure::new(
            FailureReason::InvalidQuery,
            format!(
                "The profile names a column `{missing}` that source `{}` does not have. The columns are {}.",
                options.source,
                listed(&names, 40)
            ),
        ));
    }
    let columns: Vec<Expr> = options.columns.iter().map(ident).collect();
    frame.select(columns).map_err(|error| Failure::from_engine(&error, limits))
}

/// What the user should know of the profile of these columns.
#[must_use]
pub fn note(schema: &Schema, options: &Profile) -> Option<String> {
    let numeric = schema.fields().iter().filter(|field| field.data_type().is_numeric()).count();
    let left_out = numeric.checked_sub(correlation::MOST_COLUMNS).filter(|count| *count > 0)?;
    options.correlations.unwrap_or(true).then(|| {
        format!(
            "The correlations are those of the first {} columns with numbers, without the other {left_out}. Name \
             the columns that matter in `profile.columns`.",
            correlation::MOST_COLUMNS
        )
    })
}

/// Describes the rows: a row for each column of `schema`. The work is shared by `cores` threads.
///
/// # Errors
/// If the source cannot be read to its end.
pub async fn run(
    schema: &SchemaRef,
    mut rows: SendableRecordBatchStream,
    options: &Profile,
    cores: usize,
    limits: Limits,
) -> Result<RecordBatch, Failure> {
    let fields: Vec<Arc<Field>> = schema.fields().iter().map(Arc::clone).collect();
    let settings = Settings::new(options, fields.len(), limits);
    let threads = cores.min(fields.len()).max(1);
    let (senders, workers): (Vec<_>, Vec<_>) =
        (0..threads).map(|thread| start_worker(&fields, settings, thread, threads)).unzip();

    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|error| Failure::from_engine(&error, limits))?;
        for sender in &senders {
            // A worker that ended early has panicked; its handle says why.
            let _ = sender.send(batch.clone()).await;
        }
    }
    drop(senders);

    let mut described: Vec<(usize, Description)> = Vec::new();
    let mut correlations = Correlations::default();
    for worker in workers {
        let part = worker.await.map_err(Failure::internal)??;
        described.extend(part.columns);
        correlations.add_all(part.correlations);
    }
    described.sort_by_key(|(index, _)| *index);
    let descriptions: Vec<Description> = described.into_iter().map(|(_, description)| description).collect();
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    table::build(&descriptions, &names, &correlations).map_err(Failure::internal)
}

/// What one thread found.
struct Part {
    columns: Vec<(usize, Description)>,
    correlations: Correlations,
}

type Worker = JoinHandle<Result<Part, Failure>>;

fn start_worker(
    fields: &[Arc<Field>],
    settings: Settings,
    thread: usize,
    threads: usize,
) -> (mpsc::Sender<RecordBatch>, Worker) {
    let (sender, mut batches) = mpsc::channel::<RecordBatch>(2);
    let mut columns: Vec<(usize, ColumnProfile)> = fields
        .iter()
        .enumerate()
        .filter(|(index, _)| index % threads == thread)
        .map(|(index, field)| (index, ColumnProfile::new(field, settings)))
        .collect();
    let mut correlations = if settings.correlations {
        Correlations::new(fields, thread, threads)
    } else {
        Correlations::default()
    };
    let worker = tokio::task::spawn_blocking(move || {
        while let Some(batch) = batches.blocking_recv() {
            for (index, column) in &mut columns {
                column.add(batch.column(*index)).map_err(Failure::internal)?;
            }
            correlations.add(&batch).map_err(Failure::internal)?;
        }
        let columns = columns.into_iter().map(|(index, column)| (index, column.describe(settings))).collect();
        Ok(Part { columns, correlations })
    });
    (sender, worker)
}
