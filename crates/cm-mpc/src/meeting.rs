//! How the parties of a run find each other: one connection for each pair, found or made, and kept for the next run.
//!
//! Of two parties the one with the higher number calls. The first bytes say which run the connection is for, and bring the caller's
//! fresh key; the other end answers with its own, and has met the caller when that says that it heard the answer. So whoever has not
//! heard it may call again, with the same key, and whoever has been met does not. After a run that ended well the connection waits for the next.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cm_crypto::exchange::PublicExchangeKey;
use cm_net::{Direct, LinkError, Links};
use cm_runtime::Tasks;
use cm_types::PeerId;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::conversation::NOTE_LEN;

/// The third version: callers say that they heard the answer.
const MAGIC: [u8; 8] = *b"cmmpc/3\n";
/// What they say.
const HEARD: [u8; 8] = *b"heard/3\n";
const HELLO_LEN: usize = 8 + 16 + 32;
/// How a note begins that a party left behind which waited longer than this one was in the run before: see `conversation`. As long as
/// [`MAGIC`] with the step that follows.
const NOTE_HEAD: [u8; 4] = (NOTE_LEN as u32).to_le_bytes();
/// Most notes before a hello.
const NOTES_MAX: usize = 256;
/// How often a party that does not hear an answer calls once more.
const CALLS_MAX: usize = 3;
/// Connections of one peer that wait for a run.
const IDLE_PER_PEER_MAX: usize = 4;
/// For how long a connection whose run is not known here yet is kept.
const EARLY_FOR: Duration = Duration::from_secs(30);
/// For how long an accepted connection may say nothing.
const SILENT_FOR: Duration = Duration::from_secs(600);

/// Where connections and runs meet. Clones share it.
#[derive(Clone)]
pub(crate) struct Meeting(Arc<Parts>);

struct Parts {
    links: Links,
    tasks: Tasks,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Connections that this node made and that wait for a run.
    idle: BTreeMap<PeerId, VecDeque<Direct>>,
    /// Accepted connections that are being listened to, by peer.
    listened: BTreeMap<PeerId, usize>,
    /// Runs that wait for a caller.
    awaited: BTreeMap<(Uuid, PeerId), oneshot::Sender<(Direct, PublicExchangeKey)>>,
    /// Callers that came before their run was known.
    early: BTreeMap<(Uuid, PeerId), (Direct, PublicExchangeKey, Instant)>,
}

impl Meeting {
    /// Takes the connections of peers from now on.
    pub(crate) fn new(links: Links, tasks: &Tasks) -> Self {
        let meeting =
            Self(Arc::new(Parts { links: links.clone(), tasks: tasks.clone(), state: Mutex::default() }));
        let weak = Arc::downgrade(&meeting.0);
        links.on_direct(move |direct| {
            if let Some(parts) = weak.upgrade() {
                Meeting(parts).listen(direct);
            }
        });
        meeting
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the caller to say which run it is for.
    fn listen(&self, mut direct: Direct) {
        {
            let mut state = self.state();
            let listened = state.listened.entry(direct.peer().clone()).or_default();
            if *listened >= IDLE_PER_PEER_MAX * 4 {
                // Who has so many uses none of them.
                return;
            }
            *listened += 1;
        }
        let (meeting, token) = (self.clone(), self.0.tasks.token());
        self.0.tasks.spawn("mpc-listen", async move {
            let hello = tokio::select! {
                () = token.cancelled() => None,
                hello = read_hello(&mut direct, Instant::now() + SILENT_FOR) => hello.ok(),
            };
            let mut state = meeting.state();
            if let Some(listened) = state.listened.get_mut(direct.peer()) {
                *listened = listened.saturating_sub(1);
            }
            let Some((run, key)) = hello else { return };
            let place = (run, direct.peer().clone());
            let unclaimed = match state.awaited.remove(&place) {
                Some(waiting) => waiting.send((direct, key)).err(),
                None => Some((direct, key)),
            };
            let Some((direct, key)) = unclaimed else { return };
            let now = Instant::now();
            state.early.retain(|_, (_, _, since)| now - *since < EARLY_FOR);
            let of_peer = state.early.keys().filter(|(_, peer)| *peer == place.1).count();
            if of_peer < IDLE_PER_PEER_MAX * 4 {
                state.early.insert(place, (direct, key, now));
            }
        });
    }

    /// A connection to a peer for a run, with the peer's fresh key.
    ///
    /// # Errors
    /// [`LinkError`] when the peer does not come in time.
    pub(crate) async fn meet(
        &self,
        run: Uuid,
        peer: &PeerId,
        calls: bool,
        own: PublicExchangeKey,
        until: Instant,
    ) -> Result<(Direct, PublicExchangeKey), LinkError> {
        let lost = || LinkError::Unreachable(peer.clone());
        if calls {
            return self.call(run, peer, own, until).await;
        }
        let _forgets = Forgets { meeting: self, place: (run, peer.clone()) };
        let mut caller = timeout_at(until, self.caller(run, peer)).await.map_err(|_| lost())??;
        loop {
            let (mut direct, key) = caller;
            let again = self.caller(run, peer);
            // What cannot be said is not heard: then it calls again.
            let heard = match say_hello(&mut direct, run, own) {
                Ok(()) => tokio::select! {
                    heard = read_heard(&mut direct, until) => heard.is_ok(),
                    next = again => {
                        caller = next?;
                        continue;
                    }
                },
                Err(_) => false,
            };
            if heard {
                return Ok((direct, key));
            }
            drop(direct);
            caller = timeout_at(until, self.caller(run, peer)).await.map_err(|_| lost())??;
        }
    }

    /// The next call of a peer for a run, which may be there already.
    async fn caller(&self, run: Uuid, peer: &PeerId) -> Result<(Direct, PublicExchangeKey), LinkError> {
        let receiver = {
            let mut state = self.state();
            if let Some((direct, key, _)) = state.early.remove(&(run, peer.clone())) {
                return Ok((direct, key));
            }
            let (sender, receiver) = oneshot::channel();
            state.awaited.insert((run, peer.clone()), sender);
            receiver
        };
        receiver.await.map_err(|_| LinkError::Unreachable(peer.clone()))
    }

    async fn call(
        &self,
        run: Uuid,
        peer: &PeerId,
        own: PublicExchangeKey,
        until: Instant,
    ) -> Result<(Direct, PublicExchangeKey), LinkError> {
        let mut calls = 0;
        loop {
            let kept = self.state().idle.get_mut(peer).and_then(VecDeque::pop_back);
            let was_kept = kept.is_some();
            let mut direct = match kept {
                Some(direct) => direct,
                None => self.0.links.direct(peer, until.saturating_duration_since(Instant::now())).await?,
            };
            let said = say_hello(&mut direct, run, own);
            let answered = match said {
                Ok(()) => read_hello(&mut direct, until).await,
                Err(error) => Err(error),
            };
            match answered {
                Ok((answered, key)) if answered == run => {
                    say(&mut direct, &HEARD).map_err(|_| LinkError::Unreachable(peer.clone()))?;
                    return Ok((direct, key));
                }
                // One that was kept may have ended meanwhile; another call changes nothing at the other end.
                _ if (was_kept || calls < CALLS_MAX) && Instant::now() < until => {
                    calls += usize::from(!was_kept)
                }
                _ => return Err(LinkError::Unreachable(peer.clone())),
            }
        }
    }

    /// Keeps a connection for the next run.
    pub(crate) fn keep(&self, direct: Direct, called: bool) {
        if !called {
            self.listen(direct);
            return;
        }
        let mut state = self.state();
        let idle = state.idle.entry(direct.peer().clone()).or_default();
        if idle.len() < IDLE_PER_PEER_MAX {
            idle.push_back(direct);
        }
    }
}

fn say_hello(direct: &mut Direct, run: Uuid, own: PublicExchangeKey) -> io::Result<()> {
    let mut hello = Vec::with_capacity(HELLO_LEN);
    hello.extend_from_slice(&MAGIC);
    hello.extend_from_slice(run.as_bytes());
    hello.extend_from_slice(&own.0);
    say(direct, &hello)
}

fn say(direct: &mut Direct, bytes: &[u8]) -> io::Result<()> {
    // Nothing waits before it, so that it always fits.
    let said = direct.send_some(bytes)?;
    if said == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Waits until the caller says that it heard the answer.
async fn read_heard(direct: &mut Direct, until: Instant) -> io::Result<()> {
    let mut heard = [0; HEARD.len()];
    timeout_at(until, fill(direct, &mut heard)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    if heard == HEARD { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Waits for no more calls when a meeting is over.
struct Forgets<'a> {
    meeting: &'a Meeting,
    place: (Uuid, PeerId),
}

impl Drop for Forgets<'_> {
    fn drop(&mut self) {
        self.meeting.state().awaited.remove(&self.place);
    }
}

async fn read_hello(direct: &mut Direct, until: Instant) -> io::Result<(Uuid, PublicExchangeKey)> {
    let mut hello = [0; HELLO_LEN];
    let (magic, rest) = hello.split_at_mut(MAGIC.len());
    let reading = async {
        let mut notes = 0;
        loop {
            fill(direct, magic).await?;
            if *magic == MAGIC {
                return fill(direct, rest).await;
            }
            // Whoever had ended the run before could not hear who still waited in it.
            notes += 1;
            if !magic.starts_with(&NOTE_HEAD) || notes > NOTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    };
    timeout_at(until, reading).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let (run, key) = rest.split_at(16);
    let run = Uuid::from_slice(run).map_err(io::Error::other)?;
    let key = key.try_into().map_err(io::Error::other)?;
    Ok((run, PublicExchangeKey(key)))
}

/// Receives until the place is full.
async fn fill(direct: &mut Direct, place: &mut [u8]) -> io::Result<()> {
    let mut len = 0;
    while len < place.len() {
        match direct.receive_some(&mut place[len..])? {
            0 => direct.receivable().await?,
            got => len += got,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
