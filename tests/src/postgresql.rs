//! A PostgreSQL server for the pods of a test: Debian's, started on this
//! machine, and stopped and started again when a test says so.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};

use crate::Cluster;

const USER: &str = "aisaas";
const PASSWORD: &str = "a-password-of-tests";
/// How long it may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A server, for as long as the value lives.
#[derive(Debug)]
pub struct PostgresqlServer {
    binaries: PathBuf,
    folder: PathBuf,
    address: String,
    port: u16,
    process: Option<Process>,
}

impl PostgresqlServer {
    /// Starts one where the pods of the cluster reach it.
    ///
    /// # Errors
    /// If PostgreSQL is not installed or does not start.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        let address = cluster.host_address.clone();
        blocking(move || {
            let mut server = Self::create(address)?;
            server.run()?;
            Ok(server)
        })
        .await
    }

    /// Its address, with user and password, as a Secret has it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://{USER}:{PASSWORD}@{}:{}/postgres", self.address, self.port)
    }

    /// Stops it as an administrator would: who is connected is cut off.
    ///
    /// # Errors
    /// If waiting for that fails.
    pub async fn stop(&mut self) -> Result<()> {
        let process = self.process.take();
        blocking(move || {
            drop(process);
            Ok(())
        })
        .await
    }

    /// Starts it with the data that are there.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_again(mut self) -> Result<Self> {
        blocking(move || {
            self.run()?;
            Ok(self)
        })
        .await
    }

    fn create(address: String) -> Result<Self> {
        let binaries = binaries()?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name = format!("aisaas-postgresql-{}-{}", std::process::id(), since.as_nanos());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let listener = TcpListener::bind((address.as_str(), 0)).context("looking for a free port")?;
        let port = listener.local_addr().context("looking for a free port")?.port();
        // From here on its folder is removed, whatever happens.
        let server = Self { binaries, folder, address, port, process: None };
        let password_file = server.folder.join("password");
        fs::write(&password_file, PASSWORD).context("writing the password")?;
        own(&server.folder)?;
        own(&password_file)?;
        let made = as_server_user(&server.binaries.join("initdb"), false)?
            .arg("--pgdata")
            .arg(server.data())
            .arg(format!("--username={USER}"))
            .arg(format!("--pwfile={}", password_file.display()))
            .args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .output()
            .context("starting `initdb`")?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        // By default only this machine is let in, and pods are not on it.
        let rules = server.data().join("pg_hba.conf");
        let mut rules = OpenOptions::new().append(true).open(rules).context("opening pg_hba.conf")?;
        rules.write_all(b"host all all all scram-sha-256\n").context("letting pods in")?;
        Ok(server)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn run(&mut self) -> Result<()> {
        let log_file = self.folder.join("log");
        let log = fs::File::create(&log_file).context("creating the log of PostgreSQL")?;
        let mut command = as_server_user(&self.binaries.join("postgres"), true)?;
        command
            .arg("-D")
            .arg(self.data())
            .arg("-p")
            .arg(self.port.to_string())
            .arg("-c")
            .arg(format!("listen_addresses={}", self.address))
            .args(["-c", "unix_socket_directories=", "-c", "fsync=off"])
            .args(["-c", "shared_buffers=16MB", "-c", "max_connections=200"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.process = Some(Process::start(command)?);
        let deadline = Instant::now() + START_LIMIT;
        while !self.answers() {
            let log = || fs::read_to_string(&log_file).unwrap_or_default();
            ensure!(Instant::now() < deadline, "PostgreSQL does not start: {}", log());
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn answers(&self) -> bool {
        let asked = Command::new(self.binaries.join("pg_isready"))
            .args(["--timeout=1", "--quiet"])
            .arg(format!("--host={}", self.address))
            .arg(format!("--port={}", self.port))
            .status();
        asked.is_ok_and(|status| status.success())
    }
}

impl Drop for PostgresqlServer {
    fn drop(&mut self) {
        drop(self.process.take());
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A running server; stopped when dropped.
#[derive(Debug)]
struct Process {
    id: u32,
    /// Closed to end the thread.
    life: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Process {
    /// The kernel ends the server when the thread that started it ends, so that
    /// none stays behind if the tests are killed. That thread must not be one
    /// that ends by itself.
    fn start(mut command: Command) -> Result<Self> {
        let (started, starting) = channel();
        let (life, end) = channel::<()>();
        let keeper = spawn(move || {
            let child = command.spawn();
            let id = child.as_ref().map(std::process::Child::id).map_err(ToString::to_string);
            let _ = started.send(id);
            if let Ok(mut child) = child {
                // Until the other end is dropped.
                let _ = end.recv();
                let _ = child.wait();
            }
        });
        let id = starting.recv().context("starting PostgreSQL")?;
        let id = id.map_err(|error| anyhow::anyhow!("starting PostgreSQL: {error}"))?;
        Ok(Self { id, life: Some(life), keeper: Some(keeper) })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A fast shutdown.
        let _ = Command::new("sh").arg("-c").arg(format!("kill -INT {}", self.id)).status();
        self.life = None;
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("waiting for PostgreSQL")?
}

/// Where Debian puts the programs of the newest version.
fn binaries() -> Result<PathBuf> {
    let found = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, binaries)| binaries.join("initdb").is_file())
        .max();
    let (_, binaries) = found.context(
        "PostgreSQL is not installed, which this test needs: install the package `postgresql` \
         (apt-get install postgresql)",
    )?;
    Ok(binaries)
}

fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self").context("looking at this process")?.uid() == 0)
}

/// PostgreSQL refuses to run as root.
fn as_server_user(program: &Path, ends_with_us: bool) -> Result<Command> {
    let mut command = Command::new("setpriv");
    if is_root()? {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    if ends_with_us {
        command.arg("--pdeathsig=INT");
    }
    // The folder of the tests may be one that the user must not enter.
    command.arg("--").arg(program).current_dir("/");
    Ok(command)
}

fn own(path: &Path) -> Result<()> {
    if !is_root()? {
        return Ok(());
    }
    let id = |flag: &str| -> Result<u32> {
        let output = Command::new("id").args([flag, "postgres"]).output().context("starting `id`")?;
        String::from_utf8_lossy(&output.stdout).trim().parse().context("there is no user `postgres`")
    };
    chown(path, Some(id("-u")?), Some(id("-g")?)).context("giving a file to PostgreSQL")
}
