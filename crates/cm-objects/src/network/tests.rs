//! Several peers in one process: a database that they share, directories of their own, and links over loopback.

mod cold;
mod elastic;
mod faults;
mod layout;
mod storing;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cm_crypto::sign::SigningKey;
use cm_db::{Db, Schema, open_memory};
use cm_events::EventLog;
use cm_net::{Contact, Directory, Identity, Links};
use cm_policy::{Create, Delete, Read, Update};
use cm_runtime::{Drained, SystemClock, Tasks};
use cm_types::{BucketName, PeerId, ResourceKind, Timestamp};
use futures::TryStreamExt;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;
use crate::tests::{collection, in_chunks, key, permit, permit_for, pieces};
use crate::{Config, DeleteObject, NewObject, ObjectInfo, TABLES};

/// No wait in these tests is longer, and none of it is slept through.
const LONG: Duration = Duration::from_secs(60);

fn id(n: usize) -> PeerId {
    format!("peer-{n}").parse().unwrap()
}

/// Everything at the pace of a test.
fn pace() -> Pace {
    Pace {
        part_timeout: Duration::from_secs(3),
        straggler_timeout: Duration::from_millis(300),
        hedge_after: Duration::from_millis(50),
        suspect_for: Duration::from_millis(300),
        repair_delay: Duration::from_secs(3600),
        survey_every: Duration::from_secs(3600),
        survey_lease: Duration::from_secs(2),
        tidy_every: Duration::from_secs(1),
        scrub_every: Duration::from_secs(3600),
        look_every: Duration::from_millis(100),
        repair_bytes_per_second: u64::MAX,
        scrub_bytes_per_second: u64::MAX,
        elastic: ElasticPace::default(),
    }
}

struct Peer {
    /// Held until the peer starts for the first time, so that nobody takes its port.
    listener: Option<TcpListener>,
    id: PeerId,
    identity: Identity,
    address: SocketAddr,
    dir: tempfile::TempDir,
    directory: watch::Sender<Arc<Directory>>,
    running: Option<Running>,
}

struct Running {
    objects: Objects,
    tasks: Tasks,
}

struct Cluster {
    db: Db,
    events: EventLog,
    clock: Arc<dyn Clock>,
    pace: Pace,
    config: Config,
    peers: Vec<Peer>,
    bucket: BucketName,
}

impl Peer {
    fn objects(&self) -> &Objects {
        &self.running.as_ref().expect("the peer was stopped").objects
    }

    fn network(&self) -> Arc<Network> {
        self.objects().0.network.get().unwrap().clone()
    }

    /// The files of parts.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for directory in std::fs::read_dir(self.dir.path().join("objects/chunks")).unwrap() {
            for file in std::fs::read_dir(directory.unwrap().path()).unwrap() {
                files.push(file.unwrap().path());
            }
        }
        files
    }
}

impl Cluster {
    /// So many peers, each in a domain of its own.
    async fn start(count: usize) -> Self {
        Self::with(count, pace()).await
    }

    async fn with(count: usize, pace: Pace) -> Self {
        Self::with_grace(count, pace, Duration::from_millis(500)).await
    }

    async fn with_grace(count: usize, pace: Pace, garbage_grace: Duration) -> Self {
        Self::with_clock(count, pace, garbage_grace, Arc::new(SystemClock)).await
    }

    async fn with_clock(count: usize, pace: Pace, garbage_grace: Duration, clock: Arc<dyn Clock>) -> Self {
        let db = open_memory(&Schema::new(1).with_tables(TABLES).with_tables(cm_events::TABLES));
        let events = EventLog::open(&db, Arc::new(SystemClock), SigningKey::generate()).await.unwrap();
        let config = Config {
            collect_every: Some(Duration::from_millis(100)),
            expire_every: None,
            scrub_every: None,
            garbage_grace,
            ..in_chunks()
        };
        let bucket = BucketName::parse("scans").unwrap();
        let mut cluster = Self { db, events, clock, pace, config, peers: Vec::new(), bucket };
        for n in 0..count {
            cluster.add(n).await;
        }
        cluster.meet();
        for n in 0..count {
            cluster.run(n).await;
        }
        for n in 0..count {
            cluster.wait_connected(n).await;
            // Whoever knows an earlier layout only stores by that.
            cluster.peers[n].network().learn().await.unwrap();
        }
        let (objects, bucket) = (cluster.peers[0].objects().clone(), cluster.bucket.clone());
        let created = cluster.db.write(move |tx| objects.create_bucket(tx, &collection::<Create>(), &bucket));
        created.await.unwrap();
        cluster
    }

    /// A further peer, which nobody knows yet.
    async fn add(&mut self, n: usize) {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let identity = Identity::new(&Identity::generate(now).unwrap()).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (directory, _) = watch::channel(Arc::default());
        let peer = Peer {
            id: id(n),
            identity,
            address: listener.local_addr().unwrap(),
            listener: Some(listener),
            dir: tempfile::tempdir().unwrap(),
            directory,
            running: None,
        };
        self.peers.push(peer);
    }

    /// Everybody knows everybody.
    fn meet(&self) {
        let everybody: Vec<usize> = (0..self.peers.len()).collect();
        for n in 0..self.peers.len() {
            self.knows(n, &everybody);
        }
    }

    fn knows(&self, n: usize, others: &[usize]) {
        let contact = |n: &usize| {
            let peer = &self.peers[*n];
            (peer.id.clone(), Contact { key: peer.identity.key(), address: peer.address.to_string() })
        };
        let directory = Directory::new(others.iter().map(contact)).unwrap();
        self.peers[n].directory.send_replace(Arc::new(directory));
    }

    /// Cuts these peers off from the others, in both directions.
    fn cut_off(&self, cut: &[usize]) {
        let rest: Vec<usize> = (0..self.peers.len()).filter(|n| !cut.contains(n)).collect();
        for n in 0..self.peers.len() {
            if cut.contains(&n) { self.knows(n, &[n]) } else { self.knows(n, &rest) }
        }
    }

    /// Starts a peer, for the first time or again.
    async fn run(&mut self, n: usize) {
        let mut listener = self.peers[n].listener.take();
        // Whoever is started again may find that somebody's connection has its port for a moment.
        let address = self.peers[n].address;
        let listens = eventually(async || {
            if listener.is_none() {
                listener = TcpListener::bind(address).await.ok();
            }
            listener.is_some()
        });
        assert!(listens.await, "{address} stays taken");
        let listener = listener.unwrap();
        let peer = &self.peers[n];
        let tasks = Tasks::new();
        let config = cm_net::Config {
            probe_every: Duration::from_millis(100),
            probe_timeout: Duration::from_secs(1),
            backoff_first: Duration::from_millis(5),
            backoff_max: Duration::from_millis(100),
            ..cm_net::Config::default()
        };
        let directory = peer.directory.subscribe();
        let links = Links::start(peer.id.clone(), config, peer.identity.clone(), directory, &tasks).unwrap();
        links.listen(listener).unwrap();
        let (dir, clock) = (peer.dir.path().join("objects"), self.clock.clone());
        let objects = crate::tests::open(&dir, &self.db, &self.events, clock, &tasks, self.config.clone());
        let objects = objects.await.unwrap();
        let offer = Offer { capacity_bytes: 1 << 30, domain: Domain::parse(format!("room {n}")).unwrap() };
        let peering = Peering { own: peer.id.clone(), links, offer: Some(offer), pace: self.pace.clone() };
        objects.connect(peering).await.unwrap();
        self.peers[n].running = Some(Running { objects, tasks });
    }

    /// Stops a peer; what it has stays.
    async fn kill(&mut self, n: usize) {
        let Running { objects, tasks } = self.peers[n].running.take().unwrap();
        drop(objects);
        assert_eq!(tasks.drain(LONG).await, Drained::All);
    }

    /// Waits until a peer and all that run reach each other.
    async fn wait_connected(&self, n: usize) {
        let running: Vec<&Peer> = self.peers.iter().filter(|peer| peer.running.is_some()).collect();
        let (own, network) = (&self.peers[n].id, self.peers[n].network());
        for peer in running.iter().filter(|peer| peer.id != *own) {
            let there = peer.network();
            // The links learn of a new directory a moment later.
            let known =
                async || network.links.status(&peer.id).is_some() && there.links.status(own).is_some();
            assert!(eventually(known).await);
            assert!(network.links.wait_up(&peer.id, LONG).await, "{own} to {}", peer.id);
            assert!(there.links.wait_up(own, LONG).await, "{} to {own}", peer.id);
        }
    }

    async fn put(&self, at: usize, name: &str, bytes: &[u8]) -> Result<ObjectInfo, ObjectError> {
        let permit = permit::<Update>(self.bucket.as_str(), name);
        let body = pieces(bytes, 300_000);
        self.peers[at].objects().put(&permit, &self.bucket, &key(name), NewObject::default(), body).await
    }

    /// As a client that is told to try again.
    async fn put_patiently(&self, at: usize, name: &str, bytes: &[u8]) -> ObjectInfo {
        let (began, mut interval) = (Instant::now(), tokio::time::interval(Duration::from_millis(20)));
        loop {
            interval.tick().await;
            match self.put(at, name, bytes).await {
                Err(error) if error.retryable() && began.elapsed() < LONG => {}
                outcome => return outcome.unwrap(),
            }
        }
    }

    async fn read(&self, at: usize, name: &str) -> Result<Vec<u8>, ObjectError> {
        let permit = permit::<Read>(self.bucket.as_str(), name);
        let read = self.peers[at].objects().get(&permit, &self.bucket, &key(name), None).await?;
        let pieces: Vec<Bytes> = read.body.try_collect().await?;
        Ok(pieces.concat())
    }

    async fn delete(&self, at: usize, name: &str) {
        let permit = permit::<Delete>(self.bucket.as_str(), name);
        let objects = self.peers[at].objects();
        objects.delete(&permit, &self.bucket, &key(name), DeleteObject::default()).await.unwrap();
    }

    async fn keep(&self, text: &str) {
        let permit = permit_for::<Update>(ResourceKind::Bucket, Some(self.bucket.as_str()));
        let keeping = Some(text.parse().unwrap());
        self.peers[0].objects().set_keeping(&permit, &self.bucket, keeping, None).await.unwrap();
    }

    async fn status(&self, at: usize) -> status::StorageStatus {
        self.peers[at].objects().storage_status().await.unwrap().unwrap()
    }

    /// How many parts there are on the disks of all peers.
    fn parts(&self) -> usize {
        self.peers.iter().map(|peer| peer.files().len()).sum()
    }

    /// Waits until nothing is short, everything is where it should be, and nothing else is left.
    async fn wait_settled(&self, at: usize) {
        let settled = async || {
            let status = self.status(at).await;
            let tidy = |peer: &status::PeerStatus| peer.kept.is_some_and(|kept| kept.is_tidy);
            status.short_chunks == 0
                && status.oldest_epoch == status.epoch
                && status.surveyed_at.is_some()
                && status.peers.iter().filter(|peer| peer.is_up).all(tidy)
        };
        if !eventually(settled).await {
            panic!("not settled: {:#?}", self.status(at).await);
        }
    }

    async fn stop(mut self) {
        for n in 0..self.peers.len() {
            if self.peers[n].running.is_some() {
                self.kill(n).await;
            }
        }
    }
}

/// Whether the condition comes true.
async fn eventually(mut condition: impl AsyncFnMut() -> bool) -> bool {
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    let coming_true = async {
        while !condition().await {
            interval.tick().await;
        }
    };
    tokio::time::timeout(LONG, coming_true).await.is_ok()
}
