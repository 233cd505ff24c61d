//! An S3-compatible store in memory, as far as these tests need one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub(crate) struct State {
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    pub(crate) uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    pub(crate) requests: Vec<String>,
    pub(crate) refuse: bool,
    /// How often an object was read.
    pub(crate) reads: usize,
    /// Reads after which access is refused.
    pub(crate) refuses_after: Option<usize>,
    /// Reads after which objects are others.
    pub(crate) changes_after: Option<usize>,
    pub(crate) keeps_conditions: bool,
}

#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) endpoint: String,
    pub(crate) state: Arc<Mutex<State>>,
}

impl Store {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let endpoint = format!("http://{}", listener.local_addr().expect("address"));
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || while serve(&stream, &state).is_some() {});
            }
        });
        Self { endpoint, state }
    }

    pub(crate) fn put(&self, key: &str, content: &[u8]) {
        self.state.lock().expect("state").objects.insert(format!("/lake/{key}"), content.to_vec());
    }

    pub(crate) fn get(&self, key: &str) -> Vec<u8> {
        self.state.lock().expect("state").objects[&format!("/lake/{key}")].clone()
    }
}

/// Answers one request; `None` at the end of the connection.
fn serve(stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request).ok().filter(|read| *read > 0)?;
    let (mut length, mut range, mut condition, mut signed) = (0, None, None, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        }
        if let Some(value) = line.strip_prefix("range: bytes=") {
            let (start, end) = value.split_once('-')?;
            range = Some((start.parse::<usize>().ok(), end.parse::<usize>().ok()));
        }
        if let Some(value) = line.strip_prefix("if-match: ") {
            condition = Some(value.to_owned());
        }
        signed |= line.starts_with("authorization: aws4-hmac-sha256 credential=key/");
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut words = request.split_whitespace();
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut state = state.lock().ok()?;
    let total = state.objects.get(path).map_or(0, Vec::len);
    let range = range.map(|range| match range {
        (Some(start), end) => start..end.map_or(total, |end| (end + 1).min(total)),
        (None, end) => total - end.unwrap_or(0).min(total)..total,
    });
    state.requests.push(format!("{method} {target} signed={signed}"));
    if method == "GET" && state.objects.contains_key(path) {
        state.reads += 1;
    }
    let is_over = |limit: Option<usize>| limit.is_some_and(|limit| state.reads > limit);
    let tag = if is_over(state.changes_after) { "\"2\"" } else { "\"1\"" };
    let (status, content) = if state.refuse || is_over(state.refuses_after) {
        ("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>".to_vec())
    } else if state.keeps_conditions && condition.is_some_and(|condition| condition != tag) {
        ("412 Precondition Failed", Vec::new())
    } else {
        respond(&mut state, method, path, query, range.clone(), body)
    };
    let size = if method == "HEAD" { state.objects.get(path).map_or(0, Vec::len) } else { content.len() };
    let mut head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {size}\r\netag: {tag}\r\nlast-modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
    );
    if let (Some(range), true) = (range, status.starts_with("206")) {
        head.push_str(&format!("content-range: bytes {}-{}/{total}\r\n", range.start, range.end - 1));
    }
    head.push_str("\r\n");
    let mut stream = stream;
    stream.write_all(head.as_bytes()).ok()?;
    if method != "HEAD" {
        stream.write_all(&content).ok()?;
    }
    Some(())
}

fn respond(
    state: &mut State,
    method: &str,
    path: &str,
    query: &str,
    range: Option<std::ops::Range<usize>>,
    body: Vec<u8>,
) -> (&'static str, Vec<u8>) {
    let part =
        query.split('&').find_map(|pair| pair.strip_prefix("partNumber=")).and_then(|part| part.parse().ok());
    match (method, part) {
        ("POST", _) if query.starts_with("uploads") => {
            state.uploads.insert(path.to_owned(), BTreeMap::new());
            (
                "200 OK",
                b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
                    .to_vec(),
            )
        }
        ("PUT", Some(part)) => {
            state.uploads.entry(path.to_owned()).or_default().insert(part, body);
            ("200 OK", Vec::new())
        }
        ("POST", _) => {
            let parts = state.uploads.remove(path).unwrap_or_default();
            state.objects.insert(path.to_owned(), parts.into_values().flatten().collect());
            (
                "200 OK",
                b"<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>".to_vec(),
            )
        }
        ("DELETE", _) => {
            state.uploads.remove(path);
            ("204 No Content", Vec::new())
        }
        ("PUT", None) => {
            state.objects.insert(path.to_owned(), body);
            ("200 OK", Vec::new())
        }
        ("GET", _) if query.contains("list-type=2") => ("200 OK", listing(state, query).into_bytes()),
        _ => match (state.objects.get(path), range) {
            (None, _) => ("404 Not Found", Vec::new()),
            (Some(content), None) => ("200 OK", content.clone()),
            (Some(content), Some(range)) => ("206 Partial Content", content[range].to_vec()),
        },
    }
}

fn listing(state: &State, query: &str) -> String {
    let prefix =
        query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or("").replace("%2F", "/");
    let entries: String = state
        .objects
        .iter()
        .filter_map(|(path, content)| Some((path.strip_prefix("/lake/")?, content)))
        .filter(|(key, _)| key.starts_with(&prefix))
        .map(|(key, content)| {
            format!("<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><Size>{}</Size></Contents>", content.len())
        })
        .collect();
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>")
}
