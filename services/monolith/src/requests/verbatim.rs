//! JSON that is kept as the text that it is. As values it would take many
//! times as much memory, an object with one member some seven hundred bytes,
//! and most of it is only passed on.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

/// A value in JSON, as text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verbatim(Box<RawValue>);

impl Verbatim {
    /// The text, without white space around it.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// The value.
    ///
    /// # Errors
    /// If it is no such value, or is nested too deeply.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.text())
    }
}

impl From<Value> for Verbatim {
    fn from(value: Value) -> Self {
        // A value always can be written.
        Self(to_raw_value(&value).unwrap_or_default())
    }
}

impl PartialEq for Verbatim {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_read_is_written_as_it_was() {
        let text = r#"{"a": 1.50, "b":[ {"c":null} ]}"#;
        let kept: Verbatim = serde_json::from_str(text).unwrap();
        assert_eq!((kept.text(), serde_json::to_string(&kept).unwrap().as_str()), (text, text));
        assert_eq!(kept.read::<Value>().unwrap()["b"], json!([{ "c": null }]));
        // As a part of a value, too.
        let kept: Verbatim = serde_json::from_value(json!({ "a": 1 })).unwrap();
        assert_eq!(kept, Verbatim::from(json!({ "a": 1 })));
        assert_eq!(serde_json::to_value(&kept).unwrap(), json!({ "a": 1 }));
    }
}
