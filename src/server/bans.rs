//! Bans: peers from the address of a session that was closed with a ban may not do the same on the same stream for a
//! while.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Failure, RRError, Result};
use crate::session::Role;
use crate::stream::StreamName;
use crate::stream::record::RRSession;
use crate::sync::locked;

/// Most bans at one time: each is asked for by an operator or the host, and has its own stream name.
const MAX_BANS: usize = 4_096;

/// Longest ban. To keep peers out for good, use settings that outlive the process.
pub(super) const MAX_BAN_MS: u32 = 86_400_000;

/// What is banned: one address, one stream, and publishing or playing. Another address, another stream, or playing
/// instead of publishing is not covered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ban {
    ip: IpAddr,
    publishes: bool,
    path: Vec<u8>,
}

impl Ban {
    /// The ban of what a session does now, on its stream `name`. The session's own names may belong to a request that
    /// was refused.
    ///
    /// # Errors
    /// [`RRError::State`] if it neither publishes nor plays, or its address is not known.
    pub(super) fn of(record: &RRSession, name: Option<&StreamName>) -> Result<Self> {
        let nothing =
            || Failure::ours(RRError::State, "the session neither publishes nor plays, so there is nothing to ban");
        let name = name.ok_or_else(nothing)?;
        let publishes = match record.role() {
            Role::Publisher | Role::Standby => true,
            Role::Player => false,
            _ => return Err(nothing()),
        };
        let ip = record.ip.ok_or_else(|| Failure::ours(RRError::State, "the session's address is not known"))?;
        Ok(Self { ip, publishes, path: name.path() })
    }
}

/// The bans of a server. Until the first ban, a check costs one load.
#[derive(Debug, Default)]
pub(super) struct Bans {
    any: AtomicBool,
    /// The end of each ban, monotonic ms.
    table: Mutex<HashMap<Ban, u64>>,
}

impl Bans {
    /// Bans until that time; returns the end of an earlier ban of the same, if any.
    ///
    /// # Errors
    /// [`RRError::Limit`] if there are too many bans.
    pub(super) fn add(&self, ban: Ban, until_ms: u64, now_ms: u64) -> Result<Option<u64>> {
        let mut table = locked(&self.table);
        if table.len() >= MAX_BANS {
            table.retain(|_, until| *until > now_ms);
        }
        let known = table.contains_key(&ban);
        if !known && (table.len() >= MAX_BANS || table.try_reserve(1).is_err()) {
            return Err(Failure::ours(RRError::Limit, format!("there are {MAX_BANS} bans already")));
        }
        self.any.store(true, Ordering::Release);
        Ok(table.insert(ban, until_ms))
    }

    /// Undoes a ban: the earlier ban until `before` is in force again, or none.
    pub(super) fn restore(&self, ban: Ban, before: Option<u64>) {
        let mut table = locked(&self.table);
        match before {
            Some(until_ms) => table.insert(ban, until_ms),
            None => table.remove(&ban),
        };
    }

    /// Refuses a peer that is banned, with a text for the peer.
    ///
    /// # Errors
    /// [`RRError::Rejected`].
    pub(super) fn check(&self, record: &RRSession, name: &StreamName, publishes: bool, now_ms: u64) -> Result<()> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(());
        }
        let Some(ip) = record.ip else { return Ok(()) };
        let ban = Ban { ip, publishes, path: name.path() };
        let mut table = locked(&self.table);
        let Some(&until_ms) = table.get(&ban) else { return Ok(()) };
        if until_ms <= now_ms {
            table.remove(&ban);
            return Ok(());
        }
        let seconds = (until_ms - now_ms).div_ceil(1_000);
        Err(Failure::ours(RRError::Rejected, format!("closed by the operator: not allowed again for {seconds} s")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(number: usize) -> Ban {
        Ban { ip: IpAddr::from([127, 0, 0, 1]), publishes: true, path: number.to_string().into_bytes() }
    }

    fn session(ip: [u8; 4]) -> RRSession {
        RRSession::new(1, "peer".to_owned(), Some(IpAddr::from(ip)), "here".to_owned())
    }

    #[test]
    fn a_ban_is_of_an_address_a_stream_and_what_was_done_there() {
        let bans = Bans::default();
        let record = session([127, 0, 0, 1]);
        let name = |key: &str| StreamName { app: b"live".to_vec(), key: key.as_bytes().to_vec() };
        let record_of = |role| {
            record.set_role(role);
            // The session has asked for another stream meanwhile, and was refused.
            record.rename(|names| (names.app, names.key) = (b"live".to_vec(), b"none".to_vec()));
            Ban::of(&record, Some(&name("show")))
        };
        assert_eq!(record_of(Role::None).unwrap_err().kind, RRError::State);
        record.set_role(Role::Player);
        assert_eq!(Ban::of(&record, None).unwrap_err().kind, RRError::State, "its stream has ended");
        let banned = record_of(Role::Standby).unwrap();
        assert_eq!(record_of(Role::Publisher).unwrap(), banned);
        assert_eq!(bans.add(banned.clone(), 5_000, 1_000).unwrap(), None);
        let failure = bans.check(&record, &name("show"), true, 4_500).unwrap_err();
        assert!(failure.kind == RRError::Rejected && failure.text.contains("1 s"), "{failure}");
        for (record, key, publishes) in
            [(&record, "show", false), (&record, "other", true), (&session([127, 0, 0, 2]), "show", true)]
        {
            bans.check(record, &name(key), publishes, 1_000).unwrap();
        }
        assert_eq!(bans.add(banned.clone(), 9_000, 1_000).unwrap(), Some(5_000));
        bans.restore(banned.clone(), Some(5_000));
        bans.check(&record, &name("show"), true, 5_000).unwrap();
        bans.add(banned.clone(), 9_000, 1_000).unwrap();
        bans.restore(banned, None);
        bans.check(&record, &name("show"), true, 1_000).unwrap();
    }

    #[test]
    fn the_table_is_bounded_and_what_is_past_makes_room() {
        let bans = Bans::default();
        for number in 0..MAX_BANS {
            bans.add(ban(number), 2_000, 1_000).unwrap();
        }
        assert_eq!(bans.add(ban(MAX_BANS), 2_000, 1_000).unwrap_err().kind, RRError::Limit);
        bans.add(ban(0), 3_000, 1_000).unwrap();
        bans.add(ban(MAX_BANS), 3_000, 2_000).unwrap();
        assert_eq!(locked(&bans.table).len(), 2);
    }
}
