//! What a service keeps: in SQLite and in PostgreSQL, in a folder and in a
//! bucket. Each test of a database runs on both.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests say what they expect by panicking, as tests do"
)]

/// The same tests on both kinds of database. Each is a function that takes a
/// [`place::Place`].
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $test() {
                    super::$test(crate::place::Place::sqlite()).await;
                }
            )+
        }

        mod on_postgresql {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $test() {
                    super::$test(crate::place::Place::postgresql()).await;
                }
            )+
        }
    };
}

mod bucket;
mod dispatch;
mod dispatch_failures;
mod idempotency;
mod migrations;
mod nats;
mod objects;
mod place;
mod postgresql;
mod process;
mod queue_failures;
mod queues;
mod recovery;
mod silence;
mod transactions;
