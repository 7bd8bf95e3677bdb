//! Links of version 2: TLS 1.3 between known keys, frames of packets within.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cm_net::{Identity, PeerKey};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::framed::{Ended, read_frame, write};
use crate::gossip::Packet;
use crate::ledger::link::Deed;
use crate::link::{Outgoing, Party, one};
use crate::links::Entered;
use crate::node::Shared;
use crate::pipeline::Taken;
use crate::spread::framed;

/// What both ends must name in the handshake.
pub(crate) const PROTOCOL: &[u8] = b"cyphermesh/2";
/// Only there because the library wants one: names say nothing.
const SERVER_NAME: &str = "peer.cryptomesh.invalid";
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Shakes hands with whoever connected; the key that it showed, which is a known one.
pub(crate) async fn accept(
    stream: TcpStream,
    shared: &Shared,
) -> std::io::Result<(TlsStream<TcpStream>, PeerKey)> {
    let known = shared.known.clone();
    let is_known = Arc::new(move |key: &PeerKey| known.borrow().contains_key(key));
    let config = shared.identity.called_by(is_known, PROTOCOL).map_err(std::io::Error::other)?;
    let shaking = TlsAcceptor::from(Arc::new(config)).accept(stream);
    let stream = timeout(HANDSHAKE_TIMEOUT, shaking).await;
    let stream = stream.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let key = shown.and_then(|shown| PeerKey::of_certificate(shown).ok());
    let key = key.ok_or_else(|| std::io::Error::other("the peer showed no certificate"))?;
    if stream.get_ref().1.alpn_protocol() != Some(PROTOCOL) {
        return Err(std::io::Error::other("the peer speaks another protocol"));
    }
    Ok((stream.into(), key))
}

/// Shakes hands with whoever was dialled, which must hold this key.
pub(crate) async fn connect(
    stream: TcpStream,
    key: PeerKey,
    identity: &Identity,
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = identity.calling(key, PROTOCOL).map_err(std::io::Error::other)?;
    let name = ServerName::try_from(SERVER_NAME).map_err(std::io::Error::other)?;
    let shaking = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = timeout(HANDSHAKE_TIMEOUT, shaking).await;
    let stream = stream.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
    if stream.get_ref().1.alpn_protocol() != Some(PROTOCOL) {
        return Err(std::io::Error::other("the peer does not speak version 2"));
    }
    Ok(stream.into())
}

/// Whether a new link is the one to keep, of two between the same nodes: the one that the node with the smaller key dialled. If so,
/// the other one is cut.
pub(crate) fn prevails(shared: &Shared, key: PeerKey, outgoing: bool) -> bool {
    let links = shared.pipeline.links();
    let Some(other) = links.of_party(&Party::Key(key.to_string())) else { return true };
    let own_dials = shared.identity.key() < key;
    if outgoing == own_dials || other.outgoing == outgoing {
        other.cut.cancel();
        return true;
    }
    false
}

/// Runs a link until it ends.
pub(crate) async fn run<S>(stream: S, entered: Entered, outgoing: Outgoing, shared: &Shared) -> Ended
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (reader, writer) = tokio::io::split(stream);
    let cut = entered.link.cut.clone();
    let alive = framed(&Packet::Alive);
    let greeting = || -> Bytes { alive.clone() };
    let joined = shared.spread.join(entered.link.clone(), &shared.tasks).await;
    let ended = tokio::select! {
        () = cut.cancelled() => Ended::Cut,
        ended = read(reader, &entered, shared) => ended,
        ended = write(writer, outgoing, greeting) => ended,
    };
    drop(joined);
    ended
}

async fn read(mut reader: impl AsyncRead + Unpin, entered: &Entered, shared: &Shared) -> Ended {
    let (link, pipeline, spread) = (&entered.link, &shared.pipeline, &shared.spread);
    let mut body = BytesMut::new();
    loop {
        if let Err(ended) = read_frame(&mut reader, &mut body).await {
            return ended;
        }
        one(&link.tally.frames);
        match Packet::decode(&body) {
            Ok(Packet::Event(carried)) => {
                // Here, not where packets are dealt with: who floods is waited for by nobody else.
                let tlp = if carried.tlp.for_peers() { carried.tlp } else { crate::Tlp::Green };
                if pipeline.take(link, &carried.payload, tlp).await == Taken::Known {
                    spread.duplicate(link.number);
                }
            }
            Ok(Packet::Alive) => {}
            Ok(packet) => spread.packet(link.number, packet).await,
            Err(no_packet) => {
                one(&link.tally.invalid);
                link.record(Deed::Malformed, pipeline.links().now());
                return no_packet.into();
            }
        }
    }
}
