//! The program under test, started in a folder of its own.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::upstream::Upstream;

/// What a test waits for at most: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The configuration and the files of a gateway.
#[derive(Debug)]
pub struct Bench {
    folder: Arc<TempDir>,
    pub configuration: Value,
    pub admin_key: String,
    /// Variables of the environment that a gateway has beside those of the tests.
    pub environment: Vec<(&'static str, String)>,
}

/// A gateway that runs. It is killed when it is dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    pub url: String,
    pub key: String,
    pub http: Client,
    log: Arc<Mutex<Vec<String>>>,
    /// Its files are there for as long as it runs.
    _folder: Arc<TempDir>,
}

impl Bench {
    pub fn new(upstream: &Upstream) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("folder"));
        let token = folder.path().join("token");
        std::fs::write(&token, "service-token\n").expect("token");
        let configuration = json!({
            "platform": "platform",
            "namespace": "demo",
            "database": { "sqlite": { "path": folder.path().join("database.sqlite3") } },
            "services": { "analysis-base": {
                "url": upstream.url,
                "tokenFile": token,
                "routes": ["/v1/datasets", "/v1/uploads", "/v1/analyses"],
            } },
            "gateway": { "url": "http://platform.demo.svc", "allowPrivateWebhooks": true },
        });
        let admin_key = key_text("administrator");
        let bench = Self { folder, configuration, admin_key, environment: Vec::new() };
        std::fs::write(bench.admin_key_file(), format!("{}\n", bench.admin_key)).expect("admin key");
        bench.configure();
        bench
    }

    pub fn admin_key_file(&self) -> PathBuf {
        self.folder.path().join("api-key")
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("database.sqlite3")
    }

    /// Writes the configuration as it is now.
    pub fn configure(&self) {
        let path = self.folder.path().join("configuration.json");
        std::fs::write(path, self.configuration.to_string()).expect("configuration");
    }

    pub fn start(&self) -> Gateway {
        let mut child = Command::new(env!("CARGO_BIN_EXE_monolith"))
            .arg("serve")
            .arg("--configuration")
            .arg(self.folder.path().join("configuration.json"))
            .arg("--admin-key-file")
            .arg(self.admin_key_file())
            .arg("--termination-message")
            .arg(self.folder.path().join("termination-log"))
            .args(["--listen", "127.0.0.1:0", "--log", "info,monolith=debug"])
            .envs(self.environment.clone())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start");
        let log = child.stderr.take().expect("log");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                eprintln!("{line}");
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if event["message"] == "The service listens." {
                    let _ = sender.send(event["address"].as_str().unwrap_or_default().to_owned());
                }
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let address = receiver.recv_timeout(PATIENCE).expect("the gateway listens");
        Gateway {
            child,
            url: format!("http://{address}"),
            key: self.admin_key.clone(),
            http: Client::builder().no_proxy().build().expect("client"),
            log: lines,
            _folder: Arc::clone(&self.folder),
        }
    }
}

impl Gateway {
    /// A request with the administrator's key.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.key)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        with_json(self.request(Method::POST, path), body)
    }

    /// Makes a key with these scopes; gives its id and its text.
    pub async fn make_key(&self, name: &str, scopes: &[&str]) -> (String, String) {
        let made =
            self.post("/v1/keys", &json!({ "name": name, "scopes": scopes })).send().await.expect("key");
        let made = body(made, StatusCode::CREATED).await;
        (text(&made["id"]), text(&made["key"]))
    }

    /// The most memory that it has held at once (`proc(5)`).
    pub fn peak_memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        peak.trim().trim_end_matches(" kB").parse::<u64>().expect("kilobytes") * 1024
    }

    /// How often it has logged this.
    pub fn logged(&self, message: &str) -> usize {
        let lines = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line.contains(message)).count()
    }

    pub fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("end");
    }

    /// Tells it to stop, and waits until it has.
    pub fn stop(mut self) {
        Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().expect("kill");
        let begun = Instant::now();
        while self.child.try_wait().expect("wait").is_none() {
            assert!(begun.elapsed() < PATIENCE, "the gateway does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A key that looks like one.
pub fn key_text(seed: &str) -> String {
    let bytes: Vec<u8> = seed.bytes().cycle().take(32).collect();
    format!("aisaas_{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// A request with JSON.
pub fn with_json(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header("content-type", "application/json").body(body.to_string())
}

/// The JSON of an answer, which has this status.
pub async fn body(response: Response, status: StatusCode) -> Value {
    let found = response.status();
    let text = response.text().await.expect("body");
    assert_eq!(found, status, "{text}");
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

pub fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// Waits until it is so.
pub async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}
