//! Programs that never end, in every shape, and those that end just so.

use super::*;

const BOTH: [ExecutionStrategy; 2] = [ExecutionStrategy::Interpretation, ExecutionStrategy::Jit];

/// The bodies and functions of modules whose `_start` never ends.
const ENDLESS: &[(&str, &str)] = &[
    ("a loop", "(func (export \"_start\") (loop (br 0)))"),
    ("a loop with a condition at its end", "(func (export \"_start\") (loop (br_if 0 (i32.const 1))))"),
    ("an endless loop in an endless loop", "(func (export \"_start\") (loop (loop (br 0)) (br 0)))"),
    ("an outer loop whose inner one ends", "(func (export \"_start\") (loop (loop) (br 0)))"),
    ("both loops by turns", "(func (export \"_start\") (local i32) (loop (loop
        (local.set 0 (i32.xor (local.get 0) (i32.const 1))) (br_if 0 (local.get 0)) (br 1))))"),
    ("the second of two loops", "(func (export \"_start\") (local i32)
        (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 9))))
        (loop (br 0)))"),
    ("a loop in a branch", "(func (export \"_start\") (if (i32.const 1) (then (loop (br 0))) (else (loop))))"),
    ("a loop with parameters", "(func (export \"_start\") (i32.const 1)
        (loop (param i32) (i32.const 1) (i32.add) (br 0)))"),
    ("a loop by a table", "(func (export \"_start\") (local i32) (block (loop (block
        (br_table 0 1 1 (i32.and (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))) (br 0))))"),
    ("a loop behind another's end", "(func (export \"_start\") (block (loop (br 1))) (loop (br 0)))"),
    ("a loop that computes", "(memory 1) (func (export \"_start\") (local i32) (loop
        (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.load (i32.const 12)))) (br 0)))"),
    ("a loop in one of many memories", "(memory 1) (memory 2) (memory 0) (func (export \"_start\") (loop
        (i32.store 1 (i32.const 70000) (i32.load 0 (i32.const 1))) (br 0)))"),
    ("a loop with calls", "(func $leaf) (func (export \"_start\") (loop (call $leaf) (br 0)))"),
    ("a loop in a function that a loop calls", "(func $inner (loop (br 0)))
        (func (export \"_start\") (loop (call $inner) (br 0)))"),
    ("loops in copies of one function", "(func $inner (param i32) (loop (br_if 0 (local.get 0))))
        (func (export \"_start\") (call $inner (i32.const 0)) (call $inner (i32.const 1)))"),
    ("a tail call of itself", "(func $f (export \"_start\") (return_call $f))"),
    ("tail calls to and fro", "(func $f (return_call $g)) (func $g (export \"_start\") (return_call $f))"),
    ("tail calls through a table", "(type $t (func)) (table funcref (elem $f))
        (func $f (export \"_start\") (return_call_indirect (type $t) (i32.const 0)))"),
    ("a tree of calls", "(func $f (param i32) (if (local.get 0) (then
            (call $f (i32.sub (local.get 0) (i32.const 1))) (call $f (i32.sub (local.get 0) (i32.const 1))))))
        (func (export \"_start\") (call $f (i32.const 200)))"),
    ("a tree of calls through a table", "(type $t (func (param i32))) (table funcref (elem $f))
        (func $f (param i32) (if (local.get 0) (then
            (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0))
            (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))))
        (func (export \"_start\") (call $f (i32.const 200)))"),
    ("a start function", "(func $s (loop (br 0))) (start $s) (func (export \"_start\"))"),
];

/// Runs a module for 30 ms. A run that goes on for ever fails the test and not its patience.
fn stopped(strategy: ExecutionStrategy, shape: &str, wasm: Vec<u8>) -> ExecutionReport {
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let case = Case { strategy, limits: limits(Duration::from_millis(30)), ..Case::default() };
        // Nobody waits any more if it took too long.
        let _ = ended.send(case.run(&wasm).0);
    });
    let report = end.recv_timeout(Duration::from_secs(30));
    report.unwrap_or_else(|_| panic!("{shape} goes on, {strategy:?}"))
}

fn limits(wall: Duration) -> RunLimits {
    RunLimits { memory_bytes: MIB, wall, fuel: None }
}

#[test]
fn what_never_ends_is_stopped_at_its_deadline() {
    for strategy in BOTH {
        for (shape, text) in ENDLESS {
            let report = stopped(strategy, shape, wat(&format!("(module {text})")));
            let expected = Outcome::LimitExceeded { which: Limit::Time };
            assert_eq!(report.outcome, expected, "{shape}, {strategy:?}");
            assert!((30..5_000).contains(&report.wall_ms), "{shape}, {strategy:?}: {report:?}");
        }
    }
}

#[test]
fn calls_without_recursion_or_loop_are_stopped_too() {
    // Each function calls the next one twice: 2^64 calls, 65 deep.
    let mut text = String::from("(func $f64)");
    for number in 0..64 {
        text += &format!("(func $f{number} (call $f{0}) (call $f{0}))", number + 1);
    }
    let wasm = wat(&format!("(module {text} (export \"_start\" (func $f0)))"));
    for strategy in BOTH {
        let report = stopped(strategy, "a chain of calls", wasm.clone());
        assert_eq!(report.outcome, Outcome::LimitExceeded { which: Limit::Time });
    }
}

#[test]
fn one_run_is_stopped_and_the_others_go_on() {
    let engine = Engine::new(ExecutionStrategy::Jit).unwrap();
    let endless = wat("(module (func (export \"_start\") (loop (br 0))))");
    let (program, _) = engine.prepare(&endless).unwrap();
    let principal = Principal::Program(path("p.wasm"));
    let table = Arc::new(RightsTable::default());
    let vfs = Vfs::new(VfsLimits::default(), &table);
    let run = |wall, interrupt: &Interrupt| {
        let view = View::new(vfs.clone(), table.clone(), &principal);
        let limits = limits(wall);
        engine.run(
            &program,
            Run { view, arguments: &[], streams: &[], clock: None, limits, interrupt: interrupt.clone() },
        )
    };
    let interrupt = Interrupt::new();
    std::thread::scope(|scope| {
        let long = scope.spawn(|| run(Duration::from_secs(60), &interrupt));
        for _ in 0..20 {
            let short = run(Duration::from_millis(5), &Interrupt::new());
            assert_eq!(short.outcome, Outcome::LimitExceeded { which: Limit::Time });
        }
        assert!(!long.is_finished());
        interrupt.cancel();
        assert_eq!(long.join().unwrap().outcome, Outcome::Cancelled);
    });
    let again = run(Duration::from_secs(60), &interrupt);
    assert_eq!(again.outcome, Outcome::Cancelled, "a cancellation holds for what begins later");
}

#[test]
fn the_memory_of_the_checks_is_not_the_programs() {
    let text =
        "(memory (export \"memory\") 16) (func (export \"_start\") (drop (memory.grow (i32.const 0))))";
    let exact = wat(&format!("(module {text})"));
    for strategy in BOTH {
        let case = Case { strategy, limits: limits(Duration::from_secs(60)), ..Case::default() };
        let (report, _) = case.run(&exact);
        assert_eq!((report.outcome, report.memory_peak), (Outcome::Completed, MIB), "{strategy:?}");
        let (report, _) = case.run(&wat(&format!("(module {text} (memory 1))")));
        assert_eq!(report.outcome, Outcome::LimitExceeded { which: Limit::Memory }, "{strategy:?}");
    }
}

#[test]
fn a_start_function_runs_once_and_first() {
    let wasm = wat("(module (global (mut i32) (i32.const 0)) (memory 1) (data (i32.const 0) \"\\2a\")
        (func $s (global.set 0 (i32.add (global.get 0) (i32.load8_u (i32.const 0))))) (start $s)
        (func (export \"_start\") (if (i32.ne (global.get 0) (i32.const 42)) (then unreachable))))");
    let failing = wat("(module (func $s unreachable) (start $s) (func (export \"_start\")))");
    for strategy in BOTH {
        let case = Case { strategy, ..Case::default() };
        assert_eq!(case.run(&wasm).0.outcome, Outcome::Completed, "{strategy:?}");
        let (report, _) = case.run(&failing);
        assert!(matches!(report.outcome, Outcome::Trap { trap: TrapKind::Unreachable, .. }), "{report:?}");
    }
}

#[test]
fn a_program_does_not_become_valid_by_what_it_gets() {
    let engine = Engine::new(ExecutionStrategy::Jit).unwrap();
    // Reads memory 1, which only the checks bring; and a memory where there is none.
    for body in ["(memory 1) (func (drop (i32.load8_u 1 (i32.const 0))))", "(func (drop (memory.size)))"] {
        let wasm = wat(&format!("(module {body})"));
        assert!(matches!(engine.compile(&wasm), Err(EngineError::Module(_))), "{body}");
    }
    let reserved = wat("(module (memory (export \"cryptomesh:stop\") 1) (func (export \"_start\")))");
    assert!(matches!(engine.compile(&reserved), Err(EngineError::Module(_))));
}

#[test]
fn code_that_cannot_be_stopped_is_no_artefact() {
    let engine = Engine::new(ExecutionStrategy::Jit).unwrap();
    let wasm = wat("(module (func (export \"_start\")))");
    let unchecked = Artefact::from_authentic_bytes(engine.inner.precompile_module(&wasm).unwrap());
    let digest = cm_crypto::digest::sha256(&wasm);
    assert!(matches!(engine.load(digest, &unchecked), Err(EngineError::Artefact(_))));
}
