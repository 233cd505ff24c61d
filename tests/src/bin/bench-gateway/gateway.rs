//! The gateway: the program that is shipped, as a process of its own, with a
//! key that an administrator has made.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most that a key may be allowed: the limit stays in force, and is not reached.
const RATE_LIMIT: u32 = 1_000_000;

/// A gateway that runs. It is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) process: u32,
    /// Such as `http://127.0.0.1:1234`.
    pub(crate) url: String,
    /// A key that may read data sets.
    pub(crate) key: String,
    child: Child,
    /// Its files are there for as long as it runs.
    folder: TempDir,
}

impl Gateway {
    /// Starts one in front of the upstream.
    pub(crate) async fn start(upstream: &str, client: &reqwest::Client) -> Result<Self> {
        let folder = tempfile::tempdir().context("a folder for the gateway")?;
        let path = |name: &str| folder.path().join(name);
        let administrator = format!("aisaas_{:x<43}", "administrator");
        let configuration = json!({
            "platform": "benchmark",
            "namespace": "benchmark",
            "database": { "sqlite": { "path": path("database.sqlite3") } },
            "services": { "analysis-base": {
                "url": format!("http://{upstream}"),
                "tokenFile": path("token"),
                "routes": ["/v1/datasets"],
            } },
        });
        fs::write(path("configuration.json"), configuration.to_string())?;
        fs::write(path("api-key"), &administrator)?;
        fs::write(path("token"), "service-token")?;
        let log = File::create(path("log"))?;
        // Built together with this program.
        let program = std::env::current_exe().context("where this program is")?.with_file_name("monolith");
        let child = Command::new(&program)
            .arg("serve")
            .arg("--configuration")
            .arg(path("configuration.json"))
            .arg("--admin-key-file")
            .arg(path("api-key"))
            .arg("--termination-message")
            .arg(path("termination-log"))
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut gateway = Self { process: child.id(), url: String::new(), key: String::new(), child, folder };
        gateway.url = format!("http://{}", gateway.address().await?);
        gateway.key = gateway.make_key(client, &administrator).await?;
        Ok(gateway)
    }

    /// The address that it says it listens at.
    async fn address(&mut self) -> Result<String> {
        let log = self.folder.path().join("log");
        let begun = Instant::now();
        loop {
            let text = fs::read_to_string(&log).context("reading the log of the gateway")?;
            let mut events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let listening = events.find(|event| event["message"] == "The service listens.");
            if let Some(address) = listening.as_ref().and_then(|event| event["address"].as_str()) {
                return Ok(address.to_owned());
            }
            let ended = self.child.try_wait().context("looking after the gateway")?;
            if ended.is_some() || begun.elapsed() > PATIENCE {
                bail!("the gateway does not start:\n{text}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn make_key(&self, client: &reqwest::Client, administrator: &str) -> Result<String> {
        let wanted = json!({
            "name": "benchmark",
            "scopes": ["datasets:read"],
            "rateLimit": { "requestsPerMinute": RATE_LIMIT, "burst": RATE_LIMIT },
        });
        let answer = client
            .post(format!("{}/v1/keys", self.url))
            .bearer_auth(administrator)
            .header("content-type", "application/json")
            .body(wanted.to_string())
            .send()
            .await
            .context("making a key")?;
        let status = answer.status();
        let text = answer.text().await.context("making a key")?;
        ensure!(status.is_success(), "the gateway makes no key: {text}");
        let made: Value = serde_json::from_str(&text).context("the key that was made")?;
        made["key"].as_str().map(str::to_owned).context("the key that was made has no text")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It keeps nothing that is needed later.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
