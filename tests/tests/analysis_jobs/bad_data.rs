//! What a user is told when the data or the query are wrong: the reason and
//! the words.

use ai_saas_platform_tests::specification::{inline_csv, query, small_workload, to_config_map, with};
use ai_saas_platform_tests::{HttpServer, Namespace, Page, outcome, with_namespace};
use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

/// A specification that cannot end well.
struct Case {
    name: &'static str,
    spec: Value,
    reason: &'static str,
    message: String,
}

fn case(name: &'static str, spec: Value, reason: &'static str, message: &str) -> Case {
    Case { name, spec, reason, message: message.to_owned() }
}

async fn each_is_told(namespace: &Namespace, cases: Vec<Case>) -> Result<()> {
    stream::iter(cases)
        .map(|case| async move {
            let job = namespace.analyse(case.name, with(case.spec, small_workload())).await?;
            assert_eq!(outcome::reason(&job), case.reason, "{}", outcome::in_words(&job));
            assert_eq!(outcome::message(&job), case.message, "{}", case.name);
            let status = job.status.unwrap_or_default();
            assert!(
                status
                    .conditions
                    .iter()
                    .all(|condition| condition.type_ == "Accepted" || condition.status == "False")
            );
            assert_eq!(status.failed_attempts, Some(1), "{} is not tried again", case.name);
            assert!(status.output.is_none(), "{}", case.name);
            anyhow::Ok(())
        })
        .buffer_unordered(6)
        .try_collect()
        .await
}

fn people() -> Value {
    inline_csv("people", "name,Age,born\nAda,36,1815-12-10\nGrace,85,1906-12-09\n")
}

#[tokio::test]
async fn wrong_queries_are_explained() -> Result<()> {
    with_namespace(async |namespace| {
        let cases = vec![
            case(
                "syntax",
                query(people(), "SELEC name FROM people"),
                "InvalidQuery",
                "The query is not valid SQL: Expected: an SQL statement, found: SELEC at Line: 1, Column: 1.",
            ),
            case(
                "unknown-column",
                query(people(), "SELECT surname FROM people"),
                "InvalidQuery",
                "The query names a column `surname` that is not there. The columns are name, \"Age\", born.",
            ),
            case(
                "capitals",
                query(people(), "SELECT Age FROM people"),
                "InvalidQuery",
                "The query names a column `age` that is not there. The columns are name, \"Age\", born. \
                 Write \"Age\" in double quotes, since it has capitals.",
            ),
            case(
                "unknown-table",
                query(people(), "SELECT * FROM person"),
                "InvalidQuery",
                "The query names a table `person` that is not there. The tables are people.",
            ),
            case(
                "two-statements",
                query(people(), "SELECT 1; SELECT 2"),
                "InvalidQuery",
                "The SQL has 2 statements. Write one query; use WITH for steps in between.",
            ),
            case(
                "writes",
                query(people(), "CREATE TABLE other AS SELECT * FROM people"),
                "InvalidQuery",
                "The SQL is not a query but CREATE. Only a query (SELECT, WITH, VALUES) can be run.",
            ),
            case(
                "copies-out",
                query(people(), "COPY people TO '/tmp/people.csv'"),
                "InvalidQuery",
                "The SQL is not a query but COPY. Only a query (SELECT, WITH, VALUES) can be run.",
            ),
            case(
                "reads-files",
                query(people(), "SELECT * FROM '/etc/passwd'"),
                "InvalidQuery",
                "The query names a table `/etc/passwd` that is not there. The tables are people.",
            ),
            case(
                "outside-table",
                query(people(), "CREATE EXTERNAL TABLE secrets STORED AS CSV LOCATION '/etc/passwd'"),
                "InvalidQuery",
                "The SQL is not a query but CREATE. Only a query (SELECT, WITH, VALUES) can be run.",
            ),
            case(
                "division",
                query(people(), "SELECT 1 / (\"Age\" - 36) FROM people"),
                "QueryFailed",
                "The query divides by zero. Write `a / nullif(b, 0)` to get a missing value instead.",
            ),
            case(
                "profile-column",
                json!({ "sources": [people()], "profile": { "source": "people", "columns": ["age"] } }),
                "InvalidQuery",
                "The profile names a column `age` that source `people` does not have. The columns are name, Age, born.",
            ),
        ];
        each_is_told(namespace, cases).await
    })
    .await
}

#[tokio::test]
async fn wrong_data_are_explained_with_their_line() -> Result<()> {
    with_namespace(async |namespace| {
        let typed = |text: &str, kind: &str| {
            let columns = json!({ "columns": [{ "name": "a", "type": kind }] });
            query(with(inline_csv("data", text), columns), "SELECT * FROM data")
        };
        let of = |text: &str| query(inline_csv("data", text), "SELECT * FROM data");
        let json_lines = |text: &str| {
            query(json!({ "name": "data", "format": "jsonLines", "inline": text }), "SELECT * FROM data")
        };
        let cases = vec![
            case(
                "ragged",
                of("a,b\n1,2\n3\n"),
                "InvalidData",
                "Source `data`, inline data line 3: the row has 1 values where 2 are expected. Quote values that contain \
                 the delimiter, and check `csv.delimiter`.",
            ),
            case(
                "wrong-type",
                typed("a\n1\nNA\n", "integer"),
                "InvalidData",
                "Source `data`, inline data line 3: column `a` is to be whole numbers (integer) but has the value `NA`. \
                 Change its type under `columns`, or list the value under `csv.nullValues` if it stands for a missing one.",
            ),
            case(
                "twice",
                of("a,a\n1,2\n"),
                "InvalidData",
                "Source `data`, inline data line 1: two columns are called `a`.",
            ),
            case(
                "no-such-column",
                typed("b\n1\n", "integer"),
                "InvalidData",
                "Source `data`, inline data: there is no column `a` as `columns` says; there are b.",
            ),
            case(
                "no-object",
                json_lines("{\"a\":1}\n[1]\n"),
                "InvalidData",
                "Source `data`, inline data line 2: every line has to be one JSON object, but this one is `[1]`.",
            ),
        ];
        each_is_told(namespace, cases).await
    })
    .await
}

#[tokio::test]
async fn missing_and_unfit_files_are_explained() -> Result<()> {
    with_namespace(async |namespace| {
        namespace.create_claim("data").await?;
        let endless = std::fs::read(ai_saas_platform_tests::command::repository("tests/data/endless.arrow"))?;
        let files: [(&str, &[u8]); 3] =
            [("folder/note.md", b"no data"), ("text.parquet", b"a,b\n1,2\n"), ("endless.arrow", &endless)];
        namespace.fill_claim("data", &files).await?;
        let packed = std::fs::read(ai_saas_platform_tests::command::repository("tests/data/measurements.csv.gz"))?;
        namespace.create_config_map("packed", "data.csv", &packed).await?;
        let server = HttpServer::start(&namespace.cluster, [("there", Page::new("a\n1\n"))]).await?;
        let on_claim = |format: &str, path: &str| {
            let source = json!({ "name": "data", "format": format, "persistentVolumeClaim": { "claimName": "data", "path": path } });
            query(source, "SELECT * FROM data")
        };
        let gone = server.url("gone");
        let mut cases = vec![
            case(
                "no-file",
                on_claim("csv", "data.csv"),
                "SourceNotFound",
                "Source `data`: claim `data` has no file or folder `data.csv`.",
            ),
            case(
                "empty-folder",
                on_claim("parquet", "folder"),
                "SourceNotFound",
                "Source `data`: folder `folder` of claim `data` has no file that ends in .parquet.",
            ),
            // The allocation fails, which ends the process.
            case(
                "endless",
                on_claim("arrow", "endless.arrow"),
                "Aborted",
                "The system ended the program while it ran the query over `data`. Look there for a length that no \
                 memory holds, or for values nested without end.",
            ),
            case(
                "packed",
                query(json!({ "name": "data", "format": "csv", "configMap": { "name": "packed", "key": "data.csv" } }), "SELECT 1"),
                "InvalidData",
                "Source `data`, data.csv: the file is compressed with gzip: set `csv.compression: gzip`.",
            ),
        ];
        cases.push(Case {
            name: "no-page",
            spec: query(json!({ "name": "data", "format": "csv", "uri": { "url": gone } }), "SELECT 1"),
            reason: "SourceNotFound",
            message: format!("Source `data`: the server answered 404 Not Found to `{gone}`."),
        });
        each_is_told(namespace, cases).await?;

        // The words of the reader of Parquet are not ours, the reason is.
        let job = namespace.analyse("no-parquet", on_claim("parquet", "text.parquet")).await?;
        assert_eq!(outcome::reason(&job), "InvalidData", "{}", outcome::in_words(&job));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn results_and_charts_that_cannot_be_are_explained() -> Result<()> {
    with_namespace(async |namespace| {
        let chart = |x: &str, y: &str| {
            json!({ "charts": [{ "name": "ages", "mark": "bar", "encoding": { "xAxis": { "field": x }, "yAxis": { "field": y } } }] })
        };
        let drawn = |x, y| with(with(query(people(), "SELECT * FROM people"), to_config_map("csv")), chart(x, y));
        let numbers = ai_saas_platform_tests::specification::numbers(1000);
        let cases = vec![
            case(
                "too-large",
                with(query(numbers, "SELECT a.n, b.n AS m FROM numbers a CROSS JOIN numbers b"), to_config_map("csv")),
                "OutputTooLarge",
                "The result is larger than the 700 KiB that fit into a ConfigMap. Select less, write `format: parquet`, \
                 or put the result on a persistentVolumeClaim or in s3.",
            ),
            case(
                "chart-column",
                drawn("name", "age"),
                "InvalidChart",
                "Chart `ages` shows a column `age` that its data does not have. The columns are name, Age, born.",
            ),
            case(
                "chart-text",
                drawn("born", "name"),
                "InvalidChart",
                "Chart `ages`: the mark `bar` needs numbers, but `yAxis` (column `name`) is nominal.",
            ),
        ];
        each_is_told(namespace, cases).await
    })
    .await
}
