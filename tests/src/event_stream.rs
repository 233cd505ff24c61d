//! Following a request by server-sent events (HTML standard, section 9.2).

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, Response};
use serde_json::Value;

use crate::FrontDoor;

/// No test follows for longer.
const LONGEST: Duration = Duration::from_secs(300);

/// What has happened to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its number: those that come later have higher ones.
    pub id: i64,
    /// What kind of event it is.
    pub name: String,
    /// What there is to say.
    pub data: Value,
}

/// The events of a request, as they come.
#[derive(Debug)]
pub struct EventStream {
    response: Response,
    unread: String,
}

impl EventStream {
    /// Follows a request from its beginning, or from after an event.
    ///
    /// # Errors
    /// If it cannot be followed.
    pub async fn follow(door: &FrontDoor, id: &str, last: Option<i64>) -> Result<Self> {
        let mut request = door.request(Method::GET, &format!("/v1/requests/{id}/events")).timeout(LONGEST);
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let response = request.send().await.context("following a request")?;
        ensure!(response.status() == 200, "{} instead of events", response.status());
        Ok(Self { response, unread: String::new() })
    }

    /// The next event; `None` after the last one.
    ///
    /// # Errors
    /// If the stream is broken off.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            while let Some((block, rest)) = self.unread.split_once("\n\n") {
                let event = event(block);
                self.unread = rest.to_owned();
                // What has no data is a comment.
                if let Some(event) = event? {
                    return Ok(Some(event));
                }
            }
            match self.response.chunk().await.context("reading events")? {
                Some(part) => self.unread.push_str(std::str::from_utf8(&part).context("events are text")?),
                None => return Ok(None),
            }
        }
    }

    /// All that still come.
    ///
    /// # Errors
    /// If the stream is broken off.
    pub async fn rest(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await? {
            events.push(event);
        }
        Ok(events)
    }
}

fn event(block: &str) -> Result<Option<Event>> {
    let field = |name: &str| block.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start()));
    let Some(data) = field("data:") else { return Ok(None) };
    Ok(Some(Event {
        id: field("id:").context("an event without an id")?.parse().context("the id of an event")?,
        name: field("event:").context("an event without a name")?.to_owned(),
        data: serde_json::from_str(data).with_context(|| format!("the data of an event: {data}"))?,
    }))
}
