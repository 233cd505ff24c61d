//! A PostgreSQL server: Debian's, started by the tests and stopped by them.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::{Process, free_port};

const USER: &str = "aisaas";
/// With characters that are escaped in an address.
const PASSWORD: &str = "p@ss/w:rd#1";
const ESCAPED_PASSWORD: &str = "p%40ss%2Fw%3Ard%231";

/// The server of all tests that do not disturb it. It ends with the last of
/// those that run at the same time.
static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

#[derive(Debug)]
pub struct Server {
    binaries: PathBuf,
    folder: TempDir,
    port: u16,
    process: Mutex<Option<Process>>,
}

impl Server {
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start());
        *shared = Arc::downgrade(&server);
        server
    }

    pub fn start() -> Self {
        let binaries = binaries();
        let folder = tempfile::Builder::new().prefix("aisaas-postgresql-").tempdir().expect("folder");
        let password_file = folder.path().join("password");
        fs::write(&password_file, PASSWORD).expect("write the password");
        own(folder.path());
        own(&password_file);
        let made = as_server_user(&binaries.join("initdb"), false)
            .arg("--pgdata")
            .arg(folder.path().join("data"))
            .arg(format!("--username={USER}"))
            .arg(format!("--pwfile={}", password_file.display()))
            .args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .output()
            .expect("initdb");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let server = Self { binaries, folder, port, process: Mutex::new(None) };
        server.start_again();
        server
    }

    pub fn url(&self) -> String {
        format!("postgres://{USER}:{ESCAPED_PASSWORD}@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it with the data that are there, and waits until it answers.
    pub fn start_again(&self) {
        let log = fs::File::create(self.folder.path().join("log")).expect("log");
        let mut command = as_server_user(&self.binaries.join("postgres"), true);
        command
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .arg("-p")
            .arg(self.port.to_string())
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=200"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        *self.process.lock().expect("process") = Some(Process::start(command));
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.answers() {
            if Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                panic!("PostgreSQL does not start: {log}");
            }
            sleep(Duration::from_millis(50));
        }
    }

    fn answers(&self) -> bool {
        let asked = Command::new(self.binaries.join("pg_isready"))
            .args(["--host=127.0.0.1", "--timeout=1", "--quiet"])
            .arg(format!("--port={}", self.port))
            .status();
        asked.is_ok_and(|status| status.success())
    }

    /// Stops it as an administrator would: who is connected is cut off.
    pub fn stop(&self) {
        drop(self.process.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where Debian puts the programs of the newest version.
fn binaries() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, binaries): &(u32, PathBuf)| binaries.join("initdb").is_file())
        .collect();
    found.sort();
    match found.pop() {
        Some((_, binaries)) => binaries,
        None => panic!(
            "PostgreSQL is not installed: these tests run on it as well. Install the package `postgresql` \
             (apt-get install postgresql)."
        ),
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").expect("this process").uid() == 0
}

/// PostgreSQL refuses to run as root.
fn as_server_user(program: &Path, ends_with_us: bool) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    if ends_with_us {
        command.arg("--pdeathsig=INT");
    }
    // The folder of the tests may be one that the user must not enter.
    command.arg("--").arg(program).current_dir("/");
    command
}

fn own(path: &Path) {
    if is_root() {
        let id = |flag: &str| {
            let output = Command::new("id").args([flag, "postgres"]).output().expect("id");
            String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().expect("the user `postgres`")
        };
        chown(path, Some(id("-u")), Some(id("-g"))).expect("give it to PostgreSQL");
    }
}
