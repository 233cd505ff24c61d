//! The chart as a Vega-Lite specification.

use crds::analysis::{Chart, Mark};
use serde_json::{Map, Value, json};

use super::channel::{Channel, Channels, is_path, kind_name};
use super::color::CATEGORIES;
use super::data::Datum;

const SCHEMA: &str = "https://vega.github.io/schema/vega-lite/v6.json";

/// What becomes of missing values on scales of numbers and of time: they
/// interrupt lines, and other marks leave them out. This is the default of
/// Vega-Lite 6, said since it was another once.
const INVALID: &str = "break-paths-show-path-domains";

/// The specification with its data, as JSON that people can read.
pub(super) fn specification(chart: &Chart, channels: &Channels) -> String {
    let mut encoding = Map::new();
    encoding.insert("x".to_owned(), position(chart, &channels.x, false));
    encoding.insert("y".to_owned(), position(chart, &channels.y, true));
    if let Some(color) = &channels.color {
        encoding.insert("color".to_owned(), channel(color));
    }
    let mark = match chart.mark {
        Mark::Bar => json!({"type": "bar", "tooltip": true}),
        Mark::Line => json!({"type": "line", "tooltip": true}),
        Mark::Area => json!({"type": "area", "line": true, "fillOpacity": 0.3, "tooltip": true}),
        Mark::Point => json!({"type": "point", "filled": true, "tooltip": true}),
        Mark::Rect => json!({"type": "rect", "tooltip": true}),
    };
    let mut specification = Map::new();
    specification.insert("$schema".to_owned(), json!(SCHEMA));
    if let Some(title) = &chart.title {
        specification.insert("title".to_owned(), json!(title));
    }
    specification.insert("width".to_owned(), json!(chart.width.unwrap_or(640)));
    specification.insert("height".to_owned(), json!(chart.height.unwrap_or(400)));
    // The size is that of the whole picture, as in the SVG.
    specification.insert("autosize".to_owned(), json!({"type": "fit", "contains": "padding"}));
    specification.insert("data".to_owned(), json!({"values": rows(channels)}));
    if is_path(chart.mark) && (0..channels.x.values.len()).any(|row| !channels.x.has_place(row)) {
        // Vega-Lite would interrupt the path at zero for them.
        let filter = format!("datum[{}] != null", json!(channels.x.field));
        specification.insert("transform".to_owned(), json!([{"filter": filter}]));
    }
    specification.insert("mark".to_owned(), mark);
    specification.insert("encoding".to_owned(), Value::Object(encoding));
    let ramp = json!({"scheme": "viridis"});
    let range = json!({"category": CATEGORIES, "ramp": ramp, "heatmap": ramp});
    specification.insert("config".to_owned(), json!({"mark": {"invalid": INVALID}, "range": range}));
    serde_json::to_string_pretty(&Value::Object(specification)).unwrap_or_default()
}

fn position(chart: &Chart, shown: &Channel, vertical: bool) -> Value {
    let mut encoding = channel(shown);
    let Some(fields) = encoding.as_object_mut() else { return encoding };
    if shown.kind == crds::analysis::MeasurementType::Quantitative {
        // Said where the default depends on the version.
        let zero = vertical && matches!(chart.mark, Mark::Bar | Mark::Area);
        fields.insert("scale".to_owned(), json!({"zero": zero}));
        if vertical && chart.mark == Mark::Bar {
            fields.insert("stack".to_owned(), json!("zero"));
        }
        if vertical && chart.mark == Mark::Area {
            fields.insert("stack".to_owned(), Value::Null);
        }
    }
    encoding
}

fn channel(shown: &Channel) -> Value {
    json!({"field": escaped(&shown.field), "type": kind_name(shown.kind), "title": shown.title})
}

/// Points and brackets in a name would reach into nested objects.
fn escaped(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    for character in field.chars() {
        if matches!(character, '.' | '[' | ']' | '\\' | '\'' | '"') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

fn rows(channels: &Channels) -> Vec<Value> {
    let shown: Vec<&Channel> =
        [Some(&channels.x), Some(&channels.y), channels.color.as_ref()].into_iter().flatten().collect();
    (0..channels.x.values.len())
        .map(|row| {
            let fields = shown.iter().map(|channel| (channel.field.clone(), value(&channel.values[row])));
            Value::Object(fields.collect())
        })
        .collect()
}

fn value(datum: &Datum) -> Value {
    match datum {
        Datum::Missing => Value::Null,
        Datum::Integer(value) => json!(value),
        Datum::Number(value) => json!(value),
        Datum::Boolean(value) => json!(value),
        Datum::Text(value) => json!(value),
        // With the time of day and the zone: a bare date is local to some readers.
        Datum::Time(value) => json!(iso(*value)),
    }
}

fn iso(microseconds: i64) -> String {
    jiff::Timestamp::from_microsecond(microseconds)
        .map_or_else(|_| microseconds.to_string(), |time| time.to_string())
}
