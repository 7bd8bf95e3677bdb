//! Between a state machine and its links: frames that wait, frames that leave, and what is known of the other parties.
//!
//! A frame is `tag (8) | step (4) | chunk (4) | body`, numbers little-endian. The tag depends on the seed of the two parties, on the direction and on the job:
//! it recognises frames that strayed here from another run. Authenticity is the business of the link.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use crate::committee::{Party, Terms};
use crate::error::MpcError;
use crate::keys::Keys;

/// Frames that one step of products or of an opening sends to each party: 32 megabytes. Longer vectors take more steps.
pub(crate) const STEP_FRAMES_MAX: usize = if cfg!(test) { 1 << 4 } else { 1 << 10 };

/// Frames of one party that may wait for the protocol: sixteen of the longest steps, half a gigabyte. A party that waits for others in each step is ahead of
/// anybody by fewer steps than there are parties, and there are at most sixteen; only who deals one input after the other waits for nobody.
pub const FRAMES_AHEAD_MAX: usize = 16 * STEP_FRAMES_MAX;

/// Bytes in front of the body of a frame.
pub const FRAME_HEADER_BYTES: usize = 16;

/// What a machine sends: called while it computes, so that links carry the first chunk while the second is made. It must not block for long.
pub type Outbox = Box<dyn FnMut(Party, Vec<u8>) + Send>;

/// What a party has sent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How often it had to wait for others after sending something.
    pub rounds: u64,
    /// Frames sent.
    pub frames: u64,
    /// Bytes sent, with the headers of frames.
    pub bytes_sent: u64,
}

/// A frame whose header was right.
pub(crate) struct Body(Vec<u8>);

impl std::ops::Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0[FRAME_HEADER_BYTES..]
    }
}

/// What is known of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    Lost,
    Cheated,
}

struct State {
    inboxes: Vec<VecDeque<Vec<u8>>>,
    standings: Vec<Standing>,
    flooded: Option<Party>,
    waiting: Option<(Party, u32)>,
    outbox: Outbox,
    traffic: Traffic,
    sent_since_waiting: bool,
}

/// One end of the links of a party. Both the machine and the protocol inside of it hold it.
#[derive(Clone)]
pub(crate) struct Wire {
    me: Party,
    robust: bool,
    outgoing_tags: Arc<Vec<[u8; 8]>>,
    incoming_tags: Arc<Vec<[u8; 8]>>,
    state: Arc<Mutex<State>>,
}

impl Wire {
    pub(crate) fn new(terms: &Terms, keys: &Keys, outbox: Outbox) -> Self {
        let (me, parties) = (keys.party(), terms.committee().parties());
        let tag = |peer: usize, from: usize, to: usize| -> [u8; 8] {
            let key = keys.pair(peer, terms.job(), &format!("cryptomesh/mpc/frame/v1 {from} {to}"));
            key.expose()[..8].try_into().expect("a key has 32 bytes")
        };
        Self {
            me,
            robust: terms.tier() == crate::committee::Tier::Robust,
            outgoing_tags: Arc::new((0..parties).map(|peer| tag(peer, me.index(), peer)).collect()),
            incoming_tags: Arc::new((0..parties).map(|peer| tag(peer, peer, me.index())).collect()),
            state: Arc::new(Mutex::new(State {
                inboxes: vec![VecDeque::new(); parties],
                standings: vec![Standing::Good; parties],
                flooded: None,
                waiting: None,
                outbox,
                traffic: Traffic::default(),
                sent_since_waiting: false,
            })),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Room for a frame with its header.
    pub(crate) fn frame(&self, to: Party, step: u32, chunk: u32, body: usize) -> Vec<u8> {
        let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + body);
        frame.extend_from_slice(&self.outgoing_tags[to.index()]);
        frame.extend_from_slice(&step.to_le_bytes());
        frame.extend_from_slice(&chunk.to_le_bytes());
        frame
    }

    pub(crate) fn send(&self, to: Party, frame: Vec<u8>) {
        let mut state = self.state();
        state.traffic.frames += 1;
        state.traffic.bytes_sent += frame.len() as u64;
        state.sent_since_waiting = true;
        if state.standings[to.index()] != Standing::Lost {
            (state.outbox)(to, frame);
        }
    }

    /// The body of the next frame of a party. `None` if nothing more is to be expected of it, which only the tier `robust` survives.
    pub(crate) async fn receive(&self, from: Party, step: u32, chunk: u32) -> Result<Option<Body>, MpcError> {
        let frame = std::future::poll_fn(|_| self.poll(from, step)).await?;
        let Some(frame) = frame else { return Ok(None) };
        match self.check(from, step, chunk, &frame) {
            Ok(()) => Ok(Some(Body(frame))),
            Err(_) if self.robust => {
                self.condemn(from);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn poll(&self, from: Party, step: u32) -> Poll<Result<Option<Vec<u8>>, MpcError>> {
        let mut state = self.state();
        if let Some(party) = state.flooded.filter(|_| !self.robust) {
            return Poll::Ready(Err(MpcError::Flooded { party }));
        }
        if state.standings[from.index()] == Standing::Cheated {
            return Poll::Ready(Ok(None));
        }
        if let Some(frame) = state.inboxes[from.index()].pop_front() {
            return Poll::Ready(Ok(Some(frame)));
        }
        if !self.robust
            && let Some(lost) = state.standings.iter().position(|&standing| standing == Standing::Lost)
        {
            return Poll::Ready(Err(MpcError::Lost { party: Party::at(lost) }));
        }
        if state.standings[from.index()] == Standing::Lost {
            return Poll::Ready(Ok(None));
        }
        state.waiting = Some((from, step));
        if std::mem::take(&mut state.sent_since_waiting) {
            state.traffic.rounds += 1;
        }
        Poll::Pending
    }

    fn check(&self, from: Party, step: u32, chunk: u32, frame: &[u8]) -> Result<(), MpcError> {
        if frame.len() < FRAME_HEADER_BYTES {
            return Err(MpcError::Malformed { party: from });
        }
        let due = frame[..8] == self.incoming_tags[from.index()]
            && frame[8..12] == step.to_le_bytes()
            && frame[12..16] == chunk.to_le_bytes();
        if due { Ok(()) } else { Err(MpcError::Replayed { party: from }) }
    }

    /// A party is known to cheat: nothing it sends is looked at again.
    pub(crate) fn condemn(&self, party: Party) {
        let mut state = self.state();
        state.standings[party.index()] = Standing::Cheated;
        state.inboxes[party.index()].clear();
    }

    /// Whether anything may still be expected of the party.
    pub(crate) fn is_good(&self, party: Party) -> bool {
        let state = self.state();
        match state.standings[party.index()] {
            Standing::Good => true,
            Standing::Lost => !state.inboxes[party.index()].is_empty(),
            Standing::Cheated => false,
        }
    }

    pub(crate) fn deliver(&self, from: Party, frame: Vec<u8>) {
        let mut state = self.state();
        let index = from.index();
        if from == self.me || index >= state.inboxes.len() || state.standings[index] != Standing::Good {
            return;
        }
        if state.inboxes[index].len() >= FRAMES_AHEAD_MAX {
            state.inboxes[index].clear();
            state.standings[index] = Standing::Cheated;
            state.flooded = Some(from);
            return;
        }
        state.inboxes[index].push_back(frame);
    }

    pub(crate) fn lose(&self, party: Party) {
        let mut state = self.state();
        let index = party.index();
        if index < state.standings.len() && state.standings[index] == Standing::Good {
            state.standings[index] = Standing::Lost;
        }
    }

    /// Whose frame the protocol waits for, and of which step.
    pub(crate) fn waiting(&self) -> Option<(Party, u32)> {
        self.state().waiting
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.state().traffic
    }

    pub(crate) fn cheaters(&self) -> Vec<Party> {
        let state = self.state();
        let cheated = |&index: &usize| state.standings[index] == Standing::Cheated;
        (0..state.standings.len()).filter(cheated).map(Party::at).collect()
    }
}
