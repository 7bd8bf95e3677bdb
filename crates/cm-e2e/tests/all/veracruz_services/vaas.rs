//! VaaS, row by row.

use cm_crypto::digest::sha256;
use cm_e2e::NodeOptions;
use serde_json::{Value, json};

use super::*;

/// What a new instance is known by.
struct Made {
    address: String,
    hash: String,
    policy: String,
}

async fn make(house: &House, policy: &Value) -> Made {
    let made = house.vaas.post("/veracruz", policy).await.demand(200).json();
    assert_eq!(made.get("instance_id"), policy.get("instance_id"));
    let text = made["policy"].as_str().unwrap().to_owned();
    let full: Value = serde_json::from_str(&text).unwrap();
    let hash = made["instance_hash"].as_str().unwrap().to_owned();
    assert_eq!(hash, sha256(text.as_bytes()).to_string()[..59]);
    Made { address: full["veracruz_server_url"].as_str().unwrap().to_owned(), hash, policy: text }
}

fn labelled(label: &str) -> Value {
    let mut policy = seed_vaas();
    policy["instance_id"] = json!(label);
    policy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_are_made_of_policies_listed_and_deleted_by_what_they_are_known_by() {
    let house = House::open();
    let vaas = &house.vaas;
    vaas.upload("/veracruz", "text/plain", "{}").await.says(400, "input should a json object!");
    assert_eq!(vaas.get("/veracruz").await.demand(200).json(), json!({ "veracruz": [] }));

    let bare = make(&house, &seed_vaas()).await;
    let mine = make(&house, &labelled("mine")).await;
    assert_ne!(bare.address, mine.address);
    let fields = json!({ "instance_id": "mine", "instance_hash": mine.hash, "status": "OK" });
    let listed = vaas.get("/veracruz/").await.json();
    let bare_fields = json!({ "instance_hash": bare.hash, "status": "OK" });
    assert_eq!(listed, json!({ "veracruz": [{ &bare.address: bare_fields }, { &mine.address: fields }] }));
    for query in ["instance_id=mine".to_owned(), format!("instance_hash={}", mine.hash)] {
        let listed = vaas.get(&format!("/veracruz?{query}")).await.json();
        assert_eq!(listed, json!({ "veracruz": [{ &mine.address: fields }] }), "{query}");
    }
    let none = vaas.get(&format!("/veracruz?instance_id=mine&instance_hash={}", bare.hash)).await;
    assert_eq!(none.json(), json!({ "veracruz": [] }));

    let path = format!("/veracruz/{}", mine.address);
    assert_eq!(vaas.get(&path).await.demand(200).json(), fields);
    assert_eq!(vaas.get(&format!("{path}/?instance_id=mine")).await.demand(200).json(), fields);
    let absent = format!("Veracruz instance '{}' does not exist!", mine.address);
    vaas.get(&format!("{path}?instance_id=other")).await.says(404, &absent);
    vaas.get(&format!("{path}?instance_hash={}", bare.hash)).await.says(404, &absent);
    vaas.get("/veracruz/nonsense").await.says(400, "name should be on the form &lt;host&gt;:&lt;port&gt;");
    vaas.get("/veracruz/127.0.0.1:1").await.says(404, "Veracruz instance '127.0.0.1:1' does not exist!");

    // Nobody deletes an instance by chance.
    let hash = &mine.hash;
    for query in [
        String::new(),
        format!("?instance_hash={hash}"),
        "?instance_id=mine".to_owned(),
        format!("?instance_id=other&instance_hash={hash}"),
        format!("?instance_id=mine&instance_hash={}", bare.hash),
        format!("?instance_id=mine&instance_hash={}", &hash[..58]),
    ] {
        vaas.delete(&format!("{path}{query}")).await.says(404, &absent);
    }
    let removed = format!("Veracruz instance '{}' was removed", mine.address);
    let whole = sha256(mine.policy.as_bytes());
    vaas.delete(&format!("{path}?instance_id=mine&instance_hash={whole}")).await.says(200, &removed);
    vaas.delete(&format!("{path}?instance_id=mine&instance_hash={whole}")).await.says(404, &absent);
    let path = format!("/veracruz/{}?instance_hash={}", bare.address, bare.hash);
    vaas.delete(&path).await.demand(200);
    house.check_empty().await;
    assert!(house.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_policy_is_python_s_text_of_what_was_asked_for() {
    let house = House::open();
    let mut asked = labelled("text");
    asked["programs"][0]["file_rights"] = json!(rights(&[("größe😀", READ), ("output", WRITE)]));
    // An end that the node would set, but sooner: a later one would be brought forward.
    let usual: Value = serde_json::from_str(&make(&house, &seed_vaas()).await.policy).unwrap();
    asked["enclave_cert_expiry"] = usual["enclave_cert_expiry"].clone();
    asked["enclave_cert_expiry"]["hour"] = json!(0);
    asked["enclave_cert_expiry"]["minute"] = json!(0);
    let made = make(&house, &asked).await;
    assert!(made.policy.contains("gr\\u00f6\\u00dfe\\ud83d\\ude00"), "{}", made.policy);
    assert!(made.policy.starts_with("{\n    \"ciphersuite\": \"TLS_ECDHE_"), "{}", made.policy);
    let full: Value = serde_json::from_str(&made.policy).unwrap();
    for (field, value) in asked.as_object().unwrap().iter().filter(|(field, _)| *field != "instance_id") {
        assert_eq!(&full[field], value, "{field}");
    }
    assert!(full.get("instance_id").is_none(), "the label is no part of the policy");
    assert_eq!(full["runtime_manager_hash_sgx"], "");
    assert!(house.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_of_the_later_era_are_accepted_too() {
    let house = House::open();
    let mut later = labelled("later");
    let program = later["programs"][0].as_object_mut().unwrap();
    let hash = program.remove("pi_hash").unwrap();
    later["file_hashes"] = json!([{ "file_path": "linear-regression.wasm", "hash": hash }]);
    later["max_memory_mib"] = json!(64);
    later["ciphersuite"] = json!("TLS1_3_CHACHA20_POLY1305_SHA256");
    let made = make(&house, &later).await;
    let full: Value = serde_json::from_str(&made.policy).unwrap();
    assert_eq!((&full["max_memory_mib"], &full["file_hashes"]), (&json!(64), &later["file_hashes"]));
    assert!(house.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_range_is_507_and_is_free_again_afterwards() {
    let (first, last) = cm_testkit::ports::free(2);
    let set = vec![format!("listen.instances=127.0.0.1:{first}-{last}")];
    let house = House::with(NodeOptions { open: true, set, ..NodeOptions::default() });
    let one = make(&house, &labelled("one")).await;
    let two = make(&house, &labelled("two")).await;
    let mut addresses = [one.address.clone(), two.address.clone()];
    addresses.sort();
    assert_eq!(addresses, [format!("127.0.0.1:{first}"), format!("127.0.0.1:{last}")]);
    let full = house.vaas.post("/veracruz", &labelled("three")).await;
    full.says(507, "no internal resources available!");
    let path = format!("/veracruz/{}?instance_id=one&instance_hash={}", one.address, one.hash);
    house.vaas.delete(&path).await.demand(200);
    let three = make(&house, &labelled("three")).await;
    assert_eq!(three.address, one.address);
    // The port is another's now: the old name deletes nothing.
    house.vaas.delete(&path).await.demand(404);
    assert!(house.node.stop().success());
}
