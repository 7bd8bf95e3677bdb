//! Nodes in one process, over a network of function calls that can be cut.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cm_quorum::{Change, ChangeRefused, ClusterId, MemberId, Members, Status, Timing};
use tempfile::TempDir;

use crate::engine::quorum::{Carrier, ChangeFailed, Quorum, QuorumConfig, QuorumPort, QuorumSender, Start};
use crate::{Db, DbError, Schema, open_quorum};

/// How long a test waits for what should come soon.
pub(super) const WAIT: Duration = Duration::from_secs(60);
/// How short logs are kept.
pub(super) const LOG_ENTRIES: usize = 40;

type Started = std::thread::JoinHandle<Result<(Db, Quorum), DbError>>;

#[derive(Default)]
struct Net(Mutex<BTreeMap<MemberId, QuorumSender>>);

struct From {
    id: MemberId,
    net: Arc<Net>,
}

impl Carrier for From {
    fn send(&self, to: MemberId, message: Vec<u8>) {
        let net = self.net.0.lock().unwrap();
        // Who was killed neither hears nor speaks.
        if net.contains_key(&self.id)
            && let Some(sender) = net.get(&to)
        {
            sender.deliver(self.id, message);
        }
    }
}

pub(super) struct Cluster {
    dir: TempDir,
    schema: Schema,
    net: Arc<Net>,
    nodes: BTreeMap<usize, (Db, Quorum)>,
}

impl Cluster {
    pub(super) fn empty(schema: &Schema) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, schema: schema.clone(), net: Arc::default(), nodes: BTreeMap::new() }
    }

    pub(super) fn founded(len: usize, schema: &Schema) -> Self {
        let mut cluster = Self::empty(schema);
        let ids: Vec<_> = (0..len).collect();
        let found = cluster.found(&ids);
        for id in ids {
            cluster.nodes.remove(&id);
        }
        let started: Vec<_> = (0..len).map(|node| cluster.begin(node, found.clone())).collect();
        for (node, started) in started.into_iter().enumerate() {
            cluster.joined(node, started);
        }
        cluster
    }

    pub(super) fn found(&self, members: &[usize]) -> Start {
        let members = members.iter().fold(Members::new(), |members, id| {
            members.with_voter(MemberId(*id as u64), &format!("node {id}"))
        });
        Start::Found { cluster: ClusterId(1), members }
    }

    pub(super) fn path(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("{node}.db"))
    }

    pub(super) fn journal(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("{node}.log"))
    }

    /// The error with which a node does not start.
    pub(super) fn refused(&self, node: usize, start: Start) -> DbError {
        self.begin(node, start).join().unwrap().unwrap_err()
    }

    fn begin(&self, node: usize, start: Start) -> Started {
        let id = MemberId(node as u64);
        let port = QuorumPort::new();
        self.net.0.lock().unwrap().insert(id, port.sender());
        let journal = self.journal(node);
        let mut config = QuorumConfig::new(self.path(node), journal, id, start);
        config.timing = Timing {
            heartbeat: Duration::from_millis(60),
            election: Duration::from_millis(500),
            resend: Duration::from_millis(300),
            log_entries: LOG_ENTRIES,
            ..Timing::default()
        };
        config.turn_wait = Duration::from_secs(4);
        config.commit_wait = Duration::from_secs(8);
        let carrier = Arc::new(From { id, net: self.net.clone() });
        let schema = self.schema.clone();
        std::thread::spawn(move || open_quorum(config, port, carrier, &schema))
    }

    pub(super) fn start(&mut self, node: usize, start: Start) {
        let started = self.begin(node, start);
        self.joined(node, started);
    }

    pub(super) fn start_all(&mut self, start: impl Fn(usize) -> Start) {
        let started: Vec<_> = (0..3).map(|node| (node, self.begin(node, start(node)))).collect();
        started.into_iter().for_each(|(node, started)| self.joined(node, started));
    }

    pub(super) fn join(&self, node: usize) -> Started {
        self.begin(node, Start::Join)
    }

    pub(super) fn joined(&mut self, node: usize, started: Started) {
        let opened = started.join().unwrap().unwrap();
        self.nodes.insert(node, opened);
    }

    pub(super) fn db(&self, node: usize) -> Db {
        self.nodes[&node].0.clone()
    }

    pub(super) fn status(&self, node: usize) -> Status {
        self.nodes[&node].1.status().borrow().clone()
    }

    /// It does not hear or speak any more, and then it is closed.
    pub(super) async fn kill(&mut self, node: usize) {
        self.net.0.lock().unwrap().remove(&MemberId(node as u64));
        if let Some((db, _)) = self.nodes.remove(&node) {
            db.close().await.unwrap();
        }
    }

    pub(super) async fn leader(&self) -> usize {
        let leader = || {
            self.nodes.keys().copied().find(|node| self.status(*node).leader == Some(MemberId(*node as u64)))
        };
        eventually("somebody leads", || leader().is_some()).await;
        leader().unwrap()
    }

    /// A message of a node that is not what its program would say.
    pub(super) fn say(&self, from: usize, to: usize, message: cm_quorum::Message) {
        let frame = cm_quorum::Frame { cluster: ClusterId(1), message };
        let net = self.net.0.lock().unwrap();
        net[&MemberId(to as u64)].deliver(MemberId(from as u64), frame.encode());
    }

    /// Once the leader can change anything.
    pub(super) async fn try_change(&self, node: usize, change: Change) -> Result<(), ChangeFailed> {
        let until = Instant::now() + WAIT;
        loop {
            match self.nodes[&node].1.change(change.clone()).await {
                Err(ChangeFailed::Refused(ChangeRefused::Busy)) => {
                    assert!(Instant::now() < until, "the leader stays busy");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                outcome => return outcome,
            }
        }
    }

    pub(super) async fn change(&self, node: usize, change: Change) {
        let until = Instant::now() + WAIT;
        loop {
            match self.nodes[&node].1.change(change.clone()).await {
                Ok(()) => return,
                Err(ChangeFailed::Refused(ChangeRefused::Busy | ChangeRefused::Behind)) => {
                    assert!(Instant::now() < until, "{change:?} never came about");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

pub(super) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + WAIT;
    while !holds() {
        assert!(Instant::now() < until, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
