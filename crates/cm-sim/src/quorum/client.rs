//! The programs on a node: writes in batches, one at a time, and reads behind barriers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cm_quorum::{Request, Version};

use super::copy::{Copy, encode_changes};
use crate::linear::{Act, Operation};

/// Writes that run together at most.
const BATCH_LEN_MAX: usize = 8;

/// A write that somebody waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) began: u64,
    pub(super) key: u64,
    pub(super) act: Act,
}

impl Pending {
    fn answered(&self, act: Act, ended: Option<u64>) -> (u64, Operation) {
        (self.key, Operation { began: self.began, ended, act })
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    pub(super) queue: VecDeque<Pending>,
    pub(super) writer: Writer,
    pub(super) reads: BTreeMap<Request, (Pending, Duration)>,
}

#[derive(Clone, Debug, Default)]
pub(super) enum Writer {
    #[default]
    Idle,
    Asking {
        request: Request,
        until: Duration,
    },
    Computing(Batch),
    Waiting {
        batch: Batch,
        until: Duration,
    },
    /// It changes nothing, and asks whether what it read is still the newest state.
    Confirming {
        batch: Batch,
        request: Request,
        until: Duration,
    },
}

/// What was computed on a version.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) request: Request,
    pub(super) base: Version,
    pub(super) changes: BTreeMap<u64, u64>,
    /// The state that it is computed on.
    rows: BTreeMap<u64, u64>,
    len: usize,
    /// What had an effect.
    done: Vec<Pending>,
    /// What found another value than it expected, and which: as good as a read.
    refused: Vec<(Pending, Option<u64>)>,
}

impl Batch {
    pub(super) fn compute(request: Request, copy: &Copy, queue: &mut VecDeque<Pending>) -> Self {
        let mut batch = Batch {
            request,
            base: copy.applied.version,
            changes: BTreeMap::new(),
            rows: copy.rows.clone(),
            len: 0,
            done: Vec::new(),
            refused: Vec::new(),
        };
        batch.join(queue);
        batch
    }

    /// Takes in what waits, also what came after the turn was given.
    pub(super) fn join(&mut self, queue: &mut VecDeque<Pending>) {
        while self.len < BATCH_LEN_MAX {
            let Some(pending) = queue.pop_front() else { break };
            self.len += 1;
            let here = self.changes.get(&pending.key).or_else(|| self.rows.get(&pending.key)).copied();
            match pending.act {
                Act::Swap { expected, .. } if expected != here => self.refused.push((pending, here)),
                Act::Put { value } | Act::Swap { value, .. } => {
                    self.changes.insert(pending.key, value);
                    self.done.push(pending);
                }
                Act::Read { .. } => {}
            }
        }
    }

    pub(super) fn encoded(&self) -> Arc<[u8]> {
        encode_changes(&self.changes).into()
    }

    /// What its callers are told. `effect` is whether it had its effect, if anybody knows.
    pub(super) fn answers(&self, effect: Option<bool>, now: u64) -> Vec<(u64, Operation)> {
        // What they saw may have been written by the batch itself.
        let refused = self
            .refused
            .iter()
            .filter(|_| effect == Some(true))
            .map(|(pending, saw)| pending.answered(Act::Read { saw: *saw }, Some(now)));
        let done = self.done.iter().filter(|_| effect != Some(false));
        refused.chain(done.map(|pending| pending.answered(pending.act, effect.map(|_| now)))).collect()
    }
}
