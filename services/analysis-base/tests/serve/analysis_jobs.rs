//! AnalysisJobs as the service shows them.

use serde_json::{Value, json};

use crate::api_server::ApiServer;
use crate::server::{Options, Server};

/// A server that shows what an API server has.
pub fn showing(api_server: &ApiServer) -> Server {
    Server::start_with(Options { kubernetes_url: Some(api_server.url.clone()), ..Options::default() })
}

/// The status of an AnalysisJob that has not ended, and why.
fn under_way(reason: &str) -> Value {
    json!({"conditions": [
        {"type": "Accepted", "status": "True", "reason": "Valid", "message": "", "lastTransitionTime": "2025-11-24T09:01:00Z"},
        {"type": "Complete", "status": "False", "reason": reason, "message": "Wait.",
            "lastTransitionTime": "2025-11-24T09:01:00Z"},
    ]})
}

/// The status of an AnalysisJob that has ended well, and has left this.
pub fn succeeded(output: Value) -> Value {
    json!({
        "observedGeneration": 1,
        "conditions": [{
            "type": "Complete", "status": "True", "reason": "Succeeded", "message": "The result has 2 rows, in 1 file.",
            "lastTransitionTime": "2025-11-24T09:01:04Z", "observedGeneration": 1,
        }],
        "jobName": "penguins", "startTime": "2025-11-24T09:01:01Z", "completionTime": "2025-11-24T09:01:04Z",
        "rowsRead": 344, "bytesRead": 15241, "rowsWritten": 2, "duration": "181ms", "durationMilliseconds": 181,
        "peakMemoryBytes": 1 << 27, "preview": "a,b\n1,x\n", "output": output,
    })
}

/// The specification of an AnalysisJob with this output and these charts.
pub fn spec(output: Value, charts: &[&str]) -> Value {
    let encoding = json!({"xAxis": {"field": "a"}, "yAxis": {"field": "b"}});
    let chart = |name: &&str| json!({"name": name, "mark": "bar", "encoding": encoding});
    json!({
        "sources": [{"name": "t", "format": "csv", "inline": "a,b\n1,x\n"}], "sql": "SELECT a, b FROM t",
        "charts": charts.iter().map(chart).collect::<Vec<_>>(), "output": output,
        "workload": {"env": [{"name": "PASSWORD", "value": "open sesame"}], "priorityClassName": "low"},
    })
}

fn names(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().expect("items");
    items.iter().filter_map(|item| item["name"].as_str()).collect()
}

#[tokio::test]
async fn they_are_listed_in_pages_and_by_status() {
    let api_server = ApiServer::start().await;
    let output = json!({"location": "configmap/b-result", "configMap": "b-result", "files": []});
    for (name, status) in [
        ("a", under_way("Running")),
        ("b", succeeded(output)),
        ("c", under_way("Suspended")),
        ("d", under_way("Running")),
        ("e", Value::Null),
    ] {
        api_server.add_job(name, spec(json!({"format": "csv", "configMap": {}}), &[]), status);
    }
    let server = showing(&api_server);

    let all = server.get("/v1/analysis-jobs").await.json();
    assert_eq!(names(&all), ["a", "b", "c", "d", "e"]);
    assert_eq!(all["nextCursor"], Value::Null);
    let statuses: Vec<&Value> =
        all["items"].as_array().expect("items").iter().map(|item| &item["status"]).collect();
    assert_eq!(statuses, ["running", "succeeded", "suspended", "running", "pending"]);
    assert_eq!(all["items"][1]["output"]["result"], "/v1/analysis-jobs/b/result");
    assert!(all["items"][1]["spec"].is_null() && all["items"][1]["preview"].is_null(), "{all}");

    let first = server.get("/v1/analysis-jobs?limit=2").await.json();
    assert_eq!(names(&first), ["a", "b"]);
    let cursor = first["nextCursor"].as_str().expect("cursor");
    let second = server.get(&format!("/v1/analysis-jobs?limit=2&cursor={cursor}")).await.json();
    assert_eq!(names(&second), ["c", "d"]);

    // Those of another status do not count.
    let running = server.get("/v1/analysis-jobs?status=running&limit=2").await.json();
    assert_eq!(names(&running), ["a", "d"]);
    let running = server.get("/v1/analysis-jobs?status=running").await.json();
    assert_eq!((names(&running), &running["nextCursor"]), (vec!["a", "d"], &Value::Null));
    assert_eq!(names(&server.get("/v1/analysis-jobs?status=failed").await.json()), [""; 0]);

    assert!(server.get("/v1/analysis-jobs?status=done").await.problem(400).contains("succeeded"));
    server.get("/v1/analysis-jobs?limit=0").await.problem(400);
    server.get("/v1/analysis-jobs?cursor=nonsense").await.problem(400);
    server.get("/v1/analysis-jobs?cursor=").await.problem(400);
    assert!(server.get("/v1/analysis-jobs?cursor=expired").await.problem(410).contains("begin again"));
}

#[tokio::test]
async fn large_ones_are_read_in_smaller_parts() {
    let api_server = ApiServer::start().await;
    for number in 0..30 {
        let large = json!({"sql": "x".repeat(1 << 20)});
        api_server.add_job(&format!("job-{number:02}"), large, Value::Null);
    }
    let server = showing(&api_server);
    let page = server.get("/v1/analysis-jobs?limit=30").await.json();
    assert_eq!(names(&page).len(), 30);
    assert!(page.to_string().len() < 1 << 16, "no specification is kept");
}

#[tokio::test]
async fn one_is_shown_with_all_that_is_known_of_it() {
    let api_server = ApiServer::start().await;
    let output = json!({
        "location": "configmap/penguins-result", "configMap": "penguins-result",
        "files": [{"name": "result.csv", "bytes": 8}, {"name": "bars.svg", "bytes": 9}],
    });
    let declared = spec(json!({"format": "csv", "configMap": {}}), &["bars"]);
    api_server.add_job("penguins", declared, succeeded(output));
    let server = showing(&api_server);

    let job = server.get("/v1/analysis-jobs/penguins").await.json();
    assert_eq!((&job["status"], &job["reason"]), (&json!("succeeded"), &json!("Succeeded")));
    assert_eq!(job["message"], "The result has 2 rows, in 1 file.");
    assert_eq!(job["createdAt"], "2025-11-24T09:01:00Z");
    assert_eq!(
        (&job["startedAt"], &job["finishedAt"]),
        (&json!("2025-11-24T09:01:01Z"), &json!("2025-11-24T09:01:04Z"))
    );
    assert_eq!((&job["rowsWritten"], &job["durationMilliseconds"]), (&json!(2), &json!(181)));
    assert_eq!((&job["bytesRead"], &job["peakMemoryBytes"]), (&json!(15_241), &json!(1 << 27)));
    assert_eq!(job["preview"], "a,b\n1,x\n");
    assert_eq!(job["output"]["location"], "configmap/penguins-result");
    assert_eq!(job["output"]["files"][0], json!({"name": "result.csv", "bytes": 8}));
    assert_eq!(job["conditions"][0]["type"], "Complete");
    assert_eq!(job["charts"], json!([{"name": "bars", "url": "/v1/analysis-jobs/penguins/charts/bars"}]));
    assert_eq!(job["spec"]["sql"], "SELECT a, b FROM t");
    assert_eq!(job["spec"]["workload"], json!({"priorityClassName": "low"}));

    assert!(server.get("/v1/analysis-jobs/emperor").await.problem(404).contains("emperor"));
    // They are made by others.
    assert_eq!(server.post("/v1/analysis-jobs", &json!({})).await.status, 405);
    assert_eq!(server.delete("/v1/analysis-jobs/penguins").await.status, 405);
}

#[tokio::test]
async fn nothing_is_asked_of_the_api_server_that_is_no_name() {
    let api_server = ApiServer::start().await;
    let server = showing(&api_server);
    for name in ["..%2Fpods", "a%2Fstatus", "Penguins", "a%3Fwatch=true", "-a", &"a".repeat(300)] {
        server.get(&format!("/v1/analysis-jobs/{name}")).await.problem(404);
        server.get(&format!("/v1/analysis-jobs/{name}/result")).await.problem(404);
        server.get(&format!("/v1/analysis-jobs/{name}/charts/c")).await.problem(404);
    }
    assert_eq!(api_server.asked(), [""; 0]);
}

#[tokio::test]
async fn a_missing_role_is_told() {
    let api_server = ApiServer::start().await;
    let server = showing(&api_server);
    api_server.refuse(403);
    for path in ["/v1/analysis-jobs", "/v1/analysis-jobs/penguins", "/v1/analysis-jobs/penguins/result"] {
        let answer = server.get(path).await;
        let detail = answer.problem(503);
        assert!(detail.contains("Role") && detail.contains("analysisjobs"), "{detail}");
        assert!(!answer.header("retry-after").is_empty());
    }
    assert_eq!(server.get("/v1/analyses").await.status, 200);
}

#[tokio::test]
async fn without_an_api_server_everything_else_works() {
    let gone = Options { kubernetes_url: Some("http://127.0.0.1:1".to_owned()), ..Options::default() };
    for (options, telling) in [(Options::default(), "no access"), (gone, "does not answer")] {
        let server = Server::start_with(options);
        for path in ["", "/penguins", "/penguins/result", "/penguins/charts", "/penguins/charts/bars"] {
            let detail = server.get(&format!("/v1/analysis-jobs{path}")).await.problem(503);
            assert!(detail.contains(telling), "{detail}");
        }
        assert_eq!(server.get("/v1/datasets").await.status, 200);
        assert_eq!(server.get("/readyz").await.status, 200);
    }
}
