//! Conversations: a server and a client session, queues between them, virtual time. Each file tests promises of one
//! kind.

mod conversation;
mod hostile;
mod pair;
mod peers;
mod servers;
mod snapshot;
