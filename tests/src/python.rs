//! The Python packages that tests and benchmarks hold the platform against, in
//! virtual environments of their own in the cache.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::cache;
use crate::command::{repository, run};

/// A virtual environment, and what is in it.
#[derive(Clone, Copy, Debug)]
pub struct Environment {
    /// What it is called in the cache.
    name: &'static str,
    /// The file in the repository that pins the packages.
    requirements: &'static str,
}

/// What the tests need.
pub const TESTS: Environment = Environment { name: "tests", requirements: "tests/requirements.txt" };
/// What TPC-H needs; larger, and not needed by the tests.
pub const TPCH: Environment = Environment { name: "tpch", requirements: "tests/tpch/requirements.txt" };

impl Environment {
    /// The Python interpreter with the packages, which are installed when they
    /// are not there. Programs that packages bring lie beside it.
    ///
    /// # Errors
    /// If they cannot be installed.
    pub async fn interpreter(self) -> Result<PathBuf> {
        tokio::task::spawn_blocking(move || self.install())
            .await
            .context("waiting for the Python packages")?
    }

    fn install(self) -> Result<PathBuf> {
        let requirements = repository(self.requirements);
        let wanted = fs::read_to_string(&requirements).context("reading the requirements")?;
        let folder = cache::folder()?.join("python").join(self.name);
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        // Tests run at the same time: the first installs, the others wait for it.
        let lock = File::create(folder.join(".lock")).context("creating the lock")?;
        lock.lock().context("locking the Python packages")?;
        let interpreter = folder.join("environment/bin/python");
        let installed = folder.join("installed.txt");
        if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
            return Ok(interpreter);
        }
        let environment = folder.join("environment");
        succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        succeed(
            Command::new(&interpreter)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
                .arg(&requirements),
        )?;
        fs::write(&installed, wanted).context("noting what is installed")?;
        Ok(interpreter)
    }
}

/// Runs a Python program with the packages of the tests and returns what it prints.
///
/// # Errors
/// If it fails, with what it says.
pub async fn evaluate(program: &str, arguments: &[&str]) -> Result<String> {
    let interpreter = TESTS.interpreter().await?;
    let arguments: Vec<&str> = ["-c", program].into_iter().chain(arguments.iter().copied()).collect();
    run(interpreter.into_os_string(), &arguments, &[]).await
}

/// A Python program that serves, for as long as the value lives.
///
/// The program prints its address on its first line, and ends when its standard
/// input is closed: so it ends with the test, however the test ends.
#[derive(Debug)]
pub struct Service {
    /// The address that it printed.
    pub address: String,
    process: Child,
    input: Option<ChildStdin>,
}

impl Service {
    /// Starts a program.
    ///
    /// # Errors
    /// If it does not say its address.
    pub async fn start(program: &str, arguments: &[&str]) -> Result<Self> {
        let mut process = Command::new(TESTS.interpreter().await?)
            .args(["-c", program])
            .args(arguments)
            // Proxies of the machine have nothing to do with a server on it.
            .env("NO_PROXY", "*")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("starting a Python server")?;
        let input = process.stdin.take();
        let output = process.stdout.take().context("the Python server has no output")?;
        let mut service = Self { address: String::new(), process, input };
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line).map(|_| line)
        });
        let line =
            line.await.context("waiting for a Python server")?.context("reading from a Python server")?;
        ensure!(line.starts_with("http"), "the Python server did not start");
        line.trim().clone_into(&mut service.address);
        Ok(service)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.input.take());
        // It has been told to end; what remains is to take note of it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
