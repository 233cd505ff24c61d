use serde_json::{Value, json};

use super::*;

fn order(change: impl FnOnce(&mut Value)) -> Order {
    let mut order = json!({
        "input": "What is in it?",
        "data": [
            { "name": "flights", "dataset": { "name": "flights" } },
            { "name": "planes", "inline": "a,b\n1,2\n", "format": "csv", "csv": { "delimiter": "," } },
            { "name": "weather", "url": "https://example.com/weather.parquet", "format": "parquet" },
        ],
        "tasks": [
            { "name": "delays", "analysis": { "sql": "SELECT 1", "data": ["flights"] } },
            { "name": "all", "analysis": { "sql": "SELECT 2" } },
            { "name": "about", "profile": { "data": "planes" } },
        ],
    });
    change(&mut order);
    serde_json::from_value(order).unwrap()
}

/// Whether it is accepted when it comes in.
fn accepted(mut order: Order) -> Result<Order, Problem> {
    order.settle()?;
    order.check(false)?;
    Ok(order)
}

#[test]
fn what_can_be_done_is_accepted() {
    accepted(order(|_| {})).unwrap();
    accepted(order(|order| order["tasks"] = json!([]))).unwrap();
}

#[test]
fn what_means_the_same_is_the_same() {
    let text = |csv: &str, charts: &str| {
        format!(
            r#"{{"input": "a", "data": [{{"name": "a", "inline": "a", "format": "csv", "csv": {csv}}}],
               "tasks": [{{"name": "t", "analysis": {{"sql": "SELECT 1", "charts": {charts}}}}}]}}"#
        )
    };
    let read = |text: &str| accepted(serde_json::from_str(text).unwrap()).unwrap();
    let one = read(&text(r#"{ "delimiter" : ",", "header":true }"#, r#"[ {"a": [ 1 ]}]"#));
    assert_eq!(one, read(&text(r#"{"header":true,"delimiter":","}"#, r#"[{"a":[1]}]"#)));
    assert_eq!(one.data[0].csv.as_ref().unwrap().text(), r#"{"delimiter":",","header":true}"#);
}

#[test]
fn what_cannot_be_done_says_what_to_change() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 26] = [
        ("input", |order| order["input"] = json!("  ")),
        ("input", |order| order["input"] = json!("What is\u{0} in it?")),
        ("data", |order| order["data"] = json!([])),
        ("deadlineSeconds", |order| order["deadlineSeconds"] = json!(0)),
        ("data[0].name", |order| order["data"][0]["name"] = json!("Flights")),
        ("data[0].name", |order| order["data"][0]["name"] = json!("result")),
        ("data[1]", |order| order["data"][1]["name"] = json!("flights")),
        ("data[0]", |order| order["data"][0]["url"] = json!("https://example.com/x")),
        ("data[1].inline", |order| order["data"][1]["inline"] = json!("x".repeat(MOST_INLINE_BYTES + 1))),
        ("data[1]", |order| drop(order["data"][1].as_object_mut().unwrap().remove("format"))),
        ("data[0].dataset", |order| order["data"][0]["dataset"]["version"] = json!(0)),
        ("data[1].csv", |order| order["data"][1]["csv"] = json!("delimiter")),
        ("data[1].columns", |order| order["data"][1]["columns"] = json!(["a"])),
        ("data", |order| order["data"] = json!(vec![json!({ "name": "a" }); 17])),
        ("tasks", |order| order["tasks"] = json!(vec![json!({ "name": "a" }); 17])),
        ("data[2].url", |order| order["data"][2]["url"] = json!("file:///etc/passwd")),
        ("data[2].url", |order| order["data"][2]["url"] = json!(format!("https://{}", "x".repeat(2048)))),
        ("tasks[0].name", |order| order["tasks"][0]["name"] = json!("a/b")),
        ("tasks[1]", |order| order["tasks"][1]["name"] = json!("delays")),
        ("tasks[1].analysis.sql", |order| order["tasks"][1]["analysis"]["sql"] = json!("x".repeat(32_769))),
        ("tasks[0].analysis.charts[0]", |order| order["tasks"][0]["analysis"]["charts"] = json!([1])),
        ("tasks[0].analysis.charts", |order| {
            order["tasks"][0]["analysis"]["charts"] = json!(vec![json!({}); 17]);
        }),
        ("tasks[0].analysis.data", |order| {
            order["tasks"][0]["analysis"]["data"] = json!(vec!["flights"; 17]);
        }),
        ("tasks[2].profile.columns", |order| order["tasks"][2]["profile"]["columns"] = json!(vec!["a"; 257])),
        ("tasks[0]", |order| order["tasks"][0]["analysis"]["data"] = json!(["nothing"])),
        ("tasks[2]", |order| order["tasks"][2]["analysis"] = json!({ "sql": "SELECT 1" })),
    ];
    for (place, change) in cases {
        let problem = accepted(order(change)).unwrap_err();
        assert_eq!(problem.extensions["pointer"], place, "{}", problem.detail);
        assert_eq!(problem.status.as_u16(), 422);
    }
}

#[test]
fn what_only_the_analyses_understand_is_short_and_can_be_read() {
    let refused = |csv: &str| {
        let text =
            format!(r#"{{"input": "a", "data": [{{"name": "a", "url": "https://a", "csv": {csv}}}]}}"#);
        accepted(serde_json::from_str(&text).unwrap()).unwrap_err()
    };
    let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(128 << 10));
    let deep = format!(r#"{{"a": {}{}}}"#, "[".repeat(200), "]".repeat(200));
    for (csv, words) in [
        (long.as_str(), "has at most 131072 bytes as JSON"),
        (deep.as_str(), "cannot be read: recursion limit exceeded"),
        (r#"{"a": 1e999}"#, "cannot be read: number out of range"),
        ("[]", "is an object"),
    ] {
        let problem = refused(csv);
        assert!(problem.detail.contains(words), "{}", problem.detail);
        assert_eq!(problem.extensions["pointer"], "data[0].csv");
    }
}

#[test]
fn tasks_become_analyses() {
    let order = order(|order| order["deadlineSeconds"] = json!(60));
    let body = |task: usize| -> Value { serde_json::from_str(&order.analysis(&order.tasks[task])).unwrap() };
    assert_eq!(
        body(0),
        json!({
            "sources": [{ "name": "flights", "dataset": { "name": "flights" } }],
            "sql": "SELECT 1",
            "charts": [],
            "activeDeadlineSeconds": 60,
        })
    );
    assert_eq!(body(1)["sources"].as_array().unwrap().len(), 3);
    assert_eq!(
        body(2),
        json!({
            "sources": [{ "name": "planes", "inline": "a,b\n1,2\n", "format": "csv", "csv": { "delimiter": "," } }],
            "profile": { "source": "planes", "columns": [] },
            "activeDeadlineSeconds": 60,
        })
    );
    assert_eq!(body(1)["sources"][2]["uri"], json!({ "url": "https://example.com/weather.parquet" }));
}

#[test]
fn a_secret_is_not_in_the_log() {
    let webhook = Webhook { url: "https://example.com/".to_owned(), secret: "whsec_hidden".to_owned() };
    assert!(!format!("{webhook:?}").contains("hidden"));
}
