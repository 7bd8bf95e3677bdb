//! All links: who is connected, what is held of whom, and sending to everybody.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use cm_runtime::{CancellationToken, Clock};
use cm_types::Timestamp;

use crate::Stored;
use crate::ledger::link::LinkLedger;
use crate::link::{Link, NewLink, Outgoing, Party, PeerStatus, SharedLedger, one};
use crate::wire::message;

/// Ledgers that are kept of those who are not connected; beyond, those who did nothing bad go first.
const LEDGERS_MAX: usize = 16_384;

/// All links. Shared.
pub(crate) struct Links {
    clock: Arc<dyn Clock>,
    next: AtomicU64,
    open: RwLock<BTreeMap<u64, Arc<Link>>>,
    ledgers: Mutex<HashMap<Party, SharedLedger>>,
}

impl Links {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, next: AtomicU64::new(1), open: RwLock::default(), ledgers: Mutex::default() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().into()
    }

    /// The ledger of somebody.
    fn ledger(&self, party: &Party) -> SharedLedger {
        let now = self.now();
        let mut ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        if ledgers.len() >= LEDGERS_MAX && !ledgers.contains_key(party) {
            let harmless = |ledger: &SharedLedger| {
                ledger.lock().unwrap_or_else(PoisonError::into_inner).score(now) >= 0.0
            };
            ledgers.retain(|_, ledger| Arc::strong_count(ledger) > 1 || !harmless(ledger));
            if ledgers.len() >= LEDGERS_MAX {
                ledgers.retain(|_, ledger| Arc::strong_count(ledger) > 1);
            }
        }
        ledgers.entry(party.clone()).or_default().clone()
    }

    /// Whether somebody is refused for what they did.
    pub(crate) fn is_refused(&self, party: &Party) -> bool {
        let ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        ledgers.get(party).is_some_and(|ledger| {
            let ledger: &Mutex<LinkLedger> = ledger;
            ledger.lock().unwrap_or_else(PoisonError::into_inner).cut(self.now())
        })
    }

    /// Enters a link. It leaves when the handle is dropped.
    pub(crate) fn enter(
        self: &Arc<Self>,
        name: String,
        address: String,
        outgoing: bool,
        version: u8,
        party: Party,
        cut: CancellationToken,
    ) -> (Entered, Outgoing) {
        let ledger = self.ledger(&party);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let since = self.now();
        let (link, messages) =
            Link::new(NewLink { number, name, address, outgoing, version, party, since, ledger, cut });
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(number, link.clone());
        metrics::gauge!("cryptomesh_intel_links").increment(1);
        (Entered { link, links: self.clone() }, messages)
    }

    /// Sends an event to every peer of version 1 but the one that brought it.
    pub(crate) fn forward(&self, stored: &Stored, from: Option<u64>) {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let may =
            |link: &&Arc<Link>| link.version == 1 && Some(link.number) != from && link.may_have(stored.tlp);
        let mut receivers = open.values().filter(may).peekable();
        if receivers.peek().is_none() {
            return;
        }
        let Some(frame) = message::event(&stored.event, self.now()).map(Bytes::from) else { return };
        for link in receivers {
            if link.send(frame.clone()) {
                one(&link.tally.sent);
            } else {
                one(&link.tally.dropped);
                metrics::counter!("cryptomesh_intel_forward_dropped_total").increment(1);
            }
        }
    }

    /// The open link to somebody.
    pub(crate) fn of_party(&self, party: &Party) -> Option<Arc<Link>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.values().find(|link| link.party == *party && !link.cut.is_cancelled()).cloned()
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.open.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn statuses(&self) -> Vec<PeerStatus> {
        let now = self.now();
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.values().map(|link| link.status(now)).collect()
    }
}

/// A link that is open for as long as this is there.
pub(crate) struct Entered {
    pub(crate) link: Arc<Link>,
    links: Arc<Links>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.links.open.write().unwrap_or_else(PoisonError::into_inner).remove(&self.link.number);
        metrics::gauge!("cryptomesh_intel_links").decrement(1);
    }
}
