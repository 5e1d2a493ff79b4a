//! Parts for the tests with real programs: a folder for each test, programs that are ended by their own pid, an FLV
//! reader without code of the crate, and servers.

pub(crate) mod c;
pub(crate) mod flv;
pub(crate) mod login;
pub(crate) mod media;
pub(crate) mod nginx;
pub(crate) mod program;
pub(crate) mod reserved;
pub(crate) mod rml;
pub(crate) mod server;
pub(crate) mod stored;
#[allow(clippy::duplicate_mod, reason = "some test programs have it twice")]
mod threading;
pub(crate) mod tunnel;
mod wait;

use std::time::Duration;

pub(crate) use wait::{PATIENCE, until};

/// How soon a refused client must be gone, on a machine that may have much else to do. Clients that are not told wait
/// for half a minute or longer.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(15);
