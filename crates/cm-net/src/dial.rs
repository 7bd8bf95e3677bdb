//! The connection to one peer, made again whenever it is lost.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cm_runtime::{Backoff, CancellationToken};
use cm_types::PeerId;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::{TlsConnector, TlsStream};
use yamux::Mode;

use crate::connection::{Connection, Opener};
use crate::frame::{Form, Frame, Head};
use crate::links::{Inner, is_answer, is_judgement};
use crate::{Contact, Identity, Kind, LinkState, Notice, Status, socket, trust};

/// The name that is asked for; peers are known by their keys, so it says nothing.
const SERVER_NAME: &str = "peer.cryptomesh.invalid";

/// The link to one peer. Dropping it ends the connection.
#[derive(Debug)]
pub(crate) struct Line {
    contact: Contact,
    state: watch::Receiver<State>,
    round_trip: Arc<Mutex<Option<Duration>>>,
    slots: Arc<Semaphore>,
    slots_max: usize,
    cancel: CancellationToken,
}

#[derive(Clone, Debug)]
enum State {
    Connecting,
    Up(Opener),
    Down,
}

impl Line {
    pub(crate) fn spawn(links: &Arc<Inner>, peer: PeerId, contact: Contact) -> Arc<Self> {
        let (sender, state) = watch::channel(State::Connecting);
        let cancel = links.tasks.token().child_token();
        let round_trip = Arc::default();
        let dialler = Dialler {
            links: Arc::clone(links),
            peer,
            contact: contact.clone(),
            state: sender,
            round_trip: Arc::clone(&round_trip),
            cancel: cancel.clone(),
        };
        links.tasks.spawn("link-dial", dialler.run());
        let slots_max = links.config.exchanges_per_peer_max.clamp(1, 512);
        let slots = Arc::new(Semaphore::new(slots_max));
        Arc::new(Self { contact, state, round_trip, slots, slots_max, cancel })
    }

    pub(crate) fn contact(&self) -> &Contact {
        &self.contact
    }

    pub(crate) fn slots(&self) -> Arc<Semaphore> {
        self.slots.clone()
    }

    /// What opens exchanges, once the first attempt is over.
    pub(crate) async fn opener(&self, until: Instant) -> Option<Opener> {
        let mut state = self.state.clone();
        let decided = state.wait_for(|state| !matches!(state, State::Connecting));
        match timeout_at(until, decided).await {
            Ok(Ok(state)) => match &*state {
                State::Up(opener) => Some(opener.clone()),
                State::Connecting | State::Down => None,
            },
            Ok(Err(_)) | Err(_) => None,
        }
    }

    pub(crate) async fn wait_up(&self, until: Instant) -> bool {
        let mut state = self.state.clone();
        let up = state.wait_for(|state| matches!(state, State::Up(_)));
        matches!(timeout_at(until, up).await, Ok(Ok(_)))
    }

    pub(crate) fn status(&self) -> Status {
        let state = match &*self.state.borrow() {
            State::Connecting => LinkState::Connecting,
            State::Up(_) => LinkState::Up,
            State::Down => LinkState::Down,
        };
        let round_trip = *self.round_trip.lock().unwrap_or_else(PoisonError::into_inner);
        Status { state, round_trip, exchanges: self.slots_max - self.slots.available_permits() }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

struct Dialler {
    links: Arc<Inner>,
    peer: PeerId,
    contact: Contact,
    state: watch::Sender<State>,
    round_trip: Arc<Mutex<Option<Duration>>>,
    cancel: CancellationToken,
}

impl Dialler {
    async fn run(self) {
        let config = &self.links.config;
        let mut backoff = Backoff::new(config.backoff_first, config.backoff_max);
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => return,
                connected = self.connect() => match connected {
                    Ok(stream) => self.keep(stream, &mut backoff).await,
                    Err(error) => self.failed(&error),
                },
            }
            self.state.send_replace(State::Down);
            tokio::select! {
                () = self.cancel.cancelled() => return,
                () = tokio::time::sleep(backoff.next_delay()) => {}
            }
        }
    }

    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let links = &self.links;
        connect(&links.identity, links.config.connect_timeout, &self.contact, trust::PROTOCOL).await
    }

    fn failed(&self, error: &io::Error) {
        let links = &self.links;
        links.tally.connect_failed.one();
        let address = &self.contact.address;
        if is_judgement(error) {
            tracing::warn!(peer = %self.peer, address, "another key than the peer's answers at its address");
            links.notice(Notice::Impostor { peer: self.peer.clone(), address: address.clone() });
        } else {
            tracing::debug!(peer = %self.peer, address, %error, "peer cannot be reached");
        }
    }

    /// Runs the connection until it is lost.
    async fn keep(&self, stream: TlsStream<TcpStream>, backoff: &mut Backoff) {
        let links = &self.links;
        let (mut connection, opener) = Connection::new(stream, Mode::Client, &links.config);
        let mut is_up = false;
        // In TLS 1.3 a caller has finished before the other end has judged it: only an answer shows that it is welcome.
        let probing = async {
            loop {
                let begun = Instant::now();
                let answered = timeout(links.config.probe_timeout, probe(&opener)).await;
                if !matches!(answered, Ok(Some(()))) {
                    return;
                }
                *self.round_trip.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun.elapsed());
                if !is_up {
                    is_up = true;
                    backoff.reset();
                    links.tally.connected.one();
                    tracing::info!(peer = %self.peer, "link to peer is up");
                    self.state.send_replace(State::Up(opener.clone()));
                    links.notice(Notice::Up(self.peer.clone()));
                }
                tokio::time::sleep(links.config.probe_every).await;
            }
        };
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = probing => {}
            // The other end has nothing to ask on this connection: what it opens is reset.
            _ = connection.drive(drop) => {}
        }
        *self.round_trip.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if is_up {
            self.state.send_replace(State::Down);
            tracing::info!(peer = %self.peer, "link to peer is down");
            links.notice(Notice::Down(self.peer.clone()));
        } else {
            links.tally.connect_failed.one();
        }
        connection.close().await;
    }
}

/// A connection to whoever has the contact's key, for this protocol.
pub(crate) async fn connect(
    identity: &Identity,
    time: Duration,
    contact: &Contact,
    protocol: &[u8],
) -> io::Result<TlsStream<TcpStream>> {
    let connecting = async {
        let config = trust::caller(identity, contact.key, protocol).map_err(io::Error::other)?;
        let stream = TcpStream::connect(&contact.address).await?;
        socket::prepare(&stream)?;
        let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(protocol) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(TlsStream::from(stream))
    };
    let connected = timeout(time, connecting).await;
    connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Whether the other end answers.
async fn probe(opener: &Opener) -> Option<()> {
    let mut stream = opener.open().await?;
    let head = Head { form: Form::Request, kind: Kind::PROBE.to_string(), timeout_ms: 60_000, body_len: 0 };
    stream.write_all(&head.encode()).await.ok()?;
    stream.flush().await.ok()?;
    let frame = Frame::read(&mut stream, 0).await.ok()?;
    is_answer(&frame).then_some(())
}
