//! Whether a history could have happened one operation after the other.
//!
//! A history is linearizable if its operations can be put in one order in which each sees what those before it did, and
//! none stands before one that had ended when it began (Herlihy and Wing, *Linearizability*, 1990). The search is that
//! of Wing and Gong with Lowe's memory of states that led nowhere (*Testing for linearizability*, 2017). Histories are
//! checked key by key, which is enough: linearizability is local.

use std::collections::HashSet;

/// What an operation on a key was, and what it told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Read the value.
    Read {
        /// What it saw.
        saw: Option<u64>,
    },
    /// Wrote a value.
    Put {
        /// The value; no two writes of a history have the same.
        value: u64,
    },
    /// Replaced a value by another one.
    Swap {
        /// What had to be there.
        expected: Option<u64>,
        /// What was written.
        value: u64,
    },
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// When it began.
    pub began: u64,
    /// When its answer came; `None` if none came: it may have happened at any time after it began, or never.
    pub ended: Option<u64>,
    /// What it was.
    pub act: Act,
}

impl Act {
    /// The state after it, if the state allows it.
    fn after(&self, state: Option<u64>) -> Option<Option<u64>> {
        match *self {
            Act::Read { saw } => (saw == state).then_some(state),
            Act::Put { value } => Some(Some(value)),
            Act::Swap { expected, value } => (expected == state).then_some(Some(value)),
        }
    }

    fn writes(&self) -> Option<u64> {
        match *self {
            Act::Read { .. } => None,
            Act::Put { value } | Act::Swap { value, .. } => Some(value),
        }
    }

    fn saw(&self) -> Option<u64> {
        match *self {
            Act::Read { saw } => saw,
            Act::Put { .. } => None,
            Act::Swap { expected, .. } => expected,
        }
    }
}

/// Whether the history of one key, which has no value at first, is linearizable.
pub fn is_linearizable(history: &[Operation]) -> bool {
    let mut operations = needed(history);
    operations.sort_by_key(|operation| operation.began);
    let mut search =
        Search { done: vec![false; operations.len()], operations, seen: HashSet::new(), first_open: 0 };
    search.from(None)
}

/// Without those whose effect nobody answered for and nobody saw: that they never happened explains them.
fn needed(history: &[Operation]) -> Vec<Operation> {
    let seen: HashSet<u64> = history.iter().filter_map(|operation| operation.act.saw()).collect();
    let matters = |operation: &&Operation| {
        operation.ended.is_some() || operation.act.writes().is_some_and(|value| seen.contains(&value))
    };
    history.iter().filter(matters).copied().collect()
}

struct Search {
    operations: Vec<Operation>,
    done: Vec<bool>,
    /// Which operations were done and what they led to, where it is known that there is no way on.
    seen: HashSet<(Vec<u64>, Option<u64>)>,
    first_open: usize,
}

impl Search {
    fn from(&mut self, state: Option<u64>) -> bool {
        while self.done.get(self.first_open) == Some(&true) {
            self.first_open += 1;
        }
        let open = (self.first_open..self.operations.len()).filter(|at| !self.done[*at]);
        // Nothing can stand before an operation that had ended when it began.
        let Some(bound) = open.filter_map(|at| self.operations[at].ended).min() else { return true };
        if !self.seen.insert((self.bits(), state)) {
            return false;
        }
        for at in self.first_open..self.operations.len() {
            let operation = self.operations[at];
            if operation.began > bound {
                break;
            }
            if self.done[at] {
                continue;
            }
            if let Some(next) = operation.act.after(state) {
                let first_open = self.first_open;
                self.done[at] = true;
                if self.from(next) {
                    return true;
                }
                self.done[at] = false;
                self.first_open = first_open;
            }
        }
        false
    }

    fn bits(&self) -> Vec<u64> {
        let mut bits = vec![self.first_open as u64];
        for chunk in self.done[self.first_open..].chunks(64) {
            bits.push(chunk.iter().enumerate().fold(0, |word, (at, done)| word | u64::from(*done) << at));
        }
        while bits.len() > 1 && bits.last() == Some(&0) {
            bits.pop();
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(history: &[(u64, u64, Act)], expected: bool) {
        let operations: Vec<_> = history
            .iter()
            .map(|(began, ended, act)| Operation {
                began: *began,
                ended: (*ended > 0).then_some(*ended),
                act: *act,
            })
            .collect();
        assert_eq!(is_linearizable(&operations), expected, "{history:?}");
    }

    const fn read(saw: u64) -> Act {
        Act::Read { saw: if saw == 0 { None } else { Some(saw) } }
    }

    const fn put(value: u64) -> Act {
        Act::Put { value }
    }

    const fn swap(expected: u64, value: u64) -> Act {
        Act::Swap { expected: if expected == 0 { None } else { Some(expected) }, value }
    }

    #[test]
    fn histories_that_could_have_happened_are_accepted() {
        check(&[], true);
        check(&[(1, 2, put(1)), (3, 4, read(1)), (5, 6, swap(1, 2)), (7, 8, read(2))], true);
        // Both orders of what happens at once.
        check(&[(1, 10, put(1)), (2, 9, put(2)), (11, 12, read(1))], true);
        check(&[(1, 10, put(1)), (2, 9, put(2)), (11, 12, read(2))], true);
        // Never answered: seen late, or never.
        check(&[(1, 0, put(1)), (2, 3, read(0)), (4, 5, read(1))], true);
        check(&[(1, 0, put(1)), (2, 3, read(0)), (4, 5, put(2)), (6, 7, read(2))], true);
    }

    #[test]
    fn histories_that_could_not_have_happened_are_refused() {
        check(&[(1, 2, read(1))], false);
        // A stale read, a lost write, a value that comes back.
        check(&[(1, 2, put(1)), (3, 4, put(2)), (5, 6, read(1))], false);
        check(&[(1, 2, put(1)), (3, 4, read(0))], false);
        check(&[(1, 2, put(1)), (3, 9, put(2)), (4, 5, read(2)), (6, 7, read(1))], false);
        check(&[(1, 0, put(1)), (2, 3, read(1)), (4, 5, read(0))], false);
        // Two that replaced the same.
        check(&[(1, 2, put(1)), (3, 9, swap(1, 2)), (4, 8, swap(1, 3))], false);
        // Seen before it was written.
        check(&[(1, 2, read(5)), (3, 4, put(5))], false);
    }

    #[test]
    fn long_histories_with_many_open_writes_are_checked_soon() {
        let mut history = Vec::new();
        for n in 1..400 {
            history.push((n * 10, if n % 7 == 0 { 0 } else { n * 10 + 25 }, put(n)));
        }
        history.push((9000, 9001, read(399)));
        check(&history, true);
        history.push((9002, 9003, read(398)));
        check(&history, false);
    }
}
