//! A stream's connections to other servers: targets that it is pushed to, sources that it is pulled from, and the
//! back-off of both. The server's dialler connects them.

pub(crate) mod endpoint;
pub(in crate::stream) mod source;
pub(crate) mod target;
