//! `cryptomesh policy`: what is generated is valid, what is suspicious is found, and none of it needs a node.

use cm_e2e::run;
use serde_json::Value;

use crate::tools::{ends, repository};

struct Desk(tempfile::TempDir);

impl Desk {
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn with_keys(names: &[&str]) -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        for name in names {
            let (certificate, key) = (desk.path(&format!("{name}.pem")), desk.path(&format!("{name}.key")));
            ends(&run(&["keys", "identity", name, "--certificate", &certificate, "--key", &key]), 0);
        }
        desk
    }
}

/// What the published generator is called with.
fn generate(desk: &Desk, more: &[&str]) -> std::process::Output {
    let (ca, data, result) = (desk.path("ca.pem"), desk.path("data.pem"), desk.path("result.pem"));
    let wasm = repository("examples/linear-regression/linear-regression.wasm");
    let program = format!("/program/p.wasm={wasm}");
    let policy = desk.path("policy.json");
    let arguments = [
        "policy",
        "generate",
        "--proxy-attestation-server-ip",
        "127.0.0.1:3010",
        "--proxy-attestation-server-cert",
        &ca,
        "--veracruz-server-ip",
        "127.0.0.1:3017",
        "--certificate-expiry",
        "Fri, 31 Dec 2100 10:00:00 +0000",
        "--css-file",
        &wasm,
        "--certificate",
        &data,
        "--capability",
        "/input/:w",
        "--certificate",
        &result,
        "--capability",
        "/program/:x,/output/:r",
        "--binary",
        &program,
        "--capability",
        "/input/:r,/output/:w",
        "--output-policy-file",
        &policy,
        "--max-memory-mib",
        "256",
    ];
    run(&[&arguments[..], more].concat())
}

#[test]
fn the_published_generator_s_call_makes_a_policy_that_is_valid_and_not_suspicious() {
    let desk = Desk::with_keys(&["ca", "data", "result"]);
    ends(&generate(&desk, &["--pipeline", "/program/p.wasm", "--capability", "/program/:x"]), 0);
    let file = desk.path("policy.json");
    let text = std::fs::read(&file).unwrap();
    let policy: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(policy["pipelines"][0]["name"], "0");
    assert_eq!(policy["identities"][1]["file_rights"][0]["rights"], 536_879_108);
    assert_eq!(policy["execution_strategy"], "JIT");

    let said = ends(&run(&["policy", "check", &file]), 0).0;
    assert!(said.contains("valid, a full policy") && said.contains("execute it"), "{said}");
    let hash = cm_crypto::digest::sha256(&text).to_string();
    assert!(ends(&run(&["policy", "hash", &file]), 0).0.starts_with(&hash));
    let explained = ends(&run(&["policy", "explain", &file]), 0).0;
    assert!(explained.contains("program /program/p.wasm"), "{explained}");
}

#[test]
fn what_is_suspicious_or_invalid_shows_in_the_exit_code() {
    let desk = Desk::with_keys(&["ca", "data", "result"]);
    ends(&generate(&desk, &["--enclave-debug-mode"]), 0);
    let file = desk.path("policy.json");
    let said = ends(&run(&["policy", "check", &file, "--output", "json"]), 1).0;
    let checked: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&checked[0]["suspicious"], &checked[0]["findings"][0]["code"]),
        (&true.into(), &"debug".into())
    );
    ends(&run(&["policy", "check", &file, "--allow-suspicious"]), 0);

    let text = std::fs::read_to_string(&file).unwrap().replace("\"id\": 1", "\"id\": 0");
    std::fs::write(&file, text).unwrap();
    let said = ends(&run(&["policy", "check", &file]), 1).0;
    assert!(said.contains("INVALID at `identities[1].id`"), "{said}");
    ends(&run(&["policy", "check", &desk.path("none.json")]), 1);
}

#[test]
fn the_published_policies_of_the_examples_are_clean() {
    for name in ["linear-regression", "k-means", "logistic-regression"] {
        let said = run(&["policy", "check", &repository(&format!("examples/{name}/policy.json"))]);
        assert!(ends(&said, 0).0.contains("valid, a program policy"));
    }
}

#[test]
fn rights_are_explained_and_wrong_usage_is_told() {
    let said = ends(&run(&["policy", "explain", "533572"]), 0).0;
    assert!(said.contains("FD_WRITE") && said.contains("a writer"), "{said}");
    ends(&run(&["policy", "explain", "1073741824"]), 2);
    ends(&run(&["policy", "explain", "no-such-file"]), 2);
    let desk = Desk::with_keys(&["ca", "data", "result"]);
    let said = ends(&generate(&desk, &["--capability", "/x:r"]), 2).1;
    assert!(said.contains("4 --capability for 2 certificates, 1 programs"), "{said}");
    ends(&run(&["policy", "generate", "--form", "user"]), 2);
    ends(&generate(&desk, &["--pipeline", "a b", "--capability", ""]), 2);
}
