//! The suite: what every launcher does, asked of it through a whole node.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cm_e2e::{Node, NodeOptions, PROGRAM_FILE, Party, Program, enrol, instance, policy_for};
use cm_types::ResourceKind;
use serde_json::Value;

const READ: u32 = 8198;
const WRITE: u32 = 533_572;
const DEADLINE: Duration = Duration::from_secs(30);
const ENDS: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

/// How an answer of a platform goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is done, and the answer says that the server failed.
    Refused,
    /// It is done, and the answer says that the server failed.
    DoneAndDenied,
}

/// What instances run on.
pub(crate) trait Platform {
    /// Settings of the node.
    fn set(&self) -> Vec<String>;
    /// Whatever there is of instances, vessels and what belongs to them, processes included where they can be seen.
    fn things(&self, node: &Node) -> usize;
    /// Ends the only instance by force, from outside.
    fn kill(&self, node: &Node);
    /// Requests to the platform that a launch consists of.
    fn steps(&self) -> &'static [&'static str];
    /// Lets the next of these requests go wrong.
    fn fail(&self, step: &str, fault: Fault);
    /// Whether what should go wrong did.
    fn is_spent(&self) -> bool;
}

/// A free port, for a range of one.
fn port() -> u16 {
    cm_testkit::ports::free(1).0
}

fn options(platform: &dyn Platform, port: u16) -> NodeOptions {
    let mut set = platform.set();
    // A cluster's Service names its ports, so that none can be chosen here.
    if !set.iter().any(|setting| setting.starts_with("listen.instances=")) {
        set.push(format!("listen.instances=127.0.0.1:{port}-{port}"));
    }
    set.extend(["instances.pool=0".to_owned(), "instances.start_timeout=20".to_owned()]);
    NodeOptions { set, ..NodeOptions::default() }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        tokio::task::yield_now().await;
    }
}

async fn status(party: &Party, id: &str) -> Value {
    let record: Value = party.api.get(&format!("/api/v1/instances/{id}")).await.expect("the record is there");
    record["status"].clone()
}

/// Makes an instance on the only port. The node may hear a moment later than the test that the port is free.
async fn free_again(party: &Party, policy: &Value) {
    let end = Instant::now() + DEADLINE;
    while let Err(error) = party.api.create_instance(policy).await {
        assert!(Instant::now() < end, "the port is not free again: {error}");
    }
}

/// Says what the nodes logged when a check fails.
struct Logged(PathBuf);

impl Drop for Logged {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(&self.0).unwrap_or_default());
        }
    }
}

/// The whole suite.
pub(crate) async fn conforms(root: &Path, platform: &dyn Platform) {
    let _logged = Logged(root.join("node.log"));
    let port = port();
    let node = Node::start(root, &options(platform, port));
    let party = enrol(&node, "party", &["developer", "analyst"]).await;

    // An instance serves, and is gone with all its things when it is removed.
    let program = Program {
        name: "f",
        strategy: "JIT",
        wasm: wat::parse_str(ENDS).unwrap(),
        rights: &[("output", WRITE)],
    };
    let mut inside = instance(&node, &party, program, &[("output", READ)]).await;
    assert!(inside.execute(PROGRAM_FILE, Duration::from_secs(10)).await.unwrap().succeeded());
    assert!(platform.things(&node) > 0);
    // There is one port.
    let second = policy_for("f", "second", &[(&party, &[("output", READ)])]);
    assert!(party.api.create_instance(&second).await.is_err(), "one port served two instances");
    drop(inside);
    party.api.remove(ResourceKind::Instance, "f-1").await.expect("it is removed");
    until("nothing is left of what was removed", || platform.things(&node) == 0).await;

    // One that is killed is noticed, said to have failed, and cleaned up after; its port is free again.
    free_again(&party, &second).await;
    platform.kill(&node);
    until("nothing is left of what was killed", || platform.things(&node) == 0).await;
    let end = Instant::now() + DEADLINE;
    loop {
        let status = status(&party, "second").await;
        if status["state"] == "failed" {
            assert!(status["reason"].is_string(), "no reason is given: {status}");
            break;
        }
        assert!(Instant::now() < end, "nobody noticed: {status}");
    }
    party.api.remove(ResourceKind::Instance, "second").await.expect("a record is left to remove");

    // Whatever goes wrong on the way, nothing is left and the next attempt succeeds.
    for step in platform.steps() {
        for fault in [Fault::Refused, Fault::DoneAndDenied] {
            platform.fail(step, fault);
            let third = policy_for("f", "third", &[(&party, &[("output", READ)])]);
            let end = Instant::now() + DEADLINE;
            loop {
                let outcome = party.api.create_instance(&third).await;
                assert!(outcome.is_err(), "`{step}` {fault:?} was not noticed");
                if platform.is_spent() {
                    break;
                }
                // The node may hear a moment later than the test that the port is free.
                assert!(Instant::now() < end, "`{step}` is no step of a launch: {outcome:?}");
            }
            until(&format!("nothing is left after `{step}` {fault:?}"), || platform.things(&node) == 0).await;
            let missing: Result<Value, _> = party.api.get("/api/v1/instances/third").await;
            assert!(missing.is_err(), "a record is left after `{step}` {fault:?}");
        }
    }

    // A node that dies leaves what it could not remove, and removes it when it returns.
    let fourth = policy_for("f", "fourth", &[(&party, &[("output", READ)])]);
    free_again(&party, &fourth).await;
    node.signal("KILL");
    drop(node);
    let node = Node::start(root, &options(platform, port));
    let party = Party { api: node.api(Some(party.token.clone())), ..party };
    until("nothing is left of an earlier life", || platform.things(&node) == 0).await;
    assert_eq!(status(&party, "fourth").await["state"], "failed");
    let fifth = policy_for("f", "fifth", &[(&party, &[("output", READ)])]);
    free_again(&party, &fifth).await;

    // A drain ends everything.
    assert!(node.stop().success());
    let node = Node::start(root, &options(platform, port));
    let party = Party { api: node.api(Some(party.token.clone())), ..party };
    assert_eq!(platform.things(&node), 0, "a drained node left something");
    assert_eq!(status(&party, "fifth").await["state"], "exited");
    assert!(node.stop().success());
}
