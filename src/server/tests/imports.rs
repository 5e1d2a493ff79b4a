//! A stream of another process has its name only when it is complete, and nobody waits meanwhile.

use std::sync::Arc;

use super::live::{Live, until};
use crate::config::ServerConfig;
use crate::error::RRError;
use crate::server::import::give_up_stream;
use crate::stream::exported::stream::ExportedStream;
use crate::sync::locked;

#[test]
fn a_stream_is_imported_while_another_one_begins() {
    let live = Live::new(ServerConfig::default());
    let state = ExportedStream::example().state().unwrap();
    let opening = locked(&live.server.core.opening);
    let server = Arc::clone(&live.server);
    let imports = std::thread::spawn(move || server.stream_import(&state));
    until("it is imported", || imports.is_finished());
    drop(opening);
    assert_eq!(live.server.stream_find(b"live", b"show"), imports.join().unwrap());
}

#[test]
fn a_stream_whose_name_was_taken_before_it_was_complete_is_given_up() {
    let live = Live::new(ServerConfig::default());
    let (core, ExportedStream { name, config, .. }) = (&live.server.core, ExportedStream::example());
    let incomplete = core.make_unnamed(name.clone(), &config, true).unwrap();
    assert_eq!(live.server.stream_find(b"live", b"show").unwrap_err().kind, RRError::NotFound);
    let (other, made) = core.find_or_make(name, &config, true).unwrap();
    assert!(made);
    assert_eq!(core.registry().give_name(&incomplete).unwrap_err().kind, RRError::Exists);
    give_up_stream(core, &incomplete);
    until("it has ended", || live.server.info(incomplete.id()).is_err());
    assert_eq!(live.server.stream_find(b"live", b"show"), Ok(other.id()));
}
