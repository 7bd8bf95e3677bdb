//! Being called.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cm_runtime::{Backoff, CancellationToken};
use cm_types::PeerId;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_rustls::{LazyConfigAcceptor, TlsStream};
use yamux::Mode;

use crate::connection::{Connection, Substream};
use crate::exchange::Wire;
use crate::links::{Inner, is_judgement};
use crate::{Direct, Incoming, Notice, PeerKey, guest, socket, trust};

/// Connections of one peer: it has one, and those that it has lost without this end knowing.
const CONNECTIONS_PER_PEER_MAX: usize = 4;

/// The connections that peers have made.
#[derive(Debug, Default)]
pub(crate) struct Callers(Mutex<BTreeMap<PeerId, VecDeque<CancellationToken>>>);

impl Callers {
    /// One more; the oldest of too many ends.
    fn enter(&self, peer: &PeerId, token: CancellationToken) {
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = callers.entry(peer.clone()).or_default();
        tokens.retain(|token| !token.is_cancelled());
        if tokens.len() >= CONNECTIONS_PER_PEER_MAX
            && let Some(oldest) = tokens.pop_front()
        {
            oldest.cancel();
        }
        tokens.push_back(token);
    }
}

/// Takes connections until the tasks end.
pub(crate) async fn listen(links: Arc<Inner>, doors: Doors, listener: TcpListener) {
    let token = links.tasks.token();
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
    loop {
        let accepted = tokio::select! {
            () = token.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                backoff.reset();
                let over = links.gate.enter(address.ip());
                let welcome = welcome(links.clone(), doors.clone(), stream, address, over);
                links.tasks.spawn("link-accept", welcome);
            }
            Err(error) => {
                tracing::warn!(%error, "connections of peers cannot be accepted");
                tokio::select! {
                    () = token.cancelled() => return,
                    () = tokio::time::sleep(backoff.next_delay()) => {}
                }
            }
        }
    }
}

/// How a caller is judged: by the directory, or not yet.
#[derive(Clone)]
pub(crate) struct Doors {
    pub(crate) peers: Arc<ServerConfig>,
    pub(crate) guests: Arc<ServerConfig>,
}

async fn welcome(
    links: Arc<Inner>,
    doors: Doors,
    stream: TcpStream,
    address: SocketAddr,
    over: CancellationToken,
) {
    let gives_way = over.clone();
    let over = over.drop_guard();
    let shaking_hands = async {
        socket::prepare(&stream)?;
        let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        // Strangers are let in by a door of their own, and only where somebody answers them.
        let is_guest = links.on_guest.get().is_some()
            && begun.client_hello().alpn().is_some_and(|mut names| names.any(|name| name == trust::GUEST));
        begun.into_stream(if is_guest { doors.guests } else { doors.peers }).await
    };
    let shaken = tokio::select! {
        () = links.tasks.token().cancelled_owned() => None,
        () = gives_way.cancelled() => None,
        shaken = timeout(links.config.connect_timeout, shaking_hands) => shaken.ok(),
    };
    drop(over);
    match shaken {
        Some(Ok(stream)) => {
            let stream = TlsStream::from(stream);
            let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            if protocol.as_deref() == Some(trust::GUEST) {
                return guest::receive(&links, stream).await;
            }
            match (caller(&links, &stream), protocol.as_deref()) {
                (Some((key, peer)), Some(trust::PROTOCOL)) => serve(links, stream, key, peer).await,
                (Some((_, peer)), Some(trust::DIRECT)) => direct(&links, stream, peer),
                _ => links.tally.turned_away.one(),
            }
        }
        Some(Err(error)) => {
            links.tally.turned_away.one();
            if is_judgement(&error) {
                tracing::warn!(%address, "caller without the key of a peer turned away");
                links.notice(Notice::Stranger { address });
            } else {
                tracing::debug!(%address, %error, "handshake with caller failed");
            }
        }
        None => links.tally.turned_away.one(),
    }
}

/// Whose key the handshake has proved. The directory may have changed meanwhile.
fn caller(links: &Inner, stream: &TlsStream<TcpStream>) -> Option<(PeerKey, PeerId)> {
    let (_, session) = stream.get_ref();
    let key = PeerKey::of_certificate(session.peer_certificates()?.first()?).ok()?;
    let peer = links.directory.borrow().peer_of(&key)?.clone();
    Some((key, peer))
}

/// Hands over a connection for one conversation.
fn direct(links: &Inner, stream: TlsStream<TcpStream>, peer: PeerId) {
    match (links.on_direct.get(), Direct::new(peer, stream)) {
        (Some(handle), Ok(direct)) => {
            links.tally.accepted.one();
            handle(direct);
        }
        _ => links.tally.turned_away.one(),
    }
}

/// Answers what the peer asks on its connection, until that ends.
async fn serve(links: Arc<Inner>, stream: TlsStream<TcpStream>, key: PeerKey, peer: PeerId) {
    let cancel = links.tasks.token().child_token();
    // What is still being answered ends with the connection.
    let _end = cancel.clone().drop_guard();
    links.callers.enter(&peer, cancel.clone());
    links.tally.accepted.one();
    let (mut connection, _) = Connection::new(stream, Mode::Server, &links.config);
    let slots = Arc::new(Semaphore::new(links.config.exchanges_per_peer_max.clamp(1, 512)));
    let heard = Mutex::new(Instant::now());
    let accept = |stream: Substream| {
        *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        answer(&links, &slots, &cancel, &peer, stream);
    };
    let silence = async {
        loop {
            let last = *heard.lock().unwrap_or_else(PoisonError::into_inner);
            let silent_at = last + links.config.silent_after();
            if Instant::now() >= silent_at {
                return;
            }
            tokio::time::sleep_until(silent_at).await;
        }
    };
    let mut directory = links.directory.clone();
    let unknown = async {
        // Without a sender the directory stays as it is.
        if directory.wait_for(|directory| directory.peer_of(&key) != Some(&peer)).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = silence => tracing::info!(%peer, "connection of a peer has fallen silent"),
        () = unknown => tracing::info!(%peer, "connection of a peer ends with its key"),
        _ = connection.drive(accept) => {}
    }
    connection.close().await;
}

fn answer(
    links: &Arc<Inner>,
    slots: &Arc<Semaphore>,
    cancel: &CancellationToken,
    peer: &PeerId,
    stream: Substream,
) {
    let incoming = Incoming::new(Wire {
        peer: peer.clone(),
        stream,
        tally: links.tally.clone(),
        stalled_after: links.config.stalled_after,
        end_len_max: 0,
    });
    let (slot, cancel, links_) = (slots.clone().try_acquire_owned(), cancel.clone(), links.clone());
    links.tasks.spawn("link-answer", async move {
        let serving = async {
            match slot {
                Ok(_slot) => links_.handlers.serve(incoming).await,
                // A peer that has much to ask is not down: probes are answered all the same.
                Err(_) => links_.handlers.serve_probe(incoming).await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = serving => {}
        }
    });
}
