//! The links of a node.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use cm_runtime::{Backoff, Tasks};
use cm_types::PeerId;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt as _};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, timeout_at};

use crate::counters::Tally;
use crate::dial::Line;
use crate::exchange::Wire;
use crate::frame::{Form, Frame, Head, MESSAGE_LEN_MAX};
use crate::gate::Gate;
use crate::guest::{Guests, OnGuest};
use crate::handlers::Handlers;
use crate::listen::{Callers, Doors};
use crate::{
    Config, Contact, Counters, Direct, Directory, Identity, Incoming, Kind, KindTaken, LinkError, Notice,
    Outgoing, PeerKey, Refusal, trust,
};

/// Notices that a slow listener may miss.
const NOTICES_MAX: usize = 256;

/// Whether a peer can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// The first attempt is under way.
    Connecting,
    /// The peer answers.
    Up,
    /// It does not; the next attempt is due within [`Config::backoff_max`].
    Down,
}

/// How the link to one peer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether it can be asked.
    pub state: LinkState,
    /// How long the last probe took.
    pub round_trip: Option<Duration>,
    /// Exchanges that this node has with the peer now.
    pub exchanges: usize,
}

/// The links between this node and its peers. Clones share them; they end with the tasks.
#[derive(Clone, Debug)]
pub struct Links(Arc<Inner>);

/// Takes connections for one conversation.
pub(crate) struct OnDirect(Box<dyn Fn(Direct) + Send + Sync>);

impl std::ops::Deref for OnDirect {
    type Target = dyn Fn(Direct) + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl std::fmt::Debug for OnDirect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnDirect(..)")
    }
}

#[derive(Debug)]
pub(crate) struct Inner {
    own: PeerId,
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) directory: watch::Receiver<Arc<Directory>>,
    pub(crate) handlers: Handlers,
    pub(crate) tally: Arc<Tally>,
    pub(crate) tasks: Tasks,
    pub(crate) gate: Gate,
    pub(crate) callers: Callers,
    pub(crate) on_direct: OnceLock<OnDirect>,
    pub(crate) on_guest: OnceLock<OnGuest>,
    pub(crate) guests: Guests,
    notices: broadcast::Sender<Notice>,
    lines: RwLock<BTreeMap<PeerId, Arc<Line>>>,
}

impl Inner {
    pub(crate) fn notice(&self, notice: Notice) {
        // Without listeners nobody wants to know.
        let _ = self.notices.send(notice);
    }

    fn line(&self, peer: &PeerId) -> Result<Arc<Line>, LinkError> {
        let lines = self.lines.read().unwrap_or_else(PoisonError::into_inner);
        lines.get(peer).cloned().ok_or_else(|| LinkError::UnknownPeer(peer.clone()))
    }
}

impl Links {
    /// Begins to connect to the peers of the directory, and follows its changes. `own` is this node's id.
    ///
    /// # Errors
    /// [`LinkError::Identity`] if the identity cannot be used.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        own: PeerId,
        config: Config,
        identity: Identity,
        directory: watch::Receiver<Arc<Directory>>,
        tasks: &Tasks,
    ) -> Result<Self, LinkError> {
        trust::caller(&identity, identity.key(), trust::PROTOCOL)?;
        let links = Self(Arc::new(Inner {
            own,
            handlers: Handlers::new(&config),
            gate: Gate::new(&config),
            callers: Callers::default(),
            tally: Arc::default(),
            tasks: tasks.clone(),
            on_direct: OnceLock::new(),
            on_guest: OnceLock::new(),
            guests: Guests::default(),
            notices: broadcast::Sender::new(NOTICES_MAX),
            lines: RwLock::default(),
            config,
            identity,
            directory: directory.clone(),
        }));
        links.follow_now();
        let following = links.clone();
        tasks.spawn("link-directory", async move { following.follow(directory).await });
        Ok(links)
    }

    async fn follow(&self, mut directory: watch::Receiver<Arc<Directory>>) {
        let token = self.0.tasks.token();
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                changed = directory.changed() => match changed {
                    Ok(()) => self.follow_now(),
                    // Nobody can change the directory any more.
                    Err(_) => return,
                },
            }
        }
    }

    fn follow_now(&self) {
        let directory = self.0.directory.borrow().clone();
        let mut lines = self.0.lines.write().unwrap_or_else(PoisonError::into_inner);
        // A line that is dropped ends its connection.
        lines.retain(|peer, line| directory.contact(peer) == Some(line.contact()));
        let others = directory.contacts().filter(|(peer, _)| **peer != self.0.own);
        for (peer, contact) in others {
            lines.entry(peer.clone()).or_insert_with(|| self.dial(peer, contact));
        }
    }

    fn dial(&self, peer: &PeerId, contact: &Contact) -> Arc<Line> {
        Line::spawn(&self.0, peer.clone(), contact.clone())
    }

    /// Takes the calls of peers on this listener until the tasks end; returns where it listens.
    ///
    /// # Errors
    /// When the listener has no address, or the identity cannot be used.
    pub fn listen(&self, listener: TcpListener) -> Result<SocketAddr, LinkError> {
        let config = trust::called(&self.0.identity, self.0.directory.clone())?;
        let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        let doors = Doors { peers: Arc::new(config), guests: Arc::new(trust::hosting(&self.0.identity)?) };
        let inner = self.0.clone();
        self.0.tasks.spawn("link-listen", crate::listen::listen(inner, doors, listener));
        Ok(address)
    }

    /// Answers requests of a kind, of at most `len_max` bytes. The handler is given who asks and the body; it is dropped when
    /// the deadline passes or the asker is gone, so that it must be cancel-safe or hand its work to a task of its own.
    ///
    /// # Errors
    /// When the kind is answered already.
    pub fn on_request<F, A>(&self, kind: Kind, len_max: usize, handler: F) -> Result<(), KindTaken>
    where
        F: Fn(PeerId, Bytes) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Bytes, Refusal>> + Send + 'static,
    {
        self.0.handlers.on_request(kind, len_max, handler)
    }

    /// Answers streams of a kind whose head has at most `len_max` bytes. The handler is given the head and the exchange, which
    /// it ends with [`Incoming::answer`] or [`Incoming::refuse`].
    ///
    /// # Errors
    /// When the kind is answered already.
    pub fn on_stream<F, A>(&self, kind: Kind, len_max: usize, handler: F) -> Result<(), KindTaken>
    where
        F: Fn(Bytes, Incoming) -> A + Send + Sync + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        self.0.handlers.on_stream(kind, len_max, handler)
    }

    /// Asks a peer and waits for the answer, at most `timeout`. Dropping the future withdraws the request.
    ///
    /// # Errors
    /// See [`LinkError`]; [`LinkError::may_have_run`] says whether the peer may have acted.
    pub async fn request(
        &self,
        peer: &PeerId,
        kind: Kind,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, LinkError> {
        let exchange = self.begin(Form::Request, peer, kind, body, timeout).await?;
        exchange.answer().await
    }

    /// Opens a stream to a peer with a head. Everything until the answer must be over within `timeout`.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn open(
        &self,
        peer: &PeerId,
        kind: Kind,
        head: Bytes,
        timeout: Duration,
    ) -> Result<Outgoing, LinkError> {
        self.begin(Form::Stream, peer, kind, head, timeout).await
    }

    /// Sends a stream of bytes to a peer and waits for the answer.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn send_stream(
        &self,
        peer: &PeerId,
        kind: Kind,
        head: Bytes,
        pieces: impl Stream<Item = Bytes>,
        timeout: Duration,
    ) -> Result<Bytes, LinkError> {
        let mut exchange = self.open(peer, kind, head, timeout).await?;
        let mut pieces = std::pin::pin!(pieces);
        while let Some(piece) = pieces.next().await {
            exchange.send(piece).await?;
        }
        exchange.finish().await?;
        exchange.answer().await
    }

    async fn begin(
        &self,
        form: Form,
        peer: &PeerId,
        kind: Kind,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Outgoing, LinkError> {
        if body.len() > MESSAGE_LEN_MAX {
            return Err(LinkError::TooLong { len: body.len(), max: MESSAGE_LEN_MAX });
        }
        if self.0.tasks.token().is_cancelled() {
            return Err(LinkError::ShuttingDown);
        }
        let until = Instant::now() + timeout;
        let line = self.0.line(peer)?;
        let opener = line.opener(until).await.ok_or_else(|| LinkError::Unreachable(peer.clone()))?;
        let slot = timeout_at(until, line.slots().acquire_owned()).await.ok().and_then(Result::ok);
        let slot = slot.ok_or_else(|| LinkError::Crowded(peer.clone()))?;
        let stream = timeout_at(until, opener.open()).await.ok().flatten();
        let stream = stream.ok_or_else(|| LinkError::Unreachable(peer.clone()))?;
        self.0.tally.asked.one();
        let wire = Wire {
            peer: peer.clone(),
            stream,
            tally: self.0.tally.clone(),
            // A request says nothing until its answer.
            stalled_after: if form == Form::Request { timeout } else { self.0.config.stalled_after },
            end_len_max: self.0.config.answer_len_max.min(MESSAGE_LEN_MAX),
        };
        let mut exchange = Outgoing::new(wire, until, timeout, slot);
        let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let head = Head { form, kind: kind.as_str().to_owned(), timeout_ms, body_len: body.len() };
        exchange.begin(&head.encode(), &body).await?;
        Ok(exchange)
    }

    /// Makes a connection to a peer for one conversation, trying again until the time is over. The peer is asked whether it takes it
    /// by the first bytes that are sent; it may close it instead. Cancel-safe.
    ///
    /// # Errors
    /// [`LinkError::UnknownPeer`]; [`LinkError::Unreachable`] when no attempt succeeds.
    pub async fn direct(&self, peer: &PeerId, timeout: Duration) -> Result<Direct, LinkError> {
        let contact = self.0.directory.borrow().contact(peer).cloned();
        let contact = contact.ok_or_else(|| LinkError::UnknownPeer(peer.clone()))?;
        let mut backoff = Backoff::new(self.0.config.backoff_first, self.0.config.backoff_max);
        let until = Instant::now() + timeout;
        let attempts = async {
            loop {
                let made = crate::dial::connect(
                    &self.0.identity,
                    self.0.config.connect_timeout,
                    &contact,
                    trust::DIRECT,
                )
                .await;
                match made.and_then(|stream| Direct::new(peer.clone(), stream)) {
                    Ok(direct) => return direct,
                    Err(error) => tracing::debug!(%peer, %error, "no connection for a conversation"),
                }
                self.0.tally.connect_failed.one();
                tokio::time::sleep(backoff.next_delay()).await;
            }
        };
        let made = timeout_at(until, attempts).await;
        let direct = made.map_err(|_| LinkError::Unreachable(peer.clone()))?;
        self.0.tally.connected.one();
        Ok(direct)
    }

    /// Takes the connections that peers make for one conversation. The handler must not block; it bounds how many it keeps.
    /// Without one they are closed. Returns whether there was none before; otherwise nothing changes.
    pub fn on_direct(&self, handler: impl Fn(Direct) + Send + Sync + 'static) -> bool {
        self.0.on_direct.set(OnDirect(Box::new(handler))).is_ok()
    }

    /// Answers those whom the directory does not name ([`crate::visit`]); without a handler they are turned away. The handler is given
    /// the key that the guest has proved to hold, and its question, and may be dropped half-way. Returns whether there was none
    /// before; otherwise nothing changes.
    pub fn on_guest<F, A>(&self, handler: F) -> bool
    where
        F: Fn(PeerKey, Bytes) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Bytes, Refusal>> + Send + 'static,
    {
        let handler = move |key, question| -> BoxFuture<'static, _> { Box::pin(handler(key, question)) };
        self.0.on_guest.set(OnGuest(Arc::new(handler))).is_ok()
    }

    /// How the link to a peer is doing; `None` if the directory does not name the peer, or it is this node.
    pub fn status(&self, peer: &PeerId) -> Option<Status> {
        self.0.line(peer).ok().map(|line| line.status())
    }

    /// The peers with the state of their links, by id, without this node.
    pub fn peers(&self) -> Vec<(PeerId, Status)> {
        let lines = self.0.lines.read().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|(peer, line)| (peer.clone(), line.status())).collect()
    }

    /// Waits until the peer can be asked; says whether it can within the time. Cancel-safe.
    pub async fn wait_up(&self, peer: &PeerId, timeout: Duration) -> bool {
        match self.0.line(peer) {
            Ok(line) => line.wait_up(Instant::now() + timeout).await,
            Err(_) => false,
        }
    }

    /// What went over the links so far.
    pub fn counters(&self) -> Counters {
        self.0.tally.read()
    }

    /// What happens to links from now on. Who listens too slowly misses the oldest.
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.0.notices.subscribe()
    }
}

/// Whether an error of a handshake means that the other end is not who it should be.
pub(crate) fn is_judgement(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
}

/// For a probe: whether the answer is one.
pub(crate) fn is_answer(frame: &Frame) -> bool {
    matches!(frame, Frame::End(answer) if answer.is_empty())
}
