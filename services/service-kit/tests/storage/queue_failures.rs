//! Queues when something goes wrong.

use std::future::{Pending, pending};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use service_kit::queue::{Job, JobFailure, Queue, QueueError, QueueSettings, WorkerSettings};
use tokio::sync::Notify;

use crate::place::{Place, eventually};
use crate::queues::{Working, job, queue, quick, unfinished};

on_both!(
    a_job_of_a_dead_worker_is_taken_over_and_fenced,
    a_job_that_kills_its_workers_dies_itself,
    a_job_that_fails_is_tried_again_and_dies_in_the_end,
    a_job_that_cannot_succeed_dies_at_once,
    a_panic_is_a_failure,
    a_failure_can_say_when_to_try_again,
    what_runs_at_the_end_is_finished_or_given_back,
    the_key_of_a_dead_job_is_free_after_a_while,
);

/// A handler that hands out its jobs and never ends.
fn hanging(
    seen: &Arc<Mutex<Vec<Job>>>,
) -> impl Fn(Job) -> Pending<Result<(), JobFailure>> + Send + Sync + use<> {
    let seen = Arc::clone(seen);
    move |job: Job| {
        seen.lock().expect("seen").push(job);
        pending()
    }
}

fn attempts(seen: &Mutex<Vec<Job>>) -> Vec<u32> {
    seen.lock().expect("seen").iter().map(|job| job.attempt).collect()
}

async fn is_dead(queue: &Queue) -> bool {
    queue.depth().await.expect("depth").dead == 1 && unfinished(queue).await == 0
}

async fn a_job_of_a_dead_worker_is_taken_over_and_fenced(place: Place) {
    let database = place.open().await;
    let queue = queue(&database);
    queue.enqueue_alone(&job(1)).await.expect("enqueue");
    let settings = WorkerSettings { lease: Duration::from_secs(2), ..quick() };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let first = Working::start(&queue, settings, hanging(&seen));
    eventually("the first one has it", async || attempts(&seen) == [1]).await;
    first.die();

    let finish = Arc::new(Notify::new());
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (for_handler, told) = (Arc::clone(&taken), Arc::clone(&finish));
    let second = Working::start(&queue, settings, move |job| {
        for_handler.lock().expect("taken").push(job);
        let told = Arc::clone(&told);
        async move {
            told.notified().await;
            Ok(())
        }
    });
    eventually("the second one has it", async || attempts(&taken) == [2]).await;

    // The first one was not dead, only slow: what it did must not be kept.
    let stale = seen.lock().expect("seen")[0].clone();
    let mut transaction = database.begin().await.expect("begin");
    let error = stale.complete(&mut transaction).await.expect_err("the lease is another one's");
    assert!(matches!(error, QueueError::LeaseLost { .. }), "{error:?}");
    drop(transaction);
    assert_eq!(unfinished(&queue).await, 1);

    finish.notify_one();
    eventually("the second one completes it", async || unfinished(&queue).await == 0).await;
    second.stop().await;
    assert_eq!(queue.depth().await.expect("depth").dead, 0);
}

async fn a_job_that_kills_its_workers_dies_itself(place: Place) {
    let database = place.open().await;
    let queue = queue(&database);
    queue.enqueue_alone(&job(1).max_attempts(2)).await.expect("enqueue");
    let settings = WorkerSettings { lease: Duration::from_millis(600), ..quick() };
    let seen = Arc::new(Mutex::new(Vec::new()));
    for expected in [vec![1], vec![1, 2]] {
        let worker = Working::start(&queue, settings, hanging(&seen));
        eventually("it is begun", async || attempts(&seen) == expected).await;
        worker.die();
    }
    let worker = Working::start(&queue, settings, hanging(&seen));
    eventually("it is dead", async || is_dead(&queue).await).await;
    worker.stop().await;
    assert_eq!(attempts(&seen), [1, 2]);
    let dead = queue.dead(10).await.expect("dead");
    assert!(dead[0].error.contains("stopped without a word"), "{}", dead[0].error);
}

async fn a_job_that_fails_is_tried_again_and_dies_in_the_end(place: Place) {
    let database = place.open().await;
    let queue = queue(&database);
    let enqueued = queue.enqueue_alone(&job(7).max_attempts(3)).await.expect("enqueue");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let for_handler = Arc::clone(&seen);
    let worker = Working::start(&queue, quick(), move |job| {
        let attempt = job.attempt;
        let is_revived = for_handler.lock().expect("seen").len() >= 3;
        for_handler.lock().expect("seen").push(job);
        async move {
            if is_revived { Ok(()) } else { Err(JobFailure::again(format!("no luck in attempt {attempt}"))) }
        }
    });
    eventually("it is dead", async || is_dead(&queue).await).await;
    assert_eq!(attempts(&seen), [1, 2, 3]);
    let dead = queue.dead(10).await.expect("dead");
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].id.as_str(), dead[0].attempts), (enqueued.id.as_str(), 3));
    assert_eq!(
        (dead[0].error.as_str(), dead[0].payload.as_str()),
        ("no luck in attempt 3", "{\"number\":7}")
    );
    assert!(dead[0].died_at >= dead[0].created_at);

    assert!(queue.revive(&enqueued.id).await.expect("revive"));
    eventually("it is done", async || unfinished(&queue).await == 0).await;
    worker.stop().await;
    assert_eq!(attempts(&seen), [1, 2, 3, 1]);
    assert!(!queue.revive(&enqueued.id).await.expect("revive"), "there is none any more");
    assert!(queue.dead(10).await.expect("dead").is_empty());
}

async fn a_job_that_cannot_succeed_dies_at_once(place: Place) {
    let database = place.open().await;
    let queue = queue(&database);
    queue.enqueue_alone(&job(1)).await.expect("enqueue");
    let worker = Working::start(&queue, quick(), |job| async move {
        let _: String = job.payload()?;
        Ok(())
    });
    eventually("it is dead", async || is_dead(&queue).await).await;
    worker.stop().await;
    let dead = queue.dead(10).await.expect("dead");
    assert_eq!(dead[0].attempts, 1);
    assert!(dead[0].error.starts_with("what the job carries cannot be read: "), "{}", dead[0].error);
}

fn break_down(job: &Job) -> Result<(), JobFailure> {
    panic!("job {}\0", job.attempt)
}

async fn a_panic_is_a_failure(place: Place) {
    let database = place.open().await;
    let queue = queue(&database);
    queue.enqueue_alone(&job(1).max_attempts(1)).await.expect("enqueue");
    let worker = Working::start(&queue, quick(), |job| async move { break_down(&job) });
    eventually("it is dead", async || is_dead(&queue).await).await;
    worker.stop().await;
    assert_eq!(queue.dead(1).await.expect("dead")[0].error, "it panicked: job 1");
}

async fn a_failure_can_say_when_to_try_again(place: Place) {
    let database = place.open().await;
    let queue = queue(&database);
    queue.enqueue_alone(&job(1)).await.expect("enqueue");
    let worker = Working::start(&queue, quick(), |_| async {
        Err(JobFailure::again_after(Duration::from_secs(3600), "too many requests"))
    });
    eventually("it waits", async || queue.depth().await.expect("depth").scheduled == 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    worker.stop().await;
    let depth = queue.depth().await.expect("depth");
    assert_eq!((depth.scheduled, depth.ready, depth.running), (1, 0, 0));
}

async fn what_runs_at_the_end_is_finished_or_given_back(place: Place) {
    let database = place.open().await;
    let queue = queue(&database);
    let patient = Working::start(&queue, quick(), |_| async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(())
    });
    queue.enqueue_alone(&job(1)).await.expect("enqueue");
    eventually("it runs", async || queue.depth().await.expect("depth").running == 1).await;
    patient.stop().await;
    assert_eq!(unfinished(&queue).await, 0, "it was finished");

    let seen = Arc::new(Mutex::new(Vec::new()));
    let settings = WorkerSettings { drain: Duration::from_millis(100), ..quick() };
    let impatient = Working::start(&queue, settings, hanging(&seen));
    queue.enqueue_alone(&job(2)).await.expect("enqueue");
    eventually("it runs", async || attempts(&seen) == [1]).await;
    impatient.stop().await;
    let depth = queue.depth().await.expect("depth");
    assert_eq!((depth.ready, depth.running), (1, 0), "it was given back at once");

    let next = Working::start(&queue, settings, hanging(&seen));
    eventually("another one has it", async || attempts(&seen) == [1, 1]).await;
    next.stop().await;
}

async fn the_key_of_a_dead_job_is_free_after_a_while(place: Place) {
    let database = place.open().await;
    let settings = QueueSettings { deduplication: Duration::from_secs(2), ..QueueSettings::default() };
    let queue = Queue::new(&database, "mails", settings);
    let first = queue.enqueue_alone(&job(1).deduplication_key("k")).await.expect("enqueue");
    let worker = Working::start(&queue, quick(), |_| async { Err(JobFailure::never("no such address")) });
    eventually("it is dead", async || is_dead(&queue).await).await;
    worker.stop().await;
    let again = queue.enqueue_alone(&job(2).deduplication_key("k")).await.expect("enqueue");
    assert_eq!((again.id.as_str(), again.is_duplicate), (first.id.as_str(), true));

    tokio::time::sleep(Duration::from_secs(3)).await;
    // One that has just started looks at once for what was kept for long enough.
    let worker = Working::start(&queue, quick(), |_| async { Ok(()) });
    eventually("its key is free", async || {
        let again = queue.enqueue_alone(&job(2).deduplication_key("k")).await.expect("enqueue");
        !again.is_duplicate
    })
    .await;
    eventually("the other one is done", async || unfinished(&queue).await == 0).await;
    let dead = queue.dead(10).await.expect("dead");
    assert_eq!(dead.len(), 1, "it is kept for a person to look at");
    // It can still be revived, and keeps nothing away.
    assert!(queue.revive(&first.id).await.expect("revive"));
    eventually("it is done", async || unfinished(&queue).await == 0).await;
    worker.stop().await;
    assert!(queue.dead(10).await.expect("dead").is_empty());
}
