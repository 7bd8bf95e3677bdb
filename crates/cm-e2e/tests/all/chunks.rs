//! Objects on the nodes of a network: written at one, read at any, while nodes are killed and come back.

use std::path::Path;
use std::process::Output;
use std::time::Instant;

use cm_e2e::{NETWORK_DEADLINE, Network};
use serde_json::Value;

fn put(network: &Network, n: usize, file: &Path, name: &str) -> Output {
    network.at(n, &["object", "put", file.to_str().unwrap(), name, "--create-bucket"])
}

fn read(network: &Network, n: usize, name: &str) -> Vec<u8> {
    network.run(n, &["object", "get", name, "-", "--no-cache"]).stdout
}

fn sample(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(len).collect()
}

#[test]
fn objects_are_on_all_nodes_and_survive_each_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut network = Network::founded(dir.path(), 3);
    // Before anybody joined: these bytes spread later.
    let (first, second) = (sample(2_500_000, 1), sample(1_500_000, 2));
    let (first_file, second_file) = (dir.path().join("first"), dir.path().join("second"));
    std::fs::write(&first_file, &first).unwrap();
    std::fs::write(&second_file, &second).unwrap();
    assert!(put(&network, 0, &first_file, "films/first").status.success());
    network.join_others();
    let parts = |status: &Value| -> u64 {
        let peers = status["peers"].as_array().unwrap().iter();
        peers.map(|peer| peer["parts"].as_u64().unwrap_or_default()).sum()
    };
    network
        .wait(1, "three copies of three chunks", |status| network.is_settled(status) && parts(status) == 9);
    for n in 0..3 {
        assert!(read(&network, n, "films/first") == first, "at {n}");
    }
    // The founder goes, as by a power cut: reading and writing go on.
    network.peers[0].kill();
    assert!(read(&network, 2, "films/first") == first);
    let began = Instant::now();
    while !put(&network, 1, &second_file, "films/second").status.success() {
        assert!(began.elapsed() < NETWORK_DEADLINE, "nothing can be written");
    }
    assert!(read(&network, 2, "films/second") == second);
    network.peers[0].start();
    network.wait(2, "all is whole", |status| network.is_settled(status) && parts(status) == 15);
    network.peers[1].kill();
    network.peers[2].kill();
    // Its catalogue has no majority; its copies are there all the same.
    network.peers[1].start();
    assert!(read(&network, 0, "films/second") == second);
    network.peers[2].start();
    network.run(0, &["storage", "redundancy", "films", "2+1"]);
    network.run(0, &["storage", "repair"]);
    network.run(2, &["object", "rm", "films/first"]);
    let status = network.wait(0, "an answer", |_| true);
    let refused = network.at(0, &["storage", "remove", status["peers"][0]["id"].as_str().unwrap()]);
    assert!(!refused.status.success(), "an active node may hold the only copy of something");
    for peer in &mut network.peers {
        peer.kill();
    }
}
