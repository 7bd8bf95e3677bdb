use std::time::Duration;

use cm_types::{Sha256Digest, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{GuestPath, Principal, Rights, RightsTable};

mod forms;

fn certificate(name: &str) -> String {
    let now = Timestamp::from_micros(1_790_000_000_000_000);
    let issued = cm_crypto::cert::generate_identity(name, now, Duration::from_secs(86_400)).unwrap();
    issued.certificate_pem()
}

fn program_json() -> Value {
    json!({
        "function": "linear-regression",
        "execution_strategy": "Interpretation",
        "programs": [{
            "id": 0,
            "pi_hash": "3fc011587de8a340c0ee36d733c3e52a42babc5fe6b12a074d94204495fd5877",
            "program_file_name": "linear-regression.wasm",
            "file_rights": [
                {"file_name": "input-0", "rights": 8198},
                {"file_name": "output", "rights": 533572}
            ]
        }]
    })
}

fn user_json(certificate: &str) -> Value {
    json!({
        "function": "linear-regression",
        "instanceid": "idtest",
        "identities": [{
            "certificate": certificate,
            "file_rights": [
                {"file_name": "input-0", "rights": 533572},
                {"file_name": "output", "rights": 8198}
            ]
        }]
    })
}

fn infrastructure() -> Infrastructure {
    Infrastructure {
        server_url: "127.0.0.1:3014".into(),
        measurement: Sha256Digest::from_bytes([1; 32]),
        node_certificate: Certificate::parse(certificate("node")).unwrap(),
        attestation_url: "127.0.0.1:4000".into(),
        expiry: Timestamp::from_micros(1_795_228_825_123_456),
        enable_clock: false,
        max_memory_mib: 64,
    }
}

fn parse_program(json: &Value) -> Result<ProgramPolicy, PolicyError> {
    ProgramPolicy::parse(json.to_string().as_bytes())
}

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).unwrap()
}

/// Sets the value at a JSON pointer (adding a key if it is new) and expects a mistake at `expected`.
fn check(mut document: Value, at: &str, value: Value, expected: &str) {
    let (parent, key) = at.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(map) => drop(map.insert(key.to_owned(), value)),
        Value::Array(values) => values.push(value),
        other => panic!("{other}"),
    }
    let error = parse_program(&document).expect_err(at);
    assert_eq!(error.path(), expected, "{at}: {error:?}");
}

#[test]
fn the_published_program_policy_is_read_and_its_mistakes_are_located() {
    let policy = parse_program(&program_json()).unwrap();
    assert_eq!(policy.execution_strategy, ExecutionStrategy::Interpretation);
    assert_eq!(policy.programs[0].file_rights[1].rights, Rights::WRITER);

    let p = program_json;
    check(p(), "/colour", json!(1), "colour");
    check(p(), "/programs/0/rights", json!(1), "programs[0].rights");
    check(p(), "/programs/0/file_rights/0/right", json!(1), "programs[0].file_rights[0].right");
    check(p(), "/programs/0/file_rights/0/rights", json!(1 << 30), "programs[0].file_rights[0].rights");
    check(p(), "/programs/0/file_rights/0/rights", json!(-1), "programs[0].file_rights[0].rights");
    check(p(), "/programs/0/file_rights/0/file_name", json!("../x"), "programs[0].file_rights[0].file_name");
    check(
        p(),
        "/programs/0/file_rights/1/file_name",
        json!("/input-0"),
        "programs[0].file_rights[1].file_name",
    );
    check(p(), "/programs/0/pi_hash", json!("3f"), "programs[0].pi_hash");
    check(p(), "/programs/0/pi_hash", Value::Null, "programs[0].pi_hash");
    check(p(), "/programs/0/program_file_name", json!("p/"), "programs[0].program_file_name");
    check(p(), "/execution_strategy", json!("Guess"), "execution_strategy");
    check(p(), "/programs", json!([]), "programs");
    check(p(), "/function", json!(""), "function");
    check(p(), "/max_memory_mib", json!(0), "max_memory_mib");
    check(p(), "/max_memory_mib", json!(4097), "max_memory_mib");
    check(p(), "/programs/+", p()["programs"][0].clone(), "programs[1].id");
    let data = json!([{"data_file": "linear-regression.wasm", "pi_hash": "0".repeat(64)}]);
    check(p(), "/data_files", data, "data_files[0].data_file");
    assert!(ProgramPolicy::parse(b"{").is_err());
    let behind = format!("{} x", program_json());
    assert!(ProgramPolicy::parse(behind.as_bytes()).is_err());
    assert!(matches!(
        ProgramPolicy::parse(&vec![b' '; POLICY_LEN_MAX + 1]),
        Err(PolicyError::TooLarge { .. })
    ));
}

#[test]
fn the_later_form_of_a_program_policy_is_read_too() {
    let mut document = program_json();
    document["max_memory_mib"] = json!(256);
    document["debug"] = json!(false);
    document["enable_clock"] = json!(true);
    document["file_rights"] = json!([{"file_name": "/program/", "rights": 534_084}]);
    document["data_files"] = json!([{"data_file": "/m", "pi_hash": "0".repeat(64), "priority": 1}]);
    let policy = parse_program(&document).unwrap();
    assert_eq!((policy.max_memory_mib, policy.enable_clock), (Some(256), Some(true)));
}

#[test]
fn certificates_are_compared_by_their_bytes_and_not_twice() {
    let pem = certificate("alice");
    let flat: String = pem.lines().collect();
    let one = Certificate::parse(pem.clone()).unwrap();
    assert_eq!(one, Certificate::parse(flat.clone()).unwrap());
    assert_ne!(one, Certificate::parse(certificate("alice")).unwrap());
    for bad in ["", "-----BEGIN CERTIFICATE-----\nXXXX\n-----END CERTIFICATE-----", "x"] {
        assert!(Certificate::parse(bad).is_err());
    }
    let mut document = user_json(&pem);
    let mut twice = document["identities"][0].clone();
    twice["certificate"] = json!(flat);
    document["identities"].as_array_mut().unwrap().push(twice);
    let error = UserPolicy::parse(document.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.path(), "identities[1].certificate");
}

#[test]
fn a_function_and_a_request_make_a_policy_whose_text_reads_back() {
    let pem = certificate("alice");
    let program = parse_program(&program_json()).unwrap();
    let user = UserPolicy::parse(user_json(&pem).to_string().as_bytes()).unwrap();
    let full = merge(&program, &user, &infrastructure()).unwrap();
    let text = full.to_text();
    assert_eq!(text.parse().unwrap(), full);
    assert_eq!(text.parse().unwrap().to_text(), text);
    assert!(
        text.as_str()
            .starts_with("{\n    \"ciphersuite\": \"TLS1_3_CHACHA20_POLY1305_SHA256\",\n    \"debug\"")
    );
    assert_eq!(text.hash(), cm_crypto::digest::sha256(text.as_str().as_bytes()));
    assert_eq!(full.memory_bytes(), 64 << 20);
    assert_eq!(full.expected_hash(&path("linear-regression.wasm")), program.programs[0].pi_hash);
    assert_eq!(full.expected_hash(&path("input-0")), None);
    assert_eq!(full.identity_of(full.identities[0].certificate.der()), Some(0));
    assert_eq!(full.identity_of(b"x"), None);
    let value: Value = serde_json::from_str(text.as_str()).unwrap();
    assert_eq!(value["std_streams_table"][0]["Stdin"]["file_name"], "stdin");
    assert_eq!(
        value["enclave_cert_expiry"],
        json!({"day": 21, "hour": 2, "minute": 40, "month": 11, "year": 2026})
    );

    let table = RightsTable::from_policy(&full);
    let runs = Principal::Program(path("linear-regression.wasm"));
    assert_eq!(table.rights(&Principal::Identity(0), &path("output")), Rights::READER);
    assert_eq!(table.rights(&runs, &path("output")), Rights::WRITER);
    assert_eq!(table.rights(&runs, &path("stdout")), Rights::WRITER);
    assert_eq!(table.rights(&Principal::Identity(0), &path("stdout")), Rights::NONE);
    assert!(table.may_execute(0, &path("linear-regression.wasm")));
}

#[test]
fn a_request_must_fit_the_function() {
    let program = parse_program(&program_json()).unwrap();
    let mut document = user_json(&certificate("alice"));
    document["function"] = json!("another");
    let user = UserPolicy::parse(document.to_string().as_bytes()).unwrap();
    assert_eq!(merge(&program, &user, &infrastructure()).unwrap_err().path(), "function");
    document["function"] = json!("linear-regression");
    document["identities"][0]["file_rights"][1]["file_name"] = json!("secret");
    let user = UserPolicy::parse(document.to_string().as_bytes()).unwrap();
    let error = merge(&program, &user, &infrastructure()).unwrap_err();
    assert_eq!(error.path(), "identities[0].file_rights[1].file_name");
}

fn vaas_json() -> Value {
    json!({
        "ciphersuite": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "debug": false,
        "enable_clock": true,
        "execution_strategy": "JIT",
        "identities": [{"certificate": certificate("bob"), "id": 3, "file_rights": []}],
        "programs": program_json()["programs"],
    })
}

#[test]
fn both_forms_of_the_vaas_policy_are_completed() {
    let seed = VaasPolicy::parse(vaas_json().to_string().as_bytes()).unwrap();
    let full = seed.complete(&infrastructure()).unwrap();
    assert_eq!((full.identities[0].id, full.execution_strategy), (3, ExecutionStrategy::Jit));
    assert!(full.enable_clock);

    let mut later = vaas_json();
    let hash = later["programs"][0]["pi_hash"].clone();
    later["programs"][0].as_object_mut().unwrap().remove("pi_hash");
    let error = VaasPolicy::parse(later.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.path(), "programs[0].pi_hash");
    later["file_hashes"] = json!([{"file_path": "/linear-regression.wasm", "hash": hash}]);
    later["max_memory_mib"] = json!(128);
    later["instance_id"] = json!("CCFaaS");
    let later = VaasPolicy::parse(later.to_string().as_bytes()).unwrap().complete(&infrastructure()).unwrap();
    let program = path("linear-regression.wasm");
    assert_eq!(later.expected_hash(&program), full.expected_hash(&program));

    let mut native = vaas_json();
    native["native_modules"] = json!([{"name": "x"}]);
    let error = VaasPolicy::parse(native.to_string().as_bytes()).unwrap_err();
    assert!(matches!(error, PolicyError::Field { problem: FieldProblem::Unsupported(_), .. }));
}

fn piped_json() -> Value {
    let mut piped = vaas_json();
    let text = "linear-regression.wasm;if output {/linear-regression.wasm}";
    let right = json!({"file_name": "/output", "rights": 8192});
    piped["pipelines"] = json!([{"name": "twice", "id": 7, "pipeline": text, "file_rights": [right]}]);
    piped
}

#[test]
fn pipelines_are_kept_as_written_and_found_by_name_and_number() {
    let full = VaasPolicy::parse(piped_json().to_string().as_bytes()).unwrap();
    let full = full.complete(&infrastructure()).unwrap();
    let text = full.to_text();
    assert!(text.as_str().contains("linear-regression.wasm;if output {/linear-regression.wasm}"));
    assert_eq!(text.parse().unwrap(), full);
    for asked in ["twice", "/twice", "7", "/7"] {
        assert_eq!(full.pipeline(asked).unwrap().id, 7, "{asked}");
    }
    for asked in ["", "/", "//7", "07", "8", "twice "] {
        assert!(full.pipeline(asked).is_none(), "{asked}");
    }

    let table = RightsTable::from_policy(&full);
    assert!(table.may_ask("twice", &path("output")));
    assert!(!table.may_ask("twice", &path("input-0")) && !table.may_ask("other", &path("output")));
}

#[test]
fn a_pipeline_lends_nobody_a_right() {
    let run = |identity: Value, pipeline: Value| {
        let mut policy = piped_json();
        policy["identities"][0]["file_rights"] = identity;
        policy["pipelines"][0]["file_rights"] = pipeline;
        let policy = VaasPolicy::parse(policy.to_string().as_bytes()).unwrap();
        let full = policy.complete(&infrastructure()).unwrap();
        RightsTable::from_policy(&full).may_run(3, full.pipeline("twice").unwrap())
    };
    let execute = || json!([{"file_name": "linear-regression.wasm", "rights": 1 << 29}]);
    assert!(run(execute(), execute()));
    assert!(!run(execute(), json!([])));
    assert!(!run(json!([]), execute()));
    // Under the first published policies, whoever may read what a program writes may execute it.
    assert!(run(json!([{"file_name": "output", "rights": 8198}]), json!([])));
    assert!(!run(json!([]), json!([])));
}

#[test]
fn mistakes_in_pipelines_are_located() {
    let refused = |at: &str, value: Value, expected: &str| {
        let mut policy = piped_json();
        *policy.pointer_mut(at).unwrap() = value;
        let error = VaasPolicy::parse(policy.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.path(), expected, "{error:?}");
    };
    refused("/pipelines/0/pipeline", json!("a b"), "pipelines[0].pipeline");
    refused("/pipelines/0/pipeline", json!("unknown.wasm"), "pipelines[0].pipeline");
    refused("/pipelines/0/name", json!(""), "pipelines[0].name");
    refused("/pipelines/0/id", json!(-1), "pipelines[0].id");
    let mut twice = piped_json()["pipelines"].clone();
    let mut second = twice[0].clone();
    second["id"] = json!(8);
    twice.as_array_mut().unwrap().push(second);
    refused("/pipelines", twice.clone(), "pipelines[1].name");
    twice[1]["name"] = json!("other");
    twice[1]["id"] = json!(7);
    refused("/pipelines", twice, "pipelines[1].id");
}

#[test]
fn impossible_dates_are_refused() {
    let read = |json: Value| serde_json::from_value::<Expiry>(json);
    assert!(read(json!({"day": 23, "hour": 23, "minute": 44, "month": 12, "year": 2021})).is_ok());
    assert!(read(json!({"day": 31, "hour": 23, "minute": 44, "month": 2, "year": 2021})).is_err());
    assert!(read(json!({"day": 1, "hour": 23, "minute": 99, "month": 2, "year": 2021})).is_err());
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = FullPolicy::parse(&text);
        let _ = ProgramPolicy::parse(&text);
        let _ = Certificate::parse(String::from_utf8_lossy(&text).into_owned());
    }
}

#[test]
fn a_policy_is_over_when_its_minute_begins() {
    let mut full = merge(
        &parse_program(&program_json()).unwrap(),
        &UserPolicy::parse(user_json(&certificate("user")).to_string().as_bytes()).unwrap(),
        &infrastructure(),
    )
    .unwrap();
    let soon = Timestamp::from_micros(1_790_000_000_000_000).after(Duration::from_secs(3600));
    full.enclave_cert_expiry = Expiry::from_timestamp(soon);
    let end = full.enclave_cert_expiry.to_timestamp();
    let before = Timestamp::from_micros(end.as_micros() - 1);
    assert!(full.demand_unexpired(before).is_ok());
    let error = full.demand_unexpired(end).unwrap_err();
    assert_eq!(error.to_string(), "at `enclave_cert_expiry`: is in the past");
}

#[test]
fn a_certificate_that_is_over_is_named() {
    let user = |name: &str| UserPolicy::parse(user_json(&certificate(name)).to_string().as_bytes()).unwrap();
    let mut users = user("one");
    users.identities.extend(user("two").identities);
    let mut full = merge(&parse_program(&program_json()).unwrap(), &users, &infrastructure()).unwrap();
    let now = full.enclave_cert_expiry.to_timestamp();
    let hour = Duration::from_secs(3600);
    full.enclave_cert_expiry = Expiry::from_timestamp(now.after(hour * 24));
    let long = |name: &str, until: Duration| {
        let made = cm_crypto::cert::generate_identity(name, now, until).unwrap();
        Certificate::parse(made.certificate_pem()).unwrap()
    };
    full.proxy_service_cert = long("node", hour * 3);
    full.identities[0].certificate = long("one", hour * 2);
    full.identities[1].certificate = long("two", hour);
    let path = |at: Timestamp| full.demand_unexpired(at).map_err(|error| error.path().to_owned());
    assert_eq!(path(now), Ok(()));
    let after = |hours: u32| now.after(hour * hours + hour / 2);
    assert_eq!(path(after(1)), Err("identities[1].certificate".to_owned()));
    assert_eq!(path(after(2)), Err("identities[0].certificate".to_owned()));
}
