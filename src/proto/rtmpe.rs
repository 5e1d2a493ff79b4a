//! The handshakes of the librtmp face: plain, signed, and signed with encryption (RTMPE), both roles, without I/O.
//!
//! RTMPE is obfuscation, not security: its keys are public, and it does not authenticate the peer. Use TLS for that.
//! The relay face uses [`super::handshake`]. Time and random bytes are arguments; the caller keeps deadlines. Only the
//! peer's packets, of 1536 bytes each, are held.
//!
//! Sources: RTMP specification 5.2; RTMPE's public descriptions, and the answers of librtmp 2.4 on the wire
//! (type 6 with client version 128 is answered with type 8).

mod dh;
pub(crate) mod keys;
pub(crate) mod sign;
#[cfg(test)]
mod tests;

use rc4::consts::U16;
use rc4::{KeyInit, StreamCipher};

use self::dh::{KEY_BYTES, KeyPair};
use self::keys::{CLIENT_NAME, SERVER_NAME, long_key};
use self::sign::{Packet, SIGNATURE_AT, Scheme, hmac, signature};
use crate::error::{Failure, RRError, Result};

/// Bytes of a handshake packet.
const PACKET_BYTES: usize = 1536;

/// Random bytes that a handshake uses up: packet 1, packet 2, and a private key.
pub const RANDOM_BYTES: usize = PACKET_BYTES - 8 + SIGNATURE_AT + KEY_BYTES;

/// The version of a side that does not sign.
const NO_VERSION: [u8; 4] = [0; 4];
const CLIENT_VERSION: [u8; 4] = [10, 0, 45, 2];
const CLIENT_VERSION_ENCRYPTED: [u8; 4] = [128, 0, 3, 2];
const SERVER_VERSION: [u8; 4] = [3, 5, 1, 1];

/// A player file as a server that verifies players knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwfId {
    /// HMAC-SHA256 of the file, decompressed.
    pub hash: [u8; 32],
    /// The file's size in bytes, decompressed.
    pub size: u32,
}

/// A client's options for its handshake.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Sign, because some servers serve only Adobe's player.
    pub signed: bool,
    /// Encrypt what follows; signs as well.
    pub encrypted: bool,
    /// Prepare the answer to a server that verifies the player; signs as well.
    pub swf: Option<SwfId>,
}

/// Whether the peer signs its packets correctly (with keys that are public).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// The peer does not sign.
    Plain,
    /// The peer's signature is right.
    Valid,
    /// The peer's version claims signing, but its signature is wrong; many peers send a version and never sign.
    Invalid,
}

/// A finished handshake.
#[derive(Debug)]
pub struct Done {
    /// The handshake's type as both agreed on: 3, 6, 8 or 9.
    pub kind: u8,
    /// The peer's version bytes.
    pub peer_version: [u8; 4],
    /// The peer's signatures; never [`Signed::Invalid`] with encryption.
    pub signed: Signed,
    /// Whether the peer's packet 2 was our packet 1, as it should be without signatures; few peers check this.
    pub echo_matches: bool,
    /// The ciphers of an encrypted conversation, for all bytes after the handshake.
    pub ciphers: Option<Ciphers>,
    /// The answer to a server that verifies the player (user control 26, answered by 27).
    pub swf_response: Option<[u8; 42]>,
}

/// The keystreams of both directions, past the bytes that the handshake uses up.
#[derive(Debug)]
pub struct Ciphers {
    /// Decrypts arriving bytes.
    pub read: Rc4,
    /// Encrypts sent bytes.
    pub write: Rc4,
}

/// One RC4 keystream.
pub struct Rc4(rc4::Rc4<U16>);

impl Rc4 {
    /// A keystream, advanced by the length of a handshake packet as both sides do.
    fn new(secret: &[u8; KEY_BYTES], public: &[u8; KEY_BYTES]) -> Self {
        let digest = hmac(secret, &[public]);
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        let mut cipher = Self(rc4::Rc4::new(&key.into()));
        cipher.apply(&mut [0; PACKET_BYTES]);
        cipher
    }

    /// Encrypts or decrypts; RC4 does the same for both.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        self.0.apply_keystream(bytes);
    }
}

impl std::fmt::Debug for Rc4 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rc4")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    First,
    Second,
    Over,
}

/// One side of a handshake: send the bytes of [`output`](Self::output) and [`feed`](Self::feed) arriving ones, until
/// `feed` gives [`Done`]; then send the rest of the output.
pub struct Handshake {
    client: bool,
    signed: bool,
    encrypted: bool,
    swf: Option<SwfId>,
    kind: u8,
    scheme: Scheme,
    random: Box<[u8; RANDOM_BYTES]>,
    uptime_ms: u32,
    keys: Option<KeyPair>,
    /// Our packet 1.
    ours: Box<Packet>,
    output: Vec<u8>,
    input: Vec<u8>,
    step: Step,
    done: Done,
    /// The type that a test's server answers with.
    #[cfg(test)]
    answer_kind: Option<u8>,
}

impl Handshake {
    /// The connecting side; its first bytes are in the output.
    pub fn client(options: Options, uptime_ms: u32, random: &[u8; RANDOM_BYTES]) -> Self {
        let mut this = Self::new(true, uptime_ms, random);
        this.encrypted = options.encrypted;
        this.signed = options.signed || options.encrypted || options.swf.is_some();
        this.swf = options.swf;
        this.kind = if this.encrypted { 6 } else { 3 };
        this.scheme = if this.encrypted { Scheme::KeyFirst } else { Scheme::DigestFirst };
        this.make_first();
        this
    }

    /// The accepting side: takes types 3, 6 and 8, and signs if the client does.
    pub fn server(swf: Option<SwfId>, uptime_ms: u32, random: &[u8; RANDOM_BYTES]) -> Self {
        Self { swf, ..Self::new(false, uptime_ms, random) }
    }

    fn new(client: bool, uptime_ms: u32, random: &[u8; RANDOM_BYTES]) -> Self {
        Self {
            client,
            signed: false,
            encrypted: false,
            swf: None,
            kind: 3,
            scheme: Scheme::DigestFirst,
            random: Box::new(*random),
            uptime_ms,
            keys: None,
            ours: Box::new([0; PACKET_BYTES]),
            output: Vec::new(),
            input: Vec::new(),
            step: Step::First,
            done: Done {
                kind: 3,
                peer_version: NO_VERSION,
                signed: Signed::Plain,
                echo_matches: false,
                ciphers: None,
                swf_response: None,
            },
            #[cfg(test)]
            answer_kind: None,
        }
    }

    /// Bytes for the peer.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// Drops `n` bytes of the output, which were sent.
    pub fn consumed(&mut self, n: usize) {
        self.output.drain(..n.min(self.output.len()));
    }

    /// How many bytes the next step needs; 0 when the handshake is over. For callers that must not read ahead.
    pub fn want(&self) -> usize {
        match self.step {
            Step::First => 1 + PACKET_BYTES - self.input.len(),
            Step::Second => PACKET_BYTES - self.input.len(),
            Step::Over => 0,
        }
    }

    /// Takes bytes of the handshake from `input[*at..]`, and none after it. `Some` once, at the end.
    ///
    /// # Errors
    /// [`RRError::Handshake`]: a client uses an unknown type, an encrypted handshake lacks its signature or has a bad
    /// key, or a server refused our signature. [`RRError::State`] after the end or an error.
    pub fn feed(&mut self, input: &[u8], at: &mut usize) -> Result<Option<Done>> {
        if self.step == Step::Over {
            return Err(RRError::State.into());
        }
        while self.step != Step::Over {
            let rest = input.get(*at..).unwrap_or_default();
            let piece = &rest[..rest.len().min(self.want())];
            self.input.extend_from_slice(piece);
            *at += piece.len();
            if self.step == Step::First && !self.client && self.input.first().is_some_and(|kind| !is_known(*kind)) {
                let kind = self.input[0];
                self.step = Step::Over;
                return Err(refused(format!("the client's handshake is of type {kind:#04x}, which is unknown")));
            }
            if self.want() > 0 {
                return Ok(None);
            }
            let step = std::mem::replace(&mut self.step, Step::Over); // an error ends the handshake
            let input = std::mem::take(&mut self.input);
            let mut packet: Packet = [0; PACKET_BYTES];
            packet.copy_from_slice(&input[input.len() - PACKET_BYTES..]);
            match step {
                Step::First => {
                    self.first(input[0], &packet)?;
                    self.step = Step::Second;
                }
                _ => self.second(&packet)?,
            }
        }
        let empty = Done { ciphers: None, ..self.done };
        Ok(Some(std::mem::replace(&mut self.done, empty)))
    }

    /// Takes the peer's packet 1.
    fn first(&mut self, kind: u8, packet: &Packet) -> Result<()> {
        self.done.peer_version.copy_from_slice(&packet[4..8]);
        if self.client {
            self.kind = kind;
            if kind == 3 && packet[4] == 0 {
                self.signed = false; // a server without signatures has no encryption either
            }
        } else {
            self.first_of_client(kind, packet)?;
        }
        self.done.kind = self.kind;
        if !self.signed {
            self.output.extend_from_slice(packet); // packet 2 is an echo
            return Ok(());
        }
        let (name, our_long_key) = if self.client {
            (&SERVER_NAME[..], long_key(CLIENT_NAME))
        } else {
            (&CLIENT_NAME[..], long_key(SERVER_NAME))
        };
        // A server's packet may use the other scheme than ours.
        let theirs = scheme_of(packet, name, self.scheme)
            .ok_or_else(|| refused("the peer's handshake is not signed as it says"))?;
        self.agree(packet, theirs)?;
        if let Some(swf) = &self.swf {
            let server = if self.client { packet } else { &*self.ours };
            let mut tail = [0; 32];
            tail.copy_from_slice(&server[SIGNATURE_AT..]);
            self.done.swf_response = Some(swf_response(swf, &tail));
        }
        let body = &self.random[PACKET_BYTES - 8..PACKET_BYTES - 8 + SIGNATURE_AT];
        self.output.extend_from_slice(body);
        self.output.extend_from_slice(&signature(self.kind, body, &theirs.digest(packet), &our_long_key));
        Ok(())
    }

    /// A server takes type, scheme and signing from the client's packet 1, and answers with its own.
    fn first_of_client(&mut self, kind: u8, packet: &Packet) -> Result<()> {
        self.encrypted = kind != 3;
        self.kind = if kind == 6 && packet[4] == CLIENT_VERSION_ENCRYPTED[0] { 8 } else { kind };
        #[cfg(test)]
        if let Some(kind) = self.answer_kind {
            self.kind = kind;
        }
        let wish = if self.encrypted { Scheme::KeyFirst } else { Scheme::DigestFirst };
        match scheme_of(packet, CLIENT_NAME, wish) {
            Some(scheme) => (self.scheme, self.signed) = (scheme, true),
            None if self.encrypted => return Err(refused("the client's encrypted handshake is not signed")),
            None if packet[4] == 0 => {}
            None => self.done.signed = Signed::Invalid,
        }
        self.make_first();
        Ok(())
    }

    /// Makes the ciphers from the shared secret, if the handshake encrypts.
    fn agree(&mut self, packet: &Packet, theirs: Scheme) -> Result<()> {
        if let Some(keys) = &self.keys {
            let their_key = theirs.key(packet);
            let secret = keys.agree(&their_key)?;
            self.done.ciphers =
                Some(Ciphers { read: Rc4::new(&secret, &keys.public), write: Rc4::new(&secret, &their_key) });
        }
        Ok(())
    }

    /// Takes the peer's packet 2.
    fn second(&mut self, packet: &Packet) -> Result<()> {
        self.done.echo_matches = packet == &*self.ours;
        if !self.signed {
            return Ok(());
        }
        let their_long_key = long_key(if self.client { SERVER_NAME } else { CLIENT_NAME });
        let (body, given) = packet.split_at(SIGNATURE_AT);
        let expected = signature(self.kind, body, &self.scheme.digest(&self.ours), &their_long_key);
        if given == expected {
            self.done.signed = Signed::Valid;
        } else if self.encrypted {
            self.done.ciphers = None;
            return Err(refused("the peer's second packet is not signed"));
        } else {
            self.done.signed = Signed::Invalid;
        }
        Ok(())
    }

    /// Makes our type and packet 1.
    fn make_first(&mut self) {
        let version = match (self.signed, self.client, self.encrypted) {
            (false, ..) => NO_VERSION,
            (true, false, _) => SERVER_VERSION,
            (true, true, false) => CLIENT_VERSION,
            (true, true, true) => CLIENT_VERSION_ENCRYPTED,
        };
        self.ours[..4].copy_from_slice(&self.uptime_ms.to_be_bytes());
        self.ours[4..8].copy_from_slice(&version);
        self.ours[8..].copy_from_slice(&self.random[..PACKET_BYTES - 8]);
        if self.encrypted {
            let mut random = [0; KEY_BYTES];
            random.copy_from_slice(&self.random[RANDOM_BYTES - KEY_BYTES..]);
            let keys = KeyPair::new(&random);
            let at = self.scheme.key_at(&self.ours);
            self.ours[at..at + KEY_BYTES].copy_from_slice(&keys.public);
            self.keys = Some(keys);
        }
        if self.signed {
            self.scheme.sign(&mut self.ours, if self.client { CLIENT_NAME } else { SERVER_NAME });
        }
        self.output.push(self.kind);
        self.output.extend_from_slice(&self.ours[..]);
    }
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake").field("client", &self.client).field("step", &self.step).finish_non_exhaustive()
    }
}

/// The answer to a server that verifies the player; `server_tail` are the last bytes of the server's packet 1.
pub fn swf_response(swf: &SwfId, server_tail: &[u8; 32]) -> [u8; 42] {
    let mut response = [0; 42];
    response[..2].copy_from_slice(&[1, 1]);
    response[2..6].copy_from_slice(&swf.size.to_be_bytes());
    response[6..10].copy_from_slice(&swf.size.to_be_bytes());
    response[10..].copy_from_slice(&hmac(server_tail, &[&swf.hash]));
    response
}

/// Whether a server accepts this first byte.
fn is_known(kind: u8) -> bool {
    matches!(kind, 3 | 6 | 8)
}

/// The scheme by which a packet is signed, the likely one tried first.
fn scheme_of(packet: &Packet, name: &[u8], likely: Scheme) -> Option<Scheme> {
    [likely, likely.other()].into_iter().find(|scheme| scheme.is_signed(packet, name))
}

fn refused(text: impl Into<std::borrow::Cow<'static, str>>) -> Failure {
    Failure::peers(RRError::Handshake, text)
}
