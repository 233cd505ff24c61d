//! Data from every kind of place in every format. The files were not written
//! by the program under test (see `tests/data/make.py`).

use ai_saas_platform_tests::specification::{csv_at, query, small_workload, with};
use ai_saas_platform_tests::table::Table;
use ai_saas_platform_tests::{HttpServer, Namespace, Page, S3Server, outcome, python, with_namespace};
use anyhow::Result;
use crds::analysis::SourceFormat;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::measurements::{File, QUERY, answer, files};

/// How many analyses of a table run at the same time.
const AT_ONCE: usize = 6;

/// Reads each file from the place that is made for it, and compares.
async fn every_format_is_read(
    namespace: &Namespace,
    files: Vec<File>,
    place: impl Fn(&File) -> Value,
) -> Result<()> {
    stream::iter(files)
        .map(|file| {
            let source = file.from(&place(&file));
            async move { reads_the_answer(namespace, &file.label(), source, 1).await }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Reads measurements that are there `times` times.
async fn reads_the_answer(namespace: &Namespace, name: &str, source: Value, times: usize) -> Result<()> {
    let spec = json!({ "sources": [source], "sql": QUERY });
    let job = namespace.analyse_well(name, with(spec, small_workload())).await?;
    if times == 1 {
        let found = Table::parse(outcome::preview(&job))?;
        assert!(found.agrees_with(&answer()), "{name}: {found:?}");
    }
    let rows = job.status.and_then(|status| status.rows_read);
    assert_eq!(rows, Some(i64::try_from(6 * times)?), "{name}");
    Ok(())
}

#[tokio::test]
async fn inline_data_are_read() -> Result<()> {
    with_namespace(async |namespace| {
        let text =
            files().into_iter().filter(|file| matches!(file.label().as_str(), "csv" | "jsonl")).collect();
        every_format_is_read(
            namespace,
            text,
            |file| json!({ "inline": String::from_utf8(file.bytes()).unwrap() }),
        )
        .await
    })
    .await
}

#[tokio::test]
async fn config_maps_are_read() -> Result<()> {
    with_namespace(async |namespace| {
        for file in files() {
            namespace.create_config_map(&file.label(), file.name, &file.bytes()).await?;
        }
        every_format_is_read(
            namespace,
            files(),
            |file| json!({ "configMap": { "name": file.label(), "key": file.name } }),
        )
        .await
    })
    .await
}

#[tokio::test]
async fn files_and_folders_on_claims_are_read() -> Result<()> {
    with_namespace(async |namespace| {
        namespace.create_claim("data").await?;
        let all = files();
        let bytes: Vec<Vec<u8>> = all.iter().map(File::bytes).collect();
        let mut content: Vec<(String, &[u8])> = Vec::new();
        for (file, bytes) in all.iter().zip(&bytes) {
            content.push((file.name.to_owned(), bytes));
            // Once above and once below, among what is not to be read.
            content.push((format!("folder/{}", file.name), bytes));
            content.push((format!("folder/below/again.{}", file.name), bytes));
            content.push((format!("folder/_temporary/{}", file.name), bytes));
        }
        content.push(("folder/README.md".to_owned(), b"no data"));
        let content: Vec<(&str, &[u8])> =
            content.iter().map(|(path, bytes)| (path.as_str(), *bytes)).collect();
        namespace.fill_claim("data", &content).await?;

        every_format_is_read(
            namespace,
            files(),
            |file| json!({ "persistentVolumeClaim": { "claimName": "data", "path": file.name } }),
        )
        .await?;
        stream::iter(files())
            .map(|file| {
                let folder = json!({ "persistentVolumeClaim": { "claimName": "data", "path": "folder" } });
                let (name, source) = (format!("folder-{}", file.label()), file.from(&folder));
                async move { reads_the_answer(namespace, &name, source, 2).await }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    })
    .await
}

#[tokio::test]
async fn web_servers_are_read() -> Result<()> {
    with_namespace(async |namespace| {
        let pages =
            files().try_into().map(|files: [File; 6]| files.map(|file| (file.name, Page::new(file.bytes()))));
        let server = HttpServer::start(&namespace.cluster, pages.expect("six files")).await?;
        every_format_is_read(namespace, files(), |file| json!({ "uri": { "url": server.url(file.name) } }))
            .await
    })
    .await
}

#[tokio::test]
async fn web_servers_are_told_who_asks() -> Result<()> {
    with_namespace(async |namespace| {
        let page = || Page::new("a\n1\n");
        // "user:secret" in base64.
        let basic = "Basic dXNlcjpzZWNyZXQ=";
        let pages = [("token", page().for_those_who_say("Bearer t0ken")), ("basic", page().for_those_who_say(basic))];
        let server = HttpServer::start(&namespace.cluster, pages).await?;
        namespace.create_secret("token", &[("token", "t0ken")]).await?;
        namespace.create_secret("basic", &[("username", "user"), ("password", "secret")]).await?;
        namespace.create_secret("wrong", &[("token", "guessed")]).await?;
        let asking = |page: &str, secret: &str| {
            let source = json!({ "name": "data", "format": "csv", "uri": { "url": server.url(page), "secret": { "name": secret } } });
            json!({ "sources": [source], "sql": "SELECT * FROM data" })
        };
        namespace.analyse_well("token", asking("token", "token")).await?;
        namespace.analyse_well("basic", asking("basic", "basic")).await?;
        let refused = namespace.analyse("wrong", asking("token", "wrong")).await?;
        assert_eq!(outcome::reason(&refused), "AccessDenied");
        let expected = format!(
            "Source `data`: access to `{}` (401 Unauthorized) was refused. Check the Secret that `uri.secret` names.",
            server.url("token")
        );
        assert_eq!(outcome::message(&refused), expected);
        assert!(!serde_json::to_string(&refused)?.contains("guessed"));
        Ok(())
    })
    .await
}

/// A web server with a certificate that it made itself.
const UNTRUSTED: &str = r#"
import datetime, http.server, ipaddress, ssl, sys, tempfile, threading
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

address = sys.argv[1]
key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "untrusted")])
now = datetime.datetime.now(datetime.timezone.utc)
certificate = (
    x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False)
    .sign(key, hashes.SHA256()))
with tempfile.NamedTemporaryFile() as file:
    file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    file.write(certificate.public_bytes(serialization.Encoding.PEM))
    file.flush()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file.name)
server = http.server.ThreadingHTTPServer((address, 0), http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("https://%s:%d" % server.server_address, flush=True)
sys.stdin.read()
"#;

#[tokio::test]
async fn certificates_that_nobody_vouches_for_are_refused() -> Result<()> {
    with_namespace(async |namespace| {
        let server = python::Service::start(UNTRUSTED, &[&namespace.cluster.host_address]).await?;
        let spec = query(csv_at("data", &format!("{}/data.csv", server.address)), "SELECT * FROM data");
        let job = namespace.analyse("untrusted", with(spec, json!({ "backoffLimit": 0 }))).await?;
        assert_eq!(outcome::reason(&job), "SourceUnavailable", "{}", outcome::in_words(&job));
        assert!(outcome::message(&job).contains("certificate"), "{}", outcome::message(&job));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn objects_and_prefixes_in_an_s3_store_are_read() -> Result<()> {
    with_namespace(async |namespace| {
        let server = S3Server::start(&namespace.cluster).await?;
        server.create_secret(namespace).await?;
        for file in files() {
            server.put(&format!("all/{}", file.name), &file.bytes()).await?;
        }
        every_format_is_read(
            namespace,
            files(),
            |file| json!({ "uri": server.place(&format!("all/{}", file.name)) }),
        )
        .await?;
        // A prefix gives the files of the format.
        let parquet =
            File { name: "measurements.parquet", reading: json!({ "format": SourceFormat::Parquet }) };
        let prefix = json!({ "uri": server.place("all/") });
        reads_the_answer(namespace, "prefix", parquet.from(&prefix), 1).await
    })
    .await
}

#[tokio::test]
async fn sources_of_different_kinds_are_joined() -> Result<()> {
    with_namespace(async |namespace| {
        let server = HttpServer::start(&namespace.cluster, [("b", Page::new("{\"k\":1,\"w\":\"one\"}\n"))]).await?;
        namespace.create_config_map("c", "c.csv", b"k;v\n1;2,5\n").await?;
        let sources = json!([
            { "name": "a", "format": "csv", "csv": { "header": false }, "inline": "1\n2\n" },
            { "name": "b", "format": "jsonLines", "uri": { "url": server.url("b") } },
            { "name": "c", "format": "csv", "csv": { "delimiter": ";" }, "configMap": { "name": "c", "key": "c.csv" } },
        ]);
        let sql = "SELECT a.column_1 AS k, b.w, c.v FROM a LEFT JOIN b ON b.k = a.column_1 LEFT JOIN c ON c.k = a.column_1 ORDER BY 1";
        let job = namespace.analyse_well("joined", json!({ "sources": sources, "sql": sql })).await?;
        assert_eq!(Table::parse(outcome::preview(&job))?, Table::parse("k,w,v\n1,one,\"2,5\"\n2,,\n")?);
        Ok(())
    })
    .await
}
