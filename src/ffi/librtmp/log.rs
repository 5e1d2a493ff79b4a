//! librtmp's log: level, output, callback, and the exports of `log.h`. If a server has asked for the lines of this
//! face, they go to that server's log (`crate::log`) instead of the callback and the output.
//!
//! The variadic exports jump into `shim.c`, which calls back with a `va_list`; that is passed on untouched. A text of
//! our own is at most [`MAX_TEXT_BYTES`] long: existing callbacks print into 2048 bytes without a check.

use std::ffi::{c_char, c_int, c_ulong, c_void};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};

use super::guard;
use super::ptr::bytes;
use super::types::{AMFObject, RTMPPacket};
use crate::log::{Level, LogHandle, RRLog};
use crate::sync::locked;

pub(super) const CRIT: c_int = 0;
pub(super) const ERROR: c_int = 1;
pub(super) const WARNING: c_int = 2;
pub(super) const INFO: c_int = 3;
pub(super) const DEBUG: c_int = 4;
pub(super) const DEBUG2: c_int = 5;
const ALL: c_int = 6;

/// Longest text of one record, without its NUL.
const MAX_TEXT_BYTES: usize = 2046;

const NAMES: [&str; 6] = ["CRIT", "ERROR", "WARNING", "INFO", "DEBUG", "DEBUG2"];

/// The level, which programs write directly.
#[unsafe(no_mangle)]
pub static RTMP_debuglevel: AtomicI32 = AtomicI32::new(ERROR);

type Sink = unsafe extern "C" fn(c_int, *const c_char, *mut c_void);

static SINK: Mutex<Option<Sink>> = Mutex::new(None);
static OUTPUT: AtomicPtr<libc::FILE> = AtomicPtr::new(std::ptr::null_mut());
/// A status line has no line end yet, so the next record must begin on a new line.
static STATUS_OPEN: AtomicBool = AtomicBool::new(false);

unsafe extern "C" {
    static stderr: *mut libc::FILE;
    fn vsnprintf(text: *mut c_char, size: usize, format: *const c_char, arguments: *mut c_void) -> c_int;
    fn rrelay_shim_log(level: c_int, format: *const c_char, ...);
    fn rrelay_shim_print(format: *const c_char, ...);
    fn rrelay_shim_status(format: *const c_char, ...);
    fn rrelay_shim_sink(sink: Sink, level: c_int, format: *const c_char, ...);
}

/// Whether a record of this level is wanted.
pub(super) fn wants(level: c_int) -> bool {
    level <= RTMP_debuglevel.load(Ordering::Relaxed)
}

/// Gives the lines of a text to the server that takes them.
fn give(server: &LogHandle, level: Level, text: &[u8]) {
    for line in text.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|line| !line.is_empty()) {
        server.line(level, "librtmp", &String::from_utf8_lossy(line));
    }
}

/// A level of `log.h` as RRLog's.
fn level_of(level: c_int) -> Level {
    match level {
        ..=ERROR => Level::Error,
        WARNING => Level::Warn,
        INFO => Level::Info,
        DEBUG => Level::Debug,
        _ => Level::Trace,
    }
}

/// Logs a text of the library.
pub(super) fn record(level: c_int, text: &str) {
    record_bytes(level, text.as_bytes());
}

/// Logs a text of a peer, in any encoding.
pub(super) fn record_bytes(level: c_int, text: &[u8]) {
    if !wants(level) {
        return;
    }
    if let Some(server) = RRLog::librtmp_taker() {
        return give(&server, level_of(level), text);
    }
    let mut bytes: Vec<u8> = text.iter().copied().map(|byte| if byte == 0 { b'?' } else { byte }).collect();
    bytes.truncate(MAX_TEXT_BYTES);
    match sink() {
        None => write_record(level, &bytes),
        Some(sink) => {
            bytes.push(0);
            // SAFETY: "%s" and one string, as the sink expects them.
            unsafe { rrelay_shim_sink(sink, level, c"%s".as_ptr(), bytes.as_ptr()) };
        }
    }
}

pub(super) fn error(text: &str) {
    record(ERROR, text);
}

pub(super) fn warning(text: &str) {
    record(WARNING, text);
}

pub(super) fn debug(text: &str) {
    record(DEBUG, text);
}

fn sink() -> Option<Sink> {
    *locked(&SINK)
}

fn output() -> *mut libc::FILE {
    let file = OUTPUT.load(Ordering::Acquire);
    if !file.is_null() {
        return file;
    }
    // SAFETY: the C library's own pointer, set before main.
    unsafe { stderr }
}

/// Formats into `text` and returns the part that was written.
///
/// # Safety
/// `format` and `arguments` belong together.
unsafe fn format_into(text: &mut [u8; MAX_TEXT_BYTES + 1], format: *const c_char, arguments: *mut c_void) -> &[u8] {
    // SAFETY: contract of this function; the size is the buffer's.
    let len = unsafe { vsnprintf(text.as_mut_ptr().cast(), text.len(), format, arguments) };
    &text[..usize::try_from(len).unwrap_or(0).min(MAX_TEXT_BYTES)]
}

/// The default sink: one line, `LEVEL: text`.
fn write_record(level: c_int, text: &[u8]) {
    let hidden = RTMP_debuglevel.load(Ordering::Relaxed) < ALL && text.windows(7).any(|part| part == b"no-name");
    if hidden {
        return;
    }
    let name = usize::try_from(level).ok().and_then(|level| NAMES.get(level)).unwrap_or(&"DEBUG2");
    let mut line = Vec::with_capacity(text.len() + 16);
    if STATUS_OPEN.swap(false, Ordering::Relaxed) {
        line.push(b'\n');
    }
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b": ");
    line.extend_from_slice(text);
    line.push(b'\n');
    write_out(&line, true);
}

fn write_out(bytes: &[u8], flush: bool) {
    let file = output();
    // SAFETY: the program's FILE (or stderr), open as long as it is set; the bytes are ours.
    unsafe { libc::fwrite(bytes.as_ptr().cast(), 1, bytes.len(), file) };
    if flush {
        // SAFETY: as above.
        unsafe { libc::fflush(file) };
    }
}

/// The body of `RTMP_Log`.
unsafe extern "C" fn log_message(level: c_int, format: *const c_char, arguments: *mut c_void) {
    if !wants(level) || format.is_null() {
        return;
    }
    let server = RRLog::librtmp_taker();
    if server.is_none()
        && let Some(sink) = sink()
    {
        // SAFETY: contract: format and arguments are the caller's and belong together.
        unsafe { sink(level, format, arguments) };
        return;
    }
    let mut text = [0; MAX_TEXT_BYTES + 1];
    // SAFETY: contract, as above.
    let text = unsafe { format_into(&mut text, format, arguments) };
    match server {
        Some(server) => give(&server, level_of(level), text),
        None => write_record(level, text),
    }
}

fn print_open_line(text: &[u8]) {
    let mut line = Vec::with_capacity(text.len() + 1);
    if STATUS_OPEN.swap(false, Ordering::Relaxed) {
        line.push(b'\n');
    }
    line.extend_from_slice(text);
    write_out(&line, text.last() == Some(&b'\n'));
}

/// The body of `RTMP_LogPrintf`: text to the output, unless the level is CRIT.
unsafe extern "C" fn log_print(format: *const c_char, arguments: *mut c_void) {
    if RTMP_debuglevel.load(Ordering::Relaxed) == CRIT || format.is_null() {
        return;
    }
    let mut text = [0; MAX_TEXT_BYTES + 1];
    // SAFETY: contract: format and arguments belong together.
    let text = unsafe { format_into(&mut text, format, arguments) };
    match RRLog::librtmp_taker() {
        Some(server) => give(&server, Level::Info, text),
        None => print_open_line(text),
    }
}

/// The body of `RTMP_LogStatus`: text without a line end, which the next record must not continue.
unsafe extern "C" fn log_status(format: *const c_char, arguments: *mut c_void) {
    if RTMP_debuglevel.load(Ordering::Relaxed) == CRIT || format.is_null() {
        return;
    }
    let mut text = [0; MAX_TEXT_BYTES + 1];
    // SAFETY: contract: format and arguments belong together.
    let text = unsafe { format_into(&mut text, format, arguments) };
    if let Some(server) = RRLog::librtmp_taker() {
        return give(&server, Level::Debug, text);
    }
    write_out(text, true);
    STATUS_OPEN.store(true, Ordering::Relaxed);
}

/// Jumps to another function with all arguments in place, in registers and on the stack. On the machines listed here a
/// `va_list` argument is one pointer.
#[cfg(target_arch = "x86_64")]
macro_rules! jump {
    () => {
        "jmp"
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! jump {
    () => {
        "b"
    };
}
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!(
    "the librtmp face needs x86_64 or aarch64; without the feature `librtmp` the crate builds elsewhere too"
);

/// Gives a function here a name for the C shim, which the shared library does not export.
macro_rules! hidden {
    ($name:literal, $function:ident) => {
        core::arch::global_asm!(
            concat!(".globl ", $name, "\n.hidden ", $name, "\n.type ", $name, ", %function\n", $name, ":"),
            concat!(jump!(), " {0}"),
            sym $function
        );
    };
}

hidden!("rrelay_log_message", log_message);
hidden!("rrelay_log_print", log_print);
hidden!("rrelay_log_status", log_status);

/// Defines a variadic export that jumps to its C twin.
macro_rules! variadic {
    ($name:ident, $twin:ident) => {
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            core::arch::naked_asm!(concat!(jump!(), " {twin}"), twin = sym $twin)
        }
    };
}

variadic!(RTMP_Log, rrelay_shim_log);
variadic!(RTMP_LogPrintf, rrelay_shim_print);
variadic!(RTMP_LogStatus, rrelay_shim_status);

#[unsafe(no_mangle)]
pub extern "C" fn RTMP_LogSetLevel(level: c_int) {
    RTMP_debuglevel.store(level, Ordering::Relaxed);
}

#[unsafe(no_mangle)]
pub extern "C" fn RTMP_LogGetLevel() -> c_int {
    RTMP_debuglevel.load(Ordering::Relaxed)
}

#[unsafe(no_mangle)]
pub extern "C" fn RTMP_LogSetOutput(file: *mut libc::FILE) {
    OUTPUT.store(file, Ordering::Release);
}

#[unsafe(no_mangle)]
pub extern "C" fn RTMP_LogSetCallback(sink: Option<Sink>) {
    *locked(&SINK) = sink;
}

/// The bytes of a dump; NULL has none.
///
/// # Safety
/// That of [`bytes`](fn@bytes).
unsafe fn dumped<'a>(data: *const u8, len: c_ulong) -> Option<&'a [u8]> {
    // SAFETY: contract of this function.
    unsafe { bytes(data.cast(), c_int::try_from(len).ok()?) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_LogHex(level: c_int, data: *const u8, len: c_ulong) {
    guard((), || {
        // SAFETY: contract.
        let Some(data) = (unsafe { dumped(data, len) }) else { return };
        if wants(level) {
            hex(level, data);
        }
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMP_LogHexString(level: c_int, data: *const u8, len: c_ulong) {
    guard((), || {
        // SAFETY: contract.
        let Some(data) = (unsafe { dumped(data, len) }) else { return };
        if wants(level) {
            hex_and_text(level, data);
        }
    });
}

/// Logs bytes in hexadecimal, sixteen for each record.
pub(super) fn hex(level: c_int, data: &[u8]) {
    for row in data.chunks(16) {
        let mut line: String = row.iter().map(|byte| format!("{byte:02x} ")).collect();
        if row.len() == 16 {
            line.pop();
        }
        record(level, &line);
    }
}

/// Logs bytes, sixteen for each record: offset, hexadecimal in two groups, characters.
pub(super) fn hex_and_text(level: c_int, data: &[u8]) {
    for (index, row) in data.chunks(16).enumerate() {
        let mut line = vec![b' '; 78];
        let place = format!("  {:04x}: ", index * 16);
        line[..place.len()].copy_from_slice(place.as_bytes());
        for (column, &byte) in row.iter().enumerate() {
            let at = 9 + 3 * column + usize::from(column > 7);
            line[at..at + 2].copy_from_slice(format!("{byte:02x}").as_bytes());
            line[60 + column] = if (32..=126).contains(&byte) { byte } else { b'.' };
        }
        record(level, &String::from_utf8_lossy(&line));
    }
    if data.is_empty() {
        record(level, "");
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMPPacket_Dump(packet: Option<&RTMPPacket>) {
    guard((), || {
        let Some(p) = packet else { return };
        // SAFETY: contract.
        let body = unsafe { p.body() };
        record(
            DEBUG,
            &format!(
                "RTMP PACKET: packet type: 0x{:02x}. channel: 0x{:02x}. info 1: {} info 2: {}. Body size: {}. body: 0x{:02x}",
                p.m_packetType,
                p.m_nChannel,
                p.m_nTimeStamp,
                p.m_nInfoField2,
                p.m_nBodySize,
                body.first().copied().unwrap_or(0),
            ),
        );
    });
}

/// Logs an object for `AMF_Dump`.
pub(super) fn object(object: &AMFObject) {
    if wants(DEBUG) {
        super::amf_prop::dump(object, 0);
    }
}
