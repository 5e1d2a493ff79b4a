//! What can be set, what it may be, and every limit and time that cannot: each with its reason.
//!
//! A settings struct has typed fields and begins as its defaults. Whoever takes settings from outside gives them by name
//! to its `set`, which knows the range of each and refuses the rest in words; `checked` looks at what several of them mean
//! together. The C ABI's structs are `ffi/config.rs`; that 0 means the default and RR_OFF means off is its affair alone.

mod choices;
mod decision;
mod limits;
mod server;
mod stream;
mod target;
mod value;

pub use choices::{Args, ClockMode, Metadata, PublisherPolicy, SlowPolicy, Start, ask, media};
pub use decision::Decision;
pub use limits::*;
pub use server::{ListenOptions, ServerConfig};
pub use stream::StreamConfig;
pub use target::{MAX_BACKUP_URLS, TargetConfig};
pub(crate) use value::OFF;
pub use value::Value;

#[cfg(test)]
mod tests;
