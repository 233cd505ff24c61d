//! Flights from New York, uploaded by a client of the tus protocol and asked about.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ai_saas_platform_tests::command::{repository, run};
use ai_saas_platform_tests::{FrontDoor, python};
use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

/// Far more than it takes.
const PATIENCE: Duration = Duration::from_secs(180);

/// The figures of an airport, computed by nothing but Python's own library.
#[derive(Debug, Deserialize)]
struct Airport {
    flights: u64,
    average_dep_delay: f64,
}

/// The figures of the file.
#[derive(Debug, Deserialize)]
struct Expected {
    flights: u64,
    without_dep_delay: u64,
    columns: u64,
    origins: BTreeMap<String, Airport>,
}

/// Uploads them as `nyc-flights`, and asks in words and by tasks.
pub async fn are_uploaded_and_asked_about(door: &FrontDoor) -> Result<()> {
    let fetch = repository("examples/flights/download.sh");
    let folder = run(fetch.into_os_string(), &[], &[]).await?;
    let file = format!("{}/flights.csv.gz", folder.trim());
    let upload = include_str!("resumable_upload.py");
    let compute = include_str!("expected_flights.py");
    let uploaded = [file.as_str(), &door.url, &door.key];
    let file = [file.as_str()];
    let (uploaded, expected) =
        tokio::join!(python::evaluate(upload, &uploaded), python::evaluate(compute, &file));
    uploaded.context("the resumable upload")?;
    let expected: Expected = serde_json::from_str(&expected?).context("the expected figures")?;
    // As the documentation of the data set has them.
    ensure!((expected.flights, expected.without_dep_delay) == (336_776, 8_255), "{expected:?}");
    asked_in_words(door, &expected).await.context("asked in words")?;
    asked_by_tasks(door, &expected).await.context("asked by tasks")
}

fn data() -> Value {
    json!([{ "name": "flights", "dataset": { "name": "nyc-flights" } }])
}

async fn asked_in_words(door: &FrontDoor, expected: &Expected) -> Result<()> {
    let question = json!({ "input": "What is the average dep_delay by origin?", "data": data() });
    let request = ended(door, &question).await?;
    ensure!(request["status"] == "succeeded" && request["plan"]["isDerived"] == true, "{request}");
    let query = task(&request, "query")?;
    let rows = query["result"]["rows"].as_array().context("rows")?;
    ensure!(rows.len() == expected.origins.len(), "{query}");
    let mut told = Vec::new();
    for row in rows {
        let origin = row["origin"].as_str().context("an origin")?;
        let average = row["average_dep_delay"].as_f64().context("an average")?;
        let airport = expected.origins.get(origin).context("a known origin")?;
        ensure!((average - airport.average_dep_delay).abs() < 1e-9, "{origin}: {average}, {airport:?}");
        let figure = format!("{average:.2}");
        told.push(format!("- {origin}, {}", figure.trim_end_matches('0').trim_end_matches('.')));
    }
    let answer = request["answer"]["text"].as_str().context("an answer")?;
    ensure!(answer.contains(&told.join("\n")), "{told:?} is not in: {answer}");

    let profile = &task(&request, "profile-flights")?["result"];
    ensure!(profile["total"] == expected.columns, "{profile}");
    let columns = profile["rows"].as_array().context("columns")?;
    let delay = columns.iter().find(|row| row["column"] == "dep_delay").context("`dep_delay`")?;
    ensure!(delay["count"] == expected.flights && delay["nulls"] == expected.without_dep_delay, "{delay}");
    Ok(())
}

async fn asked_by_tasks(door: &FrontDoor, expected: &Expected) -> Result<()> {
    let order = json!({
        "input": "How many flights are there from each airport?",
        "data": data(),
        "tasks": [
            {
                "name": "airports",
                "analysis": { "sql": "SELECT origin, count(*) AS flights FROM flights GROUP BY origin ORDER BY origin" },
            },
            { "name": "mistaken", "analysis": { "sql": "SELECT pilot FROM flights" } },
        ],
    });
    let request = ended(door, &order).await?;
    ensure!(request["status"] == "partial" && request["plan"]["isDerived"] == false, "{request}");
    let rows: Vec<Value> = expected
        .origins
        .iter()
        .map(|(origin, airport)| json!({ "origin": origin, "flights": airport.flights }))
        .collect();
    let airports = task(&request, "airports")?;
    ensure!(airports["result"]["rows"] == json!(rows), "{airports}");
    // What has succeeded can be had as a whole.
    let all = airports["result"]["url"].as_str().context("an address")?;
    let csv = door.request(Method::GET, all).header("accept", "text/csv").send().await?.text().await?;
    ensure!(csv.lines().count() == rows.len() + 1 && csv.starts_with("origin,flights\n"), "{csv}");

    let mistaken = task(&request, "mistaken")?;
    let problem = &mistaken["problem"];
    ensure!(mistaken["status"] == "failed" && problem["reason"] == "InvalidQuery", "{mistaken}");
    ensure!(problem["detail"].as_str().is_some_and(|detail| detail.contains("`pilot`")), "{problem}");
    Ok(())
}

/// Makes a request and waits for its end.
async fn ended(door: &FrontDoor, order: &Value) -> Result<Value> {
    let begun = Instant::now();
    let accepted = door.post("/v1/requests", order).header("prefer", "respond-async");
    let mut request = door.json(accepted).await?;
    let address = format!("/v1/requests/{}?wait=20", request["id"].as_str().context("an id")?);
    while !request["endedAt"].is_string() {
        ensure!(begun.elapsed() < PATIENCE, "it does not end: {request}");
        request = door.json(door.request(Method::GET, &address)).await?;
    }
    Ok(request)
}

fn task<'a>(request: &'a Value, name: &str) -> Result<&'a Value> {
    let mut tasks = request["tasks"].as_array().into_iter().flatten();
    tasks.find(|task| task["name"] == name).with_context(|| format!("no task `{name}` in {request}"))
}
