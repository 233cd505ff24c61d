//! `GET /v1/requests/{id}/events`: what happens to a request, as server-sent
//! events (HTML standard, section 9.2). They are rows, so that a client that
//! was cut off goes on where it was, also at another replica.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use service_kit::Problem;
use service_kit::changes::Listener;
use service_kit::database::{Database, DatabaseError};
use service_kit::extract::Path;
use tokio::sync::OwnedSemaphorePermit;

use super::progress;
use super::store::{self, Event, LAST_EVENT};
use crate::gateway::Gateway;
use crate::problems;

/// Longer silence makes proxies think that nobody is there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often it is looked for what happens at other replicas.
const LOOK: Duration = Duration::from_secs(2);
/// How soon a client that was cut off should come back.
const COME_BACK: Duration = Duration::from_secs(1);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Follow a request
///
/// What happens to it, as server-sent events: `request` when its status
/// changes, `task` when that of a task does, and `completed` at the end, after
/// which nothing comes. `Last-Event-ID` goes on after that event.
#[utoipa::path(
    get,
    path = "/v1/requests/{id}/events",
    operation_id = "followRequest",
    tag = "requests",
    params(
        ("id" = String, Path, description = "Its id"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received")
    ),
    responses(
        (status = 200, description = "The events", body = String, content_type = "text/event-stream"),
        (status = 204, description = "All events were received before")
    )
)]
pub async fn follow(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last =
        headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()?.trim().parse().ok()).unwrap_or(0);
    let listener = gateway.requests.listen();
    let progress = progress(&gateway, &id).await?;
    // By this a browser knows not to come back.
    if progress.status.is_final() && progress.revision <= last {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let permit = Arc::clone(&gateway.requests.streams).try_acquire_owned().map_err(|_| {
        Problem::unavailable("As many streams of events are open as may be at once.", Duration::from_secs(5))
    })?;
    gateway.counters.event_streams.inc();
    let follower = Follower {
        open: Open { gateway, _permit: permit },
        id,
        // Nobody has received what has not happened: a number beyond it would
        // keep all that comes from the client, the end as well.
        last: last.min(progress.revision),
        listener,
        ready: VecDeque::new(),
        is_over: false,
    };
    // A comment, which keeps the connection and means nothing.
    let alive = KeepAlive::new().interval(HEARTBEAT).text("still there");
    Ok(Sse::new(follower.events()).keep_alive(alive).into_response())
}

/// A stream that is open, and counted as long as it is.
struct Open {
    gateway: Arc<Gateway>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gateway.counters.event_streams.dec();
    }
}

/// Who follows a request.
struct Follower {
    open: Open,
    id: String,
    /// The last event that was sent.
    last: i64,
    listener: Listener,
    ready: VecDeque<Event>,
    is_over: bool,
}

impl Follower {
    fn events(self) -> impl Stream<Item = Result<sse::Event, Infallible>> {
        futures::stream::unfold(self, |mut follower| async move {
            let event = follower.next().await?;
            let sent = sse::Event::default()
                .id(event.revision.to_string())
                .event(event.name)
                .retry(COME_BACK)
                .data(event.data);
            Some((Ok(sent), follower))
        })
    }

    /// The next event; `None` after the last one, and when the process stops:
    /// the client comes back, to another one.
    async fn next(&mut self) -> Option<Event> {
        let gateway = &self.open.gateway;
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.last = event.revision;
                self.is_over = event.name == LAST_EVENT;
                return Some(event);
            }
            if self.is_over || *gateway.stopping.borrow() {
                return None;
            }
            match look(&gateway.database, &self.id, self.last).await {
                Ok(None) => return None,
                Ok(Some(events)) if events.is_empty() => {}
                Ok(Some(events)) => {
                    self.ready.extend(events);
                    continue;
                }
                Err(error) => {
                    // Logs what it is. The client comes back by itself.
                    let _ = problems::database(error);
                    return None;
                }
            }
            tokio::select! {
                () = self.listener.changed(&self.id, LOOK) => {}
                () = service_kit::server::until(gateway.stopping.clone()) => return None,
            }
        }
    }
}

/// What has happened to a request after an event; `None` if nothing more comes:
/// it has ended with that event, or was removed.
async fn look(database: &Database, id: &str, last: i64) -> Result<Option<Vec<Event>>, DatabaseError> {
    let events = store::events(database, id, last).await?;
    if !events.is_empty() {
        return Ok(Some(events));
    }
    let progress = store::progress(database, id).await?;
    let is_over = progress.is_none_or(|progress| progress.status.is_final() && progress.revision <= last);
    Ok((!is_over).then_some(events))
}
