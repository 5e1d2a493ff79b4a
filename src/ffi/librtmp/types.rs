//! The structures of librtmp's headers, byte for byte, and their constants. They have no behaviour except reading their
//! values.
//!
//! Field names are the interface and stay as they are. `types/layout.rs` asserts the sizes and offsets.
//!
//! A session ([`RTMP`]) is shared: the program reads and writes its fields between calls, log functions do so within a
//! call, and a close from another thread reads some fields while a call is running. So each field is a cell, and those
//! that the other thread touches are atomics; no code makes a `&mut` to a session or to a field of one.

#![allow(non_snake_case, non_camel_case_types)]
#![allow(missing_docs)] // The fields are librtmp's; include/librtmp/*.h says what they mean.

use std::cell::{Cell, UnsafeCell};
use std::ffi::{c_char, c_int, c_uint, c_ushort, c_void};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

/// A counted string with another owner: `av_len` bytes are readable as long as the string is used. Programs that pass
/// one, and the functions here that make one, guarantee that.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AVal {
    av_val: *mut c_char,
    av_len: c_int,
}

impl AVal {
    /// No string.
    pub const NULL: Self = Self { av_val: ptr::null_mut(), av_len: 0 };

    /// A string of `len` bytes at `start`.
    ///
    /// # Safety
    /// `start` is NULL, or `len` bytes there are readable, and nobody writes them while they are looked at, as long as
    /// the string is used.
    pub const unsafe fn new(start: *mut c_char, len: c_int) -> Self {
        Self { av_val: start, av_len: len }
    }

    /// Points at `text`.
    ///
    /// # Safety
    /// `text` outlives every use of the string.
    pub unsafe fn of(text: &[u8]) -> Self {
        Self { av_val: text.as_ptr().cast_mut().cast(), av_len: c_int::try_from(text.len()).unwrap_or(0) }
    }

    /// Points at a static text.
    pub fn fixed(text: &'static [u8]) -> Self {
        // SAFETY: it outlives everything.
        unsafe { Self::of(text) }
    }

    /// The first byte; NULL for no string.
    pub fn start(self) -> *mut c_char {
        self.av_val
    }

    /// The bytes; none for NULL and for a length that is not positive.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        if self.av_val.is_null() || self.av_len <= 0 {
            return &[];
        }
        // SAFETY: what a string is.
        unsafe { std::slice::from_raw_parts(self.av_val.cast(), self.av_len as usize) }
    }

    /// The bytes, for longer than this copy of the string lives.
    ///
    /// # Safety
    /// The bytes are not used for longer than the string may be.
    pub unsafe fn long_bytes<'a>(self) -> &'a [u8] {
        if self.av_val.is_null() || self.av_len <= 0 {
            return &[];
        }
        // SAFETY: what a string is, and contract of this function.
        unsafe { std::slice::from_raw_parts(self.av_val.cast(), self.av_len as usize) }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// The text, for messages.
    pub fn shown(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.bytes())
    }
}

/// An object: `o_num` properties at `o_props`, in the C allocator's memory, with room up to the next multiple of `STEP`
/// in `amf.rs`. Programs that pass one guarantee that.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AMFObject {
    o_num: c_int,
    o_props: *mut AMFObjectProperty,
}

impl Default for AMFObject {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl AMFObject {
    pub const EMPTY: Self = Self { o_num: 0, o_props: ptr::null_mut() };

    /// An object of `num` properties at `props`.
    ///
    /// # Safety
    /// Those of the type.
    pub(super) unsafe fn of(num: c_int, props: *mut AMFObjectProperty) -> Self {
        Self { o_num: num, o_props: props }
    }

    /// The number of properties.
    pub(super) fn count(&self) -> c_int {
        self.o_num
    }

    /// The first property; NULL if there is none.
    pub(super) fn start(&self) -> *mut AMFObjectProperty {
        self.o_props
    }
}

/// The value of a property; its type says which.
#[repr(C)]
#[derive(Clone, Copy)]
pub union AMFValue {
    pub p_number: f64,
    pub p_aval: AVal,
    pub p_object: AMFObject,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct AMFObjectProperty {
    pub p_name: AVal,
    pub p_type: c_uint,
    pub p_vu: AMFValue,
    pub p_UTCoffset: i16,
}

impl AMFObjectProperty {
    /// No property: the result of a look-up that finds nothing.
    pub const INVALID: Self =
        Self { p_name: AVal::NULL, p_type: AMF_INVALID, p_vu: AMFValue { p_aval: AVal::NULL }, p_UTCoffset: 0 };

    /// The number of a property; 0 for strings, objects and arrays, because their bits are addresses and servers send a
    /// peer's numbers back.
    pub fn number(&self) -> f64 {
        match self.p_type {
            AMF_STRING | AMF_LONG_STRING | AMF_XML_DOC | AMF_OBJECT | AMF_ECMA_ARRAY | AMF_STRICT_ARRAY => 0.0,
            _ => self.bits(),
        }
    }

    /// The value's bits as a number, whatever the type says.
    pub fn bits(&self) -> f64 {
        // SAFETY: every bit pattern is a number, and every member of the union is at least as large.
        unsafe { self.p_vu.p_number }
    }

    /// The string of a property whose type has one.
    pub fn string(&self) -> AVal {
        if matches!(self.p_type, AMF_STRING | AMF_LONG_STRING | AMF_XML_DOC) {
            // SAFETY: the type says that this member was written.
            unsafe { self.p_vu.p_aval }
        } else {
            AVal::NULL
        }
    }

    /// The properties of an object or array.
    pub fn object(&self) -> AMFObject {
        if matches!(self.p_type, AMF_OBJECT | AMF_ECMA_ARRAY | AMF_STRICT_ARRAY) {
            // SAFETY: the type says that this member was written.
            unsafe { self.p_vu.p_object }
        } else {
            AMFObject::EMPTY
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct AMF3ClassDef {
    pub cd_name: AVal,
    pub cd_externalizable: c_char,
    pub cd_dynamic: c_char,
    pub cd_num: c_int,
    pub cd_props: *mut AVal,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RTMPChunk {
    pub c_headerSize: c_int,
    pub c_chunkSize: c_int,
    pub c_chunk: *mut c_char,
    pub c_header: [c_char; RTMP_MAX_HEADER_SIZE],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RTMPPacket {
    pub m_headerType: u8,
    pub m_packetType: u8,
    pub m_hasAbsTimestamp: u8,
    pub m_nChannel: c_int,
    pub m_nTimeStamp: u32,
    pub m_nInfoField2: i32,
    pub m_nBodySize: u32,
    pub m_nBytesRead: u32,
    pub m_chunk: *mut RTMPChunk,
    pub m_body: *mut c_char,
}

impl Default for RTMPPacket {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl RTMPPacket {
    pub const EMPTY: Self = Self {
        m_headerType: 0,
        m_packetType: 0,
        m_hasAbsTimestamp: 0,
        m_nChannel: 0,
        m_nTimeStamp: 0,
        m_nInfoField2: 0,
        m_nBodySize: 0,
        m_nBytesRead: 0,
        m_chunk: ptr::null_mut(),
        m_body: ptr::null_mut(),
    };

    /// The body of a complete packet.
    ///
    /// # Safety
    /// `m_body` is NULL or has `m_nBodySize` bytes, which nobody writes or frees as long as the result is used.
    pub unsafe fn body<'a>(&self) -> &'a [u8] {
        if self.m_body.is_null() || self.m_nBodySize > MAX_BODY_BYTES {
            return &[];
        }
        // SAFETY: contract of this function.
        unsafe { std::slice::from_raw_parts(self.m_body.cast(), self.m_nBodySize as usize) }
    }
}

#[repr(C)]
pub struct RTMPSockBuf {
    /// The descriptor, an atomic: a close from another thread reads it while a call is running.
    pub sb_socket: AtomicI32,
    pub sb_size: Cell<c_int>,
    pub sb_start: Cell<*mut c_char>,
    pub sb_buf: UnsafeCell<[c_char; RTMP_BUFFER_CACHE_SIZE]>,
    pub sb_timedout: Cell<c_int>,
    /// This is padding in C.
    pub(super) life: super::life::Life,
    pub sb_ssl: Cell<*mut c_void>,
}

#[repr(C)]
pub struct RTMP_LNK {
    pub hostname: Cell<AVal>,
    pub sockshost: Cell<AVal>,
    pub playpath0: Cell<AVal>,
    pub playpath: Cell<AVal>,
    pub tcUrl: Cell<AVal>,
    pub swfUrl: Cell<AVal>,
    pub pageUrl: Cell<AVal>,
    pub app: Cell<AVal>,
    pub auth: Cell<AVal>,
    pub flashVer: Cell<AVal>,
    pub subscribepath: Cell<AVal>,
    pub usherToken: Cell<AVal>,
    pub token: Cell<AVal>,
    pub pubUser: Cell<AVal>,
    pub pubPasswd: Cell<AVal>,
    pub extras: Cell<AMFObject>,
    pub edepth: Cell<c_int>,
    pub seekTime: Cell<c_int>,
    pub stopTime: Cell<c_int>,
    pub lFlags: Cell<c_int>,
    pub swfAge: Cell<c_int>,
    pub protocol: Cell<c_int>,
    pub timeout: Cell<c_int>,
    pub pFlags: Cell<c_int>,
    pub socksport: Cell<c_ushort>,
    pub port: Cell<c_ushort>,
    pub dh: Cell<*mut c_void>,
    pub rc4keyIn: Cell<*mut c_void>,
    pub rc4keyOut: Cell<*mut c_void>,
    pub SWFSize: Cell<u32>,
    pub SWFHash: Cell<[u8; RTMP_SWF_HASHLEN]>,
    pub SWFVerificationResponse: Cell<[c_char; RTMP_SWF_HASHLEN + 10]>,
}

#[repr(C)]
pub struct RTMP_READ {
    pub buf: Cell<*mut c_char>,
    pub bufpos: Cell<*mut c_char>,
    pub buflen: Cell<c_uint>,
    pub timestamp: Cell<u32>,
    pub dataType: Cell<u8>,
    pub flags: Cell<u8>,
    pub status: Cell<i8>,
    pub initialFrameType: Cell<u8>,
    pub nResumeTS: Cell<u32>,
    pub metaHeader: Cell<*mut c_char>,
    pub initialFrame: Cell<*mut c_char>,
    pub nMetaHeaderSize: Cell<u32>,
    pub nInitialFrameSize: Cell<u32>,
    pub nIgnoredFrameCounter: Cell<u32>,
    pub nIgnoredFlvFrameCounter: Cell<u32>,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RTMP_METHOD {
    pub name: AVal,
    pub num: c_int,
}

#[repr(C)]
pub struct RTMP {
    pub m_inChunkSize: Cell<c_int>,
    pub m_outChunkSize: Cell<c_int>,
    pub m_nBWCheckCounter: Cell<c_int>,
    pub m_nBytesIn: Cell<c_int>,
    pub m_nBytesInSent: Cell<c_int>,
    pub m_nBufferMS: Cell<c_int>,
    pub m_stream_id: Cell<c_int>,
    pub m_mediaChannel: Cell<c_int>,
    pub m_mediaStamp: Cell<u32>,
    pub m_pauseStamp: Cell<u32>,
    pub m_pausing: Cell<c_int>,
    pub m_nServerBW: Cell<c_int>,
    pub m_nClientBW: Cell<c_int>,
    pub m_nClientBW2: Cell<u8>,
    pub m_bPlaying: Cell<u8>,
    pub m_bSendEncoding: Cell<u8>,
    pub m_bSendCounter: Cell<u8>,
    pub m_numInvokes: Cell<c_int>,
    pub m_numCalls: Cell<c_int>,
    pub m_methodCalls: Cell<*mut RTMP_METHOD>,
    pub m_channelsAllocatedIn: Cell<c_int>,
    pub m_channelsAllocatedOut: Cell<c_int>,
    pub m_vecChannelsIn: Cell<*mut *mut RTMPPacket>,
    pub m_vecChannelsOut: Cell<*mut *mut RTMPPacket>,
    pub m_channelTimestamp: Cell<*mut c_int>,
    pub m_fAudioCodecs: Cell<f64>,
    pub m_fVideoCodecs: Cell<f64>,
    pub m_fEncoding: Cell<f64>,
    pub m_fDuration: Cell<f64>,
    pub m_msgCounter: Cell<c_int>,
    pub m_polling: Cell<c_int>,
    pub m_resplen: Cell<c_int>,
    pub m_unackd: Cell<c_int>,
    /// No program touches this field. `av_val` is the address of the library's own part of a session (`inner.rs`).
    pub m_clientID: Cell<AVal>,
    pub m_read: RTMP_READ,
    pub m_write: Cell<RTMPPacket>,
    pub m_sb: RTMPSockBuf,
    pub Link: RTMP_LNK,
}

impl RTMPSockBuf {
    /// The session's descriptor; -1 if it has none.
    #[inline]
    pub(super) fn socket(&self) -> c_int {
        self.sb_socket.load(Ordering::Relaxed)
    }
}

impl RTMP {
    /// Whether there is a socket.
    #[inline]
    pub fn is_connected(&self) -> bool {
        self.m_sb.socket() != -1
    }

    /// Whether the session publishes.
    pub fn is_publisher(&self) -> bool {
        self.Link.protocol.get() & RTMP_FEATURE_WRITE != 0
    }
}

/// The arguments and results of `HTTP_get`.
#[repr(C)]
pub struct HTTP_ctx {
    pub date: *mut c_char,
    pub size: c_int,
    pub status: c_int,
    pub data: *mut c_void,
}

/// The program's copy of `RTMP_ctrlC`: non-zero asks every blocking call to end.
#[unsafe(no_mangle)]
pub static RTMP_ctrlC: AtomicI32 = AtomicI32::new(0);

/// Whether the program asked blocking calls to end.
pub(super) fn interrupted() -> bool {
    RTMP_ctrlC.load(Ordering::Relaxed) != 0
}

pub const RTMP_LIB_VERSION: c_int = 0x02_0300;
pub const RTMP_BUFFER_CACHE_SIZE: usize = 16 * 1024;
/// Number of chunk stream ids that a session may use.
pub const RTMP_CHANNELS: usize = 65_600;
pub const RTMP_MAX_HEADER_SIZE: usize = 18;
pub const RTMP_SWF_HASHLEN: usize = 32;
pub const RTMP_DEFAULT_CHUNKSIZE: c_int = 128;
/// The largest body a message can have: its length has 24 bits.
pub const MAX_BODY_BYTES: u32 = 0xFF_FFFF;

pub const RTMP_FEATURE_HTTP: c_int = 0x01;
pub const RTMP_FEATURE_ENC: c_int = 0x02;
pub const RTMP_FEATURE_SSL: c_int = 0x04;
pub const RTMP_FEATURE_MFP: c_int = 0x08;
pub const RTMP_FEATURE_WRITE: c_int = 0x10;

pub const RTMP_LF_AUTH: c_int = 0x01;
pub const RTMP_LF_LIVE: c_int = 0x02;
pub const RTMP_LF_SWFV: c_int = 0x04;
pub const RTMP_LF_PLST: c_int = 0x08;
pub const RTMP_LF_BUFX: c_int = 0x10;
pub const RTMP_LF_FTCU: c_int = 0x20;
pub const RTMP_LF_FAPU: c_int = 0x40;

pub const RTMP_READ_HEADER: u8 = 0x01;
pub const RTMP_READ_RESUME: u8 = 0x02;
pub const RTMP_READ_NO_IGNORE: u8 = 0x04;
pub const RTMP_READ_GOTKF: u8 = 0x08;
pub const RTMP_READ_GOTFLVK: u8 = 0x10;
pub const RTMP_READ_SEEKING: u8 = 0x20;
pub const RTMP_READ_COMPLETE: i8 = -3;
pub const RTMP_READ_ERROR: i8 = -2;
pub const RTMP_READ_EOF: i8 = -1;
pub const RTMP_READ_IGNORE: i8 = 0;

pub const AMF_NUMBER: c_uint = 0;
pub const AMF_BOOLEAN: c_uint = 1;
pub const AMF_STRING: c_uint = 2;
pub const AMF_OBJECT: c_uint = 3;
pub const AMF_NULL: c_uint = 5;
pub const AMF_UNDEFINED: c_uint = 6;
pub const AMF_ECMA_ARRAY: c_uint = 8;
pub const AMF_OBJECT_END: c_uint = 9;
pub const AMF_STRICT_ARRAY: c_uint = 10;
pub const AMF_DATE: c_uint = 11;
pub const AMF_LONG_STRING: c_uint = 12;
pub const AMF_UNSUPPORTED: c_uint = 13;
pub const AMF_XML_DOC: c_uint = 15;
pub const AMF_AVMPLUS: c_uint = 17;
pub const AMF_INVALID: c_uint = 0xFF;

pub const TRUE: c_int = 1;
pub const FALSE: c_int = 0;

mod layout;
