//! Pages of other origins.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::bench::{Bench, eventually};
use crate::upstream::Upstream;

const PAGE: &str = "https://app.example.com";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_page_may_call_if_its_origin_is_allowed() {
    let upstream = Upstream::start();
    let mut bench = Bench::new(&upstream);
    bench.configuration["gateway"]["corsAllowedOrigins"] = json!([PAGE]);
    bench.configure();
    let gateway = bench.start();
    let preflight = async |origin: &str| {
        let request = gateway.http.request(Method::OPTIONS, format!("{}/v1/requests", gateway.url));
        let request = request.header("origin", origin).header("access-control-request-method", "POST");
        request.header("access-control-request-headers", "authorization, content-type").send().await.unwrap()
    };
    let answer = preflight(PAGE).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(answer.headers()["access-control-allow-origin"], PAGE);
    assert_eq!(answer.headers()["access-control-allow-headers"], "authorization, content-type");
    assert!(answer.headers()["access-control-allow-methods"].to_str().unwrap().contains("POST"));
    assert!(!answer.headers().contains_key("access-control-allow-credentials"));
    let other = preflight("https://evil.example.com").await;
    assert!(!other.headers().contains_key("access-control-allow-origin"));

    // Also what is refused can be read, so that the page can say why.
    let refused =
        gateway.http.get(format!("{}/v1/keys", gateway.url)).header("origin", PAGE).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers()["access-control-allow-origin"], PAGE);
    let exposed = refused.headers()["access-control-expose-headers"].to_str().unwrap();
    for name in ["Location", "Retry-After", "RateLimit", "traceparent"] {
        assert!(exposed.contains(name), "{name}");
    }

    // Any other OPTIONS request goes to its service, which says nothing about origins.
    let options =
        gateway.request(Method::OPTIONS, "/v1/uploads").header("origin", PAGE).send().await.unwrap();
    assert_eq!(options.headers()["tus-version"], "1.0.0");
    assert_eq!(options.headers().get_all("access-control-allow-origin").iter().count(), 1);
    assert_eq!(options.headers()["access-control-allow-origin"], PAGE);

    bench.configuration["gateway"]["corsAllowedOrigins"] = json!(["*"]);
    bench.configure();
    eventually("all origins are allowed", async || {
        preflight("https://another.example.com").await.headers().contains_key("access-control-allow-origin")
    })
    .await;
}
