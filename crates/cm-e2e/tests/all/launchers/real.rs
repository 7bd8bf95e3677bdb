//! A real daemon or cluster, looked at with its own command.

use std::process::Command;

use cm_e2e::Node;

use super::faults::Fault;
use super::{Platform, conforms};

/// A platform that is there.
struct Real {
    set: Vec<String>,
    /// What lists whatever there is of instances, one to a line.
    list: &'static [&'static str],
    /// What ends instances by force; what was listed stands behind it.
    kill: &'static [&'static str],
}

impl Real {
    fn listed(&self) -> Vec<String> {
        let output = Command::new(self.list[0]).args(&self.list[1..]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Platform for Real {
    fn set(&self) -> Vec<String> {
        self.set.clone()
    }

    fn things(&self, _: &Node) -> usize {
        self.listed().len()
    }

    fn kill(&self, _: &Node) {
        // The claims of pods have their names.
        let names = self.listed().into_iter().map(|name| name.rsplit('/').next().unwrap().to_owned());
        let status = Command::new(self.kill[0]).args(&self.kill[1..]).args(names).status();
        assert!(status.unwrap().success(), "instances could not be killed");
    }

    fn steps(&self) -> &'static [&'static str] {
        &[]
    }

    fn fail(&self, _: &str, _: Fault) {}

    fn is_spent(&self) -> bool {
        true
    }
}

async fn conforms_where_there_is(
    variable: &str,
    launcher: &str,
    list: &'static [&'static str],
    kill: &'static [&'static str],
) {
    let Ok(given) = std::env::var(variable) else { return };
    let mut set: Vec<String> = given.split_whitespace().map(str::to_owned).collect();
    set.push(format!("instances.launcher={launcher}"));
    let root = tempfile::tempdir().unwrap();
    conforms(root.path(), &Real { set, list, kill }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_of_a_real_daemon_conform() {
    let list = &["docker", "ps", "--all", "--quiet", "--filter", "label=org.cryptomesh.node"];
    conforms_where_there_is("CRYPTOMESH_TEST_DOCKER", "docker", list, &["docker", "kill"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_a_real_cluster_conform() {
    let list = &["kubectl", "get", "configmaps", "--selector", "veracruz-nitro=server", "--output", "name"];
    let kill = &["kubectl", "delete", "pods", "--grace-period=0", "--force"];
    conforms_where_there_is("CRYPTOMESH_TEST_KUBERNETES", "kubernetes", list, kill).await;
}
