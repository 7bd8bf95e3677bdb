//! A party's connections during one run, driven by the thread that computes.
//!
//! Frames leave while the next ones are computed, as far as the sockets take them; what they do not take waits here. When the
//! protocol cannot go on, the thread sleeps in `poll` until a frame has come. Nothing of this passes through the runtime, so that a
//! round costs two system calls and a wake-up.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cm_net::Direct;
use cm_shares::{CHUNK_BYTES, FRAME_HEADER_BYTES, Machine, MpcError, Party, Progress};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio_util::sync::CancellationToken;

use crate::Failure;
use crate::patience::{Next, Patience};

/// Length of what is no frame of the protocol: the step in which a party waits. Frames of the protocol are longer.
/// One may reach a party that has ended the run already: it is skipped before the next.
pub(crate) const NOTE_LEN: usize = 4;
/// Longest frame of a protocol: a chunk and its header, with room for those that round up.
const FRAME_LEN_MAX: usize = 2 * CHUNK_BYTES + FRAME_HEADER_BYTES + 64;
/// How often a waiting thread looks whether it is still wanted.
const LOOK_UP_EVERY: Duration = Duration::from_millis(50);
/// Bytes read at a time.
const PIECE_LEN: usize = 64 * 1024;
/// How long the last frames may take to leave after the protocol's end.
const FLUSH_WITHIN: Duration = Duration::from_secs(10);

/// What ends a run besides its result.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// When it must be over.
    pub(crate) deadline: Instant,
    /// How long it may take in all, to be told.
    pub(crate) within: Duration,
    /// For how long one party may say nothing while it is waited for.
    pub(crate) patience: Duration,
    /// Cancelled when nobody wants the result any more.
    pub(crate) cancel: CancellationToken,
}

/// The connections of one run, by party. Clones share them: the machine writes to them while the driver holds it.
#[derive(Clone)]
pub(crate) struct Conversation(Arc<Mutex<Vec<Option<Wire>>>>);

struct Wire {
    direct: Direct,
    /// Frames that wait for the socket, with their lengths in front.
    leaving: VecDeque<Vec<u8>>,
    /// Bytes of the first of them that have left.
    left: usize,
    /// Bytes that have come and are no whole frame yet.
    coming: Vec<u8>,
    /// The step in which the other end said that it waits, if that was the last thing it said.
    waits_in: Option<u32>,
    /// Why nothing more comes.
    ended: Option<io::ErrorKind>,
}

impl Conversation {
    /// Connections by party; `None` for oneself, and for those that did not come.
    pub(crate) fn new(directs: Vec<Option<Direct>>) -> Self {
        let wire = |direct| Wire {
            direct,
            leaving: VecDeque::new(),
            left: 0,
            coming: Vec::new(),
            waits_in: None,
            ended: None,
        };
        Self(Arc::new(Mutex::new(directs.into_iter().map(|direct| direct.map(wire)).collect())))
    }

    fn wires(&self) -> MutexGuard<'_, Vec<Option<Wire>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a machine sends by.
    pub(crate) fn outbox(&self) -> cm_shares::Outbox {
        let own = self.clone();
        Box::new(move |to, frame| {
            let mut wires = own.wires();
            if let Some(wire) = &mut wires[to.index()] {
                wire.send(&frame);
            }
        })
    }

    /// Runs a machine to its end.
    ///
    /// # Errors
    /// Why there is no result.
    pub(crate) fn drive<T: 'static>(
        &self,
        machine: &mut Machine<T>,
        limits: &Limits,
        parties: &[String],
    ) -> Result<T, Failure> {
        let mut lost = vec![None; parties.len()];
        let mut patience = Patience::new(limits.patience, parties.len(), Instant::now());
        loop {
            match machine.advance() {
                Progress::Done(Ok(result)) => {
                    self.flush(limits);
                    return Ok(result);
                }
                Progress::Done(Err(error)) => {
                    let failure = Failure::of(&error, parties);
                    // How a party was lost is known here, and not to the protocol.
                    return Err(match (&error, &failure) {
                        (MpcError::Lost { party }, Failure::Lost { party: name, .. }) => Failure::Lost {
                            party: name.clone(),
                            why: lost[party.index()].clone().unwrap_or_else(|| "it did not come".to_owned()),
                        },
                        _ => failure,
                    });
                }
                Progress::Waiting(party) => {
                    let step = machine.waiting().map_or(0, |(_, step)| step);
                    patience.await_frame(party, step, Instant::now());
                    self.wait(machine, party, limits, &mut patience, &mut lost)?;
                }
            }
        }
    }

    /// Waits until something has come of somebody, or the awaited party is given up.
    fn wait<T: 'static>(
        &self,
        machine: &mut Machine<T>,
        awaited: Party,
        limits: &Limits,
        patience: &mut Patience,
        lost: &mut [Option<String>],
    ) -> Result<(), Failure> {
        let mut wires = self.wires();
        loop {
            // Looked at before frames are: of a party that is never waited for long, something has always come.
            if limits.cancel.is_cancelled() {
                return Err(Failure::Cancelled);
            }
            if Instant::now() >= limits.deadline {
                return Err(Failure::deadline(limits.within));
            }
            let mut has_come = false;
            for (index, wire) in wires.iter_mut().enumerate() {
                let Some(wire) = wire else { continue };
                let party = party(index);
                wire.receive(|frame| {
                    has_come = true;
                    patience.heard(party, Instant::now());
                    machine.deliver(party, frame);
                });
                wire.flush();
            }
            if has_come {
                return Ok(());
            }
            let is_gone = match &wires[awaited.index()] {
                Some(wire) => wire.ended.map(|kind| match kind {
                    io::ErrorKind::InvalidData => "it sent what is no frame".to_owned(),
                    _ => "its connection ended".to_owned(),
                }),
                None => Some("it did not come".to_owned()),
            };
            let theirs = wires[awaited.index()].as_ref().and_then(|wire| wire.waits_in);
            let next = patience.next(theirs, Instant::now());
            if let Next::Tell(step) = next {
                for wire in wires.iter_mut().flatten() {
                    wire.send(&step.to_le_bytes());
                }
            }
            let silent = next == Next::GiveUp;
            let why = is_gone
                .or_else(|| silent.then(|| format!("it said nothing for {} s", limits.patience.as_secs())));
            if let Some(why) = why {
                lost[awaited.index()].get_or_insert(why);
                machine.lose(awaited);
                return Ok(());
            }
            watch(&wires, limits);
        }
    }

    /// Lets the last frames leave: the other parties still wait for them.
    fn flush(&self, limits: &Limits) {
        let until = (Instant::now() + FLUSH_WITHIN).min(limits.deadline);
        let mut wires = self.wires();
        loop {
            for wire in wires.iter_mut().flatten() {
                wire.flush();
            }
            let is_done = wires.iter().flatten().all(|wire| wire.leaving.is_empty() || wire.ended.is_some());
            if is_done || Instant::now() >= until || limits.cancel.is_cancelled() {
                return;
            }
            watch(&wires, limits);
        }
    }

    /// The connections on which nothing is left over, by party: they can serve another run.
    pub(crate) fn into_clean(self) -> Vec<(usize, Direct)> {
        let wires = std::mem::take(&mut *self.wires());
        let clean = |wire: &Wire| wire.ended.is_none() && wire.leaving.is_empty() && wire.coming.is_empty();
        let wires = wires.into_iter().enumerate().filter_map(|(index, wire)| Some((index, wire?)));
        wires.filter(|(_, wire)| clean(wire)).map(|(index, wire)| (index, wire.direct)).collect()
    }
}

fn party(index: usize) -> Party {
    Party(u8::try_from(index).expect("committees have at most sixteen parties"))
}

/// Sleeps until a socket has something to say, or it is time to look up.
fn watch(wires: &[Option<Wire>], limits: &Limits) {
    let mut watched: Vec<PollFd<'_>> = wires
        .iter()
        .flatten()
        .filter(|wire| wire.ended.is_none())
        .map(|wire| {
            let mut events = PollFlags::IN;
            if !wire.leaving.is_empty() {
                events |= PollFlags::OUT;
            }
            PollFd::from_borrowed_fd(wire.direct.as_fd(), events)
        })
        .collect();
    let left = limits.deadline.saturating_duration_since(Instant::now()).min(LOOK_UP_EVERY);
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
    // An interrupted or failed wait ends early, and the next look finds out why.
    let _ = poll(&mut watched, Some(&timeout));
}

impl Wire {
    fn send(&mut self, frame: &[u8]) {
        if self.ended.is_some() {
            return;
        }
        let len = u32::try_from(frame.len()).expect("frames are chunks");
        let mut framed = Vec::with_capacity(4 + frame.len());
        framed.extend_from_slice(&len.to_le_bytes());
        framed.extend_from_slice(frame);
        self.leaving.push_back(framed);
        self.flush();
    }

    fn flush(&mut self) {
        while self.ended.is_none() {
            let Some(first) = self.leaving.front() else {
                if let Err(error) = self.direct.flush_some() {
                    self.ended = Some(error.kind());
                }
                return;
            };
            match self.direct.send_some(&first[self.left..]) {
                Ok(0) => return,
                Ok(taken) => {
                    self.left += taken;
                    if self.left == first.len() {
                        self.leaving.pop_front();
                        self.left = 0;
                    }
                }
                Err(error) => self.ended = Some(error.kind()),
            }
        }
    }

    /// Takes in what has come, frame by frame.
    fn receive(&mut self, mut take: impl FnMut(Vec<u8>)) {
        while self.ended.is_none() {
            let had = self.coming.len();
            self.coming.resize(had + PIECE_LEN, 0);
            let got = self.direct.receive_some(&mut self.coming[had..]);
            self.coming.truncate(had + *got.as_ref().unwrap_or(&0));
            match got {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => self.ended = Some(error.kind()),
            }
            let mut at = 0;
            while let Some((head, rest)) = self.coming[at..].split_first_chunk::<4>() {
                let len = u32::from_le_bytes(*head) as usize;
                if len > FRAME_LEN_MAX {
                    self.ended = Some(io::ErrorKind::InvalidData);
                    break;
                }
                if rest.len() < len {
                    break;
                }
                if let Ok(note) = <[u8; NOTE_LEN]>::try_from(&rest[..len]) {
                    self.waits_in = Some(u32::from_le_bytes(note));
                } else {
                    self.waits_in = None;
                    take(rest[..len].to_vec());
                }
                at += 4 + len;
            }
            self.coming.drain(..at);
        }
    }
}
