//! The processors of a measurement: figures over loopback depend on where a thread wakes, so there are three ways.

use crate::system;

/// Which processors the two processes may use.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    /// For the process that is measured.
    pub(crate) measured: Vec<usize>,
    /// For the process that gives it work.
    pub(crate) other: Vec<usize>,
}

impl Way {
    /// Unpinned; a processor each; both on one. With one processor, only the last.
    pub(crate) fn all() -> Vec<Self> {
        let all = system::processors();
        let (first, last) = (vec![all[0]], vec![all[all.len() - 1]]);
        let one = Self { name: "one", measured: first.clone(), other: first.clone() };
        if all.len() == 1 {
            return vec![one];
        }
        let unpinned = Self { name: "unpinned", measured: all.clone(), other: all };
        vec![unpinned, Self { name: "split", measured: first, other: last }, one]
    }

    /// The name of the way, for the table.
    pub(crate) fn words(&self) -> &'static str {
        match self.name {
            "unpinned" => "unpinned",
            "split" => "a processor each",
            _ => "both on one",
        }
    }
}
