//! One link to a peer, as everything else sees it: what it did, what waits for it, and how it stands.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cm_runtime::CancellationToken;
use cm_types::Timestamp;
use tokio::sync::{Semaphore, mpsc};

use crate::Tlp;
use crate::ledger::link::{Deed, LinkLedger};

/// Messages that wait for a peer at most, and their bytes. A peer that reads slower than events come misses some of them.
const OUTGOING_MAX: usize = 4096;
const OUTGOING_BYTES_MAX: usize = 4 << 20;
/// Events of one link that are looked at at a time; beyond that it is not read from.
pub(crate) const CREDIT: usize = 256;

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PeerState {
    /// It is being dialled.
    Connecting = 0,
    /// It is there.
    Up = 1,
    /// It is gone, or cannot be reached.
    Down = 2,
    /// It was cut for what it did, and is not let in for a while.
    Refused = 3,
}

impl PeerState {
    /// The name, as in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            PeerState::Connecting => "connecting",
            PeerState::Up => "up",
            PeerState::Down => "down",
            PeerState::Refused => "refused",
        }
    }
}

/// A link, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerStatus {
    /// What it is called: the id of its record, or its address.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// Whether this node dialled it.
    pub outgoing: bool,
    /// The version of the protocol.
    pub version: u8,
    /// Its key, on links of version 2.
    pub key: Option<String>,
    /// How it is.
    pub state: PeerState,
    /// Since when.
    pub since: Timestamp,
    /// Events that came.
    pub received: u64,
    /// Of those, new ones that were kept.
    pub accepted: u64,
    /// Of those, ones that were known.
    pub duplicates: u64,
    /// Of those, ones that were forged or no events.
    pub invalid: u64,
    /// Of those, ones that were not looked at or not kept: the peer or the reporter is not listened to, or says too much.
    pub refused: u64,
    /// Events that were sent.
    pub sent: u64,
    /// Events that were not sent, because the peer reads too slowly.
    pub dropped: u64,
    /// What is held of the link.
    pub score: f64,
    /// Why its events are not looked at, if so.
    pub ignored: Option<String>,
}

/// Who is at the other end, as far as ledgers are concerned.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Party {
    /// Somebody at this address: version 1 proves nothing more.
    Address(IpAddr),
    /// The holder of this key.
    Key(String),
}

/// As addresses are told apart: of IPv6 by their first 64 bits, since the others are whatever a host likes.
pub(crate) fn told_apart(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(network.into())
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Party {
    /// Somebody at an address.
    pub(crate) fn at(address: IpAddr) -> Self {
        Party::Address(told_apart(address))
    }

    /// As evidence names it.
    pub(crate) fn text(&self) -> String {
        match self {
            Party::Address(address @ IpAddr::V6(_)) => format!("{address}/64"),
            Party::Address(address) => address.to_string(),
            Party::Key(key) => format!("key {key}"),
        }
    }
}

/// Counters of a link.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) received: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) invalid: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) dropped: AtomicU64,
    /// Frames that came, of whatever kind.
    pub(crate) frames: AtomicU64,
}

pub(crate) fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Ledgers live longer than links: whoever comes back is known.
pub(crate) type SharedLedger = Arc<Mutex<LinkLedger>>;

/// One link.
#[derive(Debug)]
pub(crate) struct Link {
    /// Tells links apart.
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) outgoing: bool,
    pub(crate) version: u8,
    pub(crate) party: Party,
    pub(crate) since: Timestamp,
    pub(crate) tally: Arc<Tally>,
    pub(crate) ledger: SharedLedger,
    /// Events that may be looked at at a time.
    pub(crate) credit: Arc<Semaphore>,
    /// Whether the operator named this peer; on version 1 whoever connects is anybody.
    named: AtomicBool,
    state: AtomicU8,
    queue: mpsc::Sender<Bytes>,
    queued_bytes: Arc<AtomicUsize>,
    /// Ends the link.
    pub(crate) cut: CancellationToken,
}

/// What waits to be sent on a link.
#[derive(Debug)]
pub(crate) struct Outgoing {
    messages: mpsc::Receiver<Bytes>,
    queued_bytes: Arc<AtomicUsize>,
}

impl Outgoing {
    /// The next message; `None` when the link is gone. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        let message = self.messages.recv().await?;
        self.queued_bytes.fetch_sub(message.len(), Ordering::Relaxed);
        Some(message)
    }

    /// The next message, if one is there.
    pub(crate) fn ready(&mut self) -> Option<Bytes> {
        let message = self.messages.try_recv().ok()?;
        self.queued_bytes.fetch_sub(message.len(), Ordering::Relaxed);
        Some(message)
    }
}

/// What a new link is.
#[derive(Debug)]
pub(crate) struct NewLink {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) outgoing: bool,
    pub(crate) version: u8,
    pub(crate) party: Party,
    pub(crate) since: Timestamp,
    pub(crate) ledger: SharedLedger,
    pub(crate) cut: CancellationToken,
}

impl Link {
    pub(crate) fn new(new: NewLink) -> (Arc<Self>, Outgoing) {
        let NewLink { number, name, address, outgoing, version, party, since, ledger, cut } = new;
        let (queue, messages) = mpsc::channel(OUTGOING_MAX);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let link = Self {
            number,
            name,
            address,
            outgoing,
            version,
            party,
            since,
            tally: Arc::default(),
            ledger,
            credit: Arc::new(Semaphore::new(CREDIT)),
            named: AtomicBool::new(false),
            state: AtomicU8::new(PeerState::Up as u8),
            queue,
            queued_bytes: queued_bytes.clone(),
            cut,
        };
        (Arc::new(link), Outgoing { messages, queued_bytes })
    }

    /// Queues a message if there is room; what is beyond is lost. Whether there was.
    pub(crate) fn send(&self, message: Bytes) -> bool {
        let len = message.len();
        let before = self.queued_bytes.fetch_add(len, Ordering::Relaxed);
        let room = before + len <= OUTGOING_BYTES_MAX && self.queue.try_send(message).is_ok();
        if !room {
            self.queued_bytes.fetch_sub(len, Ordering::Relaxed);
        }
        room
    }

    /// Says that the operator named this peer.
    pub(crate) fn set_named(&self) {
        self.named.store(true, Ordering::Relaxed);
    }

    /// Whether an event with this marking may be sent on a link of version 1: to a community only if the operator said who that is.
    pub(crate) fn may_have(&self, tlp: Tlp) -> bool {
        tlp == Tlp::Clear || (tlp.for_peers() && self.named.load(Ordering::Relaxed))
    }

    /// Writes a deed into the ledger, and cuts the link if that was one too many. Whether it was.
    pub(crate) fn record(&self, deed: Deed, now: Timestamp) -> bool {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.record(deed, now);
        let cut = ledger.cut(now);
        if cut {
            self.state.store(PeerState::Refused as u8, Ordering::Relaxed);
            self.cut.cancel();
        }
        cut
    }

    /// Charges it for an event whose reporter says more than it may.
    pub(crate) fn flood(&self, now: Timestamp) {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).take(now);
    }

    /// What is held of it.
    pub(crate) fn score(&self, now: Timestamp) -> f64 {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).score(now)
    }

    /// Whether what it brings is looked at.
    pub(crate) fn is_ignored(&self, now: Timestamp) -> bool {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.ignored(now).is_some() || ledger.is_flooding(now)
    }

    pub(crate) fn status(&self, now: Timestamp) -> PeerStatus {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tally = &self.tally;
        PeerStatus {
            name: self.name.clone(),
            address: self.address.clone(),
            outgoing: self.outgoing,
            version: self.version,
            key: match &self.party {
                Party::Key(key) => Some(key.clone()),
                Party::Address(_) => None,
            },
            state: if self.state.load(Ordering::Relaxed) == PeerState::Refused as u8 {
                PeerState::Refused
            } else {
                PeerState::Up
            },
            since: self.since,
            received: count(&tally.received),
            accepted: count(&tally.accepted),
            duplicates: count(&tally.duplicates),
            invalid: count(&tally.invalid),
            refused: count(&tally.refused),
            sent: count(&tally.sent),
            dropped: count(&tally.dropped),
            score: ledger.score(now),
            ignored: ledger.ignored(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_ledger_whichever_of_its_addresses_it_uses() {
        let party = |text: &str| Party::at(text.parse().unwrap());
        assert_eq!(party("2001:db8:1:2::3"), party("2001:db8:1:2:ffff::4"));
        assert_ne!(party("2001:db8:1:2::3"), party("2001:db8:1:3::3"));
        assert_eq!(party("::ffff:192.0.2.1"), party("192.0.2.1"));
        assert_ne!(party("192.0.2.2"), party("192.0.2.1"));
        assert_eq!(party("2001:db8:1:2::3").text(), "2001:db8:1:2::/64");
    }

    #[tokio::test]
    async fn a_slow_reader_misses_events_and_costs_no_more_than_its_queue() {
        let (link, mut outgoing) = Link::new(NewLink {
            number: 1,
            name: "a".into(),
            address: "a".into(),
            outgoing: false,
            version: 1,
            party: Party::Key("k".into()),
            since: Timestamp::from_micros(0),
            ledger: SharedLedger::default(),
            cut: CancellationToken::new(),
        });
        let message = Bytes::from(vec![0; 64 * 1024]);
        let sent = (0..10_000).filter(|_| link.send(message.clone())).count();
        assert_eq!(sent, OUTGOING_BYTES_MAX / message.len());
        assert_eq!(outgoing.next().await.unwrap().len(), message.len());
        assert!(link.send(message.clone()), "there is room again");
        while outgoing.ready().is_some() {}
        let small = (0..10_000).filter(|_| link.send(Bytes::from_static(b"x"))).count();
        assert_eq!(small, OUTGOING_MAX);
    }
}
