//! Queues when all goes well.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use service_kit::database::Database;
use service_kit::queue::{
    Backoff, Job, JobFailure, NewJob, Queue, QueueError, QueueSettings, Worker, WorkerSettings,
};
use sqlx::Any;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::place::{Place, eventually};

on_both!(
    four_workers_do_all_jobs_and_none_twice,
    a_transaction_that_is_taken_back_queues_nothing,
    a_job_is_completed_with_its_effects_or_not_at_all,
    of_jobs_with_the_same_key_one_is_done,
    a_job_waits_for_its_time,
    a_full_queue_takes_no_more,
    a_commit_wakes_a_worker,
    long_jobs_keep_their_lease,
    what_has_ended_is_removed_however_much_it_is,
);

pub fn queue(database: &Database) -> Queue {
    Queue::new(database, "mails", QueueSettings::default())
}

pub fn job(number: usize) -> NewJob {
    NewJob::new(&json!({"number": number})).expect("job")
}

pub fn quick() -> WorkerSettings {
    WorkerSettings {
        poll: Duration::from_millis(50),
        backoff: Backoff { first: Duration::from_millis(20), longest: Duration::from_millis(100) },
        ..WorkerSettings::default()
    }
}

/// A worker that is told to stop at the end.
#[derive(Debug)]
pub struct Working {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Working {
    pub fn start<F, R>(queue: &Queue, settings: WorkerSettings, handler: F) -> Self
    where
        F: Fn(Job) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), JobFailure>> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel::<()>();
        let worker = Worker::new(queue, handler, settings);
        let task = tokio::spawn(worker.run(async move {
            let _ = stopped.await;
        }));
        Self { stop, task }
    }

    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.expect("worker");
    }

    /// As if the process had died: nothing is given back.
    pub fn die(self) {
        self.task.abort();
    }
}

pub async fn unfinished(queue: &Queue) -> u64 {
    let depth = queue.depth().await.expect("depth");
    depth.ready + depth.scheduled + depth.running
}

async fn four_workers_do_all_jobs_and_none_twice(place: Place) {
    const JOBS: usize = 500;
    let database = place.open().await;
    let queue = queue(&database);
    let done = Arc::new(Mutex::new(BTreeMap::<u64, usize>::new()));
    let workers: Vec<Working> = (0..4)
        .map(|_| {
            let done = Arc::clone(&done);
            // Each with a queue of its own, as in four processes.
            let queue = Queue::new(&database, "mails", QueueSettings::default());
            Working::start(&queue, quick(), move |job| {
                let done = Arc::clone(&done);
                async move {
                    let payload: Value = job.payload()?;
                    let number = payload["number"].as_u64().expect("number");
                    *done.lock().expect("done").entry(number).or_default() += 1;
                    Ok(())
                }
            })
        })
        .collect();

    let mut transaction = database.begin().await.expect("begin");
    for number in 0..JOBS {
        let enqueued = queue.enqueue(&mut transaction, &job(number)).await.expect("enqueue");
        assert!(!enqueued.is_duplicate);
    }
    transaction.commit().await.expect("commit");

    eventually("all jobs are done", async || unfinished(&queue).await == 0).await;
    for worker in workers {
        worker.stop().await;
    }
    {
        let done = done.lock().expect("done");
        assert_eq!(done.len(), JOBS);
        assert!(done.values().all(|times| *times == 1));
    }
    let left = queue.depth().await.expect("depth");
    assert_eq!((left.dead, left.oldest_ready), (0, Duration::ZERO));
}

async fn a_transaction_that_is_taken_back_queues_nothing(place: Place) {
    let database = place.open().await;
    let queue = queue(&database);
    let mut transaction = database.begin().await.expect("begin");
    queue.enqueue(&mut transaction, &job(1)).await.expect("enqueue");
    drop(transaction);
    assert_eq!(unfinished(&queue).await, 0);

    queue.enqueue_alone(&job(2)).await.expect("enqueue");
    let depth = queue.depth().await.expect("depth");
    assert_eq!((depth.ready, depth.scheduled, depth.running, depth.dead), (1, 0, 0, 0));
    let other = Queue::new(&database, "others", QueueSettings::default());
    assert_eq!(unfinished(&other).await, 0);
}

async fn a_job_is_completed_with_its_effects_or_not_at_all(place: Place) {
    let database = place.open().await;
    database
        .execute(sqlx::query("CREATE TABLE effects (job TEXT NOT NULL, attempt BIGINT NOT NULL)"))
        .await
        .expect("table");
    let queue = queue(&database);
    queue.enqueue_alone(&job(1)).await.expect("enqueue");
    let for_handler = database.clone();
    let worker = Working::start(&queue, quick(), move |job| {
        let database = for_handler.clone();
        async move {
            let mut transaction = database.begin().await?;
            sqlx::query("INSERT INTO effects (job, attempt) VALUES ($1, $2)")
                .bind(&*job.id)
                .bind(i64::from(job.attempt))
                .execute(&mut *transaction)
                .await?;
            job.complete(&mut transaction).await?;
            if job.attempt == 1 {
                return Err(JobFailure::again("just before the commit"));
            }
            Ok(transaction.commit().await?)
        }
    });
    eventually("the job is done", async || unfinished(&queue).await == 0).await;
    worker.stop().await;
    let attempts = sqlx::query_scalar::<Any, i64>("SELECT attempt FROM effects")
        .fetch_all(database.pool())
        .await
        .expect("effects");
    assert_eq!(attempts, [2]);
}

async fn of_jobs_with_the_same_key_one_is_done(place: Place) {
    let database = place.open().await;
    let queue = queue(&database);
    let first = queue.enqueue_alone(&job(1).deduplication_key("k")).await.expect("enqueue");
    assert!(!first.is_duplicate);
    let other = queue.enqueue_alone(&job(1).deduplication_key("other")).await.expect("enqueue");
    assert!(!other.is_duplicate);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..10 {
        let queue = queue.clone();
        tasks.spawn(async move { queue.enqueue_alone(&job(number).deduplication_key("k")).await });
    }
    while let Some(enqueued) = tasks.join_next().await {
        let enqueued = enqueued.expect("task").expect("enqueue");
        assert_eq!((enqueued.id, enqueued.is_duplicate), (first.id.clone(), true));
    }

    let times = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&times);
    let worker = Working::start(&queue, quick(), move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok(()) }
    });
    eventually("both are done", async || unfinished(&queue).await == 0).await;
    // A request that comes once more after that is still known.
    let again = queue.enqueue_alone(&job(1).deduplication_key("k")).await.expect("enqueue");
    assert_eq!((again.id, again.is_duplicate), (first.id, true));
    worker.stop().await;
    assert_eq!(times.load(Ordering::Relaxed), 2);
}

async fn a_job_waits_for_its_time(place: Place) {
    let database = place.open().await;
    let queue = queue(&database);
    queue.enqueue_alone(&job(1).after(Duration::from_millis(600))).await.expect("enqueue");
    let enqueued_at = Instant::now();
    assert_eq!(queue.depth().await.expect("depth").scheduled, 1);
    let worker = Working::start(&queue, quick(), |_| async { Ok(()) });
    eventually("it is done", async || unfinished(&queue).await == 0).await;
    assert!(enqueued_at.elapsed() >= Duration::from_millis(500), "{:?}", enqueued_at.elapsed());
    worker.stop().await;
}

async fn a_full_queue_takes_no_more(place: Place) {
    let database = place.open().await;
    let queue = Queue::new(&database, "mails", QueueSettings { bound: 2, ..QueueSettings::default() });
    queue.enqueue_alone(&job(1)).await.expect("enqueue");
    queue.enqueue_alone(&job(2)).await.expect("enqueue");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let error = queue.enqueue_alone(&job(3)).await.expect_err("full");
    assert!(matches!(error, QueueError::Full { bound: 2, .. }), "{error:?}");
    assert_eq!(unfinished(&queue).await, 2);
}

async fn a_commit_wakes_a_worker(place: Place) {
    let database = place.open().await;
    let queue = queue(&database);
    let settings = WorkerSettings { poll: Duration::from_secs(600), ..quick() };
    let worker = Working::start(&queue, settings, |_| async { Ok(()) });
    for number in 0..5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        queue.enqueue_alone(&job(number)).await.expect("enqueue");
        eventually("it is done without looking", async || unfinished(&queue).await == 0).await;
    }
    worker.stop().await;
}

async fn long_jobs_keep_their_lease(place: Place) {
    let database = place.open().await;
    let queue = queue(&database);
    queue.enqueue_alone(&job(1)).await.expect("enqueue");
    let times = Arc::new(AtomicUsize::new(0));
    let settings = WorkerSettings { lease: Duration::from_secs(2), ..quick() };
    let workers: Vec<Working> = (0..2)
        .map(|_| {
            let times = Arc::clone(&times);
            Working::start(&queue, settings, move |_| {
                times.fetch_add(1, Ordering::Relaxed);
                async {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    Ok(())
                }
            })
        })
        .collect();
    eventually("it is done", async || unfinished(&queue).await == 0).await;
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(times.load(Ordering::Relaxed), 1);
}

async fn what_has_ended_is_removed_however_much_it_is(place: Place) {
    let database = place.open().await;
    // So many are not removed at once.
    let ended = "\
        WITH RECURSIVE numbers (number) AS
            (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < 2500)
        INSERT INTO kit_jobs (id, queue, deduplication_key, payload, state, attempts, max_attempts, created_at,
            finished_at)
        SELECT CAST(number AS TEXT), 'mails', CAST(number AS TEXT), '', 'done', 1, 1, 0, 0 FROM numbers";
    assert_eq!(database.execute(sqlx::query(ended)).await.expect("insert"), 2500);
    let worker = Working::start(&queue(&database), quick(), |_| async { Ok(()) });
    // The test does not wait for as long as a worker does between two times.
    eventually("all are removed", async || {
        let left = sqlx::query_scalar::<Any, i64>("SELECT count(*) FROM kit_jobs").fetch_one(database.pool());
        left.await.expect("count") == 0
    })
    .await;
    worker.stop().await;
}
