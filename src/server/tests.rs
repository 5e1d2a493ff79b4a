//! Promises of a server that need a look inside.

#[path = "../../tests/support/live.rs"]
mod live;

mod failed_stream;
mod figures;
