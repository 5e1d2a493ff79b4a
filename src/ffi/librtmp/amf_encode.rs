//! AMF0 as librtmp encodes it, limits included: some encoders ask for a little more room than they write, and programs
//! size their buffers by what is accepted.

use super::amf::MAX_DEPTH;
use super::log;
use super::types::*;

/// Writes from the front of a buffer. A method returns `None` if its value does not fit; earlier bytes stay.
pub(super) struct Output<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl<'a> Output<'a> {
    pub(super) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, at: 0 }
    }

    /// Bytes written.
    pub(super) fn len(&self) -> usize {
        self.at
    }

    fn room(&self) -> usize {
        self.buffer.len() - self.at
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at.checked_add(bytes.len())?;
        self.buffer.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    pub(super) fn be24(&mut self, value: u32) -> Option<()> {
        self.put(&value.to_be_bytes()[1..])
    }

    pub(super) fn string(&mut self, text: &[u8]) -> Option<()> {
        if self.room() < 1 + 4 + text.len() {
            return None;
        }
        match u16::try_from(text.len()) {
            Ok(len) => {
                self.put(&[AMF_STRING as u8])?;
                self.put(&len.to_be_bytes())?;
            }
            Err(_) => {
                self.put(&[AMF_LONG_STRING as u8])?;
                self.put(&u32::try_from(text.len()).ok()?.to_be_bytes())?;
            }
        }
        self.put(text)
    }

    pub(super) fn number(&mut self, value: f64) -> Option<()> {
        if self.room() < 9 {
            return None;
        }
        self.put(&[AMF_NUMBER as u8])?;
        self.put(&value.to_be_bytes())
    }

    pub(super) fn boolean(&mut self, value: bool) -> Option<()> {
        if self.room() < 2 {
            return None;
        }
        self.put(&[AMF_BOOLEAN as u8, u8::from(value)])
    }

    pub(super) fn null(&mut self) -> Option<()> {
        self.put(&[AMF_NULL as u8])
    }

    pub(super) fn name(&mut self, name: &[u8]) -> Option<()> {
        if self.room() < 2 + name.len() {
            return None;
        }
        self.put(&u16::try_from(name.len()).ok()?.to_be_bytes())?;
        self.put(name)
    }

    pub(super) fn named_string(&mut self, name: &[u8], text: &[u8]) -> Option<()> {
        self.name(name)?;
        self.string(text)
    }

    pub(super) fn named_number(&mut self, name: &[u8], value: f64) -> Option<()> {
        self.name(name)?;
        self.number(value)
    }

    pub(super) fn named_boolean(&mut self, name: &[u8], value: bool) -> Option<()> {
        self.name(name)?;
        self.boolean(value)
    }

    pub(super) fn end_mark(&mut self) -> Option<()> {
        self.be24(AMF_OBJECT_END)
    }

    pub(super) fn object(&mut self, object: &AMFObject) -> Option<()> {
        self.object_at(object, 0)
    }

    fn object_at(&mut self, object: &AMFObject, depth: u32) -> Option<()> {
        self.open(&[AMF_OBJECT as u8])?;
        self.props(object, depth);
        self.close()
    }

    pub(super) fn ecma_array(&mut self, object: &AMFObject, depth: u32) -> Option<()> {
        self.open(&[AMF_ECMA_ARRAY as u8])?;
        self.put(&object.count().to_be_bytes())?;
        self.props(object, depth);
        self.close()
    }

    pub(super) fn strict_array(&mut self, object: &AMFObject, depth: u32) -> Option<()> {
        self.open(&[AMF_STRICT_ARRAY as u8])?;
        self.put(&object.count().to_be_bytes())?;
        self.props(object, depth);
        Some(())
    }

    fn open(&mut self, mark: &[u8]) -> Option<()> {
        if self.room() <= 4 {
            return None;
        }
        self.put(mark)
    }

    fn close(&mut self) -> Option<()> {
        if self.room() <= 3 {
            return None;
        }
        self.end_mark()
    }

    /// The properties up to the first that cannot be encoded.
    fn props(&mut self, object: &AMFObject, depth: u32) {
        for (index, prop) in object.props().iter().enumerate() {
            let before = self.at;
            if self.property_at(prop, depth).is_none() {
                self.at = before;
                log::error(&format!("AMF: property {index} cannot be encoded"));
                break;
            }
        }
    }

    /// A property, beginning with its name. A null has no name, because librtmp leaves it out.
    pub(super) fn property(&mut self, prop: &AMFObjectProperty) -> Option<()> {
        self.property_at(prop, 0)
    }

    fn property_at(&mut self, prop: &AMFObjectProperty, depth: u32) -> Option<()> {
        if prop.p_type == AMF_NULL {
            return if self.room() > 1 { self.null() } else { None };
        }
        let name = prop.p_name.bytes();
        if prop.p_type == AMF_INVALID || self.room() <= name.len() + 3 || depth >= MAX_DEPTH {
            return None;
        }
        if !name.is_empty() {
            self.name(name)?;
        }
        match prop.p_type {
            AMF_NUMBER => self.number(prop.number()),
            AMF_BOOLEAN => self.boolean(prop.number() != 0.0),
            AMF_STRING => self.string(prop.string().bytes()),
            AMF_OBJECT => self.object_at(&prop.object(), depth + 1),
            AMF_ECMA_ARRAY => self.ecma_array(&prop.object(), depth + 1),
            AMF_STRICT_ARRAY => self.strict_array(&prop.object(), depth + 1),
            kind => {
                log::error(&format!("AMF: type {kind} cannot be encoded"));
                None
            }
        }
    }
}
