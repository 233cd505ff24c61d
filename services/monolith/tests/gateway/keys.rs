//! Who may do what, and for how long.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

use crate::bench::{Bench, body, eventually, key_text, text, with_json};
use crate::upstream::Upstream;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_scope_opens_what_it_is_for_and_nothing_else() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let id = "00000000-0000-7000-8000-000000000000";
    let request = format!("/v1/requests/{id}");
    let table: [(Method, &str, &str); 11] = [
        (Method::GET, "/v1/datasets/seen", "datasets:read"),
        (Method::PUT, "/v1/datasets/seen", "datasets:write"),
        (Method::OPTIONS, "/v1/uploads", "datasets:write"),
        (Method::GET, "/v1/analyses/a0", "analyses:read"),
        (Method::POST, "/v1/analyses/a0/cancel", "analyses:write"),
        (Method::GET, "/v1/analysis-jobs/penguins", "analyses:read"),
        (Method::GET, request.as_str(), "requests:read"),
        (Method::POST, "/v1/requests", "requests:write"),
        (Method::GET, "/v1/keys", "admin"),
        (Method::GET, "/metrics", "admin"),
        (Method::DELETE, "/v1/keys/nobody", "admin"),
    ];
    let scopes = [
        "admin",
        "datasets:read",
        "datasets:write",
        "analyses:read",
        "analyses:write",
        "requests:read",
        "requests:write",
    ];
    for scope in scopes {
        let (_, key) = gateway.make_key(scope, &[scope]).await;
        for (method, path, needed) in &table {
            let address = format!("{}{path}", gateway.url);
            let answer =
                gateway.http.request(method.clone(), address).header("x-api-key", &key).send().await.unwrap();
            let is_open = scope == "admin" || scope == *needed;
            assert_eq!(answer.status() != StatusCode::FORBIDDEN, is_open, "{scope}: {method} {path}");
            assert_ne!(answer.status(), StatusCode::UNAUTHORIZED);
            if !is_open {
                assert_eq!(body(answer, StatusCode::FORBIDDEN).await["missingScope"], *needed);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_valid_key_nothing_is_open_but_what_everybody_may_see() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    for header in [None, Some("Bearer"), Some("Bearer nonsense"), Some("Basic YTpi")] {
        for path in ["/v1/keys", "/v1/datasets/seen", "/v1/requests", "/v1/nothing", "/metrics"] {
            let mut request = gateway.http.get(format!("{}{path}", gateway.url));
            if let Some(header) = header {
                request = request.header("authorization", header);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{header:?} {path}");
            assert_eq!(answer.headers()["www-authenticate"], "Bearer");
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
        }
    }
    let unknown = gateway.http.get(format!("{}/v1/keys", gateway.url)).bearer_auth(key_text("unknown"));
    assert_eq!(unknown.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    for path in ["/livez", "/readyz", "/openapi.json", "/docs"] {
        let answer = gateway.http.get(format!("{}{path}", gateway.url)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_overlap_while_they_are_changed_and_are_gone_at_once() {
    let upstream = Upstream::start();
    let bench = Bench::new(&upstream);
    let gateway = bench.start();
    let status = async |key: &str| {
        gateway
            .http
            .get(format!("{}/v1/datasets/seen", gateway.url))
            .bearer_auth(key)
            .send()
            .await
            .unwrap()
            .status()
    };
    let (old_id, old) = gateway.make_key("front end, old", &["datasets:read"]).await;
    let (_, new) = gateway.make_key("front end, new", &["datasets:read"]).await;
    assert_eq!((status(&old).await, status(&new).await), (StatusCode::OK, StatusCode::OK));
    let revoked = gateway.request(Method::DELETE, &format!("/v1/keys/{old_id}")).send().await.unwrap();
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    assert_eq!((status(&old).await, status(&new).await), (StatusCode::UNAUTHORIZED, StatusCode::OK));
    let again = gateway.request(Method::DELETE, &format!("/v1/keys/{old_id}")).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_FOUND);

    // The administrator's key is that of its file.
    let other = key_text("another");
    std::fs::write(bench.admin_key_file(), &other).unwrap();
    eventually("the other key is taken", async || status(&other).await == StatusCode::OK).await;
    assert_eq!(status(&bench.admin_key).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_is_told_once_and_kept_nowhere() {
    let upstream = Upstream::start();
    let bench = Bench::new(&upstream);
    let gateway = bench.start();
    let new = json!({
        "name": "one",
        "scopes": ["analyses:read", "analyses:read"],
        "rateLimit": { "requestsPerMinute": 60 },
        "expiresAt": "2999-01-01T00:00:00Z",
    });
    let made = gateway.post("/v1/keys", &new).send().await.unwrap();
    assert_eq!(made.headers()["cache-control"], "no-store");
    let location = made.headers()["location"].to_str().unwrap().to_owned();
    let made = body(made, StatusCode::CREATED).await;
    let key = text(&made["key"]);
    assert_eq!((key.len(), &key[..7]), (50, "aisaas_"));
    assert_eq!(made["scopes"], json!(["analyses:read"]));
    assert_eq!(made["createdBy"], "admin");

    let shown = body(gateway.get(&location).send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(shown["key"], Value::Null);
    assert_eq!((&shown["name"], &shown["expiresAt"]), (&json!("one"), &new["expiresAt"]));
    // A repeat makes no second key.
    let repeat = body(gateway.post("/v1/keys", &new).send().await.unwrap(), StatusCode::CONFLICT).await;
    assert_eq!(repeat["keyId"], made["id"]);

    gateway.make_key("two", &["admin"]).await;
    let page = body(gateway.get("/v1/keys?limit=1").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    let next = format!("/v1/keys?limit=1&cursor={}", text(&page["nextCursor"]));
    let next = body(gateway.get(&next).send().await.unwrap(), StatusCode::OK).await;
    assert_ne!(page["items"][0]["id"], next["items"][0]["id"]);
    assert_eq!(next["nextCursor"], Value::Null);

    gateway.stop();
    for file in std::fs::read_dir(bench.database().parent().unwrap()).unwrap() {
        let content = std::fs::read(file.unwrap().path()).unwrap_or_default();
        assert!(!content.windows(key.len() - 19).any(|part| part == &key.as_bytes()[19..]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_that_is_stored_is_told_even_if_the_keys_cannot_be_read() {
    let upstream = Upstream::start();
    let bench = Bench::new(&upstream);
    let gateway = bench.start();
    let address = format!("sqlite://{}", bench.database().display());
    let mut database = SqliteConnection::connect(&address).await.unwrap();
    let unreadable = "INSERT INTO api_keys (id, name, digest, scopes, created_by, created_at, expires_at) \
                      VALUES ('unreadable', 'unreadable', 'x', '[]', 'test', 0, 'no time')";
    sqlx::query(unreadable).execute(&mut database).await.unwrap();
    let (id, key) = gateway.make_key("new", &["datasets:read"]).await;
    let path = format!("/v1/keys/{id}");
    let changed = with_json(gateway.request(Method::PATCH, &path), &json!({ "name": "newer" }));
    assert_eq!(changed.send().await.unwrap().status(), StatusCode::OK);
    let (other, _) = gateway.make_key("other", &["datasets:read"]).await;
    let revoked = gateway.request(Method::DELETE, &format!("/v1/keys/{other}")).send().await.unwrap();
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);

    sqlx::query("DELETE FROM api_keys WHERE id = 'unreadable'").execute(&mut database).await.unwrap();
    eventually("the key is in force", async || {
        let asked = gateway.http.get(format!("{}/v1/datasets/seen", gateway.url)).bearer_auth(&key);
        asked.send().await.unwrap().status() == StatusCode::OK
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_can_be_changed_and_ends_in_time() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let (id, key) = gateway.make_key("one", &["requests:read"]).await;
    let status = async || {
        gateway
            .http
            .get(format!("{}/v1/datasets/seen", gateway.url))
            .bearer_auth(&key)
            .send()
            .await
            .unwrap()
            .status()
    };
    let change = async |change: Value| {
        with_json(gateway.request(Method::PATCH, &format!("/v1/keys/{id}")), &change).send().await.unwrap()
    };
    assert_eq!(status().await, StatusCode::FORBIDDEN);
    let changed =
        change(json!({ "scopes": ["datasets:read"], "rateLimit": { "requestsPerMinute": 1000 } })).await;
    assert_eq!(body(changed, StatusCode::OK).await["name"], "one");
    assert_eq!(status().await, StatusCode::OK);
    let changed = body(change(json!({ "rateLimit": null, "name": "two" })).await, StatusCode::OK).await;
    assert_eq!((&changed["rateLimit"], &changed["scopes"]), (&Value::Null, &json!(["datasets:read"])));
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    assert_eq!(change(json!({ "expiresAt": soon })).await.status(), StatusCode::OK);
    assert_eq!(status().await, StatusCode::OK);
    eventually("the key has expired", async || status().await == StatusCode::UNAUTHORIZED).await;
    for wrong in [
        json!({ "scopes": [] }),
        json!({ "scopes": ["everything"] }),
        json!({ "expiresAt": "2001-01-01T00:00:00Z" }),
        json!({ "rateLimit": { "requestsPerMinute": 0 } }),
        json!({ "name": "" }),
        json!({ "unknown": 1 }),
    ] {
        assert_eq!(change(wrong.clone()).await.status(), StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
}
