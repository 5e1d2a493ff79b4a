//! `RTMP_HashSWF`, and the hash of a session's player for servers that verify it.

use std::ffi::{c_char, c_int, c_uint};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::ptr::{c_string, put};
use super::types::*;
use super::{guard, log};
use crate::error::Result;
use crate::log::RRLog;
use crate::net::swf::{self, Fetch};
use crate::net::tls::Trust;
use crate::proto::rtmpe::SwfId;

/// Time for connecting, and for each read.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Hashes a player, or finds its hash in the file that librtmp keeps in the home directory.
fn hash(url: &[u8], age_days: c_int) -> Result<SwfId> {
    let cache = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".swfinfo"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64);
    let age = u32::try_from(age_days).unwrap_or(0);
    // Log lines of `net` go to the server that takes this face's lines, if there is one.
    let _log = RRLog::librtmp_taker().map(|server| RRLog::enter(&server));
    let patience = swf::patience(TIMEOUT, &interrupted);
    let fetch = Fetch { age_days: age, cache: cache.as_deref(), now_s: now, patience, trust: &Trust::default() };
    swf::hash(url, &fetch)
}

/// Gives the session the hash of its `swfUrl`.
pub(super) fn verify(link: &RTMP_LNK) {
    match hash(link.swfUrl.get().bytes(), link.swfAge.get()) {
        Ok(swf) => {
            link.SWFHash.set(swf.hash);
            link.SWFSize.set(swf.size);
        }
        Err(failure) => log::error(&format!("the player cannot be hashed: {failure}")),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_HashSWF(url: *const c_char, size: *mut c_uint, out: *mut u8, age: c_int) -> c_int {
    guard(-1, || {
        // SAFETY: contract: a C string.
        let Some(url) = (unsafe { c_string(url) }) else { return -1 };
        if size.is_null() || out.is_null() {
            return -1;
        }
        match hash(url, age) {
            Ok(swf) => {
                // SAFETY: contract.
                unsafe { put(size, swf.size) };
                // SAFETY: contract: room for a hash.
                unsafe { put(out.cast(), swf.hash) };
                0
            }
            Err(failure) => {
                log::error(&format!("the player cannot be hashed: {failure}"));
                -1
            }
        }
    })
}
