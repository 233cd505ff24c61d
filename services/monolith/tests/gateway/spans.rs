//! What a collector of OpenTelemetry is told of a request that goes through
//! the gateway into analysis-base. Both are the real programs.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bench::{Bench, Gateway, PATIENCE, body, eventually};
use crate::collector::{CLIENT, CONSUMER, Collector, SERVER};
use crate::upstream::Upstream;

/// The service behind the gateway. It is killed when it is dropped.
struct AnalysisBase {
    child: Child,
    url: String,
    _folder: TempDir,
}

impl AnalysisBase {
    fn start(environment: &[(&'static str, String)]) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_monolith")).with_file_name("analysis-base");
        assert!(program.is_file(), "there is no {}: test the whole workspace", program.display());
        let folder = tempfile::tempdir().expect("folder");
        let configuration = json!({
            "platform": "test",
            "namespace": "test",
            "database": { "sqlite": { "path": folder.path().join("data/database.sqlite3") } },
            "objects": { "folder": { "path": folder.path().join("data/objects") } },
        });
        let file = folder.path().join("configuration.json");
        std::fs::write(&file, configuration.to_string()).expect("configuration");
        let mut child = Command::new(program)
            .arg("serve")
            .arg("--configuration")
            .arg(file)
            .arg("--work-folder")
            .arg(folder.path().join("work"))
            .args(["--listen", "127.0.0.1:0"])
            .env("MEMORY_LIMIT_BYTES", (1_u64 << 30).to_string())
            .env("CPU_LIMIT", "2")
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start");
        let log = child.stderr.take().expect("log");
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                eprintln!("{line}");
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if let Some(address) = event["address"].as_str() {
                    let _ = sender.send(address.to_owned());
                }
            }
        });
        let address = receiver.recv_timeout(PATIENCE).expect("the service listens");
        Self { child, url: format!("http://{address}"), _folder: folder }
    }
}

impl Drop for AnalysisBase {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An environment in which spans are sent there, so often.
fn exporting(endpoint: &str, delay: Duration) -> Vec<(&'static str, String)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.to_owned()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20key".to_owned()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "500".to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", delay.as_millis().to_string()),
    ]
}

const OFTEN: Duration = Duration::from_millis(100);
const NEVER: Duration = Duration::from_secs(600);

fn trace(number: u8) -> String {
    format!("0af7651916cd43dd8448eb211c8031{number:02x}")
}

async fn analyzed(gateway: &Gateway, trace: &str, flags: &str) -> String {
    let analysis = json!({
        "sources": [{ "name": "t", "format": "csv", "inline": "a\n1\n2\n" }],
        "sql": "SELECT sum(a) AS a FROM t",
    });
    let request = gateway.post("/v1/analyses", &analysis);
    let request = request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-{flags}"));
    let answer = request.send().await.expect("answer");
    let told = answer.headers()["traceparent"].to_str().expect("text").to_owned();
    assert_eq!(body(answer, StatusCode::OK).await["status"], "succeeded");
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_request_is_one_trace_from_the_gateway_to_the_job_of_its_service() {
    let collector = Collector::start();
    let environment = exporting(&collector.endpoint, OFTEN);
    let service = AnalysisBase::start(&environment);
    let mut bench = Bench::new(&Upstream::start());
    bench.configuration["services"]["analysis-base"]["url"] = json!(service.url);
    bench.configure();
    bench.environment = environment;
    bench.environment.push(("OTEL_SERVICE_NAME", "gateway".to_owned()));
    let gateway = bench.start();

    let trace = trace(1);
    let told = analyzed(&gateway, &trace, "01").await;
    let asked = collector.span(&trace, "gateway", SERVER).await;
    assert_eq!(asked.parent, "b7ad6b7169203331");
    assert_eq!(told, format!("00-{trace}-{}-01", asked.id));
    assert_eq!(asked.attribute("url.path"), "/v1/analyses");
    assert_eq!(asked.attribute("http.request.method"), "POST");
    assert_eq!(asked.attribute("http.response.status_code"), "200");
    let call = collector.span(&trace, "gateway", CLIENT).await;
    assert_eq!(
        (&call.parent, call.attribute("url.full")),
        (&asked.id, format!("{}/v1/analyses", service.url))
    );
    let served = collector.span(&trace, "analysis-base", SERVER).await;
    assert_eq!((&served.parent, served.name.as_str()), (&call.id, "POST /v1/analyses"));
    assert_eq!(served.attribute("http.route"), "/v1/analyses");
    let job = collector.span(&trace, "analysis-base", CONSUMER).await;
    assert_eq!((&job.parent, job.name.as_str()), (&served.id, "process analyses"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_work_on_a_request_is_a_part_of_its_trace() {
    let collector = Collector::start();
    let upstream = Upstream::start();
    let mut bench = Bench::new(&upstream);
    bench.environment = exporting(&collector.endpoint, OFTEN);
    let gateway = bench.start();
    let trace = trace(2);
    let order = crate::requests::order(&["SELECT 1"]);
    let request = gateway.post("/v1/requests", &order);
    let request = request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    assert_eq!(body(request.send().await.expect("answer"), StatusCode::OK).await["status"], "succeeded");
    let asked = collector.span(&trace, "monolith", SERVER).await;
    assert_eq!(asked.name, "POST /v1/requests");
    let work = collector.span(&trace, "monolith", CONSUMER).await;
    assert_eq!(work.parent, asked.id);
    let calls = collector.of(&trace).into_iter().filter(|span| span.kind == CLIENT).collect::<Vec<_>>();
    assert!(!calls.is_empty() && calls.iter().all(|call| call.parent == work.id), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_left_is_sent_at_the_end_and_what_is_not_sampled_never() {
    let collector = Collector::start();
    let upstream = Upstream::start();
    let mut bench = Bench::new(&upstream);
    bench.environment = exporting(&collector.endpoint, NEVER);
    let gateway = bench.start();
    for (number, flags) in [(3, "01"), (4, "00")] {
        let request = gateway.get("/v1/datasets/seen");
        let request = request.header("traceparent", format!("00-{}-b7ad6b7169203331-{flags}", trace(number)));
        let seen = body(request.send().await.expect("answer"), StatusCode::OK).await;
        let sent = seen["headers"]["traceparent"][0].as_str().expect("text").to_owned();
        assert!(sent.starts_with(&format!("00-{}-", trace(number))) && sent.ends_with(flags), "{sent}");
    }
    assert!(collector.of(&trace(3)).is_empty());
    gateway.stop();
    assert_eq!(collector.of(&trace(3)).len(), 2);
    assert!(collector.of(&trace(4)).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_collector_that_is_away_is_told_of_once_and_changes_nothing() {
    const AWAY: &str = "The collector takes no spans.";
    const BACK: &str = "The collector takes spans again.";
    // It takes connections, and never looks at them.
    let silent = TcpListener::bind("127.0.0.1:0").expect("listener");
    let address = silent.local_addr().expect("address");
    let upstream = Upstream::start();
    let mut bench = Bench::new(&upstream);
    bench.environment = exporting(&format!("http://{address}"), OFTEN);
    let gateway = bench.start();
    let ask = async |number: u8| {
        let request = gateway.get("/v1/datasets/seen");
        let request = request.header("traceparent", format!("00-{}-b7ad6b7169203331-01", trace(number)));
        body(request.send().await.expect("answer"), StatusCode::OK).await;
    };
    let begun = Instant::now();
    for _ in 0..20 {
        ask(5).await;
    }
    // Ten, if each of them waited for the collector.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    eventually("it is told that the collector is away", async || gateway.logged(AWAY) == 1).await;

    drop(silent);
    ask(5).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    ask(5).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((gateway.logged(AWAY), gateway.logged(BACK)), (1, 0));

    let collector = Collector::start_on(TcpListener::bind(address).expect("the same address"));
    eventually("the spans arrive", async || {
        ask(6).await;
        !collector.of(&trace(6)).is_empty()
    })
    .await;
    eventually("it is told that the collector is back", async || gateway.logged(BACK) == 1).await;
    assert_eq!(gateway.logged(AWAY), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_end_is_not_delayed_by_a_collector_that_says_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("listener");
    let upstream = Upstream::start();
    let mut bench = Bench::new(&upstream);
    bench.environment = exporting(&format!("http://{}", silent.local_addr().expect("address")), NEVER);
    bench.environment.push(("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "60000".to_owned()));
    let gateway = bench.start();
    body(gateway.get("/v1/datasets/seen").send().await.expect("answer"), StatusCode::OK).await;
    let begun = Instant::now();
    gateway.stop();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
