//! Requests with files.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::bench::{Bench, Gateway, body, text};
use crate::upstream::Upstream;

const BOUNDARY: &str = "----of-the-tests";

/// A form (RFC 7578).
#[derive(Default)]
struct Form(Vec<u8>);

impl Form {
    /// With a part more. `about` goes behind its name, in the head of the part.
    fn part(mut self, name: &str, about: &str, content: &[u8]) -> Self {
        let head = format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{about}\r\n\r\n");
        self.0.extend_from_slice(head.as_bytes());
        self.0.extend_from_slice(content);
        self.0.extend_from_slice(b"\r\n");
        self
    }
}

fn request(order: &Value) -> Form {
    Form::default().part("request", "\r\ncontent-type: application/json", order.to_string().as_bytes())
}

async fn send(gateway: &Gateway, form: Form) -> reqwest::Response {
    let body = [form.0, format!("--{BOUNDARY}--\r\n").into_bytes()].concat();
    let request = gateway.request(Method::POST, "/v1/requests").body(body);
    request.header("content-type", format!("multipart/form-data; boundary={BOUNDARY}")).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn small_files_become_a_part_of_the_request_and_large_ones_data_sets() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let large = format!("a,b\n{}", "1,2\n".repeat(100_000));
    let order = json!({
        "input": "What is in them?",
        "data": [{ "name": "large", "csv": { "delimiter": "," } }],
    });
    let form = request(&order)
        .part("small", "; filename=\"small.csv\"", b"a\n1\n")
        .part("large", "\r\ncontent-type: text/csv", large.as_bytes())
        .part("table", "; filename=\"table.parquet\"", b"PAR1 \xff\xfe PAR1");
    let answered = body(send(&gateway, form).await, StatusCode::OK).await;
    assert_eq!(answered["status"], "succeeded");
    let sources = |task: &str| upstream.state.analyses.of(task)[0].body["sources"].clone();
    assert_eq!(sources("-profile-small"), json!([{ "name": "small", "format": "csv", "inline": "a\n1\n" }]));
    let datasets = upstream.state.analyses.known().datasets.clone();
    assert_eq!(datasets.len(), 2);
    for (index, name, format, content) in
        [(0, "large", "csv", large.as_bytes()), (2, "table", "parquet", b"PAR1 \xff\xfe PAR1".as_slice())]
    {
        let id = text(&answered["id"]).replace('-', "");
        let dataset = format!("request-{id}-{index}");
        assert_eq!(datasets[&dataset], (format.to_owned(), content.to_vec()));
        let source = json!([{ "name": name, "dataset": { "name": dataset, "version": 1 } }]);
        assert_eq!(sources(&format!("-profile-{name}")), source);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn names_that_are_long_and_alike_are_no_trouble() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let names = ["one", "two"].map(|end| format!("{}_{end}", "a".repeat(59)));
    let mut form = request(&json!({ "input": "What is in them?" }));
    for name in &names {
        form = form.part(name, "; filename=\"table.parquet\"", b"PAR1 \xff\xfe PAR1");
    }
    assert_eq!(body(send(&gateway, form).await, StatusCode::OK).await["status"], "succeeded");
    assert_eq!(upstream.state.analyses.known().datasets.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_wrong_with_a_form_is_said() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let order = json!({ "input": "What is in it?" });
    let refused = async |form: Form, words: &str| {
        let problem = body(send(&gateway, form).await, StatusCode::UNPROCESSABLE_ENTITY).await;
        let detail = text(&problem["detail"]);
        assert!(detail.contains(words), "{detail}");
    };
    refused(Form::default().part("other", "", b"x"), "first part of the form is `request`").await;
    refused(Form::default().part("request", "", b"{"), "does not fit").await;
    refused(request(&order), "`data` has 1 to 16 entries").await;
    refused(request(&order).part("a b", "", b"x"), "is that of a table").await;
    refused(request(&order).part("file", "", b"x"), "The format of the file `file` is not known").await;
    let bad = "BAD".repeat(20_000);
    refused(
        request(&order).part("bad", "; filename=\"bad.csv\"", bad.as_bytes()),
        "The data cannot be read.",
    )
    .await;
    let page = body(gateway.get("/v1/requests").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(page["items"], json!([]));
}
