use std::sync::LazyLock;
use std::time::Duration;

use super::*;
use crate::draft::{Draft, capabilities, file_name};
use crate::policy::{Certificate, ExecutionStrategy};
use crate::{Infrastructure, UserPolicy, merge};

fn now() -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000)
}

fn certificate() -> Certificate {
    let made = cm_crypto::cert::generate_identity("a", now(), Duration::from_secs(86_400)).unwrap();
    Certificate::parse(made.certificate_pem()).unwrap()
}

fn draft() -> Draft {
    Draft {
        certificates: vec![(certificate(), capabilities("/in/:w,/out:r").unwrap())],
        programs: vec![(file_name("p.wasm").unwrap(), sha256(b"p"), capabilities("/in/:r,/out:w").unwrap())],
        pipelines: Vec::new(),
        files: vec![(file_name("model").unwrap(), sha256(b"m"))],
        execution_strategy: ExecutionStrategy::Jit,
        enable_clock: false,
        debug: false,
        max_memory_mib: 64,
    }
}

fn full(program: &ProgramPolicy, user: &UserPolicy) -> FullPolicy {
    let infrastructure = Infrastructure {
        server_url: "127.0.0.1:3014".into(),
        measurement: sha256(b"runtime"),
        node_certificate: certificate(),
        attestation_url: "127.0.0.1:4000".into(),
        expiry: now().after(Duration::from_secs(3600)),
        enable_clock: false,
        max_memory_mib: 64,
    };
    merge(program, user, &infrastructure).unwrap()
}

fn policy() -> ReleasePolicy {
    ReleasePolicy {
        bucket: "b".into(),
        key: "k".into(),
        sealed: sha256(b"header"),
        measurements: vec![sha256(b"runtime")],
        policies: Vec::new(),
        functions: Vec::new(),
        until: None,
    }
}

static FILE: LazyLock<GuestPath> = LazyLock::new(|| GuestPath::parse("/in/data").unwrap());

fn asking(text: &PolicyText) -> Asking<'_> {
    Asking {
        bucket: "b",
        key: "k",
        sealed: sha256(b"header"),
        measurement: sha256(b"runtime"),
        policy: text,
        file: &FILE,
        owner: &[],
        by_hand: true,
    }
}

#[test]
fn others_must_not_read_what_is_released_to_anybody_s_instance() {
    let draft = draft();
    let owner = draft.certificates[0].0.clone();
    let program = draft.program_policy("f").unwrap();
    let text = full(&program, &draft.user_policy("f", "i").unwrap()).to_text();
    let function = ReleasedFunction { id: "f".into(), digest: function_digest(&program) };
    let readable = GuestPath::parse("/out").unwrap();
    let released = ReleasePolicy { functions: vec![function], ..policy() };
    let asked = Asking { file: &readable, by_hand: false, ..asking(&text) };
    assert_eq!(released.admits(&asked, now()), Err(NotReleased::ReadByOthers));
    let by_owner = Asking { owner: owner.der(), ..asked.clone() };
    assert_eq!(released.admits(&by_owner, now()), Ok(()));
    let named = ReleasePolicy { policies: vec![text.hash()], ..policy() };
    assert_eq!(named.admits(&asked, now()), Ok(()));
}

#[test]
fn measurements_alone_release_nothing_to_whoever_asks() {
    let draft = draft();
    let program = draft.program_policy("f").unwrap();
    let text = full(&program, &draft.user_policy("f", "i").unwrap()).to_text();
    assert_eq!(policy().admits(&asking(&text), now()), Ok(()));
    let unwatched = Asking { by_hand: false, ..asking(&text) };
    assert_eq!(policy().admits(&unwatched, now()), Err(NotReleased::Unwatched));
}

#[test]
fn only_the_owner_s_words_count() {
    let (owner, other) = (SigningKey::generate(), SigningKey::generate());
    let token = policy().sign(&owner).unwrap();
    assert_eq!(ReleasePolicy::verify(&token, &owner.verifying_key()).unwrap(), policy());
    assert_eq!(ReleasePolicy::unverified(&token), Some(policy()));
    assert!(ReleasePolicy::verify(&token, &other.verifying_key()).is_err());
    let evidence = jws::sign(&owner, TokenType::EAT, &serde_json::to_vec(&policy()).unwrap());
    assert!(ReleasePolicy::verify(&evidence, &owner.verifying_key()).is_err());
    assert!(ReleasePolicy { measurements: Vec::new(), ..policy() }.sign(&owner).is_err());
    let many = vec![sha256(b"x"); VALUES_MAX + 1];
    assert!(ReleasePolicy { policies: many, ..policy() }.sign(&owner).is_err());
    let unknown = jws::sign(&owner, TokenType::RELEASE, br#"{"bucket":"b","anyone":true}"#);
    assert!(ReleasePolicy::verify(&unknown, &owner.verifying_key()).is_err());
}

#[test]
fn everything_that_is_named_must_hold() {
    let draft = draft();
    let program = draft.program_policy("f").unwrap();
    let text = full(&program, &draft.user_policy("f", "i").unwrap()).to_text();
    let function = ReleasedFunction { id: "f".into(), digest: function_digest(&program) };
    let all = ReleasePolicy { policies: vec![text.hash()], functions: vec![function.clone()], ..policy() };
    assert_eq!(all.admits(&asking(&text), now()), Ok(()));

    let other = sha256(b"other");
    let elsewhere = [
        Asking { bucket: "c", ..asking(&text) },
        Asking { key: "l", ..asking(&text) },
        Asking { sealed: other, ..asking(&text) },
    ];
    for asking in &elsewhere {
        assert_eq!(all.admits(asking, now()), Err(NotReleased::OtherObject));
    }
    let measured = Asking { measurement: other, ..asking(&text) };
    assert_eq!(all.admits(&measured, now()), Err(NotReleased::Measurement(other)));
    let changed = PolicyText::new(format!("{} ", text.as_str()));
    assert_eq!(all.admits(&asking(&changed), now()), Err(NotReleased::Policy(changed.hash())));
    let for_other = ReleasedFunction { digest: other, ..function };
    let released = ReleasePolicy { functions: vec![for_other], ..policy() };
    assert_eq!(released.admits(&asking(&text), now()), Err(NotReleased::Function));
    let ended = ReleasePolicy { until: Some(now().as_secs()), ..policy() };
    assert_eq!(ended.admits(&asking(&text), now()), Err(NotReleased::Ended));
}

#[test]
fn a_function_is_what_it_does_and_not_what_it_is_called_or_who_asks() {
    let whole = draft();
    let program = whole.program_policy("f").unwrap();
    let user = whole.user_policy("f", "i").unwrap();
    let expected = function_digest(&program);
    assert_eq!(instance_digest(&full(&program, &user)), Some(expected));
    let renamed = Draft { max_memory_mib: 32, ..draft() }.program_policy("g").unwrap();
    assert_eq!(function_digest(&renamed), expected);

    let changed = |change: fn(&mut Draft)| {
        let mut draft = draft();
        change(&mut draft);
        let program = draft.program_policy("f").unwrap();
        let full = full(&program, &user);
        assert_eq!(instance_digest(&full), Some(function_digest(&program)));
        assert_ne!(function_digest(&program), expected);
    };
    changed(|draft| draft.programs[0].1 = sha256(b"q"));
    changed(|draft| draft.programs[0].2 = capabilities("/in/:rw,/out:w").unwrap());
    changed(|draft| draft.files.clear());
    changed(|draft| draft.enable_clock = true);
    changed(|draft| draft.debug = true);
    changed(|draft| draft.execution_strategy = ExecutionStrategy::Interpretation);
    changed(|draft| {
        let pipeline = crate::Pipeline::parse("p.wasm").unwrap();
        draft.pipelines.push((pipeline, Vec::new()));
    });
}
