//! Results that the parties sign, verified by somebody who knows one public key, and recorded in a file.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use cm_e2e::Node;
use serde_json::Value;

use super::cluster_with;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

fn says(output: &Output) -> (i32, String) {
    let text = if output.status.success() { &output.stdout } else { &output.stderr };
    (output.status.code().unwrap(), String::from_utf8_lossy(text).into_owned())
}

fn done(node: &Node, arguments: &[&str]) -> String {
    let (code, told) = says(&node.command(arguments));
    assert_eq!(code, 0, "{arguments:?}: {told}");
    told
}

/// Verifies without a node: what is in the environment of the command is nobody's.
fn verify(proof: &Path, key: &str, more: &[&str]) -> (i32, String) {
    says(&cm_e2e::run(&[&["mpc", "verify", proof.to_str().unwrap(), "--key", key], more].concat()))
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_verifies_what_the_parties_signed() {
    let cluster = cluster_with(&["mpc.anchor_file={root}/anchored.jsonl"]).await;
    let (node, dir) = (&cluster.nodes[0], cluster.root.path());
    let job = dir.join("score.mpc");
    std::fs::write(&job, "input x from admin\nreveal x * x as y to admin\nreveal x + 1 as z to all\n")
        .unwrap();
    let run = ["mpc", "run", job.to_str().unwrap(), "--input", "x=6", "--trust-node", "--output", "json"];
    let mut keys = Vec::new();
    for _ in 0..2 {
        let told = done(node, &[&run[..], &["--sign"]].concat());
        let results: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&results["y"], &results["z"]), (&36.into(), &7.into()), "{told}");
        keys.push(done(&cluster.nodes[2], &["mpc", "keys", "--output", "json"]));
    }
    assert_eq!(keys[0], keys[1], "the second run signs by the key of the first");
    let held: Value = serde_json::from_str(&keys[0]).unwrap();
    let key = held[0]["key"].as_str().unwrap();
    assert_eq!(held[0]["parties"], serde_json::json!(["n1", "n2", "n3"]));
    let computations: Value = node.admin().get("/api/v1/computations").await.unwrap();
    let last = computations.as_array().unwrap().last().unwrap();
    let id = last["id"].as_str().unwrap();
    let proof = dir.join("proof.json");
    done(node, &["mpc", "proof", id, "--out", proof.to_str().unwrap()]);
    let plan = done(node, &["mpc", "plan", id]);
    assert!(plan.contains(&format!("by the parties' key {key}")), "{plan}");
    let digest = plan.lines().next().unwrap().split_whitespace().last().unwrap();
    let (code, told) = verify(&proof, key, &["--plan", digest]);
    assert_eq!(code, 0, "{told}");
    assert!(told.starts_with("valid: n1, n2, n3 signed together") && told.contains("z = 7"), "{told}");

    // Recorded by itself, and found when asked for.
    let until = Instant::now() + LONG;
    loop {
        let entry = node.admin().read(cm_types::ResourceKind::Computation, id).await.unwrap();
        let status = entry.get("status").cloned().unwrap();
        if status["anchor"]["state"] == "recorded" {
            break;
        }
        assert!(Instant::now() < until, "{status}");
    }
    done(node, &["mpc", "anchor", id]);
    let anchored = dir.join("anchored.jsonl");
    let (code, told) = verify(&proof, key, &["--anchored", anchored.to_str().unwrap()]);
    assert_eq!(code, 0, "{told}");
    let unsigned = done(node, &run);
    assert!(unsigned.contains("36"));

    // Another key, another plan, another result.
    let prefix = if key.starts_with("02") { "03" } else { "02" };
    let (code, told) = verify(&proof, &format!("{prefix}{}", &key[2..]), &[]);
    assert!(code != 0 && told.contains("was signed by the key"), "{told}");
    assert_eq!(verify(&proof, "02ab", &[]).0, 2, "no key at all");
    assert_ne!(verify(&proof, key, &["--plan", &"0".repeat(64)]).0, 0);
    let text = std::fs::read_to_string(&proof).unwrap();
    let altered = dir.join("altered.json");
    std::fs::write(&altered, text.replacen("\"7\"", "\"8\"", 1)).unwrap();
    let (code, told) = verify(&altered, key, &[]);
    assert!(code != 0 && told.contains("the statement was altered"), "{told}");
    let nothing = dir.join("nothing.jsonl");
    std::fs::write(&nothing, "{}\n").unwrap();
    assert_ne!(verify(&proof, key, &["--anchored", nothing.to_str().unwrap()]).0, 0);
}
