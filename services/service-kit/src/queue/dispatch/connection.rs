use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectErrorKind, Event};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::error::DispatchError;
use super::settings::NatsSettings;
use super::task::Task;
use crate::problem::chain;
use crate::queue::Backoff;

/// How a server that is not there, or refuses, is tried again.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(10) };
/// How long connecting may take, with looking up the name.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How soon a server that says nothing any more is taken to be gone: at the
/// third time.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// The connection of a process to NATS, made again whenever it is lost.
#[derive(Debug)]
pub(super) struct Connection {
    state: watch::Receiver<State>,
    _keeper: Task,
}

#[derive(Clone, Debug)]
enum State {
    Connecting,
    Away(Arc<str>),
    Connected(Box<Connected>),
}

/// A connection that stands.
#[derive(Clone, Debug)]
pub(super) struct Connected {
    pub(super) context: Context,
    /// Tells it from those before and after it.
    epoch: u64,
}

impl Connection {
    pub(super) fn keep(settings: NatsSettings) -> Self {
        let (sender, state) = watch::channel(State::Connecting);
        Self { state, _keeper: Task::spawn(keep(settings, sender)) }
    }

    /// Waits until there is a connection, and tells meanwhile why there is none.
    pub(super) async fn connected(&self, is_away: impl Fn(&str)) -> Connected {
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                State::Connected(connected) => return (**connected).clone(),
                State::Away(cause) => is_away(cause),
                State::Connecting => {}
            }
            let is_over = state.changed().await.is_err();
            if is_over {
                // With the process.
                return pending().await;
            }
        }
    }

    /// Becomes ready when this connection is lost.
    pub(super) async fn lost(&self, connected: &Connected) {
        let mut state = self.state.clone();
        let is_another =
            |state: &State| !matches!(state, State::Connected(now) if now.epoch == connected.epoch);
        let is_over = state.wait_for(is_another).await.is_err();
        if is_over {
            pending::<()>().await;
        }
    }
}

async fn keep(settings: NatsSettings, state: watch::Sender<State>) {
    let mut failures = 0_u32;
    let mut epoch = 0_u64;
    loop {
        let (events, mut told) = mpsc::unbounded_channel();
        match connect(&settings, events).await {
            Ok(client) => {
                failures = 0;
                let context = jetstream::new(client);
                // From here on the client connects again by itself.
                while let Some(is_connected) = told.recv().await {
                    epoch = epoch.saturating_add(1);
                    state.send_replace(if is_connected {
                        State::Connected(Box::new(Connected { context: context.clone(), epoch }))
                    } else {
                        State::Away(DispatchError::Lost.to_string().into())
                    });
                }
                state.send_replace(State::Away("the connection was closed".into()));
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                state.send_replace(State::Away(chain(&error).into()));
            }
        }
        sleep(BACKOFF.wait(failures)).await;
    }
}

/// Connects. `events` is told, in order, whether there is a connection.
async fn connect(
    settings: &NatsSettings,
    events: mpsc::UnboundedSender<bool>,
) -> Result<Client, DispatchError> {
    let options = settings
        .options()
        .await?
        .name(settings.subject.as_str())
        .ping_interval(PING_INTERVAL)
        .event_callback(move |event| {
            match event {
                Event::Connected => {
                    let _ = events.send(true);
                }
                Event::Disconnected | Event::Closed => {
                    let _ = events.send(false);
                }
                _ => {}
            }
            ready(())
        });
    let url = || settings.url.clone();
    match timeout(CONNECT_LIMIT, options.connect(settings.url.as_str())).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(match error.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                DispatchError::Refused { url: url() }
            }
            _ => DispatchError::Unreachable { url: url(), source: error },
        }),
        Err(_) => Err(DispatchError::Slow { url: url() }),
    }
}
