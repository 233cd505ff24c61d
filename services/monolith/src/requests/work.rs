//! Working on a request: plan, tasks side by side, answer.
//!
//! Every step is stored before the next one begins, and every analysis is
//! begun under a key of its own, so that whoever goes on after a crash finds
//! what was begun instead of beginning it again.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _, join_all};
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service_kit::database::now_milliseconds;
use service_kit::queue::{Job, JobFailure, Worker, WorkerSettings};
use service_kit::spans::Span;
use service_kit::trace_context::TraceContext;

use super::analyses::{Analyses, Analysis, AnalysisStatus, LastTrouble};
use super::calls::{cancel, columns, end, key, patiently, problem, timed_out};
use super::finish::{break_off, finish};
use super::order::{Order, TaskOrder};
use super::plan;
use super::state::{Plan, RequestStatus, Task, TaskResult, TaskStatus};
use super::store::{self, SaveError, Stored};
use crate::gateway::Gateway;

/// How soon another replica goes on with the requests of one that has died.
const LEASE: Duration = Duration::from_secs(15);
/// What is begun goes on after the next start: there is no need to wait for it.
const DRAIN: Duration = Duration::from_secs(1);
/// Tasks of one request at once.
const TASKS_AT_ONCE: usize = 4;
/// How often it is looked whether a request was cancelled at another replica.
const LOOK: Duration = Duration::from_secs(1);
/// How long cancelling analyses may take.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);

/// Works on requests until `stop`.
pub async fn work(gateway: Arc<Gateway>, at_once: usize, stop: impl Future<Output = ()> + Send) {
    let queue = gateway.requests.queue.clone();
    let settings = WorkerSettings {
        concurrency: at_once.max(1),
        lease: LEASE,
        drain: DRAIN,
        ..WorkerSettings::default()
    };
    let handler = move |job: Job| {
        let gateway = Arc::clone(&gateway);
        async move { handle(&gateway, &job).await }
    };
    Worker::new(&queue, handler, settings).run(stop).await;
}

async fn handle(gateway: &Gateway, job: &Job) -> Result<(), JobFailure> {
    let id: String = job.payload()?;
    let again = |error: SaveError| JobFailure::again(service_kit::problem::chain(&error));
    let request = store::load(&gateway.database, &id).await.map_err(|error| again(error.into()))?;
    // It may have been cancelled before its turn, or be done but for this job.
    let Some(request) = request.filter(|request| !request.status.is_final()) else { return Ok(()) };
    let asked = TraceContext::parse(&request.trace);
    let mut attempt = Span::job(gateway.requests.queue.name(), job, asked.as_ref());
    let trace = attempt.context().clone();
    let span = tracing::info_span!("work", request = id, trace_id = trace.trace_id());
    let work = Work { gateway, job, request, trace };
    let worked = tracing::Instrument::instrument(work.run(), span).await.map_err(again);
    attempt.attempted(&worked);
    worked
}

/// Why work on a request stops early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Cancelled,
    Deadline,
}

/// What has come of a part of a task.
enum Step {
    Begun(Result<Analysis, Value>),
    Ended(Result<(Analysis, Option<TaskResult>), Value>),
}

/// What is told when it is known what is to be done.
#[derive(Serialize)]
struct Planned<'a> {
    status: RequestStatus,
    plan: Option<&'a Plan>,
    tasks: &'a [Task],
}

/// What is told of a task.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    task: &'a Task,
    /// How many have come out of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
}

type UnderWay<'a> = FuturesUnordered<BoxFuture<'a, (usize, Step)>>;

struct Work<'a> {
    gateway: &'a Gateway,
    job: &'a Job,
    request: Stored,
    trace: TraceContext,
}

impl Work<'_> {
    async fn run(mut self) -> Result<(), SaveError> {
        let live = self.gateway.live();
        let trace = self.trace.clone();
        let trouble = LastTrouble::default();
        let analyses = Analyses::new(&live, &trace).noting(&trouble);
        let id = self.request.id.clone();
        let mut stopped = pin!(stopped(self.gateway, &id, self.request.deadline_at));
        let mut stop = self.too_late().await?;
        if stop.is_none() {
            stop = self.planned(analyses, stopped.as_mut()).await?;
        }
        if stop.is_none() {
            stop = self.performed(analyses, stopped.as_mut()).await?;
        }
        let status = match stop {
            None => self.request.state.outcome(),
            Some(stop) => self.stop(analyses, stop).await,
        };
        finish(self.gateway, &mut self.request, status, Some(self.job)).await
    }

    /// Why nothing is begun, if its turn comes after its deadline.
    async fn too_late(&self) -> Result<Option<Stop>, SaveError> {
        if now_milliseconds() < self.request.deadline_at {
            return Ok(None);
        }
        let is_cancelled = store::is_cancelled(&self.gateway.database, &self.request.id).await?;
        Ok(Some(if is_cancelled { Stop::Cancelled } else { Stop::Deadline }))
    }

    /// Finds out what is to be done, unless that is known.
    async fn planned(
        &mut self,
        analyses: Analyses<'_>,
        stopped: Pin<&mut impl Future<Output = Stop>>,
    ) -> Result<Option<Stop>, SaveError> {
        if self.request.state.plan.is_some() {
            return Ok(None);
        }
        self.request.status = RequestStatus::Planning;
        self.save("request", json!({ "status": self.request.status }).to_string(), &[]).await?;
        let order = self.request.order.clone();
        let id = self.request.id.clone();
        let (plan, tasks) = tokio::select! {
            planned = planned(analyses, &id, &order) => planned,
            stop = stopped => return Ok(Some(stop)),
        };
        self.request.state.tasks = tasks.into_iter().map(Task::pending).collect();
        self.request.state.plan = Some(plan);
        self.request.status = RequestStatus::Running;
        let state = &self.request.state;
        let event = Planned { status: self.request.status, plan: state.plan.as_ref(), tasks: &state.tasks };
        let event = store::encoded(&event)?;
        self.save("request", event, &[]).await?;
        Ok(None)
    }

    /// Does the tasks, a few at once.
    async fn performed(
        &mut self,
        analyses: Analyses<'_>,
        mut stopped: Pin<&mut impl Future<Output = Stop>>,
    ) -> Result<Option<Stop>, SaveError> {
        let tasks = self.request.state.tasks.iter().enumerate();
        let mut waiting: VecDeque<usize> =
            tasks.filter(|(_, task)| !task.status.is_final()).map(|(index, _)| index).collect();
        let mut under_way = UnderWay::new();
        loop {
            while under_way.len() < TASKS_AT_ONCE
                && let Some(index) = waiting.pop_front()
            {
                under_way.push(self.begin(analyses, index));
            }
            let next = tokio::select! {
                next = under_way.next() => next,
                stop = &mut stopped => return Ok(Some(stop)),
            };
            match next {
                Some((index, step)) => {
                    if let Some(id) = self.step(index, step).await? {
                        let charts = chart_names(&self.request.state.tasks[index]);
                        under_way.push(
                            async move { (index, Step::Ended(end(analyses, &id, &charts).await)) }.boxed(),
                        );
                    }
                }
                None => return Ok(None),
            }
        }
    }

    fn begin<'b>(&mut self, analyses: Analyses<'b>, index: usize) -> BoxFuture<'b, (usize, Step)> {
        let task = &mut self.request.state.tasks[index];
        task.started_at.get_or_insert_with(Timestamp::now);
        let (key, body) = (key(&self.request.id, &task.name), self.request.order.analysis(&task.order()));
        async move { (index, Step::Begun(patiently(analyses, || analyses.create(&key, &body)).await)) }
            .boxed()
    }

    /// Keeps what has come of a part of a task. If the task goes on, gives the
    /// id of its analysis.
    async fn step(&mut self, index: usize, step: Step) -> Result<Option<String>, SaveError> {
        let task = &mut self.request.state.tasks[index];
        let mut going_on = None;
        let mut result = None;
        match step {
            Step::Begun(Ok(analysis)) => {
                task.status = TaskStatus::Running;
                task.analysis_url = Some(format!("/v1/analyses/{}", analysis.id));
                going_on = Some(analysis.id);
            }
            Step::Ended(Ok((_, Some(found)))) => {
                task.status = TaskStatus::Succeeded;
                result = Some(found);
            }
            Step::Ended(Ok((analysis, None))) => {
                task.status = TaskStatus::Failed;
                task.problem = Some(failure(&analysis));
            }
            Step::Begun(Err(problem)) | Step::Ended(Err(problem)) => {
                task.status = TaskStatus::Failed;
                task.problem = Some(problem);
            }
        }
        if task.status.is_final() {
            task.ended_at = Some(Timestamp::now());
        }
        let event = store::encoded(&Told { task, rows: result.as_ref().map(|result| result.total) })?;
        let name = task.name.clone();
        let results: Vec<(&str, &TaskResult)> = result.iter().map(|result| (name.as_str(), result)).collect();
        self.save("task", event, &results).await?;
        Ok(going_on)
    }

    /// Stops what is under way, and says of each task what that means for it.
    async fn stop(&mut self, analyses: Analyses<'_>, stop: Stop) -> RequestStatus {
        let begun = self
            .request
            .state
            .tasks
            .iter()
            .filter(|task| !task.status.is_final() && task.started_at.is_some());
        let problem = match stop {
            Stop::Cancelled => None,
            Stop::Deadline => Some(timed_out(analyses.trouble())),
        };
        let cancelled = join_all(begun.map(|task| cancel(analyses, &self.request, task)));
        if tokio::time::timeout(CANCEL_LIMIT, cancelled).await.is_err() {
            tracing::warn!("Analyses could not be cancelled in time; they end by their own deadline.");
        }
        break_off(&mut self.request.state, problem.as_ref())
    }

    async fn save(
        &mut self,
        event: &str,
        data: String,
        results: &[(&str, &TaskResult)],
    ) -> Result<(), SaveError> {
        let mut transaction = self.gateway.database.begin().await?;
        store::save(&mut transaction, &mut self.request, (event, data), results).await?;
        transaction.commit().await?;
        self.gateway.requests.changed(&self.request.id);
        Ok(())
    }
}

/// Ends when the request is cancelled or its deadline has passed.
async fn stopped(gateway: &Gateway, id: &str, deadline_at: i64) -> Stop {
    let left = u64::try_from(deadline_at.saturating_sub(now_milliseconds())).unwrap_or(0);
    let cancelled = async {
        let mut listener = gateway.requests.listen();
        // A database that does not answer now is asked again.
        while !store::is_cancelled(&gateway.database, id).await.unwrap_or(false) {
            listener.changed(id, LOOK).await;
        }
    };
    tokio::select! {
        () = cancelled => Stop::Cancelled,
        () = tokio::time::sleep(Duration::from_millis(left)) => Stop::Deadline,
    }
}

/// What is to be done about a request.
async fn planned(analyses: Analyses<'_>, id: &str, order: &Order) -> (Plan, Vec<TaskOrder>) {
    if !order.tasks.is_empty() {
        let explanation = "The tasks were given with the request.".to_owned();
        return (Plan { is_derived: false, explanation, caveats: Vec::new() }, order.tasks.clone());
    }
    let mut tables = Vec::new();
    if plan::needs_columns(&order.input) {
        let asked = order.data.iter().map(|data| columns(analyses, id, order, data));
        tables.extend(join_all(asked).await.into_iter().flatten());
    }
    plan::derive(order, &tables)
}

fn chart_names(task: &Task) -> Vec<String> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let charts = task.analysis.iter().flat_map(|analysis| &analysis.charts);
    // One without a name is for the analyses to refuse.
    charts.filter_map(|chart| chart.read::<Named>().ok()).map(|chart| chart.name).collect()
}

/// An analysis that has not succeeded, as a problem.
fn failure(analysis: &Analysis) -> Value {
    let reason = analysis.reason.as_deref().unwrap_or("Unknown");
    let detail = match (&analysis.message, analysis.status) {
        (Some(message), _) => message.as_str(),
        (None, AnalysisStatus::Cancelled) => "The analysis was cancelled.",
        (None, _) => "The analysis has failed.",
    };
    let mut problem = problem("analysis-failed", "Analysis failed", 422, detail);
    problem["reason"] = json!(reason);
    problem["analysis"] = json!(format!("/v1/analyses/{}", analysis.id));
    problem
}
