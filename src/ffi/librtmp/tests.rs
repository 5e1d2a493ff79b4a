//! Conversations through the exports, as programs use them, over pipes in memory: a player, a publisher, threads that
//! close at any time. `make miri` runs them under Miri, which has neither sockets nor C. These tests need neither, and
//! logging, which needs C, is off there.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

use super::amf_prop::*;
use super::client::*;
use super::flv_read::RTMP_Read;
use super::flv_write::RTMP_Write;
use super::inner::Session;
use super::life::*;
use super::options::{RTMP_SetOpt, RTMP_SetupURL};
use super::recv::RTMP_ReadPacket;
use super::send::{RTMP_SendPacket, RTMPPacket_Alloc, RTMPPacket_Free};
use super::system::memory::{Peer, pipe};
use super::types::*;
use super::{commands, control, log};
use crate::proto::chunk_read::{ChunkReader, ReadLimits};
use crate::proto::chunk_write::encode;
use crate::proto::message::MessageHead;

/// Rounds of tests that depend on timing. Miri tries other orders itself, and is slow.
const ROUNDS: usize = if cfg!(miri) { 4 } else { 200 };

/// A program's session, and the other side of its connection.
struct Talk {
    r: *mut RTMP,
    peer: Peer,
}

/// A session for use by another thread.
#[derive(Clone, Copy)]
struct Shared(*mut RTMP);

// SAFETY: the threads here use it as the contract of all pointers lets them.
unsafe impl Send for Shared {}

// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    fn close(self) {
        // SAFETY: contract: from any thread.
        unsafe { RTMP_Close(self.0) };
    }
}

impl Talk {
    /// A session after its handshake. Chunks of both directions have 128 bytes.
    fn new() -> Self {
        if cfg!(miri) {
            log::RTMP_LogSetLevel(log::CRIT - 1);
        } else {
            super::fuzz::quiet();
        }
        let r = RTMP_Alloc();
        let mut talk = Self { r, peer: pipe().1 };
        talk.begin();
        talk
    }

    /// Sets up the session again, on a new connection.
    fn begin(&mut self) {
        // SAFETY: memory for a session.
        unsafe { RTMP_Init(self.r) };
        let (fd, peer) = pipe();
        self.session().m_sb.put_socket(fd);
        self.session().m_stream_id.set(1);
        self.session().Link.playpath.set(AVal::fixed(b"show"));
        self.peer = peer;
    }

    fn session(&self) -> Session {
        // SAFETY: a session of our own, between its calls.
        unsafe { Session::new(self.r) }.expect("memory for a session")
    }

    /// Reads packets to the end of the connection, and lets the client act on each. Returns the packets.
    fn packets(&self) -> Vec<(u8, u32, Vec<u8>)> {
        let mut seen = Vec::new();
        let mut packet = RTMPPacket::EMPTY;
        // SAFETY: contract.
        while unsafe { RTMP_ReadPacket(self.r, Some(&mut packet)) } != FALSE {
            if packet.m_nBytesRead == packet.m_nBodySize {
                // SAFETY: the packet is ours.
                let body = unsafe { packet.body() }.to_vec();
                // SAFETY: contract.
                unsafe { RTMP_ClientPacket(self.r, Some(&packet)) };
                seen.push((packet.m_packetType, packet.m_nTimeStamp, body));
                // SAFETY: contract.
                unsafe { RTMPPacket_Free(Some(&mut packet)) };
            }
        }
        seen
    }

    /// The messages that the session has sent.
    fn sent(&self) -> Vec<(MessageHead, Vec<u8>)> {
        let mut reader =
            ChunkReader::new(ReadLimits { max_message: 1 << 20, max_open_bytes: 1 << 20, max_chunk_streams: 64 });
        let (wire, mut at, mut messages) = (self.peer.heard(), 0, Vec::new());
        while let Some(head) = reader.next(&wire, &mut at).expect("chunks as they should be") {
            messages.push((head, reader.body(&wire).to_vec()));
        }
        assert_eq!(at, wire.len(), "whole messages");
        messages
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // SAFETY: contract.
        unsafe { RTMP_Close(self.r) };
        // SAFETY: contract; it is not used again.
        unsafe { RTMP_Free(self.r) };
    }
}

/// A message on the wire, in chunks of 128 bytes.
fn wire(type_id: u8, timestamp_ms: u32, body: &[u8]) -> Vec<u8> {
    let chunk_stream = if type_id == 20 { 3 } else { u32::from(type_id) };
    let head = MessageHead { timestamp_ms, type_id, stream_id: 1, len: body.len() as u32, chunk_stream };
    let mut bytes = Vec::new();
    encode(&head, body, 128, &mut bytes);
    bytes
}

const PLAY_START: &[u8] =
    b"\x02\0\x08onStatus\0\0\0\0\0\0\0\0\0\x05\x03\0\x04code\x02\0\x14NetStream.Play.Start\0\0\x09";

/// A server's messages: bandwidths, a ping, audio and video.
fn show() -> Vec<(u8, u32, Vec<u8>)> {
    vec![
        (20, 0, PLAY_START.to_vec()),
        (4, 0, b"\0\x06\x01\x02\x03\x04".to_vec()),
        (20, 0, b"\x02\0\x08onBWDone\0\0\0\0\0\0\0\0\0\x05".to_vec()),
        (8, 0, [&b"\xAF\x01"[..], &[8; 20]].concat()),
        (9, 0, [&b"\x17\x01\0\0\0"[..], &[9; 300]].concat()),
        (8, 40, [&b"\xAF\x01"[..], &[7; 200]].concat()),
        (9, 40, [&b"\x27\x01\0\0\0"[..], &[6; 130]].concat()),
    ]
}

#[test]
fn a_player_gets_every_message_however_it_is_cut() {
    let wire: Vec<u8> = show().iter().flat_map(|(kind, time, body)| wire(*kind, *time, body)).collect();
    for piece in [3, 100, 129, wire.len()] {
        let talk = Talk::new();
        let peer = &talk.peer;
        let seen = std::thread::scope(|scope| {
            scope.spawn(|| {
                for piece in wire.chunks(piece) {
                    peer.say(piece);
                    std::thread::yield_now();
                }
                peer.hang_up();
            });
            talk.packets()
        });
        assert_eq!(seen, show(), "in pieces of {piece}");
        assert!(!talk.session().is_connected(), "the end of a connection closes its session");
        assert!(talk.peer.is_left());
    }
}

#[test]
fn a_player_answers_and_reads_a_file() {
    let talk = Talk::new();
    for (kind, time, body) in show() {
        talk.peer.say(&wire(kind, time, &body));
    }
    talk.peer.hang_up();
    // SAFETY: contract.
    assert_eq!(unsafe { RTMP_ConnectStream(talk.r, 0) }, TRUE);
    let (mut file, mut room) = (Vec::new(), [0_u8; 70]);
    loop {
        // SAFETY: the room's start and length.
        let got = unsafe { RTMP_Read(talk.r, room.as_mut_ptr().cast(), room.len() as c_int) };
        let Ok(got @ 1..) = usize::try_from(got) else { break };
        file.extend_from_slice(&room[..got]);
    }
    let media: Vec<_> = show().into_iter().filter(|(kind, ..)| matches!(kind, 8 | 9)).collect();
    assert_eq!(&file[..5], b"FLV\x01\x05");
    assert_eq!(file.len(), 13 + media.iter().map(|(.., body)| 15 + body.len()).sum::<usize>());
    let types: Vec<u8> = talk.sent().iter().map(|(head, _)| head.type_id).collect();
    assert_eq!(types, [4, 20, 20], "a pong, a measurement, and goodbye");
}

#[test]
fn what_is_published_arrives_and_ends_with_words() {
    let tag = |kind: u8, time: u8, body: &[u8]| {
        let mut bytes = vec![kind, 0, (body.len() >> 8) as u8, body.len() as u8, 0, 0, time, 0, 0, 0, 0];
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(&(body.len() as u32 + 11).to_be_bytes());
        bytes
    };
    let (sound, picture) = ([5; 60], [9; 300]);
    let file = [
        b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec(),
        tag(18, 0, b"\x02\0\x0aonMetaData\x05"),
        tag(8, 0, &sound),
        tag(8, 33, &sound),
        tag(8, 33, &sound),
        tag(9, 33, &picture),
    ]
    .concat();
    for slice in [1, 10, 64, file.len()] {
        let talk = Talk::new();
        // SAFETY: contract.
        unsafe { RTMP_EnableWrite(talk.r) };
        for piece in file.chunks(slice) {
            // SAFETY: the piece's start and length.
            let taken = unsafe { RTMP_Write(talk.r, piece.as_ptr().cast(), piece.len() as c_int) };
            assert_eq!(taken, piece.len() as c_int);
        }
        // SAFETY: contract.
        unsafe { RTMP_Close(talk.r) };
        let sent = talk.sent();
        let media: Vec<_> = sent.iter().map(|(head, body)| (head.type_id, head.timestamp_ms, body.len())).collect();
        assert_eq!(media[..5], [(18, 0, 30), (8, 0, 60), (8, 33, 60), (8, 33, 60), (9, 33, 300)], "slices of {slice}");
        let words = [&b"\x02\0\x0bFCUnpublish"[..], b"\x02\0\x0cdeleteStream"];
        for ((_, body), words) in sent[5..].iter().zip(words) {
            assert!(body.starts_with(words), "{body:02x?}");
        }
        assert_eq!(sent.len(), 7);
    }
}

#[test]
fn calls_wait_for_their_answers_and_are_forgotten_with_them() {
    let talk = Talk::new();
    // More calls than the table's first step has room for.
    for _ in 0..20 {
        // SAFETY: contract.
        assert_eq!(unsafe { commands::RTMP_SendCreateStream(talk.r) }, TRUE);
    }
    assert_eq!(talk.session().m_numCalls.get(), 20);
    for transaction in 1..=20_u32 {
        let number = f64::from(transaction).to_be_bytes();
        let body = [&b"\x02\0\x07_result\0"[..], &number, b"\x05\0", &1_f64.to_be_bytes()].concat();
        talk.peer.say(&wire(20, 0, &body));
    }
    talk.peer.say(&wire(3, 0, &[0; 4]));
    let mut packet = RTMPPacket::EMPTY;
    for _ in 0..20 {
        // SAFETY: contract.
        assert_eq!(unsafe { RTMP_ReadPacket(talk.r, Some(&mut packet)) }, TRUE);
        // SAFETY: contract.
        unsafe { RTMP_ClientPacket(talk.r, Some(&packet)) };
        // SAFETY: contract.
        unsafe { RTMPPacket_Free(Some(&mut packet)) };
    }
    // Each answer to createStream is followed by a play, whose call takes its place in the table.
    assert_eq!(talk.session().m_numCalls.get(), 20);
    // SAFETY: contract.
    unsafe { super::calls::RTMP_DropRequest(talk.r, 3, TRUE) };
    assert_eq!(talk.session().m_numCalls.get(), 19);
}

#[test]
fn packets_of_a_program_are_only_read() {
    let talk = Talk::new();
    let mut packet = RTMPPacket { m_packetType: 9, m_nChannel: 320, m_nBodySize: 500, ..RTMPPacket::EMPTY };
    // SAFETY: contract.
    assert_eq!(unsafe { RTMPPacket_Alloc(Some(&mut packet), 500) }, TRUE);
    for time in [0, 40, 40] {
        packet.m_nTimeStamp = time;
        packet.m_headerType = if time == 0 { 0 } else { 1 };
        // SAFETY: contract.
        assert_eq!(unsafe { RTMP_SendPacket(talk.r, Some(&mut packet), FALSE) }, TRUE);
    }
    // SAFETY: contract.
    unsafe { control::RTMP_SendCtrl(talk.r, 3, 1, 300) };
    // SAFETY: the packet is ours.
    assert!(unsafe { packet.body() }.iter().all(|&byte| byte == 0));
    // SAFETY: contract.
    unsafe { RTMPPacket_Free(Some(&mut packet)) };
    let times: Vec<_> = talk.sent().iter().map(|(head, body)| (head.timestamp_ms, body.len())).collect();
    assert_eq!(times, [(0, 500), (40, 500), (40, 500), (0, 10)]);
}

#[test]
fn another_thread_may_close_while_a_call_waits_for_the_peer() {
    for round in 0..ROUNDS {
        let talk = Talk::new();
        let (shared, begun) = (Shared(talk.r), AtomicBool::new(false));
        talk.peer.say(&wire(8, 0, &[8; 200])[..60 + round % 100]);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !begun.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                shared.close();
            });
            begun.store(true, Ordering::Release);
            assert_eq!(talk.packets(), [], "the message never comes whole");
        });
        assert!(!talk.session().is_connected());
        assert!(talk.peer.is_left());
    }
}

#[test]
fn another_thread_may_close_while_much_is_read() {
    let wire: Vec<u8> = (0..5).flat_map(|time| wire(9, time, &[9; 300])).collect();
    for _ in 0..ROUNDS {
        let talk = Talk::new();
        let (shared, peer) = (Shared(talk.r), &talk.peer);
        peer.say(&wire);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::yield_now();
                shared.close();
            });
            let seen = talk.packets();
            assert!(seen.iter().all(|(.., body)| body[..] == [9; 300]));
        });
        assert!(!talk.session().is_connected());
    }
}

#[test]
fn two_threads_may_close_at_once_and_the_session_can_be_used_again() {
    let mut talk = Talk::new();
    for _ in 0..ROUNDS {
        talk.peer.say(&wire(8, 0, &[8; 20]));
        let shared = Shared(talk.r);
        std::thread::scope(|scope| {
            scope.spawn(|| shared.close());
            shared.close();
            assert!(!talk.session().is_connected(), "closed by either, when this one returns");
        });
        assert!(talk.peer.is_left());
        talk.begin();
    }
}

#[test]
fn urls_and_options_stay_in_the_programs_memory() {
    let talk = Talk::new();
    let mut url = *b"rtmp://host:1936/app/inst/show.mp4 live=1 conn=O:1 conn=NS:name:va\\20lue conn=O:0 token=\\41b\0";
    // SAFETY: a C string that may be written, and outlives the session.
    assert_eq!(unsafe { RTMP_SetupURL(talk.r, url.as_mut_ptr().cast()) }, TRUE);
    let more = *b"B:1";
    // SAFETY: it outlives the session.
    let value = unsafe { AVal::of(&more) };
    // SAFETY: contract.
    assert_eq!(unsafe { RTMP_SetOpt(talk.r, Some(&AVal::fixed(b"CONN")), Some(&value)) }, TRUE);
    let session = talk.session();
    let link = &session.Link;
    for (text, expected) in [
        (&link.hostname, &b"host"[..]),
        (&link.app, b"app/inst"),
        (&link.playpath, b"mp4:show"),
        (&link.tcUrl, b"rtmp://host:1936/app/inst"),
        (&link.token, b"Ab"),
    ] {
        assert_eq!(text.get().bytes(), expected);
    }
    let mut extras = link.extras.take();
    assert_eq!(extras.count(), 2);
    assert_eq!(extras.props()[0].object().string_at(0), b"va lue");
    // SAFETY: what `conn` made is the program's to free.
    unsafe { AMF_Reset(Some(&mut extras)) };
}

#[test]
fn an_object_is_decoded_looked_at_and_encoded() {
    let data = b"\x03\0\x01a\x03\0\x01b\x02\0\x03xyz\0\0\x09\0\x01c\0\x40\x45\0\0\0\0\0\0\0\0\x09";
    let mut object = AMFObject::EMPTY;
    // SAFETY: the data's start and length, behind its marker.
    let taken = unsafe { AMF_Decode(&raw mut object, data[1..].as_ptr().cast(), data.len() as c_int - 1, TRUE) };
    assert_eq!(taken, data.len() as c_int - 1);
    // SAFETY: contract.
    let first = unsafe { AMF_GetProp(Some(&object), Some(&AVal::fixed(b"a")), -1) };
    let mut inner = AMFObject::EMPTY;
    // SAFETY: a property of the object.
    let first = unsafe { first.as_ref() };
    // SAFETY: contract.
    unsafe { AMFProp_GetObject(first, &raw mut inner) };
    assert_eq!(inner.string_at(0), b"xyz");
    let mut room = [0_u8; 128];
    let range = room.as_mut_ptr_range();
    // SAFETY: the room between the two.
    let end = unsafe { AMF_Encode(Some(&object), range.start.cast(), range.end.cast()) };
    let len = end as usize - range.start as usize;
    assert_eq!(&room[..len], data);
    // SAFETY: contract.
    let none = unsafe { AMF_GetProp(Some(&object), None, 7) };
    // SAFETY: contract: what a look-up that finds nothing gives is not written.
    unsafe { AMFProp_SetNumber(none, 1.0) };
    // SAFETY: as above.
    unsafe { AMFProp_Reset(none) };
    // SAFETY: contract.
    unsafe { AMF_Reset(Some(&mut object)) };
    assert!(object.start().is_null());
}
