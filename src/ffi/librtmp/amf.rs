//! Objects: the array of properties behind an [`AMFObject`], in the C allocator's memory because programs build and
//! free such arrays too. Nothing is decoded or encoded here.

use super::mem;
use super::types::{AMFObject, AMFObjectProperty};

/// How deep objects may nest: real messages stay below ten. Each level costs stack in the host's thread.
pub(super) const MAX_DEPTH: u32 = 128;

/// Arrays grow by this many properties. Programs build arrays too, and an array's capacity follows from its count, so
/// the step is part of the interface.
pub(super) const STEP: usize = 16;

impl AMFObject {
    /// The properties.
    pub fn props(&self) -> &[AMFObjectProperty] {
        let len = usize::try_from(self.count()).unwrap_or(0);
        if self.start().is_null() || len == 0 {
            return &[];
        }
        // SAFETY: what an object is.
        unsafe { std::slice::from_raw_parts(self.start(), len) }
    }

    /// The property at this index.
    pub fn at(&self, index: usize) -> Option<&AMFObjectProperty> {
        self.props().get(index)
    }

    /// The first property with this name.
    pub fn named(&self, name: &[u8]) -> Option<&AMFObjectProperty> {
        self.props().iter().find(|prop| prop.p_name.bytes() == name)
    }

    /// The string at this place; empty if there is none.
    pub fn string_at(&self, index: usize) -> &[u8] {
        // SAFETY: a string lives as long as the object that has it.
        self.at(index).map_or(&[], |prop| unsafe { prop.string().long_bytes() })
    }

    /// The number at this place; 0 if there is none.
    pub fn number_at(&self, index: usize) -> f64 {
        self.at(index).filter(|prop| prop.p_type <= 1).map_or(0.0, AMFObjectProperty::number)
    }

    /// The first property with a matching name, at any depth.
    pub fn find(&self, matches: &dyn Fn(&[u8]) -> bool, depth: u32) -> Option<&AMFObjectProperty> {
        for prop in self.props() {
            if matches(prop.p_name.bytes()) {
                return Some(prop);
            }
            if depth < MAX_DEPTH {
                // The array lives as long as `self` does; `object` copies only its head.
                let inner = prop.object();
                if let Some(found) = inner.find(matches, depth + 1) {
                    // SAFETY: contract: inner arrays belong to the outer object and live with it.
                    return Some(unsafe { &*std::ptr::from_ref(found) });
                }
            }
        }
        None
    }

    /// Appends a property. False if there is no memory; then nothing is changed.
    pub fn add(&mut self, prop: &AMFObjectProperty) -> bool {
        let len = usize::try_from(self.count()).unwrap_or(0);
        let (mut props, prop) = (self.start(), *prop);
        if len % STEP == 0 {
            // SAFETY: what an object is: the array is the C allocator's.
            let Some(grown) = (unsafe { mem::grow(props, len + STEP) }) else { return false };
            props = grown;
        }
        if props.is_null() {
            return false;
        }
        // SAFETY: the array has room up to the next multiple of STEP.
        let place = unsafe { props.add(len) };
        // SAFETY: as above; what was there is not dropped.
        unsafe { place.write(prop) };
        // SAFETY: one more has been written.
        *self = unsafe { Self::of(self.count() + 1, props) };
        true
    }

    /// Frees all arrays, the inner ones first, and leaves an empty object.
    pub fn reset(&mut self) {
        self.reset_at(0);
    }

    fn reset_at(&mut self, depth: u32) {
        if depth < 2 * MAX_DEPTH {
            for prop in self.props() {
                prop.object().reset_at(depth + 1);
            }
        }
        let props = self.start();
        *self = Self::EMPTY;
        // SAFETY: what an object is: the array is the C allocator's, and the object has forgotten it.
        unsafe { mem::free(props) };
    }
}

/// An object that is freed when it goes out of scope.
pub(super) struct Owned(pub(super) AMFObject);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.reset();
    }
}
