//! The parts of a request, each by itself: how much of them there may be. What
//! is in those that only the analyses understand is for them to say.

use serde_json::Value;
use service_kit::Problem;

use super::{Data, MOST_DATA, MOST_NAME_CHARACTERS, MOST_TASKS, Order, TaskOrder, wrong};
use crate::requests::verbatim::Verbatim;

/// More than the analyses take of any part that only they understand.
const MOST_PART_BYTES: usize = 128 << 10;
const MOST_CHARTS: usize = 16;
/// Columns that a profile names.
const MOST_COLUMNS: usize = 256;

impl Order {
    /// Whether there is no more of anything than there may be. What only the
    /// analyses understand is written anew: the same request in other words is
    /// the same then, and it is sure that others can read it.
    ///
    /// # Errors
    /// If there is too much, or a part is not of the right kind: which one.
    pub fn settle(&mut self) -> Result<(), Problem> {
        at_most("data", self.data.len(), MOST_DATA)?;
        at_most("tasks", self.tasks.len(), MOST_TASKS)?;
        for (index, data) in self.data.iter_mut().enumerate() {
            data.settle(&format!("data[{index}]"))?;
        }
        for (index, task) in self.tasks.iter_mut().enumerate() {
            task.settle(&format!("tasks[{index}]"))?;
        }
        Ok(())
    }
}

impl Data {
    /// Whether a data set can be what is named.
    ///
    /// # Errors
    /// If it cannot.
    pub(super) fn check_dataset(&self, place: &str) -> Result<(), Problem> {
        if let Some(dataset) = &self.dataset
            && (!(1..=MOST_NAME_CHARACTERS).contains(&dataset.name.len()) || dataset.version == Some(0))
        {
            let what = "has the name of a data set, and a version from 1 or none";
            return Err(wrong(&format!("{place}.dataset"), what));
        }
        Ok(())
    }

    fn settle(&mut self, place: &str) -> Result<(), Problem> {
        for (name, part) in [("csv", &mut self.csv), ("jsonLines", &mut self.json_lines)] {
            if let Some(part) = part {
                settle(part, &format!("{place}.{name}"), "is an object", Value::is_object)?;
            }
        }
        if let Some(columns) = &mut self.columns {
            let is_list =
                |value: &Value| value.as_array().is_some_and(|columns| columns.iter().all(Value::is_object));
            settle(columns, &format!("{place}.columns"), "is a list of objects", is_list)?;
        }
        Ok(())
    }
}

impl TaskOrder {
    fn settle(&mut self, place: &str) -> Result<(), Problem> {
        if let Some(analysis) = &mut self.analysis {
            at_most(&format!("{place}.analysis.data"), analysis.data.len(), MOST_DATA)?;
            let place = format!("{place}.analysis.charts");
            at_most(&place, analysis.charts.len(), MOST_CHARTS)?;
            for (index, chart) in analysis.charts.iter_mut().enumerate() {
                settle(chart, &format!("{place}[{index}]"), "is an object", Value::is_object)?;
            }
        }
        if let Some(profile) = &self.profile {
            at_most(&format!("{place}.profile.columns"), profile.columns.len(), MOST_COLUMNS)?;
        }
        Ok(())
    }
}

fn at_most(place: &str, count: usize, most: usize) -> Result<(), Problem> {
    if count > most { Err(wrong(place, format!("has at most {most} entries"))) } else { Ok(()) }
}

/// Writes a part anew, if it is of the right kind.
fn settle(
    part: &mut Verbatim,
    place: &str,
    what: &str,
    is_right: impl Fn(&Value) -> bool,
) -> Result<(), Problem> {
    if part.text().len() > MOST_PART_BYTES {
        return Err(wrong(place, format!("has at most {MOST_PART_BYTES} bytes as JSON")));
    }
    let value: Value = part.read().map_err(|error| wrong(place, format!("cannot be read: {error}")))?;
    if !is_right(&value) {
        return Err(wrong(place, what));
    }
    *part = value.into();
    Ok(())
}
