//! Streams, by owner: the log, the way in (`ingest`), the way out (`egress`), connections that we open (`remote`),
//! memory; and [`RRStream`], the front over a stream's parts.
//!
//! Files in this folder import a name from the file that owns it and never through this one, so that dependencies are
//! visible and `tests/tidy.rs` finds circles. The re-exports are for the layers above.

mod book;
pub(crate) mod egress;
mod entry;
pub(crate) mod event;
pub(crate) mod exported;
#[cfg(test)]
pub(crate) mod fault_injection;
mod front;
mod further_relays;
mod handover;
mod identity;
pub(crate) mod ingest;
mod life;
mod link;
pub(crate) mod log;
pub(crate) mod memory;
mod name;
pub(crate) mod offer;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod record;
mod relays;
pub(crate) mod remote;
mod start;
pub(crate) mod stats;
pub(crate) mod threading;
pub(crate) mod tracks;
mod upcalls;

pub(crate) use self::book::Claim;
pub(crate) use self::egress::subscription::Subscription;
pub use self::exported::stream::{StreamExport, StreamState};
pub(crate) use self::front::{Hold, RRStream};
pub(crate) use self::further_relays::FurtherRelays;
pub(crate) use self::handover::{Delivery, Pulled};
pub(crate) use self::name::{DOT_PART, StreamName, take_apart};
pub use self::process::starts::WorkerCounts;
pub(crate) use self::process::workers::Workers;
pub(crate) use self::upcalls::{Timeouts, Upcalls};
