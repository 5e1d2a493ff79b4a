//! The table of objects that the host names by number. Its ids carry a generation and the number of their server,
//! so that a late call on a dead id, and a call at the wrong server, find nothing instead of another object.
//!
//! An id is `kind << 56 | server << 48 | generation << 32 | slot + 1`. The table does not know what it holds and takes
//! no lock; its owner does.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{Failure, RRError, Result};
use crate::stream::event::Id;

/// Kinds of objects: the top byte of every id.
pub mod kind {
    /// A server.
    pub const SERVER: u8 = 1;
    /// A stream.
    pub const STREAM: u8 = 2;
    /// A session: a connection that a peer opened to us.
    pub const SESSION: u8 = 3;
    /// A target or source: a connection that we open.
    pub const TARGET: u8 = 4;
}

/// Generations are 1 to this. A slot that has used them up is not used again; otherwise a very old id would become
/// valid. At a thousand sessions a second this costs one slot a minute, some 20 KiB a day.
const LAST_GENERATION: u32 = 0xFFFF;

/// The end of the list of free slots.
const NONE: u32 = u32::MAX;

/// The kind of object that an id names ([`kind`]); 0 for the id 0.
pub(crate) fn kind_of(id: Id) -> u8 {
    id.to_be_bytes()[0]
}

/// A number for a new server of this process, never 0. Numbers repeat after 255 servers.
pub(crate) fn next_server() -> u8 {
    static LAST: AtomicU8 = AtomicU8::new(0);
    let next = |last: u8| Some(if last == u8::MAX { 1 } else { last + 1 });
    LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).map_or(1, |last| next(last).unwrap_or(1))
}

/// The number of the server to which an id belongs.
fn server_of(id: Id) -> u8 {
    id.to_be_bytes()[1]
}

fn name_of(kind: u8) -> &'static str {
    match kind {
        kind::STREAM => "stream",
        kind::SESSION => "session",
        kind::TARGET => "target",
        _ => "object",
    }
}

#[derive(Debug)]
enum Slot<T> {
    Used {
        generation: u32,
        value: T,
    },
    /// `generation` is that of its next user, `next` is the next free slot.
    Free {
        generation: u32,
        next: u32,
    },
    Retired,
}

/// A table of objects of one kind, bounded in number.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    kind: u8,
    server: u8,
    capacity: u32,
    live: u32,
    free: u32,
    slots: Vec<Slot<T>>,
}

impl<T> Slots<T> {
    /// A table for at most `capacity` objects of one kind and server at one time. It allocates nothing at first.
    pub(crate) fn new(kind: u8, server: u8, capacity: u32) -> Self {
        Self { kind, server, capacity, live: 0, free: NONE, slots: Vec::new() }
    }

    /// Adds the object that `make` makes for its id, and returns the id, never 0. `make` is called only if there is
    /// room.
    ///
    /// # Errors
    /// [`RRError::Limit`] when the table is full, [`RRError::NoMem`].
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Id) -> T) -> Result<Id> {
        if self.live >= self.capacity {
            return Err(Failure::ours(RRError::Limit, format!("at most {} are allowed", self.capacity)));
        }
        let (at, generation) = match self.slots.get(self.free as usize) {
            Some(&Slot::Free { generation, next }) => {
                let at = self.free;
                self.free = next;
                (at, generation)
            }
            _ => {
                let at = u32::try_from(self.slots.len()).unwrap_or(NONE);
                if at >= NONE - 1 {
                    return Err(Failure::ours(RRError::Limit, "all slots are used up"));
                }
                self.slots.try_reserve(1).map_err(|_| Failure::from(RRError::NoMem))?;
                self.slots.push(Slot::Retired);
                (at, 1)
            }
        };
        let id = self.id(at, generation);
        // If `make` panics, the slot stays retired and the table consistent.
        self.slots[at as usize] = Slot::Retired;
        let value = make(id);
        self.slots[at as usize] = Slot::Used { generation, value };
        self.live += 1;
        Ok(id)
    }

    /// The object with this id; `None` for ever once it was removed.
    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        match self.slots.get(self.slot_of(id)?)? {
            Slot::Used { generation, value } if *generation == generation_of(id) => Some(value),
            _ => None,
        }
    }

    /// [`Self::get`] for an id that the host gave, with an error text for the host.
    ///
    /// # Errors
    /// [`RRError::NotFound`].
    pub(crate) fn find(&self, id: Id) -> Result<&T> {
        self.get(id).ok_or_else(|| {
            let name = name_of(self.kind);
            Failure::ours(
                RRError::NotFound,
                if kind_of(id) == self.kind && server_of(id) != self.server {
                    format!("this {name} belongs to another server")
                } else {
                    format!("no such {name}, or it has ended")
                },
            )
        })
    }

    /// Whether the id is alive.
    pub(crate) fn contains(&self, id: Id) -> bool {
        self.get(id).is_some()
    }

    /// Removes the object; its id is dead from now on.
    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let at = self.slot_of(id).filter(|_| self.contains(id))?;
        let generation = generation_of(id);
        let left = if generation == LAST_GENERATION {
            Slot::Retired
        } else {
            let next = self.free;
            // The slot of a live id fits 32 bits.
            self.free = at as u32;
            Slot::Free { generation: generation + 1, next }
        };
        self.live -= 1;
        match std::mem::replace(&mut self.slots[at], left) {
            Slot::Used { value, .. } => Some(value),
            Slot::Free { .. } | Slot::Retired => None,
        }
    }

    /// All objects with their ids, in the order of the slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        self.slots.iter().zip(0..).filter_map(|(slot, at)| match slot {
            Slot::Used { generation, value } => Some((self.id(at, *generation), value)),
            _ => None,
        })
    }

    /// All objects, in a list for which there may be no memory.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    pub(crate) fn all(&self) -> Result<Vec<T>>
    where
        T: Clone,
    {
        let mut all = Vec::new();
        all.try_reserve_exact(self.len()).map_err(|_| Failure::from(RRError::NoMem))?;
        all.extend(self.iter().map(|(_, object)| object.clone()));
        Ok(all)
    }

    /// The first object in this slot or behind it, with the slot behind that. Whoever walks from 0 on needs no list, and lets go
    /// of the table's lock in between.
    pub(crate) fn next_from(&self, at: usize) -> Option<(T, usize)>
    where
        T: Clone,
    {
        let slots = self.slots.iter().enumerate().skip(at);
        let used = |(at, slot): (usize, &Slot<T>)| match slot {
            Slot::Used { value, .. } => Some((value.clone(), at + 1)),
            _ => None,
        };
        slots.filter_map(used).next()
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.live as usize
    }

    /// Whether the table is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.live == 0
    }

    fn id(&self, at: u32, generation: u32) -> Id {
        pack(self.kind, self.server, at, generation)
    }

    /// The slot that an id of this table's kind and server points to.
    fn slot_of(&self, id: Id) -> Option<usize> {
        if kind_of(id) != self.kind || server_of(id) != self.server {
            return None;
        }
        usize::try_from(id & 0xFFFF_FFFF).ok()?.checked_sub(1)
    }
}

fn pack(kind: u8, server: u8, at: u32, generation: u32) -> Id {
    u64::from(kind) << 56 | u64::from(server) << 48 | u64::from(generation) << 32 | (u64::from(at) + 1)
}

fn generation_of(id: Id) -> u32 {
    (id >> 32) as u32 & LAST_GENERATION
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn an_id_carries_kind_server_generation_and_slot() {
        let mut slots = Slots::new(kind::SESSION, 7, 10);
        assert_eq!(slots.insert_with(|_| 'a').unwrap(), 0x0307_0001_0000_0001);
        let b = slots.insert_with(|_| 'b').unwrap();
        assert_eq!(b, 0x0307_0001_0000_0002);
        assert_eq!(slots.remove(b), Some('b'));
        assert_eq!(
            slots
                .insert_with(|id| if id == 0x0307_0002_0000_0002 { 'c' } else { 'x' })
                .map(|id| slots.get(id).copied()),
            Ok(Some('c'))
        );
        assert_eq!(kind_of(b), kind::SESSION);
        assert_eq!(kind_of(0), 0);
    }

    #[test]
    fn a_stale_id_finds_nothing_for_ever() {
        let mut slots = Slots::new(kind::TARGET, 7, 2);
        let mut dead = HashSet::new();
        for round in 0..10_000 {
            let id = slots.insert_with(|_| round).unwrap();
            assert!(dead.insert(id), "an id came twice");
            assert_eq!(slots.remove(id), Some(round));
            assert_eq!(slots.remove(id), None);
        }
        let live = slots.insert_with(|_| -1).unwrap();
        assert!(dead.iter().all(|&id| slots.get(id).is_none()));
        assert_eq!((slots.len(), slots.get(live)), (1, Some(&-1)));
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_not_used_again() {
        let mut slots = Slots::new(kind::STREAM, 7, 1);
        let first = slots.insert_with(|_| 0).unwrap();
        slots.remove(first);
        // This is the state after 65,535 uses.
        slots.slots[0] = Slot::Free { generation: LAST_GENERATION, next: NONE };
        let last = slots.insert_with(|_| 1).unwrap();
        assert_eq!(last, 0x0207_FFFF_0000_0001);
        assert_eq!(slots.remove(last), Some(1));
        let next = slots.insert_with(|_| 2).unwrap();
        assert_eq!(next, 0x0207_0001_0000_0002, "the second slot, though the first is empty");
        assert_eq!((slots.get(first), slots.get(last), slots.get(next)), (None, None, Some(&2)));
    }

    #[test]
    fn the_limit_holds_and_room_comes_back() {
        let mut slots = Slots::new(kind::STREAM, 7, 2);
        let a = slots.insert_with(|_| 'a').unwrap();
        slots.insert_with(|_| 'b').unwrap();
        assert_eq!(slots.insert_with(|_| 'c').unwrap_err().kind, RRError::Limit);
        slots.remove(a);
        assert!(slots.insert_with(|_| 'c').is_ok());
        assert_eq!(slots.iter().map(|(_, &c)| c).collect::<String>(), "cb");
        let ids: Vec<Id> = slots.iter().map(|(id, _)| id).collect();
        assert_eq!(ids.into_iter().filter_map(|id| slots.remove(id)).collect::<String>(), "cb");
        assert!(slots.is_empty());
    }

    #[test]
    fn made_up_ids_and_ids_of_another_kind_find_nothing() {
        let mut slots = Slots::new(kind::STREAM, 7, 8);
        let id = slots.insert_with(|_| ()).unwrap();
        for wrong in [0, 1, u64::MAX, id | 1 << 63, id ^ 1 << 56, id ^ 1 << 32, id & !0xFFFF_FFFF, id + 1] {
            assert!(!slots.contains(wrong), "{wrong:x}");
            assert_eq!(slots.remove(wrong), None);
        }
        assert!(slots.contains(id));
    }

    #[test]
    fn an_id_of_another_server_finds_nothing_and_the_words_say_so() {
        let (mut one, mut other) = (Slots::new(kind::STREAM, 1, 8), Slots::new(kind::STREAM, 2, 8));
        let (id, same_place) = (one.insert_with(|_| '1').unwrap(), other.insert_with(|_| '2').unwrap());
        assert_ne!(id, same_place);
        assert_eq!(id as u32, same_place as u32, "the place is the same, and small");
        assert_eq!((other.remove(id), other.get(id), one.find(id)), (None, None, Ok(&'1')));
        let failure = other.find(id).unwrap_err();
        assert_eq!((failure.kind, &*failure.text), (RRError::NotFound, "this stream belongs to another server"));
        one.remove(id);
        assert!(one.find(id).unwrap_err().text.contains("has ended"));
    }

    #[test]
    fn servers_of_one_process_have_numbers_of_their_own() {
        let numbers: Vec<u8> = (0..300).map(|_| next_server()).collect();
        assert!(!numbers.contains(&0));
        assert!(numbers.windows(2).all(|two| two[0] != two[1]));
    }
}
