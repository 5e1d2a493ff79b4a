//! The bodies that others send, of requests and of answers of back ends, read into memory that may be refused.

use std::fmt;

use axum::body::{Bytes, HttpBody};
use http_body_util::BodyExt;

use crate::error::{Failure, RRError, Result};

/// Largest body: a target with all its backup urls, each as long as a url may be, takes some 140 KiB.
pub(crate) const MAX_BYTES: usize = 256 * 1024;

/// Reads a body to its end.
///
/// # Errors
/// [`RRError::Limit`] for a longer one, [`RRError::NoMem`], [`RRError::Protocol`] if it broke off.
pub(crate) async fn whole<B>(mut body: B) -> Result<Bytes>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: fmt::Display,
{
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::peers(RRError::Protocol, format!("the body broke off: {error}")))?;
        // What is no data is a trailer.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > MAX_BYTES - whole.len() {
            return Err(Failure::peers(RRError::Limit, format!("the body is larger than {MAX_BYTES} bytes")));
        }
        let needed = whole.len() + data.len();
        if needed > whole.capacity() {
            let room = (2 * whole.capacity()).clamp(needed, MAX_BYTES);
            let no_memory = |_| Failure::ours(RRError::NoMem, "there is no memory for the body");
            whole.try_reserve_exact(room - whole.len()).map_err(no_memory)?;
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}
