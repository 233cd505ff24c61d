//! A NATS server with JetStream, for the pods of a test.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::{Cluster, Namespace};

/// The Secret that [`NatsServer::create_secret`] makes.
pub const SECRET: &str = "nats-credentials";
const USER: &str = "platform";
const PASSWORD: &str = "of-the-platform";
const START_LIMIT: Duration = Duration::from_secs(30);

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// A NATS server at one address, which can be stopped and started again.
#[derive(Debug)]
pub struct NatsServer {
    address: String,
    port: u16,
    folder: PathBuf,
    process: Option<Child>,
}

impl NatsServer {
    /// Starts one where the pods of the cluster reach it.
    ///
    /// # Errors
    /// If it is not there, or does not start.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        let address = cluster.host_address.clone();
        let port = TcpListener::bind((address.as_str(), 0)).context("finding a port")?.local_addr()?.port();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("aisaas-nats-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let mut server = Self { address, port, folder, process: None };
        server.start_again().await?;
        Ok(server)
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}:{}", self.address, self.port)
    }

    /// Makes the Secret with credentials.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn create_secret(&self, namespace: &Namespace) -> Result<()> {
        namespace.create_secret(SECRET, &[("username", USER), ("password", PASSWORD)]).await
    }

    /// Starts it with what it has stored, and waits until it answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn start_again(&mut self) -> Result<()> {
        let program = std::env::var_os("NATS_SERVER")
            .context("NATS_SERVER does not name a nats-server: run the tests by `cargo xtask test`")?;
        let log = File::options().create(true).append(true).open(self.folder.join("log"))?;
        // It ends with the test, however the test ends.
        let process = Command::new("setpriv")
            .args(["--pdeathsig=KILL", "--"])
            .arg(program)
            .args(["--jetstream", "--addr", &self.address, "--port", &self.port.to_string()])
            .args(["--user", USER, "--pass", PASSWORD, "--store_dir"])
            .arg(self.folder.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting nats-server")?;
        self.process = Some(process);
        let begun = Instant::now();
        while TcpStream::connect((self.address.as_str(), self.port)).is_err() {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            ensure!(begun.elapsed() < START_LIMIT, "nats-server does not start: {}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Ends it as a loss of power would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
