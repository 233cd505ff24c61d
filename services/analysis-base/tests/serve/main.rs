//! The service from outside: a process of the built program on a port of this machine.
#![expect(clippy::expect_used, clippy::panic, reason = "tests say what they expect by panicking")]
#![expect(clippy::needless_pass_by_value, reason = "what `json!` makes is written where it is passed")]

/// The same tests on both kinds of database. Each is a function that takes how
/// a server is started.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(crate::server::Options::default()).await;
                }
            )+
        }

        mod on_postgresql {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(crate::server::Options::on_postgresql()).await;
                }
            )+
        }
    };
}

mod analyses;
mod analysis_job_results;
mod analysis_jobs;
mod api_server;
mod datasets;
mod deletions;
mod document;
mod pods;
#[path = "../../../service-kit/tests/storage/postgresql.rs"]
#[allow(dead_code, reason = "the tests of the kit need more of it")]
mod postgresql;
#[path = "../../../service-kit/tests/storage/process.rs"]
#[allow(dead_code, reason = "the tests of the kit need more of it")]
mod process;
mod processes;
mod restart;
mod results;
mod server;
mod setbacks;
mod statistics;
mod tokens;
mod uploads;
