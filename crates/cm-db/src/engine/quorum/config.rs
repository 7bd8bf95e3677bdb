//! What a node is told about its part.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use cm_quorum::{ClusterId, MESSAGE_LEN_MAX, MemberId, Members, Timing};

use super::driver::Event;

/// Bytes of messages that wait to be looked at; more are dropped, and come again.
const WAITING_BYTES_MAX: usize = 2 * MESSAGE_LEN_MAX;
/// Messages that wait to be looked at.
const WAITING_MAX: usize = 4096;

/// A node's part in a replicated database.
#[derive(Clone, Debug)]
pub struct QuorumConfig {
    /// The file of the data.
    pub path: PathBuf,
    /// The file of the log; on the same disk or another one, and never without the other file.
    pub journal: PathBuf,
    /// Who this node is. A node that has lost its files comes back under another name.
    pub id: MemberId,
    /// How it begins if its files are new.
    pub start: Start,
    /// The delays of the protocol.
    pub timing: Timing,
    /// How long a writer waits for its turn, and a barrier for its answer.
    pub turn_wait: Duration,
    /// How long opening waits for a leader, and for a copy of the data; so does what concerns all of the data.
    pub open_wait: Duration,
    /// How long a writer waits for what became of its batch, before that is [`crate::Effect::Unknown`].
    pub commit_wait: Duration,
}

impl QuorumConfig {
    /// Files of usual names and usual delays.
    pub fn new(path: PathBuf, journal: PathBuf, id: MemberId, start: Start) -> Self {
        let (turn_wait, commit_wait) = (Duration::from_secs(10), Duration::from_secs(15));
        let open_wait = turn_wait * 6;
        Self { path, journal, id, start, timing: Timing::default(), turn_wait, open_wait, commit_wait }
    }
}

/// How a node with new files begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// It founds a database with these members, who are told the same and begin without data. A founder that is alone may have data
    /// already, which all who join are given.
    Found {
        /// What the log is called; by lot.
        cluster: ClusterId,
        /// Who the first members are.
        members: Members,
    },
    /// It has taken part before: without its files it is refused.
    Resume,
    /// It waits until a leader that was told of it ([`crate::Quorum::change`]) speaks to it.
    Join,
}

/// Carries messages to other members.
///
/// What came from them is handed to [`QuorumSender::deliver`], by somebody who knows for sure who sent it.
pub trait Carrier: Send + Sync + 'static {
    /// Sends a message of at most [`cm_quorum::MESSAGE_LEN_MAX`] bytes, soon or not at all. It must not wait: what cannot be sent now
    /// is dropped, and comes again.
    fn send(&self, to: MemberId, message: Vec<u8>);
}

/// Where a database hears of messages; made before it is opened, so that a carrier can be made, too.
#[derive(Debug)]
pub struct QuorumPort {
    sender: QuorumSender,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) seed: u64,
}

impl Default for QuorumPort {
    fn default() -> Self {
        Self::new()
    }
}

impl QuorumPort {
    /// A port that nobody listens at yet.
    pub fn new() -> Self {
        let (events, receiver) = mpsc::channel();
        let waiting = Arc::new(Waiting::default());
        // No secret: it spreads elections and names requests.
        let seed = RandomState::new().build_hasher().finish();
        Self { sender: QuorumSender { events, waiting }, events: receiver, seed }
    }

    /// Hands messages in.
    pub fn sender(&self) -> QuorumSender {
        self.sender.clone()
    }
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

/// Hands messages in. Clones go to the same database.
#[derive(Clone, Debug)]
pub struct QuorumSender {
    pub(super) events: mpsc::Sender<Event>,
    waiting: Arc<Waiting>,
}

impl QuorumSender {
    /// A message came. It is dropped if too many wait, or nobody listens any more.
    pub fn deliver(&self, from: MemberId, message: Vec<u8>) {
        let len = message.len();
        let messages = self.waiting.messages.fetch_add(1, Ordering::Relaxed);
        let bytes = self.waiting.bytes.fetch_add(len, Ordering::Relaxed);
        let fits = len <= MESSAGE_LEN_MAX && messages < WAITING_MAX && bytes + len <= WAITING_BYTES_MAX;
        if !fits || self.events.send(Event::Message(from, message)).is_err() {
            self.taken(len);
        }
    }

    /// A message was looked at.
    pub(super) fn taken(&self, len: usize) {
        self.waiting.messages.fetch_sub(1, Ordering::Relaxed);
        self.waiting.bytes.fetch_sub(len, Ordering::Relaxed);
    }

    pub(super) fn tell(&self, event: Event) {
        // A driver that has ended wants to know nothing more.
        let _ = self.events.send(event);
    }
}
