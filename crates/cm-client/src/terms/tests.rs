use cm_instance::policy::Certificate;
use cm_instance::{Infrastructure, Rights, merge};
use cm_types::Timestamp;
use serde_json::json;

use super::*;

fn certificate(name: &str) -> String {
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    cm_crypto::cert::generate_identity(name, now, std::time::Duration::from_secs(3600))
        .unwrap()
        .certificate_pem()
}

fn agreed() -> (Terms, FullPolicy) {
    let program = json!({
        "function": "f", "execution_strategy": "JIT", "programs": [{
            "id": 0, "pi_hash": "11".repeat(32), "program_file_name": "p.wasm",
            "file_rights": [{ "file_name": "in", "rights": 8198 }, { "file_name": "out", "rights": 533_572 }] }],
        "data_files": [{ "data_file": "model", "pi_hash": "22".repeat(32) }],
    })
    .to_string();
    let user = json!({ "function": "f", "instanceid": "i", "identities": [
        { "certificate": certificate("a"), "file_rights": [{ "file_name": "in", "rights": 533_572 }] },
        { "certificate": certificate("b"), "file_rights": [{ "file_name": "out", "rights": 8198 }] },
    ] });
    let infrastructure = Infrastructure {
        server_url: "127.0.0.1:1".into(),
        measurement: Sha256Digest::from_bytes([3; 32]),
        node_certificate: Certificate::parse(certificate("node")).unwrap(),
        attestation_url: "127.0.0.1:2".into(),
        expiry: Timestamp::from_micros(1_800_000_000_000_000),
        enable_clock: false,
        max_memory_mib: 64,
    };
    let parsed = |text: &str| ProgramPolicy::parse(text.as_bytes()).unwrap();
    let user_policy = UserPolicy::parse(user.to_string().as_bytes()).unwrap();
    let full = merge(&parsed(&program), &user_policy, &infrastructure).unwrap();
    (Terms::of_policies(&program, &user).unwrap(), full)
}

fn check(change: impl FnOnce(&mut FullPolicy), expected: Result<(), BrokenTerm>) {
    let (terms, mut policy) = agreed();
    change(&mut policy);
    assert_eq!(terms.check(&policy), expected);
}

#[test]
fn what_the_node_adds_is_no_breach_and_order_means_nothing() {
    check(|_| {}, Ok(()));
    check(|policy| policy.identities.reverse(), Ok(()));
    check(|policy| policy.max_memory_mib = Some(1), Ok(()));
    check(|policy| policy.veracruz_server_url = "127.0.0.1:9".into(), Ok(()));
}

#[test]
fn every_other_difference_is_a_breach() {
    check(|policy| policy.programs[0].pi_hash = None, Err(BrokenTerm::Programs));
    check(|policy| policy.programs[0].file_rights[0].rights = Rights::ALL, Err(BrokenTerm::Programs));
    check(|policy| policy.programs.clear(), Err(BrokenTerm::Programs));
    check(
        |policy| policy.file_hashes[0].hash = Sha256Digest::from_bytes([9; 32]),
        Err(BrokenTerm::DataFiles),
    );
    check(|policy| policy.file_hashes.clear(), Err(BrokenTerm::DataFiles));
    check(|policy| policy.identities[0].file_rights[0].rights = Rights::ALL, Err(BrokenTerm::Identities));
    check(|policy| policy.identities.truncate(1), Err(BrokenTerm::Identities));
    check(
        |policy| {
            let mut another = policy.identities[1].clone();
            another.id = 7;
            another.certificate = Certificate::parse(certificate("c")).unwrap();
            policy.identities.push(another);
        },
        Err(BrokenTerm::Identities),
    );
    check(|policy| policy.debug = true, Err(BrokenTerm::Debug));
    check(
        |policy| policy.execution_strategy = ExecutionStrategy::Interpretation,
        Err(BrokenTerm::ExecutionStrategy),
    );
    check(|policy| policy.enable_clock = true, Err(BrokenTerm::Clock));
    check(|policy| policy.std_streams_table.clear(), Err(BrokenTerm::StandardStreams));
    check(
        |policy| {
            policy.std_streams_table[1] = StreamEntry::Stdout(policy.identities[0].file_rights[0].clone())
        },
        Err(BrokenTerm::StandardStreams),
    );
}
