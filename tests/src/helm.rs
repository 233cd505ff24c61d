//! The charts, and the releases of them that are on the cluster.

use anyhow::{Context as _, Result};
use serde::Deserialize as _;
use serde_json::Value;

use crate::cluster::RELEASE;
use crate::command::{helm, repository_argument};

/// A release of a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The folder of its chart.
    chart: String,
    /// The values that were set, as YAML.
    values: String,
}

impl Release {
    /// The release of the operator.
    ///
    /// # Errors
    /// If there is none.
    pub async fn operator() -> Result<Self> {
        Self::of_chart("ai-saas-platform").await
    }

    /// The release of the custom resource definitions.
    ///
    /// # Errors
    /// If there is none.
    pub async fn definitions() -> Result<Self> {
        Self::of_chart("ai-saas-platform-crds").await
    }

    async fn of_chart(chart: &str) -> Result<Self> {
        let list = helm(&["list", "--all-namespaces", "--output", "json"]).await?;
        let list: Vec<Value> = serde_json::from_str(&list).context("the list of releases")?;
        let text = |release: &Value, field: &str| release[field].as_str().unwrap_or_default().to_owned();
        let release = list
            .iter()
            // The field has the name and the version of the chart.
            .find(|release| text(release, "chart").rsplit_once('-').is_some_and(|(name, _)| name == chart))
            .with_context(|| format!("there is no release of the chart `{chart}`"))?;
        let (name, namespace) = (text(release, "name"), text(release, "namespace"));
        let values = helm(&["get", "values", &name, "--namespace", &namespace, "--output", "yaml"]).await?;
        Ok(Self { name, namespace, chart: repository_argument(&format!("charts/{chart}")), values })
    }

    /// Installs it, or upgrades it, with the values that it had and further
    /// settings.
    ///
    /// # Errors
    /// If Helm says so.
    pub async fn install(&self, settings: &[&str]) -> Result<()> {
        let file = std::env::temp_dir().join(format!("{}-{}-values.yaml", self.name, std::process::id()));
        std::fs::write(&file, &self.values).context("writing the values of the release")?;
        let path = file.to_string_lossy().into_owned();
        let mut arguments =
            vec!["upgrade", "--install", &self.name, &self.chart, "--namespace", &self.namespace];
        arguments.extend(["--create-namespace", "--values", &path, "--wait", "--timeout", "3m"]);
        for setting in settings {
            arguments.extend(["--set", setting]);
        }
        let installed = helm(&arguments).await;
        std::fs::remove_file(&file).context("removing the values of the release")?;
        installed.map(drop)
    }

    /// Uninstalls it.
    ///
    /// # Errors
    /// If Helm says so.
    pub async fn uninstall(&self) -> Result<()> {
        helm(&["uninstall", &self.name, "--namespace", &self.namespace, "--wait"]).await.map(drop)
    }
}

/// The objects that the chart of the operator becomes with these settings.
///
/// # Errors
/// If Helm says so.
pub async fn rendered(settings: &[&str]) -> Result<Vec<Value>> {
    let chart = repository_argument("charts/ai-saas-platform");
    let mut arguments = vec!["template", RELEASE, &chart, "--namespace", RELEASE];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    let text = helm(&arguments).await?;
    let documents = serde_yaml_ng::Deserializer::from_str(&text).map(Value::deserialize);
    let objects: Vec<Value> = documents.collect::<Result<_, _>>().context("the rendered chart")?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}
