//! The database that all nodes share. Its transactions are whole methods here.

use std::collections::{BTreeMap, BTreeSet};

use cm_placement::{Change, History, Layout, is_overtaken};

/// A chunk, by its content.
pub(super) type Chunk = u8;

/// What a writer counts on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    pub(super) chunk: Chunk,
    pub(super) round: u64,
    pub(super) epoch: u64,
}

/// A state of the database.
#[derive(Clone, Debug)]
pub(super) struct Database {
    pub(super) round: u64,
    pub(super) history: History,
    /// The chunks of each object.
    pub(super) objects: BTreeMap<u8, Vec<Chunk>>,
    /// How many objects name a chunk; 0 is idle.
    pub(super) references: BTreeMap<Chunk, u64>,
    pub(super) condemned: BTreeMap<Chunk, u64>,
}

impl Database {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            round: 0,
            history: History::settled(layout),
            objects: BTreeMap::new(),
            references: BTreeMap::new(),
            condemned: BTreeMap::new(),
        }
    }

    pub(super) fn is_counted(&self, chunk: Chunk) -> bool {
        self.references.get(&chunk).is_some_and(|count| *count > 0)
    }

    /// Those of the promises that do not hold any more.
    pub(super) fn overtaken(&self, promises: &[Promise]) -> BTreeSet<Chunk> {
        let oldest = self.history.unsettled().first().unwrap_or(self.history.current()).epoch().0;
        let late = promises.iter().filter(|promise| {
            let condemned = self.condemned.get(&promise.chunk).copied();
            is_overtaken(promise.round, condemned, 0) || promise.epoch < oldest
        });
        late.map(|promise| promise.chunk).collect()
    }

    /// Shows an object, unless a promise was overtaken. Whether it does.
    pub(super) fn commit(&mut self, name: u8, promises: &[Promise], fenced: bool) -> bool {
        if fenced && !self.overtaken(promises).is_empty() {
            return false;
        }
        for promise in promises {
            *self.references.entry(promise.chunk).or_default() += 1;
        }
        let chunks = promises.iter().map(|promise| promise.chunk).collect();
        let old = self.objects.insert(name, chunks);
        self.release(old);
        true
    }

    pub(super) fn delete(&mut self, name: u8) {
        let old = self.objects.remove(&name);
        self.release(old);
    }

    fn release(&mut self, chunks: Option<Vec<Chunk>>) {
        for chunk in chunks.into_iter().flatten() {
            if let Some(count) = self.references.get_mut(&chunk) {
                *count -= 1;
            }
        }
    }

    /// Condemns what is idle. How many.
    pub(super) fn collect(&mut self) -> u64 {
        let idle: Vec<Chunk> =
            self.references.iter().filter(|(_, count)| **count == 0).map(|(chunk, _)| *chunk).collect();
        for chunk in &idle {
            self.references.remove(chunk);
        }
        self.condemn(&idle)
    }

    /// Condemns those that have no row. How many.
    pub(super) fn condemn_unknown(&mut self, chunks: &[Chunk]) -> u64 {
        let unknown: Vec<Chunk> =
            chunks.iter().copied().filter(|chunk| !self.references.contains_key(chunk)).collect();
        self.condemn(&unknown)
    }

    fn condemn(&mut self, chunks: &[Chunk]) -> u64 {
        if !chunks.is_empty() {
            self.round += 1;
        }
        for chunk in chunks {
            self.condemned.insert(*chunk, self.round);
        }
        chunks.len() as u64
    }

    /// Whether the layout could be changed like this.
    pub(super) fn change(&mut self, change: Change) -> bool {
        let Ok(next) = self.history.current().change(&[change]) else { return false };
        self.history.advance(next).is_ok()
    }
}
