//! Streams, by owner: the log, how media comes in (`ingest`), how it goes out (`egress`), connections we open (`remote`),
//! memory; and the front, [`RRStream`], over a stream's parts.
//!
//! Files in here import from the file that owns a name and never through this one, so that what depends on what is
//! seen, and `tests/tidy.rs` finds circles. The re-exports are for the layers above.

mod book;
pub mod egress;
mod entry;
pub mod event;
#[cfg(test)]
pub(crate) mod fault_injection;
mod front;
mod handover;
mod identity;
pub mod ingest;
mod life;
mod link;
pub mod log;
pub mod memory;
mod name;
pub mod peer;
pub mod record;
pub mod remote;
pub mod stats;
pub mod tracks;
mod upcalls;

pub use self::book::Claim;
pub use self::egress::subscription::Subscription;
pub use self::front::RRStream;
pub use self::handover::Delivery;
pub use self::name::{StreamName, take_apart};
pub use self::remote::source::LOOP;
pub use self::upcalls::{Timeouts, Upcalls};
