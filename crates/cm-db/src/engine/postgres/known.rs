//! What a batch knows of the server's rows.
//!
//! While a batch holds the write lock, the server's rows cannot change under it: what was read once, or found absent,
//! stays so.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

/// What is known of the server's rows, table by table.
#[derive(Debug, Default)]
pub(super) struct Known {
    tables: HashMap<String, KnownTable>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct KnownTable {
    rows: HashMap<Vec<u8>, Seen>,
    /// Where no rows are: from the key on, up to the other one or to the end.
    gaps: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

#[derive(Debug)]
enum Seen {
    Absent,
    /// There is one; it was not read.
    Present,
    Row(Vec<u8>),
}

impl Known {
    /// The row under the key; `None` if that is not known.
    pub(super) fn get(&self, table: &str, key: &[u8]) -> Option<Option<&Vec<u8>>> {
        let known = self.tables.get(table)?;
        match known.rows.get(key) {
            Some(Seen::Row(row)) => Some(Some(row)),
            Some(Seen::Absent) => Some(None),
            Some(Seen::Present) => None,
            None => known.in_gap(key).then_some(None),
        }
    }

    /// Whether there is a row under the key; `None` if that is not known.
    pub(super) fn exists(&self, table: &str, key: &[u8]) -> Option<bool> {
        let known = self.tables.get(table)?;
        match known.rows.get(key) {
            Some(Seen::Absent) => Some(false),
            Some(Seen::Present | Seen::Row(_)) => Some(true),
            None => known.in_gap(key).then_some(false),
        }
    }

    /// A key was read.
    pub(super) fn learn(&mut self, table: &str, key: &[u8], row: Option<&[u8]>) {
        self.bytes += key.len() + row.map_or(0, <[u8]>::len);
        let seen = row.map_or(Seen::Absent, |row| Seen::Row(row.to_vec()));
        self.table(table).rows.insert(key.to_owned(), seen);
    }

    /// The first key from `from` on is `next`. Keys that come one after another, as the numbers of events and the ids of
    /// new records do, then need no further look.
    pub(super) fn learn_next(&mut self, table: &str, from: &[u8], next: Option<Vec<u8>>) {
        self.bytes += from.len() + next.as_ref().map_or(0, Vec::len) * 2;
        let known = self.table(table);
        if let Some(next) = &next {
            known.rows.entry(next.clone()).or_insert(Seen::Present);
        }
        if next.as_deref() != Some(from) {
            known.gaps.insert(from.to_owned(), next);
        }
    }

    /// Forgets everything: the server's rows have changed.
    pub(super) fn clear(&mut self) {
        *self = Known::default();
    }

    /// About how much memory that takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn table(&mut self, table: &str) -> &mut KnownTable {
        if !self.tables.contains_key(table) {
            self.tables.insert(table.to_owned(), KnownTable::default());
        }
        self.tables.entry(table.to_owned()).or_default()
    }
}

impl KnownTable {
    fn in_gap(&self, key: &[u8]) -> bool {
        let before = self.gaps.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        before.is_some_and(|(_, end)| end.as_ref().is_none_or(|end| key < end.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "t";

    fn check_known(known: &Known, key: &[u8], exists: Option<bool>, row: Option<Option<&[u8]>>) {
        assert_eq!(known.exists(T, key), exists, "{key:?}");
        assert_eq!(known.get(T, key).map(|row| row.map(Vec::as_slice)), row, "{key:?}");
    }

    #[test]
    fn a_gap_answers_for_every_key_in_it() {
        let mut known = Known::default();
        check_known(&known, b"m", None, None);
        known.learn_next(T, b"k", Some(b"p".to_vec()));
        check_known(&known, b"j", None, None);
        check_known(&known, b"k", Some(false), Some(None));
        check_known(&known, b"o", Some(false), Some(None));
        check_known(&known, b"p", Some(true), None);
        known.learn(T, b"p", Some(b"row"));
        known.learn_next(T, b"p", Some(b"p".to_vec()));
        check_known(&known, b"p", Some(true), Some(Some(b"row")));
        check_known(&known, b"q", None, None);
        known.learn_next(T, b"q", None);
        check_known(&known, b"zzz", Some(false), Some(None));
        known.learn(T, b"a", None);
        check_known(&known, b"a", Some(false), Some(None));
        known.clear();
        check_known(&known, b"q", None, None);
    }
}
