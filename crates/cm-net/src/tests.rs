//! Two real ends on this machine, and what strangers and broken peers do to them.

mod broken;
mod direct;
mod exchanges;
mod trust;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cm_runtime::{Drained, Tasks};
use cm_types::{PeerId, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::{Config, Contact, Directory, Identity, Kind, Links, PeerKey};

pub(crate) const ECHO: Kind = Kind::new("test.echo");
/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn id(text: &str) -> PeerId {
    text.parse().unwrap()
}

pub(crate) fn identity() -> Identity {
    let now = Timestamp::from_micros(1_800_000_000_000_000);
    Identity::new(&Identity::generate(now).unwrap()).unwrap()
}

/// Quick to notice and to come back.
pub(crate) fn config() -> Config {
    Config {
        probe_every: Duration::from_millis(50),
        probe_timeout: Duration::from_secs(2),
        backoff_first: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        ..Config::default()
    }
}

pub(crate) fn contact(key: PeerKey, address: SocketAddr) -> Contact {
    Contact { key, address: address.to_string() }
}

/// Where nobody listens.
pub(crate) fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

/// One end with its own tasks.
pub(crate) struct Node {
    pub(crate) id: PeerId,
    pub(crate) identity: Identity,
    pub(crate) links: Links,
    pub(crate) tasks: Tasks,
    pub(crate) address: SocketAddr,
    pub(crate) directory: watch::Sender<Arc<Directory>>,
}

impl Node {
    pub(crate) async fn start(name: &str, config: Config) -> Self {
        Self::start_at(name, config, identity(), SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub(crate) async fn start_at(name: &str, config: Config, identity: Identity, at: SocketAddr) -> Self {
        let tasks = Tasks::new();
        let (directory, receiver) = watch::channel(Arc::default());
        let links = Links::start(id(name), config, identity.clone(), receiver, &tasks).unwrap();
        links.on_request(ECHO, 1 << 20, |_, body| async { Ok(body) }).unwrap();
        let address = links.listen(TcpListener::bind(at).await.unwrap()).unwrap();
        Self { id: id(name), identity, links, tasks, address, directory }
    }

    pub(crate) fn contact(&self) -> (PeerId, Contact) {
        (self.id.clone(), contact(self.identity.key(), self.address))
    }

    pub(crate) fn knows(&self, others: &[(PeerId, Contact)]) {
        self.directory.send_replace(Arc::new(Directory::new(others.to_vec()).unwrap()));
    }

    pub(crate) async fn stop(self) {
        assert_eq!(self.tasks.drain(LONG).await, Drained::All);
    }
}

/// Two ends that know each other, connected both ways.
pub(crate) async fn pair() -> (Node, Node) {
    pair_with(config()).await
}

/// Two nodes that know each other, the first of which is configured like this.
pub(crate) async fn pair_with(first: Config) -> (Node, Node) {
    let (a, b) = (Node::start("a", first).await, Node::start("b", config()).await);
    let both = [a.contact(), b.contact()];
    a.knows(&both);
    b.knows(&both);
    assert!(eventually(|| a.links.status(&b.id).is_some() && b.links.status(&a.id).is_some()).await);
    assert!(a.links.wait_up(&b.id, LONG).await && b.links.wait_up(&a.id, LONG).await);
    (a, b)
}

/// Whether the condition comes true.
pub(crate) async fn eventually(condition: impl Fn() -> bool) -> bool {
    let mut interval = tokio::time::interval(Duration::from_millis(2));
    let coming_true = async {
        while !condition() {
            interval.tick().await;
        }
    };
    tokio::time::timeout(LONG, coming_true).await.is_ok()
}
