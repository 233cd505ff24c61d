//! The result: from record batches to files at their destination.
//!
//! ```text
//!   portable   types that every reader of the format knows
//!   encode     batches → bytes of the format
//!   weight     how much a row takes where Parquet is read
//!   place      bytes → volume, bucket, ConfigMap or data set, whole or not at all
//!   volume     … and how that is done on a volume
//!   dataset    … and in a data set of a Platform
//!   preview    the first rows for `kubectl get -o yaml`
//! ```

mod dataset;
mod encode;
mod error;
mod place;
mod portable;
mod preview;
mod volume;
mod weight;

pub use dataset::Staging;
pub use encode::Encoder;
pub use error::OutputError;
pub use place::{Destination, Published, Upload};
pub use portable::Portable;
pub use preview::Preview;
pub use weight::row_bytes;

/// Most bytes of all files together that go into a ConfigMap. The API server
/// takes 1 MiB, in which base64 and the rest of the object must fit as well.
pub const CONFIG_MAP_LIMIT_BYTES: u64 = 700 << 10;
