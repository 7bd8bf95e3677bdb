use cm_instance::control::{CacheKey, LaunchProgram};
use cm_instance::{DeniedAccess, Rights};

use super::*;
use crate::server::tests::{Identity, READ, WRITE, path, policy_of};

/// Tries to read a file whose name nobody knows, and gives up.
const SPELLS: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "secret-42")
    (func (export "_start")
        (drop (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 9) (i32.const 0)
            (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 32)))
        unreachable))"#;

struct Loaded {
    host: Result<Arc<dyn Host>, LoadError>,
    kept: Vec<Vec<u8>>,
}

fn load_with(wasm: &[u8], sent: &[u8], artefact: Option<Vec<u8>>, key: u8, debug: bool) -> Loaded {
    let reader = Identity::new();
    let mut policy = policy_of(wasm, &[(&reader, &[("output", READ), ("program.wasm", WRITE)])]);
    policy.debug = debug;
    let launch = Launch {
        policy_text: policy.to_text(),
        limits: Limits {
            memory_bytes: 1 << 22,
            wall_ms: 10_000,
            storage_bytes: 1 << 20,
            file_bytes: 1 << 20,
            connections: 4,
        },
        module_cache_key: CacheKey::from_bytes([key; 32]),
        programs: vec![LaunchProgram { path: path("program.wasm"), artefact: artefact.is_some() }],
        data_files: Vec::new(),
        require_isolation: Vec::new(),
    };
    let programs = vec![ProgramBytes { wasm: sent.to_vec(), artefact }];
    let mut kept = Vec::new();
    let engine = Engine::new(policy.execution_strategy).unwrap();
    let host = load(engine, &policy, &launch, programs, Vec::new(), |artefact| {
        kept.push(artefact.sealed.clone());
        Ok(())
    });
    Loaded { host, kept }
}

fn run(host: &dyn Host) -> ExecutionReport {
    host.execute(&path("program.wasm"), &[], Duration::from_secs(10), &CancellationToken::new())
}

#[test]
fn an_artefact_is_used_only_if_it_is_genuine() {
    let wasm = wat::parse_str(r#"(module (func (export "_start")))"#).unwrap();
    let other = wat::parse_str(r#"(module (func (export "_start") unreachable))"#).unwrap();
    let first = load_with(&wasm, &wasm, None, 1, false);
    assert!(run(&*first.host.unwrap()).succeeded());
    let sealed = first.kept[0].clone();
    assert!(load_with(&wasm, &wasm, Some(sealed.clone()), 1, false).kept.is_empty(), "compiled again");

    // Altered anywhere, cut, empty, under another key, or of another module: compiled anew, and the new one kept.
    let altered = |at: usize| {
        let mut bytes = sealed.clone();
        bytes[at] ^= 1;
        bytes
    };
    let foreign = load_with(&other, &other, None, 1, false).kept[0].clone();
    let last = sealed.len() - 1;
    for (artefact, key) in [
        (altered(0), 1),
        (altered(last / 2), 1),
        (altered(last), 1),
        (sealed[..last].to_vec(), 1),
        (Vec::new(), 1),
        (sealed.clone(), 2),
        (foreign, 1),
    ] {
        let loaded = load_with(&wasm, &wasm, Some(artefact), key, false);
        assert_eq!(loaded.kept.len(), 1, "a foreign artefact was loaded");
        assert!(run(&*loaded.host.unwrap()).succeeded());
    }
}

#[test]
fn a_program_with_another_hash_is_refused() {
    let wasm = wat::parse_str(r#"(module (func (export "_start")))"#).unwrap();
    let loaded = load_with(&wasm, b"\0asm something else", None, 1, false);
    assert!(matches!(loaded.host.err(), Some(LoadError::Hash { .. })));
    // Nor does one run that came to be in its place later.
    let host = load_with(&wasm, &wasm, None, 1, false).host.unwrap();
    host.write(&path("program.wasm"), b"\0asm something else", false).unwrap();
    assert!(matches!(run(&*host).outcome, Outcome::HashMismatch { .. }));
    host.write(&path("other.wasm"), &wasm, false).unwrap();
    let other = host.execute(&path("other.wasm"), &[], Duration::from_secs(1), &CancellationToken::new());
    assert_eq!(other.outcome, Outcome::NotFound, "a program ran that the policy does not name");
}

#[test]
fn a_report_tells_no_name_that_only_the_program_knows() {
    let wasm = wat::parse_str(SPELLS).unwrap();
    let denied = |debug| {
        let report = run(&*load_with(&wasm, &wasm, None, 1, debug).host.unwrap());
        let Outcome::MissingRight { path, .. } = &report.outcome else { panic!("{report:?}") };
        assert_eq!(report.denied[0].path, *path);
        report.denied
    };
    let told = |path: &GuestPath| {
        vec![DeniedAccess { path: path.clone(), right: Rights::PATH_OPEN, call: "path_open".into() }]
    };
    assert_eq!(denied(false), told(&GuestPath::root()));
    assert_eq!(denied(true), told(&path("secret-42")));
}

#[test]
fn a_cancelled_run_ends() {
    let wasm = wat::parse_str(r#"(module (func (export "_start") (loop (br 0))))"#).unwrap();
    let host = load_with(&wasm, &wasm, None, 1, false).host.unwrap();
    let cancel = CancellationToken::new();
    std::thread::scope(|scope| {
        let running =
            scope.spawn(|| host.execute(&path("program.wasm"), &[], Duration::from_secs(3600), &cancel));
        cancel.cancel();
        assert_eq!(running.join().unwrap().outcome, Outcome::Cancelled);
    });
}
