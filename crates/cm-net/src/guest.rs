//! One question of somebody who is not known yet.
//!
//! Who joins a network has a key that no directory names. It knows the keys of the network, and asks once, on a connection of its own
//! kind on the same listener: the answer says whether it is let in. Both ends prove their keys; what else the guest has to prove is
//! up to the handler ([`crate::Links::on_guest`]). All other kinds of connections stay closed to it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use cm_runtime::CancellationToken;
use cm_types::PeerId;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsStream;

use crate::frame::Frame;
use crate::links::Inner;
use crate::{Contact, Identity, LinkError, PeerKey, Refusal, dial, trust};

/// Longest question, in bytes.
const QUESTION_LEN_MAX: usize = 16 * 1024;
/// Longest answer, in bytes.
const ANSWER_LEN_MAX: usize = 1 << 20;
/// Guests that ask at once, and that are answered at once.
const GUESTS_MAX: usize = 8;
/// For a question: it is short, and whoever is a guest in earnest has it ready.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);
/// For an answer, and until the guest has taken it.
const VISIT_TIMEOUT: Duration = Duration::from_secs(30);

/// The places of guests.
#[derive(Debug)]
pub(crate) struct Guests {
    /// Those who have not asked yet. Anybody may be one of them: the oldest of too many gives way, so that who says nothing is in the way
    /// of nobody.
    asking: Mutex<VecDeque<CancellationToken>>,
    answered: Semaphore,
}

impl Default for Guests {
    fn default() -> Self {
        Self { asking: Mutex::default(), answered: Semaphore::new(GUESTS_MAX) }
    }
}

impl Guests {
    /// One more that is about to ask. Its place is free when the token is cancelled, which whoever holds it does at its end.
    fn enter(&self) -> CancellationToken {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        asking.retain(|over| !over.is_cancelled());
        if asking.len() >= GUESTS_MAX
            && let Some(oldest) = asking.pop_front()
        {
            oldest.cancel();
        }
        let over = CancellationToken::new();
        asking.push_back(over.clone());
        over
    }
}

type Answer = BoxFuture<'static, Result<Bytes, Refusal>>;

/// Answers guests.
#[derive(Clone)]
pub(crate) struct OnGuest(pub(crate) Arc<dyn Fn(PeerKey, Bytes) -> Answer + Send + Sync>);

impl std::fmt::Debug for OnGuest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnGuest(..)")
    }
}

/// Asks a node of a network that does not know this one yet, at most so long. Nothing is sent unless the node has the contact's key.
/// `peer` is what the node is called in errors.
///
/// # Errors
/// [`LinkError::Unreachable`] when no connection is made, or somebody with another key answers; [`LinkError::Refused`]; the others as
/// for [`crate::Links::request`].
pub async fn visit(
    identity: &Identity,
    peer: &PeerId,
    contact: &Contact,
    question: Bytes,
    time: Duration,
) -> Result<Bytes, LinkError> {
    if question.len() > QUESTION_LEN_MAX {
        return Err(LinkError::TooLong { len: question.len(), max: QUESTION_LEN_MAX });
    }
    let until = Instant::now() + time;
    let connected = dial::connect(identity, time, contact, trust::GUEST).await;
    let mut stream = connected.map_err(|error| {
        tracing::debug!(%peer, %error, "network cannot be asked");
        LinkError::Unreachable(peer.clone())
    })?;
    let asking = async {
        let mut bytes = BytesMut::with_capacity(4 + question.len());
        bytes.put_u32(u32::try_from(question.len()).expect("questions are short"));
        bytes.put_slice(&question);
        stream.write_all(&bytes).await.map_err(|_| LinkError::Lost(peer.clone()))?;
        stream.flush().await.map_err(|_| LinkError::Lost(peer.clone()))?;
        match Frame::read(&mut stream, ANSWER_LEN_MAX).await {
            Ok(Frame::End(answer)) => Ok(answer),
            Ok(Frame::Refused(refusal)) => Err(LinkError::Refused { peer: peer.clone(), refusal }),
            Ok(Frame::Piece(_)) => Err(LinkError::Malformed(peer.clone())),
            Err(_) => Err(LinkError::Lost(peer.clone())),
        }
    };
    let timed_out = || LinkError::Timeout { peer: peer.clone(), timeout: time };
    timeout_at(until, asking).await.map_err(|_| timed_out())?
}

/// Answers one guest.
pub(crate) async fn receive(links: &Inner, mut stream: TlsStream<TcpStream>) {
    let Some(OnGuest(handle)) = links.on_guest.get() else {
        return links.tally.turned_away.one();
    };
    let key = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).cloned();
    let Some(Ok(key)) = key.map(|certificate| PeerKey::of_certificate(&certificate)) else {
        return links.tally.turned_away.one();
    };
    let over = links.guests.enter();
    let gives_way = over.clone();
    let over = over.drop_guard();
    let question = tokio::select! {
        () = links.tasks.token().cancelled_owned() => return,
        () = gives_way.cancelled() => None,
        question = timeout(QUESTION_TIMEOUT, hear(&mut stream)) => question.ok().and_then(Result::ok),
    };
    drop(over);
    let Some(question) = question else {
        tracing::debug!(%key, "guest did not ask");
        return links.tally.turned_away.one();
    };
    let answering = async {
        let place = links.guests.answered.try_acquire();
        let frame = match (question, &place) {
            (Err(refusal), _) => Frame::Refused(refusal),
            (Ok(_), Err(_)) => Frame::Refused(Refusal::Busy),
            (Ok(question), Ok(_)) => match handle(key, question).await {
                Ok(answer) if answer.len() <= ANSWER_LEN_MAX => Frame::End(answer),
                Ok(_) => Frame::Refused(Refusal::Unavailable),
                Err(refusal) => Frame::Refused(refusal),
            },
        };
        stream.write_all(&frame.header()).await?;
        if let Frame::End(answer) = &frame {
            stream.write_all(answer).await?;
        }
        stream.shutdown().await
    };
    tokio::select! {
        () = links.tasks.token().cancelled_owned() => {}
        answered = timeout(VISIT_TIMEOUT, answering) => {
            if !matches!(answered, Ok(Ok(()))) {
                tracing::debug!(%key, "guest went without its answer");
            }
        }
    }
}

/// What a guest asks.
async fn hear(stream: &mut TlsStream<TcpStream>) -> std::io::Result<Result<Bytes, Refusal>> {
    let len = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if len > QUESTION_LEN_MAX {
        return Ok(Err(Refusal::TooLong));
    }
    let mut question = vec![0; len];
    stream.read_exact(&mut question).await?;
    Ok(Ok(question.into()))
}
