//! Queues whose jobs NATS hands out, when NATS does not, or loses some.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream;
use service_kit::database::Database;
use service_kit::queue::{Queue, WorkerSettings};
use sqlx::Any;

use crate::dispatch::{patient, queue_of, until_up};
use crate::nats::{NatsServer, Replica, Service, blocking};
use crate::place::{Place, eventually};
use crate::queues::{Working, job, unfinished};

on_both!(nothing_is_lost_or_done_twice_when_the_server_is_killed);

fn server() -> Arc<NatsServer> {
    let server = NatsServer::to_be_started(None);
    server.start();
    Arc::new(server)
}

async fn until_done(queue: &Queue) {
    eventually("all jobs are done", async || unfinished(queue).await == 0).await;
}

async fn until_away(replica: &Replica) {
    eventually("the database hands out jobs", async || !replica.is_up()).await;
}

async fn enqueue(database: &Database, queue: &Queue, numbers: std::ops::Range<usize>) {
    let mut transaction = database.begin().await.expect("begin");
    for number in numbers {
        queue.enqueue(&mut transaction, &job(number)).await.expect("enqueue");
    }
    transaction.commit().await.expect("commit");
}

/// A worker whose jobs take a while, and leave a row each in the transaction
/// that completes them.
fn working(database: &Database, queue: &Queue, begun: &Arc<AtomicUsize>) -> Working {
    let (database, begun) = (database.clone(), Arc::clone(begun));
    Working::start(queue, patient(), move |job| {
        begun.fetch_add(1, Ordering::Relaxed);
        let database = database.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut transaction = database.begin().await?;
            sqlx::query("INSERT INTO effects (job) VALUES ($1)")
                .bind(&*job.id)
                .execute(&mut *transaction)
                .await?;
            job.complete(&mut transaction).await?;
            Ok(transaction.commit().await?)
        }
    })
}

async fn nothing_is_lost_or_done_twice_when_the_server_is_killed(place: Place) {
    let server = server();
    let service = Service::of(&server);
    let database = place.open().await;
    database.execute(sqlx::query("CREATE TABLE effects (job TEXT NOT NULL)")).await.expect("table");
    let replicas = [service.replica(), service.replica()];
    let queues = [queue_of(&database, &replicas[0]), queue_of(&database, &replicas[1])];
    let begun = Arc::new(AtomicUsize::new(0));
    let workers = [working(&database, &queues[0], &begun), working(&database, &queues[1], &begun)];
    for replica in &replicas {
        until_up(replica).await;
    }

    // Some run and some wait.
    enqueue(&database, &queues[0], 0..60).await;
    eventually("some have begun", async || begun.load(Ordering::Relaxed) > 4).await;
    blocking(&server, NatsServer::kill).await;
    assert!(unfinished(&queues[0]).await > 0, "some wait for their turn");
    enqueue(&database, &queues[1], 60..100).await;
    for replica in &replicas {
        until_away(replica).await;
    }
    until_done(&queues[0]).await;

    // Some are there that NATS has never heard of, and it has messages of others
    // that are done.
    enqueue(&database, &queues[0], 100..160).await;
    blocking(&server, NatsServer::start).await;
    for replica in &replicas {
        until_up(replica).await;
    }
    enqueue(&database, &queues[1], 160..200).await;
    until_done(&queues[0]).await;
    for worker in workers {
        worker.stop().await;
    }
    let count = async |statement: &'static str| {
        sqlx::query_scalar::<Any, i64>(statement).fetch_one(database.pool()).await.expect("count")
    };
    assert_eq!(count("SELECT count(*) FROM effects").await, 200);
    assert_eq!(count("SELECT count(DISTINCT job) FROM effects").await, 200);
    assert_eq!(begun.load(Ordering::Relaxed), 200, "no lease has lapsed, so none was begun twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_starts_later_is_used_from_then_on() {
    let server = Arc::new(NatsServer::to_be_started(None));
    let replica = Service::of(&server).replica();
    let place = Place::sqlite();
    let database = place.open().await;
    let queue = queue_of(&database, &replica);
    let worker = Working::start(&queue, patient(), |_| async { Ok(()) });
    enqueue(&database, &queue, 0..10).await;
    until_done(&queue).await;
    assert!(!replica.is_up());

    blocking(&server, NatsServer::start).await;
    until_up(&replica).await;
    enqueue(&database, &queue, 10..20).await;
    until_done(&queue).await;
    assert!(replica.is_up());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_that_a_person_deletes_is_made_again() {
    let service = Service::of_shared();
    let replica = service.replica();
    let place = Place::sqlite();
    let database = place.open().await;
    let queue = queue_of(&database, &replica);
    let worker = Working::start(&queue, patient(), |_| async { Ok(()) });
    until_up(&replica).await;
    // It is there when its turn comes.
    queue.enqueue_alone(&job(1).after(Duration::from_secs(5))).await.expect("enqueue");
    let person = jetstream::new(async_nats::connect(service.url.as_str()).await.expect("connect"));
    eventually("the stream has the job", async || messages(&person, &service).await == 1).await;

    person.delete_stream(service.stream()).await.expect("delete the stream");
    eventually("the stream is there again, with the job", async || messages(&person, &service).await > 0)
        .await;
    until_up(&replica).await;
    until_done(&queue).await;
    enqueue(&database, &queue, 2..10).await;
    until_done(&queue).await;
    eventually("nothing is left in the stream", async || messages(&person, &service).await == 0).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_person_removes_from_the_stream_is_found_in_the_database() {
    let service = Service::of_shared();
    let replica = service.replica();
    let place = Place::sqlite();
    let database = place.open().await;
    let queue = queue_of(&database, &replica);
    let settings = WorkerSettings { missed_poll: Duration::from_secs(1), ..patient() };
    let worker = Working::start(&queue, settings, |_| async { Ok(()) });
    until_up(&replica).await;
    queue.enqueue_alone(&job(1).after(Duration::from_secs(4))).await.expect("enqueue");
    let person = jetstream::new(async_nats::connect(service.url.as_str()).await.expect("connect"));
    eventually("the stream has the job", async || messages(&person, &service).await == 1).await;
    let stream = person.get_stream(service.stream()).await.expect("the stream");
    stream.purge().await.expect("empty the stream");
    until_done(&queue).await;
    assert!(replica.has_missed_one(), "it is counted");
    worker.stop().await;
}

async fn messages(person: &jetstream::Context, service: &Service) -> u64 {
    match person.get_stream(service.stream()).await {
        Ok(stream) => stream.cached_info().state.messages,
        Err(_) => 0,
    }
}

/// A log that is read.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines_with(&self, text: &str) -> usize {
        let log = String::from_utf8_lossy(&self.0.lock().expect("log")).into_owned();
        log.lines().filter(|line| line.contains(text)).count()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("log").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// On one thread, so that its log is its own.
#[tokio::test]
async fn wrong_credentials_are_told_and_the_database_hands_out_the_jobs() {
    let log = Log::default();
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || written.clone()).finish();
    let _told = tracing::subscriber::set_default(subscriber);
    let server = Arc::new(NatsServer::to_be_started(Some(("service", "right"))));
    blocking(&server, NatsServer::start).await;
    let folder = tempfile::tempdir().expect("folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("write");
    write("username", "service");
    write("password", "hidden");
    let service = Service::of(&server).with_credentials(folder.path().to_owned());
    let replica = service.replica();
    let place = Place::sqlite();
    let database = place.open().await;
    let queue = queue_of(&database, &replica);
    let worker = Working::start(&queue, patient(), |_| async { Ok(()) });
    enqueue(&database, &queue, 0..5).await;
    until_done(&queue).await;
    eventually("it is told", async || log.lines_with("refuses the credentials") > 0).await;
    assert!(!replica.is_up());

    write("password", "right\n");
    until_up(&replica).await;
    enqueue(&database, &queue, 5..10).await;
    until_done(&queue).await;
    worker.stop().await;
    assert_eq!(log.lines_with("NATS JetStream cannot be used"), 1, "once, however often it is tried");
    assert_eq!(log.lines_with("NATS JetStream hands out the jobs"), 1);
    assert_eq!(log.lines_with("hidden"), 0);
}
