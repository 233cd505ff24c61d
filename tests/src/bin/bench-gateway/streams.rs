//! How long parts of a stream are under way. Upstream and client are in this
//! process, and so have one clock.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use futures::future::try_join_all;

use crate::load::Target;
use crate::upstream::{PARTS, STREAM};

/// Streams at the same time.
const AT_ONCE: u32 = 8;
/// They do not begin all at once.
const APART: Duration = Duration::from_millis(17);

/// In milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    /// From a request to the first part of its answer.
    pub(crate) first: Vec<f64>,
    /// From when a part was sent to when it was there.
    pub(crate) parts: Vec<f64>,
}

impl Delays {
    pub(crate) fn add(&mut self, other: Self) {
        self.first.extend(other.first);
        self.parts.extend(other.parts);
    }
}

/// Reads some streams.
pub(crate) async fn read(client: &reqwest::Client, target: &Target, epoch: Instant) -> Result<Delays> {
    let streams = (0..AT_ONCE).map(|number| async move {
        tokio::time::sleep(APART * number).await;
        read_one(client, target, epoch).await
    });
    let mut delays = Delays::default();
    for one in try_join_all(streams).await? {
        delays.add(one);
    }
    Ok(delays)
}

async fn read_one(client: &reqwest::Client, target: &Target, epoch: Instant) -> Result<Delays> {
    let asked = Instant::now();
    let request = client.get(format!("{}{STREAM}", target.url)).bearer_auth(&target.key);
    let answer = request.send().await.context("asking for a stream")?;
    ensure!(answer.status().is_success(), "{} answers {}", target.url, answer.status());
    let mut delays = Delays::default();
    let mut chunks = answer.bytes_stream();
    let mut pending = String::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.context("reading a stream")?;
        let (arrived, now) = (asked.elapsed(), epoch.elapsed());
        pending.push_str(&String::from_utf8_lossy(&chunk));
        while let Some((part, rest)) = pending.split_once("\n\n") {
            let sent = part.trim_start_matches("data: ").parse::<u64>().context("a part of a stream")?;
            if delays.first.is_empty() {
                delays.first.push(milliseconds(arrived));
            }
            delays.parts.push(milliseconds(now.saturating_sub(Duration::from_nanos(sent))));
            pending = rest.to_owned();
        }
    }
    ensure!(delays.parts.len() == PARTS as usize, "{} parts of a stream arrived", delays.parts.len());
    Ok(delays)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
