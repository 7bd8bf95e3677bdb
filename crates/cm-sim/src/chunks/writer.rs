//! A put, from its first chunk to the transaction that shows the object.

use cm_placement::{Held, Placing, Redundancy, Slot, is_promised};

use super::database::{Chunk, Promise};
use super::world::{Message, Op, World};

/// How often overtaken promises are renewed.
const RENEWALS_MAX: u32 = 3;

/// A put under way.
#[derive(Clone, Debug)]
pub(super) struct Put {
    name: u8,
    chunks: Vec<Chunk>,
    /// From before anything was stored, or the last renewal.
    round: u64,
    epoch: u64,
    promises: Vec<Promise>,
    stage: Stage,
    renewals: u32,
    reused: bool,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Peers are asked what they have of the next chunk.
    Asking { held: Held, unheard: usize },
    /// Its parts are on their way.
    Placing(Box<Placing>),
    /// Peers are asked to promise these anew.
    Renewing { late: Vec<Chunk>, held: Vec<Held>, unheard: usize },
}

impl World {
    /// Begins a put at a peer.
    pub(super) fn begin_put(&mut self, at: usize, name: u8, chunks: Vec<Chunk>) {
        let seen = self.seen(at);
        let (round, epoch) = (seen.round, seen.history.current().epoch().0);
        let stage = Stage::Asking { held: Held::new(), unheard: 0 };
        let put = Put { name, chunks, round, epoch, promises: Vec::new(), stage, renewals: 0, reused: false };
        let op = self.begin(at, Op::Put(put.clone()));
        self.next_chunk(op, at, put);
    }

    /// Goes on with the next chunk, or with the transaction.
    fn next_chunk(&mut self, op: u64, at: usize, mut put: Put) {
        let Some(chunk) = put.chunks.get(put.promises.len()).copied() else {
            return self.commit_put(op, at, put);
        };
        if self.seen(at).is_counted(chunk) {
            let order = self.order(at, chunk);
            let asked: Vec<usize> = order.into_iter().take(self.redundancy().width() + 2).collect();
            put.stage = Stage::Asking { held: Held::new(), unheard: asked.len() };
            for peer in asked {
                self.send(at, peer, Message::Hold { op, chunk, round: Some(put.round) });
            }
            return self.put_back(op, at, put);
        }
        self.place_chunk(op, at, put, chunk);
    }

    fn place_chunk(&mut self, op: u64, at: usize, mut put: Put, chunk: Chunk) {
        let order = self.order(at, chunk);
        let ids: Vec<_> = order.iter().map(|peer| self.id(*peer)).collect();
        let up: Vec<bool> = order.iter().map(|peer| self.seems_up(at, *peer)).collect();
        let is_up = |id: &cm_types::PeerId| ids.iter().position(|one| one == id).is_some_and(|n| up[n]);
        let (placing, slots) = Placing::begin(self.redundancy(), &ids, is_up);
        self.send_parts(op, at, chunk, put.round, slots);
        put.stage = Stage::Placing(Box::new(placing));
        self.put_back(op, at, put);
        self.look_at_placing(op);
    }

    fn send_parts(&mut self, op: u64, at: usize, chunk: Chunk, round: u64, slots: Vec<Slot>) {
        for slot in slots {
            let peer = self.number(&slot.peer);
            self.send(at, peer, Message::Put { op, chunk, part: slot.part, round });
        }
    }

    fn put_back(&mut self, op: u64, at: usize, put: Put) {
        self.resume(op, at, Op::Put(put));
    }

    /// A peer has stored a part.
    pub(super) fn put_stored(&mut self, op: u64, from: usize, chunk: Chunk, part: usize, round: u64) {
        let peer = self.id(from);
        let Some((_, Op::Put(put))) = self.op(op) else { return };
        if put.chunks.get(put.promises.len()) != Some(&chunk) || put.round != round {
            return;
        }
        if let Stage::Placing(placing) = &mut put.stage {
            placing.stored(&Slot { part, peer });
        }
        self.look_at_placing(op);
    }

    /// Goes on once enough is durable: at once, or when nothing is on its way any more.
    fn look_at_placing(&mut self, op: u64) {
        let waits = self.rng.per_mille(500);
        let Some((at, Op::Put(put))) = self.op(op) else { return };
        let (at, put) = (*at, put.clone());
        let Stage::Placing(placing) = &put.stage else { return };
        if placing.is_promised() && (placing.is_over() || !waits) {
            self.promised(op, at, put);
        } else if placing.is_over() {
            self.give_up(op, put);
        }
    }

    fn promised(&mut self, op: u64, at: usize, mut put: Put) {
        let chunk = put.chunks[put.promises.len()];
        put.promises.push(Promise { chunk, round: put.round, epoch: put.epoch });
        self.next_chunk(op, at, put);
    }

    /// A peer has said what it has.
    pub(super) fn put_heard(
        &mut self,
        op: u64,
        from: usize,
        chunk: Chunk,
        round: Option<u64>,
        parts: Vec<usize>,
    ) {
        let (peer, redundancy) = (self.id(from), self.redundancy());
        let Some((at, Op::Put(put))) = self.op(op) else { return };
        let (at, mut put) = (*at, put.clone());
        if round != Some(put.round) {
            return;
        }
        let next = put.chunks.get(put.promises.len()).copied();
        match &mut put.stage {
            Stage::Asking { held, unheard } if next == Some(chunk) => {
                *unheard = unheard.saturating_sub(1);
                held.insert(peer, parts.into_iter().collect());
                if is_promised(redundancy, held) {
                    put.reused = true;
                    return self.promised(op, at, put);
                }
                if *unheard == 0 {
                    return self.place_chunk(op, at, put, chunk);
                }
            }
            Stage::Renewing { late, held, unheard } => {
                let Some(n) = late.iter().position(|one| *one == chunk) else { return };
                *unheard = unheard.saturating_sub(1);
                held[n].insert(peer, parts.into_iter().collect());
                if held.iter().all(|held| is_promised(redundancy, held)) {
                    return self.renewed(op, at, put);
                }
                if *unheard == 0 {
                    return self.give_up(op, put);
                }
            }
            Stage::Asking { .. } | Stage::Placing(_) => return,
        }
        self.put_back(op, at, put);
    }

    /// Nothing was heard for long.
    pub(super) fn put_waited(&mut self, op: u64) {
        let Some((at, Op::Put(put))) = self.op(op) else { return };
        let (at, mut put) = (*at, put.clone());
        let chunk = put.chunks.get(put.promises.len()).copied();
        match (&mut put.stage, chunk) {
            (Stage::Asking { .. }, Some(chunk)) => self.place_chunk(op, at, put, chunk),
            (Stage::Placing(placing), Some(_)) if placing.is_promised() => self.promised(op, at, put),
            (Stage::Placing(placing), Some(chunk)) => {
                let mut instead = Vec::new();
                for slot in placing.under_way().to_vec() {
                    instead.extend(placing.failed(&slot));
                }
                let round = put.round;
                self.put_back(op, at, put);
                self.send_parts(op, at, chunk, round, instead);
                self.look_at_placing(op);
            }
            (Stage::Renewing { .. }, _) => self.give_up(op, put),
            (_, None) => self.give_up(op, put),
        }
    }

    fn commit_put(&mut self, op: u64, at: usize, mut put: Put) {
        let fenced = !self.options.unfenced;
        if self.transact(|db| db.commit(put.name, &put.promises, fenced)) {
            self.report.puts += 1;
            self.report.reused += u64::from(put.reused);
            return self.end(op);
        }
        put.renewals += 1;
        if put.renewals > RENEWALS_MAX {
            return self.give_up(op, put);
        }
        // Behind a barrier.
        self.catch_up(at);
        let late: Vec<Chunk> = self.database().overtaken(&put.promises).into_iter().collect();
        let (round, epoch) = (self.database().round, self.database().history.current().epoch().0);
        (put.round, put.epoch) = (round, epoch);
        let count = self.peers();
        put.stage = Stage::Renewing {
            held: vec![Held::new(); late.len()],
            unheard: late.len() * count,
            late: late.clone(),
        };
        for chunk in late {
            for peer in 0..count {
                self.send(at, peer, Message::Hold { op, chunk, round: Some(round) });
            }
        }
        self.put_back(op, at, put);
    }

    fn renewed(&mut self, op: u64, at: usize, mut put: Put) {
        let Stage::Renewing { late, .. } = &put.stage else { return };
        for promise in put.promises.iter_mut().filter(|promise| late.contains(&promise.chunk)) {
            (promise.round, promise.epoch) = (put.round, put.epoch);
        }
        self.report.renewed += 1;
        self.commit_put(op, at, put);
    }

    /// The put comes to nothing: what it stored is condemned unless somebody counts it.
    fn give_up(&mut self, op: u64, put: Put) {
        self.report.refused += 1;
        let condemned = self.transact(|db| db.condemn_unknown(&put.chunks));
        self.report.condemned += condemned;
        self.end(op);
    }
}

/// Copies are numbered on their way, and all the same where they are.
pub(super) fn stored_as(redundancy: Redundancy, part: usize) -> usize {
    if redundancy.shards().is_some() { part } else { 0 }
}
