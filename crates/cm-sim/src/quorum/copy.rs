//! The data of a simulated node: numbers by key, and a chain over everything that was ever written.

use std::collections::BTreeMap;

use cm_quorum::{Applied, Entry, Members, Position, Verdict};

/// A copy of the data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) applied: Applied,
    pub(super) rows: BTreeMap<u64, u64>,
    /// Depends on all changes and their order.
    pub(super) chain: u64,
}

impl Copy {
    pub(super) fn founding(members: &Members, at: Position) -> Self {
        let applied = Applied { at, version: at.index, members: members.clone() };
        Self { applied, rows: BTreeMap::new(), chain: 0 }
    }

    pub(super) fn apply(&mut self, entry: &Entry) {
        if let Verdict::Change(changes) = self.applied.apply(entry) {
            for pair in changes.chunks_exact(16) {
                let (key, value) = (number(&pair[..8]), number(&pair[8..]));
                self.rows.insert(key, value);
                self.chain = mix(mix(self.chain, key), value);
            }
        }
    }

    pub(super) fn digest(&self) -> u64 {
        self.rows.iter().fold(mix(self.chain, self.applied.version), |digest, (key, value)| {
            mix(mix(digest, *key), *value)
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.chain.to_be_bytes().to_vec();
        bytes.extend(encode_changes(&self.rows));
        bytes
    }

    pub(super) fn decode(bytes: &[u8], applied: Applied) -> Self {
        let (chain, rows) = bytes.split_at(8);
        let pairs = rows.chunks_exact(16).map(|pair| (number(&pair[..8]), number(&pair[8..])));
        Self { applied, chain: number(chain), rows: pairs.collect() }
    }
}

pub(super) fn encode_changes(changes: &BTreeMap<u64, u64>) -> Vec<u8> {
    changes.iter().flat_map(|(key, value)| [key.to_be_bytes(), value.to_be_bytes()]).flatten().collect()
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

pub(super) fn mix(digest: u64, value: u64) -> u64 {
    (digest ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}
