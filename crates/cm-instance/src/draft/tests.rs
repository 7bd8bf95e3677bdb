use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::policy::{PolicyDocument, sorted_text};

fn certificate(name: &str) -> Certificate {
    let now = Timestamp::from_micros(1_790_000_000_000_000);
    let made = cm_crypto::cert::generate_identity(name, now, Duration::from_secs(86_400)).unwrap();
    Certificate::parse(made.certificate_pem()).unwrap()
}

fn draft() -> Draft {
    let rights = |text: &str| capabilities(text).unwrap();
    Draft {
        certificates: vec![
            (certificate("a"), rights("/input/:w")),
            (certificate("b"), rights("/program/:x,/output/:r,stdout:r")),
        ],
        programs: vec![(
            file_name("program/p.wasm").unwrap(),
            sha256(b"p"),
            rights("/input/:r,/output/:w,stdout:w"),
        )],
        pipelines: vec![(Pipeline::parse("/program/p.wasm").unwrap(), rights("/program/:x"))],
        files: vec![(file_name("model").unwrap(), sha256(b"m"))],
        execution_strategy: ExecutionStrategy::Jit,
        enable_clock: false,
        debug: false,
        max_memory_mib: 256,
    }
}

#[test]
fn rights_are_read_as_letters_and_numbers() {
    let read = |text: &str| {
        let rights = capabilities(text).unwrap();
        rights.iter().map(|right| (right.file_name.to_string(), right.rights.bits())).collect::<Vec<_>>()
    };
    let named = |name: &str, bits: u32| (name.to_owned(), bits);
    assert_eq!(read("/in/:r, out:w"), [named("/in/", 24_582), named("/out", 534_084)]);
    assert_eq!(read("stdin:rw,a:x"), [named("stdin", 550_470), named("/a", 536_879_108)]);
    assert_eq!(read("input-0:8198,b:0"), [named("/input-0", 8198), named("/b", 0)]);
    assert_eq!(read(""), []);
    for wrong in ["a", "a:", ":r", "a:q", "a:r w", "a:-1", "a:1073741824", "../a:r", "a:1.5"] {
        assert!(capabilities(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn moments_and_measurements_are_read_as_published() {
    assert_eq!(moment("Thu, 18 Apr 2024 10:30:05 +0200").unwrap().as_secs(), 1_713_429_005);
    assert_eq!(moment("Thu, 18 Apr 2024 08:30:05 GMT").unwrap().as_secs(), 1_713_429_005);
    assert!(moment("tomorrow").is_err());
    assert_eq!(nitro_measurement(&format!("{}\n", "AB".repeat(48))).unwrap(), "ab".repeat(32));
    assert!(nitro_measurement("ab").is_err() && nitro_measurement(&"zz".repeat(48)).is_err());
}

#[test]
fn every_form_reads_back() {
    let draft = draft();
    let program = draft.program_policy("f").unwrap();
    let user = draft.user_policy("f", "i").unwrap();
    let vaas = draft.vaas_policy(Some("i"), None).unwrap();
    let place = Place {
        server: "127.0.0.1:3014".into(),
        attestation_server: "127.0.0.1:3010".into(),
        attestation_certificate: certificate("ca"),
        expiry: Timestamp::from_micros(1_795_228_825_123_456),
        linux: Some(linux_measurement(b"runtime")),
        nitro: None,
        sevsnp: None,
    };
    let full = draft.full_policy(&place).unwrap();
    let parse = |text: String| PolicyDocument::parse(text.as_bytes()).unwrap();
    assert_eq!(parse(sorted_text(&program)), PolicyDocument::Program(program));
    assert_eq!(parse(sorted_text(&user)), PolicyDocument::User(user));
    assert_eq!(parse(sorted_text(&vaas)), PolicyDocument::Vaas(Box::new(vaas)));
    assert_eq!(parse(full.to_text().as_str().to_owned()), PolicyDocument::Full(Box::new(full.clone())));
    assert_eq!(full.pipeline("0").unwrap().name, "0");
    assert_eq!(full.expected_hash(&crate::GuestPath::parse("model").unwrap()), Some(sha256(b"m")));
}

proptest! {
    #[test]
    fn foreign_text_never_panics(text in "[a:,/rwx0-9 é]{0,30}") {
        if let Ok(rights) = capabilities(&text) {
            for right in rights {
                let written = format!("{}:{}", right.file_name, right.rights.bits());
                prop_assert_eq!(capabilities(&written).unwrap(), vec![right]);
            }
        }
    }
}
