//! A gateway that is killed with requests in flight, and with others that it
//! has accepted.

use std::collections::BTreeSet;

use ai_saas_platform_tests::{EventStream, FrontDoor, HttpServer, Page, WebhookReceiver, with_namespace};
use anyhow::{Context as _, Result, ensure};
use reqwest::RequestBuilder;
use serde_json::Value;

use super::{eventually, has_summed, id_of, sum_of, with_private_addresses};

/// Requests that were answered with 202: more than are worked on at once.
const PENDING: usize = 12;
/// Requests whose clients wait for the answer.
const IN_FLIGHT: usize = 4;

fn in_flight(door: &FrontDoor, order: &Value, index: usize) -> RequestBuilder {
    door.post("/v1/requests", order).header("idempotency-key", format!("in-flight-{index}"))
}

/// The answer, if there is a whole one: a connection that is broken off gives
/// none, and half an answer is an error.
async fn whole_or_none(request: RequestBuilder) -> Result<Option<Value>> {
    let Ok(response) = request.send().await else { return Ok(None) };
    let status = response.status();
    let Ok(text) = response.text().await else { return Ok(None) };
    ensure!(status.is_success() || status == 503, "{status}: {text}");
    let answer = serde_json::from_str(&text).with_context(|| format!("half an answer, as if whole: {text}"));
    answer.map(Some)
}

#[tokio::test]
async fn what_a_killed_gateway_has_accepted_is_done_and_told_once() -> Result<()> {
    with_namespace(async |namespace| {
        let numbers = [("numbers.csv", Page::new("n\n1\n2\n").held())];
        let site = HttpServer::start(&namespace.cluster, numbers).await?;
        let mut receiver = WebhookReceiver::closed(&namespace.cluster).await?;
        receiver.open(0).await?;
        let door = FrontDoor::serve(namespace, "platform", with_private_addresses()).await?;
        let mut order = sum_of(&site.url("numbers.csv"));
        order["webhook"] = receiver.webhook();

        let mut ids = BTreeSet::new();
        let mut first = None;
        for _ in 0..PENDING {
            let accepted = door.post("/v1/requests", &order).header("prefer", "respond-async");
            let id = id_of(&door.json(accepted).await?)?;
            first.get_or_insert_with(|| id.clone());
            ids.insert(id);
        }
        let first = first.context("the first request")?;
        let waiting: Vec<_> = (0..IN_FLIGHT)
            .map(|index| {
                let request = in_flight(&door, &order, index).header("prefer", "wait=25");
                tokio::spawn(whole_or_none(request))
            })
            .collect();
        let all = PENDING + IN_FLIGHT;
        eventually("all requests are accepted", async || Ok(door.items("/v1/requests").await?.len() == all))
            .await?;
        let mut stream = EventStream::follow(&door, &first, None).await?;
        let mut events: Vec<(i64, String)> = Vec::new();
        while events.last().is_none_or(|(_, name)| name != "task") {
            let event = stream.next().await?.context("the events end before a task begins")?;
            events.push((event.id, event.name));
        }

        namespace.kill_pods_of("platform", "monolith").await?;
        for answer in waiting {
            answer.await??;
        }
        // It breaks off, or says what came before.
        while let Ok(Some(event)) = stream.next().await {
            events.push((event.id, event.name));
        }
        // Who got no answer asks again, by the same key.
        for index in 0..IN_FLIGHT {
            let again = || in_flight(&door, &order, index).header("prefer", "respond-async");
            ids.insert(id_of(&door.patiently(again).await?)?);
        }
        let last = events.last().map(|(id, _)| *id);
        let mut stream = EventStream::follow(&door, &first, last).await?;
        site.release();
        events.extend(stream.rest().await?.into_iter().map(|event| (event.id, event.name)));
        let whole = EventStream::follow(&door, &first, None).await?.rest().await?;
        let whole: Vec<(i64, String)> = whole.into_iter().map(|event| (event.id, event.name)).collect();
        assert_eq!(events, whole, "what was followed in two parts is all of it");
        assert_eq!(whole.last().map(|(_, name)| name.as_str()), Some("completed"));

        for id in &ids {
            let request = door.ended(&format!("/v1/requests/{id}")).await?;
            assert!(has_summed(&request), "{request}");
        }
        assert_eq!(ids.len(), all);
        assert_eq!(door.items("/v1/requests").await?.len(), all);
        let analyses = door.items("/v1/analyses").await?;
        assert_eq!(analyses.len(), all, "analyses: {analyses:?}");
        assert!(analyses.iter().all(|analysis| analysis["status"] == "succeeded"), "{analyses:?}");

        eventually("all are told of", async || Ok(receiver.messages_by_id()?.len() >= all)).await?;
        let told: BTreeSet<String> = receiver.messages_by_id()?.into_keys().collect();
        let expected: BTreeSet<String> = ids.iter().map(|id| format!("msg_{id}")).collect();
        assert_eq!(told, expected);
        receiver.verify().await
    })
    .await
}
