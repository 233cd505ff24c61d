//! AnalysisJobs, seen through the gateway.

use ai_saas_platform_tests::command::{kubectl, repository_argument};
use ai_saas_platform_tests::specification::{inline_csv, query, with};
use ai_saas_platform_tests::{FrontDoor, Namespace, outcome, with_namespace};
use anyhow::{Context as _, Result};
use k8s_openapi::api::authorization::v1::LocalSubjectAccessReview;
use reqwest::{Method, Response};
use serde_json::{Value, json};

async fn apply(namespace: &Namespace, path: &str) -> Result<()> {
    let file = repository_argument(path);
    kubectl(&["apply", "--namespace", &namespace.name, "--filename", &file]).await.map(drop)
}

/// What is given as a media type.
async fn given_as(door: &FrontDoor, path: &str, media_type: &str) -> Result<Response> {
    let response = door.request(Method::GET, path).header("accept", media_type).send().await?;
    assert_eq!(response.status(), 200, "{path}");
    assert_eq!(response.headers()["content-type"], media_type, "{path}");
    Ok(response)
}

#[tokio::test]
async fn an_analysis_job_and_its_result_are_seen_through_the_gateway() -> Result<()> {
    with_namespace(async |namespace| {
        apply(namespace, "examples/platform/platform.yaml").await?;
        apply(namespace, "examples/penguins/").await?;
        namespace.create_claim("results").await?;
        let on_a_claim = json!({ "output": {
            "format": "csv", "persistentVolumeClaim": { "claimName": "results", "path": "numbers" },
        } });
        let numbers = with(query(inline_csv("data", "n\n1\n"), "SELECT n FROM data"), on_a_claim);
        namespace.create_analysis("numbers", numbers).await?;
        for name in ["penguins", "numbers"] {
            let job = namespace.wait_until_ended(name).await?;
            assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        }
        let door = FrontDoor::of(namespace, "platform").await?;

        let list = door.json(door.request(Method::GET, "/v1/analysis-jobs?status=succeeded")).await?;
        let names: Vec<&Value> =
            list["items"].as_array().into_iter().flatten().map(|job| &job["name"]).collect();
        assert_eq!(names, ["numbers", "penguins"]);
        let first = door.json(door.request(Method::GET, "/v1/analysis-jobs?limit=1")).await?;
        let cursor = first["nextCursor"].as_str().context("a cursor")?;
        let next =
            door.request(Method::GET, "/v1/analysis-jobs").query(&[("limit", "1"), ("cursor", cursor)]);
        assert_eq!(door.json(next).await?["items"][0]["name"], "penguins");

        let job = door.json(door.request(Method::GET, "/v1/analysis-jobs/penguins")).await?;
        assert_eq!(job["status"], "succeeded", "{job}");
        assert_eq!(job["rowsWritten"], 5);
        assert_eq!(job["output"]["location"], "configmap/penguins-result");
        assert!(job["preview"].as_str().is_some_and(|preview| preview.starts_with("species,island,")));
        assert!(job["peakMemoryBytes"].as_i64().is_some_and(|bytes| bytes > 0));

        let result = job["output"]["result"].as_str().context("an address")?;
        let page = door.json(door.request(Method::GET, &format!("{result}?offset=4"))).await?;
        assert_eq!((&page["total"], &page["rows"][0]["species"]), (&json!(5), &json!("Gentoo")));
        assert_eq!(page["rows"][0]["penguins"], 124);
        let text = given_as(&door, result, "text/csv").await?.text().await?;
        assert_eq!(text, namespace.text_of("penguins-result", "result.csv").await?);
        given_as(&door, result, "application/vnd.apache.parquet").await?;

        let chart = job["charts"][0]["url"].as_str().context("a chart")?;
        assert_eq!(chart, "/v1/analysis-jobs/penguins/charts/islands");
        let svg = given_as(&door, chart, "image/svg+xml").await?.text().await?;
        assert_eq!(svg, namespace.text_of("penguins-result", "islands.svg").await?);
        given_as(&door, chart, "application/vnd.vegalite.v6+json").await?;

        let elsewhere = door.request(Method::GET, "/v1/analysis-jobs/numbers/result").send().await?;
        assert_eq!(elsewhere.status(), 409);
        let problem: Value = serde_json::from_str(&elsewhere.text().await?)?;
        assert_eq!(problem["location"], "pvc/results/numbers", "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("`results`")), "{problem}");

        let missing = door.request(Method::GET, "/v1/analysis-jobs/emperor").send().await?;
        assert_eq!(missing.status(), 404);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn only_who_may_see_analyses_sees_them_and_the_service_sees_nothing_else() -> Result<()> {
    with_namespace(async |namespace| {
        apply(namespace, "examples/platform/platform.yaml").await?;
        let door = FrontDoor::of(namespace, "platform").await?;
        for (name, scope, expected) in [("reader", "analyses:read", 200), ("other", "datasets:read", 403)] {
            let made = door.json(door.post("/v1/keys", &json!({ "name": name, "scopes": [scope] }))).await?;
            let key = made["key"].as_str().context("a key")?;
            let url = format!("{}/v1/analysis-jobs", door.url);
            let response = reqwest::Client::new().get(url).bearer_auth(key).send().await?;
            assert_eq!(response.status(), expected, "{name}");
        }

        // A Role for two kinds of objects, and nothing beyond it.
        let allowed = [
            ("get", "aisaas.dev", "analysisjobs"),
            ("list", "aisaas.dev", "analysisjobs"),
            ("get", "", "configmaps"),
        ];
        for (verb, group, resource) in [
            ("get", "aisaas.dev", "analysisjobs"),
            ("list", "aisaas.dev", "analysisjobs"),
            ("watch", "aisaas.dev", "analysisjobs"),
            ("delete", "aisaas.dev", "analysisjobs"),
            ("get", "", "configmaps"),
            ("list", "", "configmaps"),
            ("get", "", "secrets"),
            ("get", "", "pods"),
        ] {
            let is_allowed = may(namespace, verb, group, resource).await?;
            assert_eq!(is_allowed, allowed.contains(&(verb, group, resource)), "{verb} {resource}");
        }
        Ok(())
    })
    .await
}

/// Whether the account of analysis-base may do something.
async fn may(namespace: &Namespace, verb: &str, group: &str, resource: &str) -> Result<bool> {
    let namespace_name = namespace.name.as_str();
    let review: LocalSubjectAccessReview = serde_json::from_value(json!({
        "metadata": { "namespace": namespace_name },
        "spec": {
            "user": format!("system:serviceaccount:{namespace_name}:platform-analysis-base"),
            "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace_name}"), "system:authenticated"],
            "resourceAttributes": {
                "namespace": namespace_name, "verb": verb, "group": group, "resource": resource,
            },
        },
    }))?;
    let answer = namespace.create_object(&review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
