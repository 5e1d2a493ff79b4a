//! The PROXY protocol, versions 1 and 2: the header that a balancer sends before the peer's first byte to name the
//! peer.
//!
//! A pure function from bytes to a header; the owner of the socket collects bytes until the header is whole, and keeps
//! the deadline. The form is that of HAProxy's proxy-protocol.txt, sections 2.1 (text) and 2.2 (binary). TLVs are
//! skipped, the checksum too: a host sets the flag only if it trusts the balancer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::error::{Failure, RRError, Result};

/// The longest line of version 1, its CRLF included (section 2.1).
const LINE_MAX_BYTES: usize = 107;

/// The first bytes of a binary header (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

/// The longest binary header that is accepted. Addresses take at most 36 bytes of it (216 for unix sockets); the rest
/// is TLVs.
pub(crate) const HEADER_MAX_BYTES: usize = FIXED_BYTES + 4096;

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its length; the bytes after it come from the peer.
    pub bytes: usize,
    /// The peer's address. `None` for the balancer's own connections (health checks) and where it does not know; then
    /// the socket's address counts.
    pub peer: Option<SocketAddr>,
    /// The address that the peer connected to, if the header has it.
    pub local: Option<SocketAddr>,
}

/// The header that `bytes` begin with; `None`: more bytes are needed, at most [`HEADER_MAX_BYTES`] in all.
///
/// # Errors
/// [`RRError::Protocol`] if the bytes are not a PROXY header.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>> {
    if begins(bytes, SIGNATURE) {
        return binary(bytes);
    }
    if begins(bytes, b"PROXY ") {
        return line(bytes);
    }
    Err(no_header())
}

/// Whether `bytes` and `start` agree up to the end of the shorter one.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(one, other)| one == other)
}

fn no_header() -> Failure {
    Failure::peers(RRError::Protocol, "no PROXY header")
}

fn malformed() -> Failure {
    Failure::peers(RRError::Protocol, "a malformed PROXY header")
}

/// Version 1: `PROXY TCP4 <from> <to> <port> <port>\r\n`.
fn line(bytes: &[u8]) -> Result<Option<Header>> {
    let seen = bytes.get(..LINE_MAX_BYTES).unwrap_or(bytes);
    let Some(end) = seen.windows(2).position(|two| two == b"\r\n") else {
        return if bytes.len() >= LINE_MAX_BYTES { Err(malformed()) } else { Ok(None) };
    };
    let text = std::str::from_utf8(&seen[..end]).map_err(|_| malformed())?;
    let size = end + 2;
    let mut words = text.split(' ').skip(1);
    let v4 = match words.next() {
        Some("TCP4") => true,
        Some("TCP6") => false,
        // The rest of the header is ignored.
        Some("UNKNOWN") => return Ok(Some(Header { bytes: size, peer: None, local: None })),
        _ => return Err(malformed()),
    };
    let (Some(from), Some(to), Some(from_port), Some(to_port), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(malformed());
    };
    let peer = address(from, from_port, v4)?;
    let local = address(to, to_port, v4)?;
    Ok(Some(Header { bytes: size, peer: Some(peer), local: Some(local) }))
}

fn address(host: &str, port: &str, v4: bool) -> Result<SocketAddr> {
    let ip: IpAddr = host.parse().map_err(|_| malformed())?;
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| digits && ip.is_ipv4() == v4).ok_or_else(malformed)?;
    Ok(SocketAddr::new(ip.to_canonical(), port))
}

/// Version 2.
fn binary(bytes: &[u8]) -> Result<Option<Header>> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let (version, command) = (fixed[12] >> 4, fixed[12] & 0xF);
    let (family, transport) = (fixed[13] >> 4, fixed[13] & 0xF);
    let len = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if version != 2 || command > 1 || FIXED_BYTES + len > HEADER_MAX_BYTES {
        return Err(malformed());
    }
    let Some(rest) = rest.get(..len) else { return Ok(None) };
    let size = FIXED_BYTES + len;
    // For LOCAL, unspecified addresses and protocols other than streams the socket's own address counts.
    if command == 0 || transport != 1 {
        return Ok(Some(Header { bytes: size, peer: None, local: None }));
    }
    let (peer, local) = match family {
        1 => {
            let (block, _) = rest.split_first_chunk::<12>().ok_or_else(malformed)?;
            let [a, b, c, d, e, f, g, h, p, q, r, s] = *block;
            let from = Ipv4Addr::new(a, b, c, d);
            let to = Ipv4Addr::new(e, f, g, h);
            (Some((IpAddr::V4(from), u16::from_be_bytes([p, q]))), Some((IpAddr::V4(to), u16::from_be_bytes([r, s]))))
        }
        2 => {
            let (from, rest) = rest.split_first_chunk::<16>().ok_or_else(malformed)?;
            let (to, rest) = rest.split_first_chunk::<16>().ok_or_else(malformed)?;
            let (ports, _) = rest.split_first_chunk::<4>().ok_or_else(malformed)?;
            let [p, q, r, s] = *ports;
            (
                Some((Ipv6Addr::from(*from).to_canonical(), u16::from_be_bytes([p, q]))),
                Some((Ipv6Addr::from(*to).to_canonical(), u16::from_be_bytes([r, s]))),
            )
        }
        _ => (None, None),
    };
    let socket = |(ip, port)| SocketAddr::new(ip, port);
    Ok(Some(Header { bytes: size, peer: peer.map(socket), local: local.map(socket) }))
}

#[cfg(test)]
mod tests;
