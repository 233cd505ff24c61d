use serde_json::{Value, json};

use crate::bench::Bench;

async fn profile(bench: &Bench, source: Value, options: Value) -> Vec<Value> {
    let mut profile = json!({"source": "t"});
    profile.as_object_mut().expect("object").extend(options.as_object().expect("object").clone());
    bench
        .run(json!({"sources": [source], "profile": profile,
            "output": {"format": "jsonLines", "persistentVolumeClaim": {"claimName": "data", "path": "out"}}}))
        .await
        .expect("run");
    bench.written("result.jsonl").lines().map(|line| serde_json::from_str(line).expect("row")).collect()
}

#[tokio::test]
async fn every_kind_of_column() {
    let text = "n,f,s,b,d,t,e\n1,1.5,x,true,2020-01-01,2020-01-01T00:00:00Z,\n2,2.5,y,true,2020-01-02,2020-01-01T12:00:00Z,\n2,-1.0,y,false,2020-01-05,2020-01-02T00:00:00Z,\n5,,é,,,,\n";
    let source = json!({"name": "t", "format": "csv", "inline": text});
    let rows = profile(&Bench::new(), source, json!({"histogramBins": 2, "topValues": 2})).await;
    let kinds: Vec<_> = rows.iter().map(|row| row["type"].as_str().expect("type")).collect();
    assert_eq!(kinds, ["integer", "number", "string", "boolean", "date", "timestamp", "string"]);

    // Computed by hand: mean 2.5, squares 2.25 + 0.25 + 0.25 + 6.25 = 9, √(9/3).
    assert_eq!(
        rows[0],
        json!({"column": "n", "type": "integer", "count": 4, "nulls": 0, "distinct": 3, "approximate": false,
            "minimum": "1", "maximum": "5", "mean": 2.5, "standard_deviation": 3.0_f64.sqrt(),
            "quantiles": rows[0]["quantiles"],
            "histogram": [{"lower": 1.0, "upper": 3.0, "count": 3}, {"lower": 3.0, "upper": 5.0, "count": 1}],
            "top_values": [{"value": "2", "count": 2}, {"value": "1", "count": 1}],
            "correlations": {"f": rows[0]["correlations"]["f"]}})
    );
    let expected = [("p05", 1.15), ("p25", 1.75), ("p50", 2.0), ("p75", 2.75), ("p95", 4.55)];
    for (name, value) in expected {
        assert!((rows[0]["quantiles"][name].as_f64().expect("quantile") - value).abs() < 1e-12, "{name}");
    }
    // n = 1, 2, 2 and f = 1.5, 2.5, -1 where both are there.
    let expected = -0.5 / (2.0_f64 / 3.0 * 6.5).sqrt();
    let found = rows[0]["correlations"]["f"].as_f64().expect("correlation");
    assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    assert_eq!(rows[1]["correlations"]["n"], rows[0]["correlations"]["f"]);
    assert_eq!(rows[1]["nulls"], 1);
    assert_eq!(rows[1]["minimum"], "-1");

    assert_eq!(rows[2]["distinct"], 3);
    assert_eq!((&rows[2]["minimum"], &rows[2]["maximum"]), (&json!("x"), &json!("é")));
    assert_eq!(rows[2]["top_values"], json!([{"value": "y", "count": 2}, {"value": "x", "count": 1}]));
    assert_eq!(
        (&rows[2]["mean"], &rows[2]["histogram"], &rows[2]["correlations"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );

    assert_eq!(rows[3]["top_values"], json!([{"value": "true", "count": 2}, {"value": "false", "count": 1}]));
    assert_eq!((&rows[4]["minimum"], &rows[4]["maximum"]), (&json!("2020-01-01"), &json!("2020-01-05")));
    assert_eq!(rows[5]["maximum"], "2020-01-02T00:00:00Z");
    // Half a day after 2020-01-01 in seconds.
    assert_eq!(rows[5]["mean"], 1_577_880_000.0);
    assert_eq!(
        (&rows[6]["nulls"], &rows[6]["distinct"], &rows[6]["minimum"]),
        (&json!(4), &json!(0), &Value::Null)
    );
}

#[tokio::test]
async fn some_columns_and_no_correlations() {
    let source = json!({"name": "t", "format": "csv", "inline": "A,b,c\n1,2,3\n4,5,7\n"});
    let rows = profile(&Bench::new(), source, json!({"columns": ["c", "A"], "correlations": false})).await;
    let names: Vec<_> = rows.iter().map(|row| row["column"].as_str().expect("name")).collect();
    assert_eq!(names, ["c", "A"]);
    assert_eq!(rows[0]["correlations"], Value::Null);
}

#[tokio::test]
async fn many_values_are_approximate_but_close() {
    let bench = Bench::new();
    let count: u64 = 300_000;
    let mut text = String::from("id,skewed,name\n");
    for row in 0..count {
        let id = (row * 7_919) % count;
        let frequent = if row % 4 == 0 { 0 } else { row };
        text.push_str(&format!("{id},{frequent},name {}\n", row % 150_000));
    }
    bench.put("t.csv", text);
    let source = json!({"name": "t", "format": "csv", "persistentVolumeClaim": {"claimName": "data", "path": "t.csv"}});
    let rows = profile(&bench, source, json!({})).await;
    let near = |value: &Value, expected: f64, error: f64| {
        let value = value.as_f64().expect("number");
        assert!((value - expected).abs() <= expected * error, "{value} is not near {expected}");
    };
    assert_eq!(rows[0]["approximate"], true);
    assert_eq!((&rows[0]["minimum"], &rows[0]["maximum"]), (&json!("0"), &json!("299999")));
    near(&rows[0]["mean"], 149_999.5, 1e-12);
    near(&rows[0]["standard_deviation"], 86_602.684_716_350_3, 1e-9);
    near(&rows[0]["distinct"], 300_000.0, 0.03);
    near(&rows[0]["quantiles"]["p50"], 150_000.0, 0.01);
    near(&rows[0]["quantiles"]["p95"], 285_000.0, 0.01);
    let bins = rows[0]["histogram"].as_array().expect("bins");
    assert_eq!(bins.len(), 20);
    assert_eq!(bins.iter().map(|bin| bin["count"].as_u64().expect("count")).sum::<u64>(), count);
    for bin in bins {
        near(&bin["count"], 15_000.0, 0.1);
    }
    assert_eq!(rows[1]["top_values"][0]["value"], "0");
    near(&rows[1]["top_values"][0]["count"], 75_000.0, 0.01);
    near(&rows[2]["distinct"], 150_000.0, 0.03);
}

#[tokio::test]
async fn a_profile_can_be_written_in_every_format() {
    for (format, file) in [("csv", "result.csv"), ("parquet", "result.parquet"), ("arrow", "result.arrow")] {
        let bench = Bench::new();
        bench
            .run(json!({"sources": [{"name": "t", "format": "csv", "inline": "a,b\n1,2\n2,1\n"}], "profile": {"source": "t"},
                "output": {"format": format, "persistentVolumeClaim": {"claimName": "data", "path": "out"}}}))
            .await
            .expect("run");
        if format == "csv" {
            let text = bench.written(file);
            assert!(text.contains("\"{\"\"b\"\":-1.0}\""), "{text}");
            continue;
        }
        bench.put(file, std::fs::read(bench.output(file)).expect("file"));
        let source = json!({"name": "t", "format": format, "persistentVolumeClaim": {"claimName": "data", "path": file}});
        let sql = "SELECT \"column\" AS c, quantiles['p50'] AS m, top_values[1]['value'] AS v FROM t";
        assert_eq!(bench.preview(source, sql).await, "c,m,v\na,1.5,1\nb,1.5,1\n", "{format}");
    }
}

#[tokio::test]
async fn long_texts_are_told_apart_by_their_whole_length() {
    let long = "long ".repeat(80);
    let inline = format!("t\n{long}\nshort\nshort\n{long} indeed\n");
    let source = json!({"name": "t", "format": "csv", "inline": inline});
    let rows = profile(&Bench::new(), source, json!({})).await;
    assert_eq!((&rows[0]["nulls"], &rows[0]["distinct"]), (&json!(0), &json!(3)));
    assert_eq!(rows[0]["approximate"], false);
    assert_eq!(rows[0]["top_values"][0], json!({"value": "short", "count": 2}));
}

#[tokio::test]
async fn large_integers_and_decimals_keep_all_digits() {
    let bench = Bench::new();
    let sql = "SELECT CAST(u AS BIGINT UNSIGNED) AS u, CAST(d AS DECIMAL(38, 2)) AS d, CAST(d AS DECIMAL(76, 2)) AS w, i \
               FROM (VALUES ('9007199254740993', '12345678901234567890.12', 5), \
               ('18446744073709551615', '-0.05', -1), \
               ('9007199254740993', '12345678901234567890.12', 7)) AS v(u, d, i)";
    bench
        .run(json!({"sources": [{"name": "t", "format": "csv", "inline": "a\n1\n"}], "sql": sql,
            "output": {"format": "parquet", "persistentVolumeClaim": {"claimName": "data", "path": "out"}}}))
        .await
        .expect("run");
    bench.put("t.parquet", std::fs::read(bench.output("result.parquet")).expect("result"));
    let source = json!({"name": "t", "format": "parquet",
        "persistentVolumeClaim": {"claimName": "data", "path": "t.parquet"}});
    let rows = profile(&bench, source, json!({})).await;
    let found = |row: usize| (&rows[row]["minimum"], &rows[row]["maximum"], &rows[row]["top_values"][0]);

    assert_eq!(rows[0]["type"], "integer");
    assert_eq!(
        found(0),
        (
            &json!("9007199254740993"),
            &json!("18446744073709551615"),
            &json!({"value": "9007199254740993", "count": 2})
        )
    );
    for row in [1, 2] {
        assert_eq!(rows[row]["type"], "decimal");
        assert_eq!(
            found(row),
            (
                &json!("-0.05"),
                &json!("12345678901234567890.12"),
                &json!({"value": "12345678901234567890.12", "count": 2})
            )
        );
        let quantile = |name: &str| rows[row]["quantiles"][name].as_f64().expect("quantile");
        assert!((quantile("p50") / 1.234_567_890_123e19 - 1.0).abs() < 1e-11);
    }
    // Of values that occur equally often, the least comes first.
    assert_eq!(found(3).2, &json!({"value": "-1", "count": 1}));
}

#[tokio::test]
async fn only_the_first_of_very_many_columns_are_correlated() {
    let line = |text: &dyn Fn(usize) -> String| (0..210).map(text).collect::<Vec<_>>().join(",");
    let names = line(&|column| format!("c{column}"));
    let (one, other) = (line(&|column| column.to_string()), line(&|column| (column + 1).to_string()));
    let bench = Bench::new();
    let run = bench
        .run(json!({"sources": [{"name": "t", "format": "csv", "inline": format!("{names}\n{one}\n{other}\n")}],
            "profile": {"source": "t"},
            "output": {"format": "jsonLines", "persistentVolumeClaim": {"claimName": "data", "path": "out"}}}))
        .await
        .expect("run");
    assert_eq!(
        run.outcome.message,
        "The result has 210 rows, in 1 file. The correlations are those of the first 200 columns with numbers, \
         without the other 10. Name the columns that matter in `profile.columns`."
    );
    let text = bench.written("result.jsonl");
    let found: Vec<usize> = text
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("row")["correlations"]
                .as_object()
                .map_or(0, serde_json::Map::len)
        })
        .collect();
    assert_eq!(found, [vec![199; 200], vec![0; 10]].concat());
}
