//! The bodies that others send, of requests and of answers of back ends, read into memory that may be refused.
//!
//! An answer of a back end is in memory from its first byte until it has been parsed, and what it is asked until it has been
//! sent. All these of the process together have a bound, apart from that of the answers that we give: whoever reads these slowly
//! must not keep others from publishing.

use std::sync::LazyLock;

use axum::body::{Bytes, HttpBody};
use http_body_util::BodyExt;

use super::client::words;
use crate::error::{Failure, RRError, Result};
use crate::stream::memory::budget::{Budget, Charge};

/// Largest body: a target with all its backup urls, each as long as a url may be, takes some 140 KiB.
pub(crate) const MAX_BYTES: usize = 256 * 1024;

/// Most bytes of all that back ends are asked and answer.
pub(super) const MAX_BACK_END_BYTES: usize = 64 * 1024 * 1024;

/// The memory of all that back ends are asked and answer in the process.
pub(super) static BACK_ENDS: LazyLock<Budget> = LazyLock::new(|| Budget::new(Some(MAX_BACK_END_BYTES as u64)));

/// Tests that use most of that memory take turns.
#[cfg(test)]
pub(super) static TURNS: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// What is said where that memory is used up.
pub(super) const NO_ROOM: &str = "what back ends are asked and answer takes all the memory that it may";

/// What takes less is not counted in such a budget: it costs no more than its connection, and problems can be told while
/// others take all.
pub(super) const COUNTED_BYTES: usize = 16 * 1024;

/// Bytes, with what they take of a budget.
pub(super) struct Counted {
    pub(super) bytes: Vec<u8>,
    pub(super) _charge: Charge,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads the body of a request to its end.
///
/// # Errors
/// [`RRError::Limit`] for a longer one, [`RRError::NoMem`], [`RRError::Protocol`] if it broke off.
pub(crate) async fn whole<B>(body: B) -> Result<Bytes>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    read(body, |_| Ok(())).await.map(Bytes::from)
}

/// Reads the body of an answer to its end. Until it is dropped, it is counted in `all`.
///
/// # Errors
/// Those of [`whole`]; [`RRError::Again`] if others take all of `all`.
pub(super) async fn answered<B>(body: B, all: &Budget) -> Result<Bytes>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    let mut charge = all.nothing();
    let no_room = |_| Failure::ours(RRError::Again, NO_ROOM);
    let takes = |bytes| charge.follow(if bytes < COUNTED_BYTES { 0 } else { bytes }).map_err(no_room);
    let bytes = read(body, takes).await?;
    Ok(Bytes::from_owner(Counted { bytes, _charge: charge }))
}

/// Reads a body to its end; `takes` may refuse the number of bytes that it is to take.
async fn read<B>(mut body: B, mut takes: impl FnMut(usize) -> Result<()>) -> Result<Vec<u8>>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let broke_off = |error| Failure::peers(RRError::Protocol, format!("the body broke off: {}", words(&error)));
        let frame = frame.map_err(broke_off)?;
        // What is no data is a trailer.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > MAX_BYTES - whole.len() {
            return Err(Failure::peers(RRError::Limit, format!("the body is larger than {MAX_BYTES} bytes")));
        }
        let needed = whole.len() + data.len();
        if needed > whole.capacity() {
            let room = (2 * whole.capacity()).clamp(needed, MAX_BYTES);
            takes(room)?;
            let no_memory = |_| Failure::ours(RRError::NoMem, "there is no memory for the body");
            whole.try_reserve_exact(room - whole.len()).map_err(no_memory)?;
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn answers_of_back_ends_that_are_there_are_bounded_together() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let all = Budget::new(Some(300 * 1024));
        let answer = |bytes: usize| runtime.block_on(answered(Body::from(vec![b'x'; bytes]), &all));
        let first = answer(200 * 1024).unwrap();
        let failure = answer(200 * 1024).unwrap_err();
        assert_eq!((failure.kind, all.used()), (RRError::Again, 200 * 1024), "{failure}");
        answer(COUNTED_BYTES - 1).expect("a small one");
        answer(100 * 1024).expect("one for which there is room");
        drop(first);
        answer(200 * 1024).expect("there is room again");
        assert_eq!(all.used(), 0);
        assert_eq!(answer(MAX_BYTES + 1).unwrap_err().kind, RRError::Limit);
    }
}
