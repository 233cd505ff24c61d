//! What the tests on a real cluster are written with.
//!
//! ```text
//!   with_namespace ─▶ Namespace   a fresh namespace, PodSecurity `restricted`
//!                       │         create, wait, read; a diagnosis if it fails
//!                       ├─▶ HttpServer, S3Server   where pods find data
//!                       ├─▶ NatsServer             what hands out work
//!                       ├─▶ FrontDoor              a Platform, as programs use it
//!                       └─▶ Operator               its pod, log and counters
//! ```
//!
//! They run against the cluster of `KUBECONFIG`, where the platform is
//! installed by Helm; `cargo xtask test` brings up both and runs them.

pub mod cache;
pub mod cluster;
pub mod command;
pub mod diagnosis;
pub mod event_stream;
pub mod front_door;
pub mod helm;
pub mod http_server;
pub mod namespace;
pub mod nats_server;
pub mod operator;
pub mod outcome;
pub mod platform_pods;
pub mod platform_rule_table;
pub mod postgresql;
pub mod process_figures;
pub mod python;
pub mod rule_table;
pub mod s3_server;
pub mod sightings;
pub mod small_volume;
pub mod specification;
pub mod stalled_reader;
pub mod statistics;
pub mod stopping;
pub mod table;
pub mod tpch;
pub mod volume;
pub mod webhook_receiver;

pub use cluster::Cluster;
pub use event_stream::EventStream;
pub use front_door::FrontDoor;
pub use http_server::{HttpServer, Page};
pub use namespace::{Namespace, with_namespace};
pub use nats_server::NatsServer;
pub use operator::Operator;
pub use postgresql::PostgresqlServer;
pub use s3_server::S3Server;
pub use small_volume::SmallVolume;
pub use stalled_reader::StalledReader;
pub use webhook_receiver::WebhookReceiver;
