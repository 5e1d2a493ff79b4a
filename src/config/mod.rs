//! All settings with their ranges, and the limits and times that cannot be set: each with its reason.
//!
//! A settings struct has typed fields and begins with its defaults. Code that takes settings from outside gives them by
//! name to `set`, which knows each setting's range and refuses other values with the reason; `checked` tests settings
//! that depend on each other. `ffi/config.rs` has the structs of the C ABI; only that file knows that 0 means the
//! default there and RR_OFF means off.

mod access;
mod choices;
mod controller;
mod decision;
mod hooks;
mod limits;
mod server;
mod stream;
mod target;
mod value;
mod worker;

pub use access::{AccessConfig, AccessRule, MAX_ACCESS_RULES};
pub use choices::{Args, ClockMode, Isolate, Metadata, PublisherPolicy, SlowPolicy, Start, ask, media};
pub use controller::{ControllerConfig, MAX_CONTROLLERS};
pub use decision::{Decision, MAX_DECISION_TARGETS};
pub use hooks::{Dialect, HooksConfig};
pub use limits::*;
pub use server::{ListenOptions, ServerConfig};
pub use stream::StreamConfig;
pub use target::{MAX_BACKUP_URLS, TargetConfig};
pub(crate) use value::OFF;
pub use value::{Shape, Value};
pub use worker::WorkerConfig;

#[cfg(test)]
mod tests;
