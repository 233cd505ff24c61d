//! The end of a request: the answer in words, the last event, and the message
//! to whom is to be told, all of it or nothing.

use jiff::Timestamp;
use serde_json::Value;
use service_kit::database::now_milliseconds;
use service_kit::queue::{Job, NewJob};

use super::state::{Answer, RequestStatus, RequestView, State, TaskResult, TaskStatus};
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
    let reached = request.status;
    request.status = status;
    request.ended_at = Some(now_milliseconds());
    request.state.answer = Some(answer(gateway, request, reached, results).await);
    // Without the results, which may be large: who wants them asks for the request.
    let event = store::encoded(&view(request, Vec::new()))?;
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

/// Says of each task that has not ended what the end of the request is to it: a
/// failure with this problem, or that it is cancelled. Gives the status that
/// the request has by that.
pub fn break_off(state: &mut State, problem: Option<&Value>) -> RequestStatus {
    for task in state.tasks.iter_mut().filter(|task| !task.status.is_final()) {
        task.ended_at = Some(Timestamp::now());
        task.status = if problem.is_some() { TaskStatus::Failed } else { TaskStatus::Cancelled };
        task.problem = problem.cloned();
    }
    if problem.is_some() { state.outcome() } else { RequestStatus::Cancelled }
}

async fn answer(
    gateway: &Gateway,
    request: &Stored,
    reached: RequestStatus,
    results: Vec<(String, TaskResult)>,
) -> Answer {
    let view = view(request, results);
    let caveats = view.plan.as_ref().map_or(&[][..], |plan| plan.caveats.as_slice());
    let material = Material { input: &view.input, status: view.status, reached, caveats, tasks: &view.tasks };
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state() -> State {
        let tasks = json!([
            { "name": "done", "status": "succeeded" },
            { "name": "begun", "status": "running" },
            { "name": "waits", "status": "pending" },
        ]);
        State { tasks: serde_json::from_value(tasks).unwrap(), ..State::default() }
    }

    #[test]
    fn what_was_not_done_in_time_has_failed_for_that() {
        let mut state = state();
        let problem = json!({ "title": "Timed out" });
        assert_eq!(break_off(&mut state, Some(&problem)), RequestStatus::Partial);
        assert_eq!((state.tasks[0].status, &state.tasks[0].problem), (TaskStatus::Succeeded, &None));
        for task in &state.tasks[1..] {
            assert_eq!((task.status, task.problem.as_ref()), (TaskStatus::Failed, Some(&problem)));
            assert!(task.ended_at.is_some());
        }
    }

    #[test]
    fn what_was_cancelled_is_no_failure() {
        let mut state = state();
        assert_eq!(break_off(&mut state, None), RequestStatus::Cancelled);
        let statuses: Vec<TaskStatus> = state.tasks.iter().map(|task| task.status).collect();
        assert_eq!(statuses, [TaskStatus::Succeeded, TaskStatus::Cancelled, TaskStatus::Cancelled]);
        assert!(state.tasks.iter().all(|task| task.problem.is_none()));
    }
}
