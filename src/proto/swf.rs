//! Size and HMAC of a player's SWF file, decompressed: servers that verify players ask for them.
//!
//! The hasher takes the file's bytes as they come, and never holds the decompressed file. [`cache`] reads and writes
//! the text of the file that keeps results; this module uses no disk and no network.
//!
//! Source: the SWF file format specification, chapter 2; the key is the one that signs a client's handshake.

pub(crate) mod cache;

use flate2::{Decompress, FlushDecompress, Status};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::error::{Failure, RRError, Result};
use crate::proto::rtmpe::SwfId;
use crate::proto::rtmpe::keys::CLIENT_NAME;

/// The part of a file that is never compressed: signature, version, length.
const HEADER_BYTES: usize = 8;

/// Bytes decompressed at a time.
const WINDOW_BYTES: usize = 16 << 10;

/// Hashes a file that comes in pieces. A file that is not a compressed SWF is hashed as it is.
pub(crate) struct SwfHasher {
    mac: Hmac<Sha256>,
    size: u64,
    max_bytes: u64,
    header: Vec<u8>,
    /// The decompressor of a compressed file, from the end of its header on.
    inflate: Option<Box<Decompress>>,
    /// The compressed part has ended; bytes after it are ignored.
    ended: bool,
    window: Box<[u8]>,
}

impl SwfHasher {
    /// A hasher for a file of at most `max_bytes`, decompressed.
    pub(crate) fn new(max_bytes: u64) -> Self {
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(CLIENT_NAME).expect("HMAC takes keys of any length");
        Self {
            mac,
            size: 0,
            max_bytes: max_bytes.min(u32::MAX.into()),
            header: Vec::with_capacity(HEADER_BYTES),
            inflate: None,
            ended: false,
            window: vec![0; WINDOW_BYTES].into_boxed_slice(),
        }
    }

    /// Takes the next bytes of the file.
    ///
    /// # Errors
    /// [`RRError::Limit`] if it is too long, [`RRError::Protocol`] if it cannot be decompressed.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let missing = HEADER_BYTES - self.header.len();
        let (header, rest) = bytes.split_at(bytes.len().min(missing));
        self.header.extend_from_slice(header);
        if missing > 0 && self.header.len() == HEADER_BYTES {
            self.take_header()?;
        }
        if rest.is_empty() {
            return Ok(());
        }
        if let Some(mut inflate) = self.inflate.take() {
            let result = self.inflate(&mut inflate, rest);
            self.inflate = Some(inflate);
            return result;
        }
        self.count(rest.len())?;
        self.mac.update(rest);
        Ok(())
    }

    /// Hashes the header as that of an uncompressed file.
    fn take_header(&mut self) -> Result<()> {
        self.count(HEADER_BYTES)?;
        if self.header.starts_with(b"CWS") {
            self.header[0] = b'F';
            self.inflate = Some(Box::new(Decompress::new(true)));
        }
        self.mac.update(&self.header);
        Ok(())
    }

    fn inflate(&mut self, inflate: &mut Decompress, mut bytes: &[u8]) -> Result<()> {
        while !self.ended {
            let (read, written) = (inflate.total_in(), inflate.total_out());
            let status = inflate
                .decompress(bytes, &mut self.window, FlushDecompress::None)
                .map_err(|error| Failure::protocol(format!("the SWF file cannot be decompressed: {error}")))?;
            // Both differences count the bytes of this call, so they are no larger than the slices.
            let (read, written) = ((inflate.total_in() - read) as usize, (inflate.total_out() - written) as usize);
            self.count(written)?;
            self.mac.update(&self.window[..written]);
            bytes = &bytes[read..];
            self.ended = status == Status::StreamEnd;
            if read == 0 && written == 0 {
                break;
            }
        }
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<()> {
        self.size += bytes as u64;
        if self.size > self.max_bytes {
            return Err(Failure::limit(format!("the SWF file is longer than {} bytes", self.max_bytes)));
        }
        Ok(())
    }

    /// Ends the file and returns its size and hash.
    ///
    /// # Errors
    /// [`RRError::Protocol`] where the file ends too early.
    pub(crate) fn finish(self) -> Result<SwfId> {
        if self.header.len() < HEADER_BYTES || (self.inflate.is_some() && !self.ended) {
            return Err(Failure::peers(RRError::Protocol, "the SWF file is cut off"));
        }
        let size = u32::try_from(self.size).unwrap_or(u32::MAX); // at most max_bytes, which fits
        Ok(SwfId { hash: self.mac.finalize().into_bytes().into(), size })
    }
}

impl std::fmt::Debug for SwfHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SwfHasher").field("size", &self.size).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// An uncompressed file and the same compressed.
    fn files(length: usize) -> (Vec<u8>, Vec<u8>) {
        let body: Vec<u8> = (0..length).map(|at| (at / 3 % 251) as u8).collect();
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&body).unwrap();
        let rest = [8, 1, 2, 3, 4];
        ([&b"FWS"[..], &rest, &body].concat(), [&b"CWS"[..], &rest, &encoder.finish().unwrap()].concat())
    }

    fn hash(file: &[u8], cut: usize, max_bytes: u64) -> Result<SwfId> {
        let mut hasher = SwfHasher::new(max_bytes);
        for piece in file.chunks(cut) {
            hasher.push(piece)?;
        }
        hasher.finish()
    }

    /// The expected value comes from Python's hmac module.
    #[test]
    fn a_known_file_has_the_hash_that_others_compute() {
        let (plain, _) = files(100);
        let id = hash(&plain, 1000, 1000).unwrap();
        let hex: String = id.hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "983e761728f7d63c55642ee5b4818c16e0da1a908de87518a6ab77beb3f51fe9");
        assert_eq!(id.size, 108);
    }

    #[test]
    fn compressed_or_not_and_cut_anywhere_the_hash_is_the_same() {
        let (plain, compressed) = files(100_000);
        let expected = hash(&plain, usize::MAX, 1 << 20).unwrap();
        assert_eq!(expected.size, 100_008);
        for cut in [1, 3, 7, 8, 9, 1000, usize::MAX] {
            assert_eq!(hash(&plain, cut, 1 << 20).unwrap(), expected);
            assert_eq!(hash(&compressed, cut, 1 << 20).unwrap(), expected);
        }
        let more = [&compressed[..], b"trailing"].concat();
        assert_eq!(hash(&more, 10, 1 << 20).unwrap(), expected);
    }

    #[test]
    fn a_cut_or_broken_file_is_an_error() {
        let (plain, compressed) = files(5_000);
        for length in [0, 1, 7, 8, 9, 20, compressed.len() - 1] {
            assert_eq!(hash(&compressed[..length], 11, 1 << 20).unwrap_err().kind, RRError::Protocol, "{length}");
        }
        assert!(hash(&plain[..7], 1, 100).is_err());
        let mut broken = compressed;
        broken[9] ^= 0xff;
        broken[8] ^= 0xff;
        assert_eq!(hash(&broken, 100, 1 << 20).unwrap_err().kind, RRError::Protocol);
    }

    #[test]
    fn a_small_file_that_becomes_huge_is_stopped() {
        let (plain, compressed) = files(5_000_000);
        assert!(compressed.len() < 200_000);
        for file in [&plain, &compressed] {
            assert_eq!(hash(file, 4096, 1_000_000).unwrap_err().kind, RRError::Limit);
        }
    }
}
