//! What every service shares, so that all of them behave alike.
//!
//! ```text
//!   application   a service's routes with health, counters, traces, limits around them
//!   server        listening, and stopping without breaking off what is under way
//!   identity      who calls                    client         calling another service
//!   spans         what is done, for a collector of OpenTelemetry
//!   problem       errors (RFC 9457)            extract        extractors that answer with them
//!   paging        lists, a page at a time      prefer         how long a client waits (RFC 7240)
//!   configuration what the operator says, reloaded without a restart
//!   database      SQLite or PostgreSQL         objects        a folder or S3
//!   addresses     which ones are public        changes        waking who waits for something
//!   queue         work that must not be lost   idempotency    requests that must not be done twice
//! ```

pub mod addresses;
pub mod application;
pub mod changes;
pub mod client;
pub mod configuration;
pub mod database;
mod documentation;
pub mod extract;
pub mod health;
pub mod idempotency;
pub mod identity;
pub mod limits;
pub mod metrics;
pub mod objects;
pub mod paging;
pub mod prefer;
pub mod problem;
pub mod queue;
pub mod server;
pub mod spans;
pub mod telemetry;
pub mod trace_context;

pub use application::Application;
pub use problem::Problem;
