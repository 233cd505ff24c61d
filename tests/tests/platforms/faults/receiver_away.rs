//! A receiver of webhooks that is away, then fails, and then is there.

use ai_saas_platform_tests::{FrontDoor, WebhookReceiver, with_namespace};
use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::{Value, json};

use super::{eventually, id_of, with_private_addresses};

#[tokio::test]
async fn a_message_comes_when_its_receiver_is_back_and_is_the_same_each_time() -> Result<()> {
    with_namespace(async |namespace| {
        let mut receiver = WebhookReceiver::closed(&namespace.cluster).await?;
        let door = FrontDoor::serve(namespace, "platform", with_private_addresses()).await?;
        let order = json!({
            "input": "How many rows are there?",
            "data": [{ "name": "data", "inline": "n\n1\n2\n", "format": "csv" }],
            "tasks": [{ "name": "count", "analysis": { "sql": "SELECT count(*) AS n FROM data" } }],
            "webhook": receiver.webhook(),
        });
        let id = id_of(&door.json(door.post("/v1/requests", &order)).await?)?;
        let path = format!("/v1/requests/{id}");
        let webhook = async || -> Result<Value> {
            Ok(door.json(door.request(Method::GET, &path)).await?["webhook"].take())
        };
        eventually("it was tried", async || Ok(webhook().await?["attempts"].as_u64() >= Some(1))).await?;
        let state = webhook().await?;
        assert_eq!(state["status"], "pending", "{state}");
        assert_eq!(state["error"], "the receiver cannot be reached", "{state}");

        receiver.open(1).await?;
        eventually("it has arrived", async || Ok(webhook().await?["status"] == "delivered")).await?;
        assert!(webhook().await?["attempts"].as_u64() >= Some(3));
        assert_eq!(receiver.messages().len(), 2, "one that failed and one that did not");
        let messages = receiver.messages_by_id()?;
        let (message, body) = messages.first_key_value().context("a message")?;
        assert_eq!((messages.len(), message), (1, &format!("msg_{id}")));
        let event: Value = serde_json::from_str(body)?;
        assert_eq!(event["data"]["status"], "succeeded", "{event}");
        receiver.verify().await
    })
    .await
}
