//! The examples, as a user applies them, with the right figures at the end.

use std::collections::BTreeMap;

use ai_saas_platform_tests::command::{kubectl, repository, repository_argument, run};
use ai_saas_platform_tests::table::Table;
use ai_saas_platform_tests::volume::shell_image;
use ai_saas_platform_tests::{Namespace, outcome, with_namespace};
use anyhow::{Context as _, Result, ensure};
use serde::Deserialize as _;
use serde_json::Value;

use crate::charts::{assert_is_svg, assert_is_vega_lite};

async fn apply(namespace: &Namespace, example: &str) -> Result<()> {
    let folder = repository_argument(&format!("examples/{example}/"));
    kubectl(&["apply", "--namespace", &namespace.name, "--filename", &folder]).await.map(drop)
}

#[tokio::test]
async fn penguins_are_summarised_and_drawn() -> Result<()> {
    with_namespace(async |namespace| {
        apply(namespace, "penguins").await?;
        let job = namespace.wait_until_ended("penguins").await?;
        assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        assert_eq!(job.status.as_ref().and_then(|status| status.rows_written), Some(5));

        let result = Table::parse(&namespace.text_of("penguins-result", "result.csv").await?)?;
        assert_means_are_right(&result, &penguins()?);

        for chart in ["islands", "flipper-length", "counts"] {
            assert_is_svg(&namespace.text_of("penguins-result", &format!("{chart}.svg")).await?);
            assert_is_vega_lite(&namespace.text_of("penguins-result", &format!("{chart}.vl.json")).await?);
        }
        // Two penguins have not been measured.
        let drawn: Value =
            serde_json::from_str(&namespace.text_of("penguins-result", "flipper-length.vl.json").await?)?;
        assert_eq!(drawn["data"]["values"].as_array().map(Vec::len), Some(342));

        let columns = kubectl(&["get", "aj", "--namespace", &namespace.name]).await?;
        let words: Vec<Vec<&str>> = columns.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[0], ["NAME", "STATUS", "ROWS", "DURATION", "RESULT", "AGE"], "{columns}");
        assert_eq!(words[1][..3], ["penguins", "Succeeded", "5"], "{columns}");
        assert_eq!(words[1][4], "configmap/penguins-result", "{columns}");

        let told = kubectl(&["explain", "aj.spec.sources"]).await?;
        assert!(told.contains("Each source becomes a table of its name"), "{told}");
        kubectl(&["wait", "aj/penguins", "--namespace", &namespace.name, "--for=condition=Complete"]).await?;
        Ok(())
    })
    .await
}

/// The means of the table against means that are computed here.
fn assert_means_are_right(result: &Table, data: &Table) {
    let mut groups: BTreeMap<(&str, &str), Vec<BTreeMap<&str, &str>>> = BTreeMap::new();
    for penguin in data.records() {
        groups.entry((penguin["species"], penguin["island"])).or_default().push(penguin);
    }
    let found: Vec<_> = result.records().map(|row| (row["species"], row["island"])).collect();
    assert_eq!(found, groups.keys().copied().collect::<Vec<_>>());
    for (row, penguins) in result.records().zip(groups.values()) {
        assert_eq!(row["penguins"], penguins.len().to_string());
        for (column, half_a_digit) in [
            ("bill_length_mm", 0.005),
            ("bill_depth_mm", 0.005),
            ("flipper_length_mm", 0.05),
            ("body_mass_g", 0.5),
        ] {
            let values: Vec<f64> =
                penguins.iter().filter_map(|penguin| penguin[column].parse().ok()).collect();
            let mean = values.iter().sum::<f64>() / f64::from(u32::try_from(values.len()).unwrap());
            let told: f64 = row[format!("mean_{column}").as_str()].parse().unwrap();
            assert!((told - mean).abs() <= half_a_digit + 1e-9, "{column} of {row:?} should be {mean}");
        }
    }
}

fn penguins() -> Result<Table> {
    let yaml = std::fs::read_to_string(repository("examples/penguins/data.yaml"))?;
    let map = Value::deserialize(serde_yaml_ng::Deserializer::from_str(&yaml))?;
    Table::parse(map["data"]["penguins.csv"].as_str().context("the data of the penguins")?)
}

#[tokio::test]
async fn penguins_are_described_column_by_column() -> Result<()> {
    with_namespace(async |namespace| {
        apply(namespace, "penguins-profile").await?;
        let job = namespace.wait_until_ended("penguins-profile").await?;
        assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        let text = namespace.text_of("penguins-profile-result", "result.jsonl").await?;
        let columns: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        assert_eq!(columns.len(), 8, "{text}");
        let of =
            |name: &str| columns.iter().find(|column| column["column"] == name).context("a column").cloned();
        let data = penguins()?;
        let masses: Vec<f64> =
            data.records().filter_map(|penguin| penguin["body_mass_g"].parse().ok()).collect();
        let mean = masses.iter().sum::<f64>() / f64::from(u32::try_from(masses.len())?);
        let mass = of("body_mass_g")?;
        assert_eq!((&mass["count"], &mass["nulls"]), (&Value::from(344), &Value::from(2)), "{mass}");
        assert_eq!(
            (&mass["minimum"], &mass["maximum"]),
            (&Value::from("2700"), &Value::from("6300")),
            "{mass}"
        );
        assert!((mass["mean"].as_f64().unwrap() - mean).abs() < 1e-6, "{mass}");
        assert_eq!(mass["histogram"].as_array().map(Vec::len), Some(10), "{mass}");
        let species = of("species")?;
        assert_eq!(species["distinct"], 3, "{species}");
        assert_eq!(species["top_values"][0]["value"], "Adelie", "{species}");
        assert_eq!(species["top_values"][0]["count"], 152, "{species}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn inline_data_give_a_result_in_the_status() -> Result<()> {
    with_namespace(async |namespace| {
        apply(namespace, "inline").await?;
        let job = namespace.wait_until_ended("inline").await?;
        let preview = Table::parse(outcome::preview(&job))?;
        assert!(preview.agrees_with(&Table::parse("customer,total\nAda,155.75\nGrace,80\n")?), "{preview:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn flights_are_loaded_joined_and_described() -> Result<()> {
    with_namespace(async |namespace| {
        let script = repository("examples/flights/load.sh");
        run(script.into_os_string(), &[&namespace.name], &[("IMAGE", &shell_image())]).await?;
        apply(namespace, "flights").await?;

        let job = namespace.wait_until_ended("flights-delays").await?;
        assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        let status = job.status.clone().context("a status")?;
        assert!(status.rows_read >= Some(336_776), "{status:?}");
        let delays = Table::parse(&namespace.text_of("flights-delays-result", "result.csv").await?)?;
        let flights: u32 = delays.records().map(|row| row["flights"].parse::<u32>().unwrap()).sum();
        let cancelled: u32 = delays.records().map(|row| row["cancelled"].parse::<u32>().unwrap()).sum();
        // As the documentation of the data set has them.
        assert_eq!((flights, cancelled), (336_776, 8_255));
        for chart in ["delay-by-airline-and-month", "delay-by-hour"] {
            assert_is_svg(&namespace.text_of("flights-delays-result", &format!("{chart}.svg")).await?);
        }

        let job = namespace.wait_until_ended("flights-profile").await?;
        assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        let output = job.status.clone().and_then(|status| status.output).context("an output")?;
        assert_eq!(output.location, "pvc/flights-data/profile");
        assert_eq!(
            output.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(),
            ["result.parquet"]
        );
        Ok(())
    })
    .await
}

#[test]
fn the_example_for_s3_is_one_that_the_rules_allow() -> Result<()> {
    let text = std::fs::read_to_string(repository("examples/s3/sales.yaml"))?;
    let object = Value::deserialize(serde_yaml_ng::Deserializer::from_str(&text))?;
    let rules = crds::rules::check_analysis_job_value(&object, None);
    ensure!(rules.is_ok(), "{rules:?}");
    let _: crds::AnalysisJob = serde_json::from_value(object)?;
    Ok(())
}

#[test]
fn the_example_for_production_is_one_that_the_rules_allow() -> Result<()> {
    let text = std::fs::read_to_string(repository("examples/platform/production.yaml"))?;
    let objects: Vec<Value> = serde_yaml_ng::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).map_err(anyhow::Error::from))
        .collect::<Result<_>>()?;
    let object = objects.into_iter().find(|object| object["kind"] == "Platform").context("a Platform")?;
    let rules = crds::rules::check_platform_value(&object, None);
    ensure!(rules.is_ok(), "{rules:?}");
    let _: crds::Platform = serde_json::from_value(object)?;
    Ok(())
}
