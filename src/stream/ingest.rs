//! How media comes into a stream: the accumulate thread that reads publishers, the claim to be the publisher, the clock
//! that timestamps go through, and the append to the log.
//!
//! It knows nothing of consumers: what it has appended is told to the relay by a wake and nothing else.

pub mod accumulate;
mod append;
mod claim;
pub mod clock;

pub use self::claim::Claim;
pub(in crate::stream) use self::claim::Publisher;
