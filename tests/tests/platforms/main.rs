//! Platforms: a front door and the services behind it.

mod front_door;
mod lifecycle;
mod rules;
