//! Policies that are not what they should be: each is refused by a sentence that names the field, and nothing comes of it.

use serde_json::{Value, json};

use super::*;

/// One way to spoil a document, and what the refusal must name.
type Spoiled = (&'static str, fn(&mut Value), &'static str);

fn remove(value: &mut Value, key: &str) {
    value.as_object_mut().unwrap().remove(key);
}

const PROGRAM_POLICIES: &[Spoiled] = &[
    ("no object", |policy| *policy = json!([]), "an object is expected"),
    ("no name", |policy| remove(policy, "function"), "function"),
    ("an empty name", |policy| policy["function"] = json!(""), "function"),
    ("a name with a line end", |policy| policy["function"] = json!("a\nb"), "function"),
    ("a name that is no text", |policy| policy["function"] = json!(7), "function"),
    ("no strategy", |policy| remove(policy, "execution_strategy"), "execution_strategy"),
    ("an unknown strategy", |policy| policy["execution_strategy"] = json!("jit"), "execution_strategy"),
    ("no programs", |policy| remove(policy, "programs"), "programs"),
    ("an empty list of programs", |policy| policy["programs"] = json!([]), "programs"),
    ("an unknown key", |policy| policy["progams"] = json!([]), "progams"),
    ("an unknown key within", |policy| policy["programs"][0]["hash"] = json!(""), "programs[0]"),
    ("no hash", |policy| remove(&mut policy["programs"][0], "pi_hash"), "pi_hash"),
    (
        "a hash that is too short",
        |policy| policy["programs"][0]["pi_hash"] = json!("00"),
        "programs[0].pi_hash",
    ),
    (
        "a number for a name",
        |policy| policy["programs"][0]["program_file_name"] = json!(1),
        "program_file_name",
    ),
    (
        "a path that leads out",
        |policy| policy["programs"][0]["program_file_name"] = json!("../a"),
        "program_file_name",
    ),
    (
        "rights without a name",
        |policy| remove(&mut policy["programs"][0]["file_rights"][0], "file_name"),
        "file_name",
    ),
    (
        "unknown rights",
        |policy| policy["programs"][0]["file_rights"][0]["rights"] = json!(1_u64 << 40),
        "rights",
    ),
    ("negative rights", |policy| policy["programs"][0]["file_rights"][0]["rights"] = json!(-1), "rights"),
    (
        "a program twice",
        |policy| {
            let program = policy["programs"][0].clone();
            policy["programs"].as_array_mut().unwrap().push(program);
        },
        "programs[1]",
    ),
    ("a data file without a hash", |policy| policy["data_files"] = json!([{ "data_file": "a" }]), "pi_hash"),
    ("no memory", |policy| policy["max_memory_mib"] = json!(0), "max_memory_mib"),
    ("too much memory", |policy| policy["max_memory_mib"] = json!(1 << 20), "max_memory_mib"),
];

const USER_POLICIES: &[Spoiled] = &[
    ("no function", |policy| remove(policy, "function"), "function"),
    ("no name", |policy| remove(policy, "instanceid"), "instanceid"),
    ("nobody", |policy| policy["identities"] = json!([]), "identities"),
    ("an unknown key", |policy| policy["role"] = json!("admin"), "role"),
    (
        "no certificate",
        |policy| policy["identities"][0]["certificate"] = json!("XXX"),
        "identities[0].certificate",
    ),
    ("an id of one's own", |policy| policy["identities"][0]["id"] = json!(0), "identities[0]"),
    (
        "the same certificate twice",
        |policy| {
            let identity = policy["identities"][0].clone();
            policy["identities"].as_array_mut().unwrap().push(identity);
        },
        "identities[1].certificate",
    ),
    (
        "a file that the function does not have",
        |policy| {
            policy["identities"][0]["file_rights"][0]["file_name"] = json!("/etc/passwd");
        },
        "identities[0].file_rights[0]",
    ),
];

const VAAS_POLICIES: &[Spoiled] = &[
    ("no suite", |policy| remove(policy, "ciphersuite"), "ciphersuite"),
    ("an unknown suite", |policy| policy["ciphersuite"] = json!("TLS_NULL_WITH_NULL_NULL"), "ciphersuite"),
    ("no debug", |policy| remove(policy, "debug"), "debug"),
    ("debug as a text", |policy| policy["debug"] = json!("false"), "debug"),
    ("no clock", |policy| remove(policy, "enable_clock"), "enable_clock"),
    ("a duplicate number", |policy| policy["identities"][1]["id"] = json!(0), "identities[1].id"),
    ("no number", |policy| remove(&mut policy["identities"][0], "id"), "id"),
    ("a number that is none", |policy| policy["identities"][0]["id"] = json!("0"), "identities[0].id"),
    ("no program", |policy| policy["programs"] = json!([]), "programs"),
    (
        "two hashes of one file",
        |policy| {
            policy["file_hashes"] =
                json!([{ "file_path": "linear-regression.wasm", "hash": "0".repeat(64) }]);
        },
        "pi_hash",
    ),
    (
        "an impossible minute",
        |policy| {
            policy["enclave_cert_expiry"] =
                json!({ "day": 1, "hour": 1, "minute": 99, "month": 1, "year": 2030 });
        },
        "enclave_cert_expiry",
    ),
    (
        "an end that is over",
        |policy| {
            policy["enclave_cert_expiry"] =
                json!({ "day": 1, "hour": 1, "minute": 1, "month": 1, "year": 2020 });
        },
        "enclave_cert_expiry",
    ),
    ("an unknown key", |policy| policy["veracruz_server_url"] = json!("a:1"), "veracruz_server_url"),
];

async fn check(service: &Service, path: &str, document: &Value, (what, spoil, named): &Spoiled) {
    let mut spoiled = document.clone();
    spoil(&mut spoiled);
    let reply = service.post(path, &spoiled).await;
    assert_eq!(reply.status, 400, "{what}: {}", reply.text);
    assert!(reply.text.starts_with("<p>Json object is not correct "), "{what}: {}", reply.text);
    assert!(reply.text.contains(named), "{what}: {}", reply.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_policies_are_refused_without_side_effects() {
    let house = House::open();
    for spoiled in PROGRAM_POLICIES {
        check(&house.ccfaas, "/function", &seed_function("f"), spoiled).await;
    }
    for spoiled in VAAS_POLICIES {
        check(&house.vaas, "/veracruz", &seed_vaas(), spoiled).await;
    }
    house.check_empty().await;
    house.register("f").await;
    for spoiled in USER_POLICIES {
        check(&house.ccfaas, "/instance", &seed_instance("f", "i"), spoiled).await;
    }
    assert_eq!(house.ccfaas.get("/instance").await.json(), json!({ "instances": [] }));
    assert!(house.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_json_or_far_too_long_is_refused() {
    let house = House::open();
    for (service, path) in
        [(&house.ccfaas, "/function"), (&house.ccfaas, "/instance"), (&house.vaas, "/veracruz")]
    {
        for body in ["", "{", "{}{}", "\u{feff}{}", "{\"function\": \"f\" \"a\"}"] {
            let reply = service.upload(path, "application/json; charset=utf-8", body).await.demand(400);
            assert!(reply.text.contains("<title>400 Bad Request</title>"), "{body}: {}", reply.text);
        }
        let nested = "[".repeat(100_000);
        service.upload(path, "application/json", nested).await.demand(400);
        let long = format!("{{\"function\": \"{}\"}}", "x".repeat(2 << 20));
        service.upload(path, "application/json", long).await.demand(413);
    }
    house.check_empty().await;
    assert!(house.node.stop().success());
}
