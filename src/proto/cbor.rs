//! States in CBOR: the envelope of a whole state, and bounded lists and byte strings. The attributes (minicbor) at a
//! state's fields define the rest of its form.
//!
//! A state may come from another process with another version of this library: a claimed length reserves no memory, and
//! lists are short. Fields have permanent numbers: a reader skips unknown ones and reads a missing `Option` as `None`,
//! so new fields can be appended. A change that an older reader would misunderstand raises the version.

use std::convert::Infallible;

use minicbor::encode::{Encoder, Write};
use minicbor::{Decode, Decoder, Encode};

use crate::error::{Failure, RRError, Result};

/// A kind of whole states: magic, version, and the state after them.
#[derive(Debug)]
pub(crate) struct Form {
    /// The first bytes.
    pub(crate) magic: &'static [u8; 4],
    /// The version that is written, and the newest that is read.
    pub(crate) version: u16,
    /// The kind's name, for people, with its article.
    pub(crate) name: &'static str,
}

impl Form {
    /// The bytes of a state.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    pub(crate) fn encode(&self, state: &impl Encode<()>) -> Result<Vec<u8>> {
        let mut count = Count(0);
        self.write(state, &mut count);
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(count.0).map_err(|_| RRError::NoMem)?;
        self.write(state, &mut Bytes(&mut bytes));
        Ok(bytes)
    }

    /// The state in these bytes; more than `most` bytes are refused.
    ///
    /// # Errors
    /// [`RRError::Version`] if it is newer than this library, [`RRError::Limit`] if it is too long, [`RRError::Arg`] if
    /// it is not such a state.
    pub(crate) fn decode<'b, T: Decode<'b, ()>>(&self, bytes: &'b [u8], most: usize) -> Result<T> {
        let name = self.name;
        if bytes.len() > most {
            let text = format!("{name} of {} bytes; at most {most} are accepted", bytes.len());
            return Err(Failure::ours(RRError::Limit, text));
        }
        let malformed =
            |what: &dyn std::fmt::Display| Failure::ours(RRError::Arg, format!("this is not {name}: {what}"));
        let Some(rest) = bytes.strip_prefix(self.magic) else { return Err(malformed(&"it does not begin as one")) };
        let mut decoder = Decoder::new(rest);
        match decoder.u16().map_err(|error| malformed(&error))? {
            0 => return Err(malformed(&"it has no version")),
            version if version > self.version => {
                let text = format!("{name} of version {version}; this library reads up to {}", self.version);
                return Err(Failure::ours(RRError::Version, text));
            }
            _ => {}
        }
        let state = decoder.decode().map_err(|error| malformed(&error))?;
        if decoder.position() != rest.len() {
            return Err(malformed(&"bytes follow its end"));
        }
        Ok(state)
    }

    fn write(&self, state: &impl Encode<()>, out: &mut impl Write<Error = Infallible>) {
        let Ok(()) = out.write_all(self.magic);
        let mut encoder = Encoder::new(out);
        // Neither the writers nor the states can fail.
        let written = encoder.u16(self.version).and_then(|encoder| encoder.encode(state)).map(drop);
        debug_assert!(written.is_ok(), "{written:?}");
    }
}

/// Counts what is written.
struct Count(usize);

impl Write for Count {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> std::result::Result<(), Infallible> {
        self.0 += bytes.len();
        Ok(())
    }
}

/// Appends what is written, within the reserved capacity.
struct Bytes<'a>(&'a mut Vec<u8>);

impl Write for Bytes<'_> {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> std::result::Result<(), Infallible> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Lists of at most [`MAX_ITEMS`](list::MAX_ITEMS).
pub(crate) mod list {
    use minicbor::decode::{Decode, Decoder, Error};
    use minicbor::encode::{self, Encode, Encoder, Write};

    /// Most items of a list. The list of chunk streams is the longest.
    pub(crate) const MAX_ITEMS: u64 = crate::proto::chunk_read::CHUNK_STREAMS_MAX as u64;

    /// Writes a list.
    ///
    /// # Errors
    /// Those of the writer.
    pub(crate) fn encode<C, T: Encode<C>, W: Write>(
        list: &[T],
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.array(list.len() as u64)?;
        list.iter().try_for_each(|item| item.encode(encoder, context))
    }

    /// Reads a list.
    ///
    /// # Errors
    /// If no list follows, or one with too many items.
    pub(crate) fn decode<'b, C, T: Decode<'b, C>>(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Vec<T>, Error> {
        match decoder.array()? {
            Some(len @ 0..=MAX_ITEMS) => (0..len).map(|_| T::decode(decoder, context)).collect(),
            _ => Err(Error::message("a list without an end")),
        }
    }
}

/// Byte strings of at most [`MAX_BYTES`](bytes::MAX_BYTES), copied.
pub(crate) mod bytes {
    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{self, Encoder, Write};

    /// Longest byte string: a stream key, and some more.
    pub(crate) const MAX_BYTES: usize = 64 * 1024;

    /// Writes bytes.
    ///
    /// # Errors
    /// Those of the writer.
    pub(crate) fn encode<C, W: Write>(
        bytes: &[u8],
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.bytes(bytes).map(drop)
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// If no byte string follows, or one that is too long.
    pub(crate) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Vec<u8>, Error> {
        match decoder.bytes()? {
            bytes if bytes.len() <= MAX_BYTES => Ok(bytes.to_vec()),
            _ => Err(Error::message("a name without an end")),
        }
    }
}
