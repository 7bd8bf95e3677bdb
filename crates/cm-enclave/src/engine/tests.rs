use std::time::{Duration, Instant};

use cm_instance::{
    ExecutionReport, FileName, Grants, GuestPath, Limit, Outcome, Principal, Rights, RightsTable, TrapKind,
};

use super::*;
use crate::vfs::{Vfs, VfsLimits};

mod examples;
mod stopping;

const MIB: u64 = 1024 * 1024;

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).unwrap()
}

struct Case {
    strategy: ExecutionStrategy,
    rights: Vec<(&'static str, Rights)>,
    files: Vec<(&'static str, Vec<u8>)>,
    limits: RunLimits,
    interrupt: Interrupt,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            strategy: ExecutionStrategy::Interpretation,
            rights: vec![("input-0", Rights::READER), ("output", Rights::WRITER)],
            files: Vec::new(),
            limits: RunLimits { memory_bytes: 16 * MIB, wall: Duration::from_secs(60), fuel: None },
            interrupt: Interrupt::new(),
        }
    }
}

impl Case {
    fn run(&self, wasm: &[u8]) -> (ExecutionReport, Vfs) {
        let principal = Principal::Program(path("p.wasm"));
        let mut grants = Grants::default();
        for (name, rights) in &self.rights {
            grants.add(&FileName::parse(*name).unwrap(), *rights);
        }
        let mut table = RightsTable::default();
        table.insert(principal.clone(), grants);
        let limits = VfsLimits { storage_bytes: 4 * MIB, file_bytes: 64 * MIB, nodes: 100 };
        let vfs = Vfs::new(limits, &table);
        for (name, bytes) in &self.files {
            vfs.store(&path(name), bytes).unwrap();
        }
        let engine = Engine::with_fuel(self.strategy, self.limits.fuel.is_some()).unwrap();
        let (program, _) = engine.prepare(wasm).unwrap();
        let run = Run {
            arguments: &[],
            view: View::new(vfs.clone(), Arc::new(table), &principal),
            streams: &[],
            clock: None,
            limits: self.limits.clone(),
            interrupt: self.interrupt.clone(),
        };
        (engine.run(&program, run), vfs)
    }

    fn outcome(&self, wat: &str) -> Outcome {
        self.run(&module(wat)).0.outcome
    }
}

/// A module with some imports, a memory, a name in it, and the text as the body of its entry.
fn module(body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_open"
                (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 64) "output")
            (data (i32.const 80) "input-0")
            (data (i32.const 96) "\00\04\00\00\00\40\00\00")
            (func $recurse (call $recurse))
            (func (export "_start") {body}))"#
    );
    wat(&text)
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

const FOR_EVER: &str = "(loop $again (br $again))";
const OPEN_OUTPUT: &str = "(drop (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 6)
    (i32.const 9) (i64.const -1) (i64.const 0) (i32.const 0) (i32.const 32)))";
const OPEN_INPUT: &str = "(drop (call $open (i32.const 3) (i32.const 0) (i32.const 80) (i32.const 7)
    (i32.const 0) (i64.const -1) (i64.const 0) (i32.const 0) (i32.const 32)))";

#[test]
fn every_end_is_told_apart() {
    for strategy in [ExecutionStrategy::Interpretation, ExecutionStrategy::Jit] {
        let case = || Case { strategy, ..Case::default() };
        assert_eq!(case().outcome(""), Outcome::Completed);
        assert_eq!(case().outcome("(call $exit (i32.const 0))"), Outcome::Completed);
        assert_eq!(case().outcome("(call $exit (i32.const 7))"), Outcome::Exit { code: 7 });
        for (body, expected) in [
            ("unreachable", TrapKind::Unreachable),
            ("(drop (i32.load (i32.const -1)))", TrapKind::OutOfBounds),
            ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", TrapKind::Arithmetic),
            ("(call $recurse)", TrapKind::StackOverflow),
        ] {
            match case().outcome(body) {
                Outcome::Trap { trap, .. } => assert_eq!(trap, expected, "{body}"),
                other => panic!("{body}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_program_that_loops_ends_at_its_deadline() {
    for strategy in [ExecutionStrategy::Interpretation, ExecutionStrategy::Jit] {
        let limits = RunLimits { memory_bytes: MIB, wall: Duration::from_millis(100), fuel: None };
        let (report, _) = Case { strategy, limits, ..Case::default() }.run(&module(FOR_EVER));
        assert_eq!(report.outcome, Outcome::LimitExceeded { which: Limit::Time });
        assert!((100..5_000).contains(&report.wall_ms), "{report:?}");
    }
}

#[test]
fn a_program_that_loops_ends_without_fuel() {
    let limits = RunLimits { memory_bytes: MIB, wall: Duration::from_secs(60), fuel: Some(100_000) };
    let (report, _) = Case { limits, ..Case::default() }.run(&module(FOR_EVER));
    assert_eq!(report.outcome, Outcome::LimitExceeded { which: Limit::Time });
    assert_eq!(report.fuel, Some(100_000));
}

#[test]
fn a_program_that_allocates_for_ever_ends_at_its_limit() {
    let body = "(loop $again (drop (memory.grow (i32.const 1))) (br $again))";
    let (report, _) = Case::default().run(&module(body));
    assert_eq!(report.outcome, Outcome::LimitExceeded { which: Limit::Memory });
    assert_eq!(report.memory_peak, 16 * MIB);
    let large = wat(r#"(module (memory (export "memory") 1000) (func (export "_start")))"#);
    let (report, _) = Case::default().run(&large);
    assert_eq!(report.outcome, Outcome::LimitExceeded { which: Limit::Memory });
}

#[test]
fn a_program_that_writes_for_ever_ends_at_its_limit() {
    let body = format!(
        "{OPEN_OUTPUT} (loop $again (drop (call $write (i32.load (i32.const 32)) (i32.const 96)
            (i32.const 1) (i32.const 40))) (br $again))"
    );
    let (report, vfs) = Case::default().run(&module(&body));
    assert_eq!(report.outcome, Outcome::LimitExceeded { which: Limit::Storage });
    assert!(vfs.used_bytes() <= 4 * MIB && vfs.used_bytes() > 3 * MIB);
}

#[test]
fn a_cancellation_ends_a_run_soon() {
    let case = Case::default();
    let interrupt = case.interrupt.clone();
    let (started, begun) = std::sync::mpsc::channel();
    let canceller = std::thread::spawn(move || {
        begun.recv().unwrap();
        let at = Instant::now();
        interrupt.cancel();
        at
    });
    let wasm = module(FOR_EVER);
    started.send(()).unwrap();
    let (report, _) = case.run(&wasm);
    let ended = Instant::now();
    let cancelled = canceller.join().unwrap();
    assert_eq!(report.outcome, Outcome::Cancelled);
    // Compiling may come in between, so that the bound is on the run alone and generous.
    assert!(report.wall_ms < 1_000, "{report:?}");
    assert!(ended >= cancelled);
}

#[test]
fn a_cancellation_during_a_run_ends_it_within_a_moment() {
    let engine = Engine::new(ExecutionStrategy::Jit).unwrap();
    let body = format!("{OPEN_OUTPUT} {FOR_EVER}");
    let (program, _) = engine.prepare(&module(&body)).unwrap();
    let principal = Principal::Program(path("p.wasm"));
    let mut grants = Grants::default();
    grants.add(&FileName::parse("output").unwrap(), Rights::WRITER);
    let mut table = RightsTable::default();
    table.insert(principal.clone(), grants);
    let vfs = Vfs::new(VfsLimits::default(), &table);
    let interrupt = Interrupt::new();
    let run = Run {
        arguments: &[],
        view: View::new(vfs.clone(), Arc::new(table), &principal),
        streams: &[],
        clock: None,
        limits: RunLimits { memory_bytes: MIB, wall: Duration::from_secs(60), fuel: None },
        interrupt: interrupt.clone(),
    };
    let outcome = std::thread::scope(|scope| {
        let running = scope.spawn(|| (engine.run(&program, run).outcome, Instant::now()));
        while !vfs.exists(&path("output")) {
            std::thread::yield_now();
        }
        let cancelled = Instant::now();
        interrupt.cancel();
        let (outcome, ended) = running.join().unwrap();
        assert!(ended - cancelled < Duration::from_millis(500), "{:?}", ended - cancelled);
        outcome
    });
    assert_eq!(outcome, Outcome::Cancelled);
}

#[test]
fn a_failed_run_is_blamed_on_the_right_it_lacked() {
    let body = format!(
        "{OPEN_INPUT} (drop (call $read (i32.load (i32.const 32)) (i32.const 96) (i32.const 1) (i32.const 40)))
         (call $exit (i32.const 1))"
    );
    let mut case = Case { files: vec![("input-0", b"x".to_vec())], ..Case::default() };
    assert_eq!(case.outcome(&body), Outcome::Exit { code: 1 });
    case.rights = vec![("input-0", Rights::PATH_OPEN)];
    let (report, _) = case.run(&module(&body));
    let expected =
        Outcome::MissingRight { path: path("input-0"), right: Rights::FD_READ, call: "fd_read".into() };
    assert_eq!(report.outcome, expected);
    assert_eq!((report.denied.len(), report.denied_count), (1, 1));
}

#[test]
fn what_is_no_module_is_refused() {
    let engine = Engine::new(ExecutionStrategy::Interpretation).unwrap();
    for bytes in [b"".as_slice(), b"(module)", b"\0asm\x01\0\0", b"\0asm\x0d\0\x01\0x"] {
        assert!(matches!(engine.compile(bytes), Err(EngineError::Module(_))), "{bytes:?}");
    }
    let unknown = wat(r#"(module (import "env" "system" (func)) (func (export "_start")))"#);
    assert!(matches!(engine.prepare(&unknown), Err(EngineError::Module(_))));
}

#[test]
fn artefacts_are_for_one_engine_and_one_module() {
    let jit = Engine::new(ExecutionStrategy::Jit).unwrap();
    let interpreter = Engine::new(ExecutionStrategy::Interpretation).unwrap();
    let wasm = module("");
    let artefact = jit.compile(&wasm).unwrap();
    let kept = Artefact::from_authentic_bytes(artefact.as_bytes().to_vec());
    let digest = cm_crypto::digest::sha256(&wasm);
    assert!(jit.load(digest, &kept).is_ok());
    assert!(matches!(interpreter.load(digest, &kept), Err(EngineError::Artefact(_))));
    assert_ne!(jit.artefact_binding(&digest), interpreter.artefact_binding(&digest));
    let other = cm_crypto::digest::sha256(b"x");
    assert_ne!(jit.artefact_binding(&digest), jit.artefact_binding(&other));
    assert_eq!(
        jit.artefact_binding(&digest),
        Engine::new(ExecutionStrategy::Jit).unwrap().artefact_binding(&digest)
    );
}

/// The points of the linear regression example: a count in LEB128, then pairs of doubles.
fn points(points: &[(f64, f64)]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(points.len()).unwrap()];
    for (x, y) in points {
        bytes.extend_from_slice(&x.to_le_bytes());
        bytes.extend_from_slice(&y.to_le_bytes());
    }
    bytes
}

#[test]
fn an_ordinary_rust_program_runs_under_the_published_rights() {
    let wasm = include_bytes!("../../../../examples/linear-regression/linear-regression.wasm");
    let input = points(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]);
    for strategy in [ExecutionStrategy::Interpretation, ExecutionStrategy::Jit] {
        let files = vec![("input-0", input.clone())];
        let (report, vfs) = Case { strategy, files, ..Case::default() }.run(wasm);
        assert_eq!(report.outcome, Outcome::Completed, "{report:?}");
        let output = vfs.load(&path("output")).unwrap();
        assert_eq!(output, [2.0f64.to_le_bytes(), 1.0f64.to_le_bytes()].concat());
    }
    let rights = vec![("input-0", Rights::PATH_OPEN), ("output", Rights::WRITER)];
    let files = vec![("input-0", input)];
    let (report, _) = Case { rights, files, ..Case::default() }.run(wasm);
    assert!(
        matches!(&report.outcome, Outcome::MissingRight { path: at, .. } if *at == path("input-0")),
        "{report:?}"
    );
}
