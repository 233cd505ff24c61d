//! Platforms: a front door and the services behind it.

mod analysis_jobs_api;
mod datasets;
mod faults;
mod front_door;
mod http_route;
mod lifecycle;
mod nats;
mod rules;
