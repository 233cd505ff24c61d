//! Fields that a request has and that mean nothing. They are refused where
//! requests come in, and nowhere else: what is stored may be of a later release.

use serde_json::Value;
use service_kit::Problem;

use super::Order;

/// Whether all that was sent has become a part of the request.
///
/// # Errors
/// If it has not: the first field that means nothing.
pub fn refuse_unknown(text: &[u8], order: &Order) -> Result<(), Problem> {
    let sent: Value = serde_json::from_slice(text).map_err(|error| Problem::internal(&error))?;
    let known = serde_json::to_value(order).map_err(|error| Problem::internal(&error))?;
    match unknown(&sent, &known, "") {
        Some(place) => Err(Problem::unprocessable(format!(
            "The body does not fit: unknown field `{place}`. See /openapi.json."
        ))
        .with("pointer", place)),
        None => Ok(()),
    }
}

fn unknown(sent: &Value, known: &Value, place: &str) -> Option<String> {
    match (sent, known) {
        (Value::Object(sent), Value::Object(known)) => sent.iter().find_map(|(name, value)| {
            let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
            match known.get(name) {
                Some(known) => unknown(value, known, &place),
                None if is_left_out(value) => None,
                None => Some(place),
            }
        }),
        (Value::Array(sent), Value::Array(known)) => sent
            .iter()
            .zip(known)
            .enumerate()
            .find_map(|(index, (sent, known))| unknown(sent, known, &format!("{place}[{index}]"))),
        _ => None,
    }
}

/// What says nothing is left out when a request is written.
fn is_left_out(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
