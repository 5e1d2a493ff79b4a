//! The promises that hold for streams wherever they run: the programs `shared_loops` and `several_relays` repeat the tests of
//! these programs (`threading`).

#[path = "../handover_plays.rs"]
mod handover_plays;
#[path = "../playing.rs"]
mod playing;
#[path = "../plays.rs"]
mod plays;
#[path = "../publisher_ends.rs"]
mod publisher_ends;
#[path = "../slow_players.rs"]
mod slow_players;
#[path = "../sources.rs"]
mod sources;
#[path = "../streams.rs"]
mod streams;
#[path = "../targets.rs"]
mod targets;
#[path = "../upgrade.rs"]
mod upgrade;
