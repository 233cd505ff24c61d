//! Points in time: with all of their digits, or not at all.

use crds::analysis::FailureReason;
use serde_json::{Value, json};

use crate::bench::Bench;

const NANOSECONDS: &str = "t\n2024-01-01T00:00:00.123456001Z\n2024-01-01T00:00:00.123456002Z\n";
const SQL: &str = "SELECT count(DISTINCT t) AS n, max(t) AS m FROM t";

fn csv(text: &str, columns: Value) -> Value {
    json!({"name": "t", "format": "csv", "inline": text, "columns": columns})
}

#[tokio::test]
async fn nanoseconds_are_kept_in_every_format() {
    let expected = "n,m\n2,2024-01-01T00:00:00.123456002Z\n";
    assert_eq!(Bench::new().preview(csv(NANOSECONDS, json!([])), SQL).await, expected);
    for (format, file) in [("csv", "result.csv"), ("parquet", "result.parquet"), ("arrow", "result.arrow")] {
        let bench = Bench::new();
        let claim = json!({"claimName": "data", "path": "out"});
        let output = json!({"format": format, "persistentVolumeClaim": claim});
        let sources = [csv(NANOSECONDS, json!([]))];
        bench
            .run(json!({"sources": sources, "sql": "SELECT t FROM t", "output": output}))
            .await
            .expect("run");
        let other = Bench::new();
        other.put(file, std::fs::read(bench.output(file)).expect("file"));
        let claim = json!({"claimName": "data", "path": file});
        let source = json!({"name": "t", "format": format, "persistentVolumeClaim": claim});
        assert_eq!(other.preview(source, SQL).await, expected, "{format}");
    }
}

#[tokio::test]
async fn a_profile_tells_nanoseconds_apart() {
    let bench = Bench::new();
    let specification = json!({"sources": [csv(NANOSECONDS, json!([]))], "profile": {"source": "t"}});
    let preview = bench.run(specification).await.expect("run").outcome.preview;
    let row = preview.lines().nth(1).expect("row");
    let start = "t,timestamp,2,0,2,false,2024-01-01T00:00:00.123456001Z,2024-01-01T00:00:00.123456002Z,";
    assert!(row.starts_with(start), "{row}");
}

#[tokio::test]
async fn what_has_no_room_is_refused_with_its_line() {
    let bench = Bench::new();
    let columns = json!([{"name": "t", "type": "timestamp"}]);
    let text = "t\n2024-01-01T00:00:00.123456000Z\n2024-01-01T00:00:00.123456001Z\n";
    let lines = "{\"t\": \"2024-01-01T00:00:00.1Z\"}\n\n{\"t\": \"2024-01-01T00:00:00.123456001Z\"}\n";
    let json_lines = json!({"name": "t", "format": "jsonLines", "inline": lines, "columns": columns});
    for source in [csv(text, columns), json_lines] {
        let failure = bench.failure(json!({"sources": [source], "sql": "SELECT * FROM t"})).await;
        assert_eq!(failure.reason, FailureReason::InvalidData);
        assert_eq!(
            failure.message,
            "Source `t`, inline data line 3: column `t` has the value `2024-01-01T00:00:00.123456001Z`, but its points \
             in time (timestamp) have no more than microseconds. Make it a string under `columns`, and convert it in \
             the query, for example with to_timestamp_nanos."
        );
    }
}

#[tokio::test]
async fn all_years_are_read() {
    let bench = Bench::new();
    let years = "t\n0001-01-01T00:00:00Z\n9999-12-31T23:59:59.999999Z\n";
    let expected = "t\n0001-01-01T00:00:00Z\n9999-12-31T23:59:59.999999Z\n";
    assert_eq!(bench.preview(csv(years, json!([])), "SELECT t FROM t").await, expected);
    // No type has nanoseconds and these years.
    let both = "t\n9999-12-31T23:59:59Z\n2024-01-01T00:00:00.123456001Z\n";
    let preview = bench.preview(csv(both, json!([])), "SELECT arrow_typeof(t) AS y FROM t LIMIT 1").await;
    assert_eq!(preview, "y\nUtf8\n");
}
