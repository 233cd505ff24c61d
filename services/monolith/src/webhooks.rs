//! Telling somebody that a request has ended: a CloudEvent, signed and sent by
//! the Standard Webhooks specification, again and again for a day.

mod signature;
mod target;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use service_kit::Problem;
use service_kit::database::{milliseconds, now_milliseconds};
use service_kit::queue::{Backoff, Job, JobFailure, Worker, WorkerSettings};
use service_kit::spans::Span;
use service_kit::trace_context::TraceContext;

use self::signature::Secret;
use self::target::{Target, TargetError};
use crate::counters::Delivery;
use crate::gateway::Gateway;
use crate::requests::{self, Answer, RequestStatus, Stored, Task, Webhook, WebhookState};
use crate::time;

/// More than fit into a day.
pub const MOST_ATTEMPTS: u32 = 200;
/// After this time it is given up.
const GIVE_UP: Duration = Duration::from_secs(24 * 3600);
/// 2 s after the first failure, then twice as long each time, up to an hour.
const RETRIES: Backoff = Backoff { first: Duration::from_secs(2), longest: Duration::from_secs(3600) };
/// How long a receiver may take: it should keep the message and do its work later.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
const AT_ONCE: usize = 8;
/// How soon another replica goes on with the deliveries of one that has died.
const LEASE: Duration = Duration::from_secs(15);
/// What a receiver may ask for by `Retry-After`.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
const MEDIA_TYPE: &str = "application/cloudevents+json";
const EVENT_TYPE: &str = "dev.aisaas.request.completed";

/// Whether a webhook can be used, as far as that can be told before.
///
/// # Errors
/// If it cannot: what has to be changed.
pub fn check(webhook: &Webhook, allow_private: bool) -> Result<(), Problem> {
    let wrong = |detail: String, pointer: &str| Problem::unprocessable(detail).with("pointer", pointer);
    Target::parse(&webhook.url, allow_private).map_err(|error| wrong(format!("{error}."), "webhook.url"))?;
    if Secret::parse(&webhook.secret).is_none() {
        let detail = "The secret of the webhook is `whsec_` and 24 to 64 bytes as base64.".to_owned();
        return Err(wrong(detail, "webhook.secret"));
    }
    Ok(())
}

/// Delivers until `stop`.
pub async fn deliver(gateway: Arc<Gateway>, stop: impl Future<Output = ()> + Send) {
    let queue = gateway.requests.webhooks.clone();
    let settings =
        WorkerSettings { concurrency: AT_ONCE, lease: LEASE, backoff: RETRIES, ..WorkerSettings::default() };
    let handler = move |job: Job| {
        let gateway = Arc::clone(&gateway);
        async move { handle(&gateway, &job).await }
    };
    Worker::new(&queue, handler, settings).run(stop).await;
}

/// What has come of an attempt.
enum Attempt {
    Delivered,
    /// It may succeed later, not before this time has passed, as the receiver says.
    Later(String, Option<Duration>),
    Never(String),
}

async fn handle(gateway: &Gateway, job: &Job) -> Result<(), JobFailure> {
    let id: String = job.payload()?;
    let again =
        |error: service_kit::database::DatabaseError| JobFailure::again(service_kit::problem::chain(&error));
    let Some(request) = requests::load(&gateway.database, &id).await.map_err(again)? else { return Ok(()) };
    let asked = TraceContext::parse(&request.trace);
    let mut span = Span::job(gateway.requests.webhooks.name(), job, asked.as_ref());
    let told = tell(gateway, job, &request).await;
    span.attempted(&told);
    told
}

/// One attempt at telling of the end of a request.
async fn tell(gateway: &Gateway, job: &Job, request: &Stored) -> Result<(), JobFailure> {
    let again =
        |error: service_kit::database::DatabaseError| JobFailure::again(service_kit::problem::chain(&error));
    let id = &request.id;
    let (Some(webhook), Some(state)) = (&request.order.webhook, &request.webhook) else { return Ok(()) };
    let given_up = given_up(now_milliseconds() - job.created_at, job.attempt, job.max_attempts);
    let attempt = match (send(gateway, request, webhook).await, given_up) {
        (Attempt::Later(error, _), Some(tried)) => Attempt::Never(format!("{error} ({tried})")),
        (attempt, _) => attempt,
    };
    let (outcome, status, error, result) = match attempt {
        Attempt::Delivered => (Delivery::Delivered, "delivered", None, Ok(())),
        Attempt::Later(error, after) => {
            let failure = JobFailure::again_after(pause(after, job.attempt), &error);
            (Delivery::Postponed, "pending", Some(error), Err(failure))
        }
        Attempt::Never(error) => {
            tracing::warn!(request = id, error, "A webhook is given up.");
            // It is in the state of the request; nobody has to look at a dead job.
            (Delivery::GivenUp, "failed", Some(error), Ok(()))
        }
    };
    gateway.counters.delivery(outcome);
    let state = WebhookState {
        status: status.to_owned(),
        attempts: state.attempts.saturating_add(1),
        error,
        ..state.clone()
    };
    requests::save_webhook(&gateway.database, id, &state).await.map_err(again)?;
    result
}

/// Why there is no attempt after this one, if it fails: without a word of it
/// here, the queue would bury the job and the request would wait for ever.
fn given_up(age_milliseconds: i64, attempt: u32, max_attempts: u32) -> Option<String> {
    if age_milliseconds > milliseconds(GIVE_UP) {
        return Some("tried for a day".to_owned());
    }
    (attempt >= max_attempts).then(|| format!("tried {attempt} times"))
}

/// How long it is waited after a failed attempt. A receiver can ask for more
/// time and not for less: one that always says 0 would be called without end.
fn pause(asked: Option<Duration>, attempt: u32) -> Duration {
    let usual = RETRIES.wait(attempt);
    asked.map_or(usual, |asked| asked.min(LONGEST_RETRY_AFTER).max(usual))
}

async fn send(gateway: &Gateway, request: &Stored, webhook: &Webhook) -> Attempt {
    let live = gateway.live();
    let allow_private = live.settings.allow_private_webhooks;
    let target = match Target::parse(&webhook.url, allow_private) {
        Ok(target) => target,
        Err(error) => return Attempt::Never(error.to_string()),
    };
    let Some(secret) = Secret::parse(&webhook.secret) else {
        return Attempt::Never("the secret cannot be read".to_owned());
    };
    let addresses = match target.resolve(allow_private).await {
        Ok(addresses) => addresses,
        Err(error @ TargetError::Unknown) => return Attempt::Later(error.to_string(), None),
        Err(error) => return Attempt::Never(error.to_string()),
    };
    // A client of its own: it knows these addresses and no others.
    let mut client = reqwest::Client::builder()
        .timeout(ANSWER_LIMIT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("ai-saas-platform/", env!("CARGO_PKG_VERSION")));
    if let Some(domain) = target.domain() {
        client = client.resolve_to_addrs(domain, &addresses);
    }
    let client = match client.build() {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(error = %service_kit::problem::chain(&error), "No client for a webhook can be made.");
            return Attempt::Later("the gateway cannot send anything at present".to_owned(), None);
        }
    };
    let source =
        live.settings.url.as_ref().map_or("/v1/requests".to_owned(), |url| format!("{url}v1/requests"));
    // The same message each time, under the same id: a receiver tells repeats by it.
    let body = match event(request, &source) {
        Ok(body) => body,
        Err(error) => return Attempt::Never(format!("the message cannot be written: {error}")),
    };
    let message = format!("msg_{}", request.id);
    let timestamp = Timestamp::now().as_second();
    let sent = client
        .post(target.url.clone())
        .header(header::CONTENT_TYPE, MEDIA_TYPE)
        .header("webhook-id", &message)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", secret.sign(&message, timestamp, &body))
        .body(body)
        .send()
        .await;
    match sent {
        Ok(response) => judged(response.status(), response.headers()),
        Err(error) => Attempt::Later(unsent(request, error), None),
    }
}

/// Why a message has not arrived, for who made the request. What the network
/// said is only logged: by it, they could find out what the cluster can reach.
fn unsent(request: &Stored, error: reqwest::Error) -> String {
    let what = if error.is_timeout() {
        "the receiver has not answered in time"
    } else if error.is_connect() {
        "the receiver cannot be reached"
    } else {
        "the receiver has not answered as it should"
    };
    let error = service_kit::problem::chain(&error.without_url());
    tracing::warn!(request = request.id, error, "A webhook was not delivered.");
    what.to_owned()
}

fn judged(status: StatusCode, headers: &HeaderMap) -> Attempt {
    if status.is_success() {
        return Attempt::Delivered;
    }
    // The receiver wants no more of these.
    if status == StatusCode::GONE {
        return Attempt::Never("the receiver answers with 410 Gone".to_owned());
    }
    let after = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Attempt::Later(format!("the receiver answers with {status}"), after.map(Duration::from_secs))
}

/// A CloudEvent 1.0.
#[derive(Serialize)]
struct Event<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    subject: &'a str,
    time: Timestamp,
    datacontenttype: &'static str,
    data: Ended<'a>,
}

/// A request that has ended, without what has come out of its tasks: that may
/// be large, and is for who has a key.
#[derive(Serialize)]
struct Ended<'a> {
    id: &'a str,
    url: String,
    status: RequestStatus,
    input: &'a str,
    answer: Option<&'a Answer>,
    tasks: &'a [Task],
}

/// The end of a request as a CloudEvent, in JSON.
fn event(request: &Stored, source: &str) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Event {
        specversion: "1.0",
        id: &request.id,
        source,
        kind: EVENT_TYPE,
        subject: &request.id,
        time: time::at(request.ended_at.unwrap_or(request.updated_at)),
        datacontenttype: "application/json",
        data: Ended {
            id: &request.id,
            url: format!("/v1/requests/{}", request.id),
            status: request.status,
            input: &request.order.input,
            answer: request.state.answer.as_ref(),
            tasks: &request.state.tasks,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_decides_what_comes_next() {
        let headers = HeaderMap::new();
        assert!(matches!(judged(StatusCode::NO_CONTENT, &headers), Attempt::Delivered));
        assert!(matches!(judged(StatusCode::GONE, &headers), Attempt::Never(_)));
        // Redirects are not followed.
        for status in [StatusCode::FOUND, StatusCode::NOT_FOUND, StatusCode::INTERNAL_SERVER_ERROR] {
            assert!(matches!(judged(status, &headers), Attempt::Later(_, None)));
        }
        let headers = HeaderMap::from_iter([(header::RETRY_AFTER, "30".parse().unwrap())]);
        let Attempt::Later(_, after) = judged(StatusCode::TOO_MANY_REQUESTS, &headers) else { panic!() };
        assert_eq!(after, Some(Duration::from_secs(30)));
    }

    #[test]
    fn a_receiver_can_put_the_next_attempt_off_but_not_hurry_it() {
        let seconds = Duration::from_secs;
        assert!(pause(None, 1) >= seconds(1) && pause(None, 1) <= seconds(2));
        assert!(pause(Some(Duration::ZERO), 1) >= seconds(1));
        assert!(pause(Some(seconds(5)), 20) >= seconds(1800));
        assert_eq!(pause(Some(seconds(90)), 1), seconds(90));
        assert_eq!(pause(Some(seconds(u64::MAX)), 1), LONGEST_RETRY_AFTER);
    }

    #[test]
    fn the_last_attempt_is_known_by_its_age_and_by_its_number() {
        let day = milliseconds(GIVE_UP);
        assert_eq!(given_up(day, MOST_ATTEMPTS - 1, MOST_ATTEMPTS), None);
        assert_eq!(given_up(day + 1, 1, MOST_ATTEMPTS).as_deref(), Some("tried for a day"));
        assert_eq!(given_up(0, MOST_ATTEMPTS, MOST_ATTEMPTS).as_deref(), Some("tried 200 times"));
    }

    #[test]
    fn a_webhook_is_looked_at_before_it_is_kept() {
        let webhook = |url: &str, secret: &str| Webhook { url: url.to_owned(), secret: secret.to_owned() };
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert!(check(&webhook("https://example.com/", secret), false).is_ok());
        assert_eq!(
            check(&webhook("https://example.com/", "x"), false).unwrap_err().extensions["pointer"],
            "webhook.secret"
        );
        let problem = check(&webhook("http://169.254.169.254/", secret), false).unwrap_err();
        assert_eq!(problem.extensions["pointer"], "webhook.url");
        assert!(problem.detail.contains("not public"));
    }
}
