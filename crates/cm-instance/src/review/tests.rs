use std::time::Duration;

use serde_json::{Value, json};

use super::*;

const READ: u32 = 8198;
const WRITE: u32 = 533_572;
const DAY: Duration = Duration::from_secs(24 * 3600);

fn now() -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000)
}

fn certificate(name: &str, from: Timestamp, days: u32) -> String {
    cm_crypto::cert::generate_identity(name, from, DAY * days).unwrap().certificate_pem()
}

/// The published example: one provides a program, one an input, one reads the output.
fn vaas() -> Value {
    let right = |name: &str, rights: u32| json!({"file_name": name, "rights": rights});
    let identity = |id: u64, rights: Value| {
        let name = format!("party {id}");
        json!({"certificate": certificate(&name, now(), 365), "id": id, "file_rights": [rights]})
    };
    json!({
        "ciphersuite": "TLS1_3_CHACHA20_POLY1305_SHA256",
        "debug": false, "enable_clock": false, "execution_strategy": "JIT", "max_memory_mib": 64,
        "identities": [
            identity(0, right("p.wasm", WRITE)), identity(1, right("input-0", WRITE)), identity(2, right("output", READ)),
        ],
        "programs": [{
            "id": 0, "pi_hash": "0".repeat(64), "program_file_name": "p.wasm",
            "file_rights": [right("input-0", READ), right("output", WRITE)],
        }],
    })
}

fn reviewed(document: &Value) -> Review {
    review(&PolicyDocument::parse(document.to_string().as_bytes()).unwrap(), now())
}

/// The codes of what is suspicious, or worth knowing, once a value at a JSON pointer is another.
fn codes(at: &str, value: Value, weight: Weight) -> Vec<&'static str> {
    let mut document = vaas();
    let (parent, key) = at.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(map) => drop(map.insert(key.to_owned(), value)),
        Value::Array(values) => match key.parse::<usize>() {
            Ok(index) => values[index] = value,
            Err(_) => values.push(value),
        },
        other => panic!("{other}"),
    }
    let findings = reviewed(&document).findings;
    findings.iter().filter(|found| found.weight == weight).map(|found| found.suspicion.code()).collect()
}

#[track_caller]
fn warns(at: &str, value: Value, expected: &[&str]) {
    assert_eq!(codes(at, value, Weight::Warning), expected, "{at}");
}

#[test]
fn the_published_example_is_not_suspicious() {
    let review = reviewed(&vaas());
    assert!(!review.is_suspicious(), "{:?}", review.findings);
    let notes: Vec<_> = review.findings.iter().map(|found| found.suspicion.code()).collect();
    assert_eq!(notes, ["write-without-hash"]);
    assert_eq!(review.abilities.len(), 5);
    assert!(review.abilities[0].who.starts_with("identity 0 (") && review.abilities[0].file == "p.wasm");
}

#[test]
fn each_suspicion_is_found() {
    let right = |name: &str, rights: u32| json!({"file_name": name, "rights": rights});
    warns("/debug", json!(true), &["debug"]);
    warns("/identities/1/file_rights/+", right("output", READ), &[]);
    warns("/identities/0/file_rights/+", right("input-0", READ), &["input-readable"]);
    warns("/identities/0/file_rights/+", right("elsewhere", READ), &["unreached"]);
    warns("/identities/0/file_rights/+", right("output", 0), &["grants-nothing"]);
    warns("/identities/0/file_rights/+", right("output", 8192), &["no-use"]);
    warns("/identities/0/file_rights/+", right("input-0", 64), &["write-without-seek"]);
    warns("/identities/1/file_rights", json!([]), &["nobody-provides"]);
    warns("/identities/2/file_rights", json!([]), &["nobody-receives", "nobody-executes"]);
    warns("/programs/0/file_rights/0", right("input-0", 2), &["never-opened"]);
    warns("/programs/0/file_rights/+", right("p.wasm", WRITE), &["writes-program"]);
    warns("/programs/0/file_rights/+", right("stdout", 64), &[]);
    let expired = certificate("z", Timestamp::from_micros(1_700_000_000_000_000), 1);
    warns("/identities/0/certificate", json!(expired), &["expired"]);
    let later = certificate("z", now().after(DAY * 2), 365);
    warns("/identities/0/certificate", json!(later), &["not-yet-valid"]);
    warns("/identities/0/certificate", json!(certificate("party 1", now(), 365)), &["same-subject"]);
    let ended = json!({"day": 1, "hour": 1, "minute": 1, "month": 1, "year": 2020});
    warns("/enclave_cert_expiry", ended, &["expired"]);

    let mut everybody = vaas();
    for identity in everybody["identities"].as_array_mut().unwrap() {
        identity["file_rights"].as_array_mut().unwrap().push(right("/", READ));
    }
    let findings = reviewed(&everybody).findings;
    let has = |code: &str| findings.iter().any(|found| found.suspicion.code() == code);
    assert!(has("everybody-receives") && has("every-file"));
}

#[test]
fn what_is_usual_is_a_note() {
    let note = |at, value| codes(at, value, Weight::Note);
    let soon = certificate("z", now(), 10);
    assert_eq!(note("/identities/2/certificate", json!(soon)), ["expires-soon", "write-without-hash"]);
    assert!(note("/enable_clock", json!(true)).contains(&"clock"));
    assert!(note("/max_memory_mib", Value::Null).contains(&"no-memory-limit"));
    let name = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    assert!(note("/ciphersuite", json!(name)).contains(&"old-ciphersuite"));
    let writer = json!({"file_name": "input-0", "rights": WRITE});
    assert!(note("/identities/0/file_rights/+", writer).contains(&"several-writers"));
    let late = json!({"day": 1, "hour": 1, "minute": 1, "month": 1, "year": 2030});
    assert!(note("/enclave_cert_expiry", late).contains(&"expires-before-instance"));
}

#[test]
fn pipelines_that_cannot_run_are_found() {
    let pipeline = |text: &str, rights: Value| json!([{"name": "work", "id": 0, "pipeline": text, "file_rights": rights}]);
    let tells = json!([{"file_name": "/flag", "rights": READ}]);
    warns("/pipelines", pipeline("p.wasm ; if /flag { p.wasm }", tells), &[]);
    warns("/pipelines", pipeline("p.wasm ; if /flag { p.wasm }", json!([])), &["cannot-ask"]);
    let execute = json!([{"file_name": "/p.wasm", "rights": 1 << 29}]);
    warns("/pipelines", pipeline("p.wasm", execute), &["nobody-executes"]);
    let executes = json!({"file_name": "p.wasm", "rights": 536_879_108});
    let mut document = vaas();
    document["identities"][2]["file_rights"].as_array_mut().unwrap().push(executes);
    document["pipelines"] = pipeline("p.wasm", json!([]));
    let findings = reviewed(&document).findings;
    assert_eq!(findings[0].suspicion.code(), "cannot-execute");
}

#[test]
fn parts_of_a_policy_are_not_blamed_for_what_stands_in_the_other() {
    let whole = vaas();
    let program = json!({"function": "f", "execution_strategy": "JIT", "programs": whole["programs"]});
    assert!(!reviewed(&program).is_suspicious());
    let mut identities = whole["identities"].clone();
    for identity in identities.as_array_mut().unwrap() {
        identity.as_object_mut().unwrap().remove("id");
    }
    let user = json!({"function": "f", "instanceid": "i", "identities": identities});
    assert_eq!(reviewed(&user).findings, []);
}
