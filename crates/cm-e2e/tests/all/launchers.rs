//! What every launcher does, asked of each through a whole node: the same suite for processes, containers and pods.
//!
//! A daemon and a cluster are simulated up to their API; what runs in containers and pods is the real binary, started as a
//! process. A real daemon or cluster is asked the same by `cargo xtask launchers`, not by a test: where there is none, a test
//! would have nothing to check.

mod agents;
mod cluster;
mod engine;
mod faults;
mod suite;

use cm_e2e::Node;
use cm_runtime::Tasks;

use agents::Processes as Started;
use cluster::Cluster;
use engine::Engine;
use suite::{Fault, Platform, conforms};

/// The node's own processes.
struct Processes;

impl Platform for Processes {
    fn set(&self) -> Vec<String> {
        Vec::new()
    }

    fn things(&self, node: &Node) -> usize {
        crate::instances::descendants(node.pid()).len()
    }

    fn kill(&self, node: &Node) {
        for pid in crate::instances::descendants(node.pid()) {
            // One may have ended with the other.
            let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }

    fn steps(&self) -> &'static [&'static str] {
        &[]
    }

    fn fail(&self, _: &str, _: Fault) {}

    fn is_spent(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_conform() {
    let root = tempfile::tempdir().unwrap();
    conforms(root.path(), &Processes).await;
}

struct Pods {
    cluster: Cluster,
    kubeconfig: String,
    started: Started,
}

impl Platform for Pods {
    fn set(&self) -> Vec<String> {
        vec![
            "instances.launcher=kubernetes".to_owned(),
            "instances.image=example/cryptomesh:test".to_owned(),
            "instances.host=127.0.0.1".to_owned(),
            format!("kubernetes.kubeconfig={}", self.kubeconfig),
        ]
    }

    fn things(&self, _: &Node) -> usize {
        self.cluster.store.len() + self.started.living()
    }

    fn kill(&self, _: &Node) {
        assert!(self.started.living() >= 2, "an agent and its instance are to be seen");
        self.cluster.store.names("pods").iter().for_each(|pod| self.cluster.store.kill(pod));
    }

    fn steps(&self) -> &'static [&'static str] {
        &["POST configmaps", "PATCH configmaps", "POST secrets", "POST pods", "POST endpointslices"]
    }

    fn fail(&self, step: &str, fault: Fault) {
        self.cluster.faults.set(step, fault);
    }

    fn is_spent(&self) -> bool {
        self.cluster.faults.is_spent()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_a_simulated_cluster_conform() {
    let root = tempfile::tempdir().unwrap();
    let tasks = Tasks::new();
    let started = Started::default();
    let cluster = Cluster::start(&tasks, &started).await;
    let kubeconfig = cluster.kubeconfig(root.path()).to_string_lossy().into_owned();
    conforms(root.path(), &Pods { cluster, kubeconfig, started }).await;
}

struct Containers {
    engine: Engine,
    socket: String,
    started: Started,
}

impl Platform for Containers {
    fn set(&self) -> Vec<String> {
        vec![
            "instances.launcher=docker".to_owned(),
            "instances.image=example/cryptomesh:test".to_owned(),
            format!("docker.socket={}", self.socket),
        ]
    }

    fn things(&self, _: &Node) -> usize {
        self.engine.len() + self.started.living()
    }

    fn kill(&self, _: &Node) {
        assert!(self.started.living() >= 2, "an agent and its instance are to be seen");
        self.engine.kill_all();
    }

    fn steps(&self) -> &'static [&'static str] {
        &["create", "archive", "start", "json"]
    }

    fn fail(&self, step: &str, fault: Fault) {
        self.engine.faults.set(step, fault);
    }

    fn is_spent(&self) -> bool {
        self.engine.faults.is_spent()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_of_a_simulated_daemon_conform() {
    let root = tempfile::tempdir().unwrap();
    let tasks = Tasks::new();
    let socket = root.path().join("docker.sock");
    let started = Started::default();
    let engine = Engine::start(&tasks, &socket, &started).await;
    let socket = socket.to_string_lossy().into_owned();
    conforms(root.path(), &Containers { engine, socket, started }).await;
}
