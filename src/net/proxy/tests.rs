//! Headers as balancers send them, cut at every byte, and bytes that are no header.

use super::*;
use crate::fuzzing::{mutate_corpus, proxy_header};

/// A binary header: command, family and transport, body.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([0x20 | command, family]);
    bytes.extend((body.len() as u16).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn v4_body() -> Vec<u8> {
    vec![203, 0, 113, 7, 10, 0, 0, 1, 0xD4, 0x31, 0x07, 0x8F]
}

fn v6_body() -> Vec<u8> {
    let mut body = "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets().to_vec();
    body.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
    body.extend([0xD4, 0x31, 0x07, 0x8F]);
    body
}

fn good() -> Vec<(Vec<u8>, Option<&'static str>, Option<&'static str>)> {
    let with_tlv = [v4_body(), vec![0x04, 0, 3, 1, 2, 3]].concat();
    vec![
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 54321 1935\r\n".to_vec(), Some("203.0.113.7:54321"), Some("10.0.0.1:1935")),
        (
            b"PROXY TCP6 2001:db8::7 2001:db8::1 54321 1935\r\n".to_vec(),
            Some("[2001:db8::7]:54321"),
            Some("[2001:db8::1]:1935"),
        ),
        (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n".to_vec(), Some("203.0.113.7:1"), Some("[::1]:2")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None, None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), None, None),
        (v2(1, 0x11, &v4_body()), Some("203.0.113.7:54321"), Some("10.0.0.1:1935")),
        (v2(1, 0x11, &with_tlv), Some("203.0.113.7:54321"), Some("10.0.0.1:1935")),
        (v2(1, 0x21, &v6_body()), Some("[2001:db8::7]:54321"), Some("[2001:db8::1]:1935")),
        (v2(0, 0, &[]), None, None),
        (v2(0, 0x11, &v4_body()), None, None),
        (v2(1, 0x00, &[1, 2, 3]), None, None),
        (v2(1, 0x31, &[0; 216]), None, None),
    ]
}

#[test]
fn headers_name_the_peer_whatever_follows_and_wherever_they_are_cut() {
    for (bytes, peer, local) in good() {
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]).unwrap(), None, "{cut} bytes of {bytes:?}");
        }
        let expected = Header {
            bytes: bytes.len(),
            peer: peer.map(|text| text.parse().unwrap()),
            local: local.map(|text| text.parse().unwrap()),
        };
        assert_eq!(parse(&bytes).unwrap(), Some(expected));
        let followed = [&bytes[..], b"\x03 the handshake \r\n"].concat();
        assert_eq!(parse(&followed).unwrap(), Some(expected));
    }
}

#[test]
fn a_wrong_header_is_refused_at_its_first_wrong_byte() {
    assert!(parse(b"\x03").is_err(), "an RTMP handshake");
    assert!(parse(b"PROXX").is_err() && parse(b"GET / HTTP/1.1").is_err() && parse(b"\r\n\r\n\0\r\nQUIX").is_err());
    for wrong in [
        "PROXY TCP4 203.0.113.7 10.0.0.1 54321\r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 54321 1935 7\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 54321 1935\r\n",
        "PROXY TCP6 203.0.113.7 10.0.0.1 54321 1935\r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 +5 1935\r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 65536 1935\r\n",
        "PROXY TCP4  203.0.113.7 10.0.0.1 1 2\r\n",
        "PROXY UDP4 203.0.113.7 10.0.0.1 1 2\r\n",
        "PROXY \r\n",
    ] {
        assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
    assert!(parse(&[b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat()).is_err(), "a line without an end");
    assert!(parse(&v2(2, 0x11, &v4_body())).is_err(), "an unknown command");
    assert!(parse(&v2(1, 0x11, &v4_body()[..11])).is_err(), "an address cut short");
    assert!(parse(&v2(1, 0x11, &[0; 4097])).is_err(), "longer than is accepted");
    let mut version_1 = v2(1, 0x11, &v4_body());
    version_1[12] = 0x11;
    assert!(parse(&version_1).is_err());
}

#[test]
fn mutated_headers_are_taken_or_refused_within_bounds() {
    let seeds: Vec<Vec<u8>> = good().into_iter().map(|(bytes, ..)| bytes).collect();
    assert!(mutate_corpus(&seeds, 7, 100, proxy_header) > 1000);
}
