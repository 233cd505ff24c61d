//! A server that vanishes without a word, as it does with its node.

use std::time::{Duration, Instant};

use service_kit::database::{Database, DatabaseError, PoolBounds};
use service_kit::problem::chain;
use sqlx::Any;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::place::{PATIENCE, Place};

/// Stands between a database and its server.
struct Relay {
    silenced: watch::Sender<bool>,
}

impl Relay {
    /// Changes the URL of the place so that it leads here.
    async fn before(place: &Place) -> Self {
        let url_file = place.configuration["postgresql"]["urlFile"].as_str().expect("file").to_owned();
        let url = std::fs::read_to_string(&url_file).expect("read the URL");
        let (beginning, rest) = url.rsplit_once(':').expect("an address");
        let (server, path) = rest.split_once('/').expect("a path");
        let server: u16 = server.parse().expect("port");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let port = listener.local_addr().expect("address").port();
        std::fs::write(&url_file, format!("{beginning}:{port}/{path}")).expect("write the URL");

        let silenced = watch::Sender::new(false);
        let told = silenced.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", server)).await.expect("connect to the server");
                tokio::spawn(pass_on(near, far, told.subscribe()));
            }
        });
        Self { silenced }
    }

    /// From now on nothing passes on the connections that are there. On new
    /// ones it does, as if another server had taken the place of the first.
    fn silence(&self) {
        self.silenced.send_replace(true);
    }
}

async fn pass_on(mut near: TcpStream, mut far: TcpStream, mut silenced: watch::Receiver<bool>) {
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        _ = silenced.changed() => {
            // Both stay open, and nobody reads.
            std::future::pending::<()>().await;
        }
    }
}

fn assert_unavailable<T: std::fmt::Debug>(done: Result<T, DatabaseError>) -> String {
    let error = done.expect_err("there was no answer");
    assert!(error.is_retryable(), "{error:?}");
    chain(&error)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_vanishes_is_not_waited_for_and_costs_no_connection() {
    const CONNECTIONS: u32 = 4;
    let place = Place::postgresql();
    let relay = Relay::before(&place).await;
    let bounds = PoolBounds {
        connections: CONNECTIONS,
        acquire: Duration::from_secs(30),
        answer: Duration::from_secs(2),
        ..PoolBounds::default()
    };
    let database = Database::open(&place.settings(), &[], bounds).await.expect("open");
    database.execute(sqlx::query("CREATE TABLE notes (id TEXT NOT NULL)")).await.expect("table");

    // All connections are in use when it vanishes.
    let mut written = database.begin().await.expect("begin");
    sqlx::query("INSERT INTO notes (id) VALUES ('1')").execute(&mut *written).await.expect("insert");
    let taken_back = database.begin().await.expect("begin");
    let (one, other) = (database.clone(), database.clone());
    let reading = tokio::spawn(async move {
        let slow = sqlx::query_scalar::<Any, i32>("SELECT 1 FROM pg_sleep(0.5)");
        slow.fetch_one(one.pool()).await.map_err(DatabaseError::from)
    });
    let writing = tokio::spawn(async move {
        other.execute(sqlx::query("INSERT INTO notes (id) SELECT '2' FROM pg_sleep(0.5)")).await
    });
    sleep(Duration::from_millis(200)).await;
    relay.silence();
    let ended = async {
        assert_unavailable(reading.await.expect("task"));
        assert_unavailable(writing.await.expect("task"));
        let error = assert_unavailable(written.commit().await);
        assert!(error.contains("may have been done"), "{error}");
        drop(taken_back);
        // Each has its connection again.
        let mut begun = Vec::new();
        for _ in 0..CONNECTIONS {
            begun.push(database.begin().await.expect("begin"));
        }
    };
    timeout(PATIENCE, ended).await.expect("it is not waited for");

    // All are at rest when it vanishes.
    relay.silence();
    let writing = database.execute(sqlx::query("INSERT INTO notes (id) VALUES ('3')"));
    timeout(PATIENCE, writing).await.expect("it is not waited for").expect("a new connection");

    // Nor is it waited for at the end.
    let held = database.begin().await.expect("begin");
    relay.silence();
    let begun = Instant::now();
    timeout(PATIENCE, database.close()).await.expect("it is not waited for");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    drop(held);
}
