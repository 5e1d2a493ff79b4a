//! A peer's `connect`, kept for the host.

use crate::proto::command::{Call, Command, Connect};

/// A `connect`. Its body is kept as it came, because another process may need all of it; the fields are read from there
/// each time, since a peer that plays for hours is asked for them once or twice.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ConnectInfo {
    /// The command's whole body, extra arguments included.
    pub(super) body: Box<[u8]>,
    /// The message type of the body: 20 or 17.
    pub(super) type_id: u8,
    /// `capsEx` (`CAPS_*` of [`crate::proto::command`]).
    pub(super) caps_ex: u32,
    /// The peer is a relay that asks through which streams media comes.
    pub(super) asks_via: bool,
}

impl ConnectInfo {
    /// The facts of this `connect`; the body is still to come.
    pub(super) fn new(connect: &Connect<'_>, type_id: u8) -> Self {
        Self { body: Box::default(), type_id, caps_ex: connect.caps_ex, asks_via: connect.asks_via }
    }

    /// Heap in use, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.body.len()
    }

    /// The fields.
    pub(super) fn fields(&self) -> Connect<'_> {
        match Call::parse(self.type_id, &self.body).map(|call| call.command) {
            Ok(Command::Connect(connect)) => *connect,
            _ => Connect::default(),
        }
    }
}
