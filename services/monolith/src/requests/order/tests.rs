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

#[test]
fn what_can_be_done_is_accepted() {
    order(|_| {}).check(false).unwrap();
    order(|order| order["tasks"] = json!([])).check(false).unwrap();
}

#[test]
fn what_cannot_be_done_says_what_to_change() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 21] = [
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
        ("data[2].url", |order| order["data"][2]["url"] = json!("file:///etc/passwd")),
        ("data[2].url", |order| order["data"][2]["url"] = json!(format!("https://{}", "x".repeat(2048)))),
        ("tasks[0].name", |order| order["tasks"][0]["name"] = json!("a/b")),
        ("tasks[1]", |order| order["tasks"][1]["name"] = json!("delays")),
        ("tasks[1].analysis.sql", |order| order["tasks"][1]["analysis"]["sql"] = json!("x".repeat(32_769))),
        ("tasks[0].analysis.charts", |order| order["tasks"][0]["analysis"]["charts"] = json!([1])),
        ("tasks[0]", |order| order["tasks"][0]["analysis"]["data"] = json!(["nothing"])),
        ("tasks[2]", |order| order["tasks"][2]["analysis"] = json!({ "sql": "SELECT 1" })),
    ];
    for (place, change) in cases {
        let problem = order(change).check(false).unwrap_err();
        assert_eq!(problem.extensions["pointer"], place, "{}", problem.detail);
        assert_eq!(problem.status.as_u16(), 422);
    }
}

#[test]
fn tasks_become_analyses() {
    let order = order(|order| order["deadlineSeconds"] = json!(60));
    assert_eq!(
        order.analysis(&order.tasks[0]),
        json!({
            "sources": [{ "name": "flights", "dataset": { "name": "flights" } }],
            "sql": "SELECT 1",
            "charts": [],
            "activeDeadlineSeconds": 60,
        })
    );
    assert_eq!(order.analysis(&order.tasks[1])["sources"].as_array().unwrap().len(), 3);
    assert_eq!(
        order.analysis(&order.tasks[2]),
        json!({
            "sources": [{ "name": "planes", "inline": "a,b\n1,2\n", "format": "csv", "csv": { "delimiter": "," } }],
            "profile": { "source": "planes", "columns": [] },
            "activeDeadlineSeconds": 60,
        })
    );
    let body = order.analysis(&order.tasks[1]);
    assert_eq!(body["sources"][2]["uri"], json!({ "url": "https://example.com/weather.parquet" }));
}

#[test]
fn a_secret_is_not_in_the_log() {
    let webhook = Webhook { url: "https://example.com/".to_owned(), secret: "whsec_hidden".to_owned() };
    assert!(!format!("{webhook:?}").contains("hidden"));
}
