//! The custom resources of the platform: what a user declares, what the
//! operator reports back, and the contract between the operator and the pods
//! that it starts.
//!
//! ```text
//!   AnalysisJob ──spec──▶ operator ──AnalysisSpecification──▶ analysis-base (pod)
//!        ▲                   │                                      │
//!        └──────status───────┘◀───────────RunSummary───────────────┘
//!
//!   Platform ─────spec──▶ operator ──ServiceConfiguration──▶ services
//!        ▲                   │
//!        └──────status───────┘
//! ```
//!
//! The doc comments of the fields are the descriptions in the generated CRDs,
//! so they are what `kubectl explain` prints: they are written for the user.
//! Nothing here talks to an API server.

pub mod analysis;
pub mod condition;
pub mod definitions;
pub mod platform;
pub mod reference;
pub mod rules;
pub mod workload;

pub use analysis::{AnalysisJob, AnalysisJobSpec, AnalysisJobStatus};
pub use platform::{Platform, PlatformSpec, PlatformStatus};
pub use workload::WorkloadSpec;

/// The API group of every kind.
pub const GROUP: &str = "aisaas.dev";
/// The API version of every kind.
pub const VERSION: &str = "v1alpha1";
