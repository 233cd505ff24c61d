//! The front door of a platform, and the one who coordinates its services.
//!
//! ```text
//!   api           the routes and what is around them   serve     the process
//!   access        who may do what: keys, rate, scope    cors      pages of other origins
//!   proxy         passing on to the services            services  which they are
//!   requests      work over several services            webhooks  telling when it is done
//!   documentation the APIs of all of them in one document and on one page
//! ```

pub mod access;
pub mod api;
pub mod bounded;
pub mod configuration;
pub mod cors;
pub mod counters;
pub mod documentation;
pub mod gateway;
pub mod keys;
pub mod problems;
pub mod proxy;
pub mod rate;
pub mod requests;
pub mod schema;
pub mod scope;
pub mod serve;
pub mod services;
pub mod time;
pub mod webhooks;
