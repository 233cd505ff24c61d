//! The peer: nginx as a reverse proxy that looks at a key as well.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ai_saas_platform_tests::process_figures;
use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

/// How long it may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// An nginx of our own that runs in the foreground. It is stopped when it is dropped.
#[derive(Debug)]
pub(crate) struct Nginx {
    /// Such as `http://127.0.0.1:1234`.
    pub(crate) url: String,
    /// Those that handle requests.
    pub(crate) workers: Vec<u32>,
    master: Child,
    /// Its files are there for as long as it runs.
    _folder: TempDir,
}

impl Nginx {
    /// Starts one in front of the upstream that lets in requests with this key.
    pub(crate) async fn start(upstream: &str, key: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("a folder for nginx")?;
        let listen = free_address()?;
        fs::write(folder.path().join("nginx.conf"), configuration(&listen, upstream, key))?;
        let log = folder.path().join("log");
        let program = std::env::var_os("NGINX").unwrap_or_else(|| OsString::from("/usr/sbin/nginx"));
        let master = Command::new(&program)
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("starting {}", program.to_string_lossy()))?;
        let mut nginx =
            Self { url: format!("http://{listen}"), workers: Vec::new(), master, _folder: folder };
        let begun = Instant::now();
        while std::net::TcpStream::connect(&listen).is_err() {
            let ended = nginx.master.try_wait().context("looking after nginx")?;
            if ended.is_some() || begun.elapsed() > PATIENCE {
                bail!("nginx does not start:\n{}", fs::read_to_string(&log).unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // It listens before it has started all of them.
        tokio::time::sleep(Duration::from_millis(200)).await;
        nginx.workers = process_figures::children(nginx.master.id())?;
        Ok(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Not SIGKILL: its workers would be left behind.
        let _ = Command::new("kill").arg("-TERM").arg(self.master.id().to_string()).status();
        let begun = Instant::now();
        while matches!(self.master.try_wait(), Ok(None)) {
            if begun.elapsed() > PATIENCE {
                let _ = self.master.kill();
                for worker in &self.workers {
                    let _ = Command::new("kill").arg("-KILL").arg(worker.to_string()).status();
                }
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.master.wait();
    }
}

/// An address that nobody listens at.
fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free address")?;
    Ok(listener.local_addr().context("looking for a free address")?.to_string())
}

/// As somebody would configure it for the same task: as many processes as there
/// are cores, connections to the upstream that stay open, no log of requests,
/// the key checked and replaced, the caller named. Streams say themselves that
/// they are not to be buffered.
fn configuration(listen: &str, upstream: &str, key: &str) -> String {
    format!(
        r#"user root;
daemon off;
worker_processes auto;
pid nginx.pid;
error_log stderr error;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_requests 100000000;
    map_hash_bucket_size 256;
    map $http_authorization $is_known {{
        default 0;
        "Bearer {key}" 1;
    }}
    upstream service {{
        server {upstream};
        keepalive 256;
        keepalive_requests 100000000;
    }}
    server {{
        listen {listen} backlog=4096;
        location /v1/datasets {{
            if ($is_known = 0) {{
                return 401;
            }}
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer service-token";
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"#
    )
}
