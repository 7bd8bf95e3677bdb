//! Nodes in this process, and a peer that speaks version 1 by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cm_crypto::pss::PssSigningKey;
use cm_intel::{
    Draft, EventFilter, Identity, Intel, IntelConfig, KeyId, Reputation, Stored, ThreatEvent, sign,
};
use cm_kernel::catalog::NewRecord;
use cm_kernel::policy::{Create, List, Permit};
use cm_kernel::{Kernel, KernelConfig, OpContext};
use cm_runtime::{SystemClock, Tasks};
use cm_types::{PageLimit, ResourceId, ResourceKind};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A node, gone with its directory when dropped.
pub(crate) struct Node {
    pub(crate) intel: Intel,
    pub(crate) kernel: Kernel,
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    pub(crate) tasks: Tasks,
    _dir: tempfile::TempDir,
}

impl Node {
    pub(crate) async fn start(change: impl FnOnce(&mut IntelConfig)) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let config = KernelConfig {
            data_dir: dir.path().to_owned(),
            limits: cm_kernel::catalog::Limits::default(),
            integrity: cm_kernel::catalog::Integrity::Enforced,
            objects: cm_kernel::objects::Config {
                object_bytes_max: 1 << 20,
                ..cm_kernel::objects::Config::default()
            },
            node_name: "test".to_owned(),
        };
        let kernel = Kernel::open(config, Arc::new(SystemClock), &tasks, |_| Ok(())).await.unwrap();
        let identity = Identity::new(&Identity::generate(kernel.now()).unwrap()).unwrap();
        let key = identity.key().to_string();
        let mut config =
            IntelConfig { data_dir: dir.path().to_owned(), own_events: false, ..IntelConfig::default() };
        change(&mut config);
        let intel = Intel::open(kernel.clone(), &tasks, config, identity).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        intel.serve(Some(listener), None).await.unwrap();
        Node { intel, kernel, address, key, tasks, _dir: dir }
    }

    pub(crate) fn op(&self) -> OpContext {
        OpContext::node(self.tasks.token())
    }

    pub(crate) async fn list(&self) -> Permit<List> {
        self.kernel.authorize(&self.op(), ResourceKind::ThreatEvent).await.unwrap()
    }

    pub(crate) async fn create(&self) -> Permit<Create> {
        self.kernel.authorize(&self.op(), ResourceKind::ThreatEvent).await.unwrap()
    }

    pub(crate) async fn events(&self) -> Vec<Stored> {
        let (permit, filter) = (self.list().await, EventFilter::default());
        self.intel.event_page(&permit, 0, PageLimit::MAX, filter).await.unwrap().items
    }

    pub(crate) async fn reputation(&self, key: KeyId) -> Option<Reputation> {
        self.intel.why(&self.list().await, key).await.unwrap()
    }

    /// Adds a peer as an operator does.
    pub(crate) async fn add_peer(&self, id: &str, address: SocketAddr, key: Option<&str>) {
        let op = self.op();
        let permit = self.kernel.authorize(&op, ResourceKind::IntelPeer).await.unwrap();
        let new = NewRecord {
            kind: ResourceKind::IntelPeer,
            id: Some(ResourceId::parse(id).unwrap()),
            name: id.to_owned(),
            labels: Default::default(),
            owner: None,
            status: Value::Null,
            spec: match key {
                Some(key) => json!({ "address": address.to_string(), "key": key }),
                None => json!({ "address": address.to_string() }),
            },
        };
        self.kernel.create_record(&op, &permit, new).await.unwrap();
    }

    /// Waits until so many events are kept.
    pub(crate) async fn until_events(&self, count: u64) {
        let mut head = self.intel.head();
        let waited = tokio::time::timeout(PATIENCE, head.wait_for(|head| *head >= count)).await;
        waited.unwrap_or_else(|_| panic!("only {} of {count} events", *self.intel.head().borrow())).unwrap();
    }
}

/// Waits until it is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A peer of version 1.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
}

impl Peer {
    pub(crate) async fn connect(address: SocketAddr) -> Peer {
        Peer { stream: TcpStream::connect(address).await.unwrap() }
    }

    pub(crate) async fn send(&mut self, body: &str) {
        let len = u32::try_from(body.len()).unwrap();
        self.stream.write_all(&[&len.to_be_bytes(), body.as_bytes()].concat()).await.unwrap();
    }

    pub(crate) async fn event(&mut self, event: &ThreatEvent) {
        let wrapper = json!({
            "type": "event", "id": event.id, "payload": event, "timestamp": "2026-11-20T23:58:52.369442Z",
        });
        self.send(&wrapper.to_string()).await;
    }

    /// The next message; `None` when the connection is closed.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let reading = async {
            let len = self.stream.read_u32().await.ok()?;
            let mut body = vec![0; len as usize];
            self.stream.read_exact(&mut body).await.ok()?;
            Some(serde_json::from_slice(&body).unwrap())
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("nothing came")
    }

    /// The next event.
    pub(crate) async fn next_event(&mut self) -> ThreatEvent {
        loop {
            let message = self.next().await.expect("the connection was closed");
            if message["type"] == "event" {
                return serde_json::from_value(message["payload"].clone()).unwrap();
            }
        }
    }

    /// Waits until the node has closed the connection.
    pub(crate) async fn closed(&mut self) {
        while self.next().await.is_some() {}
    }
}

/// A reporter with a key of its own.
pub(crate) struct Reporter(pub(crate) PssSigningKey);

impl Reporter {
    pub(crate) fn new() -> Self {
        Self(PssSigningKey::generate().unwrap())
    }

    pub(crate) fn report(&self, source: &str) -> ThreatEvent {
        // Not yet: it is of now, whenever the tests run.
        self.sign_at(source, "2999-11-21 10:00:00")
    }

    /// A report of something that was at another time.
    pub(crate) fn sign_at(&self, source: &str, timestamp: &str) -> ThreatEvent {
        let draft = Draft {
            source_ip: source.into(),
            threat_type: "scan".into(),
            severity: "high".into(),
            timestamp: timestamp.into(),
        };
        ThreatEvent::clone(sign(&self.0, draft).event())
    }

    /// A report under a name of the reporter's choice.
    pub(crate) fn sign_as(&self, id: &str, source: &str) -> ThreatEvent {
        use base64::Engine as _;
        let mut event = ThreatEvent { id: id.to_owned(), ..self.report(source) };
        let signature = self.0.sign(event.canonical().as_bytes());
        event.signature = base64::engine::general_purpose::STANDARD.encode(signature);
        event
    }

    pub(crate) fn id(&self) -> KeyId {
        KeyId(cm_crypto::pss::PssKey::from_pem(&self.0.public_pem()).unwrap().id())
    }
}
