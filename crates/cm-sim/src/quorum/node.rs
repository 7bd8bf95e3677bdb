//! One simulated node.

use std::collections::VecDeque;
use std::time::Duration;

use cm_quorum::{
    Change, Effects, Entry, Frame, MemberId, Replica, Request, Rng, Setup, SnapshotMeta, Task, Timing,
    Version,
};

use super::client::{Client, Pending};
use super::copy::Copy;
use super::disk::Disk;

/// What a node is told.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Tick,
    Message(MemberId, Frame),
    Applied(u64, Version),
    Made(Option<SnapshotMeta>),
    Kept(u64, bool),
    Installed(Box<SnapshotMeta>),
    /// There may be something to write.
    Write,
    Read(Pending),
    Submit(Request),
    Change(Change),
    HandOver,
}

/// What a node works off in order.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Apply(Entry),
    Task(Task),
}

/// A node: its disk stays, everything else goes with a crash.
pub(super) struct Node {
    pub(super) id: MemberId,
    pub(super) disk: Disk,
    pub(super) copy: Copy,
    /// `None` while it is down.
    pub(super) replica: Option<Replica>,
    /// Counts its starts: what was under way for an earlier one is void.
    pub(super) life: u64,
    pub(super) paused_until: Duration,
    /// How much faster than others its clock runs, of a thousand; it began at another time, too.
    pub(super) drift: i64,
    pub(super) offset: Duration,
    pub(super) flush_max: Duration,
    /// What is on its way to the disk, and what follows.
    pub(super) flushing: Option<Effects>,
    pub(super) inbox: VecDeque<Input>,
    pub(super) work: VecDeque<Work>,
    pub(super) working: bool,
    pub(super) outgoing: Option<(SnapshotMeta, Vec<u8>)>,
    /// How long making a copy takes at most.
    pub(super) copy_max: Duration,
    pub(super) incoming: Vec<u8>,
    pub(super) client: Client,
}

pub(super) const FLUSH_MAX: Duration = Duration::from_millis(8);

impl Node {
    pub(super) fn new(id: MemberId, disk: Disk) -> Self {
        Self {
            id,
            copy: disk.flushed.clone(),
            disk,
            replica: None,
            life: 0,
            paused_until: Duration::ZERO,
            drift: 0,
            offset: Duration::ZERO,
            flush_max: FLUSH_MAX,
            flushing: None,
            inbox: VecDeque::new(),
            work: VecDeque::new(),
            working: false,
            outgoing: None,
            copy_max: Duration::from_millis(20),
            incoming: Vec::new(),
            client: Client::default(),
        }
    }

    pub(super) fn start(&mut self, timing: Timing, seed: u64) -> Result<(), cm_quorum::Inconsistent> {
        let setup = Setup { id: self.id, timing, seed };
        self.replica = Some(Replica::new(setup, self.disk.log.clone(), self.copy.applied.clone())?);
        self.life += 1;
        Ok(())
    }

    /// Everything that is not on the disk goes.
    pub(super) fn crash(&mut self, rng: &mut Rng, forgetful: bool) {
        self.replica = None;
        if let Some(effects) = self.flushing.take()
            && rng.per_mille(500)
        {
            self.disk.write(effects.writes);
        }
        self.copy = self.disk.crash(rng, std::mem::take(&mut self.copy), forgetful);
        self.life += 1;
        self.inbox.clear();
        self.work.clear();
        self.working = false;
        self.outgoing = None;
        self.incoming.clear();
    }

    /// What its clock shows.
    pub(super) fn clock(&self, now: Duration) -> Duration {
        let micros = i128::from(u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
        let own = micros * i128::from(1000 + self.drift) / 1000;
        self.offset + Duration::from_micros(u64::try_from(own).unwrap_or_default())
    }
}
