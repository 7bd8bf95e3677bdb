//! Asks the launchers of containers and pods of a real daemon or cluster what the tests ask of simulated ones.
//!
//! ```sh
//! cargo xtask launchers -- docker instances.image=registry.example/cryptomesh:1
//! cargo xtask launchers -- kubernetes instances.image=... kubernetes.kubeconfig=... instances.host=... listen.instances=...
//! ```
//!
//! What stands behind the platform are settings of the node, among them the image of this very build, and for a cluster a
//! range of one port that the Service names. `docker` or `kubectl` must be there and lead to the same daemon or cluster,
//! which must hold no instances of others: all that are listed count. It ends with 0 only when the whole suite went through,
//! and never without having asked.

#![allow(clippy::unwrap_used, reason = "a check that cannot go on fails by panicking")]

#[path = "../../tests/all/launchers/suite.rs"]
mod suite;

use std::process::{Command, ExitCode};

use cm_e2e::Node;
use suite::{Fault, Platform, conforms};

const USAGE: &str = "usage: launchers docker instances.image=IMAGE [SETTING=VALUE ...]
       launchers kubernetes instances.image=IMAGE listen.instances=ADDRESS:PORT-PORT [SETTING=VALUE ...]";

/// A platform that is there, looked at with its own command.
struct Real {
    set: Vec<String>,
    /// What lists whatever there is of instances, one to a line.
    list: &'static [&'static str],
    /// What ends instances by force; what was listed stands behind it.
    kill: &'static [&'static str],
}

impl Real {
    fn listed(&self) -> Vec<String> {
        let output = Command::new(self.list[0]).args(&self.list[1..]).output();
        let output = output.unwrap_or_else(|error| panic!("cannot run `{}`: {error}", self.list[0]));
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

    fn fail(&self, step: &str, fault: Fault) {
        unreachable!("a real platform cannot be made to fail: {step} {fault:?}");
    }

    fn is_spent(&self) -> bool {
        true
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let platform = arguments.next().unwrap_or_default();
    let (list, kill): (&[_], &[_]) = match platform.as_str() {
        "docker" => (
            &["docker", "ps", "--all", "--quiet", "--filter", "label=org.cryptomesh.node"],
            &["docker", "kill"],
        ),
        "kubernetes" => (
            &["kubectl", "get", "configmaps", "--selector", "veracruz-nitro=server", "--output", "name"],
            &["kubectl", "delete", "pods", "--grace-period=0", "--force"],
        ),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut set: Vec<String> = arguments.collect();
    let needed: &[_] =
        if platform == "docker" { &["instances.image="] } else { &["instances.image=", "listen.instances="] };
    if !needed.iter().all(|name| set.iter().any(|setting| setting.starts_with(name))) {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    set.push(format!("instances.launcher={platform}"));
    let real = Real { set, list, kill };
    if !real.listed().is_empty() {
        eprintln!("there are instances already; the suite counts what there is and would end them");
        return ExitCode::FAILURE;
    }
    let root = tempfile::tempdir().unwrap();
    conforms(root.path(), &real).await;
    eprintln!("{platform}: every check passed");
    ExitCode::SUCCESS
}
