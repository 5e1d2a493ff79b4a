//! Conversations: a server and a client session, queues between them, virtual time. The files are the promises.

mod conversation;
mod hostile;
mod pair;
mod peers;
mod servers;
mod snapshot;
