//! What a node answers to its peers.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use cm_types::PeerId;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
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

/// The handlers by kind.
pub(crate) struct Handlers {
    by_kind: RwLock<BTreeMap<&'static str, Handler>>,
    /// Memory for bodies of requests, in KiB.
    memory: Arc<Semaphore>,
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
            memory: Arc::new(Semaphore::new(config.request_kib_max as usize)),
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

    /// Returns what is left to be refused.
    async fn run(
        &self,
        handler: Handler,
        head: &Head,
        mut incoming: Incoming,
    ) -> Option<(Incoming, Refusal)> {
        let kib = u32::try_from(head.body_len.div_ceil(1024)).unwrap_or(u32::MAX);
        let Ok(_memory) = self.memory.try_acquire_many(kib) else {
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
