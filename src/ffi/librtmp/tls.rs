//! TLS of a session: client with verification, server, and the exports for both.
//!
//! librtmp never verified a certificate. Here a client verifies the server's, against the system's roots, by the name
//! of `Link.hostname`. The option `tlsInsecure=1` turns that off for a session, `RRELAY_TLS_INSECURE=1` in the
//! environment for a process; `RRELAY_CA_FILE` names a file of other roots.

use std::ffi::{OsStr, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use socket2::Socket;

use super::connect::handshake_limit;
use super::inner::Session;
use super::life::on_session;
use super::ptr::c_string;
use super::sock::Wire;
use super::types::*;
use super::{guard, log};
use crate::error::{Failure, Result};
use crate::net::tls::{ClientConfig, ServerConfig, TlsStream, Trust, failure};

/// A flag in `Link.pFlags`: certificates are not verified.
pub(super) const INSECURE: c_int = 1;

/// A socket object over the session's descriptor, which the session closes.
pub(super) fn borrowed(fd: c_int) -> ManuallyDrop<Socket> {
    // SAFETY: an open descriptor; the object is never dropped.
    ManuallyDrop::new(unsafe { Socket::from_raw_fd(fd) })
}

fn trust(link: &RTMP_LNK) -> Trust {
    let insecure = std::env::var_os("RRELAY_TLS_INSECURE").is_some_and(|value| value == "1");
    Trust {
        insecure: insecure || link.pFlags.get() & INSECURE != 0,
        ca_file: std::env::var_os("RRELAY_CA_FILE").map(Into::into),
        ..Trust::default()
    }
}

/// Puts TLS over a session's socket, which must be connected.
fn start(r: Session, made: Result<TlsStream>) -> bool {
    let done = made.and_then(|mut tls| {
        let mut wire = Wire::new(r.m_sb.socket(), &r.m_sb.life, r.Link.timeout.get()).within(handshake_limit(r));
        tls.handshake(&mut wire).map_err(|error| failure(&error, "TLS handshake"))?;
        r.m_sb.set_tls(tls);
        Ok(())
    });
    if let Err(failure) = &done {
        log::error(&format!("RTMP_Connect1, TLS_Connect failed: {failure}"));
    }
    done.is_ok()
}

/// Starts TLS on the client's side.
pub(super) fn start_client(r: Session) -> bool {
    let host = r.Link.hostname.get().shown().into_owned();
    let made = ClientConfig::new(&trust(&r.Link)).and_then(|config| TlsStream::client(&config, &host));
    start(r, made)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_TLS_Accept(r: *mut RTMP, context: *mut c_void) -> c_int {
    let accept = |r: Session| {
        // SAFETY: contract: from RTMP_TLS_AllocServerContext.
        let Some(config) = (unsafe { context.cast::<ServerConfig>().as_ref() }) else { return FALSE };
        start(r, TlsStream::server(config)).into()
    };
    // SAFETY: contract.
    unsafe { on_session(r, FALSE, accept) }
}

/// The path in a C string; `None` for NULL.
///
/// # Safety
/// That of [`c_string`].
unsafe fn path<'a>(text: *const c_char) -> Option<&'a Path> {
    // SAFETY: contract of this function.
    unsafe { c_string(text) }.map(|bytes| Path::new(OsStr::from_bytes(bytes)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_TLS_AllocServerContext(cert: *const c_char, key: *const c_char) -> *mut c_void {
    guard(std::ptr::null_mut(), || {
        // SAFETY: contract: C strings.
        let made = match (unsafe { path(cert) }, unsafe { path(key) }) {
            (Some(cert), Some(key)) => ServerConfig::from_pem(cert, key),
            _ => Err(Failure::from(crate::error::RRError::Arg)),
        };
        match made {
            Ok(config) => Box::into_raw(Box::new(config)).cast(),
            Err(failure) => {
                log::error(&format!("the server's certificate cannot be used: {failure}"));
                std::ptr::null_mut()
            }
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_TLS_FreeServerContext(context: *mut c_void) {
    if !context.is_null() {
        // SAFETY: contract: from RTMP_TLS_AllocServerContext, and not used again.
        guard((), || drop(unsafe { Box::<ServerConfig>::from_raw(context.cast()) }));
    }
}
