//! Platforms: a front door and the services behind it.

mod faults;
mod front_door;
mod http_route;
mod lifecycle;
mod nats;
mod rules;
