//! Whole members in one process, over real links.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cm_kernel::catalog::{Integrity, Limits};
use cm_kernel::{Actor, Database, Kernel, KernelConfig, KernelError, NetworkView, OpContext};
use cm_runtime::{CancellationToken, Drained, SystemClock, Tasks};
use cm_types::RequestId;

use super::*;
use crate::data_dir::DataDir;
use crate::{Config, NodeError, Overrides, link_key};

/// How long a test waits for what should come soon.
const WAIT: Duration = Duration::from_secs(60);

fn config(dir: &Path, peers: &str) -> Config {
    let set = vec![format!("listen.peers={peers}"), "objects.capacity=1GB".to_owned()];
    let overrides = Overrides { data_dir: Some(dir.to_owned()), set, ..Overrides::default() };
    Config::gather(overrides, []).unwrap()
}

struct Member {
    dir: PathBuf,
    peers: String,
}

struct Running {
    kernel: Kernel,
    tasks: Tasks,
    network_tasks: Tasks,
    _held: DataDir,
}

impl Member {
    fn new(dir: &Path, name: &str) -> Self {
        let (port, _) = cm_testkit::ports::free(1);
        Self { dir: dir.join(name), peers: format!("127.0.0.1:{port}") }
    }

    fn config(&self) -> Config {
        config(&self.dir, &self.peers)
    }

    async fn start(&self) -> Running {
        self.try_start().await.unwrap()
    }

    async fn try_start(&self) -> Result<Running, NodeError> {
        let config = self.config();
        let held = DataDir::hold(&self.dir)?;
        let (tasks, network_tasks) = (Tasks::new(), Tasks::new());
        let identity = link_key::open_or_create(held.path())?;
        let opened = open(&config, &held, identity, &network_tasks).await?.expect("the node is a member");
        let kernel_config = KernelConfig {
            data_dir: self.dir.clone(),
            limits: Limits::default(),
            integrity: Integrity::Enforced,
            objects: cm_kernel::objects::Config {
                object_bytes_max: 1 << 30,
                ..cm_kernel::objects::Config::default()
            },
            node_name: "test".into(),
        };
        let database = Database::Opened(opened.db.clone());
        let kernel =
            Kernel::open_on(database, kernel_config, Arc::new(SystemClock), &tasks, |_| Ok(())).await?;
        tend(&opened, &kernel, &tasks).await?;
        Ok(Running { kernel, tasks, network_tasks, _held: held })
    }
}

impl Running {
    fn op(&self) -> OpContext {
        OpContext::new(Actor::node(), RequestId::random(), CancellationToken::new())
    }

    async fn invite(&self) -> String {
        let op = self.op();
        let permit = self.kernel.authorize_network(&op).await.unwrap();
        let made = self.kernel.invite_node(&op, &permit, Duration::from_secs(600)).await.unwrap();
        made.0.to_text().expose().clone()
    }

    async fn until(&self, what: &str, holds: impl Fn(&NetworkView) -> bool) -> NetworkView {
        let until = Instant::now() + WAIT;
        loop {
            let view = self.kernel.network().unwrap();
            if holds(&view) {
                return view;
            }
            assert!(Instant::now() < until, "{what}: {view:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Writes something, as often as it takes.
    async fn write(&self) {
        let until = Instant::now() + WAIT;
        while let Err(error) = self.kernel.leases().acquire("some", Duration::ZERO).await {
            assert!(error.retryable() && Instant::now() < until, "{error:?}");
        }
    }

    async fn stop(self) {
        assert_eq!(self.tasks.drain(WAIT).await, Drained::All);
        self.kernel.close().await.unwrap();
        assert_eq!(self.network_tasks.drain(WAIT).await, Drained::All);
    }
}

fn votes(view: &NetworkView) -> usize {
    view.members.iter().filter(|member| member.votes).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_found_join_and_leave() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| Member::new(dir.path(), name));
    found(&a.config(), &a.peers).await.unwrap();
    assert!(matches!(found(&a.config(), &a.peers).await, Err(NodeError::InNetwork(_))));
    let first = a.start().await;
    let used = first.invite().await;
    join(&b.config(), &used, &b.peers).await.unwrap();
    let refused = join(&c.config(), &used, &c.peers).await;
    assert!(matches!(refused, Err(NodeError::NotInvited)), "an invitation is for one node: {refused:?}");
    let second = b.start().await;
    first.until("two vote", |view| votes(view) == 2).await;
    assert_eq!(first.kernel.keys().key_id(), second.kernel.keys().key_id());
    // Through whichever node is asked.
    join(&c.config(), &second.invite().await, &c.peers).await.unwrap();
    let third = c.start().await;
    third.until("three vote", |view| votes(view) == 3 && view.leader.is_some()).await;
    for node in [&first, &second, &third] {
        node.write().await;
        node.kernel.freshen().await.unwrap();
    }

    // The first goes; the others go on, and it comes back.
    first.stop().await;
    second.write().await;
    let first = a.start().await;
    first.kernel.freshen().await.unwrap();
    assert_eq!(first.kernel.wanted_nodes().await.unwrap(), third.kernel.wanted_nodes().await.unwrap());

    let op = first.op();
    let permit = first.kernel.authorize_network(&op).await.unwrap();
    let id = second.kernel.network().unwrap().own.unwrap();
    first.kernel.remove_node(&op, &permit, &id).await.unwrap();
    third.until("two are left", |view| votes(view) == 2 && view.members.len() == 2).await;
    second.stop().await;
    third.write().await;

    // Without a majority: an error that is worth another attempt, in time.
    first.stop().await;
    let began = Instant::now();
    let error = third.kernel.freshen().await.unwrap_err();
    assert!(error.retryable() && began.elapsed() < Duration::from_secs(20), "{error:?}");
    assert!(matches!(error, KernelError::Db(_)));
    third.until("nobody leads", |view| view.leader.is_none()).await;
    let first = a.start().await;
    third.write().await;
    first.stop().await;
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_its_log_does_not_come_back_under_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let a = Member::new(dir.path(), "a");
    found(&a.config(), &a.peers).await.unwrap();
    a.start().await.stop().await;
    for name in [cm_kernel::kernel::DATABASE_FILE, state::LOG_FILE] {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(a.dir.join(format!("{name}{suffix}")));
        }
    }
    let refused = a.try_start().await.err().expect("a refusal");
    assert!(matches!(refused, NodeError::Database(cm_db::DbError::Lost { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_that_died_as_it_began_is_noted_at_its_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let a = Member::new(dir.path(), "a");
    found(&a.config(), &a.peers).await.unwrap();
    let (held, tasks) = (DataDir::hold(&a.dir).unwrap(), Tasks::new());
    let identity = link_key::open_or_create(held.path()).unwrap();
    let opened = open(&a.config(), &held, identity, &tasks).await.unwrap().expect("the node is a member");
    opened.db.close().await.unwrap();
    drop(opened);
    assert_eq!(tasks.drain(WAIT).await, Drained::All);
    drop(held);
    let first = a.start().await;
    let own = first.kernel.network().unwrap().own.unwrap();
    let nodes = first.kernel.wanted_nodes().await.unwrap();
    assert!(nodes.len() == 1 && nodes[0].id == own, "{nodes:?}");
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_waits_for_others_can_be_told_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| Member::new(dir.path(), name));
    found(&a.config(), &a.peers).await.unwrap();
    let first = a.start().await;
    join(&b.config(), &first.invite().await, &b.peers).await.unwrap();
    let second = b.start().await;
    first.until("two vote", |view| votes(view) == 2).await;
    second.stop().await;
    first.stop().await;
    let held = DataDir::hold(&a.dir).unwrap();
    let tasks = Tasks::new();
    let identity = link_key::open_or_create(held.path()).unwrap();
    let config = a.config();
    let opening = open(&config, &held, identity, &tasks);
    tasks.spawn("stop", {
        let tasks = tasks.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            tasks.token().cancel();
        }
    });
    let stopped = tokio::time::timeout(WAIT, opening).await.expect("it ends");
    assert!(matches!(stopped, Err(NodeError::Stopped)));
    assert_eq!(tasks.drain(WAIT).await, Drained::All);
}
