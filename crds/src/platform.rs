//! Platform: the shared services of a namespace behind one front door.

pub mod configuration;
mod exposure;
mod queue;
mod service;
mod spec;
mod status;
mod storage;

pub use exposure::{Exposure, HttpRoute, Ingress, ParentReference, ServiceType};
pub use queue::{NatsJetStream, Queue};
pub use service::{Autoscaling, PlatformService, ServiceName};
pub use spec::{Platform, PlatformSpec};
pub use status::{PlatformStatus, ServiceStatus};
pub use storage::{Claim, Database, PostgresqlDatabase, S3Storage, SecretKey, Storage};
