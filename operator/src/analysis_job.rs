//! AnalysisJob: a batch/v1 Job that analyses data, and its result.
//!
//! ```text
//!  AnalysisJob ──owns──▶ Job ──owns──▶ Pod (analysis-base run)
//!       │                               │ summary: termination message
//!       └──owns──▶ ConfigMap (result) ◀─┘ result: log, if it is for a ConfigMap
//!
//!  Platform ◀── its data sets are read and written, if a source or the output
//!               is one: with a token of the pod's, by HTTP
//! ```

pub mod apply;
pub mod build;
pub mod children;
pub mod dereference;
mod error;
pub mod outcome;
mod output_log;
pub mod platforms;
pub mod status;
pub mod validate;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crds::{AnalysisJob, AnalysisJobStatus};
use futures::{StreamExt, stream};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::jiff::Timestamp;
use kube::api::PartialObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::{Controller, WatchStreamExt, controller, watcher};
use kube::{Api, ResourceExt};

pub use error::{Error, Rejection};

use crate::context::Context;
use crate::labels;
use crate::metrics::Kind;
use crate::watches::{self, scoped};
use apply::Application;
use children::{JobState, WatchedJob, WatchedPod};
use platforms::WatchedPlatform;

/// What the controller watches: an AnalysisJob, or what is left of one that
/// cannot be read. One bad object does not stop the others.
pub type Guarded = DeserializeGuard<AnalysisJob>;

/// An object whose reference leads nowhere is tried again at least this often:
/// a person who has just made the missing Secret is waiting.
const MISSING_REFERENCE_RETRY: Duration = Duration::from_secs(5);

/// The children of a deleted AnalysisJob are collected within moments; one of
/// the same name waits for that.
const PREDECESSOR_RETRY: Duration = Duration::from_millis(500);
/// After so many looks, some eight seconds, it is told what is waited for.
const PREDECESSOR_LOOKS: u32 = 16;

/// A request that is not answered is given up after this time, with the
/// reconcile that waits for it: the client itself would wait for ever.
const RECONCILE_LIMIT: Duration = Duration::from_secs(120);

/// Failures in a row after which they are told in the status. Fewer are a
/// hiccup, and told in the log only.
const TELLING_FAILURES: u32 = 4;

/// The Job controller learns of the end of a pod within moments; its watch
/// wakes us then. When it has not for so long, that is told.
const SETTLING_LIMIT: Duration = Duration::from_secs(60);

/// Reconciles AnalysisJobs, in one namespace or in all, until `stopped`.
pub async fn run(
    context: Context,
    namespace: Option<&str>,
    concurrency: u16,
    stopped: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let client = context.client.clone();
    let jobs = context
        .jobs
        .follow(watcher(scoped::<WatchedJob>(&client, namespace), children_config()).default_backoff());
    let pods = context
        .pods
        .follow(watcher(scoped::<WatchedPod>(&client, namespace), children_config()).default_backoff());

    let platforms = context.namespace_platforms.follow(
        watcher(
            scoped::<DeserializeGuard<WatchedPlatform>>(&client, namespace),
            watcher::Config::default().page_size(100),
        )
        .default_backoff(),
    );

    let policies = context.network_policies.are_wanted().then(|| {
        let watched: Api<PartialObjectMeta<NetworkPolicy>> = scoped(&client, namespace);
        let events = watcher(watched, children_config()).default_backoff();
        let policies = Arc::clone(&context.network_policies);
        tokio::spawn(async move { policies.follow(events).await })
    });

    let (reader, writer) = store::<Guarded>();
    let known = reader.clone();
    let gone = context.clone();
    let objects = watches::objects(scoped(&client, namespace), writer, move |event| {
        if let watcher::Event::Delete(object) = event
            && let Some(uid) = object.uid()
        {
            gone.statuses.forget(&uid);
            gone.rules.forget(&uid);
            gone.backoffs.succeeded(&uid);
        }
    });

    Controller::for_stream(objects, reader)
        .reconcile_on(jobs.map(|owner| watches::owner::<Guarded>(&owner)))
        .reconcile_on(pods.map(|owner| watches::owner::<Guarded>(&owner)))
        .reconcile_on(
            platforms.flat_map(move |changed| stream::iter(users_of_datasets(&known, &changed.namespace))),
        )
        .with_config(controller::Config::default().concurrency(concurrency))
        .graceful_shutdown_on(stopped)
        .run(reconcile, error_policy, Arc::new(context))
        .for_each(|result| async move {
            if let Err(error) = result {
                watches::report("AnalysisJobs", &error);
            }
        })
        .await;
    if let Some(policies) = policies {
        policies.abort();
    }
}

fn children_config() -> watcher::Config {
    watcher::Config::default().labels(&labels::analysis_job_selector()).page_size(100)
}

/// The AnalysisJobs of a namespace that may wait for one of its Platforms.
fn users_of_datasets(known: &Store<Guarded>, namespace: &str) -> Vec<ObjectRef<Guarded>> {
    let has_ended = |job: &AnalysisJob| job.status.as_ref().is_some_and(status::is_final);
    known
        .state()
        .iter()
        .filter_map(|guarded| guarded.0.as_ref().ok())
        .filter(|job| job.namespace().as_deref() == Some(namespace))
        .filter(|job| job.spec.uses_datasets() && !has_ended(job))
        .map(|job| ObjectRef::new(&job.name_any()).within(namespace))
        .collect()
}

async fn reconcile(guarded: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Error> {
    let _in_flight = context.metrics.reconcile(Kind::AnalysisJob);
    let uid = guarded.uid().unwrap_or_default();
    let work = async {
        context.jobs.wait_until_ready().await;
        context.pods.wait_until_ready().await;
        match &guarded.0 {
            Ok(job) if job.metadata.deletion_timestamp.is_some() => Ok(Action::await_change()),
            Ok(job) => reconcile_readable(job, &context).await,
            Err(invalid) => {
                status::report_unreadable(invalid, &context).await.map(|()| Action::await_change())
            }
        }
    };
    let action =
        tokio::time::timeout(RECONCILE_LIMIT, work).await.map_err(|_| Error::TimedOut(RECONCILE_LIMIT))??;
    if action == Action::await_change() {
        context.backoffs.succeeded(&uid);
    }
    Ok(action)
}

async fn reconcile_readable(job: &AnalysisJob, context: &Context) -> Result<Action, Error> {
    let now = Timestamp::now();
    let current = status::current(job, context);
    if labels::is_paused(job) {
        status::report_paused(job, &current, now, context).await?;
        return Ok(Action::await_change());
    }
    if let Some(expiry) = status::expiry(job, &current) {
        status::report_seen(job, &current, context).await?;
        return expire(job, expiry, now, context).await;
    }
    if status::is_final(&current) {
        status::report_seen(job, &current, context).await?;
        return Ok(Action::await_change());
    }

    // dereference: reads what the specification refers to, and the children
    let observed = match dereference::dereference(job, context).await {
        Ok(observed) => observed,
        Err(error) => return fail(job, &current, error, now, context).await,
    };
    if observed.references.predecessor {
        return wait_for_predecessor(job, &current, now, context).await;
    }
    // validate: pure
    let validated = match validate::validate(job, &observed, &context.rules) {
        Ok(validated) => validated,
        Err(rejection) => return reject(job, &current, &rejection, now, context).await,
    };
    // build: pure, cannot fail
    let prepared = build::build(&validated, &context.analysis_images);
    // apply: writes the children
    let applied = match apply::apply(prepared, &observed, context).await {
        Ok(Application::Applied(applied)) => applied,
        Ok(Application::PredecessorRemains) => {
            return wait_for_predecessor(job, &current, now, context).await;
        }
        Ok(Application::NameTaken(rejection)) => {
            return reject(job, &current, &rejection, now, context).await;
        }
        Err(error) => return fail(job, &current, error, now, context).await,
    };
    let has_ended = |job: &Option<Arc<JobState>>| job.as_ref().is_some_and(|job| job.end.is_some());
    if has_ended(&applied.job) && !has_ended(&observed.job) {
        // A write told of an end that the watches have not told of yet. Its
        // pods and its result are to be read first.
        return Ok(Action::requeue(Duration::ZERO));
    }
    // status: writes what became of it
    let outcome = outcome::outcome(&validated, &applied, &observed, now);
    if status::is_about(&current, job) {
        let settling = outcome.settling_since.map(|since| remaining_of(SETTLING_LIMIT, since, now));
        let wait = settling.unwrap_or_else(|| outcome.settles_in(now));
        if let Some(wait) = wait {
            return Ok(Action::requeue(wait));
        }
    }
    let written = status::report_outcome(job, &current, &outcome, now, context).await?;
    let wait = status::expiry(job, &written).map(|expiry| remaining(expiry, now));
    Ok(wait.or(outcome.pod_is_due_in).map_or_else(Action::await_change, Action::requeue))
}

async fn reject(
    job: &AnalysisJob,
    current: &AnalysisJobStatus,
    rejection: &Rejection,
    now: Timestamp,
    context: &Context,
) -> Result<Action, Error> {
    status::report_rejection(job, current, rejection, now, context).await?;
    Ok(if rejection.is_missing_reference() {
        let uid = job.uid().unwrap_or_default();
        Action::requeue(context.backoffs.failed(&uid).min(MISSING_REFERENCE_RETRY))
    } else {
        Action::await_change()
    })
}

/// Tells of an error, if it is for the user to know, and hands it on.
async fn fail(
    job: &AnalysisJob,
    current: &AnalysisJobStatus,
    error: Error,
    now: Timestamp,
    context: &Context,
) -> Result<Action, Error> {
    let failures = context.backoffs.in_a_row(&job.uid().unwrap_or_default());
    if error.refusal().is_some() || failures >= TELLING_FAILURES {
        status::report_error(job, current, &error, now, context).await?;
    }
    Err(error)
}

/// What is left of a deleted AnalysisJob is collected within moments, usually.
async fn wait_for_predecessor(
    job: &AnalysisJob,
    current: &AnalysisJobStatus,
    now: Timestamp,
    context: &Context,
) -> Result<Action, Error> {
    let uid = job.uid().unwrap_or_default();
    if context.backoffs.in_a_row(&uid) >= PREDECESSOR_LOOKS {
        return reject(job, current, &Rejection::PredecessorRemains(job.name_any()), now, context).await;
    }
    Ok(Action::requeue(context.backoffs.failed(&uid).min(PREDECESSOR_RETRY)))
}

async fn expire(
    job: &AnalysisJob,
    expiry: Timestamp,
    now: Timestamp,
    context: &Context,
) -> Result<Action, Error> {
    if expiry > now {
        return Ok(Action::requeue(remaining(expiry, now)));
    }
    apply::delete_expired(job, context).await?;
    Ok(Action::await_change())
}

/// What is left of a wait that began at `since`; `None` when it is over.
fn remaining_of(wait: Duration, since: Timestamp, now: Timestamp) -> Option<Duration> {
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    wait.checked_sub(passed).filter(|left| !left.is_zero())
}

fn remaining(expiry: Timestamp, now: Timestamp) -> Duration {
    // Up to the next whole second, so as not to come too early and again.
    Duration::try_from(expiry.duration_since(now)).unwrap_or_default() + Duration::from_millis(500)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that kube asks for")]
fn error_policy(guarded: Arc<Guarded>, error: &Error, context: Arc<Context>) -> Action {
    let wait = context.backoffs.failed(&guarded.uid().unwrap_or_default());
    context.metrics.failed(Kind::AnalysisJob, error.reason());
    tracing::warn!(
        error = %error.chain(),
        reason = error.reason(),
        namespace = guarded.namespace(),
        analysis_job = guarded.name_any(),
        retry_in_milliseconds = wait.as_millis(),
        "An AnalysisJob could not be reconciled and is tried again."
    );
    Action::requeue(wait)
}

/// Tells what happened to the object of an AnalysisJob, for a person.
async fn warn(job: &AnalysisJob, context: &Context, reason: &str, note: &str) {
    context.publish(job, EventType::Warning, reason, "Reconcile", note).await;
}
