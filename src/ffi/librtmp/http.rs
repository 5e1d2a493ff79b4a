//! `HTTP_get`: one file over HTTP into a callback. No redirects.

use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

use super::ptr::c_string;
use super::types::{HTTP_ctx, interrupted};
use super::{guard, log};
use crate::error::{RRError, Result};
use crate::net::http_client::{HttpLink, Patience};
use crate::net::tls::Trust;
use crate::proto::http_client::{HttpUrl, ResponseReader, get_request};

/// Results, by librtmp's numbers.
const OK: c_int = 0;
const NOT_MODIFIED: c_int = 1;
const NOT_FOUND: c_int = 2;
const BAD_REQUEST: c_int = 3;
const SERVER_ERROR: c_int = 4;
const REDIRECTED: c_int = 5;
const LOST_CONNECTION: c_int = 6;

/// Time for connecting, and for each read.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Time for the whole file.
const WHOLE: Duration = Duration::from_secs(3600);

/// Longest file that is fetched.
const MAX_BYTES: u64 = 64 << 20;

/// The length of a program's buffer for a date, including its NUL.
const DATE_BYTES: usize = 64;

const AGENT: &str = "Mozilla/5.0";

type Sink = unsafe extern "C" fn(*mut c_void, usize, usize, *mut c_void) -> usize;

/// The facts of a response.
struct Answer {
    status: u16,
    length: Option<u64>,
    modified: Vec<u8>,
}

/// Fetches a file; `sink` gets its bytes, and ends the fetch by returning false.
fn fetch(url: &HttpUrl, since: Option<&[u8]>, sink: &mut dyn FnMut(&[u8]) -> bool) -> Result<Answer> {
    let patience = Patience { each: TIMEOUT, all: WHOLE, stopped: &interrupted };
    let mut link = HttpLink::open(url, &Trust::default(), patience)?;
    link.write(&get_request(url, AGENT, since))?;
    let mut reader = ResponseReader::new(MAX_BYTES);
    let mut buffer = vec![0; 16 << 10];
    while !reader.is_complete() {
        let got = link.read(&mut buffer)?;
        if got == 0 {
            reader.end()?;
            break;
        }
        let body = reader.feed(&buffer[..got])?;
        if reader.head().is_some_and(|head| head.status != 200) || !(body.is_empty() || sink(body)) {
            break;
        }
    }
    let head = reader.head().ok_or(RRError::Closed)?;
    Ok(Answer { status: head.status, length: head.length, modified: head.modified.clone() })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn HTTP_get(http: Option<&mut HTTP_ctx>, url: *const c_char, sink: Option<Sink>) -> c_int {
    guard(LOST_CONNECTION, || {
        // SAFETY: contract: a C string.
        let (Some(http), Some(sink), Some(url)) = (http, sink, unsafe { c_string(url) }) else { return BAD_REQUEST };
        http.status = -1;
        let Ok(url) = HttpUrl::parse(url) else { return BAD_REQUEST };
        // SAFETY: contract: a C string.
        let since = unsafe { c_string(http.date) }.unwrap_or_default().to_vec();
        let data = http.data;
        let mut pass = |body: &[u8]| {
            // SAFETY: contract: the program's callback, with the data it gave for it.
            unsafe { sink(body.as_ptr().cast_mut().cast(), 1, body.len(), data) == body.len() }
        };
        match fetch(&url, (!since.is_empty()).then_some(&since[..]), &mut pass) {
            Ok(answer) => finish(http, &answer),
            Err(failure) => {
                log::error(&format!("HTTP: {failure}"));
                LOST_CONNECTION
            }
        }
    })
}

/// Writes the response's facts for the program.
fn finish(http: &mut HTTP_ctx, answer: &Answer) -> c_int {
    http.status = answer.status.into();
    match answer.status {
        200 => {}
        304 => return NOT_MODIFIED,
        404 => return NOT_FOUND,
        300..400 => return REDIRECTED,
        400..500 => return BAD_REQUEST,
        _ => return SERVER_ERROR,
    }
    http.size = answer.length.and_then(|length| c_int::try_from(length).ok()).unwrap_or(0);
    if !http.date.is_null() && !answer.modified.is_empty() && answer.modified.len() < DATE_BYTES {
        // SAFETY: contract: a buffer of 64 bytes.
        let date = unsafe { std::slice::from_raw_parts_mut(http.date.cast::<u8>(), answer.modified.len() + 1) };
        date[..answer.modified.len()].copy_from_slice(&answer.modified);
        date[answer.modified.len()] = 0;
    }
    OK
}
