//! Queues whose jobs NATS hands out. The database is looked at so seldom that
//! a job that NATS does not hand out fails its test.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use service_kit::database::{Database, Dialect};
use service_kit::queue::{Job, JobFailure, Queue, QueueError, QueueSettings, WorkerSettings};
use tokio::sync::Notify;

use crate::nats::{Replica, Service};
use crate::place::{Place, eventually};
use crate::queues::{Working, job, quick, unfinished};

on_both!(
    nats_hands_each_job_to_one_worker,
    a_job_of_a_dead_worker_is_handed_to_another,
    a_job_that_fails_is_handed_out_again_dies_and_is_revived,
);

/// Leaves it to NATS.
pub fn patient() -> WorkerSettings {
    WorkerSettings { missed_poll: Duration::from_secs(3600), ..quick() }
}

pub fn queue_of(database: &Database, replica: &Replica) -> Queue {
    Queue::new(database, "mails", QueueSettings::default()).dispatched_by(&replica.dispatch)
}

pub async fn until_up(replica: &Replica) {
    eventually("NATS hands out jobs", async || replica.is_up()).await;
}

/// The database as another process has it: SQLite belongs to one.
async fn of_another_process(place: &Place, database: &Database) -> Database {
    match database.dialect() {
        Dialect::Sqlite => database.clone(),
        Dialect::Postgresql => place.open().await,
    }
}

async fn nats_hands_each_job_to_one_worker(place: Place) {
    const JOBS: usize = 200;
    let service = Service::of_shared();
    let database = place.open().await;
    let other = of_another_process(&place, &database).await;
    let replicas = [service.replica(), service.replica()];
    let queues = [queue_of(&database, &replicas[0]), queue_of(&other, &replicas[1])];
    let done: Arc<[AtomicUsize; 2]> = Arc::default();
    let mut workers = Vec::new();
    for (number, queue) in queues.iter().enumerate() {
        let done = Arc::clone(&done);
        workers.push(Working::start(queue, patient(), move |_| {
            done[number].fetch_add(1, Ordering::Relaxed);
            async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Ok(())
            }
        }));
    }
    for replica in &replicas {
        until_up(replica).await;
    }

    let mut transaction = database.begin().await.expect("begin");
    for number in 0..JOBS {
        queues[0].enqueue(&mut transaction, &job(number)).await.expect("enqueue");
    }
    transaction.commit().await.expect("commit");
    eventually("all jobs are done", async || unfinished(&queues[0]).await == 0).await;
    for worker in workers {
        worker.stop().await;
    }
    let done = [done[0].load(Ordering::Relaxed), done[1].load(Ordering::Relaxed)];
    assert_eq!(done[0] + done[1], JOBS, "none twice: {done:?}");
    assert!(done[0] > 0 && done[1] > 0, "both get some: {done:?}");
}

async fn a_job_of_a_dead_worker_is_handed_to_another(place: Place) {
    let service = Service::of_shared();
    let database = place.open().await;
    let replicas = [service.replica(), service.replica()];
    let settings = WorkerSettings { lease: Duration::from_secs(2), ..patient() };
    let seen = Arc::new(Mutex::new(Vec::<Job>::new()));
    let hanging = Arc::clone(&seen);
    let queue = queue_of(&database, &replicas[0]);
    let first = Working::start(&queue, settings, move |job| {
        hanging.lock().expect("seen").push(job);
        std::future::pending()
    });
    until_up(&replicas[0]).await;
    queue.enqueue_alone(&job(1)).await.expect("enqueue");
    eventually("the first one has it", async || seen.lock().expect("seen").len() == 1).await;
    // Longer than the lease, which is renewed, in NATS as well.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let other = queue_of(&database, &replicas[1]);
    let finish = Arc::new(Notify::new());
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (for_handler, told) = (Arc::clone(&taken), Arc::clone(&finish));
    let second = Working::start(&other, settings, move |job: Job| {
        for_handler.lock().expect("taken").push(job.attempt);
        let told = Arc::clone(&told);
        async move {
            told.notified().await;
            Ok(())
        }
    });
    until_up(&replicas[1]).await;
    assert!(taken.lock().expect("taken").is_empty());

    first.die();
    eventually("the second one has it", async || *taken.lock().expect("taken") == [2]).await;
    let stale = seen.lock().expect("seen")[0].clone();
    let mut transaction = database.begin().await.expect("begin");
    let error = stale.complete(&mut transaction).await.expect_err("the lease is another one's");
    assert!(matches!(error, QueueError::LeaseLost { .. }), "{error:?}");
    drop(transaction);
    finish.notify_one();
    eventually("the second one completes it", async || unfinished(&other).await == 0).await;
    second.stop().await;
    assert_eq!(*taken.lock().expect("taken"), [2]);
}

async fn a_job_that_fails_is_handed_out_again_dies_and_is_revived(place: Place) {
    let service = Service::of_shared();
    let database = place.open().await;
    let replica = service.replica();
    let queue = queue_of(&database, &replica);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let for_handler = Arc::clone(&seen);
    let worker = Working::start(&queue, patient(), move |job: Job| {
        let mut seen = for_handler.lock().expect("seen");
        seen.push((job.attempt, Instant::now()));
        let is_revived = seen.len() > 3;
        async move {
            if is_revived {
                return Ok(());
            }
            Err(JobFailure::again_after(Duration::from_millis(700), "no luck"))
        }
    });
    until_up(&replica).await;
    let begun = Instant::now();
    let new = job(1).max_attempts(3).after(Duration::from_millis(700));
    let id = queue.enqueue_alone(&new).await.expect("enqueue").id;
    eventually("it is dead", async || queue.depth().await.expect("depth").dead == 1).await;
    {
        let seen = seen.lock().expect("seen");
        assert_eq!(seen.iter().map(|(attempt, _)| *attempt).collect::<Vec<_>>(), [1, 2, 3]);
        let mut before = begun;
        for (attempt, at) in seen.iter() {
            assert!(*at - before >= Duration::from_millis(600), "attempt {attempt} was too soon");
            before = *at;
        }
    }
    assert!(queue.revive(&id).await.expect("revive"));
    eventually("it is done", async || unfinished(&queue).await == 0).await;
    worker.stop().await;
    assert_eq!(seen.lock().expect("seen").last().map(|(attempt, _)| *attempt), Some(1));
}
