//! The program under test, and how it is talked to.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use service_kit::database::{Database, DatabaseSettings, PoolBounds};
use tempfile::TempDir;
use uuid::Uuid;

use crate::postgresql;

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(60);
const CONFIGURATION: &str = "configuration.json";

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Analyses at once.
    pub concurrency: usize,
    /// The container's memory.
    pub memory_bytes: u64,
    /// What its temporary folder may hold, if that is limited.
    pub temporary_bytes: Option<u64>,
    /// The section `analyses` of the configuration.
    pub bounds: Value,
    /// An API server of Kubernetes, if there is one.
    pub kubernetes_url: Option<String>,
    /// The section `trust` of the configuration; null for none.
    pub trust: Value,
    /// The token that requests show.
    pub token: Option<String>,
    /// The PostgreSQL server that it has its database on; `None` for SQLite.
    pub postgresql: Option<Arc<postgresql::Server>>,
}

impl Options {
    /// With a database of its own on PostgreSQL.
    pub fn on_postgresql() -> Self {
        Self { postgresql: Some(postgresql::Server::shared()), ..Self::default() }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 2,
            memory_bytes: 1 << 30,
            temporary_bytes: None,
            bounds: json!({}),
            kubernetes_url: None,
            trust: Value::Null,
            token: None,
            postgresql: None,
        }
    }
}

/// A server with a folder of its own.
pub struct Server {
    process: Child,
    options: Options,
    folder: TempDir,
    address: String,
    http: Client,
}

impl Server {
    /// Starts one and waits until it listens.
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// Starts one that is special.
    pub fn start_with(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let mut configuration = json!({
            "platform": "test",
            "namespace": "test",
            "database": database(&options, folder.path()),
            "objects": {"folder": {"path": folder.path().join("data/objects")}},
            "analyses": options.bounds
        });
        if !options.trust.is_null() {
            configuration["trust"] = options.trust.clone();
        }
        std::fs::write(folder.path().join(CONFIGURATION), configuration.to_string()).expect("file");
        let (process, address) = spawn(folder.path(), &options);
        Self { process, options, folder, address, http: Client::new() }
    }

    /// Kills the server as a loss of power would, and starts another one on the same data.
    pub fn killed_and_started(mut self) -> Self {
        self.process.kill().expect("kill");
        self.process.wait().expect("end");
        let (process, address) = spawn(self.folder.path(), &self.options);
        (self.process, self.address) = (process, address);
        self
    }

    /// Tells the server to stop, waits until it has, and starts another one on the same data.
    pub fn stopped_and_started(mut self) -> Self {
        signal(self.process.id(), "-TERM");
        assert!(self.process.wait().expect("end").success());
        let (process, address) = spawn(self.folder.path(), &self.options);
        (self.process, self.address) = (process, address);
        self
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where the objects with this prefix are.
    pub fn objects(&self, prefix: &str) -> PathBuf {
        self.folder.path().join("data/objects").join(prefix)
    }

    /// Its database, as another pod sees it.
    pub async fn database(&self) -> Database {
        let text = std::fs::read(self.folder.path().join(CONFIGURATION)).expect("file");
        let mut configuration: Value = serde_json::from_slice(&text).expect("configuration");
        let settings: DatabaseSettings =
            serde_json::from_value(configuration["database"].take()).expect("settings");
        Database::open(&settings, &[], PoolBounds::default()).await.expect("database")
    }

    /// A request that is not sent yet.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let request = self.request_without_token(method, path);
        match &self.options.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// The same of somebody who shows no token, or another one.
    pub fn request_without_token(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("method");
        self.http.request(method, format!("http://{}{path}", self.address)).timeout(PATIENCE)
    }

    /// Gets something.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request("GET", path)).await
    }

    /// Deletes something.
    pub async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request("DELETE", path)).await
    }

    /// Sends JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.post_request(path, body)).await
    }

    /// The same before it is sent.
    pub fn post_request(&self, path: &str, body: &Value) -> RequestBuilder {
        self.request("POST", path).header("content-type", "application/json").body(body.to_string())
    }

    /// Uploads a version.
    pub async fn put(&self, name: &str, query: &str, data: impl Into<reqwest::Body>) -> Answer {
        Answer::of(self.request("PUT", &format!("/v1/datasets/{name}?{query}")).body(data)).await
    }

    /// Runs an analysis without waiting for it; gives its address.
    pub async fn begin(&self, analysis: &Value) -> String {
        let request = self.post_request("/v1/analyses", analysis).header("prefer", "respond-async");
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.header("location")
    }

    /// Waits until an analysis has ended.
    pub async fn ended(&self, address: &str) -> Value {
        self.until(address, |analysis| !matches!(analysis["status"].as_str(), Some("queued" | "running")))
            .await
    }

    /// Waits until an analysis is as it should be.
    pub async fn until(&self, address: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let analysis = self.get(&format!("{address}?wait=1")).await.json();
            if is_so(&analysis) {
                return analysis;
            }
            assert!(begun.elapsed() < PATIENCE, "{analysis}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The section `database` of the configuration.
fn database(options: &Options, folder: &Path) -> Value {
    let Some(server) = &options.postgresql else {
        return json!({"sqlite": {"path": folder.join("data/database.sqlite3")}});
    };
    let file = folder.join("url");
    std::fs::write(&file, server.url()).expect("file");
    json!({"postgresql": {"urlFile": file, "schema": format!("test_{}", Uuid::now_v7().simple())}})
}

fn spawn(folder: &Path, options: &Options) -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_analysis-base"));
    if let Some(bytes) = options.temporary_bytes {
        command.env("TEMPORARY_LIMIT_BYTES", bytes.to_string());
    }
    let mut process = command
        .arg("serve")
        .arg("--configuration")
        .arg(folder.join(CONFIGURATION))
        .arg("--work-folder")
        .arg(folder.join("work"))
        .arg("--listen")
        .arg("127.0.0.1:0")
        .env("MEMORY_LIMIT_BYTES", options.memory_bytes.to_string())
        .env("CPU_LIMIT", "2")
        // As its image has it.
        .env("MIMALLOC_ALLOW_THP", "0")
        .env("CONCURRENCY", options.concurrency.to_string())
        .envs(options.kubernetes_url.iter().map(|url| ("KUBERNETES_URL", url)))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start");
    let log = BufReader::new(process.stderr.take().expect("log"));
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = said["address"].as_str() {
                let _ = sender.send(address.to_owned());
            }
        }
    });
    let address = receiver.recv_timeout(PATIENCE).expect("the server listens");
    (process, address)
}

/// Sends a signal.
pub fn signal(pid: u32, signal: &str) {
    Command::new("kill").arg(signal).arg(pid.to_string()).status().expect("kill");
}

/// The processes that a process has started.
pub fn children(pid: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("processes");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|child| parent(*child) == Some(pid)).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// Waits until something is so.
pub async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the server answers.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Sends the request.
    pub async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.bytes().await.expect("body").to_vec() }
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header; empty if it is not there.
    pub fn header(&self, name: &str) -> String {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    }

    /// The detail of a problem of this status.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        self.json()["detail"].as_str().expect("detail").to_owned()
    }
}

/// A query over text.
pub fn query(sql: &str) -> Value {
    json!({"sources": [{"name": "t", "format": "csv", "inline": "a,b\n1,x\n2,y\n"}], "sql": sql})
}

/// A query that goes on for hours.
pub fn endless() -> Value {
    query(
        "SELECT sum(a.value * b.value % 7) FROM generate_series(1, 10000000) a, generate_series(1, 10000000) b",
    )
}
