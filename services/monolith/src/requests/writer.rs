//! From what has come out of the tasks to an answer in words. Today by a
//! template; a generative service takes its place by being another [`Writer`].

use futures::future::{BoxFuture, FutureExt as _};
use serde_json::{Map, Value};

use super::plan::is_amount;
use super::state::{RequestStatus, Task, TaskResult, TaskStatus, is_number};
use super::verbatim::Verbatim;

/// Results with more rows are told by their first ones.
const ROWS_TOLD: usize = 10;
/// Columns of a profile that are told.
const COLUMNS_TOLD: usize = 20;
const VALUES_TOLD: usize = 3;

/// What an answer is made of.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// The question or instruction. The template repeats nothing of it; a writer
    /// that understands it will.
    #[expect(dead_code, reason = "the template does not read it")]
    pub input: &'a str,
    /// What has become of all of it.
    pub status: RequestStatus,
    /// How far it had come before that.
    pub reached: RequestStatus,
    /// What was asked for that the data cannot give.
    pub caveats: &'a [String],
    /// What has become of each task, with its result.
    pub tasks: &'a [Task],
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer could not be written: {0}")]
pub struct WriteError(pub String);

/// Writes answers.
pub trait Writer: std::fmt::Debug + Send + Sync {
    /// What writes.
    fn name(&self) -> &'static str;

    /// The answer.
    fn write<'a>(&'a self, material: &'a Material<'a>) -> BoxFuture<'a, Result<String, WriteError>>;
}

/// Writes sentences with the figures in them.
#[derive(Clone, Copy, Debug)]
pub struct Template;

impl Writer for Template {
    fn name(&self) -> &'static str {
        "template"
    }

    fn write<'a>(&'a self, material: &'a Material<'a>) -> BoxFuture<'a, Result<String, WriteError>> {
        async move { Ok(self.text(material)) }.boxed()
    }
}

impl Template {
    /// The answer: a paragraph for each task, the queries first.
    pub fn text(self, material: &Material<'_>) -> String {
        let mut paragraphs = Vec::new();
        match material.status {
            RequestStatus::Cancelled => {
                paragraphs.push("The request was cancelled before its end.".to_owned());
            }
            _ if material.tasks.is_empty() => paragraphs.push(never_begun(material.reached)),
            _ => {}
        }
        paragraphs.extend(material.caveats.iter().cloned());
        let (queries, profiles): (Vec<&Task>, Vec<&Task>) =
            material.tasks.iter().partition(|task| task.profile.is_none());
        for task in queries.into_iter().chain(profiles) {
            let paragraph = match (task.status, &task.result, &task.profile) {
                (TaskStatus::Succeeded, Some(result), Some(profile)) => profile_text(&profile.data, result),
                (TaskStatus::Succeeded, Some(result), None) => query_text(&task.name, result),
                (TaskStatus::Failed, _, _) => failure_text(task),
                _ => continue,
            };
            paragraphs.push(paragraph);
        }
        paragraphs.join("\n\n")
    }
}

/// Why a request has no tasks: nobody came to work on it in time, or finding out
/// what to do took too long.
fn never_begun(reached: RequestStatus) -> String {
    let why = if reached == RequestStatus::Queued {
        "The turn of the request did not come before its deadline, `deadlineAt`: too many others were before it, or \
         the gateway was away."
    } else {
        "The deadline of the request, `deadlineAt`, has passed before it was known what to do about it."
    };
    format!("{why} Make it again with a larger `deadlineSeconds`, or later.")
}

fn failure_text(task: &Task) -> String {
    let detail = task
        .problem
        .as_ref()
        .and_then(|problem| problem["detail"].as_str())
        .unwrap_or("It is not known why.");
    format!("The task `{}` has failed: {detail}", task.name)
}

/// The rows of a small result, or the first ones of a large one.
fn query_text(name: &str, result: &TaskResult) -> String {
    let columns: Vec<&str> = result.columns.iter().map(|column| column.name.as_str()).collect();
    if result.rows.is_empty() && result.total > 0 {
        let count = grouped(result.total);
        return format!("The query `{name}` returns {count} rows, which are too long to be told here.");
    }
    if result.rows.is_empty() {
        return format!("The query `{name}` returns no rows.");
    }
    if let ([row], 1) = (result.rows.as_slice(), result.total) {
        let row = members(row);
        let values =
            columns.iter().map(|column| format!("{} is {}", spoken(column), cell(column, row.get(*column))));
        return sentence(&joined(values.collect()));
    }
    let told = result.rows.len().min(ROWS_TOLD);
    let rows = result.rows.iter().take(told).map(members);
    let rows: Vec<Vec<String>> =
        rows.map(|row| columns.iter().map(|column| cell(column, row.get(*column))).collect()).collect();
    // Nobody could tell where one value ends if there are commas in them.
    let separator = if rows.iter().flatten().any(|value| value.contains(',')) { "; " } else { ", " };
    let lines: Vec<String> = rows.iter().map(|row| format!("- {}", row.join(separator))).collect();
    let count = if result.total > told as u64 {
        format!("{} rows; the first {told} are", grouped(result.total))
    } else {
        format!("{} rows", result.total)
    };
    format!("The query `{name}` returns {count} ({}):\n{}", columns.join(separator), lines.join("\n"))
}

/// Data in figures: their size, and each column in a line.
fn profile_text(data: &str, result: &TaskResult) -> String {
    let rows = result.rows.iter().find_map(|row| members(row).get("count").and_then(number)).unwrap_or(0.0);
    let mut text = format!(
        "`{data}` has {} rows and {} columns.",
        figure(rows),
        grouped(result.total.max(result.rows.len() as u64))
    );
    for row in result.rows.iter().take(COLUMNS_TOLD) {
        text.push_str("\n- ");
        text.push_str(&column_text(&members(row), rows));
    }
    let left = result.total.saturating_sub(COLUMNS_TOLD.min(result.rows.len()) as u64);
    if left > 0 {
        text.push_str(&format!("\n- and {left} columns more"));
    }
    text
}

fn column_text(row: &Map<String, Value>, rows: f64) -> String {
    let of = |name: &str| row.get(name).filter(|value| !value.is_null());
    let mut parts = Vec::new();
    if let (Some(least), Some(most)) = (of("minimum"), of("maximum")) {
        parts.push(format!("from {} to {}", value(Some(least)), value(Some(most))));
    }
    if let Some(mean) =
        of("mean").and_then(number).filter(|_| of("type").and_then(Value::as_str).is_some_and(is_number))
    {
        parts.push(format!("{} on average", plain(mean)));
    }
    if let Some(distinct) = of("distinct").and_then(number) {
        let about = if of("approximate") == Some(&Value::Bool(true)) { "about " } else { "" };
        parts.push(format!("{about}{} different values", figure(distinct)));
    }
    if let Some(top) = of("top_values").and_then(Value::as_array).filter(|top| !top.is_empty())
        && of("distinct").and_then(number) < Some(rows)
    {
        let values = top.iter().take(VALUES_TOLD).map(|one| {
            format!(
                "{} ({})",
                value(one.get("value")),
                one.get("count").and_then(number).map_or_else(String::new, figure)
            )
        });
        parts.push(format!("most often {}", joined(values.collect())));
    }
    match of("nulls").and_then(number) {
        Some(nulls) if nulls > 0.0 && rows > 0.0 => {
            parts.push(format!(
                "{} missing ({} %)",
                figure(nulls),
                figure((nulls / rows * 1000.0).round() / 10.0)
            ));
        }
        _ => parts.push("none missing".to_owned()),
    }
    let kind = of("type").and_then(Value::as_str).unwrap_or("unknown type");
    format!("`{}` ({kind}): {}", value(of("column")), parts.join("; "))
}

/// The values of a row by their columns; none, if it is no row.
fn members(row: &Verbatim) -> Map<String, Value> {
    row.read().unwrap_or_default()
}

/// A number, also where it is text because it is too large for JSON.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

/// A value of a query's result as people read it.
fn cell(column: &str, of: Option<&Value>) -> String {
    match of.and_then(Value::as_f64) {
        Some(number) if is_amount(column) => figure(number),
        _ => value(of),
    }
}

/// A value as people read it. A whole number stays as it is: it may be a year
/// or an id, and nobody reads `2,013` as a year.
fn value(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "nothing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => {
            number.as_f64().filter(|_| number.is_f64()).map_or_else(|| number.to_string(), plain)
        }
        Some(other) => other.to_string(),
    }
}

/// How much of something there is: if it is whole, in groups of three digits.
fn figure(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        let sign = if number < 0.0 { "-" } else { "" };
        return format!("{sign}{}", grouped(number.abs() as u64));
    }
    plain(number)
}

/// A number with few digits behind the point: one or two, and below 1 as many
/// as it takes for four that count. What is still smaller than that, or larger
/// than anybody counts zeros, is written with a power of ten.
fn plain(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-6..1e21).contains(&size) {
        let text = format!("{number:.3e}");
        return match text.split_once('e') {
            Some((digits, power)) => format!("{}e{power}", without_zeros(digits)),
            None => text,
        };
    }
    let behind = if size >= 1000.0 {
        1
    } else if size >= 1.0 {
        2
    } else {
        // The zeros at the beginning do not count.
        3 + size.log10().floor().abs() as usize
    };
    without_zeros(&format!("{number:.behind$}")).to_owned()
}

/// Without the zeros at the end of what is behind the point.
fn without_zeros(text: &str) -> &str {
    text.trim_end_matches('0').trim_end_matches('.')
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn joined(mut parts: Vec<String>) -> String {
    match parts.pop() {
        None => String::new(),
        Some(last) if parts.is_empty() => last,
        Some(last) => format!("{} and {last}", parts.join(", ")),
    }
}

/// The name of a column as words.
fn spoken(name: &str) -> String {
    name.replace('_', " ")
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first: String = characters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", characters.as_str())
}

#[cfg(test)]
mod tests;
