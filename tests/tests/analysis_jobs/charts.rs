//! Charts of every mark.

use ai_saas_platform_tests::specification::{inline_csv, query, to_config_map, with};
use ai_saas_platform_tests::with_namespace;
use anyhow::Result;
use quick_xml::events::Event;
use serde_json::{Value, json};

/// That a text is XML with `svg` as its root, and draws something.
pub(crate) fn assert_is_svg(text: &str) {
    let mut reader = quick_xml::Reader::from_str(text);
    let mut open: Vec<String> = Vec::new();
    let mut elements = 0;
    loop {
        let event =
            reader.read_event().unwrap_or_else(|error| panic!("this SVG is no XML, {error}:\n{text}"));
        let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match event {
            Event::Start(element) => {
                let element = name(element.name().as_ref());
                assert!(!open.is_empty() || element == "svg", "the root is {element}");
                open.push(element);
                elements += 1;
            }
            Event::Empty(_) => elements += 1,
            Event::End(element) => assert_eq!(open.pop(), Some(name(element.name().as_ref()))),
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed");
    assert!(elements > 10, "nothing is drawn:\n{text}");
}

/// That a text is Vega-Lite with its data.
pub(crate) fn assert_is_vega_lite(text: &str) {
    let chart: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
    let schema = chart["$schema"].as_str().unwrap_or_default();
    assert!(schema.starts_with("https://vega.github.io/schema/vega-lite/v"), "{schema}");
    assert!(chart["mark"].is_string() || chart["mark"]["type"].is_string(), "{}", chart["mark"]);
    let rows = chart["data"]["values"].as_array().unwrap_or_else(|| panic!("no data in {text}"));
    assert!(!rows.is_empty());
    for channel in ["x", "y"] {
        let field = chart["encoding"][channel]["field"].as_str().unwrap_or_default();
        assert!(rows.iter().all(|row| row.get(field).is_some()), "`{field}` is not in the data");
    }
}

#[tokio::test]
async fn every_mark_is_drawn() -> Result<()> {
    with_namespace(async |namespace| {
        let data = inline_csv(
            "data",
            "day,kind,amount\n2024-01-01,a & b,1\n2024-01-02,<c>,-2.5\n2024-01-03,a & b,\n",
        );
        let marks = ["bar", "line", "area", "point", "rect"];
        let charts: Vec<Value> = marks
            .iter()
            .map(|mark| {
                json!({
                    "name": mark,
                    "title": "A title with <, & and \"quotes\"",
                    "mark": mark,
                    "encoding": {
                        "xAxis": { "field": "day" },
                        "yAxis": { "field": if *mark == "rect" { "kind" } else { "amount" } },
                        "color": { "field": if *mark == "rect" { "amount" } else { "kind" } },
                    },
                })
            })
            .collect();
        let spec = with(query(data, "SELECT * FROM data"), json!({ "charts": charts }));
        namespace.analyse_well("marks", with(spec, to_config_map("csv"))).await?;
        for mark in marks {
            let svg = namespace.text_of("marks-result", &format!("{mark}.svg")).await?;
            assert_is_svg(&svg);
            assert!(svg.contains("A title with &lt;"), "{svg}");
            assert_is_vega_lite(&namespace.text_of("marks-result", &format!("{mark}.vl.json")).await?);
        }
        Ok(())
    })
    .await
}
