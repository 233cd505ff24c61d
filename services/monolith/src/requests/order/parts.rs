//! The parts of data, each by itself. What is in them is for the analyses to say.

use serde_json::Value;
use service_kit::Problem;

use super::{Data, MOST_NAME_CHARACTERS, wrong};

impl Data {
    /// Whether each part is of the right kind.
    ///
    /// # Errors
    /// If a part cannot be what it should be.
    pub(super) fn check_parts(&self, place: &str) -> Result<(), Problem> {
        if let Some(dataset) = &self.dataset
            && (!(1..=MOST_NAME_CHARACTERS).contains(&dataset.name.len()) || dataset.version == Some(0))
        {
            let what = "has the name of a data set, and a version from 1 or none";
            return Err(wrong(&format!("{place}.dataset"), what));
        }
        for (name, options) in [("csv", &self.csv), ("jsonLines", &self.json_lines)] {
            if options.as_ref().is_some_and(|options| !options.is_object()) {
                return Err(wrong(&format!("{place}.{name}"), "is an object"));
            }
        }
        let columns = self.columns.as_ref().map(|columns| columns.as_array().map(Vec::as_slice));
        match columns {
            None => Ok(()),
            Some(Some(columns)) if columns.iter().all(Value::is_object) => Ok(()),
            Some(_) => Err(wrong(&format!("{place}.columns"), "is a list of objects")),
        }
    }
}
