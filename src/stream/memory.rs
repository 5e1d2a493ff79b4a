//! A stream's memory: the [`budget`] that its parts are charged to, and what it does under [`pressure`] where the
//! server's memory is short.

pub mod budget;
pub(in crate::stream) mod pressure;
