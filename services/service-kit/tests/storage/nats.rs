//! A NATS server with JetStream, started by the tests and stopped by them.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;
use service_kit::metrics::Metrics;
use service_kit::queue::{Dispatch, DispatchSettings};
use tempfile::TempDir;
use uuid::Uuid;

use crate::process::{Process, free_port};

/// The server of all tests that do not disturb it.
static SHARED: Mutex<Weak<NatsServer>> = Mutex::new(Weak::new());

#[derive(Debug)]
pub struct NatsServer {
    folder: TempDir,
    port: u16,
    /// Who may connect; everybody, if nobody is named.
    user: Option<(&'static str, &'static str)>,
    process: Mutex<Option<Process>>,
}

impl NatsServer {
    fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Self::to_be_started(None);
        server.start();
        let server = Arc::new(server);
        *shared = Arc::downgrade(&server);
        server
    }

    /// One that does not run yet, at an address that is known already.
    pub fn to_be_started(user: Option<(&'static str, &'static str)>) -> Self {
        let folder = tempfile::Builder::new().prefix("aisaas-nats-").tempdir().expect("folder");
        Self { folder, port: free_port(), user, process: Mutex::default() }
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts it with what is stored, and waits until it answers.
    pub fn start(&self) {
        let log = self.folder.path().join("log");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig=KILL", "--"])
            .arg(program())
            .args(["--jetstream", "--addr", "127.0.0.1"])
            .arg("--port")
            .arg(self.port.to_string())
            .arg("--store_dir")
            .arg(self.folder.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::options().create(true).append(true).open(&log).expect("log"));
        if let Some((user, password)) = self.user {
            command.args(["--user", user, "--pass", password]);
        }
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(Process::start(command));
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.answers() {
            if Instant::now() > deadline {
                panic!("NATS does not start: {}", fs::read_to_string(&log).unwrap_or_default());
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// It greets whoever connects.
    fn answers(&self) -> bool {
        let Ok(stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut greeting = String::new();
        stream.set_read_timeout(Some(Duration::from_secs(5))).is_ok()
            && BufReader::new(stream).read_line(&mut greeting).is_ok()
            && greeting.starts_with("INFO ")
    }

    /// Ends it as a loss of power would.
    pub fn kill(&self) {
        if let Some(process) = self.process.lock().unwrap_or_else(PoisonError::into_inner).take() {
            process.kill();
        }
    }
}

/// Not to be run where others wait for the same thread.
pub async fn blocking(server: &Arc<NatsServer>, what: fn(&NatsServer)) {
    let server = Arc::clone(server);
    tokio::task::spawn_blocking(move || what(&server)).await.expect("server");
}

/// Where `cargo xtask test` has put the server.
fn program() -> PathBuf {
    let program = std::env::var_os("NATS_SERVER").expect(
        "NATS_SERVER does not name a nats-server: run the tests by `cargo xtask test`, or set it to one of 2.9 \
         or newer",
    );
    PathBuf::from(program)
}

/// A service that uses a server. Its replicas share the subject.
#[derive(Clone, Debug)]
pub struct Service {
    pub url: String,
    pub subject: String,
    credentials: Option<PathBuf>,
    /// Runs for as long as somebody holds it.
    _server: Option<Arc<NatsServer>>,
}

impl Service {
    pub fn of(server: &NatsServer) -> Self {
        let subject = format!("test.{}", Uuid::now_v7().simple());
        Self { url: server.url(), subject, credentials: None, _server: None }
    }

    /// One at the server that tests share.
    pub fn of_shared() -> Self {
        let server = NatsServer::shared();
        Self { _server: Some(Arc::clone(&server)), ..Self::of(&server) }
    }

    pub fn with_credentials(self, folder: PathBuf) -> Self {
        Self { credentials: Some(folder), ..self }
    }

    /// The stream of its queue `mails`.
    pub fn stream(&self) -> String {
        format!("{}_mails", self.subject.replace('.', "_"))
    }

    /// One more process of it.
    pub fn replica(&self) -> Replica {
        let settings = json!({ "natsJetStream": {
            "url": self.url, "subject": self.subject, "credentialsFolder": self.credentials,
        } });
        let settings: DispatchSettings = serde_json::from_value(settings).expect("settings");
        let metrics = Metrics::new("test");
        Replica { dispatch: Dispatch::start(Some(&settings), &metrics), metrics }
    }
}

/// What a process has of NATS.
#[derive(Debug)]
pub struct Replica {
    pub dispatch: Dispatch,
    metrics: Metrics,
}

impl Replica {
    fn counts(&self, line: &str) -> bool {
        self.metrics.render().expect("metrics").lines().any(|found| found == line)
    }

    /// Whether NATS hands out the jobs of the queue `mails`.
    pub fn is_up(&self) -> bool {
        self.counts("test_queue_nats_up{queue=\"mails\"} 1")
    }

    /// Whether just one of them was found in the database that NATS had not
    /// handed out. A worker that hardly ever looks finds none.
    pub fn has_missed_one(&self) -> bool {
        self.counts("test_queue_jobs_missed_by_nats_total{queue=\"mails\"} 1")
    }
}
