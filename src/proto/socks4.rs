//! SOCKS4 CONNECT: the request to a proxy, and the meaning of its answer. No connection is made here.
//!
//! Source: "SOCKS: A protocol for TCP proxy across firewalls", version 4. We send IPv4 addresses that we have resolved,
//! and an empty user.

use std::net::SocketAddrV4;

use crate::error::{Failure, RRError, Result};

/// Bytes of a proxy's answer.
pub(crate) const REPLY_BYTES: usize = 8;

/// The request for a connection to `address`.
pub(crate) fn request(address: SocketAddrV4) -> [u8; 9] {
    let ([high, low], [a, b, c, d]) = (address.port().to_be_bytes(), address.ip().octets());
    [4, 1, high, low, a, b, c, d, 0]
}

/// Whether the proxy made the connection.
///
/// # Errors
/// [`RRError::Connect`] with the proxy's reason, [`RRError::Protocol`] if this is not a SOCKS4 answer.
pub(crate) fn check_reply(reply: &[u8; REPLY_BYTES]) -> Result<()> {
    let reason = match (reply[0], reply[1]) {
        (0, 90) => return Ok(()),
        (0, 91) => "the proxy refused or failed to connect",
        (0, 92) => "the proxy could not ask our identd",
        (0, 93) => "our identd told the proxy another user",
        (0, _) => "the proxy gave an unknown reason",
        _ => return Err(Failure::protocol("the proxy does not speak SOCKS4")),
    };
    Err(Failure::peers(RRError::Connect, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_holds_port_and_address_in_network_order() {
        let address = "1.2.3.4:1935".parse().unwrap();
        assert_eq!(request(address), [4, 1, 0x07, 0x8f, 1, 2, 3, 4, 0]);
    }

    #[test]
    fn only_90_is_a_connection() {
        for code in 0..=255_u8 {
            let result = check_reply(&[0, code, 1, 2, 3, 4, 5, 6]);
            assert_eq!(result.is_ok(), code == 90, "{code}");
        }
        assert_eq!(check_reply(b"HTTP/1.1").unwrap_err().kind, RRError::Protocol);
        assert_eq!(check_reply(&[0, 91, 0, 0, 0, 0, 0, 0]).unwrap_err().kind, RRError::Connect);
    }
}
