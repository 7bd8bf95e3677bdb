//! Who is dialled: peers that the operator named, and those that discovery found.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cm_net::PeerKey;
use cm_runtime::{Backoff, CancellationToken, Tasks};
use cm_types::Timestamp;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::{encrypted, legacy};
use crate::link::{Link, Party, PeerState, PeerStatus};
use crate::node::Shared;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait before a peer is dialled again, at first and at last.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LAST: Duration = Duration::from_secs(60);
/// A link that lasted so long was one, even if nothing came on it.
const LASTED: Duration = Duration::from_secs(60);
/// How often is looked whether the link of a peer that dialled itself is still there.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Peers that discovery may add.
const FOUND_MAX: usize = 64;
/// After so many attempts in vain a peer that discovery found is forgotten.
const FOUND_ATTEMPTS: u32 = 5;

/// A peer to be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// What it is called.
    pub(crate) name: String,
    /// Host and port, resolved whenever it is dialled.
    pub(crate) address: String,
    /// The key that it must have; with one, version 2 is spoken.
    pub(crate) key: Option<PeerKey>,
}

/// All that are being dialled.
#[derive(Default)]
pub(crate) struct Dialling(Mutex<BTreeMap<String, Dialled>>);

struct Dialled {
    wanted: Wanted,
    named: bool,
    cancel: CancellationToken,
    state: Arc<Mutex<(PeerState, Timestamp, Option<String>)>>,
}

impl Dialling {
    /// Makes it so that exactly these peers, and those that were found, are dialled.
    pub(crate) fn want(&self, wanted: Vec<Wanted>, shared: &Shared, tasks: &Tasks) {
        let mut dialled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        dialled.retain(|_, peer| {
            let stays = !peer.named || wanted.contains(&peer.wanted);
            if !stays {
                peer.cancel.cancel();
            }
            stays
        });
        for peer in wanted {
            let there = dialled.get(&peer.address).is_some_and(|known| known.named);
            if !there {
                if let Some(found) = dialled.remove(&peer.address) {
                    found.cancel.cancel();
                }
                let address = peer.address.clone();
                dialled.insert(address, start(peer, true, shared, tasks));
            }
        }
    }

    /// Dials a peer that discovery found, if there is room for it.
    pub(crate) fn found(self: &Arc<Self>, address: String, shared: &Shared, tasks: &Tasks) {
        let mut dialled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        dialled.retain(|_, peer| !peer.cancel.is_cancelled());
        let found = dialled.values().filter(|peer| !peer.named).count();
        if found >= FOUND_MAX || dialled.contains_key(&address) {
            return;
        }
        let peer = Wanted { name: address.clone(), address: address.clone(), key: None };
        dialled.insert(address, start(peer, false, shared, tasks));
    }

    /// Those that are not connected at the moment.
    pub(crate) fn statuses(&self) -> Vec<PeerStatus> {
        let dialled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let live = dialled.values().filter(|peer| !peer.cancel.is_cancelled());
        let told = live.filter_map(|peer| {
            let (state, since, reason) = peer.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
            (state != PeerState::Up).then(|| PeerStatus {
                name: peer.wanted.name.clone(),
                address: peer.wanted.address.clone(),
                outgoing: true,
                version: if peer.wanted.key.is_some() { 2 } else { 1 },
                key: peer.wanted.key.map(|key| key.to_string()),
                state,
                since,
                received: 0,
                accepted: 0,
                duplicates: 0,
                invalid: 0,
                refused: 0,
                sent: 0,
                dropped: 0,
                score: 0.0,
                ignored: reason,
            })
        });
        told.collect()
    }
}

fn start(wanted: Wanted, named: bool, shared: &Shared, tasks: &Tasks) -> Dialled {
    let cancel = tasks.token().child_token();
    let now = shared.pipeline.links().now();
    let state = Arc::new(Mutex::new((PeerState::Connecting, now, None)));
    let dialler = Dialler {
        wanted: wanted.clone(),
        named,
        cancel: cancel.clone(),
        state: state.clone(),
        shared: shared.clone(),
    };
    tasks.spawn("intel-dial", dialler.run());
    Dialled { wanted, named, cancel, state }
}

struct Dialler {
    wanted: Wanted,
    named: bool,
    cancel: CancellationToken,
    state: Arc<Mutex<(PeerState, Timestamp, Option<String>)>>,
    shared: Shared,
}

impl Dialler {
    async fn run(self) {
        let cancel = self.cancel.clone();
        cancel.run_until_cancelled(self.dial()).await;
        // Who gave up by itself must be found again if discovery finds it.
        self.cancel.cancel();
    }

    async fn dial(&self) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LAST);
        loop {
            let begun = Instant::now();
            match self.connect().await {
                // Whoever takes connections and closes them is not dialled over and over.
                Ok(spoke) if spoke || begun.elapsed() >= LASTED => backoff.reset(),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(peer = %self.wanted.address, %error, "peer cannot be reached");
                    self.set(PeerState::Down, Some(error.to_string()));
                }
            }
            if !self.named && backoff.attempts() >= FOUND_ATTEMPTS {
                return;
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    fn set(&self, state: PeerState, reason: Option<String>) {
        let now = self.shared.pipeline.links().now();
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (state, now, reason);
    }

    /// Connects, and runs the link until it ends. Whether the peer said anything.
    async fn connect(&self) -> std::io::Result<bool> {
        let address = &self.wanted.address;
        let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        let stream = connecting.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
        stream.set_nodelay(true)?;
        if let Some(key) = self.wanted.key {
            return self.encrypted(stream, key).await;
        }
        let at = stream.peer_addr()?.ip();
        if !self.shared.config.legacy {
            return Err(std::io::Error::other(
                "version 1 is switched off, and no key is known for version 2",
            ));
        }
        let links = self.shared.pipeline.links();
        let party = Party::at(at);
        if links.is_refused(&party) {
            self.set(PeerState::Refused, Some("refused for what it did; tried again later".to_owned()));
            return Ok(false);
        }
        let name = self.wanted.name.clone();
        let cut = self.cancel.child_token();
        let (entered, outgoing) = links.enter(name, address.clone(), true, 1, party, cut);
        let link = entered.link.clone();
        if self.named {
            link.set_named();
        }
        self.set(PeerState::Up, None);
        tracing::info!(peer = %address, "connected to peer of version 1");
        let pipeline = self.shared.pipeline.clone();
        let ended = legacy::run(stream, entered, outgoing, pipeline, self.shared.hello()).await;
        tracing::info!(peer = %address, reason = %ended, "peer of version 1 gone");
        self.set(PeerState::Down, Some(ended.to_string()));
        Ok(spoke(&link))
    }

    /// Runs a link of version 2 until it ends.
    async fn encrypted(&self, stream: TcpStream, key: PeerKey) -> std::io::Result<bool> {
        let links = self.shared.pipeline.links();
        let party = Party::Key(key.to_string());
        if links.is_refused(&party) {
            self.set(PeerState::Refused, Some("refused for what it did; tried again later".to_owned()));
            return Ok(false);
        }
        let stream = encrypted::connect(stream, key, &self.shared.identity).await?;
        let address = &self.wanted.address;
        if !encrypted::prevails(&self.shared, key, true) {
            // It is connected, by the link that it dialled itself.
            self.set(PeerState::Up, None);
            while links.of_party(&party).is_some() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            return Ok(true);
        }
        let cut = self.cancel.child_token();
        let name = self.wanted.name.clone();
        let (entered, outgoing) = links.enter(name, address.clone(), true, 2, party, cut);
        let link = entered.link.clone();
        self.set(PeerState::Up, None);
        tracing::info!(peer = %self.wanted.name, "connected to peer");
        let ended = encrypted::run(stream, entered, outgoing, &self.shared).await;
        tracing::info!(peer = %self.wanted.name, reason = %ended, "peer gone");
        self.set(PeerState::Down, Some(ended.to_string()));
        Ok(spoke(&link))
    }
}

/// Whether a frame came on a link.
fn spoke(link: &Link) -> bool {
    link.tally.frames.load(Ordering::Relaxed) > 0
}
