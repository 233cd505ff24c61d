//! An S3-compatible store in memory, as far as these tests need one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::spawn;

const NAME: &str = "/lake/";

#[derive(Debug, Default)]
pub struct State {
    pub objects: BTreeMap<String, Vec<u8>>,
    /// Parts that belong to no object yet.
    pub uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    /// What writing is answered with, if it is refused.
    pub refusal: Option<&'static str>,
}

const NO_UPLOAD: &str = "<Error><Code>NoSuchUpload</Code><Message>There is no such upload</Message></Error>";

#[derive(Clone, Debug)]
pub struct Bucket {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Bucket {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let endpoint = format!("http://{}", listener.local_addr().expect("address"));
        let bucket = Self { endpoint, state: Arc::default() };
        let shared = bucket.clone();
        spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let bucket = shared.clone();
                spawn(move || while bucket.serve(&stream).is_some() {});
            }
        });
        bucket
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request; `None` at the end of the connection.
    fn serve(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let mut request = Request::new(&line)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                request.body = vec![0; value.parse().ok()?];
            }
            if let Some(value) = line.strip_prefix("range: bytes=") {
                let (start, end) = value.split_once('-')?;
                request.range = Some((start.parse().ok()?, end.parse().ok()));
            }
        }
        reader.read_exact(&mut request.body).ok()?;
        let is_head = request.method == "HEAD";
        let answer = answer(&mut self.state(), request);
        let mut head = format!(
            "HTTP/1.1 {}\r\ncontent-length: {}\r\netag: \"1\"\r\nlast-modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n",
            answer.status,
            answer.content.len()
        );
        if let Some((range, total)) = answer.range {
            head.push_str(&format!("content-range: bytes {}-{}/{total}\r\n", range.start, range.end - 1));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        if !is_head {
            stream.write_all(&answer.content).ok()?;
        }
        Some(())
    }
}

struct Request {
    method: String,
    key: String,
    query: String,
    range: Option<(usize, Option<usize>)>,
    body: Vec<u8>,
}

impl Request {
    fn new(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let key = path.strip_prefix(NAME).unwrap_or_default().to_owned();
        Some(Self { method, key, query: query.to_owned(), range: None, body: Vec::new() })
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

struct Answer {
    status: &'static str,
    content: Vec<u8>,
    range: Option<(Range<usize>, usize)>,
}

impl Answer {
    fn new(status: &'static str, content: impl Into<Vec<u8>>) -> Self {
        Self { status, content: content.into(), range: None }
    }
}

fn answer(state: &mut State, request: Request) -> Answer {
    let part = request.parameter("partNumber").and_then(|part| part.parse().ok());
    let is_listing = request.parameter("list-type").is_some();
    match (request.method.as_str(), state.refusal) {
        ("PUT", Some(refusal)) => Answer::new(refusal, "<Error><Code>XMinioStorageFull</Code></Error>"),
        ("PUT", None) => {
            let (key, body) = (request.key, request.body);
            match (part, state.uploads.get_mut(&key)) {
                (Some(part), Some(parts)) => parts.insert(part, body),
                // It was on its way when the upload was given up.
                (Some(_), None) => return Answer::new("404 Not Found", NO_UPLOAD),
                (None, _) => state.objects.insert(key, body),
            };
            Answer::new("200 OK", "")
        }
        ("POST", _) if request.query.starts_with("uploads") => {
            state.uploads.insert(request.key, BTreeMap::new());
            let upload =
                "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
            Answer::new("200 OK", upload)
        }
        ("POST", _) if request.query.starts_with("delete") => delete(state, &request.body),
        ("POST", _) => {
            let parts = state.uploads.remove(&request.key).unwrap_or_default();
            state.objects.insert(request.key, parts.into_values().flatten().collect());
            let done = "<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>";
            Answer::new("200 OK", done)
        }
        ("DELETE", _) => {
            state.uploads.remove(&request.key);
            Answer::new("204 No Content", "")
        }
        ("GET", _) if is_listing => {
            let prefix = request.parameter("prefix").unwrap_or_default().replace("%2F", "/");
            Answer::new("200 OK", listing(state, &prefix))
        }
        _ => get(state, &request),
    }
}

fn get(state: &State, request: &Request) -> Answer {
    let Some(content) = state.objects.get(&request.key) else {
        return Answer::new("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>");
    };
    let total = content.len();
    match request.range {
        None => Answer::new("200 OK", content.clone()),
        Some((start, _)) if start >= total => Answer::new("416 Range Not Satisfiable", ""),
        Some((start, end)) => {
            let range = start..end.map_or(total, |end| (end + 1).min(total));
            let mut answer = Answer::new("206 Partial Content", &content[range.clone()]);
            answer.range = Some((range, total));
            answer
        }
    }
}

fn delete(state: &mut State, body: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(body);
    let mut deleted = String::new();
    for key in text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()) {
        state.objects.remove(key);
        deleted.push_str(&format!("<Deleted><Key>{key}</Key></Deleted>"));
    }
    Answer::new("200 OK", format!("<DeleteResult>{deleted}</DeleteResult>"))
}

fn listing(state: &State, prefix: &str) -> String {
    let mut found = String::new();
    for (key, content) in state.objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
        found.push_str(&format!(
            "<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><Size>{}</Size></Contents>",
            content.len()
        ));
    }
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>")
}
