use proptest::prelude::*;

use super::*;

fn launch() -> Launch {
    Launch {
        policy_text: PolicyText::new("{}"),
        limits: Limits { memory_bytes: 1, wall_ms: 2, storage_bytes: 3, file_bytes: 4, connections: 5 },
        module_cache_key: CacheKey::from_bytes([0xab; 32]),
        programs: vec![LaunchProgram { path: GuestPath::parse("p.wasm").unwrap(), artefact: true }],
        data_files: vec![LaunchFile { path: GuestPath::parse("model").unwrap() }],
        require_isolation: vec!["seccomp".into()],
    }
}

fn check<M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &M) {
    let frame = encode(message).unwrap();
    let (header, text) = frame.split_first_chunk().unwrap();
    assert_eq!(announced(*header, MESSAGE_LEN_MAX).unwrap(), text.len());
    assert_eq!(&decode::<M>(text).unwrap(), message);
}

#[test]
fn messages_arrive_as_sent() {
    check(&ToInstance::Launch(Box::new(launch())));
    check(&ToInstance::Shutdown);
    let layer = IsolationLayer { name: "seccomp".into(), active: false, reason: Some("no".into()) };
    check(&FromInstance::Ready(Ready {
        tls_spki_der: vec![1],
        tls_cert_der: vec![2],
        isolation: vec![layer],
    }));
    check(&FromInstance::Artefact { wasm_sha256: Sha256Digest::from_bytes([7; 32]) });
    check(&FromInstance::State(RunState {
        run_id: 1,
        program: GuestPath::parse("p.wasm").unwrap(),
        identity: 0,
        state: RunPhase::Failed,
        report: Some(ExecutionReport::before_start(crate::Outcome::Exit { code: 3 })),
    }));
    check(&FromInstance::Exited { reason: ExitReason::Client });
}

#[test]
fn a_launch_can_be_printed_without_its_key() {
    let printed = format!("{:?} {:?}", launch(), launch().module_cache_key);
    assert!(!printed.contains("abab"), "{printed}");
}

#[test]
fn what_is_too_long_is_refused_before_it_is_read() {
    assert!(announced([0xff; 4], MESSAGE_LEN_MAX).is_err());
    assert!(raw_header(11, 10).is_err());
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = decode::<FromInstance>(&bytes);
        let _ = decode::<ToInstance>(&bytes);
    }
}
