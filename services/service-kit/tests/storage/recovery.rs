//! A server that is stopped and started again under a running service.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use service_kit::database::{Database, PoolBounds};
use service_kit::queue::WorkerSettings;

use crate::place::{Place, eventually};
use crate::postgresql::Server;
use crate::queues::{Working, job, queue, quick, unfinished};

async fn blocking(server: &Arc<Server>, what: fn(&Server)) {
    let server = Arc::clone(server);
    tokio::task::spawn_blocking(move || what(&server)).await.expect("server");
}

fn impatient() -> PoolBounds {
    PoolBounds { acquire: Duration::from_secs(1), ..PoolBounds::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_and_workers_survive_a_restart_of_the_server() {
    let server = Arc::new(Server::start());
    let place = Place::on(&server);
    let database = Database::open(&place.settings(), &[], impatient()).await.expect("open");
    let queue = queue(&database);
    let times = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&times);
    let settings = WorkerSettings { lease: Duration::from_secs(30), ..quick() };
    let worker = Working::start(&queue, settings, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {
            // It ends while the server is away.
            tokio::time::sleep(Duration::from_secs(2)).await;
            Ok(())
        }
    });
    queue.enqueue_alone(&job(1)).await.expect("enqueue");
    eventually("it has begun", async || times.load(Ordering::Relaxed) == 1).await;
    let mut open = database.begin().await.expect("begin");

    blocking(&server, Server::stop).await;
    let error = database.ping().await.expect_err("it is away");
    assert!(error.is_retryable(), "{error:?}");
    let error = queue.enqueue_alone(&job(2)).await.expect_err("it is away");
    assert!(
        matches!(&error, service_kit::queue::QueueError::Database(error) if error.is_retryable()),
        "{error:?}"
    );
    let cut_off = sqlx::query("SELECT 1").execute(&mut *open).await.expect_err("cut off");
    assert!(service_kit::database::DatabaseError::from(cut_off).is_retryable());
    drop(open);
    tokio::time::sleep(Duration::from_secs(3)).await;

    blocking(&server, Server::start_again).await;
    eventually("the pool recovers", async || database.ping().await.is_ok()).await;
    eventually("what has become of the job is stored", async || unfinished(&queue).await == 0).await;
    assert_eq!(times.load(Ordering::Relaxed), 1, "the job was not done again");
    queue.enqueue_alone(&job(3)).await.expect("enqueue");
    eventually("the worker goes on", async || times.load(Ordering::Relaxed) == 2).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_waits_for_a_server_that_starts_later() {
    let server = Arc::new(Server::start());
    let place = Place::on(&server);
    blocking(&server, Server::stop).await;

    let bounds = PoolBounds { patience: Duration::from_secs(1), ..impatient() };
    let began = Instant::now();
    let error = Database::open(&place.settings(), &[], bounds).await.expect_err("it is away");
    assert!(error.is_retryable(), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(10));

    let settings = place.settings();
    let opening = tokio::spawn(async move { Database::open(&settings, &[], impatient()).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    blocking(&server, Server::start_again).await;
    opening.await.expect("task").expect("open").ping().await.expect("ping");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_configured_wrongly_is_not_waited_for() {
    let place = Place::postgresql();
    let url_file = place.configuration["postgresql"]["urlFile"].as_str().expect("file").to_owned();
    let url = std::fs::read_to_string(&url_file).expect("read the URL");
    std::fs::write(&url_file, url.replace("p%40ss", "wrong")).expect("write the URL");
    let began = Instant::now();
    let error = Database::open(&place.settings(), &[], PoolBounds::default()).await.expect_err("refused");
    assert!(matches!(error, service_kit::database::DatabaseError::Configuration { .. }), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
}
