//! Calling another service: with an identity, a deadline, the trace of the
//! request that it is for, and retries where they can do no harm.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderValue, Method, StatusCode, header};
use rand::Rng;
use reqwest::{Request, Response};
use url::Url;

use crate::limits::{DEADLINE, Deadline};
use crate::problem::Problem;
use crate::spans::Span;
use crate::trace_context::TraceContext;

/// A service of the same cluster either takes a connection within moments or not at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// The kubelet renews a token when a fifth of its time is left, so an old one
/// of this age is still good.
const TOKEN_AGE: Duration = Duration::from_secs(30);
/// How often a call is tried.
const ATTEMPTS: u32 = 3;
/// The first wait between attempts is at most this long, each further one twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// Where a service is, and how to be let in.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Its name, as in the table of services.
    pub service: String,
    /// Where it is.
    pub url: Url,
    /// The file with the token for it; without one, calls carry none.
    pub token_file: Option<PathBuf>,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The service cannot be reached, or has broken off.
    #[error("the service `{service}` cannot be reached")]
    Unreachable {
        /// Its name.
        service: String,
        /// What happened.
        source: reqwest::Error,
    },
    /// The deadline has passed.
    #[error("the service `{service}` has not answered in time")]
    TimedOut {
        /// Its name.
        service: String,
    },
    /// The token cannot be read.
    #[error("the token for the service `{service}` cannot be read")]
    Token {
        /// Its name.
        service: String,
        /// What was in the way.
        source: io::Error,
    },
    /// The request makes no sense.
    #[error("a request to the service `{service}` could not be made")]
    Request {
        /// Its name.
        service: String,
        /// What is wrong with it.
        source: reqwest::Error,
    },
}

impl ClientError {
    /// In a word, for spans.
    fn kind(&self) -> Option<&'static str> {
        match self {
            Self::TimedOut { .. } => Some("timeout"),
            Self::Unreachable { source, .. } => source.is_connect().then_some("connect"),
            Self::Token { .. } | Self::Request { .. } => None,
        }
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::Unreachable { service, source } => {
                tracing::warn!(service, error = %crate::problem::chain(source), "A service cannot be reached.");
                Self::unavailable(
                    format!("The service `{service}` cannot be reached at present."),
                    Duration::from_secs(2),
                )
            }
            ClientError::TimedOut { service } => {
                Self::timed_out(format!("The service `{service}` has not answered in time."))
            }
            ClientError::Token { .. } | ClientError::Request { .. } => Self::internal(&error),
        }
    }
}

/// For whom a call is made, and what may be done about it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// When the answer has to be there.
    pub deadline: Deadline,
    /// The request that it is for.
    pub trace: &'a TraceContext,
    /// Whether doing it twice is the same as doing it once. Those of methods
    /// for which HTTP says so (RFC 9110, section 9.2.2) are in any case.
    pub is_idempotent: bool,
}

/// Calls one service.
#[derive(Debug)]
pub struct ServiceClient {
    settings: ClientSettings,
    http: reqwest::Client,
    token: Mutex<Option<(HeaderValue, Instant)>>,
}

impl ServiceClient {
    /// A client for a service.
    ///
    /// # Errors
    /// If the HTTP client cannot be made.
    pub fn new(settings: ClientSettings) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            // Less than the time after which a server closes a quiet connection.
            .pool_idle_timeout(Duration::from_secs(10))
            .tcp_nodelay(true)
            // Services of a platform answer themselves, and are not asked by way of others.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|source| ClientError::Request { service: settings.service.clone(), source })?;
        Ok(Self { settings, http, token: Mutex::default() })
    }

    /// The name of the service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.settings.service
    }

    /// Begins a request. `path` starts with a slash, and may have a query.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let base = self.settings.url.as_str().trim_end_matches('/');
        self.http.request(method, format!("{base}{path}"))
    }

    /// Sends a request. Any response is an answer, whatever its status;
    /// reading its body is bound by the same deadline.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send(
        &self,
        request: reqwest::RequestBuilder,
        call: Call<'_>,
    ) -> Result<Response, ClientError> {
        let service = || self.settings.service.clone();
        let mut request =
            request.build().map_err(|source| ClientError::Request { service: service(), source })?;
        if let Some(token) =
            self.token().map_err(|source| ClientError::Token { service: service(), source })?
        {
            request.headers_mut().insert(header::AUTHORIZATION, token);
        }
        let is_repeatable = call.is_idempotent || request.method().is_idempotent();
        let mut attempt = 1;
        loop {
            // A body that is a stream can be sent once only.
            let again = (attempt < ATTEMPTS).then(|| request.try_clone()).flatten();
            let result = self.attempt(request, call).await;
            let (Some(next), Some(wait)) = (again, pause(&result, is_repeatable, attempt)) else {
                return result;
            };
            if wait >= call.deadline.left() {
                return result;
            }
            tracing::debug!(service = self.settings.service, attempt, "A call failed and is tried again.");
            tokio::time::sleep(wait).await;
            request = next;
            attempt += 1;
        }
    }

    async fn attempt(&self, mut request: Request, call: Call<'_>) -> Result<Response, ClientError> {
        let left = call.deadline.left();
        if left.is_zero() {
            return Err(ClientError::TimedOut { service: self.settings.service.clone() });
        }
        let mut span = Span::client(call.trace, &self.settings.service, request.method(), request.url());
        span.context().inject(request.headers_mut());
        request.headers_mut().insert(DEADLINE, call.deadline.header());
        *request.timeout_mut() = Some(left);
        let answered = self.http.execute(request).await.map_err(|source| {
            let service = self.settings.service.clone();
            if source.is_timeout() && call.deadline.left().is_zero() {
                ClientError::TimedOut { service }
            } else {
                ClientError::Unreachable { service, source }
            }
        });
        match &answered {
            Ok(response) => span.answered(response.status()),
            Err(error) => span.failed(error.kind()),
        }
        answered
    }

    /// The value of the header `Authorization` for the service, for who sends
    /// requests in another way. `None` if calls carry no token.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn token(&self) -> io::Result<Option<HeaderValue>> {
        let Some(path) = &self.settings.token_file else {
            return Ok(None);
        };
        let mut known = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((token, read)) = known.as_ref()
            && read.elapsed() < TOKEN_AGE
        {
            return Ok(Some(token.clone()));
        }
        let text = std::fs::read_to_string(path)?;
        let mut token = HeaderValue::try_from(format!("Bearer {}", text.trim()))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        token.set_sensitive(true);
        *known = Some((token.clone(), Instant::now()));
        Ok(Some(token))
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// How long to wait before another attempt; `None` if there should be none.
fn pause(result: &Result<Response, ClientError>, is_repeatable: bool, attempt: u32) -> Option<Duration> {
    let asked = match result {
        Ok(response) => {
            let is_passing = matches!(
                response.status(),
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
            );
            if !is_repeatable || !is_passing {
                return None;
            }
            retry_after(response)
        }
        // Without a connection nothing was sent.
        Err(ClientError::Unreachable { source, .. }) if is_repeatable || source.is_connect() => None,
        Err(_) => return None,
    };
    // Full jitter: those that failed together do not come again together.
    let most = FIRST_WAIT.saturating_mul(1 << attempt.min(8));
    let wait = most.mul_f64(rand::rng().random::<f64>());
    Some(asked.map_or(wait, |asked| asked + wait))
}
