//! The forms of both eras, and what is none of them.

use super::*;

/// The full policy of the first published examples, with certificates that are some.
fn seed_full_json() -> Value {
    let identity =
        |id: u64, rights: Value| json!({ "certificate": certificate("x"), "file_rights": rights, "id": id });
    json!({
        "ciphersuite": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "debug": false,
        "enable_clock": true,
        "enclave_cert_expiry": { "day": 23, "hour": 23, "minute": 44, "month": 12, "year": 2021 },
        "execution_strategy": "Interpretation",
        "identities": [
            identity(0, json!([{ "file_name": "linear-regression.wasm", "rights": 533_572 }])),
            identity(1, json!([{ "file_name": "input-0", "rights": 533_572 }, { "file_name": "output", "rights": 8198 }])),
        ],
        "programs": program_json()["programs"],
        "proxy_attestation_server_url": "veracruz-nitro-proxy:3010",
        "proxy_service_cert": certificate("proxy"),
        "runtime_manager_hash_nitro": "89bad60af6e4bd934dc7705b7187b828631092c151b967c0b1638c5567234acd",
        "runtime_manager_hash_sgx": "",
        "runtime_manager_hash_tz": "",
        "std_streams_table": [
            { "Stdin": { "file_name": "stdin", "rights": 8198 } },
            { "Stdout": { "file_name": "stdout", "rights": 533_572 } },
            { "Stderr": { "file_name": "stderr", "rights": 533_572 } },
        ],
        "veracruz_server_url": "veracruz-nitro-server:3014"
    })
}

/// The same in the form of the later tree: absolute names, directories, streams by name, hashes beside.
fn later_full_json() -> Value {
    let hash = "3fc011587de8a340c0ee36d733c3e52a42babc5fe6b12a074d94204495fd5877";
    let rights = |entries: &[(&str, u32)]| {
        let right = |(name, rights): &(&str, u32)| json!({ "file_name": name, "rights": rights });
        entries.iter().map(right).collect::<Vec<_>>()
    };
    json!({
        "ciphersuite": "TLS1_3_CHACHA20_POLY1305_SHA256",
        "debug": false,
        "enable_clock": false,
        "enclave_cert_expiry": { "day": 1, "hour": 0, "minute": 0, "month": 1, "year": 2099 },
        "execution_strategy": "JIT",
        "file_hashes": [{ "file_path": "/program/linear-regression.wasm", "hash": hash }],
        "identities": [{
            "certificate": certificate("user"),
            "file_rights": rights(&[("/program/", 534_084), ("/input/", 534_084), ("/output/", 24_582), ("stdin", 534_084), ("stdout", 24_582),
                ("/program/linear-regression.wasm", 536_879_104)]),
            "id": 0
        }],
        "max_memory_mib": 256,
        "native_modules": [],
        "pipelines": [{ "file_rights": rights(&[("/program/", 536_879_108)]), "id": 0, "name": "once", "pipeline": "/program/linear-regression.wasm" }],
        "programs": [{
            "file_rights": rights(&[("/input/", 24_582), ("/output/", 550_470), ("stdin", 24_582), ("stdout", 534_084)]),
            "id": 0,
            "program_file_name": "/program/linear-regression.wasm"
        }],
        "proxy_attestation_server_url": "127.0.0.1:3010",
        "proxy_service_cert": certificate("proxy"),
        "runtime_manager_hash_linux": "0".repeat(64),
        "runtime_manager_hash_nitro": "",
        "runtime_manager_hash_sevsnp": "0".repeat(96),
        "veracruz_server_url": "127.0.0.1:3017"
    })
}

fn full(json: &Value) -> Result<FullPolicy, PolicyError> {
    FullPolicy::parse(json.to_string().as_bytes())
}

#[test]
fn the_full_policies_of_both_eras_are_read() {
    let seed = full(&seed_full_json()).unwrap();
    assert_eq!(seed.ciphersuite, Ciphersuite::EcdheEcdsaChacha20Poly1305);
    let nitro = "89bad60af6e4bd934dc7705b7187b828631092c151b967c0b1638c5567234acd".parse().unwrap();
    assert_eq!(seed.measurements().collect::<Vec<_>>(), [nitro]);
    assert_eq!(seed.streams(), seed.std_streams_table);

    let later = full(&later_full_json()).unwrap();
    // A measurement of another length names none that could be compared here.
    assert_eq!(later.measurements().collect::<Vec<_>>(), [Sha256Digest::from_bytes([0; 32])]);
    let named: Vec<u32> = later.streams().iter().map(StreamEntry::descriptor).collect();
    assert_eq!(named, [0, 1], "a stream that nobody is granted is none");
    let table = RightsTable::from_policy(&later);
    let program = path("/program/linear-regression.wasm");
    let runs = Principal::Program(program.clone());
    assert!(table.rights(&runs, &path("/input/deep/x")).contains(Rights::FD_READ));
    assert_eq!(table.rights(&runs, &path("/stderr")), Rights::NONE);
    assert!(table.may_execute(0, &program) && later.pipeline("/0").is_some());
    assert!(later.expected_hash(&program).is_some());
}

#[test]
fn what_the_node_completes_holds_the_fields_that_the_clients_of_each_era_demand() {
    let policy = VaasPolicy::parse(vaas_json().to_string().as_bytes()).unwrap();
    let text = policy.complete(&infrastructure()).unwrap().to_text();
    let written: Value = serde_json::from_str(text.as_str()).unwrap();
    let measurement = infrastructure().measurement.to_string();
    for field in ["runtime_manager_hash_nitro", "runtime_manager_hash_linux"] {
        assert_eq!(written[field], measurement.as_str());
    }
    for field in ["runtime_manager_hash_sgx", "runtime_manager_hash_tz"] {
        assert_eq!(written[field], "");
    }
    for field in ["file_hashes", "pipelines", "native_modules"] {
        assert_eq!(written[field], json!([]), "{field}");
    }
    assert_eq!(written["std_streams_table"].as_array().unwrap().len(), 3);
    assert!(written["max_memory_mib"].is_u64());

    let mut later = vaas_json();
    later["programs"][0]["file_rights"] = json!([{ "file_name": "stdout", "rights": 534_084 }]);
    let hash = later["programs"][0].as_object_mut().unwrap().remove("pi_hash").unwrap();
    later["file_hashes"] = json!([{ "file_path": "/linear-regression.wasm", "hash": hash }]);
    let later = VaasPolicy::parse(later.to_string().as_bytes()).unwrap().complete(&infrastructure()).unwrap();
    assert!(later.std_streams_table.is_empty(), "streams are granted by name, and no others");
    assert_eq!(later.streams().iter().map(StreamEntry::descriptor).collect::<Vec<_>>(), [1]);
    assert_eq!(json!(later.programs[0].pi_hash), hash, "the first era looks for the hash in the program");
}

/// Replaces what stands at a JSON pointer; a key that is new is added.
fn with(mut document: Value, at: &str, value: Value) -> Value {
    let (parent, key) = at.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(map) => drop(map.insert(key.to_owned(), value)),
        Value::Array(values) => values[key.parse::<usize>().unwrap()] = value,
        other => panic!("{other}"),
    }
    document
}

fn without(mut document: Value, key: &str) -> Value {
    document.as_object_mut().unwrap().remove(key).unwrap();
    document
}

#[test]
fn each_kind_of_malformed_policy_is_refused_at_its_field() {
    let check = |document: Value, expected: &str| {
        let error = VaasPolicy::parse(document.to_string().as_bytes()).expect_err(expected);
        assert_eq!(error.path(), expected, "{error:?}");
    };
    let v = vaas_json;
    let twice = |list: &str| {
        let one = v()[list][0].clone();
        with(v(), &format!("/{list}"), json!([one.clone(), one]))
    };
    check(without(v(), "ciphersuite"), ".");
    check(without(v(), "programs"), ".");
    check(with(v(), "/colour", json!(1)), "colour");
    check(with(v(), "/ciphersuite", json!("TLS_AES_128_GCM_SHA256")), "ciphersuite");
    check(with(v(), "/debug", json!("no")), "debug");
    check(with(v(), "/enable_clock", json!(1)), "enable_clock");
    check(with(v(), "/execution_strategy", json!("jit")), "execution_strategy");
    check(with(v(), "/programs", json!([])), "programs");
    check(with(v(), "/programs", json!({})), "programs");
    check(with(v(), "/identities/0/certificate", json!("XXXX")), "identities[0].certificate");
    check(with(v(), "/identities/0/id", json!(-1)), "identities[0].id");
    check(
        with(v(), "/identities/0/file_rights", json!([{ "file_name": "x" }])),
        "identities[0].file_rights[0]",
    );
    let rights = json!([{ "file_name": "x", "rights": 1 << 30 }]);
    check(with(v(), "/identities/0/file_rights", rights), "identities[0].file_rights[0].rights");
    check(twice("identities"), "identities[1].certificate");
    check(twice("programs"), "programs[1].id");
    check(with(v(), "/programs/0/pi_hash", json!("3f")), "programs[0].pi_hash");
    check(with(v(), "/programs/0/program_file_name", json!("a/../b")), "programs[0].program_file_name");
    check(with(v(), "/programs/0/program_file_name", json!("dir/")), "programs[0].program_file_name");
    check(with(v(), "/max_memory_mib", json!(0)), "max_memory_mib");
    check(with(v(), "/max_memory_mib", json!(1 << 20)), "max_memory_mib");
    let minute = json!({ "day": 1, "hour": 1, "minute": 99, "month": 1, "year": 2030 });
    check(with(v(), "/enclave_cert_expiry", minute), "enclave_cert_expiry");
    check(with(v(), "/native_modules", json!([{ "name": "n" }])), "native_modules");
    check(
        with(v(), "/file_hashes", json!([{ "file_path": "/x/", "hash": "0".repeat(64) }])),
        "file_hashes[0].file_path",
    );
    let other = json!([{ "file_path": "linear-regression.wasm", "hash": "0".repeat(64) }]);
    check(with(v(), "/file_hashes", other), "programs[0].pi_hash");
    check(with(v(), "/instance_id", json!("")), "instance_id");

    let check = |document: Value, expected: &str| {
        assert_eq!(full(&document).expect_err(expected).path(), expected);
    };
    let f = seed_full_json;
    let stream = || f()["std_streams_table"][0].clone();
    check(with(f(), "/std_streams_table", json!([stream(), stream()])), "std_streams_table[1]");
    check(with(f(), "/std_streams_table/0", json!({ "Stdwhat": {} })), "std_streams_table[0]");
    check(with(f(), "/veracruz_server_url", json!("")), "veracruz_server_url");
    check(with(f(), "/proxy_service_cert", json!("")), "proxy_service_cert");
}

/// What the reader would take as well, and people and other readers would not.
#[test]
fn a_list_is_no_object() {
    let full = seed_full_json();
    let check = |pointer: &str, list: Value, expected: &str| {
        let mut changed = full.clone();
        *changed.pointer_mut(pointer).unwrap() = list;
        let refused = FullPolicy::parse(changed.to_string().as_bytes()).unwrap_err();
        assert!(matches!(refused, PolicyError::Json { .. }), "{pointer}: {refused:?}");
        assert_eq!(refused.path(), expected);
    };
    assert!(FullPolicy::parse(full.to_string().as_bytes()).is_ok());
    let right = "identities[0].file_rights[0]";
    check("/identities/0/file_rights/0", json!(["linear-regression.wasm", 533_572]), right);
    check("/identities/1", json!([certificate("x"), [], 1]), "identities[1]");
    check("/enclave_cert_expiry", json!([23, 23, 44, 12, 2021]), "enclave_cert_expiry");
    check("/std_streams_table/0/Stdin", json!(["stdin", 8198]), "std_streams_table[0].Stdin");
    check("/execution_strategy", json!({ "Interpretation": null }), "execution_strategy");
    let user = json!(["linear-regression", "idtest", user_json(&certificate("x"))["identities"]]);
    assert_eq!(UserPolicy::parse(user.to_string().as_bytes()).unwrap_err().path(), ".");
}

#[test]
fn no_key_stands_there_twice() {
    let text = user_json(&certificate("x")).to_string();
    assert!(UserPolicy::parse(text.as_bytes()).is_ok());
    let twice = [
        ("\"instanceid\":\"idtest\"", "\"instanceid\":\"idtest\",\"instance_id\":\"other\""),
        ("\"function\":", "\"function\":\"other\",\"function\":"),
        ("\"rights\":8198", "\"rights\":8198,\"rights\":533572"),
    ];
    for (once, twice) in twice {
        let changed = text.replace(once, twice);
        assert_ne!(changed, text);
        assert!(UserPolicy::parse(changed.as_bytes()).is_err(), "{twice}");
    }
}
