//! Fields that a request has and that mean nothing. They are refused where
//! requests come in, and nowhere else: what is stored may be of a later release.

use std::collections::BTreeMap;

use serde_json::value::{RawValue, to_raw_value};
use service_kit::Problem;

use super::Order;

/// Whether all that was sent has become a part of the request. Looks at no more
/// than one level of it at a time: as values, all of it would take many times
/// the memory of its text.
///
/// # Errors
/// If it has not: the first field that means nothing.
pub fn refuse_unknown(text: &[u8], order: &Order) -> Result<(), Problem> {
    match unknown_in(text, order).map_err(|error| Problem::internal(&error))? {
        Some(place) => Err(Problem::unprocessable(format!(
            "The body does not fit: unknown field `{place}`. See /openapi.json."
        ))
        .with("pointer", place)),
        None => Ok(()),
    }
}

fn unknown_in(text: &[u8], order: &Order) -> Result<Option<String>, serde_json::Error> {
    let sent: &RawValue = serde_json::from_slice(text)?;
    unknown(sent, &to_raw_value(order)?, "")
}

fn unknown(sent: &RawValue, known: &RawValue, place: &str) -> Result<Option<String>, serde_json::Error> {
    let (sent, known) = (sent.get(), known.get());
    // So it is of all that only the analyses understand.
    if sent == known {
        return Ok(None);
    }
    if sent.starts_with('{') && known.starts_with('{') {
        let known: BTreeMap<String, &RawValue> = serde_json::from_str(known)?;
        let sent: BTreeMap<String, &RawValue> = serde_json::from_str(sent)?;
        for (name, value) in &sent {
            let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
            let found = match known.get(name) {
                Some(known) => unknown(value, known, &place)?,
                None if is_left_out(value) => None,
                None => Some(place),
            };
            if found.is_some() {
                return Ok(found);
            }
        }
    } else if sent.starts_with('[') && known.starts_with('[') {
        let known: Vec<&RawValue> = serde_json::from_str(known)?;
        let sent: Vec<&RawValue> = serde_json::from_str(sent)?;
        for (index, (sent, known)) in sent.iter().zip(&known).enumerate() {
            if let Some(found) = unknown(sent, known, &format!("{place}[{index}]"))? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// What says nothing is left out when a request is written.
fn is_left_out(value: &RawValue) -> bool {
    let is_empty_list = |text: &str| text.strip_prefix('[').is_some_and(|rest| rest.trim_start() == "]");
    value.get() == "null" || is_empty_list(value.get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn unknown_field(change: impl FnOnce(&mut Value)) -> Option<Value> {
        let mut sent = json!({
            "input": "What is in it?",
            "data": [{ "name": "a", "inline": "x\n", "format": "csv", "csv": { "anything": null }, "url": null }],
            "tasks": [{ "name": "t", "analysis": { "sql": "SELECT 1", "charts": [{ "any": [1] }], "data": [] } }],
            "webhook": null,
        });
        change(&mut sent);
        let order: Order = serde_json::from_value(sent.clone()).unwrap();
        let refused = refuse_unknown(sent.to_string().as_bytes(), &order).err()?;
        Some(refused.extensions["pointer"].clone())
    }

    #[test]
    fn what_means_nothing_is_found_wherever_it_is() {
        assert_eq!(unknown_field(|_| {}), None);
        assert_eq!(unknown_field(|sent| sent["inptu"] = json!("x")).unwrap(), "inptu");
        assert_eq!(unknown_field(|sent| sent["data"][0]["size"] = json!(1)).unwrap(), "data[0].size");
        let place = unknown_field(|sent| sent["tasks"][0]["analysis"]["limit"] = json!(1)).unwrap();
        assert_eq!(place, "tasks[0].analysis.limit");
    }
}
