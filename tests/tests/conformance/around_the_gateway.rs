//! Requests that do not come through the gateway. On a cluster whose network
//! plug-in enforces NetworkPolicies they would not even arrive; here the
//! service itself has to refuse them.

use ai_saas_platform_tests::front_door::cluster_ip;
use ai_saas_platform_tests::{FrontDoor, Namespace};
use anyhow::{Context as _, Result, ensure};
use crds::platform::configuration::audience;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;

use crate::{ANALYSIS_BASE, PLATFORM};

/// The shortest that there is, in seconds.
const TOKEN_LIFE: i64 = 600;

/// All but what the gateway itself says.
pub async fn is_refused(namespace: &Namespace, door: &FrontDoor) -> Result<()> {
    // Data sets are for pods of AnalysisJobs as well, whatever their account.
    let url = format!("http://{}/v1/analyses", cluster_ip(namespace, ANALYSIS_BASE).await?);
    let account = account_of_the_gateway(namespace).await?;
    let service = audience(ANALYSIS_BASE, &namespace.name);
    let other = audience("platform-other-service", &namespace.name);
    let of_the_gateway = token_of_the_gateway(namespace).await?;
    let callers = [
        ("no token", None, 401_u16),
        ("an API key", Some(door.key.clone()), 401),
        ("the gateway's token for another service", Some(token(namespace, &account, &[other]).await?), 401),
        ("the gateway's token for the API server", Some(token(namespace, &account, &[]).await?), 401),
        ("another account's token", Some(token(namespace, "default", &[service]).await?), 403),
        ("a token that was changed", Some(changed(&of_the_gateway)), 401),
        ("the gateway's own token", Some(of_the_gateway), 200),
    ];
    let http = reqwest::Client::new();
    for (caller, token, expected) in callers {
        // Whom the gateway speaks for is what only the gateway may say.
        let request = http.get(&url).header("aisaas-principal", "admin");
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let status = request.send().await?.status();
        ensure!(status == expected, "{caller}: expected {expected}, found {status}");
    }
    Ok(())
}

/// What the gateway shows to the service behind it.
pub async fn token_of_the_gateway(namespace: &Namespace) -> Result<String> {
    let account = account_of_the_gateway(namespace).await?;
    token(namespace, &account, &[audience(ANALYSIS_BASE, &namespace.name)]).await
}

async fn account_of_the_gateway(namespace: &Namespace) -> Result<String> {
    let deployment = namespace.api::<Deployment>().get(PLATFORM).await?;
    let pod = deployment.spec.and_then(|spec| spec.template.spec).context("a pod")?;
    pod.service_account_name.context("an account of its own")
}

async fn token(namespace: &Namespace, account: &str, audiences: &[String]) -> Result<String> {
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: audiences.to_vec(),
            expiration_seconds: Some(TOKEN_LIFE),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let accounts = namespace.api::<ServiceAccount>();
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
    Ok(answer.status.context("a token")?.token)
}

/// The same, signed by nobody.
fn changed(token: &str) -> String {
    let (rest, signature) = token.rsplit_once('.').unwrap_or((token, ""));
    format!("{rest}.{}", signature.chars().rev().collect::<String>())
}
