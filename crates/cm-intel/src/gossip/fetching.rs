//! Events that were announced: what to ask whom for, and what others ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use super::peer::Peer;
use super::{Gossip, KEYS_MAX, MESH_MAX, Moment, Packet, Step};
use crate::EventKey;

/// How long is waited for an event that was announced, before it is fetched.
pub(super) const GRACE: Duration = Duration::from_millis(150);
/// How long a peer may take to send what it announced and was asked for.
const PROMISE: Duration = Duration::from_secs(5);
/// Keys that are being fetched at most.
pub(super) const WANTED_MAX: usize = 4096;
/// Events that one peer may ask for in a second, besides what the mesh sends.
const ASKED_PER_SECOND: u32 = 2048;
/// Events that this node asks one peer for in a second: the seconds of two nodes do not begin together.
const ASKING_PER_SECOND: usize = ASKED_PER_SECOND as usize / 2;

/// An event that was announced and has not come.
#[derive(Clone, Debug)]
pub(super) struct Wanted<P> {
    /// Who announced it, first come first.
    pub(super) sources: Vec<P>,
    /// When to fetch it, or to blame who was asked.
    pub(super) at: Moment,
    /// Who was asked.
    pub(super) asked: Option<P>,
}

impl<P: Copy + Ord + Debug, M: Clone> Gossip<P, M> {
    /// A peer says what it has.
    pub(super) fn announced(&mut self, from: P, keys: &[EventKey], now: Moment) {
        for key in keys.iter().take(KEYS_MAX) {
            if self.inventory.contains(key) || self.unkept.contains(key) {
                continue;
            }
            if let Some(wanted) = self.wanted.get_mut(key) {
                if wanted.sources.len() < MESH_MAX && !wanted.sources.contains(&from) {
                    wanted.sources.push(from);
                }
            } else if self.wanted.len() < WANTED_MAX {
                self.wanted.insert(*key, Wanted { sources: vec![from], at: now + GRACE, asked: None });
            }
        }
    }

    /// A peer asks for events.
    pub(super) fn asked(&mut self, from: P, keys: Vec<EventKey>) -> Vec<Step<P, M>> {
        let Some(peer) = self.peers.get_mut(&from) else { return Vec::new() };
        let count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        peer.asked = peer.asked.saturating_add(count);
        if peer.asked > ASKED_PER_SECOND {
            return vec![Step::Blame(from)];
        }
        let (mut steps, mut elsewhere) = (Vec::new(), Vec::new());
        for key in keys {
            match self.cache.get(&key) {
                Some(message) => steps.push(Step::Send(from, Packet::Event(message.clone()))),
                None if self.inventory.contains(&key) => elsewhere.push(key),
                None => {}
            }
        }
        if !elsewhere.is_empty() {
            steps.push(Step::Fetch(from, elsewhere));
        }
        steps
    }

    /// Asks for what was announced and did not come. Whoever was asked and sent nothing at all since is to blame, once for what it was
    /// asked at a time: single events may be gone since they were announced, or too many for its queue, or be dealt with slowly here.
    pub(super) fn fetch(&mut self, now: Moment, steps: &mut Vec<Step<P, M>>) {
        let mut asking: BTreeMap<P, Vec<EventKey>> = BTreeMap::new();
        let (mut given_up, mut broken) = (Vec::new(), BTreeSet::new());
        for (key, wanted) in self.wanted.iter_mut().filter(|(_, wanted)| wanted.at <= now) {
            if let Some(asked) = wanted.asked.take() {
                let since = wanted.at.saturating_sub(PROMISE);
                let silent = |peer: &Peer| peer.heard.is_none_or(|heard| heard < since);
                if self.peers.get(&asked).is_some_and(silent) && broken.insert((asked, since)) {
                    steps.push(Step::Blame(asked));
                }
            }
            if wanted.sources.is_empty() {
                given_up.push(*key);
                continue;
            }
            let source = wanted.sources.remove(0);
            let keys = asking.entry(source).or_default();
            let Some(peer) = self.peers.get_mut(&source) else { continue };
            if keys.len() < KEYS_MAX && peer.asking < ASKING_PER_SECOND {
                peer.asking += 1;
                keys.push(*key);
                wanted.asked = Some(source);
                wanted.at = now + PROMISE;
            } else {
                wanted.sources.push(source);
            }
        }
        for key in given_up {
            self.wanted.remove(&key);
        }
        asking.retain(|_, keys| !keys.is_empty());
        steps.extend(asking.into_iter().map(|(peer, mut keys)| {
            keys.sort_unstable();
            Step::Send(peer, Packet::IWant(keys))
        }));
    }
}
