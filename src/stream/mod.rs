//! Streams, by owner: the log, how media comes in (`ingest`), how it goes out (`egress`), connections we open (`remote`),
//! memory; and the front, [`RRStream`], over a stream's parts.
//!
//! Files in here import from the file that owns a name and never through this one, so that what depends on what is
//! seen, and `tests/tidy.rs` finds circles. The re-exports are for the layers above.

pub mod egress;
pub mod event;
#[cfg(test)]
pub(crate) mod fault_injection;
mod front;
mod handover;
pub mod ingest;
mod link;
pub mod log;
pub mod memory;
mod name;
pub mod peer;
pub mod remote;
pub mod stats;
pub mod tracks;
mod upcalls;

pub use self::egress::subscription::Subscription;
pub use self::front::RRStream;
pub use self::handover::Delivery;
pub use self::ingest::Claim;
pub use self::name::{StreamName, take_apart};
pub use self::upcalls::{Timeouts, Upcalls};
