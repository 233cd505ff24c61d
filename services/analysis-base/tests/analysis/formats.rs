use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::bench::Bench;

const CITIES: &str = "name,people,area,founded,capital\nBerlin,3700000,891.7,1237-10-28,true\n\"Frankfurt, Main\",760000,248.3,0794-02-22,false\nBonn,,141.1,,false\n";

fn inline(text: &str, csv: Value) -> Value {
    json!({"name": "t", "format": "csv", "inline": text, "csv": csv})
}

#[tokio::test]
async fn types_are_taken_from_the_first_rows() {
    let preview = Bench::new()
        .preview(
            inline(CITIES, json!({})),
            "SELECT arrow_typeof(name) n, arrow_typeof(people) p, arrow_typeof(area) a, arrow_typeof(founded) f, \
             arrow_typeof(capital) c FROM t LIMIT 1",
        )
        .await;
    assert_eq!(preview, "n,p,a,f,c\nUtf8,Int64,Float64,Date32,Boolean\n");
}

#[tokio::test]
async fn csv_options() {
    let bench = Bench::new();
    let cases = [
        ("semicolon", inline("a;b\n1;x\n", json!({"delimiter": ";"})), "SELECT * FROM t", "a,b\n1,x\n"),
        ("tab", inline("a\tb\n1\tx\n", json!({"delimiter": "\\t"})), "SELECT * FROM t", "a,b\n1,x\n"),
        ("quote", inline("a,b\n1,'x,y'\n", json!({"quote": "'"})), "SELECT b FROM t", "b\n\"x,y\"\n"),
        (
            "comment",
            inline("# it\"s\na,b\n#no\n1,2\n", json!({"comment": "#"})),
            "SELECT * FROM t",
            "a,b\n1,2\n",
        ),
        (
            "no header",
            inline("1,x\n2,y\n", json!({"header": false})),
            "SELECT column_1, column_2 FROM t",
            "column_1,column_2\n1,x\n2,y\n",
        ),
        (
            "null values",
            inline("a\n1\nNA\n-\n", json!({"nullValues": ["NA", "-"]})),
            "SELECT sum(a) s, count(a) c, count(*) n FROM t",
            "s,c,n\n1,1,3\n",
        ),
        (
            "line break in quotes",
            inline("a,b\n\"x\ny\",1\n", json!({})),
            "SELECT char_length(a) l, b FROM t",
            "l,b\n3,1\n",
        ),
        ("byte order mark", inline("\u{feff}a\n1\n", json!({})), "SELECT a FROM t", "a\n1\n"),
        ("windows line ends", inline("a,b\r\n1,2\r\n", json!({})), "SELECT b FROM t", "b\n2\n"),
        ("no line end", inline("a,b\n1,2", json!({})), "SELECT b FROM t", "b\n2\n"),
        ("header only", inline("a,b\n", json!({})), "SELECT count(*) n FROM t", "n\n0\n"),
        (
            "count without a column",
            inline("a,b\n1,2\n3,4\n", json!({})),
            "SELECT count(*) n FROM t",
            "n\n2\n",
        ),
        (
            "timestamp",
            inline("t\n2013-01-01T05:00:00Z\n", json!({})),
            "SELECT * FROM t",
            "t\n2013-01-01T05:00:00Z\n",
        ),
    ];
    for (name, source, sql, expected) in cases {
        assert_eq!(bench.preview(source, sql).await, expected, "{name}");
    }
}

#[tokio::test]
async fn given_types_win() {
    let source = json!({"name": "t", "format": "csv", "inline": "zip,price\n01234,1.10\n",
        "columns": [{"name": "zip", "type": "string"}, {"name": "price", "type": "decimal"}]});
    let preview = Bench::new().preview(source, "SELECT zip, price * 3 AS p FROM t").await;
    assert_eq!(preview, "zip,p\n01234,3.3000000000\n");
}

#[tokio::test]
async fn json_lines() {
    let source = json!({"name": "t", "format": "jsonLines",
        "inline": "{\"a\": 1, \"b\": {\"c\": [1, 2]}}\n\n{\"a\": null, \"d\": \"x\"}\n{\"late\": 5}",
        "columns": [{"name": "never", "type": "integer"}]});
    let bench = Bench::new();
    let sql = "SELECT a, b['c'][2] AS c, d, late, never FROM t";
    assert_eq!(bench.preview(source.clone(), sql).await, "a,c,d,late,never\n1,2,,,\n,,x,,\n,,,5,\n");
    assert_eq!(bench.preview(source.clone(), "SELECT count(*) n FROM t").await, "n\n3\n");
    assert_eq!(bench.preview(source, "SELECT b FROM t LIMIT 1").await, "b\n\"{\"\"c\"\":[1,2]}\"\n");
}

#[tokio::test]
async fn a_config_map_and_what_was_read() {
    let bench = Bench::new();
    let folder = bench.environment.folders.sources.join("t");
    std::fs::create_dir_all(&folder).expect("folder");
    std::fs::write(folder.join("cities.csv"), CITIES).expect("file");
    let run = bench
        .run(json!({"sources": [{"name": "t", "format": "csv", "configMap": {"name": "m", "key": "cities.csv"}}],
            "sql": "SELECT name FROM t WHERE people > 1000000"}))
        .await
        .expect("run");
    assert_eq!((run.rows_read, run.bytes_read), (3, CITIES.len() as u64));
    assert_eq!(run.outcome.rows_written, 1);
    assert_eq!(run.outcome.message, "The result has 1 row.");
    assert_eq!(run.outcome.preview, "name\nBerlin\n");
}

#[tokio::test]
async fn a_folder_is_one_table() {
    let bench = Bench::new();
    bench.put("days/1.csv", "a,b\n1,x\n");
    bench.put("days/2.csv", "a,b\n2,y\n");
    bench.put("days/deep/3.csv", "a,b\n3,z\n");
    bench.put("days/read.me", "not csv");
    bench.put("days/.hidden.csv", "not,the,same\n");
    let source =
        json!({"name": "t", "format": "csv", "persistentVolumeClaim": {"claimName": "data", "path": "days"}});
    assert_eq!(bench.preview(source, "SELECT sum(a) s, max(b) m FROM t").await, "s,m\n6,z\n");
}

/// Round trip: what one analysis writes another one reads.
#[tokio::test]
async fn every_format_is_written_and_read() {
    for format in ["csv", "jsonLines", "parquet", "arrow"] {
        let mut bench = Bench::new();
        let written = bench
            .run(json!({"sources": [inline(CITIES, json!({}))], "sql": "SELECT * FROM t ORDER BY name",
                "output": {"format": format, "persistentVolumeClaim": {"claimName": "data", "path": "out"}}}))
            .await
            .expect("run");
        let name = written.outcome.files[0].name.clone();
        assert_eq!(
            written.outcome.files[0].bytes,
            std::fs::metadata(bench.output(&name)).expect("file").len() as i64
        );
        assert_eq!(std::fs::read_dir(bench.output("")).expect("folder").count(), 1, "no other files stay");

        bench.environment.folders.claims = bench.root().join("claims");
        bench.put(&format!("in/{name}"), std::fs::read(bench.output(&name)).expect("file"));
        let source = json!({"name": "t", "format": format,
            "persistentVolumeClaim": {"claimName": "data", "path": format!("in/{name}")}});
        let sql =
            "SELECT name, people, area, CAST(founded AS date) AS founded, capital FROM t ORDER BY name DESC";
        let preview = bench.preview(source.clone(), sql).await;
        assert_eq!(
            preview,
            "name,people,area,founded,capital\n\"Frankfurt, Main\",760000,248.3,0794-02-22,false\nBonn,,141.1,,false\nBerlin,3700000,891.7,1237-10-28,true\n",
            "{format}"
        );
        let run =
            bench.run(json!({"sources": [source], "sql": "SELECT sum(people) FROM t"})).await.expect("run");
        assert_eq!(run.rows_read, 3, "{format}");
        assert!(run.bytes_read > 0, "{format}");
    }
}

#[tokio::test]
async fn an_empty_result_has_a_header() {
    let bench = Bench::new();
    for (format, expected) in [("csv", "name,people\n"), ("jsonLines", "")] {
        bench
            .run(json!({"sources": [inline(CITIES, json!({}))], "sql": "SELECT name, people FROM t WHERE false",
                "output": {"format": format, "persistentVolumeClaim": {"claimName": "data", "path": "out"}}}))
            .await
            .expect("run");
        assert_eq!(bench.written(if format == "csv" { "result.csv" } else { "result.jsonl" }), expected);
    }
}

#[tokio::test]
async fn compressions() {
    for (compression, program) in [("gzip", "gzip"), ("zstd", "zstd"), ("bzip2", "bzip2"), ("xz", "xz")] {
        let Some(first) = compressed(program, b"a,b\n1,x\n") else { continue };
        let second = compressed(program, b"2,y\n").expect("compressed");
        let bench = Bench::new();
        // Two streams behind one another are one file, as `cat` makes them.
        bench.put("t.csv", [first, second].concat());
        let source = json!({"name": "t", "format": "csv", "csv": {"compression": compression},
            "persistentVolumeClaim": {"claimName": "data", "path": "t.csv"}});
        assert_eq!(bench.preview(source, "SELECT sum(a) s FROM t").await, "s\n3\n", "{compression}");
    }
}

#[tokio::test]
async fn what_is_not_compressed_is_told() {
    for (compression, name) in [("gzip", "gzip"), ("zstd", "zstd"), ("bzip2", "bzip2"), ("xz", "xz")] {
        let bench = Bench::new();
        bench.put("t.csv", "column\n".repeat(1000));
        let source = json!({"name": "t", "format": "csv", "csv": {"compression": compression},
            "persistentVolumeClaim": {"claimName": "data", "path": "t.csv"}});
        let failure = bench.failure(json!({"sources": [source], "sql": "SELECT 1"})).await;
        let start = format!("Source `t`, t.csv: the data is not {name}, or is damaged (");
        assert!(failure.message.starts_with(&start), "{}", failure.message);
    }
}

/// `None` if the program is not there.
pub(crate) fn compressed(program: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut child =
        Command::new(program).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    let mut input = child.stdin.take()?;
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().ok()?;
    writer.join().ok()?.ok()?;
    Some(output.stdout)
}

#[tokio::test]
async fn large_files_keep_their_order_and_rows() {
    let bench = Bench::new();
    let mut text = String::from("id,text\n");
    for id in 0..200_000 {
        text.push_str(&format!("{id},\"row\n{id}\"\n"));
    }
    bench.put("t.csv", &text);
    let source = json!({"name": "t", "format": "csv", "persistentVolumeClaim": {"claimName": "data", "path": "t.csv"}});
    let run = bench
        .run(json!({"sources": [source], "sql": "SELECT count(*) n, sum(id) s, count(DISTINCT text) d FROM t"}))
        .await
        .expect("run");
    assert_eq!(run.outcome.preview, "n,s,d\n200000,19999900000,200000\n");
    assert_eq!((run.rows_read, run.bytes_read), (200_000, text.len() as u64));
}

fn json_lines_source(text: &str, columns: Value) -> Value {
    json!({"name": "t", "format": "jsonLines", "inline": text, "columns": columns})
}

#[tokio::test]
async fn json_lines_keep_the_order_of_their_keys() {
    let source =
        json_lines_source("{\"b\": 1, \"a\": 2}\n{\"c\": {\"z\": 1}, \"a\": 3, \"B\": 4}\n", json!([]));
    let preview = Bench::new().preview(source, "SELECT * FROM t").await;
    assert_eq!(preview.lines().next(), Some("b,a,c,B"));
}

#[tokio::test]
async fn json_values_are_taken_exactly_or_not_at_all() {
    let bench = Bench::new();
    let cases = [
        (
            "whole numbers, however they are written",
            json_lines_source(
                "{\"a\": 1.0}\n{\"a\": \"2\"}\n{\"a\": 1e3}\n{\"a\": null}\n",
                json!([{"name": "a", "type": "integer"}]),
            ),
            "SELECT sum(a) s FROM t",
            "s\n1003\n",
        ),
        (
            "more than 64 bits",
            json_lines_source("{\"a\": 18446744073709551615}\n{\"a\": 1}\n", json!([])),
            "SELECT a, arrow_typeof(a) y FROM t",
            "a,y\n18446744073709551615,Utf8\n1,Utf8\n",
        ),
        (
            "decimal numbers",
            json_lines_source(
                "{\"a\": 1234567890123456789.0000000001}\n",
                json!([{"name": "a", "type": "decimal"}]),
            ),
            "SELECT a FROM t",
            "a\n1234567890123456789.0000000001\n",
        ),
        (
            "points in time",
            json_lines_source(
                "{\"a\": \"2013-01-01T05:00:00Z\", \"b\": \"2013-01-01\"}\n",
                json!([{"name": "a", "type": "timestamp"}, {"name": "b", "type": "date"}]),
            ),
            "SELECT a, b FROM t",
            "a,b\n2013-01-01T05:00:00Z,2013-01-01\n",
        ),
    ];
    for (name, source, sql, expected) in cases {
        assert_eq!(bench.preview(source, sql).await, expected, "{name}");
    }
}

#[tokio::test]
async fn codes_with_leading_zeros_are_text() {
    let bench = Bench::new();
    let text = "zip,n,x,m\n99999,0,-0.5,5\n01234,10,0.5,-01\n";
    let types =
        "SELECT arrow_typeof(zip) z, arrow_typeof(n) n, arrow_typeof(x) x, arrow_typeof(m) m FROM t LIMIT 1";
    assert_eq!(bench.preview(inline(text, json!({})), types).await, "z,n,x,m\nUtf8,Int64,Float64,Utf8\n");
    let zips = "SELECT zip FROM t";
    assert_eq!(bench.preview(inline(text, json!({})), zips).await, "zip\n99999\n01234\n");
    let mut given = inline(text, json!({}));
    given["columns"] = json!([{"name": "zip", "type": "integer"}]);
    assert_eq!(bench.preview(given, zips).await, "zip\n99999\n1234\n");
}

#[tokio::test]
async fn types_are_taken_from_the_first_file_with_rows() {
    let bench = Bench::new();
    bench.put("days/1.csv", "a,b\n");
    bench.put("days/2.csv", "");
    bench.put("days/3.csv", "a,b\n2,x\n");
    let source =
        json!({"name": "t", "format": "csv", "persistentVolumeClaim": {"claimName": "data", "path": "days"}});
    assert_eq!(bench.preview(source, "SELECT sum(a) s, max(b) m FROM t").await, "s,m\n2,x\n");
}

/// A file that an analysis writes.
pub(crate) async fn written(format: &str, sql: &str) -> Vec<u8> {
    let bench = Bench::new();
    let run = bench
        .run(json!({"sources": [inline("a\n1\n", json!({}))], "sql": sql,
            "output": {"format": format, "persistentVolumeClaim": {"claimName": "data", "path": "out"}}}))
        .await
        .expect("run");
    std::fs::read(bench.output(&run.outcome.files[0].name)).expect("file")
}

#[tokio::test]
async fn the_columns_of_all_files_are_read() {
    for format in ["parquet", "arrow"] {
        let bench = Bench::new();
        bench.put(&format!("in/1.{format}"), written(format, "SELECT CAST(1 AS int) AS a, 'x' AS b").await);
        bench.put(&format!("in/2.{format}"), written(format, "SELECT 'y' AS b, 2.5 AS late, 2 AS a").await);
        bench.put(&format!("in/3.{format}"), written(format, "SELECT CAST(3 AS int) AS a, 'z' AS b").await);
        let source = json!({"name": "t", "format": format,
            "persistentVolumeClaim": {"claimName": "data", "path": "in"}});
        let preview = bench.preview(source, "SELECT * FROM t ORDER BY a").await;
        assert_eq!(preview, "a,b,late\n1,x,\n2,y,2.5\n3,z,\n", "{format}");
    }
}

#[tokio::test]
async fn files_with_different_types_are_named() {
    for format in ["parquet", "arrow"] {
        let bench = Bench::new();
        bench.put(&format!("in/1.{format}"), written(format, "SELECT 1 AS a").await);
        bench.put(&format!("in/2.{format}"), written(format, "SELECT 'x' AS a").await);
        let source = json!({"name": "t", "format": format,
            "persistentVolumeClaim": {"claimName": "data", "path": "in"}});
        let failure = bench.failure(json!({"sources": [source], "sql": "SELECT * FROM t"})).await;
        let start = format!("Source `t`, in/2.{format}: column `a` is of the type Utf8");
        assert!(failure.message.starts_with(&start), "{}", failure.message);
        let end = format!(
            " here, but Int64 in in/1.{format}. Write it with one type, or read the files as two sources and cast it \
             in the query."
        );
        assert!(failure.message.ends_with(&end), "{}", failure.message);
    }
}
