//! The thread that takes part.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use cm_quorum::{
    Answer, Change, ChangeRefused, Effects, Envelope, Fate, Frame, Index, MemberId, Message, Position,
    Replica, Request, SnapshotMeta, Status, Version,
};
use tokio::sync::{oneshot, watch};

use super::applier::Work;
use super::changes;
use super::config::{Carrier, QuorumConfig, QuorumSender};
use super::handle::{Quorum, Shared};
use super::inconsistent;
use super::journal::Journal;
use crate::DbError;

/// Events looked at before what follows from them is done.
const EVENTS_MAX: usize = 64;
/// How often time is looked at, in parts of a heartbeat.
const TICKS_PER_HEARTBEAT: u32 = 3;
/// How long a leader that is told to stop tries to hand over.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);

/// What the driver is told.
#[derive(Debug)]
pub(super) enum Event {
    Message(MemberId, Vec<u8>),
    /// To be sent as soon as everything before is durable.
    Send(MemberId, Message),
    Applied(Index, Version),
    Made(Option<SnapshotMeta>),
    Installed(Box<SnapshotMeta>),
    NotInstalled,
    /// A piece of the copy of this id was kept, or not.
    Kept(u64, bool),
    Flushed(Index),
    Failed(DbError),
    /// The writer asks for its turn; what it is told later bears the number.
    Ask(u64),
    Submit(u64, Version, Arc<[u8]>),
    Forget(u64),
    /// The writer wants to know when its copy has all that was answered before.
    Confirm(u64),
    Barrier(oneshot::Sender<()>),
    Change(Change, Answered),
    Stop(mpsc::Sender<()>),
}

/// Who waits for a change of members: refused, or what became of it.
pub(super) type Answered = oneshot::Sender<Result<Fate, ChangeRefused>>;

pub(super) struct Driver {
    replica: Replica,
    journal: Journal,
    carrier: Arc<dyn Carrier>,
    work: mpsc::Sender<Work>,
    answers: mpsc::Sender<(u64, Answer)>,
    awaited: Arc<Mutex<Option<Request>>>,
    sender: QuorumSender,
    /// What the writer waits for, and its number.
    current: Option<(Request, u64)>,
    /// The barrier that the writer waits for, and the number of its batch.
    confirming: Option<(Request, u64)>,
    barriers: HashMap<Request, oneshot::Sender<()>>,
    changes: Vec<(Position, Answered)>,
    status: watch::Sender<Status>,
    shared: Arc<Shared>,
    flushing: bool,
    began: Instant,
    tick: Duration,
    /// Whom to tell of the end, and when it comes at the latest.
    stopping: Option<(mpsc::Sender<()>, Instant)>,
}

impl Driver {
    #[expect(clippy::too_many_arguments, reason = "everything that the thread owns, once")]
    pub(super) fn new(
        replica: Replica,
        journal: Journal,
        carrier: Arc<dyn Carrier>,
        work: mpsc::Sender<Work>,
        answers: mpsc::Sender<(u64, Answer)>,
        awaited: Arc<Mutex<Option<Request>>>,
        config: &QuorumConfig,
        sender: QuorumSender,
        shared: Arc<Shared>,
    ) -> (Self, Quorum) {
        let (status, statuses) = watch::channel(replica.status());
        let handle = Quorum::new(sender.clone(), statuses, shared.clone(), config);
        let driver = Self {
            replica,
            journal,
            carrier,
            work,
            answers,
            awaited,
            sender,
            current: None,
            confirming: None,
            barriers: HashMap::new(),
            changes: Vec::new(),
            status,
            shared,
            flushing: false,
            began: Instant::now(),
            tick: config.timing.heartbeat / TICKS_PER_HEARTBEAT,
            stopping: None,
        };
        (driver, handle)
    }

    pub(super) fn run(mut self, events: &mpsc::Receiver<Event>) {
        if let Err(error) = self.serve(events) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "this node takes no part in the database any more; it must be restarted"
            );
            self.shared.fail(error);
        }
        // Nobody is left waiting for what nobody will tell.
        self.barriers.clear();
        self.changes.clear();
        let (stopped, wait) = mpsc::channel();
        if self.work.send(Work::Stop(stopped)).is_ok() {
            let _ = wait.recv();
        }
        if let Some((told, _)) = self.stopping.take() {
            drop(self);
            let _ = told.send(());
        }
    }

    fn serve(&mut self, events: &mpsc::Receiver<Event>) -> Result<(), DbError> {
        let mut due = Instant::now();
        loop {
            let now = Instant::now();
            if now >= due {
                due = now + self.tick;
                self.beat()?;
            }
            let first = events.recv_timeout(due.saturating_duration_since(Instant::now())).ok();
            for event in first.into_iter().chain(events.try_iter()).take(EVENTS_MAX) {
                self.take_in(event)?;
            }
            self.pump()?;
            if let Some((_, until)) = &self.stopping
                && (!self.replica.is_leader() || Instant::now() >= *until)
            {
                return Ok(());
            }
        }
    }

    fn beat(&mut self) -> Result<(), DbError> {
        self.replica.tick(self.began.elapsed());
        let replica = &mut self.replica;
        self.barriers.retain(|request, waiting| {
            let gone = waiting.is_closed();
            if gone {
                replica.forget_barrier(*request);
            }
            !gone
        });
        if !self.flushing
            && let Some(index) = self.replica.compactable()
        {
            self.flushing = true;
            self.hand_on(Work::Flush(index))?;
        }
        self.pump()?;
        let status = self.replica.status();
        self.status.send_if_modified(|known| {
            let changed = *known != status;
            *known = status;
            changed
        });
        Ok(())
    }

    fn take_in(&mut self, event: Event) -> Result<(), DbError> {
        match event {
            Event::Message(from, bytes) => {
                self.sender.taken(bytes.len());
                match Frame::decode(&bytes) {
                    Ok(frame) => self.hear(from, frame),
                    Err(error) => tracing::warn!(%from, %error, "message of a node not understood"),
                }
            }
            Event::Send(to, message) => self.post(vec![Envelope { to, message }]),
            Event::Applied(index, version) => self.replica.applied(index, version).map_err(inconsistent)?,
            Event::Made(meta) => self.replica.snapshot_made(meta),
            Event::Installed(meta) => self.replica.installed(&meta),
            Event::NotInstalled => self.replica.not_installed(),
            Event::Kept(id, done) => self.replica.kept(id, done),
            Event::Flushed(index) => {
                self.flushing = false;
                self.replica.compact(index);
            }
            Event::Failed(error) => return Err(error),
            Event::Ask(number) => self.current = Some((self.replica.ask(), number)),
            Event::Submit(number, base, changes) => {
                if let Some((request, _)) = self.current.filter(|(_, current)| *current == number) {
                    self.await_batch(Some(request));
                    self.replica.submit(request, base, changes);
                }
            }
            Event::Forget(number) => {
                if let Some((request, _)) = self.current.take_if(|(_, current)| *current == number) {
                    self.await_batch(None);
                    self.replica.forget(request);
                }
            }
            Event::Confirm(number) => {
                if let Some((earlier, _)) = self.confirming.take() {
                    self.replica.forget_barrier(earlier);
                }
                self.confirming = Some((self.replica.barrier(), number));
            }
            Event::Barrier(waiting) => {
                let request = self.replica.barrier();
                self.barriers.insert(request, waiting);
            }
            Event::Change(change, answer) => match self.replica.change(&change) {
                Ok(begun) => self.changes.push((begun, answer)),
                Err(refused) => {
                    let _ = answer.send(Err(refused));
                }
            },
            Event::Stop(told) => {
                self.replica.hand_over();
                self.stopping = Some((told, Instant::now() + HAND_OVER_MAX));
                // Alone, or without anybody who could: there is nothing to wait for.
                if self.replica.status().members.voters().count() < 2 {
                    self.stopping = self.stopping.take().map(|(told, _)| (told, Instant::now()));
                }
            }
        }
        // What this causes waits for what follows, so that one flush serves many events.
        Ok(())
    }

    fn hear(&mut self, from: MemberId, frame: Frame) {
        // What nobody can apply must not get into the log: it would stop every node.
        if let Message::Submit { batch } = &frame.message
            && let Err(error) = changes::check(&batch.changes)
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(%from, error, "changes of a node not understood");
            return;
        }
        self.replica.receive(from, frame);
    }

    /// Tells who waits for a change of members what became of it.
    fn tell_changes(&mut self) {
        let mut at = 0;
        while let Some((begun, answer)) = self.changes.get(at) {
            match self.replica.fate(*begun) {
                Fate::Open if !answer.is_closed() => at += 1,
                fate => drop(self.changes.swap_remove(at).1.send(Ok(fate))),
            }
        }
    }

    fn await_batch(&self, request: Option<Request>) {
        *self.awaited.lock().unwrap_or_else(PoisonError::into_inner) = request;
    }

    /// Does what the replica wants, until it wants nothing.
    fn pump(&mut self) -> Result<(), DbError> {
        loop {
            let effects = self.replica.take_effects().map_err(inconsistent)?;
            if effects.is_empty() {
                self.tell_changes();
                return Ok(());
            }
            let Effects { first, writes, after, apply, tasks, answers } = effects;
            self.post(first);
            if !writes.is_empty() {
                self.journal.write(&writes)?;
                self.replica.persisted();
            }
            self.post(after);
            if !apply.is_empty() {
                self.hand_on(Work::Apply(apply))?;
            }
            tasks.into_iter().try_for_each(|task| self.hand_on(Work::Task(task)))?;
            answers.into_iter().for_each(|answer| self.answer(answer));
        }
    }

    fn post(&self, envelopes: Vec<Envelope>) {
        let Some(cluster) = self.replica.cluster() else { return };
        for Envelope { to, message } in envelopes {
            self.carrier.send(to, Frame { cluster, message }.encode());
        }
    }

    /// A thread that has failed has left its reason; one that panicked has not.
    fn hand_on(&self, work: Work) -> Result<(), DbError> {
        let dead = || self.shared.reason().unwrap_or(DbError::Panicked);
        self.work.send(work).map_err(|_| dead())
    }

    fn answer(&mut self, answer: Answer) {
        let request = match answer {
            Answer::Barrier { request } => {
                if let Some((_, number)) = self.confirming.take_if(|(confirming, _)| *confirming == request) {
                    let _ = self.answers.send((number, answer));
                }
                if let Some(waiting) = self.barriers.remove(&request) {
                    let _ = waiting.send(());
                }
                return;
            }
            Answer::Turn { request }
            | Answer::Done { request }
            | Answer::Stale { request }
            | Answer::Unknown { request } => request,
        };
        if let Some((_, number)) = self.current.filter(|(current, _)| *current == request) {
            let _ = self.answers.send((number, answer));
        }
    }
}
