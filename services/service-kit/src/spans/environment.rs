//! What the environment says of the export: the variables of OpenTelemetry
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).
//! Those that are not here are read by the SDK and by the exporter: the
//! headers, the sampler, the bounds of batches and of spans.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use url::Url;

use super::ExportError;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// In milliseconds.
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const COMPRESSIONS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];
/// What the specification says if nobody says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where spans are sent.
#[derive(Debug)]
pub(super) struct Destination {
    /// The whole address.
    pub(super) endpoint: Url,
    /// How long sending a batch may take.
    pub(super) timeout: Duration,
}

impl Destination {
    /// The address without what may be secret in it.
    pub(super) fn shown(&self) -> String {
        format!("{}{}", self.endpoint.origin().ascii_serialization(), self.endpoint.path())
    }
}

/// Where to send spans, if anywhere. `variable` looks up one of the environment.
///
/// # Errors
/// If that cannot be used, or asks for a way of sending that there is not.
pub(super) fn destination(
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<Option<Destination>, ExportError> {
    // The specification: what is empty is as good as not there.
    let value =
        |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    if value("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let wrong = |name, problem| Err(ExportError::Variable { name, problem });
    let (name, address) = match (value(TRACES_ENDPOINT), value(ENDPOINT)) {
        (Some(address), _) => (TRACES_ENDPOINT, address),
        (None, Some(base)) => (ENDPOINT, format!("{}/v1/traces", base.trim_end_matches('/'))),
        (None, None) => return Ok(None),
    };
    match value("OTEL_TRACES_EXPORTER").as_deref() {
        None | Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(other) => {
            return wrong("OTEL_TRACES_EXPORTER", format!("there are `otlp` and `none`, and no `{other}`"));
        }
    }
    let first = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, value(name)?)));
    if let Some((name, protocol)) = first(PROTOCOLS)
        && protocol != "http/protobuf"
    {
        return wrong(name, format!("spans are sent by `http/protobuf` only, and not by `{protocol}`"));
    }
    if let Some((name, compression)) = first(COMPRESSIONS)
        && compression != "none"
    {
        return wrong(name, format!("spans are sent as they are, and not by `{compression}`"));
    }
    let endpoint = match Url::parse(&address) {
        Ok(endpoint) if matches!(endpoint.scheme(), "http" | "https") && endpoint.has_host() => endpoint,
        Ok(_) => return wrong(name, "it has to begin with `http://` or `https://` and a host".to_owned()),
        Err(error) => return wrong(name, format!("it is no URL: {error}")),
    };
    let timeout = first(TIMEOUTS).map_or(DEFAULT_TIMEOUT, |(name, value)| {
        value.parse().map(Duration::from_millis).unwrap_or_else(|_| {
            tracing::warn!(
                name,
                value,
                "The environment variable is no number of milliseconds, and is ignored."
            );
            DEFAULT_TIMEOUT
        })
    });
    Ok(Some(Destination { endpoint, timeout }))
}

/// Says so if the sampler is not what it was meant to be: the SDK has one of its own then.
pub(super) fn check_sampler(variable: &impl Fn(&str) -> Option<String>) {
    let Some(sampler) = variable("OTEL_TRACES_SAMPLER").filter(|sampler| !sampler.is_empty()) else { return };
    if !SAMPLERS.contains(&sampler.as_str()) {
        tracing::warn!(
            sampler,
            "OTEL_TRACES_SAMPLER names no sampler that is there; it is as if it was parentbased_always_on."
        );
    }
    let ratio = variable("OTEL_TRACES_SAMPLER_ARG").and_then(|ratio| ratio.parse::<f64>().ok());
    if sampler.ends_with("traceidratio") && !ratio.is_some_and(|ratio| (0.0..=1.0).contains(&ratio)) {
        tracing::warn!(sampler, "OTEL_TRACES_SAMPLER_ARG is no number from 0 to 1.");
    }
}

/// What the spans are said to come from.
pub(super) fn resource(
    variable: &impl Fn(&str) -> Option<String>,
    service: &'static str,
    version: &'static str,
) -> Resource {
    let given = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let is_given = |name: &str| {
        given.split(',').any(|pair| pair.split_once('=').is_some_and(|(given, _)| given.trim() == name))
    };
    let mut resource = Resource::builder();
    // Of the two that may give the name, the SDK has the other one prevail.
    match variable("OTEL_SERVICE_NAME").filter(|name| !name.is_empty()) {
        Some(name) => resource = resource.with_service_name(name),
        None if is_given("service.name") => {}
        None => resource = resource.with_service_name(service),
    }
    if !is_given("service.version") {
        resource = resource.with_attribute(KeyValue::new("service.version", version));
    }
    resource.build()
}

#[cfg(test)]
mod tests {
    use opentelemetry::Key;

    use super::*;

    fn look_up(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        move |name| variables.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())
    }

    fn endpoint(variables: &[(&str, &str)]) -> Option<String> {
        let destination = destination(&look_up(variables)).unwrap_or_else(|error| panic!("{error}"));
        destination.map(|destination| destination.endpoint.to_string())
    }

    #[test]
    fn spans_are_sent_where_the_environment_says() {
        let base = (ENDPOINT, "http://collector:4318/");
        let own = (TRACES_ENDPOINT, "https://example.com/otlp?key=1");
        assert_eq!(endpoint(&[base]).as_deref(), Some("http://collector:4318/v1/traces"));
        assert_eq!(endpoint(&[(ENDPOINT, "http://c:1/x")]).as_deref(), Some("http://c:1/x/v1/traces"));
        assert_eq!(endpoint(&[base, own]).as_deref(), Some("https://example.com/otlp?key=1"));
        assert_eq!(
            endpoint(&[base, (TRACES_ENDPOINT, "")]).as_deref(),
            Some("http://collector:4318/v1/traces")
        );
        assert_eq!(
            endpoint(&[base, (PROTOCOLS[1], "http/protobuf"), ("OTEL_TRACES_EXPORTER", "otlp")]),
            endpoint(&[base])
        );
    }

    #[test]
    fn spans_are_not_sent_if_nobody_says_where_to_or_somebody_says_not_to() {
        let base = (ENDPOINT, "http://collector:4318");
        assert_eq!(endpoint(&[]), None);
        assert_eq!(endpoint(&[(ENDPOINT, " ")]), None);
        assert_eq!(endpoint(&[base, ("OTEL_SDK_DISABLED", "True")]), None);
        assert_eq!(endpoint(&[base, ("OTEL_TRACES_EXPORTER", "none")]), None);
    }

    #[test]
    fn what_cannot_be_done_is_told_by_the_name_of_the_variable() {
        let base = (ENDPOINT, "http://collector:4318");
        for variables in [
            vec![base, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            vec![base, ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json")],
            vec![base, ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")],
            vec![base, ("OTEL_TRACES_EXPORTER", "console")],
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")],
            vec![base, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "nowhere")],
        ] {
            let (name, _) = variables[variables.len() - 1];
            let error = destination(&look_up(&variables)).expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn what_may_be_secret_of_an_address_is_not_shown() {
        let variables = [(TRACES_ENDPOINT, "https://user:secret@example.com/v1/traces?key=secret")];
        let destination = destination(&look_up(&variables)).expect("variables").expect("destination");
        assert_eq!(destination.shown(), "https://example.com/v1/traces");
    }

    #[test]
    fn a_batch_has_the_time_that_the_environment_says() {
        let timeout = |variables: &[(&str, &str)]| {
            let mut all = vec![(ENDPOINT, "http://collector:4318")];
            all.extend_from_slice(variables);
            destination(&look_up(&all)).expect("variables").expect("destination").timeout
        };
        assert_eq!(timeout(&[]), DEFAULT_TIMEOUT);
        assert_eq!(timeout(&[(TIMEOUTS[1], "250")]), Duration::from_millis(250));
        assert_eq!(timeout(&[(TIMEOUTS[1], "250"), (TIMEOUTS[0], "500")]), Duration::from_millis(500));
        assert_eq!(timeout(&[(TIMEOUTS[1], "soon")]), DEFAULT_TIMEOUT);
    }

    #[test]
    fn a_service_has_its_own_name_unless_the_environment_has_another() {
        let named = |variables: &[(&str, &str)]| {
            let resource = resource(&look_up(variables), "monolith", "1.2.3");
            resource.get(&Key::from_static_str("service.name")).map(|name| name.to_string())
        };
        assert_eq!(named(&[]).as_deref(), Some("monolith"));
        assert_eq!(named(&[("OTEL_SERVICE_NAME", "gateway")]).as_deref(), Some("gateway"));
        // The SDK reads the attributes from the environment itself.
        let given = ("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name=front");
        assert_ne!(named(&[given]).as_deref(), Some("monolith"));
        assert_eq!(named(&[given, ("OTEL_SERVICE_NAME", "gateway")]).as_deref(), Some("gateway"));
    }
}
