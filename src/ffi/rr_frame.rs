//! Group 10 of the C API: the few facts of a message body, for hosts that read packets themselves.

use std::ffi::{c_int, c_void};

use super::types::{rr_frame, rr_frame_flag};
use super::{Sized32, guard, is_null, read_struct, slice, write_struct};
use crate::proto::frame;

/// Reads the facts of a message body that joining needs: key frame, sequence header, metadata, codec, track. `type` is
/// the RTMP message type. A body that cannot be read has no flags and no codec. Set up `out` with RR_INIT(RR_CFG_FRAME,
/// out) before; its `data` becomes the given pointer. No server is needed.
///
/// # Returns
/// RR_OK; RR_ERR_ARG: `data` is NULL and `len` is not 0, or `out` is not set up; RR_ERR_VERSION: `out` is newer than
/// the library and has unknown fields set.
///
/// # Safety
/// The contract of all pointers; `len` bytes of `data` are readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rr_frame_parse(r#type: u8, data: *const c_void, len: usize, out: *mut rr_frame) -> c_int {
    guard(|| {
        // SAFETY: contract.
        let body = unsafe { slice(data.cast::<u8>(), len, "data") }?;
        // SAFETY: contract.
        let given: rr_frame = unsafe { read_struct(out) }?.ok_or_else(|| is_null(rr_frame::NAME))?;
        let facts = frame::facts(r#type, body);
        let flags = [
            (facts.key, rr_frame_flag::RR_FRAME_KEY),
            (facts.seq_start, rr_frame_flag::RR_FRAME_SEQ),
            (facts.end_of_sequence, rr_frame_flag::RR_FRAME_END),
            (facts.metadata, rr_frame_flag::RR_FRAME_META),
            (facts.multitrack, rr_frame_flag::RR_FRAME_MULTI),
        ];
        let frame = rr_frame {
            size: given.size,
            kind: given.kind,
            r#type,
            track: facts.track,
            flags: flags.into_iter().fold(0, |all, (is_set, flag)| if is_set { all | flag as u8 } else { all }),
            codec: facts.codec,
            cts_ms: facts.cts_ms,
            data: data.cast(),
            len,
            ..rr_frame::empty()
        };
        // SAFETY: contract: read_struct has found as many bytes.
        unsafe { write_struct(out.cast(), given.size.into(), &frame, "out") }?;
        Ok(0)
    })
}
