//! Requests over several services: plan, tasks, answer.

use std::time::Duration;

use axum::http::StatusCode as UpstreamStatus;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

use crate::bench::{Bench, Gateway, body, eventually, text};
use crate::upstream::Upstream;

pub fn order(sql: &[&str]) -> Value {
    let tasks: Vec<Value> = sql
        .iter()
        .enumerate()
        .map(|(index, sql)| json!({ "name": format!("t{index}"), "analysis": { "sql": sql } }))
        .collect();
    json!({
        "input": "What is in it?",
        "data": [{ "name": "flights", "dataset": { "name": "flights" } }],
        "tasks": tasks,
    })
}

/// Begins a request that is not waited for; gives its address.
pub async fn begin(gateway: &Gateway, order: &Value) -> String {
    let answer = gateway.post("/v1/requests", order).header("prefer", "respond-async").send().await.unwrap();
    assert_eq!(answer.headers()["preference-applied"], "respond-async");
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let accepted = body(answer, StatusCode::ACCEPTED).await;
    assert_eq!(location, format!("/v1/requests/{}", text(&accepted["id"])));
    location
}

/// The request when it has ended.
pub async fn ended(gateway: &Gateway, location: &str) -> Value {
    for _ in 0..10 {
        let answer = gateway.get(&format!("{location}?wait=10")).send().await.unwrap();
        let request = body(answer, StatusCode::OK).await;
        if request["endedAt"].is_string() {
            return request;
        }
    }
    panic!("the request does not end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_short_one_is_answered_at_once() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let mut order = order(&["SELECT 1", "SELECT 2"]);
    order["tasks"][0]["analysis"]["charts"] = json!([{ "name": "delays" }]);
    order["tasks"][1] = json!({ "name": "about", "profile": { "data": "flights" } });
    let answer = gateway.post("/v1/requests", &order).send().await.unwrap();
    assert!(answer.headers().contains_key("location"));
    let request = body(answer, StatusCode::OK).await;
    assert_eq!(request["status"], "succeeded");
    assert_eq!(request["createdBy"], "admin");
    assert_eq!(request["plan"]["isDerived"], false);
    let task = &request["tasks"][0];
    assert_eq!(task["status"], "succeeded");
    assert_eq!(
        task["result"]["rows"],
        json!([{ "carrier": "UA", "delay": 3.5 }, { "carrier": "AA", "delay": 1 }])
    );
    assert_eq!(task["result"]["total"], 2);
    assert_eq!(task["result"]["charts"][0]["name"], "delays");
    let chart = text(&task["result"]["charts"][0]["url"]);
    assert!(chart.starts_with("/v1/analyses/a") && chart.ends_with("/charts/delays"));
    assert_eq!(request["answer"]["writer"], "template");
    let told = text(&request["answer"]["text"]);
    assert!(told.contains("- UA, 3.5\n- AA, 1"), "{told}");
    assert!(told.contains("`flights` has 4 rows"), "{told}");
    let sources = &upstream.state.analyses.of("-t0")[0].body["sources"];
    assert_eq!(*sources, json!([{ "name": "flights", "dataset": { "name": "flights" } }]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_to_do_is_derived_from_the_words_and_explained() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let order = json!({
        "input": "What is the average delay by carrier?",
        "data": [{ "name": "flights", "inline": "carrier,delay\nUA,3.5\n", "format": "csv" }],
    });
    let request = body(gateway.post("/v1/requests", &order).send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(request["plan"]["isDerived"], true);
    let explanation = text(&request["plan"]["explanation"]);
    assert!(explanation.contains("the average of `delay` by `carrier`"), "{explanation}");
    let names: Vec<&Value> = request["tasks"].as_array().unwrap().iter().map(|task| &task["name"]).collect();
    assert_eq!(names, ["profile-flights", "query"]);
    let sql = text(&request["tasks"][1]["analysis"]["sql"]);
    assert!(
        sql.starts_with("SELECT \"carrier\", avg(\"delay\") AS \"average_delay\" FROM \"flights\""),
        "{sql}"
    );
    // What was inline is not sent back.
    assert_eq!(request["data"], json!([{ "name": "flights", "format": "csv" }]));
    assert_eq!(upstream.state.analyses.of("-columns-flights").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_part_that_fails_does_not_take_the_rest_with_it() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    // The service is away for a moment, which passes.
    upstream.state.analyses.known().failures_to_come = vec![UpstreamStatus::SERVICE_UNAVAILABLE; 5];
    let order = order(&["SELECT 1", "SELECT WRONG"]);
    let request = body(gateway.post("/v1/requests", &order).send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(request["status"], "partial");
    assert_eq!(request["tasks"][0]["status"], "succeeded");
    assert_eq!(request["tasks"][1]["status"], "failed");
    let problem = &request["tasks"][1]["problem"];
    assert_eq!(
        (&problem["reason"], &problem["detail"]),
        (&json!("InvalidQuery"), &json!("The query is WRONG."))
    );
    assert!(text(&request["answer"]["text"]).contains("The task `t1` has failed: The query is WRONG."));
    let failed = body(
        gateway.post("/v1/requests", &crate::requests::order(&["WRONG"])).send().await.unwrap(),
        StatusCode::OK,
    );
    assert_eq!(failed.await["status"], "failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_long_one_is_accepted_and_ends_later() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let answer =
        gateway.post("/v1/requests", &order(&["SLOW"])).header("prefer", "wait=3").send().await.unwrap();
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(answer.headers()["preference-applied"], "wait=3");
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let request = body(answer, StatusCode::ACCEPTED).await;
    assert_eq!((&request["status"], &request["tasks"][0]["status"]), (&json!("running"), &json!("running")));
    assert!(text(&request["tasks"][0]["analysisUrl"]).starts_with("/v1/analyses/a"));
    upstream.state.analyses.release();
    assert_eq!(ended(&gateway, &location).await["status"], "succeeded");

    begin(&gateway, &order(&["SELECT 1"])).await;
    let page = body(gateway.get("/v1/requests?limit=1").send().await.unwrap(), StatusCode::OK).await;
    let next = format!("/v1/requests?limit=1&cursor={}", text(&page["nextCursor"]));
    let next = body(gateway.get(&next).send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(next["items"][0]["id"], request["id"]);
    assert_eq!(next["nextCursor"], Value::Null);
    let queued =
        body(gateway.get("/v1/requests?status=cancelled").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(queued["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repeat_with_the_same_key_finds_the_request() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let send = async |order: Value| {
        gateway.post("/v1/requests", &order).header("idempotency-key", "\"k1\"").send().await.unwrap()
    };
    let first = body(send(order(&["SELECT 1"])).await, StatusCode::OK).await;
    let repeat = send(order(&["SELECT 1"])).await;
    assert_eq!(repeat.headers()["idempotency-replayed"], "true");
    assert_eq!(body(repeat, StatusCode::OK).await["id"], first["id"]);
    assert_eq!(send(order(&["SELECT 2"])).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(upstream.state.analyses.known().all.len(), 1);
    // What was refused has used up no key.
    let mut wrong = order(&["SELECT 1"]);
    wrong["input"] = json!("");
    let send = async |order: &Value| {
        gateway.post("/v1/requests", order).header("idempotency-key", "k2").send().await.unwrap().status()
    };
    assert_eq!(send(&wrong).await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(send(&order(&["SELECT 1"])).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_key_of_a_request_that_was_not_stored_can_be_used_at_once() {
    let upstream = Upstream::start();
    let bench = Bench::new(&upstream);
    let gateway = bench.start();
    let address = format!("sqlite://{}", bench.database().display());
    let mut database = SqliteConnection::connect(&address).await.unwrap();
    // A fault at the last step before the commit.
    let fault = "CREATE TRIGGER fault BEFORE UPDATE OF state ON kit_idempotency_keys \
                 BEGIN SELECT RAISE(ABORT, 'a fault of the test'); END";
    sqlx::query(fault).execute(&mut database).await.unwrap();
    let order = order(&["SELECT 1"]);
    let send =
        async || gateway.post("/v1/requests", &order).header("idempotency-key", "k1").send().await.unwrap();
    assert_eq!(send().await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    sqlx::query("DROP TRIGGER fault").execute(&mut database).await.unwrap();
    assert_eq!(body(send().await, StatusCode::OK).await["status"], "succeeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_request_can_be_cancelled_and_has_a_deadline() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let location = begin(&gateway, &order(&["SLOW 1", "SLOW 2"])).await;
    eventually("both tasks run", async || upstream.state.analyses.known().all.len() == 2).await;
    let cancel = async || gateway.request(Method::POST, &format!("{location}/cancel")).send().await.unwrap();
    let cancelled = body(cancel().await, StatusCode::OK).await;
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(cancelled["tasks"][0]["status"], "cancelled");
    let stopped = upstream.state.analyses.known().all.iter().all(|analysis| analysis.status == "cancelled");
    assert!(stopped, "what ran for it was stopped");
    // Once more changes nothing.
    assert_eq!(body(cancel().await, StatusCode::OK).await["status"], "cancelled");
    let nobody = gateway.request(Method::POST, "/v1/requests/nobody/cancel").send().await.unwrap();
    assert_eq!(nobody.status(), StatusCode::NOT_FOUND);

    let mut short = order(&["SELECT 1", "SLOW 3"]);
    short["deadlineSeconds"] = json!(2);
    let request = body(gateway.post("/v1/requests", &short).send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(request["status"], "partial");
    assert_eq!(request["tasks"][1]["problem"]["title"], "Timed out");
    assert_eq!(upstream.state.analyses.of("-t1").last().unwrap().status, "cancelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_request_whose_turn_comes_too_late_says_so() {
    let upstream = Upstream::start();
    let mut bench = Bench::new(&upstream);
    bench.configuration["gateway"]["requestsAtOnce"] = json!(1);
    bench.configure();
    let gateway = bench.start();
    begin(&gateway, &order(&["SLOW"])).await;
    eventually("one is worked on", async || upstream.state.analyses.known().all.len() == 1).await;
    let mut late = order(&["SELECT 1"]);
    late["deadlineSeconds"] = json!(1);
    let late = begin(&gateway, &late).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    upstream.state.analyses.release();
    let request = ended(&gateway, &late).await;
    assert_eq!(request["status"], "failed");
    let told = text(&request["answer"]["text"]);
    assert!(
        told.starts_with("The turn of the request did not come before its deadline, `deadlineAt`"),
        "{told}"
    );
    assert_eq!(upstream.state.analyses.known().all.len(), 1, "nothing was begun for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_the_service_that_it_needs_a_request_says_so() {
    let upstream = Upstream::start();
    let mut bench = Bench::new(&upstream);
    bench.configuration["services"] = json!({});
    bench.configure();
    let gateway = bench.start();
    let request = gateway.post("/v1/requests", &order(&["SELECT 1"])).send().await.unwrap();
    let request = body(request, StatusCode::OK).await;
    assert_eq!(request["status"], "failed");
    let detail = text(&request["tasks"][0]["problem"]["detail"]);
    assert!(detail.contains("no service `analysis-base`"), "{detail}");
    // And what makes no sense is refused before it is accepted.
    let refused = gateway.post("/v1/requests", &json!({ "input": "x", "data": [] })).send().await.unwrap();
    assert_eq!(body(refused, StatusCode::UNPROCESSABLE_ENTITY).await["pointer"], "data");
    let mut unknown = order(&["SELECT 1"]);
    unknown["tasks"][0]["sql"] = json!("SELECT 2");
    let refused = gateway.post("/v1/requests", &unknown).send().await.unwrap();
    assert_eq!(body(refused, StatusCode::UNPROCESSABLE_ENTITY).await["pointer"], "tasks[0].sql");
    tokio::time::sleep(Duration::from_millis(10)).await;
    let page = body(gateway.get("/v1/requests").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert_eq!(page["items"][0]["input"], "What is in it?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_that_are_too_long_to_be_read_are_no_failure() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let answer = gateway.post("/v1/requests", &order(&["SELECT WIDE"])).send().await.unwrap();
    let request = body(answer, StatusCode::OK).await;
    assert_eq!(request["status"], "succeeded", "{request}");
    let result = &request["tasks"][0]["result"];
    assert_eq!((&result["total"], &result["rows"]), (&json!(20), &json!([])));
    assert_eq!(result["columns"], json!([{ "name": "carrier", "type": "string" }]));
    assert!(text(&request["answer"]["text"]).contains("20 rows, which are too long"));
}
