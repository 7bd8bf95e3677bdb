//! What a node answers to its peers.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use cm_types::PeerId;
use futures::future::BoxFuture;
use tokio::time::timeout;

use crate::frame::{self, Form, Head};
use crate::{Config, Incoming, Kind, Refusal};

type OnRequest = dyn Fn(PeerId, Bytes) -> BoxFuture<'static, Result<Bytes, Refusal>> + Send + Sync;
type OnStream = dyn Fn(Bytes, Incoming) -> BoxFuture<'static, ()> + Send + Sync;

/// Something answers this kind already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("messages of the kind {0} are answered already")]
pub struct KindTaken(pub Kind);

#[derive(Clone)]
enum Handler {
    Request { len_max: usize, handle: Arc<OnRequest> },
    Stream { len_max: usize, handle: Arc<OnStream> },
}

/// Memory for bodies of requests. A peer may have as much as is left for others: one alone half of it, two a third each, and so on, so
/// that who asks much is never in the way of who asks little.
#[derive(Clone, Debug)]
struct Memory {
    kib_max: u64,
    taken: Arc<Mutex<BTreeMap<PeerId, u64>>>,
}

/// Some of it; given back when dropped.
#[derive(Debug)]
struct Taken {
    memory: Memory,
    peer: PeerId,
    kib: u64,
}

impl Memory {
    fn new(kib_max: u32) -> Self {
        Self { kib_max: kib_max.into(), taken: Arc::default() }
    }

    fn take(&self, peer: &PeerId, kib: u32) -> Option<Taken> {
        let kib = u64::from(kib);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (taken.values().sum::<u64>(), taken.get(peer).copied().unwrap_or_default());
        if kib > 0 && own + kib > self.kib_max.saturating_sub(all + kib) {
            return None;
        }
        *taken.entry(peer.clone()).or_default() += kib;
        Some(Taken { memory: self.clone(), peer: peer.clone(), kib })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut taken = self.memory.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.peer) {
            *own -= self.kib;
            if *own == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

/// The handlers by kind.
pub(crate) struct Handlers {
    by_kind: RwLock<BTreeMap<&'static str, Handler>>,
    memory: Memory,
    timeout_max: Duration,
    stalled_after: Duration,
}

impl Handlers {
    pub(crate) fn new(config: &Config) -> Self {
        let probe = Handler::Request {
            len_max: 0,
            handle: Arc::new(|_, _| Box::pin(std::future::ready(Ok(Bytes::new())))),
        };
        Self {
            by_kind: RwLock::new(BTreeMap::from([(Kind::PROBE.as_str(), probe)])),
            memory: Memory::new(config.request_kib_max),
            timeout_max: config.handler_timeout_max,
            stalled_after: config.stalled_after,
        }
    }

    pub(crate) fn on_request<F, A>(&self, kind: Kind, len_max: usize, handle: F) -> Result<(), KindTaken>
    where
        F: Fn(PeerId, Bytes) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Bytes, Refusal>> + Send + 'static,
    {
        let handle: Arc<OnRequest> = Arc::new(move |peer, body| Box::pin(handle(peer, body)));
        self.register(kind, Handler::Request { len_max, handle })
    }

    pub(crate) fn on_stream<F, A>(&self, kind: Kind, len_max: usize, handle: F) -> Result<(), KindTaken>
    where
        F: Fn(Bytes, Incoming) -> A + Send + Sync + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let handle: Arc<OnStream> = Arc::new(move |head, incoming| Box::pin(handle(head, incoming)));
        self.register(kind, Handler::Stream { len_max, handle })
    }

    fn register(&self, kind: Kind, handler: Handler) -> Result<(), KindTaken> {
        let mut by_kind = self.by_kind.write().unwrap_or_else(PoisonError::into_inner);
        if by_kind.contains_key(kind.as_str()) {
            return Err(KindTaken(kind));
        }
        by_kind.insert(kind.as_str(), handler);
        Ok(())
    }

    fn find(&self, head: &Head) -> Result<Handler, Refusal> {
        let by_kind = self.by_kind.read().unwrap_or_else(PoisonError::into_inner);
        let handler = by_kind.get(head.kind.as_str()).ok_or(Refusal::UnknownKind)?;
        let (form, len_max) = match handler {
            Handler::Request { len_max, .. } => (Form::Request, *len_max),
            Handler::Stream { len_max, .. } => (Form::Stream, *len_max),
        };
        if form != head.form {
            Err(Refusal::UnknownKind)
        } else if head.body_len > len_max {
            Err(Refusal::TooLong)
        } else {
            Ok(handler.clone())
        }
    }

    /// Answers one exchange. Dropping the future breaks it off.
    pub(crate) async fn serve(&self, mut incoming: Incoming) {
        let stalled_after = self.stalled_after;
        let wire = incoming.wire();
        wire.tally.served.one();
        let head = match timeout(stalled_after, Head::read(&mut wire.stream)).await {
            Ok(Ok(head)) => head,
            // Half a head, or none: whoever sent it gets a reset.
            Ok(Err(_)) | Err(_) => return,
        };
        let refused = match self.find(&head) {
            Ok(handler) => self.run(handler, &head, incoming).await,
            Err(refusal) => Some((incoming, refusal)),
        };
        if let Some((incoming, refusal)) = refused {
            tracing::debug!(peer = %incoming.peer(), kind = head.kind, %refusal, "message of a peer refused");
            // Who is gone needs no reason.
            let _ = incoming.refuse(refusal).await;
        }
    }

    /// Answers a probe, and refuses everything else.
    pub(crate) async fn serve_probe(&self, mut incoming: Incoming) {
        let stream = &mut incoming.wire().stream;
        let Ok(Ok(head)) = timeout(self.stalled_after, Head::read(stream)).await else { return };
        // Who is gone needs no answer.
        let _ = if head.kind == Kind::PROBE.as_str() && head.form == Form::Request && head.body_len == 0 {
            incoming.answer(Bytes::new()).await
        } else {
            incoming.refuse(Refusal::Busy).await
        };
    }

    /// Returns what is left to be refused.
    async fn run(
        &self,
        handler: Handler,
        head: &Head,
        mut incoming: Incoming,
    ) -> Option<(Incoming, Refusal)> {
        let kib = u32::try_from(head.body_len.div_ceil(1024)).unwrap_or(u32::MAX);
        let Some(_memory) = self.memory.take(incoming.peer(), kib) else {
            return Some((incoming, Refusal::Busy));
        };
        let wire = incoming.wire();
        let read = timeout(self.stalled_after, frame::body(&mut wire.stream, head.body_len)).await;
        let Ok(Ok(body)) = read else { return None };
        wire.tally.bytes_received.many(body.len());
        let deadline = Duration::from_millis(head.timeout_ms.into()).min(self.timeout_max);
        match handler {
            Handler::Stream { handle, .. } => {
                // When the time is over the exchange is dropped with the handler, which resets it.
                let _ = timeout(deadline, handle(body, incoming)).await;
                None
            }
            Handler::Request { handle, .. } => {
                let answering = timeout(deadline, handle(incoming.peer().clone(), body));
                let answer = tokio::select! {
                    answer = answering => answer.unwrap_or(Err(Refusal::Expired)),
                    () = incoming.gone() => return None,
                };
                match answer {
                    Ok(answer) if answer.len() <= frame::MESSAGE_LEN_MAX => {
                        let _ = incoming.answer(answer).await;
                        None
                    }
                    Ok(answer) => {
                        tracing::error!(kind = head.kind, len = answer.len(), "answer to a peer is too long");
                        Some((incoming, Refusal::Unavailable))
                    }
                    Err(refusal) => Some((incoming, refusal)),
                }
            }
        }
    }
}

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by_kind = self.by_kind.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(by_kind.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_left_for_those_who_ask_little() {
        let memory = Memory::new(90);
        let peer = |name: &str| -> PeerId { name.parse().unwrap() };
        let mut greedy: Vec<_> = (0..9).map_while(|_| memory.take(&peer("a"), 10)).collect();
        assert_eq!(greedy.len(), 4, "half of it");
        let second: Vec<_> = (0..9).map_while(|_| memory.take(&peer("b"), 10)).collect();
        assert_eq!(second.len(), 2);
        assert!(memory.take(&peer("c"), 10).is_some());
        assert!(memory.take(&peer("a"), 10).is_none());
        greedy.truncate(1);
        assert!(memory.take(&peer("a"), 10).is_some());
        drop((greedy, second));
        assert!(memory.taken.lock().unwrap().is_empty());
    }
}
