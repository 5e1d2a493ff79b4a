//! Fuzzing of librtmp's face through its exports, as programs use it: conversations with a peer made of the input, AMF,
//! urls and options. Only `fuzzing` calls it; it is not in the released library.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use super::amf_prop::*;
use super::client::*;
use super::connect::*;
use super::flv_read::RTMP_Read;
use super::flv_write::RTMP_Write;
use super::inner::Session;
use super::life::*;
use super::options::{RTMP_SetOpt, RTMP_SetupURL};
use super::recv::RTMP_ReadPacket;
use super::send::{RTMP_SendPacket, RTMPPacket_Free};
use super::types::*;
use super::url::{RTMP_ParsePlaypath, RTMP_ParseURL};
use super::{amf3, commands, control, log};

/// Panics that exports have kept from their programs.
pub(super) static PANICS: AtomicU64 = AtomicU64::new(0);

/// Room for encoded AMF.
const ENCODED_BYTES: usize = 256 * 1024;

/// Turns every log level on and drops the records, so that the code that makes them runs too.
pub(super) fn quiet() {
    unsafe extern "C" fn nowhere(_: c_int, _: *const c_char, _: *mut c_void) {}
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::RTMP_LogSetCallback(Some(nowhere));
        log::RTMP_LogSetLevel(log::DEBUG2 + 1);
    });
}

/// Runs a body, in which no export may have panicked.
fn watched<T>(body: impl FnOnce() -> T) -> T {
    quiet();
    let before = PANICS.load(Ordering::Relaxed);
    let result = body();
    assert_eq!(PANICS.load(Ordering::Relaxed), before, "an export panicked");
    result
}

/// The role of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `RTMP_Serve`, then packets.
    Server,
    /// `RTMP_Connect1`, then packets.
    Client,
    /// `RTMP_Connect1` with something to publish and a login, then packets.
    Publisher,
}

/// A message as a program gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    kind: u8,
    channel: c_int,
    time_ms: u32,
    stream: i32,
    body: Vec<u8>,
    /// The result of `RTMP_ClientPacket`.
    outcome: c_int,
}

/// A session and the peer's end of its connection.
struct Talk {
    r: *mut RTMP,
    /// A second handle to the session's descriptor, for its flags.
    ours: UnixStream,
    peer: UnixStream,
    /// One packet for the whole conversation, as in real programs: it keeps fields that later headers leave out.
    packet: RTMPPacket,
}

impl Talk {
    /// A session on a descriptor of the program, before its handshake.
    fn new(role: Role) -> Self {
        let (ours, peer) = UnixStream::pair().expect("a pair of sockets");
        peer.set_nonblocking(true).expect("a socket's flag");
        let r = RTMP_Alloc();
        // SAFETY: a new session.
        unsafe { RTMP_Init(r) };
        let talk = Self { r, ours: ours.try_clone().expect("a descriptor"), peer, packet: RTMPPacket::EMPTY };
        let session = talk.session();
        session.m_sb.put_socket(ours.into_raw_fd());
        session.Link.timeout.set(1);
        if role != Role::Server {
            let link = &session.Link;
            // There is no host, so a login's second connection fails.
            for (field, text) in [
                (&link.app, &b"live"[..]),
                (&link.tcUrl, b"rtmp://h/live"),
                (&link.playpath, b"show"),
                (&link.subscribepath, b"show"),
                (&link.token, b"key"),
                (&link.usherToken, b"token"),
                (&link.pubUser, b"joe"),
                (&link.pubPasswd, b"secret"),
            ] {
                field.set(AVal::fixed(text));
            }
        }
        if role == Role::Publisher {
            // SAFETY: contract.
            unsafe { RTMP_EnableWrite(r) };
        }
        talk
    }

    fn session(&self) -> Session {
        // SAFETY: a session of our own, between its calls.
        unsafe { Session::new(self.r) }.expect("memory for a session")
    }

    /// Sends the peer's bytes. A closed session takes none.
    fn feed(&mut self, bytes: &[u8]) {
        let _ = self.peer.write_all(bytes);
    }

    /// Takes what the session has sent, so that it never waits for room.
    fn drain(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut scratch = [0; 16 * 1024];
        while let Ok(got @ 1..) = self.peer.read(&mut scratch) {
            bytes.extend_from_slice(&scratch[..got]);
        }
        bytes
    }

    /// The handshake, in which the peer's random bytes are zeros.
    fn begin(&mut self, role: Role) {
        let mut handshake = [0; 1 + 2 * 1536];
        handshake[0] = 3;
        self.feed(&handshake);
        let begun = if role == Role::Server {
            // SAFETY: contract.
            unsafe { RTMP_Serve(self.r) }
        } else {
            // SAFETY: contract.
            unsafe { RTMP_Connect1(self.r, None) }
        };
        assert_eq!(begun, TRUE, "a handshake of zeros is one");
        self.session().Link.SWFSize.set(1); // the handshake has no player's hash, but a server can ask for it
    }

    /// Reads packets as long as there are whole chunks.
    fn read(&mut self, role: Role, seen: &mut Vec<Seen>) {
        let mut packet = self.packet;
        // SAFETY: contract.
        while unsafe { RTMP_ReadPacket(self.r, Some(&mut packet)) } != FALSE {
            assert!(packet.m_nBytesRead <= packet.m_nBodySize && packet.m_nBodySize <= MAX_BODY_BYTES);
            if packet.m_nBytesRead < packet.m_nBodySize {
                assert!(packet.m_body.is_null(), "the body of half a message is the library's");
                continue;
            }
            // SAFETY: the packet is ours.
            let body = unsafe { packet.body() }.to_vec();
            assert_eq!(body.len(), packet.m_nBodySize as usize);
            let outcome = if role == Role::Server && matches!(packet.m_packetType, 17 | 20) {
                self.answer(&packet);
                0
            } else {
                // SAFETY: contract.
                unsafe { RTMP_ClientPacket(self.r, Some(&packet)) }
            };
            seen.push(Seen {
                kind: packet.m_packetType,
                channel: packet.m_nChannel,
                time_ms: packet.m_nTimeStamp,
                stream: packet.m_nInfoField2,
                body,
                outcome,
            });
            // SAFETY: contract.
            unsafe { RTMPPacket_Free(Some(&mut packet)) };
            self.drain();
        }
        self.packet = packet;
    }

    /// Answers a command, as servers built on librtmp do: decodes it, and sends its transaction back.
    fn answer(&mut self, packet: &RTMPPacket) {
        let skipped = usize::from(packet.m_packetType == 17).min(packet.m_nBodySize as usize);
        // SAFETY: the packet is the caller's.
        let body = &unsafe { packet.body() }[skipped..];
        let mut object = AMFObject::EMPTY;
        // SAFETY: contract.
        if unsafe { AMF_Decode(&raw mut object, body.as_ptr().cast(), body.len() as c_int, FALSE) } < 0 {
            // SAFETY: contract.
            return unsafe { AMF_Reset(Some(&mut object)) };
        }
        // SAFETY: contract.
        unsafe { AMF_Dump(Some(&object)) };
        let mut name = AVal::NULL;
        // SAFETY: contract.
        let first = unsafe { AMF_GetProp(Some(&object), None, 0) };
        // SAFETY: a property of the object, or none.
        let first = unsafe { first.as_ref() };
        // SAFETY: contract.
        unsafe { AMFProp_GetString(first, &raw mut name) };
        // SAFETY: contract.
        let second = unsafe { AMF_GetProp(Some(&object), None, 1) };
        // SAFETY: a property of the object, or none.
        let second = unsafe { second.as_ref() };
        // SAFETY: contract.
        let transaction = unsafe { AMFProp_GetNumber(second) };
        let mut room = [0; RTMP_MAX_HEADER_SIZE + 256];
        let start = &raw mut room[RTMP_MAX_HEADER_SIZE];
        let end = room.as_mut_ptr_range().end;
        // SAFETY: the room between the two.
        let at = unsafe { AMF_EncodeString(start, end, Some(&AVal::fixed(b"_result"))) };
        // SAFETY: as above.
        let at = unsafe { AMF_EncodeNumber(at, end, transaction) };
        // SAFETY: as above; a name that does not fit gives NULL.
        let named = unsafe { AMF_EncodeString(at, end, Some(&name)) };
        let at = if named.is_null() { at } else { named };
        let mut reply = RTMPPacket {
            m_packetType: 20,
            m_nChannel: 3,
            m_nBodySize: (at as usize - start as usize) as u32,
            m_body: start,
            ..RTMPPacket::EMPTY
        };
        // SAFETY: contract: 18 bytes lie before the body.
        unsafe { RTMP_SendPacket(self.r, Some(&mut reply), FALSE) };
        // SAFETY: contract.
        unsafe { control::RTMP_SendCtrl(self.r, 0, 1, 0) };
        // SAFETY: contract.
        unsafe { AMF_Reset(Some(&mut object)) };
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // The closing commands may not fit the socket; without a reader, sending fails instead of waiting.
        let _ = self.peer.shutdown(Shutdown::Both);
        // SAFETY: contract.
        unsafe { RTMP_Close(self.r) };
        // SAFETY: contract; it is not used again.
        unsafe { RTMP_Free(self.r) };
    }
}

/// A conversation by packets; the peer's bytes come in these pieces, and the session reads all of each piece before the
/// next. Returns the packets, and whether the session was still connected before the peer closed.
pub fn packets(role: Role, pieces: &[&[u8]]) -> (Vec<Seen>, bool) {
    watched(|| {
        let (mut talk, mut seen) = (Talk::new(role), Vec::new());
        talk.begin(role);
        talk.ours.set_nonblocking(true).expect("a socket's flag");
        for piece in pieces {
            talk.feed(piece);
            talk.read(role, &mut seen);
        }
        let connected = talk.session().is_connected();
        let _ = talk.peer.shutdown(Shutdown::Write);
        talk.read(role, &mut seen);
        assert!(!talk.session().is_connected(), "the end of a connection closes its session");
        (seen, connected)
    })
}

/// Plays to the end and returns the FLV file, with some calls of players in between.
pub fn play(wire: &[u8]) -> Vec<u8> {
    watched(|| {
        let mut talk = Talk::new(Role::Client);
        talk.begin(Role::Client);
        talk.feed(wire);
        let _ = talk.peer.shutdown(Shutdown::Write);
        // SAFETY: contract.
        let playing = unsafe { RTMP_ConnectStream(talk.r, 0) };
        talk.drain();
        if playing != FALSE {
            // SAFETY: contract.
            unsafe { commands::RTMP_SendSeek(talk.r, 7) };
            // SAFETY: contract.
            unsafe { control::RTMP_UpdateBufferMS(talk.r) };
        }
        let (mut file, mut room) = (Vec::new(), [0_u8; 4096]);
        loop {
            // SAFETY: the room's start and length.
            let got = unsafe { RTMP_Read(talk.r, room.as_mut_ptr().cast(), room.len() as c_int) };
            talk.drain();
            let Ok(got @ 1..) = usize::try_from(got) else { break };
            file.extend_from_slice(&room[..got]);
        }
        file
    })
}

/// The bytes that `RTMP_Write` sends for an FLV file in pieces, up to a piece that is refused.
pub fn publish(pieces: &[&[u8]]) -> Vec<u8> {
    watched(|| {
        let mut talk = Talk::new(Role::Publisher);
        talk.begin(Role::Publisher);
        talk.drain();
        talk.session().m_stream_id.set(1);
        let mut wire = Vec::new();
        for piece in pieces {
            // SAFETY: the piece's start and length.
            let taken = unsafe { RTMP_Write(talk.r, piece.as_ptr().cast(), piece.len() as c_int) };
            wire.extend(talk.drain());
            if taken < 0 {
                break;
            }
        }
        wire
    })
}

/// An object of the C allocator's, freed at the end.
struct Object(AMFObject);

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: contract.
        unsafe { AMF_Reset(Some(&mut self.0)) };
    }
}

/// An object's encoding; `None` if it does not fit.
fn encoded(object: &mut Object) -> Option<Vec<u8>> {
    let mut room = vec![0_u8; ENCODED_BYTES];
    let start = room.as_mut_ptr().cast::<c_char>();
    let end = room.as_mut_ptr_range().end.cast();
    // SAFETY: the room between the two.
    let at = unsafe { AMF_Encode(Some(&object.0), start, end) };
    let len = (!at.is_null()).then(|| at as usize - start as usize)?;
    assert!(len <= room.len());
    room.truncate(len);
    Some(room)
}

/// Reads every property with every function.
fn look(object: &mut Object) {
    // SAFETY: contract.
    unsafe { AMF_Dump(Some(&object.0)) };
    // SAFETY: contract.
    let count = unsafe { AMF_CountProp(Some(&object.0)) };
    let mut found = AMFObjectProperty::INVALID;
    for index in 0..count {
        // SAFETY: contract.
        let prop = unsafe { AMF_GetProp(Some(&object.0), None, index) };
        // SAFETY: a property of the object, or none.
        let prop = unsafe { prop.as_ref() };
        let (mut name, mut text, mut inner) = (AVal::NULL, AVal::NULL, AMFObject::EMPTY);
        // SAFETY: contract.
        unsafe { AMFProp_GetName(prop, &raw mut name) };
        // SAFETY: contract.
        unsafe { AMFProp_GetString(prop, &raw mut text) };
        // SAFETY: contract.
        unsafe { AMFProp_GetObject(prop, &raw mut inner) };
        let total = name.bytes().iter().chain(text.bytes()).fold(0_u32, |sum, &byte| sum.wrapping_add(byte.into()));
        std::hint::black_box((total, inner.props().len()));
        // SAFETY: contract.
        let named = unsafe { AMF_GetProp(Some(&object.0), Some(&name), -1) };
        assert!(!named.is_null());
        // SAFETY: contract.
        unsafe { RTMP_FindFirstMatchingProperty(Some(&object.0), Some(&name), &raw mut found) };
        // SAFETY: contract.
        unsafe { RTMP_FindPrefixProperty(Some(&object.0), Some(&name), &raw mut found) };
    }
}

/// Decodes bytes by every AMF decoder: values are within the bytes, and those that librtmp encodes fully are the same
/// after encoding and decoding.
pub fn amf(data: &[u8]) {
    let (start, size) = (data.as_ptr().cast::<c_char>(), data.len() as c_int);
    watched(|| {
        for names in [FALSE, TRUE] {
            let mut object = Object(AMFObject::EMPTY);
            // SAFETY: the data's start and length.
            let used = unsafe { AMF_Decode(&raw mut object.0, start, size, names) };
            assert!(used <= size);
            look(&mut object);
            let bytes = encoded(&mut object);
            if let Some(bytes) = bytes.filter(|_| can_be_told(&object.0, true)) {
                again(&bytes);
            }
            property(data, names);
            let mut array = Object(AMFObject::EMPTY);
            // SAFETY: the data's start and length.
            let used = unsafe { AMF_DecodeArray(&raw mut array.0, start, size, size, names) };
            assert!(used <= size);
            look(&mut array);
            let mut object = Object(AMFObject::EMPTY);
            // SAFETY: the data's start and length.
            let used = unsafe { amf3::AMF3_Decode(&raw mut object.0, start, size, names) };
            assert!(used <= size);
            look(&mut object);
        }
    });
}

/// Decodes one property, dumps it, and encodes it into little room and into enough.
fn property(data: &[u8], names: c_int) {
    let mut prop = AMFObjectProperty::INVALID;
    // SAFETY: the data's start and length.
    let used = unsafe { AMFProp_Decode(&raw mut prop, data.as_ptr().cast(), data.len() as c_int, names) };
    assert!(used <= data.len() as c_int);
    // SAFETY: contract.
    unsafe { AMFProp_Dump(Some(&prop)) };
    for len in [data.len() / 2, 2 * data.len() + 64] {
        let mut room = vec![0_u8; len];
        let (start, end) = (room.as_mut_ptr().cast(), room.as_mut_ptr_range().end.cast());
        // SAFETY: the room between the two.
        let at = unsafe { AMFProp_Encode(Some(&prop), start, end) };
        assert!(at.is_null() || (start <= at && at <= end));
    }
    // SAFETY: contract.
    unsafe { AMFProp_Reset(&raw mut prop) };
}

/// Whether librtmp's encoder writes all of an object: it leaves out names of nulls, empty names, dates and XML.
fn can_be_told(object: &AMFObject, names: bool) -> bool {
    object.props().iter().all(|prop| match prop.p_type {
        _ if prop.p_name.is_empty() == names => false,
        AMF_NUMBER | AMF_BOOLEAN | AMF_STRING => true,
        AMF_OBJECT | AMF_ECMA_ARRAY => can_be_told(&prop.object(), true),
        AMF_STRICT_ARRAY => can_be_told(&prop.object(), false),
        AMF_NULL => !names,
        _ => false,
    })
}

/// Asserts that encoded bytes decode completely and encode to the same bytes.
fn again(bytes: &[u8]) {
    let mut object = Object(AMFObject::EMPTY);
    // The first byte says that it is an object.
    let (start, size) = (bytes[1..].as_ptr().cast(), bytes.len() as c_int - 1);
    // SAFETY: the bytes' start and length.
    let used = unsafe { AMF_Decode(&raw mut object.0, start, size, TRUE) };
    assert_eq!(used, size, "what was encoded can be decoded");
    assert_eq!(encoded(&mut object).as_deref(), Some(bytes), "decoded and encoded, it is the same");
}

/// A url with options, by both functions that take one, without the options that fetch a file.
pub fn url(text: &[u8]) {
    let mut text: Vec<u8> = text.iter().copied().take_while(|&byte| byte != 0).collect();
    let fetches = text.windows(6).any(|part| part.eq_ignore_ascii_case(b"swfVfy"));
    text.push(0);
    watched(|| {
        let (mut protocol, mut port): (c_int, c_uint) = (0, 0);
        let (mut host, mut playpath, mut app) = (AVal::NULL, AVal::NULL, AVal::NULL);
        // SAFETY: a C string, and our own values.
        let parsed = unsafe {
            RTMP_ParseURL(
                text.as_ptr().cast(),
                &raw mut protocol,
                &raw mut host,
                &raw mut port,
                &raw mut playpath,
                &raw mut app,
            )
        };
        let range = text.as_ptr_range();
        for part in [host, app].into_iter().filter(|part| !part.is_empty()) {
            let part = part.bytes().as_ptr_range();
            assert!(range.start <= part.start && part.end < range.end, "the parts are parts of the url");
        }
        assert!(port <= 65_535 && (parsed != FALSE || playpath.start().is_null()));
        let mut copy = AVal::NULL;
        // SAFETY: the text outlives the call.
        let whole = unsafe { AVal::of(&text) };
        // SAFETY: our own values.
        unsafe { RTMP_ParsePlaypath(Some(&whole), &raw mut copy) };
        for made in [playpath, copy] {
            // SAFETY: made by the C allocator, for us to free.
            unsafe { super::mem::free(made.start()) };
        }
        if !fetches {
            set_up(&mut text);
        }
    });
}

fn set_up(text: &mut [u8]) {
    let r = RTMP_Alloc();
    // SAFETY: a new session.
    unsafe { RTMP_Init(r) };
    // SAFETY: a C string that may be written.
    if unsafe { RTMP_SetupURL(r, text.as_mut_ptr().cast()) } != FALSE {
        // SAFETY: a session of our own, between its calls.
        let session = unsafe { Session::new(r) }.expect("a session");
        let link = &session.Link;
        for part in [
            link.hostname.get(),
            link.app.get(),
            link.playpath.get(),
            link.tcUrl.get(),
            link.token.get(),
            link.flashVer.get(),
            link.sockshost.get(),
        ] {
            std::hint::black_box(part.bytes().iter().fold(0_u32, |sum, &byte| sum.wrapping_add(byte.into())));
        }
        assert_ne!(link.port.get(), 0, "a session has a port");
    }
    // SAFETY: the text outlives the session.
    let value = unsafe { AVal::of(text) };
    // SAFETY: contract.
    unsafe { RTMP_SetOpt(r, Some(&AVal::fixed(b"conn")), Some(&value)) };
    // SAFETY: a session of our own, between its calls.
    let mut extras = unsafe { Session::new(r) }.expect("a session").Link.extras.take();
    // SAFETY: what `conn` made is the program's to free.
    unsafe { AMF_Reset(Some(&mut extras)) };
    // SAFETY: contract; it is not used again.
    unsafe { RTMP_Free(r) };
}
