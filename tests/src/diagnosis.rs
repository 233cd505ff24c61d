//! All that there is to know about a namespace in which a test failed.

use std::fmt::{Debug, Write as _};

use crds::{AnalysisJob, Platform};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{ListParams, LogParams};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Namespace, Operator};

/// How many lines of a log are worth reading.
const LOG_LINES: i64 = 40;
/// Of more objects than this, those that ended well are left out.
const MANY: usize = 12;

/// Describes what is in a namespace. What cannot be read is said instead.
pub async fn of(namespace: &Namespace) -> String {
    let mut text = String::new();
    describe::<AnalysisJob>(namespace, &mut text).await;
    describe::<Platform>(namespace, &mut text).await;
    describe::<Job>(namespace, &mut text).await;
    describe_pods(namespace, &mut text).await;
    describe_events(namespace, &mut text).await;
    let log = match Operator::of(&namespace.cluster).log(Some(LOG_LINES)).await {
        Ok(log) => log,
        Err(error) => format!("cannot be read: {error:#}"),
    };
    section(&mut text, "log of the operator", &log);
    text
}

async fn describe<K>(namespace: &Namespace, text: &mut String)
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize,
{
    let objects = match namespace.api::<K>().list(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(error) => return section(text, &K::plural(&()), &error.to_string()),
    };
    for object in objects.iter().take(MANY) {
        let status = serde_json::to_value(object)
            .ok()
            .and_then(|value| serde_yaml_ng::to_string(&value["status"]).ok())
            .unwrap_or_default();
        section(text, &format!("status of {} {}", K::kind(&()), object.name_any()), &status);
    }
    if objects.len() > MANY {
        section(text, &format!("and {} more {}", objects.len() - MANY, K::plural(&())), "");
    }
}

async fn describe_pods(namespace: &Namespace, text: &mut String) {
    let pods: Api<Pod> = namespace.api();
    let list = match pods.list(&ListParams::default()).await {
        Ok(list) => list,
        Err(error) => return section(text, "pods", &error.to_string()),
    };
    for pod in list.items.iter().take(MANY) {
        let name = pod.name_any();
        let status = serde_json::to_value(&pod.status).ok();
        let states =
            status.map(|status| status["containerStatuses"][0]["state"].to_string()).unwrap_or_default();
        let parameters = LogParams { tail_lines: Some(LOG_LINES), ..LogParams::default() };
        let log = pods.logs(&name, &parameters).await.unwrap_or_else(|error| format!("no log: {error}"));
        section(text, &format!("pod {name} is {states}"), &log);
    }
}

async fn describe_events(namespace: &Namespace, text: &mut String) {
    let events = match namespace.api::<Event>().list(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(error) => return section(text, "events", &error.to_string()),
    };
    let mut lines = String::new();
    for event in &events {
        // Writing to a String cannot fail.
        let _ = writeln!(
            lines,
            "{} {} {}: {}",
            event.involved_object.kind.as_deref().unwrap_or_default(),
            event.involved_object.name.as_deref().unwrap_or_default(),
            event.reason.as_deref().unwrap_or_default(),
            event.message.as_deref().unwrap_or_default(),
        );
    }
    section(text, "events", &lines);
}

fn section(text: &mut String, title: &str, body: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "--- {title}\n{}", body.trim_end());
}
