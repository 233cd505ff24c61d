//! A client that asks for much and then stops reading.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::FrontDoor;

/// A read that takes longer is one from a connection that nobody ends.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// A connection on which an answer has begun, and from which nothing is read.
#[derive(Debug)]
pub struct StalledReader {
    stream: TcpStream,
}

impl StalledReader {
    /// Asks by GET, and reads the first bytes of the answer.
    ///
    /// # Errors
    /// If it is not 200.
    pub async fn ask(door: &FrontDoor, path: &str, media_type: &str) -> Result<Self> {
        let host = door.url.trim_start_matches("http://").to_owned();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\naccept: {media_type}\r\n\r\n",
            door.key
        );
        let address = if host.contains(':') { host } else { format!("{host}:80") };
        let asked = tokio::task::spawn_blocking(move || {
            let mut stream =
                TcpStream::connect(&address).with_context(|| format!("connecting to {address}"))?;
            stream.set_read_timeout(Some(4 * READ_LIMIT))?;
            stream.write_all(request.as_bytes())?;
            let mut beginning = [0; 12];
            stream.read_exact(&mut beginning).context("reading the beginning of an answer")?;
            let beginning = String::from_utf8_lossy(&beginning).into_owned();
            anyhow::ensure!(beginning == "HTTP/1.1 200", "the answer begins with {beginning}");
            Ok(Self { stream })
        });
        asked.await.context("waiting for a client")?
    }

    /// Reads what is still to be had, and says how many bytes that is.
    ///
    /// # Errors
    /// If the connection has not been ended by the other side.
    pub async fn rest(mut self) -> Result<u64> {
        let read = tokio::task::spawn_blocking(move || {
            self.stream.set_read_timeout(Some(READ_LIMIT))?;
            let mut buffer = vec![0; 1 << 20];
            let mut bytes = 0;
            loop {
                match self.stream.read(&mut buffer) {
                    Ok(0) => return Ok(bytes),
                    Ok(count) => bytes += count as u64,
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(bytes),
                    Err(error) => return Err(error).context("the connection was not ended"),
                }
            }
        });
        read.await.context("waiting for a client")?
    }
}
