//! Failures that may pass are tried again, and those that do not pass are told.

use ai_saas_platform_tests::specification::{csv_at, query, with};
use ai_saas_platform_tests::{HttpServer, Page, outcome, with_namespace};
use anyhow::Result;
use serde_json::json;

/// How often one pod asks before it gives up.
const REQUESTS_OF_A_POD: usize = 4;

#[tokio::test]
async fn a_source_that_comes_back_is_read_by_the_next_pod() -> Result<()> {
    with_namespace(async |namespace| {
        let page = Page::new("n\n1\n2\n").unavailable_at_first(REQUESTS_OF_A_POD);
        let server = HttpServer::start(&namespace.cluster, [("away", page)]).await?;
        let spec = query(csv_at("data", &server.url("away")), "SELECT sum(n) AS total FROM data");
        namespace.create_analysis("patient", spec).await?;
        namespace
            .wait_for_analysis("patient", "to fail once", |job| {
                job.status.as_ref().is_some_and(|status| status.failed_attempts == Some(1))
            })
            .await?;
        let job = namespace.wait_until_ended("patient").await?;
        assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        assert_eq!(outcome::preview(&job), "total\n3\n");
        assert_eq!(job.status.and_then(|status| status.failed_attempts), Some(1));
        assert_eq!(server.requests("away"), REQUESTS_OF_A_POD + 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_source_that_stumbles_is_asked_again_by_the_same_pod() -> Result<()> {
    with_namespace(async |namespace| {
        let page = Page::new("n\n1\n").unavailable_at_first(REQUESTS_OF_A_POD - 1);
        let server = HttpServer::start(&namespace.cluster, [("stumbling", page)]).await?;
        let spec = query(csv_at("data", &server.url("stumbling")), "SELECT n FROM data");
        let job = namespace.analyse_well("steady", with(spec, json!({ "backoffLimit": 0 }))).await?;
        assert_eq!(job.status.and_then(|status| status.failed_attempts), None);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_source_that_stays_away_is_told_after_the_last_try() -> Result<()> {
    with_namespace(async |namespace| {
        let page = Page::new("n\n1\n").unavailable_at_first(usize::MAX);
        let server = HttpServer::start(&namespace.cluster, [("away", page)]).await?;
        let url = server.url("away");
        let spec = |limit: i32| {
            with(query(csv_at("data", &url), "SELECT n FROM data"), json!({ "backoffLimit": limit }))
        };
        let told = format!("Source `data`: the server answered 503 Service Unavailable to `{url}`.");
        for (name, limit, expected) in
            [("once", 0, told.clone()), ("twice", 1, format!("{told} (failed 2 times)"))]
        {
            let job = namespace.analyse(name, spec(limit)).await?;
            assert_eq!(outcome::reason(&job), "SourceUnavailable", "{}", outcome::in_words(&job));
            assert_eq!(outcome::message(&job), expected);
            assert_eq!(job.status.and_then(|status| status.failed_attempts), Some(limit + 1));
        }
        Ok(())
    })
    .await
}
