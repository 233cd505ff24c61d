//! Running other programs, with errors that say which one failed and why.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::versions::{NODE_IP, POD_CIDR, SERVICE_CIDR};

/// With one of these set, programs would look for the local node behind a proxy.
const PROXIES: &[&str] =
    &["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// A command line to run in the foreground.
#[derive(Debug)]
pub(crate) struct Tool {
    command: Command,
}

impl Tool {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        if PROXIES.iter().any(|name| std::env::var_os(name).is_some()) {
            let others = std::env::var("NO_PROXY").or_else(|_| std::env::var("no_proxy")).unwrap_or_default();
            command.env("NO_PROXY", format!("{others},{NODE_IP},{POD_CIDR},{SERVICE_CIDR}"));
        }
        Self { command }
    }

    #[must_use]
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    #[must_use]
    pub(crate) fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, arguments: I) -> Self {
        self.command.args(arguments);
        self
    }

    #[must_use]
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    #[must_use]
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    #[must_use]
    pub(crate) fn directory(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Runs in the root of the checkout, where relative paths are meant.
    #[must_use]
    pub(crate) fn directory_of_repository(self) -> Self {
        match crate::cache::repository() {
            Ok(root) => self.directory(&root),
            Err(_) => self,
        }
    }

    /// The command line as a person would type it.
    pub(crate) fn line(&self) -> String {
        let mut line = self.command.get_program().to_string_lossy().into_owned();
        for argument in self.command.get_args() {
            let _ = write!(line, " {}", argument.to_string_lossy());
        }
        line
    }

    /// Runs with the caller's output.
    pub(crate) fn run(mut self) -> Result<()> {
        let line = self.line();
        let status =
            self.command.stdin(Stdio::null()).status().with_context(|| format!("starting `{line}`"))?;
        check(&line, status, "")
    }

    /// Runs without output, which is shown only in the error.
    pub(crate) fn quiet(self) -> Result<()> {
        self.output().map(drop)
    }

    /// Runs and returns its standard output.
    pub(crate) fn output(self) -> Result<String> {
        let (line, output) = self.capture(None)?;
        check(&line, output.status, &String::from_utf8_lossy(&output.stderr))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs with the given standard input and returns its standard output.
    pub(crate) fn output_with_input(self, input: &str) -> Result<String> {
        let (line, output) = self.capture(Some(input))?;
        check(&line, output.status, &String::from_utf8_lossy(&output.stderr))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs without output and returns whether it succeeded.
    pub(crate) fn ok(mut self) -> bool {
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Runs and hands each line of standard error to `each`; the last lines go into the error.
    pub(crate) fn with_lines(mut self, mut each: impl FnMut(&str)) -> Result<()> {
        let line = self.line();
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting `{line}`"))?;
        let mut last = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            for text in BufReader::new(stderr).lines() {
                let text = text?;
                each(&text);
                last.push(text);
                if last.len() > 40 {
                    last.remove(0);
                }
            }
        }
        check(&line, child.wait()?, &last.join("\n"))
    }

    /// Runs with the caller's output, which is also returned line by line to `each`.
    pub(crate) fn tee(mut self, mut each: impl FnMut(&str)) -> Result<bool> {
        let line = self.line();
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting `{line}`"))?;
        if let Some(stdout) = child.stdout.take() {
            for text in BufReader::new(stdout).lines() {
                let text = text?;
                println!("{text}");
                each(&text);
            }
        }
        Ok(child.wait()?.success())
    }

    fn capture(mut self, input: Option<&str>) -> Result<(String, Output)> {
        let line = self.line();
        let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut child = self
            .command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting `{line}`"))?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            // A program that stops reading early reports its own error below.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().with_context(|| format!("running `{line}`"))?;
        Ok((line, output))
    }
}

fn check(line: &str, status: ExitStatus, stderr: &str) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let stderr = stderr.trim();
    if stderr.is_empty() {
        bail!("`{line}` failed: {status}")
    } else {
        bail!("`{line}` failed: {status}\n{stderr}")
    }
}

/// Asks again until the answer is yes or the time is over.
pub(crate) fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(Duration::from_millis(300));
    }
}

/// Whether a program can be found.
pub(crate) fn in_path(program: &str) -> bool {
    let extra = [OsString::from("/usr/sbin"), OsString::from("/sbin")];
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(OsString::from)
        .chain(extra)
        .any(|folder| Path::new(&folder).join(program).is_file())
}
