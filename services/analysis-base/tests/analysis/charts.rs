use std::process::Command;

use crds::analysis::FailureReason;
use serde_json::{Value, json};

use crate::bench::Bench;

const SALES: &str =
    "day,region,amount\n2024-01-01,North,10\n2024-01-01,South,20\n2024-02-01,North,15\n2024-02-01,South,5\n";

async fn draw(bench: &Bench, text: &str, chart: Value) -> (String, Value) {
    bench
        .run(json!({"sources": [{"name": "t", "format": "csv", "inline": text}], "sql": "SELECT * FROM t",
            "charts": [chart], "output": {"format": "csv", "persistentVolumeClaim": {"claimName": "data", "path": "out"}}}))
        .await
        .expect("run");
    let svg = bench.written("c.svg");
    (svg, serde_json::from_str(&bench.written("c.vl.json")).expect("vega-lite"))
}

/// How many elements of this name are in the group of this class.
fn count(svg: &str, class: &str, element: &str) -> usize {
    let group = svg.split(&format!("<g class=\"{class}\"")).nth(1).expect("group");
    let group = group.split("<g class=\"legend\"").next().expect("group");
    group.matches(&format!("<{element} ")).count()
}

#[tokio::test]
async fn bars_are_stacked_by_color() {
    let bench = Bench::new();
    let (svg, vega) = draw(&bench, SALES, json!({"name": "c", "title": "Sales <by> \"region\"", "mark": "bar",
        "encoding": {"xAxis": {"field": "day"}, "yAxis": {"field": "amount", "title": "Amount (€)"}, "color": {"field": "region"}}})).await;
    assert_eq!(count(&svg, "mark-bar", "rect"), 4);
    assert!(svg.contains("Sales &lt;by&gt; &quot;region&quot;"));
    assert!(svg.contains("Amount (€)"));
    assert!(svg.contains(">North</text>") && svg.contains(">South</text>"));
    assert!(svg.contains(">30</text>"), "the axis reaches the height of the stack");
    let top = |bar: &str| -> f64 {
        let line = svg.lines().find(|line| line.starts_with("<rect") && line.contains(bar)).expect("bar");
        let y = line.split(" y=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("y");
        y.parse().expect("number")
    };
    assert!(top(": 10, region: North") < top(": 20, region: South"), "stacked as the legend is: {svg}");
    assert_eq!(
        vega,
        json!({"$schema": "https://vega.github.io/schema/vega-lite/v6.json",
            "title": "Sales <by> \"region\"", "width": 640, "height": 400,
            "autosize": {"type": "fit", "contains": "padding"},
            "data": {"values": [
                {"day": "2024-01-01T00:00:00Z", "region": "North", "amount": 10},
                {"day": "2024-01-01T00:00:00Z", "region": "South", "amount": 20},
                {"day": "2024-02-01T00:00:00Z", "region": "North", "amount": 15},
                {"day": "2024-02-01T00:00:00Z", "region": "South", "amount": 5}]},
            "mark": {"type": "bar", "tooltip": true},
            "encoding": {
                "x": {"field": "day", "type": "temporal", "title": "day"},
                "y": {"field": "amount", "type": "quantitative", "title": "Amount (€)", "scale": {"zero": true}, "stack": "zero"},
                "color": {"field": "region", "type": "nominal", "title": "region"}},
            "config": {"mark": {"invalid": "break-paths-show-path-domains"}, "range": {"category": ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"],
                "ramp": {"scheme": "viridis"}, "heatmap": {"scheme": "viridis"}}}})
    );
}

#[tokio::test]
async fn every_mark_has_its_elements_and_is_well_formed() {
    let encoding =
        json!({"xAxis": {"field": "day"}, "yAxis": {"field": "amount"}, "color": {"field": "region"}});
    let heat = json!({"xAxis": {"field": "day", "type": "ordinal"}, "yAxis": {"field": "region"}, "color": {"field": "amount"}});
    let cases = [
        ("bar", &encoding, "rect", 4),
        ("line", &encoding, "path", 2),
        ("area", &encoding, "path", 4),
        ("point", &encoding, "circle", 4),
        ("rect", &heat, "rect", 4),
    ];
    for (mark, encoding, element, expected) in cases {
        let bench = Bench::new();
        let (svg, vega) = draw(&bench, SALES, json!({"name": "c", "mark": mark, "encoding": encoding})).await;
        assert_eq!(count(&svg, &format!("mark-{mark}"), element), expected, "{mark}: {svg}");
        assert_eq!(vega["mark"]["type"], mark);
        assert_well_formed(&bench, &svg);
    }
}

/// By the parser of the XML library of Python, where there is one.
fn assert_well_formed(bench: &Bench, svg: &str) {
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    let check = "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])";
    if let Ok(status) = Command::new("python3").args(["-c", check]).arg(bench.output("c.svg")).status() {
        assert!(status.success(), "{svg}");
    }
}

#[tokio::test]
async fn odd_data_is_drawn() {
    let cases = [
        ("one row", "x,y\na,1\n", json!({"xAxis": {"field": "x"}, "yAxis": {"field": "y"}})),
        (
            "no rows",
            "x,y\n",
            json!({"xAxis": {"field": "x"}, "yAxis": {"field": "y", "type": "quantitative"}}),
        ),
        ("only zero", "x,y\na,0\nb,0\n", json!({"xAxis": {"field": "x"}, "yAxis": {"field": "y"}})),
        ("negative", "x,y\na,-5\nb,3\n", json!({"xAxis": {"field": "x"}, "yAxis": {"field": "y"}})),
        ("missing", "x,y\na,\n,3\nc,4\n", json!({"xAxis": {"field": "x"}, "yAxis": {"field": "y"}})),
        ("huge", "x,y\na,1e300\nb,-1e300\n", json!({"xAxis": {"field": "x"}, "yAxis": {"field": "y"}})),
        ("tiny", "x,y\na,1e-12\nb,2e-12\n", json!({"xAxis": {"field": "x"}, "yAxis": {"field": "y"}})),
        ("numbers", "x,y\n1,1\n2,2\n4,3\n", json!({"xAxis": {"field": "x"}, "yAxis": {"field": "y"}})),
        (
            "hostile",
            "x,y\n</svg><script>alert(1)</script>&\u{1},1\n",
            json!({"xAxis": {"field": "x"}, "yAxis": {"field": "y"}}),
        ),
    ];
    for (name, text, encoding) in cases {
        let bench = Bench::new();
        for mark in ["bar", "line", "area", "point"] {
            let (svg, _) = draw(
                &bench,
                text,
                json!({"name": "c", "mark": mark, "encoding": encoding, "width": 200, "height": 120}),
            )
            .await;
            assert!(!svg.contains("<script"), "{name}");
            assert_well_formed(&bench, &svg);
            assert_eq!(svg.contains("No data"), name == "no rows", "{name} {mark}");
        }
    }
}

#[tokio::test]
async fn a_chart_has_a_query_of_its_own_and_a_limit() {
    let bench = Bench::new();
    let run = bench
        .run(json!({"sources": [{"name": "t", "format": "csv", "inline": "a\n1\n"}], "profile": {"source": "t"},
            "charts": [{"name": "c", "mark": "point", "sql": "SELECT value AS v FROM generate_series(1, 6000)",
                "encoding": {"xAxis": {"field": "v"}, "yAxis": {"field": "v"}}}],
            "output": {"format": "csv", "persistentVolumeClaim": {"claimName": "data", "path": "out"}}}))
        .await
        .expect("run");
    assert_eq!(
        run.outcome.message,
        "The result has 1 row, in 3 files. The chart `c` shows only the first 5000 rows."
    );
    assert_eq!(count(&bench.written("c.svg"), "mark-point", "circle"), 5000);
}

#[tokio::test]
async fn a_missing_name_is_called_null() {
    let text = "x,y,c\n,1,a\nb,2,\nb,,a\n";
    let encoding = json!({"xAxis": {"field": "x"}, "yAxis": {"field": "y"}, "color": {"field": "c"}});
    // As Vega-Lite does with these rows: the one without a number has no place.
    let rows = json!([{"x": null, "y": 1, "c": "a"}, {"x": "b", "y": 2, "c": null}, {"x": "b", "y": null, "c": "a"}]);
    for (mark, element) in [("bar", "rect"), ("point", "circle"), ("line", "circle")] {
        let chart = json!({"name": "c", "mark": mark, "encoding": encoding});
        let (svg, vega) = draw(&Bench::new(), text, chart).await;
        assert_eq!(count(&svg, &format!("mark-{mark}"), element), 2, "{mark}: {svg}");
        // On the axis and in the legend.
        assert_eq!(svg.matches(">null</text>").count(), 2, "{mark}: {svg}");
        assert_eq!(vega["data"]["values"], rows);
    }
    let heat = json!({"xAxis": {"field": "x"}, "yAxis": {"field": "c"}, "color": {"field": "y"}});
    let (svg, _) = draw(&Bench::new(), text, json!({"name": "c", "mark": "rect", "encoding": heat})).await;
    assert_eq!(count(&svg, "mark-rect", "rect"), 2, "{svg}");
    assert_eq!(svg.matches(">null</text>").count(), 2, "{svg}");
}

#[tokio::test]
async fn a_missing_number_interrupts_a_line() {
    let text = "day,v\n2024-01-01,1\n2024-01-02,2\n2024-01-03,\n2024-01-04,4\n2024-01-05,5\n";
    let encoding = json!({"xAxis": {"field": "day"}, "yAxis": {"field": "v"}});
    for (mark, paths) in [("line", 2), ("area", 4)] {
        let chart = json!({"name": "c", "mark": mark, "encoding": encoding});
        let (svg, vega) = draw(&Bench::new(), text, chart.clone()).await;
        assert_eq!(count(&svg, &format!("mark-{mark}"), "path"), paths, "{mark}: {svg}");
        assert_eq!(vega.get("transform"), None);
        // A row without a place along the line does not interrupt it.
        let (svg, vega) = draw(&Bench::new(), &format!("{text},9\n"), chart).await;
        assert_eq!(count(&svg, &format!("mark-{mark}"), "path"), paths, "{mark}: {svg}");
        assert_eq!(vega["transform"], json!([{"filter": "datum[\"day\"] != null"}]));
        assert_eq!(vega["data"]["values"].as_array().map(Vec::len), Some(6));
    }
}

#[tokio::test]
async fn numbers_that_are_all_missing_are_numbers() {
    let bench = Bench::new();
    bench
        .run(json!({"sources": [{"name": "t", "format": "csv", "inline": "a\n1\n"}],
            "sql": "SELECT 'x' AS x, CAST(NULL AS BIGINT) AS y FROM t",
            "charts": [{"name": "c", "mark": "bar", "encoding": {"xAxis": {"field": "x"}, "yAxis": {"field": "y"}}}],
            "output": {"format": "csv", "persistentVolumeClaim": {"claimName": "data", "path": "out"}}}))
        .await
        .expect("run");
    assert!(bench.written("c.svg").contains("No data"));
}

#[tokio::test]
async fn a_chart_that_fails_leaves_what_was_there() {
    let bench = Bench::new();
    let chart = json!({"name": "c", "mark": "bar", "encoding": {
        "xAxis": {"field": "region"}, "yAxis": {"field": "amount", "type": "quantitative"}}});
    draw(&bench, SALES, chart.clone()).await;
    let before = (bench.written("result.csv"), bench.written("c.svg"));
    let failure = bench
        .failure(json!({"sources": [{"name": "t", "format": "csv", "inline": SALES}],
            "sql": "SELECT region, 'much' AS amount FROM t", "charts": [chart],
            "output": {"format": "csv", "persistentVolumeClaim": {"claimName": "data", "path": "out"}}}))
        .await;
    assert_eq!(failure.reason, FailureReason::InvalidChart, "{}", failure.message);
    assert_eq!((bench.written("result.csv"), bench.written("c.svg")), before);
    // Nothing else is there: result, SVG and Vega-Lite.
    assert_eq!(std::fs::read_dir(bench.output("")).expect("folder").count(), 3);
}
