//! Streams with several relay threads (`relay_threads`): the promises that other test programs check for streams with one
//! hold for these too, and whatever happens to a stream reaches the players of all its relays.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]
#![allow(clippy::duplicate_mod, reason = "each of these programs brings the parts that it uses")]

#[path = "support/live.rs"]
mod live;
#[path = "support/load.rs"]
mod load;
#[path = "support/moving.rs"]
mod moving;
#[path = "support/promises.rs"]
mod promises;

#[path = "several_relays/players.rs"]
mod players;
