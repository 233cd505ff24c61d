//! Analyses: at once and later, what fails, and how much is taken on.

use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Answer, Options, Server, endless, query};

#[tokio::test]
async fn an_analysis_is_answered_at_once() {
    let server = Server::start();
    assert_eq!(server.put("flights", "format=csv", "carrier,delay\nUA,2\nUA,4\n").await.status, 201);
    let analysis = json!({
        "sources": [
            {"name": "flights", "dataset": {"name": "flights"}},
            {"name": "names", "format": "csv", "inline": "carrier,name\nUA,United\n"}
        ],
        "sql": "SELECT name, avg(delay) AS delay FROM flights JOIN names USING (carrier) GROUP BY name"
    });
    let answer = server.post("/v1/analyses", &analysis).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let found = answer.json();
    assert_eq!(found["status"], "succeeded");
    assert_eq!(found["message"], "The result has 1 row.");
    assert_eq!(found["result"]["rows"], json!([{"name": "United", "delay": 3.0}]));
    assert_eq!(found["result"]["total"], 1);
    let columns = json!([{"name": "name", "type": "string"}, {"name": "delay", "type": "number"}]);
    assert_eq!(found["result"]["columns"], columns);
    assert_eq!((&found["rowsRead"], &found["rowsWritten"]), (&json!(3), &json!(1)));
    assert!(found["peakMemoryBytes"].as_i64().expect("memory") > 0);
    // It keeps to the version that was the latest when it was accepted.
    assert_eq!(found["request"]["sources"][0]["dataset"], json!({"name": "flights", "version": 1}));
    let id = found["id"].as_str().expect("id");
    assert_eq!(answer.header("content-location"), format!("/v1/analyses/{id}"));
    assert_eq!(server.get(&format!("/v1/analyses/{id}")).await.json(), found);
}

#[tokio::test]
async fn an_analysis_can_be_waited_for_later() {
    let server = Server::start();
    let sql = "SELECT count(*) AS n FROM generate_series(1, 100000000)";
    let request = server.post_request("/v1/analyses", &query(sql)).header("prefer", "respond-async");
    let answer = Answer::of(request).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.header("preference-applied"), "respond-async");
    assert_eq!(answer.header("retry-after"), "1");
    let address = answer.header("location");
    assert!(matches!(answer.json()["status"].as_str(), Some("queued" | "running")));
    let early = server.get(&format!("{address}/result")).await;
    if early.status != 200 {
        early.problem(409);
        assert_eq!(early.json()["type"], "https://aisaas.dev/problems/analysis-under-way");
    }
    let ended = server.get(&format!("{address}?wait=25")).await.json();
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!(ended["result"]["rows"], json!([{"n": 100_000_000}]));
}

#[tokio::test]
async fn what_fails_says_why() {
    let server = Server::start();
    for (sql, reason, words) in [
        ("SELECT nope FROM t", "InvalidQuery", "names a column `nope` that is not there"),
        ("DROP TABLE t", "InvalidQuery", "not a query but DROP"),
        ("SELECT a / 0 AS x FROM t", "QueryFailed", "divides by zero"),
    ] {
        let answer = server.post("/v1/analyses", &query(sql)).await;
        let detail = answer.problem(422);
        assert!(detail.contains(words), "{detail}");
        let problem = answer.json();
        assert_eq!(problem["reason"], reason);
        assert_eq!(problem["type"], "https://aisaas.dev/problems/analysis-failed");
        let address = problem["analysis"].as_str().expect("address");
        let failed = server.get(address).await.json();
        assert_eq!((&failed["status"], &failed["reason"]), (&json!("failed"), &json!(reason)));
        assert_eq!(failed["message"], detail);
        server.get(&format!("{address}/result")).await.problem(422);
    }
    // Beyond what was looked at when it was uploaded.
    let mut data = "a\n".to_owned() + &"1\n".repeat(5_000_000);
    data.push_str("x\n");
    assert_eq!(server.put("late", "format=csv", data).await.status, 201);
    let analysis =
        json!({"sources": [{"name": "t", "dataset": {"name": "late"}}], "sql": "SELECT sum(a) FROM t"});
    let detail = server.post("/v1/analyses", &analysis).await.problem(422);
    assert!(detail.contains("data set `late` version 1 line 5000002"), "{detail}");
}

#[tokio::test]
async fn what_only_the_cluster_can_reach_is_no_source() {
    let server = Server::start();
    let url = format!("http://{}/openapi.json", server.address());
    let source = json!({"name": "t", "format": "jsonLines", "uri": {"url": url}});
    let analysis = json!({"sources": [source], "sql": "SELECT 1"});
    let detail = server.post("/v1/analyses", &analysis).await.problem(422);
    assert!(detail.contains("spec.allowPrivateAddresses of the Platform"), "{detail}");
}

#[tokio::test]
async fn what_makes_no_sense_is_not_accepted() {
    let server = Server::start();
    let refused = async |analysis: Value| {
        let answer = server.post("/v1/analyses", &analysis).await;
        let detail = answer.problem(422);
        assert!(answer.json().get("analysis").is_none(), "{detail}");
        detail
    };
    let mut claims = query("SELECT 1");
    claims["sources"][0]["persistentVolumeClaim"] = json!({"claimName": "c", "path": "p"});
    assert!(refused(claims).await.contains("upload a data set"));
    let mut chart = query("SELECT a, b FROM t");
    let encoding = json!({"xAxis": {"field": "b"}, "yAxis": {"field": "a"}});
    chart["charts"] = json!([{"name": "../../escape", "mark": "bar", "encoding": encoding}]);
    assert!(refused(chart).await.contains("charts[0].name: does not match"));
    let missing = json!({"sources": [{"name": "t", "dataset": {"name": "none"}}], "sql": "SELECT 1"});
    assert!(refused(missing).await.contains("there is no data set `none` with the version latest"));
    let mut unknown = query("SELECT 1");
    unknown["query"] = json!("SELECT 2");
    assert!(refused(unknown).await.contains("unknown field `query`"));
    let mut long = query("SELECT 1");
    long["activeDeadlineSeconds"] = json!(3601);
    assert!(refused(long).await.contains("activeDeadlineSeconds"));
    assert_eq!(server.get("/v1/analyses").await.json()["items"], json!([]));
    Answer::of(server.request("POST", "/v1/analyses").header("content-type", "application/json").body("{"))
        .await
        .problem(400);
    Answer::of(server.request("POST", "/v1/analyses").body("{}")).await.problem(415);
}

#[tokio::test]
async fn the_same_request_runs_once() {
    let server = Server::start();
    let send = |key: &str, sql: &str| {
        Answer::of(server.post_request("/v1/analyses", &query(sql)).header("idempotency-key", key))
    };
    let (one, other) = tokio::join!(send("k", "SELECT a FROM t"), send("k", "SELECT a FROM t"));
    assert_eq!((one.status, other.status), (200, 200), "{} {}", one.text(), other.text());
    let again = send("k", "SELECT a FROM t").await;
    assert_eq!((&other.json()["id"], &again.json()["id"]), (&one.json()["id"], &one.json()["id"]));
    assert!(send("k", "SELECT b FROM t").await.problem(422).contains("different request"));
    assert_eq!(server.get("/v1/analyses").await.json()["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn what_is_accepted_is_found_even_if_its_result_cannot_be_read() {
    let server = Server::start();
    let send = || {
        Answer::of(
            server.post_request("/v1/analyses", &query("SELECT a FROM t")).header("idempotency-key", "k"),
        )
    };
    let address = send().await.header("content-location");
    let id = address.rsplit('/').next().expect("id");
    std::fs::remove_dir_all(server.objects(&format!("analyses/{id}"))).expect("its objects");
    let again = send().await;
    assert_eq!((again.status, again.header("location")), (202, address.clone()), "{}", again.text());
    assert_eq!(again.json()["status"], "succeeded");
    assert_eq!(again.header("retry-after"), "1");
    // Who asks for the analysis itself is told that it is not all there.
    server.get(&address).await.problem(500);
}

#[tokio::test]
async fn an_analysis_has_a_deadline() {
    let server = Server::start();
    let mut analysis = endless();
    analysis["activeDeadlineSeconds"] = json!(1);
    let answer = server.post("/v1/analyses", &analysis).await;
    let detail = answer.problem(422);
    assert!(detail.starts_with("The analysis did not end within 1 seconds"), "{detail}");
    assert_eq!(answer.json()["reason"], "DeadlineExceeded");
}

#[tokio::test]
async fn a_full_queue_takes_nothing_more() {
    let options = Options { concurrency: 1, bounds: json!({"queueLength": 3}), ..Options::default() };
    let server = Server::start_with(options);
    let mut accepted = Vec::new();
    let refused = loop {
        let request = server.post_request("/v1/analyses", &endless()).header("prefer", "respond-async");
        let answer = Answer::of(request).await;
        if answer.status != 202 {
            break answer;
        }
        accepted.push(answer.header("location"));
        assert!(accepted.len() < 20, "the queue has a bound");
        // How full it is is looked at about once a second.
        tokio::time::sleep(Duration::from_millis(600)).await;
    };
    refused.problem(503);
    assert_eq!(refused.header("retry-after"), "5");
    assert!(accepted.len() >= 3);
    for address in &accepted {
        assert_eq!(server.post(&format!("{address}/cancel"), &json!({})).await.status, 200);
    }
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(server.post("/v1/analyses", &query("SELECT 1 AS x")).await.status, 200);
}

#[tokio::test]
async fn analyses_are_listed() {
    let server = Server::start();
    for _ in 0..2 {
        assert_eq!(server.post("/v1/analyses", &query("SELECT 1 AS x")).await.status, 200);
    }
    server.post("/v1/analyses", &query("SELECT nope FROM t")).await.problem(422);
    let first = server.get("/v1/analyses?limit=2").await.json();
    assert_eq!(first["items"][0]["status"], "failed");
    assert!(first["items"][0].get("request").is_none());
    let cursor = first["nextCursor"].as_str().expect("cursor");
    let second = server.get(&format!("/v1/analyses?limit=2&cursor={cursor}")).await.json();
    assert_eq!(second["items"].as_array().map(Vec::len), Some(1));
    assert!(second.get("nextCursor").is_none());
    let succeeded = server.get("/v1/analyses?status=succeeded").await.json();
    assert_eq!(succeeded["items"].as_array().map(Vec::len), Some(2));
    server.get("/v1/analyses?status=done").await.problem(400);
    server.get("/v1/analyses?cursor=x").await.problem(400);
    let id = succeeded["items"][0]["id"].as_str().expect("id");
    assert_eq!(server.delete(&format!("/v1/analyses/{id}")).await.status, 204);
    server.get(&format!("/v1/analyses/{id}")).await.problem(404);
    server.get(&format!("/v1/analyses/{id}/result")).await.problem(404);
    server.delete(&format!("/v1/analyses/{id}")).await.problem(404);
    crate::server::eventually("its objects go", || !server.objects(&format!("analyses/{id}")).exists()).await;
}
