//! One analysis, from its specification to its result.

mod charts;
mod check;
mod room;

use std::path::Path;
use std::sync::Arc;

use crds::analysis::{AnalysisSpecification, Chart, FailureReason, OutputFormat, WrittenFile};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::DataFrame;
use futures::{StreamExt, stream};
use tokio::sync::watch;

use check::check;
use room::Room;

use crate::chart::{self, ChartData};
use crate::datasets::Platforms;
use crate::engine::{Engine, Joins};
use crate::environment::Environment;
use crate::failure::{Failure, Limits, listed};
use crate::output::{Destination, Encoder, Preview, Published, Staging, Upload};
use crate::source::{Downloads, Progress};
use crate::{profile, query, source};

/// What a successful analysis leaves behind.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// One or two sentences for the user.
    pub message: String,
    /// Rows in the result.
    pub rows_written: u64,
    /// The files that were written.
    pub files: Vec<WrittenFile>,
    /// The number of the version that the result is, if it is in a data set.
    pub dataset_version: Option<i64>,
    /// The first rows of the result as CSV.
    pub preview: String,
}

/// Runs the analysis. Temporary files go below `scratch`; when `stopped`
/// becomes true the analysis ends soon and takes back what it began.
///
/// # Errors
/// A [`Failure`] says what to mend. Nothing of the result is visible then,
/// unless it says so.
pub async fn run(
    specification: &AnalysisSpecification,
    environment: &Environment,
    scratch: &Path,
    progress: &Arc<Progress>,
    stopped: watch::Receiver<bool>,
) -> Result<Outcome, Failure> {
    check(specification)?;
    let folder = |name: &str| {
        let folder = scratch.join(name);
        std::fs::create_dir_all(&folder).map_err(Failure::internal).map(|()| folder)
    };
    let room = Room::shared(specification, environment.temporary_limit_bytes);
    let environment = Environment { temporary_limit_bytes: room.spilled, ..environment.clone() };
    let downloads = Downloads {
        folder: folder("downloads")?,
        limit_bytes: room.downloaded,
        public_addresses_only: environment.public_addresses_only,
    };
    let platforms = Platforms::new(specification, &environment);

    let mut engine = Engine::new(&environment, &folder("spill")?)?;
    let context = engine.session(Joins::Hashed)?;
    for source in &specification.sources {
        progress.begin(&format!("opened the source `{}`", source.name));
        let opening = source::open(&context, source, &environment, &downloads, &platforms, progress);
        let table = unless_stopped(opening, &stopped).await?;
        engine.add_table(&source.name, table);
    }

    let mut analysis = Analysis {
        specification,
        engine,
        cores: environment.cores,
        limits: environment.limits(),
        progress,
        stopped,
        joins_by_hash: false,
        notes: Vec::new(),
    };
    let staging = Staging { platforms: &platforms, folder: folder("result")?, limit_bytes: room.staged };
    let opened = specification.output.as_ref().map(|output| Destination::open(output, &environment, staging));
    let mut destination = opened.transpose()?;
    let written = match analysis.complete(destination.as_mut()).await {
        Ok(written) => written,
        Err(failure) => {
            if let Some(destination) = destination {
                destination.abort().await;
            }
            return Err(failure);
        }
    };
    progress.begin("wrote the result");
    let published = match destination {
        Some(destination) => destination.publish().await?,
        None => Published::default(),
    };
    Ok(Outcome {
        message: message(specification, written.rows, &published, &analysis.notes),
        rows_written: written.rows,
        files: published.files,
        dataset_version: published.dataset_version,
        preview: written.preview,
    })
}

fn message(
    specification: &AnalysisSpecification,
    rows: u64,
    published: &Published,
    notes: &[String],
) -> String {
    let files = &published.files;
    let dataset = specification.output.as_ref().and_then(|output| output.dataset.as_ref());
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let rows_text = format!("{rows} row{}", plural(usize::try_from(rows).unwrap_or(usize::MAX)));
    let mut text = if let (Some(dataset), Some(version)) = (dataset, published.dataset_version) {
        format!("The result has {rows_text}, and is version {version} of the data set `{}`.", dataset.name)
    } else if files.is_empty() {
        format!("The result has {rows_text}.")
    } else {
        format!("The result has {rows_text}, in {} file{}.", files.len(), plural(files.len()))
    };
    for note in notes {
        text.push(' ');
        text.push_str(note);
    }
    text
}

/// What a result leaves for the charts and the summary.
struct WrittenResult {
    rows: u64,
    preview: String,
    /// The first rows, if a chart shows them.
    chart_data: Option<ChartData>,
}

struct Analysis<'a> {
    specification: &'a AnalysisSpecification,
    engine: Engine,
    cores: usize,
    limits: Limits,
    progress: &'a Progress,
    stopped: watch::Receiver<bool>,
    /// Whether the query that ran last joins by hash tables.
    joins_by_hash: bool,
    /// What the user should know of the result.
    notes: Vec<String>,
}

impl Analysis<'_> {
    /// Writes the result and the charts, up to where they become visible.
    async fn complete(
        &mut self,
        mut destination: Option<&mut Destination>,
    ) -> Result<WrittenResult, Failure> {
        let sources: Vec<_> = self.engine.table_names().iter().map(|name| format!("`{name}`")).collect();
        self.progress.begin(&match &self.specification.profile {
            Some(profile) => format!("described the source `{}`", profile.source),
            None => format!("ran the query over {}", listed(&sources, 8)),
        });
        let written = match self.result(destination.as_deref_mut(), Joins::Hashed).await {
            // Joins by hash tables need memory that joins by sorting do not.
            Err(failure) if failure.reason == FailureReason::MemoryExhausted && self.joins_by_hash => {
                tracing::warn!(
                    "the memory does not suffice for joins by hash tables: trying again with sorted joins"
                );
                self.result(destination.as_deref_mut(), Joins::Sorted).await?
            }
            other => other?,
        };
        let specification = self.specification;
        for chart in &specification.charts {
            self.progress.begin(&format!("drew the chart `{}`", chart.name));
            self.chart(chart, &written, destination.as_deref_mut()).await?;
        }
        // The last moment at which nothing is visible.
        if *self.stopped.borrow() {
            return Err(Failure::interrupted());
        }
        Ok(written)
    }

    /// Computes the result and writes it.
    async fn result(
        &mut self,
        destination: Option<&mut Destination>,
        joins: Joins,
    ) -> Result<WrittenResult, Failure> {
        let context = self.engine.session(joins)?;
        if let Some(sql) = &self.specification.sql {
            let frame = query::plan(&context, sql, &self.engine.table_names(), self.limits).await?;
            let schema: SchemaRef = Arc::clone(frame.schema().inner());
            // A chart of a column that is not there is refused before the work.
            for chart in self.specification.charts.iter().filter(|chart| chart.sql.is_none()) {
                chart::check_columns(chart, &schema)?;
            }
            let (plan, rows) = self.execute(frame).await?;
            self.joins_by_hash = contains(&plan, "HashJoinExec");
            let written = self.write(&schema, rows, destination).await?;
            self.count_rows(&plan);
            return Ok(written);
        }
        let Some(options) = &self.specification.profile else {
            return Err(Failure::internal("an analysis without a query and a profile"));
        };
        let frame = context
            .table(options.source.as_str())
            .await
            .map_err(|error| Failure::from_engine(&error, self.limits))?;
        let frame = profile::select(frame, options, self.limits)?;
        let schema: SchemaRef = Arc::clone(frame.schema().inner());
        self.notes.extend(profile::note(&schema, options));
        let (plan, rows) = self.execute(frame).await?;
        let profiling = profile::run(&schema, rows, options, self.cores, self.limits);
        let profile = unless_stopped(profiling, &self.stopped).await?;
        self.count_rows(&plan);
        let schema = profile.schema();
        let rows = datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(
            Arc::clone(&schema),
            stream::iter([Ok(profile)]),
        );
        self.write(&schema, Box::pin(rows), destination).await
    }

    async fn execute(
        &self,
        frame: DataFrame,
    ) -> Result<(Arc<dyn ExecutionPlan>, SendableRecordBatchStream), Failure> {
        let failed = |error| Failure::from_engine(&error, self.limits);
        let task = Arc::new(frame.task_ctx());
        let planning = async { frame.create_physical_plan().await.map_err(failed) };
        let plan = unless_stopped(planning, &self.stopped).await?;
        let rows = execute_stream(Arc::clone(&plan), task).map_err(failed)?;
        Ok((plan, rows))
    }

    async fn write(
        &mut self,
        schema: &SchemaRef,
        rows: SendableRecordBatchStream,
        destination: Option<&mut Destination>,
    ) -> Result<WrittenResult, Failure> {
        let format = self.specification.output.as_ref().map_or(OutputFormat::Csv, |output| output.format);
        let Some(destination) = destination else {
            return self.stream(schema, rows, None).await;
        };
        let mut upload = destination.start(format.file_name())?;
        let mut encoder = Encoder::new(schema, format)?;
        let streamed = self.stream(schema, rows, Some((&mut encoder, &mut upload))).await;
        let ended = match streamed {
            Ok(written) => {
                async { upload.write(encoder.finish()?).await.map(|()| written) }.await.map_err(Failure::from)
            }
            Err(failure) => Err(failure),
        };
        match ended {
            Ok(written) => {
                destination.finish(upload)?;
                Ok(written)
            }
            Err(failure) => {
                upload.abort().await;
                Err(failure)
            }
        }
    }

    async fn stream(
        &mut self,
        schema: &SchemaRef,
        mut rows: SendableRecordBatchStream,
        mut sink: Option<(&mut Encoder, &mut Upload)>,
    ) -> Result<WrittenResult, Failure> {
        let shown: Vec<&Chart> =
            self.specification.charts.iter().filter(|chart| chart.sql.is_none()).collect();
        let mut chart_data = (!shown.is_empty()).then(|| ChartData::new(schema, &shown));
        let mut preview = match &self.specification.profile {
            Some(_) => Preview::without_nested(schema),
            None => Preview::new(schema),
        };
        let mut count = 0;
        while let Some(batch) = self.next(&mut rows).await? {
            count += batch.num_rows() as u64;
            preview.add(&batch);
            if let Some(data) = &mut chart_data {
                data.add(&batch)?;
            }
            if let Some((encoder, upload)) = &mut sink {
                let bytes = encoder.write(&batch)?;
                if !bytes.is_empty() {
                    upload.write(bytes).await?;
                }
            }
        }
        Ok(WrittenResult { rows: count, preview: preview.finish(), chart_data })
    }

    async fn next(&self, rows: &mut SendableRecordBatchStream) -> Result<Option<RecordBatch>, Failure> {
        let next = async {
            rows.next().await.transpose().map_err(|error| Failure::from_engine(&error, self.limits))
        };
        unless_stopped(next, &self.stopped).await
    }

    /// Adds the rows that the engine's own readers gave; sources of text count themselves.
    fn count_rows(&self, plan: &Arc<dyn ExecutionPlan>) {
        if plan.name() == "DataSourceExec" {
            let rows = plan.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or(0);
            self.progress.add_rows(rows);
        }
        for child in plan.children() {
            self.count_rows(child);
        }
    }
}

fn contains(plan: &Arc<dyn ExecutionPlan>, operator: &str) -> bool {
    plan.name() == operator || plan.children().into_iter().any(|child| contains(child, operator))
}

/// The result of the work, or the failure `Interrupted` when that comes first.
async fn unless_stopped<T>(
    work: impl Future<Output = Result<T, Failure>>,
    stopped: &watch::Receiver<bool>,
) -> Result<T, Failure> {
    let mut stopped = stopped.clone();
    tokio::select! {
        result = work => result,
        Ok(_) = stopped.wait_for(|stopped| *stopped) => Err(Failure::interrupted()),
    }
}
