//! Platform: the shared services of a namespace behind one front door.
//!
//! ```text
//!  Platform ──owns──▶ for each service: ServiceAccount, Role and RoleBinding if it reads
//!      │              of the API server, ConfigMap (configuration.json),
//!      │              PersistentVolumeClaim, NetworkPolicy, Service, Deployment ──▶ pods,
//!      │              PodDisruptionBudget, HorizontalPodAutoscaler
//!      ├──owns──▶ Ingress, HTTPRoute ──▶ Service of the gateway
//!      └──owns──▶ Secret (API key of the first administrator)
//! ```

pub mod apply;
pub mod build;
pub mod children;
pub mod dereference;
mod error;
pub mod issuer;
pub mod outcome;
pub mod queue;
pub mod services;
pub mod status;
pub mod storage;
pub mod validate;
pub mod written;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crds::Platform;
use crds::platform::PlatformStatus;
use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::reflector::store;
use kube::runtime::{Controller, controller, watcher};
use tokio::sync::watch;

pub use error::{Error, Rejection};

use crate::context::{Context, WrittenStatuses};
use crate::errors::chain;
use crate::labels;
use crate::metrics::Kind;
use crate::watches;
use apply::Application;
use children::PlatformChildren;
use issuer::TokenIssuer;
use services::{SERVICES, ServiceImages};
use written::WrittenObjects;

/// What the controller watches: a Platform, or what is left of one that cannot
/// be read. One bad object does not stop the others.
pub type Guarded = DeserializeGuard<Platform>;

/// Secrets, the keys of tokens and HTTPRoutes are not watched: they are looked
/// at again this often.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// An object whose reference leads nowhere is tried again at least this often:
/// a person who has just made the missing Secret is waiting.
const MISSING_REFERENCE_RETRY: Duration = Duration::from_secs(5);

/// The objects of a deleted Platform are collected within moments, and its
/// claims when its pods have ended; one of the same name waits for that.
const PREDECESSOR_RETRY: Duration = Duration::from_millis(500);
/// After so many looks, some forty seconds, it is told what is waited for: pods
/// have thirty to end.
const PREDECESSOR_LOOKS: u32 = 100;

/// A request that is not answered is given up after this time, with the
/// reconcile that waits for it: the client itself would wait for ever.
const RECONCILE_LIMIT: Duration = Duration::from_secs(120);

/// Failures in a row after which they are told in the status. Fewer are a
/// hiccup, and told in the log only.
const TELLING_FAILURES: u32 = 4;

/// What the reconciles of Platforms have at hand, beside what all have.
#[derive(Clone, Debug)]
pub struct Platforms {
    /// The images of the services.
    pub images: Arc<ServiceImages>,
    /// The objects of Platforms, from watches.
    pub children: PlatformChildren,
    /// Statuses that were written and that the watch has not told of yet.
    pub statuses: Arc<WrittenStatuses<PlatformStatus>>,
    /// The objects as they were written last.
    pub written: Arc<WrittenObjects>,
    /// Who signs the tokens of service accounts.
    pub issuer: Arc<TokenIssuer>,
    // Whether the watch of the Platforms themselves has told of all of them.
    are_read: Arc<watch::Sender<bool>>,
}

impl Platforms {
    /// With nothing known yet.
    #[must_use]
    pub fn new(images: ServiceImages) -> Self {
        Self {
            images: Arc::new(images),
            children: PlatformChildren::default(),
            statuses: Arc::default(),
            written: Arc::default(),
            issuer: Arc::default(),
            are_read: Arc::new(watch::Sender::new(false)),
        }
    }

    /// The same for another scope of watches: with nothing known of the objects
    /// there yet.
    #[must_use]
    pub fn scoped(&self) -> Self {
        Self {
            children: PlatformChildren::default(),
            are_read: Arc::new(watch::Sender::new(false)),
            ..self.clone()
        }
    }

    /// Waits until the watches have told of all Platforms and of their objects.
    pub async fn wait_until_ready(&self) {
        // The sender lives as long as `self`, so the wait ends only when ready.
        let _ = self.are_read.subscribe().wait_for(|are_read| *are_read).await;
        self.children.wait_until_ready().await;
    }

    /// The kinds of which the watches have not told yet.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let platforms = (!*self.are_read.borrow()).then_some("Platform");
        platforms.into_iter().chain(self.children.missing()).collect()
    }

    fn forget(&self, uid: &str) {
        self.statuses.forget(uid);
        self.written.forget(uid);
    }
}

/// Reconciles Platforms, in one namespace or in all, until `stopped`.
pub async fn run(
    context: Context,
    namespace: Option<&str>,
    concurrency: u16,
    stopped: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let children = context.platforms.children.follow(&context.client, namespace);
    let (reader, writer) = store::<Guarded>();
    let seen = context.clone();
    let api = watches::scoped(&context.client, namespace);
    let objects = watches::objects(api, writer, move |event| match event {
        watcher::Event::InitDone => {
            seen.platforms.are_read.send_replace(true);
        }
        watcher::Event::Delete(object) => {
            if let Some(uid) = object.uid() {
                seen.platforms.forget(&uid);
                seen.rules.forget(&uid);
                seen.backoffs.succeeded(&uid);
            }
        }
        _ => {}
    });

    Controller::for_stream(objects, reader)
        .reconcile_on(children.map(|owner| watches::owner::<Guarded>(&owner)))
        .with_config(controller::Config::default().concurrency(concurrency))
        .graceful_shutdown_on(stopped)
        .run(reconcile, error_policy, Arc::new(context))
        .for_each(|result| async move {
            if let Err(error) = result {
                watches::report("Platforms", &error);
            }
        })
        .await;
}

async fn reconcile(guarded: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Error> {
    let _in_flight = context.metrics.reconcile(Kind::Platform);
    let work = async {
        context.platforms.children.wait_until_ready().await;
        match &guarded.0 {
            Ok(platform) if platform.metadata.deletion_timestamp.is_some() => Ok(Action::await_change()),
            Ok(platform) => reconcile_readable(platform, &context).await,
            Err(invalid) => {
                status::report_unreadable(invalid, &context).await.map(|()| Action::await_change())
            }
        }
    };
    tokio::time::timeout(RECONCILE_LIMIT, work).await.map_err(|_| Error::TimedOut(RECONCILE_LIMIT))?
}

async fn reconcile_readable(platform: &Platform, context: &Context) -> Result<Action, Error> {
    let now = Timestamp::now();
    let current = status::current(platform, context);
    if labels::is_paused(platform) {
        status::report_paused(platform, &current, now, context).await?;
        return Ok(Action::await_change());
    }
    // dereference: reads what the specification refers to, and the objects
    let observed = match dereference::dereference(platform, context).await {
        Ok(observed) => observed,
        Err(error) => return fail(platform, &current, error, now, context).await,
    };
    if observed.references.predecessor {
        return wait_for_predecessor(platform, &current, now, context).await;
    }
    // validate: pure
    let validated = match validate::validate(platform, &observed, &context.rules, SERVICES) {
        Ok(validated) => validated,
        Err(rejection) => return reject(platform, &current, &rejection, now, context).await,
    };
    // build: pure, cannot fail
    let api_server_ports = context.network_policies.api_server_ports();
    let prepared = build::build(&validated, &context.platforms.images, api_server_ports);
    // apply: writes the objects
    let mut applied = match apply::apply(&prepared, platform, &observed, context).await {
        Ok(Application::Applied(applied)) => applied,
        Ok(Application::PredecessorRemains) => {
            return wait_for_predecessor(platform, &current, now, context).await;
        }
        Ok(Application::NameTaken(rejection)) => {
            return reject(platform, &current, &rejection, now, context).await;
        }
        Err(error) => return fail(platform, &current, error, now, context).await,
    };
    // status: writes what became of it
    let outcome = outcome::outcome(&validated, &applied, &observed);
    status::report_outcome(platform, &current, &outcome, now, context).await?;
    if !applied.refused.is_empty() {
        return Err(applied.refused.swap_remove(0));
    }
    context.backoffs.succeeded(&validated.uid);
    let is_missed = validated.missing_secret.is_some();
    Ok(Action::requeue(if is_missed { MISSING_REFERENCE_RETRY } else { LOOK_AGAIN }))
}

async fn reject(
    platform: &Platform,
    current: &PlatformStatus,
    rejection: &Rejection,
    now: Timestamp,
    context: &Context,
) -> Result<Action, Error> {
    status::report_rejection(platform, current, rejection, now, context).await?;
    let uid = platform.uid().unwrap_or_default();
    Ok(if rejection.is_missing_reference() {
        Action::requeue(context.backoffs.failed(&uid).min(MISSING_REFERENCE_RETRY))
    } else {
        context.backoffs.succeeded(&uid);
        Action::await_change()
    })
}

/// Tells of an error that occurs again and again, and hands it on.
async fn fail(
    platform: &Platform,
    current: &PlatformStatus,
    error: Error,
    now: Timestamp,
    context: &Context,
) -> Result<Action, Error> {
    if context.backoffs.in_a_row(&platform.uid().unwrap_or_default()) >= TELLING_FAILURES {
        status::report_error(platform, current, &error, now, context).await?;
    }
    Err(error)
}

/// What is left of a deleted Platform is collected within moments, usually.
async fn wait_for_predecessor(
    platform: &Platform,
    current: &PlatformStatus,
    now: Timestamp,
    context: &Context,
) -> Result<Action, Error> {
    let uid = platform.uid().unwrap_or_default();
    if context.backoffs.in_a_row(&uid) >= PREDECESSOR_LOOKS {
        return reject(platform, current, &Rejection::PredecessorRemains, now, context).await;
    }
    Ok(Action::requeue(context.backoffs.failed(&uid).min(PREDECESSOR_RETRY)))
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that kube asks for")]
fn error_policy(guarded: Arc<Guarded>, error: &Error, context: Arc<Context>) -> Action {
    let wait = context.backoffs.failed(&guarded.uid().unwrap_or_default());
    context.metrics.failed(Kind::Platform, error.reason());
    tracing::warn!(
        error = %chain(error),
        reason = error.reason(),
        namespace = guarded.namespace(),
        platform = guarded.name_any(),
        retry_in_milliseconds = wait.as_millis(),
        "A Platform could not be reconciled and is tried again."
    );
    Action::requeue(wait)
}
