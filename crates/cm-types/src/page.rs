//! Paging through collections.

use serde::{Deserialize, Serialize};

/// How many entries a page may have: 1 to 1000, 100 unless told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageLimit(usize);

impl PageLimit {
    /// The most entries on one page.
    pub const MAX: PageLimit = PageLimit(1000);

    /// The limit nearest to what was asked for.
    pub fn clamped(entries: usize) -> Self {
        Self(entries.clamp(1, Self::MAX.0))
    }

    /// The number of entries.
    pub fn get(self) -> usize {
        self.0
    }
}

impl Default for PageLimit {
    fn default() -> Self {
        Self(100)
    }
}

/// Where the next page begins. Opaque to clients; meaningful only to the query that returned it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor(pub String);

/// One page of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries, in the order of the query.
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// The same page with every entry converted.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(convert).collect(), next: self.next }
    }
}
