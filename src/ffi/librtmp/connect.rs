//! Making a connection: name, proxy, socket, TLS or tunnel, handshake, connect command; and accepting one.

use std::cell::Cell;
use std::ffi::c_int;
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, ToSocketAddrs};
use std::os::fd::IntoRawFd;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::ahead::read_exact;
use super::inner::Session;
use super::life::{close_session, on_session};
use super::ptr::put;
use super::send::{send_packet, send_raw};
use super::sock::Wire;
use super::types::*;
use super::{commands, log, mem, tls, tunnel};
use crate::proto::auth::{self, Answer};
use crate::proto::rtmpe::{Handshake, Options, RANDOM_BYTES, Signed, SwfId};
use crate::proto::socks4;

/// Resolves a name to all its addresses.
fn resolve(host: &[u8], port: u16) -> Vec<SocketAddr> {
    let Ok(name) = std::str::from_utf8(host) else { return Vec::new() };
    match (name, port).to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            log::error(&format!("Problem accessing the DNS. (addr: {name}): {error}"));
            Vec::new()
        }
    }
}

/// Connects to the server of `Link`, or to the proxy in front of it. All addresses are tried.
fn dial(r: Session) -> bool {
    if r.Link.hostname.get().is_empty() {
        return false;
    }
    let proxied = r.Link.socksport.get() != 0;
    let (host, port) = if proxied {
        (r.Link.sockshost.get(), r.Link.socksport.get())
    } else {
        (r.Link.hostname.get(), r.Link.port.get())
    };
    let addresses = resolve(host.bytes(), port);
    addresses.into_iter().any(|address| !interrupted() && open_socket(r, &SockAddr::from(address)))
}

/// Connects to one address and gives the session the socket.
fn open_socket(r: Session, address: &SockAddr) -> bool {
    r.m_sb.sb_timedout.set(FALSE);
    r.m_pausing.set(0);
    r.m_fDuration.set(0.0);
    match try_socket(r, address) {
        Ok(()) => {}
        Err(error) => {
            let code = error.raw_os_error().unwrap_or(libc::ETIMEDOUT);
            log::error(&format!("RTMP_Connect0, failed to connect socket. {code} ({})", plain_text(code)));
            close_session(r, true);
            return false;
        }
    }
    if r.Link.socksport.get() != 0
        && let Err(text) = through_proxy(r)
    {
        log::error(&format!("RTMP_Connect0, SOCKS negotiation failed: {text}"));
        close_session(r, true);
        return false;
    }
    true
}

/// The system's sentence for an error number, without Rust's addition of the number.
fn plain_text(code: i32) -> String {
    let text = io::Error::from_raw_os_error(code).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn try_socket(r: Session, address: &SockAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::from(i32::from(address.family())), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let timeout = u64::try_from(r.Link.timeout.get()).unwrap_or(0);
    let started = socket.connect(address);
    // From now on another thread can end the attempt by closing the session.
    r.m_sb.put_socket(socket.into_raw_fd());
    r.set_inner(|inner| &inner.own_socket, true);
    match started {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
            Wire::new(r.m_sb.socket(), &r.m_sb.life, r.Link.timeout.get()).wait_connected()?;
        }
        other => other?,
    }
    let socket = tls::borrowed(r.m_sb.socket());
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    socket.set_nonblocking(false)?;
    if timeout > 0 && socket.set_read_timeout(Some(Duration::from_secs(timeout))).is_err() {
        log::error(&format!("setting the socket timeout to {timeout}s failed"));
    }
    // A unix socket has no such option.
    let _ = socket.set_tcp_nodelay(true);
    Ok(())
}

/// Asks a SOCKS4 proxy to connect to the server. The protocol takes only addresses, so the name is resolved here.
fn through_proxy(r: Session) -> Result<(), String> {
    let address =
        resolve(r.Link.hostname.get().bytes(), r.Link.port.get()).into_iter().find_map(|address| match address.ip() {
            IpAddr::V4(ip) => Some(SocketAddrV4::new(ip, address.port())),
            IpAddr::V6(_) => None,
        });
    let Some(address) = address else { return Err("the server has no IPv4 address".to_owned()) };
    let timeout_s = r.Link.timeout.get();
    r.m_sb.send_all(&socks4::request(address), timeout_s).map_err(|error| error.to_string())?;
    let mut reply = [0; socks4::REPLY_BYTES];
    let mut got = 0;
    while got < reply.len() {
        match r.m_sb.receive(&mut reply[got..], &mut [], timeout_s) {
            Ok(0) => return Err("the proxy closed the connection".to_owned()),
            Ok(more) => got += more,
            Err(error) => return Err(error.to_string()),
        }
    }
    socks4::check_reply(&reply).map_err(|failure| failure.to_string())
}

/// Everything after the socket: TLS, tunnel, handshake, connect command.
fn negotiate(r: Session, given: Option<&mut RTMPPacket>) -> bool {
    r.set_inner(|inner| &inner.exact, !r.inner(|inner| &inner.own_socket));
    let ready = (r.Link.protocol.get() & RTMP_FEATURE_SSL == 0 || tls::start_client(r))
        && (r.Link.protocol.get() & RTMP_FEATURE_HTTP == 0 || tunnel::open(r));
    if !ready {
        close_session(r, true);
        return false;
    }
    log::debug("RTMP_Connect1, ... connected, handshaking");
    if !shake_hands(r, true) {
        log::error("RTMP_Connect1, handshake failed.");
        close_session(r, true);
        return false;
    }
    log::debug("RTMP_Connect1, handshaked");
    let sent = match given {
        Some(packet) => send_packet(r, packet, true),
        None => commands::connect(r),
    };
    if !sent {
        log::error("RTMP_Connect1, RTMP connect failed.");
        close_session(r, true);
    }
    sent
}

/// Connects a client, from the name to the connect command.
fn connect(r: Session, given: Option<&mut RTMPPacket>) -> bool {
    if !dial(r) {
        return false;
    }
    r.m_bSendCounter.set(TRUE as u8);
    negotiate(r, given)
}

/// Random bytes from the system or, if it has none, from the clock.
fn random() -> [u8; RANDOM_BYTES] {
    let mut bytes = [0; RANDOM_BYTES];
    let mut done = 0;
    while done < bytes.len() {
        let rest = &mut bytes[done..];
        // SAFETY: the buffer is writable for its length.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => done += got,
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    bytes
}

/// A handshake may take this many times `Link.timeout` from its first byte on: a bound for a peer that sends a byte now
/// and then.
const HANDSHAKE_WAITS: u64 = 4;

/// How long a handshake of this session may take: a year for a session without a time-out.
pub(super) fn handshake_limit(r: Session) -> Duration {
    const YEAR_S: u64 = 31_536_000;
    let timeout_s = u64::try_from(r.Link.timeout.get()).ok().filter(|&timeout_s| timeout_s > 0);
    Duration::from_secs(timeout_s.map_or(YEAR_S, |timeout_s| timeout_s * HANDSHAKE_WAITS))
}

/// Does the handshake of either side, without reading ahead, because the bytes after it may be encrypted.
fn shake_hands(r: Session, client: bool) -> bool {
    let random = random();
    let uptime = super::life::RTMP_GetTime();
    let swf = (r.Link.SWFSize.get() != 0).then_some(SwfId { hash: r.Link.SWFHash.get(), size: r.Link.SWFSize.get() });
    let encrypted = r.Link.protocol.get() & RTMP_FEATURE_ENC != 0;
    let mut handshake = if client {
        Handshake::client(Options { signed: encrypted || swf.is_some(), encrypted, swf }, uptime, &random)
    } else {
        Handshake::server(None, uptime, &random)
    };
    let (limit, mut ends) = (handshake_limit(r), None);
    let mut late = || *ends.get_or_insert_with(|| Instant::now() + limit) < Instant::now();
    loop {
        let output = handshake.output().to_vec();
        if !output.is_empty() && !send_raw(r, &output) {
            return false;
        }
        handshake.consumed(output.len());
        let mut input = vec![0; handshake.want()];
        if !read_exact(r, &mut input, &mut late) {
            return false;
        }
        let mut at = 0;
        match handshake.feed(&input, &mut at) {
            Ok(None) => {}
            Ok(Some(done)) => {
                let output = handshake.output().to_vec();
                if !output.is_empty() && !send_raw(r, &output) {
                    return false;
                }
                finish(r, done, client);
                return true;
            }
            Err(failure) => {
                log::error(&format!("handshake: {failure}"));
                return false;
            }
        }
    }
}

/// Takes over the results of the handshake.
fn finish(r: Session, done: crate::proto::rtmpe::Done, client: bool) {
    match done.signed {
        Signed::Invalid if client => log::warning("handshake: the server's signature is not genuine"),
        // librtmp warns and refuses. This library accepts the client, because ffmpeg, for one, signs only in part.
        Signed::Invalid => log::debug("handshake: the client's signature is not genuine"),
        Signed::Valid | Signed::Plain => {}
    }
    if !done.echo_matches && matches!(done.signed, Signed::Plain) {
        log::warning("handshake: the peer did not return what was sent");
    }
    if let Some(response) = done.swf_response {
        r.Link.SWFVerificationResponse.set(response.map(|byte| byte as _));
    }
    if done.ciphers.is_some() {
        r.Link.protocol.set(r.Link.protocol.get() | RTMP_FEATURE_ENC);
    }
    r.set_inner(|inner| &inner.ciphers, done.ciphers.map(Box::new));
}

/// Acts on a publisher's refusal with this description: connects again with a login, or ends the session if the login
/// is refused for good. False if the refusal is not about a login.
pub(super) fn log_in(r: Session, description: &[u8]) -> bool {
    let random = random();
    let nonce = [random[0], random[1], random[2], random[3]];
    let (user, password, app) = (r.Link.pubUser.get(), r.Link.pubPasswd.get(), r.Link.app.get());
    let query = match auth::answer(app.bytes(), user.bytes(), password.bytes(), description, nonce) {
        Answer::Retry(query) => query,
        Answer::Refused(refusal) => {
            log::error(&format!("authentication failed: {}", refusal.text()));
            close_session(r, false);
            return true;
        }
        Answer::NotAuth => return false,
    };
    let app = auth::with_query(auth::bare(app.bytes()), &query);
    let url = auth::with_query(auth::bare(r.Link.tcUrl.get().bytes()), &query);
    replace(&r.Link.app, &r.Link.lFlags, RTMP_LF_FAPU, &app);
    replace(&r.Link.tcUrl, &r.Link.lFlags, RTMP_LF_FTCU, &url);
    let own = r.inner(|inner| &inner.own_socket);
    close_session(r, true);
    if !own {
        log::debug("the server wants a new connection; the program's socket is closed");
    }
    if !connect(r, None) {
        log::error("the second connect failed");
    }
    true
}

/// Replaces a string of `Link` by a copy of `text`, and frees the old one if it was ours.
fn replace(field: &Cell<AVal>, flags: &Cell<c_int>, bit: c_int, text: &[u8]) {
    let old = field.replace(mem::copy(text));
    if flags.get() & bit != 0 {
        // SAFETY: the flag says that it is ours, from the C allocator; the session has forgotten it.
        unsafe { mem::free(old.start()) };
    }
    flags.set(flags.get() | bit);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_Connect(r: *mut RTMP, packet: Option<&mut RTMPPacket>) -> c_int {
    // SAFETY: contract.
    unsafe { on_session(r, FALSE, |r| connect(r, packet).into()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_Connect0(r: *mut RTMP, address: *const libc::sockaddr) -> c_int {
    let open = |r: Session| {
        // SAFETY: contract.
        let Some(address) = (unsafe { copy_address(address) }) else {
            close_session(r, true);
            return FALSE;
        };
        open_socket(r, &address).into()
    };
    // SAFETY: contract.
    unsafe { on_session(r, FALSE, open) }
}

/// An address of the program's, as long as its family's are.
///
/// # Safety
/// `address` is NULL or one of its family's length.
unsafe fn copy_address(address: *const libc::sockaddr) -> Option<SockAddr> {
    // SAFETY: contract of this function.
    let family = i32::from(unsafe { address.as_ref() }?.sa_family);
    let len = match family {
        libc::AF_INET => size_of::<libc::sockaddr_in>(),
        libc::AF_INET6 => size_of::<libc::sockaddr_in6>(),
        libc::AF_UNIX => size_of::<libc::sockaddr_un>(),
        _ => return None,
    };
    let copy = |storage: *mut libc::sockaddr_storage, stored: *mut libc::socklen_t| {
        // SAFETY: contract of this function; there is room for any address.
        unsafe { std::ptr::copy_nonoverlapping(address.cast::<u8>(), storage.cast(), len) };
        // SAFETY: the system's length to be.
        unsafe { put(stored, len as libc::socklen_t) };
        Ok(())
    };
    // SAFETY: the closure writes an address of this length into room for any.
    let copied = unsafe { SockAddr::try_init(|storage, stored| copy(storage.cast(), stored)) };
    copied.ok().map(|((), address)| address)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_Connect1(r: *mut RTMP, packet: Option<&mut RTMPPacket>) -> c_int {
    // SAFETY: contract.
    unsafe { on_session(r, FALSE, |r| negotiate(r, packet).into()) }
}

fn serve(r: Session) -> bool {
    shake_hands(r, false)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_Serve(r: *mut RTMP) -> c_int {
    // SAFETY: contract.
    unsafe { on_session(r, FALSE, |r| serve(r).into()) }
}

/// `RTMP_Serve` under the name that this project's first server called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_Server(r: *mut RTMP) -> c_int {
    // SAFETY: contract.
    unsafe { RTMP_Serve(r) }
}
