//! Lists and byte strings of states in CBOR, with bounds. The rest of a state's form stands at its fields (minicbor).
//!
//! A state may come from another process: a length that it claims reserves no memory, and its lists are short.

/// Lists of at most [`MAX_ITEMS`](list::MAX_ITEMS).
pub(crate) mod list {
    use minicbor::decode::{Decode, Decoder, Error};
    use minicbor::encode::{self, Encode, Encoder, Write};

    /// Most items of a list. No list is longer than that of the chunk streams.
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
    /// Where no list follows, or one with more items.
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
    /// Where no byte string follows, or a longer one.
    pub(crate) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Vec<u8>, Error> {
        match decoder.bytes()? {
            bytes if bytes.len() <= MAX_BYTES => Ok(bytes.to_vec()),
            _ => Err(Error::message("a name without an end")),
        }
    }
}
