//! What the programs of the nodes do in a world.

use std::time::Duration;

use cm_quorum::Answer;

use super::{Event, KEYS, World};
use crate::linear::{Act, Operation};
use crate::quorum::Violation;
use crate::quorum::client::{Batch, Pending, Writer};
use crate::quorum::node::Input;

const BATCH_WAIT: Duration = Duration::from_secs(6);

impl World {
    pub(super) fn submit(&mut self, at: usize, request: u64) {
        let now = self.now;
        let node = &mut self.nodes[at];
        let (Writer::Computing(mut batch), Some(replica)) =
            (std::mem::take(&mut node.client.writer), &mut node.replica)
        else {
            return;
        };
        batch.join(&mut node.client.queue);
        if batch.changes.is_empty() {
            let request = replica.barrier();
            replica.forget(batch.request);
            node.client.writer = Writer::Confirming { batch, request, until: now + BATCH_WAIT };
        } else {
            let base = if self.options.unfenced { node.copy.applied.version } else { batch.base };
            replica.submit(request, base, batch.encoded());
            node.client.writer = Writer::Waiting { batch, until: now + BATCH_WAIT };
        }
    }

    pub(super) fn answered(&mut self, at: usize, answer: Answer) {
        let stamp = self.stamp();
        let node = &mut self.nodes[at];
        match answer {
            Answer::Turn { request } => {
                if !matches!(node.client.writer, Writer::Asking { request: asked, .. } if asked == request) {
                    return;
                }
                let batch = Batch::compute(request, &node.copy, &mut node.client.queue);
                node.client.writer = Writer::Computing(batch);
                let life = node.life;
                let long = self.rng.per_mille(15);
                let end = if long { Duration::from_secs(3) } else { Duration::from_millis(20) };
                self.after(Duration::from_micros(50), end, Event::Computed { node: at, life });
            }
            Answer::Done { request } => self.batch_ended(at, request, Some(true)),
            Answer::Stale { request } => self.batch_ended(at, request, Some(false)),
            Answer::Unknown { request } => self.batch_ended(at, request, None),
            Answer::Barrier { request } => {
                if matches!(node.client.writer, Writer::Confirming { request: asked, .. } if asked == request)
                {
                    let Writer::Confirming { batch, .. } = std::mem::take(&mut node.client.writer) else {
                        return;
                    };
                    let still = node.copy.applied.version == batch.base;
                    return self.answer_batch(at, &batch, Some(still));
                }
                let Some((pending, _)) = node.client.reads.remove(&request) else { return };
                let saw = node.copy.rows.get(&pending.key).copied();
                if let Some(value) = saw {
                    self.known.insert(pending.key, value);
                }
                let operation =
                    Operation { began: pending.began, ended: Some(stamp), act: Act::Read { saw } };
                self.note(pending.key, operation);
            }
        }
    }

    pub(super) fn batch_ended(&mut self, at: usize, request: u64, effect: Option<bool>) {
        match std::mem::take(&mut self.nodes[at].client.writer) {
            Writer::Waiting { batch, .. } if batch.request == request => {
                self.answer_batch(at, &batch, effect)
            }
            other => self.nodes[at].client.writer = other,
        }
    }

    pub(super) fn answer_batch(&mut self, at: usize, batch: &Batch, effect: Option<bool>) {
        let stamp = self.stamp();
        match effect {
            Some(true) => self.report.batches += 1,
            Some(false) => self.report.stale += 1,
            None => {}
        }
        for (key, operation) in batch.answers(effect, stamp) {
            self.note(key, operation);
        }
        self.nodes[at].inbox.push_back(Input::Write);
    }

    pub(super) fn note(&mut self, key: u64, operation: Operation) {
        match operation.ended {
            Some(_) => self.report.operations += 1,
            None => self.report.unknown += 1,
        }
        self.history.entry(key).or_default().push(operation);
    }

    /// Callers do not wait for ever.
    pub(super) fn give_up(&mut self, at: usize) {
        let now = self.now;
        let node = &mut self.nodes[at];
        let Some(replica) = &mut node.replica else { return };
        node.client.reads.retain(|request, (_, until)| {
            let waits = now < *until;
            if !waits {
                replica.forget_barrier(*request);
            }
            waits
        });
        match &node.client.writer {
            Writer::Asking { request, until } if now >= *until => {
                replica.forget(*request);
                node.client.queue.clear();
                node.client.writer = Writer::Idle;
            }
            Writer::Waiting { batch, until } if now >= *until => {
                replica.forget(batch.request);
                let batch = batch.clone();
                node.client.writer = Writer::Idle;
                self.answer_batch(at, &batch, None);
            }
            Writer::Confirming { batch, request, until } if now >= *until => {
                replica.forget_barrier(*request);
                let batch = batch.clone();
                node.client.writer = Writer::Idle;
                self.answer_batch(at, &batch, None);
            }
            _ => {}
        }
        self.nodes[at].inbox.push_back(Input::Write);
    }

    /// Some client does something.
    pub(super) fn operate(&mut self) -> Result<(), Violation> {
        if self.calm {
            return Ok(());
        }
        self.after(Duration::from_millis(2), Duration::from_millis(60), Event::Operation);
        let (node, key) = (self.rng.below(self.nodes.len() as u64) as usize, self.rng.below(KEYS));
        if self.nodes[node].replica.is_none() {
            return Ok(());
        }
        match self.rng.below(10) {
            0..4 => self.read(node, key),
            4..7 => self.write(node, key, None),
            _ => self.write(node, key, Some(self.known.get(&key).copied())),
        }
    }

    pub(super) fn read(&mut self, node: usize, key: u64) -> Result<(), Violation> {
        let pending = Pending { began: self.stamp(), key, act: Act::Read { saw: None } };
        self.tell(node, Input::Read(pending))
    }

    pub(super) fn write(
        &mut self,
        node: usize,
        key: u64,
        expected: Option<Option<u64>>,
    ) -> Result<(), Violation> {
        self.next_value += 1;
        let value = self.next_value;
        let act = match expected {
            Some(expected) => Act::Swap { expected, value },
            None => Act::Put { value },
        };
        let pending = Pending { began: self.stamp(), key, act };
        self.nodes[node].client.queue.push_back(pending);
        self.tell(node, Input::Write)
    }
}
