//! How a container ended, in words that stay the same when it ends again in
//! the same way: a message that had a time in it would be written to the status
//! at every crash.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus};
use serde::Deserialize;

use crate::conditions::cut;

/// What a process left behind is quoted up to this length.
const MESSAGE_LIMIT_BYTES: usize = 1024;
/// Stands for what is another one each time.
const CHANGING: &str = "…";

/// How a container ended that should not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Its exit code.
    pub exit_code: i32,
    /// The reason that the kubelet gives, such as `OOMKilled`.
    pub reason: String,
    /// What it left behind.
    pub message: String,
}

/// A container that ends again and again runs, is over, and waits, by turns.
/// How it ended last stays the same all the while.
pub(super) fn crash(container: &ContainerStatus) -> Option<Crash> {
    if container.ready {
        return None;
    }
    let terminated = |state: Option<&ContainerState>| state.and_then(|state| state.terminated.clone());
    let end = terminated(container.state.as_ref()).or_else(|| terminated(container.last_state.as_ref()))?;
    let message = stable(&essence(end.message.unwrap_or_default().trim()));
    Some(Crash {
        exit_code: end.exit_code,
        reason: end.reason.unwrap_or_else(|| "Error".to_owned()),
        message: cut(message, MESSAGE_LIMIT_BYTES),
    })
}

/// A line that a service logs, as far as it is read.
#[derive(Deserialize)]
struct LogLine {
    #[serde(default)]
    level: String,
    message: String,
    error: Option<String>,
}

impl LogLine {
    fn text(self) -> String {
        match self.error {
            Some(error) => format!("{} {error}", self.message),
            None => self.message,
        }
    }
}

fn log_line(line: &str) -> Option<LogLine> {
    serde_json::from_str(line).ok()
}

/// The last error of a log; of what is no log, all. The kubelet gives the end of
/// the log where a process left nothing else, and how much that holds of what
/// came before is not the same each time.
fn essence(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    // What ends a process without its doing, such as a failed allocation, writes plain text.
    let plain = lines.iter().rposition(|line| log_line(line).is_some()).map_or(0, |last| last + 1);
    if plain < lines.len() {
        return lines[plain..].join("\n");
    }
    let logged = || lines.iter().rev().filter_map(|line| log_line(line));
    let error = logged().find(|line| line.level == "ERROR");
    error.or_else(|| logged().next()).map(LogLine::text).unwrap_or_default()
}

/// The text without times, ids and addresses of memory.
fn stable(text: &str) -> String {
    let is_of_word = |character: char| character.is_ascii_alphanumeric() || "-:.,+".contains(character);
    let mut stable = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find(is_of_word) {
        let (between, from_word) = rest.split_at(begin);
        let end = from_word.find(|character: char| !is_of_word(character)).unwrap_or(from_word.len());
        let (word, after) = from_word.split_at(end);
        stable.push_str(between);
        let core = word.trim_end_matches(['.', ',', ':']);
        if is_time(core) || is_uuid(core) || is_address(core) {
            stable.push_str(CHANGING);
            stable.push_str(&word[core.len()..]);
        } else {
            stable.push_str(word);
        }
        rest = after;
    }
    stable.push_str(rest);
    stable
}

/// A date, with or without a time behind it, or a time: `2026-01-31`,
/// `2026-01-31T23:59:59.123Z`, `23:59:59`.
fn is_time(word: &str) -> bool {
    begins_as("dddd-dd-dd", word) || begins_as("dd:dd:dd", word)
}

/// Whether a word begins with digits where the shape has `d`, and otherwise
/// with what the shape has.
fn begins_as(shape: &str, word: &str) -> bool {
    word.len() >= shape.len()
        && shape.bytes().zip(word.bytes()).all(|(expected, byte)| match expected {
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

fn is_uuid(word: &str) -> bool {
    word.len() == 36
        && word.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// An address of memory: `0x7f3c2a1b0000`.
fn is_address(word: &str) -> bool {
    word.strip_prefix("0x")
        .is_some_and(|digits| digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn crash_with(message: &str) -> Crash {
        let status = json!({
            "name": "monolith", "image": "i", "imageID": "", "ready": false, "restartCount": 3,
            "lastState": { "terminated": { "exitCode": 1, "reason": "Error", "message": message } },
        });
        crash(&serde_json::from_value(status).unwrap()).unwrap()
    }

    fn log(minute: u32, milliseconds: u32) -> String {
        let line = |level: &str, message: &str, error: &str| {
            json!({
                "timestamp": format!("2026-01-31T10:{minute:02}:07.123456Z"), "level": level,
                "message": message, "error": error, "milliseconds": milliseconds, "target": "monolith",
            })
        };
        format!(
            "{}\n{}\n{}\n",
            line("INFO", "The service starts.", "none"),
            line("ERROR", "The service cannot run.", "the database cannot be used: password is wrong"),
            line("INFO", "The service ends.", "none"),
        )
    }

    #[test]
    fn two_crashes_at_different_times_are_the_same() {
        let first = crash_with(&log(4, 17));
        assert_eq!(first.message, "The service cannot run. the database cannot be used: password is wrong");
        assert_eq!(first, crash_with(&log(9, 1803)));
        // The kubelet gives as much as fits, from the end.
        assert_eq!(first, crash_with(&log(9, 1803)[40..]));
    }

    #[test]
    fn what_changes_is_left_out_of_other_texts() {
        for (text, expected) in [
            ("no database", "no database"),
            ("2026-01-31T10:04:07.123Z ERROR: pool 3 of 5 timed out.", "… ERROR: pool 3 of 5 timed out."),
            ("2026-01-31 10:04:07,123 at 10.0.0.7:5432", "… … at 10.0.0.7:5432"),
            ("id 0197e3a2-77aa-7bbb-8ccc-0123456789ab: gone", "id …: gone"),
            ("read of 0x7f3c2a1b0000, code 0x1f", "read of …, code 0x1f"),
            ("später, um 10:04:07", "später, um …"),
        ] {
            assert_eq!(crash_with(text).message, expected);
        }
    }

    #[test]
    fn what_is_no_log_is_quoted_after_the_log() {
        let text = format!("{}memory allocation of 8 bytes failed\nstack overflow\n", log(4, 17));
        assert_eq!(crash_with(&text).message, "memory allocation of 8 bytes failed\nstack overflow");
        assert_eq!(crash_with("").message, "");
    }
}
