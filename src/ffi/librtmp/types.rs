//! The structures of librtmp's headers, byte for byte, and their constants. No behaviour but what reads an [`AVal`].
//!
//! Field names are the interface and stay as they are. `layout.rs` beside this file holds the sizes and offsets.

#![allow(non_snake_case, non_camel_case_types)]
#![allow(missing_docs)] // The fields are librtmp's; include/librtmp/*.h says what they mean.

use std::ffi::{c_char, c_int, c_uint, c_ushort, c_void};
use std::ptr;
use std::sync::atomic::Ordering;

/// A counted string that somebody else owns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AVal {
    pub av_val: *mut c_char,
    pub av_len: c_int,
}

impl AVal {
    /// No string.
    pub const NULL: Self = Self { av_val: ptr::null_mut(), av_len: 0 };

    /// Points at `text`, which must outlive every use.
    pub fn of(text: &[u8]) -> Self {
        Self { av_val: text.as_ptr().cast_mut().cast(), av_len: c_int::try_from(text.len()).unwrap_or(0) }
    }

    /// The bytes; none for NULL and for a length that is not positive.
    pub fn bytes(&self) -> &[u8] {
        if self.av_val.is_null() || self.av_len <= 0 {
            return &[];
        }
        // SAFETY: contract: an AVal that is not NULL has av_len readable bytes.
        unsafe { std::slice::from_raw_parts(self.av_val.cast(), self.av_len as usize) }
    }

    /// The bytes, with a lifetime that is the owner's and not this copy's.
    pub fn long_bytes<'a>(self) -> &'a [u8] {
        if self.av_val.is_null() || self.av_len <= 0 {
            return &[];
        }
        // SAFETY: contract, as above; the caller uses it within the call it was given for.
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

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AMFObject {
    pub o_num: c_int,
    pub o_props: *mut AMFObjectProperty,
}

impl AMFObject {
    pub const EMPTY: Self = Self { o_num: 0, o_props: ptr::null_mut() };
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
    /// No property: what a look-up that finds nothing gives.
    pub const INVALID: Self =
        Self { p_name: AVal::NULL, p_type: AMF_INVALID, p_vu: AMFValue { p_aval: AVal::NULL }, p_UTCoffset: 0 };

    /// The number of a property whose type does not say that it is something else. A string's bits would be its address,
    /// and servers send a peer's numbers back.
    pub fn number(&self) -> f64 {
        match self.p_type {
            AMF_STRING | AMF_LONG_STRING | AMF_XML_DOC | AMF_OBJECT | AMF_ECMA_ARRAY | AMF_STRICT_ARRAY => 0.0,
            _ => self.bits(),
        }
    }

    /// What stands where a number would, whatever the type says.
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

    /// The body of a packet that is whole.
    pub fn body(&self) -> &[u8] {
        if self.m_body.is_null() || self.m_nBodySize > MAX_BODY_BYTES {
            return &[];
        }
        // SAFETY: contract: a body that is not NULL has m_nBodySize bytes.
        unsafe { std::slice::from_raw_parts(self.m_body.cast(), self.m_nBodySize as usize) }
    }
}

#[repr(C)]
pub struct RTMPSockBuf {
    pub sb_socket: c_int,
    pub sb_size: c_int,
    pub sb_start: *mut c_char,
    pub sb_buf: [c_char; RTMP_BUFFER_CACHE_SIZE],
    pub sb_timedout: c_int,
    /// Padding in C.
    pub(super) life: super::life::Life,
    pub sb_ssl: *mut c_void,
}

#[repr(C)]
pub struct RTMP_LNK {
    pub hostname: AVal,
    pub sockshost: AVal,
    pub playpath0: AVal,
    pub playpath: AVal,
    pub tcUrl: AVal,
    pub swfUrl: AVal,
    pub pageUrl: AVal,
    pub app: AVal,
    pub auth: AVal,
    pub flashVer: AVal,
    pub subscribepath: AVal,
    pub usherToken: AVal,
    pub token: AVal,
    pub pubUser: AVal,
    pub pubPasswd: AVal,
    pub extras: AMFObject,
    pub edepth: c_int,
    pub seekTime: c_int,
    pub stopTime: c_int,
    pub lFlags: c_int,
    pub swfAge: c_int,
    pub protocol: c_int,
    pub timeout: c_int,
    pub pFlags: c_int,
    pub socksport: c_ushort,
    pub port: c_ushort,
    pub dh: *mut c_void,
    pub rc4keyIn: *mut c_void,
    pub rc4keyOut: *mut c_void,
    pub SWFSize: u32,
    pub SWFHash: [u8; RTMP_SWF_HASHLEN],
    pub SWFVerificationResponse: [c_char; RTMP_SWF_HASHLEN + 10],
}

#[repr(C)]
pub struct RTMP_READ {
    pub buf: *mut c_char,
    pub bufpos: *mut c_char,
    pub buflen: c_uint,
    pub timestamp: u32,
    pub dataType: u8,
    pub flags: u8,
    pub status: i8,
    pub initialFrameType: u8,
    pub nResumeTS: u32,
    pub metaHeader: *mut c_char,
    pub initialFrame: *mut c_char,
    pub nMetaHeaderSize: u32,
    pub nInitialFrameSize: u32,
    pub nIgnoredFrameCounter: u32,
    pub nIgnoredFlvFrameCounter: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RTMP_METHOD {
    pub name: AVal,
    pub num: c_int,
}

#[repr(C)]
pub struct RTMP {
    pub m_inChunkSize: c_int,
    pub m_outChunkSize: c_int,
    pub m_nBWCheckCounter: c_int,
    pub m_nBytesIn: c_int,
    pub m_nBytesInSent: c_int,
    pub m_nBufferMS: c_int,
    pub m_stream_id: c_int,
    pub m_mediaChannel: c_int,
    pub m_mediaStamp: u32,
    pub m_pauseStamp: u32,
    pub m_pausing: c_int,
    pub m_nServerBW: c_int,
    pub m_nClientBW: c_int,
    pub m_nClientBW2: u8,
    pub m_bPlaying: u8,
    pub m_bSendEncoding: u8,
    pub m_bSendCounter: u8,
    pub m_numInvokes: c_int,
    pub m_numCalls: c_int,
    pub m_methodCalls: *mut RTMP_METHOD,
    pub m_channelsAllocatedIn: c_int,
    pub m_channelsAllocatedOut: c_int,
    pub m_vecChannelsIn: *mut *mut RTMPPacket,
    pub m_vecChannelsOut: *mut *mut RTMPPacket,
    pub m_channelTimestamp: *mut c_int,
    pub m_fAudioCodecs: f64,
    pub m_fVideoCodecs: f64,
    pub m_fEncoding: f64,
    pub m_fDuration: f64,
    pub m_msgCounter: c_int,
    pub m_polling: c_int,
    pub m_resplen: c_int,
    pub m_unackd: c_int,
    /// No caller touches it. `av_val` is the address of the library's own part of a session ([`super::inner`]).
    pub m_clientID: AVal,
    pub m_read: RTMP_READ,
    pub m_write: RTMPPacket,
    pub m_sb: RTMPSockBuf,
    pub Link: RTMP_LNK,
}

impl RTMP {
    /// Whether there is a socket.
    pub fn is_connected(&self) -> bool {
        self.m_sb.sb_socket != -1
    }

    /// Whether the session publishes.
    pub fn is_publisher(&self) -> bool {
        self.Link.protocol & RTMP_FEATURE_WRITE != 0
    }
}

/// What `HTTP_get` reads and fills.
#[repr(C)]
pub struct HTTP_ctx {
    pub date: *mut c_char,
    pub size: c_int,
    pub status: c_int,
    pub data: *mut c_void,
}

/// The program's copy of `RTMP_ctrlC`: non-zero asks every blocking call to end.
#[unsafe(no_mangle)]
pub static RTMP_ctrlC: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

/// Whether the program asked blocking calls to end.
pub(super) fn interrupted() -> bool {
    RTMP_ctrlC.load(Ordering::Relaxed) != 0
}

pub const RTMP_LIB_VERSION: c_int = 0x02_0300;
pub const RTMP_BUFFER_CACHE_SIZE: usize = 16 * 1024;
/// Chunk stream ids a session may name.
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
