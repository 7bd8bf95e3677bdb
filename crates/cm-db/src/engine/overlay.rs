//! What a batch has written.
//!
//! Its writes wait here until the commit and lie above the rows that the storage has.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::engine::Pair;
use crate::{Direction, KeyRange};

/// A table's changed rows; `None` is a deletion.
pub(in crate::engine) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What one entry held before a change: the table, the key, and the entry if there was one.
type Before = (String, Vec<u8>, Option<Option<Vec<u8>>>);

/// Writes that wait for the commit.
#[derive(Debug, Default)]
pub(in crate::engine) struct Overlay {
    tables: BTreeMap<String, Changes>,
    /// What was changed since the mark, if there is one.
    undo: Option<Vec<Before>>,
    bytes: usize,
}

impl Overlay {
    /// What was written to the key, if anything.
    pub(in crate::engine) fn get(&self, table: &str, key: &[u8]) -> Option<&Option<Vec<u8>>> {
        self.tables.get(table)?.get(key)
    }

    /// Writes; `None` deletes.
    pub(in crate::engine) fn set(&mut self, table: &str, key: &[u8], value: Option<Vec<u8>>) {
        let size = size_of(key, &value);
        if !self.tables.contains_key(table) {
            self.tables.insert(table.to_owned(), Changes::new());
        }
        let Some(changes) = self.tables.get_mut(table) else { return };
        let before = changes.insert(key.to_owned(), value);
        self.bytes =
            (self.bytes + size).saturating_sub(before.as_ref().map_or(0, |value| size_of(key, value)));
        if let Some(undo) = &mut self.undo {
            undo.push((table.to_owned(), key.to_owned(), before));
        }
    }

    /// Sets the mark.
    pub(in crate::engine) fn mark(&mut self) {
        self.undo = Some(Vec::new());
    }

    /// Keeps what was written since the mark.
    pub(in crate::engine) fn keep(&mut self) {
        self.undo = None;
    }

    /// Undoes what was written since the mark.
    pub(in crate::engine) fn undo(&mut self) {
        for (table, key, before) in self.undo.take().unwrap_or_default().into_iter().rev() {
            let Some(changes) = self.tables.get_mut(&table) else { continue };
            let undone = changes.remove(&key);
            self.bytes = self.bytes.saturating_sub(undone.as_ref().map_or(0, |value| size_of(&key, value)));
            if let Some(value) = before {
                self.bytes += size_of(&key, &value);
                changes.insert(key, value);
            }
        }
    }

    /// Whether there is a mark.
    pub(in crate::engine) fn is_marked(&self) -> bool {
        self.undo.is_some()
    }

    /// About how much memory the writes take.
    pub(in crate::engine) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes all writes out.
    pub(in crate::engine) fn take(&mut self) -> BTreeMap<String, Changes> {
        self.bytes = 0;
        let mut tables = std::mem::take(&mut self.tables);
        tables.retain(|_, changes| !changes.is_empty());
        tables
    }

    /// How many more rows of the server a scan needs because some of them are deleted here.
    pub(in crate::engine) fn deleted(&self, table: &str, range: &KeyRange) -> usize {
        self.within(table, range).filter(|(_, value)| value.is_none()).count()
    }

    /// Lays the writes over the rows that the server has: the first `limit` of the range, given the server's first
    /// `limit + deleted`.
    pub(in crate::engine) fn merge(
        &self,
        table: &str,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
        server: Vec<Pair>,
    ) -> Vec<Pair> {
        let mut written = self.within(table, range).peekable();
        if written.peek().is_none() {
            let mut server = server;
            server.truncate(limit);
            return server;
        }
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = server.into_iter().collect();
        for (key, value) in written {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        match direction {
            Direction::Forward => rows.into_iter().take(limit).collect(),
            Direction::Backward => rows.into_iter().rev().take(limit).collect(),
        }
    }

    fn within<'a>(
        &'a self,
        table: &str,
        range: &KeyRange,
    ) -> impl Iterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)> {
        let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let changes = self.tables.get(table).filter(|_| !range.is_empty());
        changes
            .into_iter()
            .flat_map(move |changes| changes.range::<[u8], _>((Bound::Included(range.start.as_slice()), end)))
            .collect::<Vec<_>>()
            .into_iter()
    }
}

fn size_of(key: &[u8], value: &Option<Vec<u8>>) -> usize {
    key.len() + value.as_ref().map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T: &str = "t";

    #[derive(Clone, Debug)]
    enum Op {
        Set(u8, Option<u8>),
        Mark,
        Keep,
        Undo,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (0u8..10, proptest::option::of(any::<u8>())).prop_map(|(key, value)| Op::Set(key, value)),
            1 => Just(Op::Mark),
            1 => Just(Op::Keep),
            1 => Just(Op::Undo),
        ]
    }

    proptest! {
        #[test]
        fn scans_see_the_writes_over_the_server(
            server in proptest::collection::btree_map(0u8..10, any::<u8>(), 0..8),
            ops in proptest::collection::vec(op(), 0..20),
            bounds in (0u8..10, 0u8..12),
            back in any::<bool>(),
            limit in 0usize..8,
        ) {
            let mut overlay = Overlay::default();
            let mut model = server.clone();
            let mut marked = None;
            for op in ops {
                match op {
                    Op::Set(key, value) => {
                        overlay.set(T, &[key], value.map(|value| vec![value]));
                        match value {
                            Some(value) => model.insert(key, value),
                            None => model.remove(&key),
                        };
                    }
                    Op::Mark => {
                        overlay.mark();
                        marked = Some(model.clone());
                    }
                    Op::Keep => {
                        overlay.keep();
                        marked = None;
                    }
                    Op::Undo => {
                        overlay.undo();
                        model = marked.take().unwrap_or(model);
                    }
                }
            }
            let (start, end) = (bounds.0, (bounds.1 < 11).then_some(bounds.1));
            let range = KeyRange { start: vec![start], end: end.map(|end| vec![end]) };
            let inside = |key: u8| key >= start && end.is_none_or(|end| key < end);
            let direction = if back { Direction::Backward } else { Direction::Forward };
            let first = |rows: &BTreeMap<u8, u8>, limit: usize| -> Vec<Pair> {
                let rows: Vec<_> = rows.iter().filter(|row| inside(*row.0)).collect();
                let ordered: Vec<_> = if back { rows.into_iter().rev().collect() } else { rows };
                ordered.into_iter().take(limit).map(|(key, value)| (vec![*key], vec![*value])).collect()
            };
            let from_server = first(&server, limit + overlay.deleted(T, &range));
            prop_assert_eq!(overlay.merge(T, &range, direction, limit, from_server), first(&model, limit));
            let bytes: usize =
                overlay.take().values().flatten().map(|(key, value)| size_of(key, value)).sum();
            prop_assert!(overlay.bytes() == 0 && bytes <= 20);
        }
    }
}
