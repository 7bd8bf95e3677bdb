//! How the parties of a run find each other: one connection for each pair, found or made, and kept for the next run.
//!
//! Of two parties the one with the higher number calls. The first bytes say which run the connection is for, and bring the caller's
//! fresh key; the other end answers with its own. After a run that ended well the connection waits for the next.

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

/// The second version: parties tell each other in which step they wait.
const MAGIC: [u8; 8] = *b"cmmpc/2\n";
const HELLO_LEN: usize = 8 + 16 + 32;
/// How a note begins that a party left behind which waited longer than this one was in the run before: see `conversation`. As long as
/// [`MAGIC`] with the step that follows.
const NOTE_HEAD: [u8; 4] = (NOTE_LEN as u32).to_le_bytes();
/// Most notes before a hello.
const NOTES_MAX: usize = 256;
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
            match state.awaited.remove(&place) {
                Some(waiting) => drop(waiting.send((direct, key))),
                None => {
                    let now = Instant::now();
                    state.early.retain(|_, (_, _, since)| now - *since < EARLY_FOR);
                    let of_peer = state.early.keys().filter(|(_, peer)| *peer == place.1).count();
                    if of_peer < IDLE_PER_PEER_MAX * 4 {
                        state.early.insert(place, (direct, key, now));
                    }
                }
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
        let waiting = {
            let mut state = self.state();
            match state.early.remove(&(run, peer.clone())) {
                Some((direct, key, _)) => Ok((direct, key)),
                None => {
                    let (sender, receiver) = oneshot::channel();
                    state.awaited.insert((run, peer.clone()), sender);
                    Err(receiver)
                }
            }
        };
        let (mut direct, key) = match waiting {
            Ok(found) => found,
            Err(receiver) => {
                let came = timeout_at(until, receiver).await;
                self.state().awaited.remove(&(run, peer.clone()));
                came.map_err(|_| lost())?.map_err(|_| lost())?
            }
        };
        say_hello(&mut direct, run, own).map_err(|_| lost())?;
        Ok((direct, key))
    }

    /// What a caller that has already been met came with once more, because its first connection ended before it heard the answer.
    pub(crate) fn met_again(
        &self,
        run: Uuid,
        peer: &PeerId,
        own: PublicExchangeKey,
    ) -> Option<(Direct, PublicExchangeKey)> {
        let (mut direct, key, _) = self.state().early.remove(&(run, peer.clone()))?;
        say_hello(&mut direct, run, own).ok()?;
        Some((direct, key))
    }

    async fn call(
        &self,
        run: Uuid,
        peer: &PeerId,
        own: PublicExchangeKey,
        until: Instant,
    ) -> Result<(Direct, PublicExchangeKey), LinkError> {
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
                Ok((answered, key)) if answered == run => return Ok((direct, key)),
                // One that was kept may have ended meanwhile.
                _ if was_kept && Instant::now() < until => {}
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
    // Nothing waits before it, so that it always fits.
    match direct.send_some(&hello)? {
        HELLO_LEN => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
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
