//! The summary that a run leaves for the operator.

use std::io;
use std::path::Path;

use crds::analysis::{RunSummary, SUMMARY_LIMIT_BYTES};

/// Longest message, in bytes.
const MESSAGE_BYTES: usize = 1500;
/// Longest preview, in bytes.
pub const PREVIEW_BYTES: usize = 1024;

/// The text, cut to at most `limit` bytes between two characters, with `…` where something was cut.
#[must_use]
pub fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// The summary as JSON of at most [`SUMMARY_LIMIT_BYTES`]; what does not fit is left out in the order
/// preview, files, message.
#[must_use]
pub fn encode(summary: &RunSummary) -> Vec<u8> {
    let mut fitting = summary.clone();
    fitting.message = cut(&fitting.message, MESSAGE_BYTES);
    fitting.preview = cut(&fitting.preview, PREVIEW_BYTES);
    loop {
        // A summary has no maps and no non-finite numbers: it always encodes.
        let encoded = serde_json::to_vec(&fitting).unwrap_or_default();
        if encoded.len() <= SUMMARY_LIMIT_BYTES {
            return encoded;
        }
        // Characters that JSON escapes can take six times their place.
        if !fitting.preview.is_empty() {
            let half = fitting.preview.len() / 2;
            fitting.preview = if half < 16 { String::new() } else { cut(&fitting.preview, half) };
        } else if fitting.files.len() > 8 {
            fitting.files.truncate(fitting.files.len() / 2);
        } else if fitting.message.len() > 64 {
            fitting.message = cut(&fitting.message, fitting.message.len() / 2);
        } else {
            fitting.files.clear();
            fitting.message.clear();
        }
    }
}

/// Writes the summary to the file that the kubelet reads.
///
/// # Errors
/// If the file cannot be written.
pub fn write(summary: &RunSummary, path: &Path) -> io::Result<()> {
    std::fs::write(path, encode(summary))
}
