//! What sources declare that were parsed a moment ago.
//!
//! A source is parsed when it is written, because the record has to say what its code declares, and the writer has no time
//! for that: some 25 milliseconds for a long one, in which nobody else writes. Whoever is about to write one has it parsed
//! beforehand, elsewhere; the transaction finds the outcome by the text itself, so that nothing is believed that was
//! found out about another text.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cm_axo::{Schema, SourceError};

/// Most bytes of sources that are remembered.
const BYTES_MAX: usize = 2 << 20;
/// Most sources that are remembered: whoever applies a file may bring many.
const SOURCES_MAX: usize = 256;

/// The sources parsed last. Clones share them.
#[derive(Clone, Default)]
pub struct Sources(Arc<Mutex<VecDeque<Parsed>>>);

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sources(..)")
    }
}

struct Parsed {
    code: String,
    outcome: Result<Schema, SourceError>,
}

impl Sources {
    /// Parses a source and remembers the outcome.
    pub(crate) fn prepare(&self, code: &str) {
        if self.find(code).is_some() {
            return;
        }
        let parsed = Parsed { code: code.to_owned(), outcome: cm_axo::parse(code) };
        let mut known = self.lock();
        known.push_back(parsed);
        let mut bytes: usize = known.iter().map(|parsed| parsed.code.len()).sum();
        while known.len() > SOURCES_MAX || bytes > BYTES_MAX {
            bytes -= known.pop_front().map_or(0, |parsed| parsed.code.len());
        }
    }

    /// What a source declares: remembered, or parsed here and now.
    pub(crate) fn schema(&self, code: &str) -> Result<Schema, SourceError> {
        self.find(code).unwrap_or_else(|| cm_axo::parse(code))
    }

    fn find(&self, code: &str) -> Option<Result<Schema, SourceError>> {
        self.lock().iter().find(|parsed| parsed.code == code).map(|parsed| parsed.outcome.clone())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Parsed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_source_is_known_and_others_are_parsed() {
        let sources = Sources::default();
        let code = "class A:\n    def f(self): pass\n";
        sources.prepare(code);
        assert_eq!(sources.find(code), Some(cm_axo::parse(code)));
        assert_eq!(sources.find("class B: pass\n"), None);
        assert_eq!(sources.schema("class B: pass\n"), cm_axo::parse("class B: pass\n"));
        sources.prepare("class");
        assert!(matches!(sources.find("class"), Some(Err(_))), "what is refused is known, too");
    }

    #[test]
    fn few_are_remembered() {
        let sources = Sources::default();
        let code = |n: usize| format!("# {}\nclass A: pass\n", "x".repeat(100 * 1024 + n));
        (0..30).for_each(|n| sources.prepare(&code(n)));
        assert_eq!(sources.find(&code(0)), None);
        assert!(sources.find(&code(29)).is_some());
        let bytes: usize = sources.lock().iter().map(|parsed| parsed.code.len()).sum();
        assert!(bytes <= BYTES_MAX);
    }
}
