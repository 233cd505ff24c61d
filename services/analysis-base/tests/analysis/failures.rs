use analysis_base::failure::Failure;
use crds::analysis::FailureReason::{self, *};
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::formats::compressed;

fn csv(text: &str) -> Value {
    json!({"name": "t", "format": "csv", "inline": text})
}

fn on_claim(path: &str, format: &str) -> Value {
    json!({"name": "t", "format": format, "persistentVolumeClaim": {"claimName": "data", "path": path}})
}

fn typed_json(text: &str, column_type: &str) -> Value {
    json!({"name": "t", "format": "jsonLines", "inline": text, "columns": [{"name": "a", "type": column_type}]})
}

fn query(source: Value, sql: &str) -> Value {
    json!({"sources": [source], "sql": sql})
}

fn all(source: Value) -> Value {
    query(source, "SELECT * FROM t")
}

/// What the user reads is part of the contract: the exact texts.
#[tokio::test]
async fn messages() {
    let bench = Bench::new();
    bench.put("empty.csv", "");
    bench.put("latin.csv", b"name\nM\xfcnchen\n");
    bench.put("text.parquet", "a,b\n1,2\n");
    bench.put("zipped.csv", compressed("gzip", b"a\n1\n").expect("gzip"));
    let gzip = compressed("gzip", "a\n1\n".repeat(10_000).as_bytes()).expect("gzip");
    bench.put("cut.csv.gz", &gzip[..gzip.len() / 2]);
    bench.put("one/1.csv", "a,b\n1,2\n");
    bench.put("one/2.csv", "a,c\n1,2\n");
    bench.put("head/1.csv", "a,b\n");
    bench.put("head/2.csv", "a,c\n1,2\n");
    bench.put("none/readme", "");
    bench.put("plain.csv.gz", "column\n1\n2\n3\n4\n5\n6\n");
    let gzipped = |path: &str| {
        let mut source = on_claim(path, "csv");
        source["csv"] = json!({"compression": "gzip"});
        source
    };
    let typed = json!({"name": "t", "format": "csv", "inline": "a\n1\nx\n", "columns": [{"name": "a", "type": "integer"}]});
    let flights = csv("origin,Dest,delay\nEWR,IAH,2\n");

    let cases: Vec<(Value, FailureReason, &str)> = vec![
        (json!({"sources": []}), InvalidSpecification, "There is no source. Give at least one."),
        (
            json!({"sources": [csv("a\n1\n"), csv("a\n1\n")], "sql": "SELECT 1"}),
            InvalidSpecification,
            "Two sources are called `t`.",
        ),
        (
            json!({"sources": [csv("a\n1\n")]}),
            InvalidSpecification,
            "Give exactly one of `sql` and `profile`.",
        ),
        (all(on_claim("empty.csv", "csv")), InvalidData, "Source `t`, empty.csv: the file is empty."),
        (
            all(on_claim("nowhere.csv", "csv")),
            SourceNotFound,
            "Source `t`: claim `data` has no file or folder `nowhere.csv`.",
        ),
        (
            all(on_claim("none", "csv")),
            SourceNotFound,
            "Source `t`: folder `none` of claim `data` has no file that ends in .csv or .tsv or .txt.",
        ),
        (
            all(json!({"name": "t", "format": "csv", "configMap": {"name": "m", "key": "k"}})),
            SourceNotFound,
            "Source `t`: ConfigMap `m` has no key `k`.",
        ),
        (
            all(csv("a,b\n1,2\n3,4,5\n")),
            InvalidData,
            "Source `t`, inline data line 3: the row has 3 values where 2 are expected. Quote values that contain the delimiter, and check `csv.delimiter`.",
        ),
        (
            all(csv("a,b\n1\n")),
            InvalidData,
            "Source `t`, inline data line 2: the row has 1 values where 2 are expected. Quote values that contain the delimiter, and check `csv.delimiter`.",
        ),
        (all(csv("a,a\n1,2\n")), InvalidData, "Source `t`, inline data line 1: two columns are called `a`."),
        (
            all(typed),
            InvalidData,
            "Source `t`, inline data line 3: column `a` is to be whole numbers (integer) but has the value `x`. Change its type under `columns`, or list the value under `csv.nullValues` if it stands for a missing one.",
        ),
        (
            all(
                json!({"name": "t", "format": "csv", "inline": "a\n1\n", "columns": [{"name": "b", "type": "integer"}]}),
            ),
            InvalidData,
            "Source `t`, inline data: there is no column `b` as `columns` says; there are a.",
        ),
        (
            all(on_claim("latin.csv", "csv")),
            InvalidData,
            "Source `t`, latin.csv line 2: the text is not UTF-8. Convert it, for example with `iconv -f latin1 -t utf-8`, or set the compression.",
        ),
        (
            all(on_claim("zipped.csv", "csv")),
            InvalidData,
            "Source `t`, zipped.csv: the file is compressed with gzip: set `csv.compression: gzip`.",
        ),
        (
            all(gzipped("cut.csv.gz")),
            InvalidData,
            "Source `t`, cut.csv.gz: the gzip data is cut off: the file is not complete.",
        ),
        (
            all(gzipped("plain.csv.gz")),
            InvalidData,
            "Source `t`, plain.csv.gz: the data is not gzip, or is damaged (invalid gzip header).",
        ),
        (
            all(on_claim("one", "csv")),
            InvalidData,
            "Source `t`, one/2.csv: its columns are a, c where the first file has a, b.",
        ),
        (
            all(on_claim("head", "csv")),
            InvalidData,
            "Source `t`, head/2.csv: its columns are a, c where the first file has a, b.",
        ),
        (
            all(typed_json("{\"a\": 1}\n{\"a\": 1.99}\n", "integer")),
            InvalidData,
            "Source `t`, inline data line 2: column `a` is to be whole numbers (integer) but has the value `1.99`. Change its type under `columns`.",
        ),
        (
            all(typed_json("{\"a\": 18446744073709551615}\n", "integer")),
            InvalidData,
            "Source `t`, inline data line 1: column `a` is to be whole numbers (integer) but has the value `18446744073709551615`. Change its type under `columns`.",
        ),
        (
            all(typed_json("{\"a\": true}\n", "number")),
            InvalidData,
            "Source `t`, inline data line 1: column `a` is to be numbers (number) but has the value `true`. Change its type under `columns`.",
        ),
        (
            all(typed_json("{\"a\": 0.12345678901}\n", "decimal")),
            InvalidData,
            "Source `t`, inline data line 1: column `a` is to be decimal numbers (decimal) but has the value `0.12345678901`. Change its type under `columns`.",
        ),
        (
            all(typed_json("{\"a\": null}\n{\"a\": 1704067200}\n", "timestamp")),
            InvalidData,
            "Source `t`, inline data line 2: column `a` is to be points in time (timestamp) but has the number `1704067200`. Write it as text, as in 2013-01-31 or 2013-01-31T05:00:00Z, or make it an integer under `columns` and convert it in the query, for example with to_timestamp_millis.",
        ),
        (
            all(typed_json("{\"a\": 20240101}\n", "date")),
            InvalidData,
            "Source `t`, inline data line 1: column `a` is to be dates (date) but has the number `20240101`. Write it as text, as in 2013-01-31 or 2013-01-31T05:00:00Z, or make it an integer under `columns` and convert it in the query, for example with to_timestamp_millis.",
        ),
        (
            all(json!({"name": "t", "format": "jsonLines", "inline": "{\"a\": 1}\n[1]\n"})),
            InvalidData,
            "Source `t`, inline data line 2: every line has to be one JSON object, but this one is `[1]`.",
        ),
        (
            all(json!({"name": "t", "format": "jsonLines", "inline": "{\"a\": 1}\n{\"a\": \n"})),
            InvalidData,
            "Source `t`, inline data line 2: every line has to be one JSON object, but `{\"a\":` is none: EOF while parsing a value at line 1 column 6.",
        ),
        (
            query(flights.clone(), ""),
            InvalidQuery,
            "The SQL is empty. Write one query, such as SELECT * FROM t.",
        ),
        (
            query(flights.clone(), "SELECT 1; SELECT 2"),
            InvalidQuery,
            "The SQL has 2 statements. Write one query; use WITH for steps in between.",
        ),
        (
            query(flights.clone(), "COPY t TO '/tmp/x.csv'"),
            InvalidQuery,
            "The SQL is not a query but COPY. Only a query (SELECT, WITH, VALUES) can be run.",
        ),
        (
            query(flights.clone(), "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'"),
            InvalidQuery,
            "The SQL is not a query but CREATE. Only a query (SELECT, WITH, VALUES) can be run.",
        ),
        (
            query(flights.clone(), "SET datafusion.execution.batch_size = 1"),
            InvalidQuery,
            "The SQL is not a query but SET. Only a query (SELECT, WITH, VALUES) can be run.",
        ),
        (
            query(flights.clone(), "EXPLAIN ANALYZE SELECT 1"),
            InvalidQuery,
            "The SQL is not a query but EXPLAIN. Only a query (SELECT, WITH, VALUES) can be run.",
        ),
        (
            query(flights.clone(), "INSERT INTO t VALUES (1)"),
            InvalidQuery,
            "The SQL is not a query but INSERT. Only a query (SELECT, WITH, VALUES) can be run.",
        ),
        (
            query(flights.clone(), "SELECT * FROM '/etc/passwd'"),
            InvalidQuery,
            "The query names a table `/etc/passwd` that is not there. The tables are t.",
        ),
        (
            query(flights.clone(), "SELECT * FROM flights"),
            InvalidQuery,
            "The query names a table `flights` that is not there. The tables are t.",
        ),
        (
            query(flights.clone(), "SELECT airline FROM t"),
            InvalidQuery,
            "The query names a column `airline` that is not there. The columns are origin, \"Dest\", delay.",
        ),
        (
            query(flights.clone(), "SELECT Dest FROM t"),
            InvalidQuery,
            "The query names a column `dest` that is not there. The columns are origin, \"Dest\", delay. Write \"Dest\" in double quotes, since it has capitals.",
        ),
        (
            query(flights.clone(), "SELECT delay / 0 FROM t"),
            QueryFailed,
            "The query divides by zero. Write `a / nullif(b, 0)` to get a missing value instead.",
        ),
        (
            query(flights.clone(), "SELECT CAST(origin AS integer) FROM t"),
            QueryFailed,
            "The query cannot convert a value: Cannot cast string 'EWR' to value of Int32 type.",
        ),
        (
            json!({"sources": [flights.clone()], "profile": {"source": "t", "columns": ["nope"]}}),
            InvalidQuery,
            "The profile names a column `nope` that source `t` does not have. The columns are origin, Dest, delay.",
        ),
        (
            json!({"sources": [flights.clone()], "profile": {"source": "x"}}),
            InvalidSpecification,
            "The profile is of `x`, which is not a source.",
        ),
        (
            chart(&flights, json!({"xAxis": {"field": "nope"}, "yAxis": {"field": "delay"}})),
            InvalidChart,
            "Chart `c` shows a column `nope` that its data does not have. The columns are origin, Dest, delay.",
        ),
        (
            chart(&flights, json!({"xAxis": {"field": "delay"}, "yAxis": {"field": "origin"}})),
            InvalidChart,
            "Chart `c`: the mark `bar` needs numbers, but `yAxis` (column `origin`) is nominal.",
        ),
        (
            chart(
                &flights,
                json!({"xAxis": {"field": "origin", "type": "temporal"}, "yAxis": {"field": "delay"}}),
            ),
            InvalidChart,
            "Chart `c`: the column `origin` is to be temporal, but a value is `EWR`. Cast it in the query, or change the encoding's `type`.",
        ),
    ];
    for (specification, reason, message) in cases {
        let failure = bench.failure(specification.clone()).await;
        assert_eq!((failure.reason, failure.message.as_str()), (reason, message), "{specification}");
    }
}

fn chart(source: &Value, encoding: Value) -> Value {
    json!({"sources": [source], "sql": "SELECT * FROM t",
        "charts": [{"name": "c", "mark": "bar", "encoding": encoding}],
        "output": {"format": "csv", "persistentVolumeClaim": {"claimName": "data", "path": "out"}}})
}

async fn starts(bench: &Bench, specification: Value, reason: FailureReason, start: &str) {
    let Failure { reason: found, message } = bench.failure(specification).await;
    assert_eq!(found, reason, "{message}");
    assert!(message.starts_with(start), "{message}");
}

#[tokio::test]
async fn messages_with_the_words_of_a_library() {
    let bench = Bench::new();
    bench.put("text.parquet", "a,b\n1,2\n");
    bench.put("text.arrow", "a,b\n1,2\n");
    starts(
        &bench,
        all(on_claim("text.parquet", "parquet")),
        InvalidData,
        "Source `t`, text.parquet: this is not a Parquet file, or it is damaged (",
    )
    .await;
    starts(
        &bench,
        all(on_claim("text.arrow", "arrow")),
        InvalidData,
        "Source `t`, text.arrow: this is not an Arrow IPC file or stream, or it is damaged (",
    )
    .await;
    starts(&bench, query(csv("a\n1\n"), "SELEC 1"), InvalidQuery, "The query is not valid SQL: ").await;
    starts(
        &bench,
        query(csv("a\n1\n"), "SELECT nope(a) FROM t"),
        InvalidQuery,
        "The query cannot be planned: ",
    )
    .await;
}

#[tokio::test]
async fn wrong_values_far_down_are_found() {
    let bench = Bench::new();
    let mut text = String::from("a,b\n");
    for row in 0..300_000 {
        text.push_str(&format!("{row},\"x\n\"\n"));
    }
    text.push_str("1.5,y\n");
    bench.put("t.csv", text);
    let failure = bench.failure(query(on_claim("t.csv", "csv"), "SELECT sum(a) FROM t")).await;
    assert_eq!(
        failure.message,
        "Source `t`, t.csv line 600002: column `a` has the value `1.5`, but its first rows are whole numbers (integer). \
         Give its type under `columns`, or list the value under `csv.nullValues` if it stands for a missing one."
    );
}

#[tokio::test]
async fn a_giant_line_is_refused_in_little_memory() {
    let bench = Bench::new();
    bench.put("t.csv", vec![b'x'; 40 << 20]);
    let failure = bench.failure(all(on_claim("t.csv", "csv"))).await;
    assert_eq!(
        failure.message,
        "Source `t`, t.csv line 1: the row that starts here is longer than 16 MiB. A line break or a closing quote may be missing."
    );
}

#[tokio::test]
async fn links_do_not_lead_out_of_a_volume() {
    let bench = Bench::new();
    bench.put("t.csv", "a\n1\n");
    std::fs::write(bench.root().join("secret.csv"), "a\n1\n").expect("file");
    let link = bench.environment.folders.claims.join("data/link.csv");
    std::os::unix::fs::symlink(bench.root().join("secret.csv"), link).expect("link");
    let failure = bench.failure(all(on_claim("link.csv", "csv"))).await;
    assert_eq!(failure.message, "Source `t`: `link.csv` leads out of the volume of claim `data`.");
}

#[tokio::test]
async fn a_failure_leaves_no_half_result() {
    let bench = Bench::new();
    let mut specification = query(csv("a\n1\n0\n"), "SELECT 10 / a FROM t");
    specification["output"] =
        json!({"format": "csv", "persistentVolumeClaim": {"claimName": "data", "path": "out"}});
    assert_eq!(bench.failure(specification).await.reason, QueryFailed);
    assert_eq!(std::fs::read_dir(bench.output("")).expect("folder").count(), 0);
}

#[tokio::test]
async fn a_config_map_has_a_limit() {
    let bench = Bench::new();
    let mut specification =
        query(csv("a\n1\n"), "SELECT repeat('x', 1000) AS x FROM generate_series(1, 1000)");
    specification["output"] = json!({"format": "csv", "configMap": {}});
    let failure = bench.failure(specification).await;
    assert_eq!(failure.reason, OutputTooLarge);
    assert_eq!(
        failure.message,
        "The result is larger than the 700 KiB that fit into a ConfigMap. Select less, write `format: parquet`, or put the \
         result on a persistentVolumeClaim or in s3."
    );
}

#[tokio::test]
async fn numbers_behind_the_sample_are_not_cut() {
    let bench = Bench::new();
    for (last, start) in [
        (
            "{\"a\": 1.99, \"l\": [1]}",
            "Source `t`, t.jsonl line 70001: column `a` has the value `1.99`, but its first rows are whole numbers \
             (integer). Give its type under `columns`.",
        ),
        (
            "{\"a\": 1, \"l\": [1.99]}",
            "Source `t`, t.jsonl line 70001: column `l` has the value `[1.99]`, which is not of the type List(",
        ),
    ] {
        bench.put("t.jsonl", format!("{}{last}\n", "{\"a\": 1, \"l\": [1]}\n".repeat(70_000)));
        let specification = query(on_claim("t.jsonl", "jsonLines"), "SELECT sum(a) a, sum(l[1]) l FROM t");
        starts(&bench, specification, InvalidData, start).await;
    }
}
