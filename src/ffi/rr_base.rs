//! Group 0 of the C API: version, names, the last error, and the set-up of config structs. No server is needed for
//! these.

use std::ffi::{c_char, c_int, c_void};

use super::config::{
    self, rr_config_kind, rr_controller_config, rr_decision, rr_hooks_config, rr_server_config, rr_stream_config,
    rr_target_config,
};
use super::types::{rr_feature, rr_frame, rr_name_kind};
use super::{Sized32, guard, last_error, names, write_struct};
use crate::error::{Failure, RRError, Result};

/// The version of the loaded library, 0xMMmmpp. Compare it with RR_VERSION, the version of the header.
#[unsafe(no_mangle)]
pub extern "C" fn rr_version() -> u32 {
    const VERSION: u32 = (number(env!("CARGO_PKG_VERSION_MAJOR")) << 16)
        | (number(env!("CARGO_PKG_VERSION_MINOR")) << 8)
        | number(env!("CARGO_PKG_VERSION_PATCH"));
    VERSION
}

/// The version of the loaded library as "major.minor.patch", for people.
///
/// # Valid
/// For ever.
#[unsafe(no_mangle)]
pub extern "C" fn rr_version_string() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The features that the loaded library was built with: RR_FEATURE_* bits.
#[unsafe(no_mangle)]
pub extern "C" fn rr_features() -> u64 {
    let rest = if cfg!(feature = "rest") { rr_feature::RR_FEATURE_REST as u64 } else { 0 };
    rr_feature::RR_FEATURE_EVENT_FD as u64 | rr_feature::RR_FEATURE_TLS as u64 | rest
}

/// One sentence for a result. Never NULL; any number may be given.
///
/// # Valid
/// For ever.
#[unsafe(no_mangle)]
pub extern "C" fn rr_strerror(err: c_int) -> *const c_char {
    names::error(err).as_ptr()
}

/// The detail of the last call on this thread that failed: which argument, which limit, which error of the system.
/// Never NULL; "" if none has failed yet. Do not use it in one argument list with the call that may fail (in printf,
/// for example), because C does not define which is called first.
///
/// # Valid
/// Until the next call on this thread that fails, or the thread's end.
#[unsafe(no_mangle)]
pub extern "C" fn rr_last_error() -> *const c_char {
    last_error()
}

/// The name of a number, for logs: "IN_PROGRESS", "PUBLISH_ASK", "H.264". `what` is RR_NAME_*. Never NULL;
/// "UNKNOWN" for a number without a name.
///
/// # Valid
/// For ever.
#[unsafe(no_mangle)]
pub extern "C" fn rr_name(what: c_int, value: c_int) -> *const c_char {
    const STATE: c_int = rr_name_kind::RR_NAME_STATE as c_int;
    const EVENT: c_int = rr_name_kind::RR_NAME_EVENT as c_int;
    const ROLE: c_int = rr_name_kind::RR_NAME_ROLE as c_int;
    const KIND: c_int = rr_name_kind::RR_NAME_KIND as c_int;
    const CODEC: c_int = rr_name_kind::RR_NAME_CODEC as c_int;
    match what {
        STATE => names::state(value).as_ptr(),
        EVENT => names::event(value).as_ptr(),
        ROLE => names::role(value).as_ptr(),
        KIND => names::kind(value).as_ptr(),
        CODEC => names::codec(value as u32).as_ptr(),
        _ => c"UNKNOWN".as_ptr(),
    }
}

/// Writes a config struct's size, kind and defaults. `kind` is RR_CFG_*, `size` the caller's sizeof; RR_INIT passes the
/// size itself. A struct of an older header gets its part; in a struct of a newer header the fields unknown to this
/// library become 0. Functions that take the struct check its kind and refuse another kind with RR_ERR_ARG.
///
/// # Returns
/// RR_OK; RR_ERR_ARG: `cfg` is NULL, `kind` is unknown or (with RR_INIT) not that of the struct, or `size` is not the
/// size of a struct.
///
/// # Safety
/// The contract of all pointers; `size` bytes of `cfg` are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_config_init(kind: c_int, cfg: *mut c_void, size: usize) -> c_int {
    const SERVER: c_int = rr_config_kind::RR_CFG_SERVER as c_int;
    const STREAM: c_int = rr_config_kind::RR_CFG_STREAM as c_int;
    const TARGET: c_int = rr_config_kind::RR_CFG_TARGET as c_int;
    const DECISION: c_int = rr_config_kind::RR_CFG_DECISION as c_int;
    const FRAME: c_int = rr_config_kind::RR_CFG_FRAME as c_int;
    const CONTROLLER: c_int = rr_config_kind::RR_CFG_CONTROLLER as c_int;
    const HOOKS: c_int = rr_config_kind::RR_CFG_HOOKS as c_int;
    guard(|| match typed(kind)? {
        // SAFETY: contract.
        SERVER => unsafe { init(cfg, size, rr_server_config::defaults()) },
        // SAFETY: contract.
        STREAM => unsafe { init(cfg, size, rr_stream_config::defaults()) },
        // SAFETY: contract.
        TARGET => unsafe { init(cfg, size, rr_target_config::defaults()) },
        // SAFETY: contract.
        DECISION => unsafe { init(cfg, size, rr_decision::defaults()) },
        // SAFETY: contract.
        FRAME => unsafe { init(cfg, size, rr_frame::empty()) },
        // SAFETY: contract.
        HOOKS => unsafe { init(cfg, size, rr_hooks_config::defaults()) },
        // SAFETY: contract.
        CONTROLLER => unsafe { init(cfg, size, rr_controller_config::defaults()) },
        _ => Err(Failure::ours(RRError::Arg, format!("kind: {kind} is not one of RR_CFG_*"))),
    })
}

/// Writes a struct's defaults, with the size the host has.
///
/// # Safety
/// The contract of all pointers; `size` bytes are writable.
unsafe fn init<T: Sized32>(cfg: *mut c_void, size: usize, defaults: T) -> Result<c_int> {
    // SAFETY: contract.
    unsafe { write_struct(cfg, size, &defaults, "cfg") }?;
    // SAFETY: contract; write_struct has refused NULL and sizes that do not fit.
    unsafe { cfg.cast::<u16>().write_unaligned(size as u16) };
    Ok(0)
}

/// Checks the kind. RR_INIT in C11 and C++ also passes the kind of the struct's type, in the upper bits; the two must
/// agree.
fn typed(kind: c_int) -> Result<c_int> {
    const TYPE_SHIFT: c_int = 8;
    let (asked, of_type) = (kind & ((1 << TYPE_SHIFT) - 1), kind >> TYPE_SHIFT);
    let name = |kind| u32::try_from(kind).ok().and_then(config::name_of);
    match (name(asked), name(of_type)) {
        (Some(asked_name), Some(type_name)) if asked != of_type => {
            Err(Failure::ours(RRError::Arg, format!("kind is that of {asked_name}, and cfg is {type_name}")))
        }
        (Some(_), Some(_)) => Ok(asked),
        _ => Ok(kind),
    }
}

/// A part of the version, from its decimal digits.
const fn number(digits: &str) -> u32 {
    let (digits, mut at, mut value) = (digits.as_bytes(), 0, 0);
    while at < digits.len() {
        value = value * 10 + (digits[at] - b'0') as u32;
        at += 1;
    }
    value
}
