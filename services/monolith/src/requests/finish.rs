//! The end of a request: the answer in words, the last event, and the message
//! to whom is to be told, all of it or nothing.

use service_kit::database::now_milliseconds;
use service_kit::queue::{Job, NewJob};

use super::state::{Answer, RequestStatus, RequestView, TaskResult};
use super::store::{self, LAST_EVENT, SaveError, Stored};
use super::writer::{Material, Template, Writer as _};
use crate::gateway::Gateway;
use crate::{time, webhooks};

/// Ends a request, and with it the job of working on it, if there is one.
pub async fn finish(
    gateway: &Gateway,
    request: &mut Stored,
    status: RequestStatus,
    job: Option<&Job>,
) -> Result<(), SaveError> {
    let results = store::results(&gateway.database, &request.id).await?;
    request.status = status;
    request.ended_at = Some(now_milliseconds());
    request.state.answer = Some(answer(gateway, request, results).await);
    // Without the results, which may be large: who wants them asks for the request.
    let event = serde_json::json!(view(request, Vec::new())).to_string();
    let mut transaction = gateway.database.begin().await?;
    store::save(&mut transaction, request, (LAST_EVENT, event), &[]).await?;
    if request.webhook.is_some() {
        let job = NewJob::new(&request.id)?.max_attempts(webhooks::MOST_ATTEMPTS);
        gateway.requests.webhooks.enqueue(&mut transaction, &job).await?;
    }
    if let Some(job) = job {
        job.complete(&mut transaction).await?;
    }
    transaction.commit().await?;
    gateway.requests.changed(&request.id);
    gateway.counters.ended(status.as_str());
    tracing::info!(request = request.id, %status, "A request has ended.");
    Ok(())
}

async fn answer(gateway: &Gateway, request: &Stored, results: Vec<(String, TaskResult)>) -> Answer {
    let view = view(request, results);
    let material = Material { input: &view.input, status: view.status, tasks: &view.tasks };
    let writer = &gateway.requests.writer;
    match writer.write(&material).await {
        Ok(text) => Answer { text, writer: writer.name().to_owned() },
        Err(error) => {
            let error = service_kit::problem::chain(&error);
            tracing::warn!(%error, writer = writer.name(), "An answer was not written and is made from the template.");
            Answer { text: Template.text(&material), writer: Template.name().to_owned() }
        }
    }
}

/// A request as it is shown.
pub fn view(request: &Stored, results: Vec<(String, TaskResult)>) -> RequestView {
    let mut tasks = request.state.tasks.clone();
    for (name, result) in results {
        if let Some(task) = tasks.iter_mut().find(|task| task.name == name) {
            task.result = Some(result);
        }
    }
    let mut data = request.order.data.clone();
    for one in &mut data {
        one.inline = None;
    }
    RequestView {
        id: request.id.clone(),
        status: request.status,
        input: request.order.input.clone(),
        data,
        plan: request.state.plan.clone(),
        tasks,
        answer: request.state.answer.clone(),
        webhook: request.webhook.clone(),
        created_by: request.created_by.clone(),
        created_at: time::at(request.created_at),
        updated_at: time::at(request.updated_at),
        deadline_at: time::at(request.deadline_at),
        ended_at: request.ended_at.map(time::at),
    }
}
