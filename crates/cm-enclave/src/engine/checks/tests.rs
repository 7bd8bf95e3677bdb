use std::sync::LazyLock;

use proptest::prelude::*;
use wasmparser::{Validator, WasmFeatures};
use wasmtime::{Engine, Instance, Store, Val};

use super::*;

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The module with checks, which is valid.
fn checked(wasm: &[u8]) -> Vec<u8> {
    let out = insert(wasm).unwrap();
    Validator::new_with_features(WasmFeatures::default()).validate_all(&out).unwrap();
    out
}

/// The addresses that each function's checks read.
fn addresses(wasm: &[u8], memory: u32) -> Vec<Vec<u64>> {
    let bodies = Parser::new(0).parse_all(wasm).filter_map(|payload| match payload.unwrap() {
        Payload::CodeSectionEntry(body) => Some(body),
        _ => None,
    });
    let reads = |body: FunctionBody<'_>| {
        let operators = body.get_operators_reader().unwrap().into_iter();
        let read = operators.filter_map(move |operator| match operator.unwrap() {
            Operator::I32Load8U { memarg } if memarg.memory == memory => Some(memarg.offset),
            _ => None,
        });
        read.collect()
    };
    bodies.map(reads).collect()
}

#[test]
fn loops_and_callers_are_checked_each_at_its_own_address() {
    let wasm = wat("(module
        (memory 1) (memory 1)
        (func $leaf (drop (i32.load8_u 1 offset=77 (i32.const 0))))
        (func (loop (loop)) (loop))
        (func (call $leaf) (loop))
        (func (block (loop (call $leaf)))))");
    let expected = vec![vec![], vec![0, 1, 2], vec![0, 1], vec![0, 1]];
    assert_eq!(addresses(&checked(&wasm), 2), expected);
}

#[test]
fn every_way_to_enter_a_function_is_checked() {
    let wasm = wat("(module
        (type $t (func)) (table 1 funcref) (elem declare func $f)
        (func $f)
        (func (call_indirect (type $t) (i32.const 0)))
        (func (call_ref $t (ref.func $f)))
        (func (return_call $f))
        (func (return_call_indirect (type $t) (i32.const 0)))
        (func (return_call_ref $t (ref.func $f))))");
    let features = WasmFeatures::all();
    let out = insert(&wasm).unwrap();
    Validator::new_with_features(features).validate_all(&out).unwrap();
    assert_eq!(addresses(&out, 0), [vec![], vec![0], vec![0], vec![0], vec![0], vec![0]]);
}

#[test]
fn modules_of_every_outline_stay_valid() {
    for text in [
        "(module)",
        "(module (func (loop)))",
        "(module (memory 1) (func (loop)))",
        "(module (memory 1 2) (memory (export \"memory\") 3) (func (export \"_start\") (loop)))",
        "(module (import \"a\" \"m\" (memory 1)) (import \"a\" \"f\" (func)) (memory 1) (func (loop (call 0))))",
        "(module (func $s) (start $s))",
        "(module (global i32 (i32.const 1)) (func $s (loop)) (start $s) (table 1 funcref) (elem (i32.const 0) $s))",
        "(module (memory 1) (data (i32.const 0) \"x\") (data \"y\") (func (memory.init 1 (i32.const 0)
            (i32.const 0) (i32.const 0)) (data.drop 1)))",
        "(module (type (func)) (tag) (export \"t\" (tag 0)) (func (throw 0)))",
        "(module (func (unreachable) (loop (result i32) (i32.const 1)) drop))",
        "(module (func (param i32) (local.get 0) (loop (param i32) (drop)) (return) (loop (br 0))))",
    ] {
        let wasm = wat(text);
        Validator::new_with_features(WasmFeatures::default()).validate_all(&wasm).unwrap();
        checked(&wasm);
    }
}

#[test]
fn a_function_with_more_loops_than_a_page_has_bytes_gets_more_pages() {
    let loops = "(loop)".repeat(PAGE_LEN as usize + 1);
    let wasm = checked(&wat(&format!("(module (func {loops}))")));
    let memory = Parser::new(0).parse_all(&wasm).find_map(|payload| match payload.unwrap() {
        Payload::MemorySection(memories) => memories.into_iter().next().transpose().unwrap(),
        _ => None,
    });
    assert_eq!(memory.map(|memory| (memory.initial, memory.maximum)), Some((2, Some(2))));
    let last = addresses(&wasm, 0)[0].last().copied();
    assert_eq!(last, Some(u64::from(PAGE_LEN)));
}

#[test]
fn reserved_names_and_what_is_no_module_are_refused() {
    for name in ["cryptomesh:stop", "cryptomesh:start", "cryptomesh:"] {
        let wasm = wat(&format!("(module (func (export {name:?})))"));
        assert!(matches!(insert(&wasm), Err(CheckError::Reserved(found)) if found == name));
    }
    assert!(insert(&wat("(module (func (export \"cryptomesh\")))")).is_ok());
    assert!(matches!(insert(&wat("(component)")), Err(CheckError::Component)));
    let wasm = wat("(module (memory 1) (func (loop)))");
    for len in 0..wasm.len() {
        // Between two sections a module may end; nothing may panic.
        let _ = insert(&wasm[..len]);
    }
    assert!(matches!(insert(b"\0asm"), Err(CheckError::Parse(_))));
}

#[test]
fn only_names_are_kept_of_what_is_said_about_the_code() {
    let mut wasm = wat("(module $m (func $f (loop)) (@custom \"metadata.code.branch_hint\" \"x\"))");
    section(&mut wasm, CUSTOM_SECTION, &[vec![4], b"hintx".to_vec()].concat()).unwrap();
    let out = checked(&wasm);
    let customs = Parser::new(0).parse_all(&out).filter_map(|payload| match payload.unwrap() {
        Payload::CustomSection(custom) => Some(custom.name().to_owned()),
        _ => None,
    });
    assert_eq!(customs.collect::<Vec<_>>(), ["name"]);
}

/// A statement of a random program. Every loop counts down, wherever it is continued from.
#[derive(Clone, Debug)]
enum Statement {
    Set(u8, Expression),
    Store(u8, Expression, Expression),
    Block(Vec<Statement>),
    Loop(u8, Vec<Statement>),
    If(Expression, Vec<Statement>, Vec<Statement>),
    Branch(u8, Expression),
    Table(Vec<u8>, Expression),
}

#[derive(Clone, Debug)]
enum Expression {
    Number(i32),
    Local(u8),
    Load(u8, Box<Expression>),
    Binary(u8, Box<Expression>, Box<Expression>),
    Call(Box<Expression>),
    Indirect(Box<Expression>),
}

const OPERATIONS: [&str; 5] = ["add", "sub", "mul", "xor", "div_s"];
const LOCALS: u8 = 3;

fn expression() -> impl Strategy<Value = Expression> {
    let leaf = prop_oneof![
        (-3..300i32).prop_map(Expression::Number),
        (0..LOCALS).prop_map(Expression::Local),
        any::<i32>().prop_map(Expression::Number)
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        let one = inner.clone().prop_map(Box::new);
        prop_oneof![
            (0..2u8, one.clone()).prop_map(|(memory, at)| Expression::Load(memory, at)),
            (0..5u8, one.clone(), one.clone()).prop_map(|(which, a, b)| Expression::Binary(which, a, b)),
            one.clone().prop_map(Expression::Call),
            one.prop_map(Expression::Indirect),
        ]
    })
}

fn statement() -> impl Strategy<Value = Statement> {
    let leaf = prop_oneof![
        (0..LOCALS, expression()).prop_map(|(local, value)| Statement::Set(local, value)),
        (0..2u8, expression(), expression())
            .prop_map(|(memory, at, value)| Statement::Store(memory, at, value)),
        (any::<u8>(), expression()).prop_map(|(label, when)| Statement::Branch(label, when)),
        (prop::collection::vec(any::<u8>(), 1..4), expression())
            .prop_map(|(labels, which)| Statement::Table(labels, which)),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let body = prop::collection::vec(inner, 0..4);
        prop_oneof![
            body.clone().prop_map(Statement::Block),
            (0..4u8, body.clone()).prop_map(|(turns, body)| Statement::Loop(turns, body)),
            (expression(), body.clone(), body).prop_map(|(when, then, or)| Statement::If(when, then, or)),
        ]
    })
}

/// Writes a function. It calls only the one behind it, so that every program ends.
struct Writer {
    callee: Option<usize>,
    labels: usize,
    loops: usize,
}

impl Writer {
    fn expression(&self, expression: &Expression) -> String {
        match expression {
            Expression::Number(number) => format!("(i32.const {number})"),
            Expression::Local(local) => format!("(local.get {local})"),
            // The first memory is as long as the mask, the second one shorter.
            Expression::Load(memory, at) => {
                let mask = if *memory == 0 { 0xffff } else { 0x1_ffff };
                format!("(i32.load {memory} (i32.and (i32.const {mask}) {}))", self.expression(at))
            }
            Expression::Binary(which, a, b) => {
                let operation = OPERATIONS[usize::from(*which)];
                format!("(i32.{operation} {} {})", self.expression(a), self.expression(b))
            }
            Expression::Call(argument) => match self.callee {
                Some(callee) => format!("(call $f{callee} {})", self.expression(argument)),
                None => self.expression(argument),
            },
            Expression::Indirect(argument) => match self.callee {
                Some(callee) => {
                    format!("(call_indirect (type $t) {} (i32.const {callee}))", self.expression(argument))
                }
                None => self.expression(argument),
            },
        }
    }

    fn body(&mut self, statements: &[Statement]) -> String {
        statements.iter().map(|statement| self.statement(statement)).collect()
    }

    fn within(&mut self, labels: usize, statements: &[Statement]) -> String {
        self.labels += labels;
        let body = self.body(statements);
        self.labels -= labels;
        body
    }

    fn statement(&mut self, statement: &Statement) -> String {
        let label = |label: u8, labels: usize| usize::from(label) % (labels + 1);
        match statement {
            Statement::Set(local, value) => format!("(local.set {local} {})", self.expression(value)),
            Statement::Store(memory, at, value) => {
                let (at, value) = (self.expression(at), self.expression(value));
                format!("(i32.store {memory} (i32.and (i32.const 0xffff) {at}) {value})")
            }
            Statement::Block(body) => format!("(block {})", self.within(1, body)),
            Statement::Loop(turns, body) => {
                let counter = usize::from(LOCALS) + self.loops;
                self.loops += 1;
                let body = self.within(2, body);
                format!(
                    "(local.set {counter} (i32.const {turns}))
                     (block (loop
                        (br_if 1 (i32.eqz (local.get {counter})))
                        (local.set {counter} (i32.sub (local.get {counter}) (i32.const 1)))
                        {body} (br 0)))"
                )
            }
            Statement::If(when, then, or) => {
                let when = self.expression(when);
                format!("(if {when} (then {}) (else {}))", self.within(1, then), self.within(1, or))
            }
            Statement::Branch(to, when) => {
                format!("(br_if {} {})", label(*to, self.labels), self.expression(when))
            }
            Statement::Table(to, which) => {
                let targets: String = to.iter().map(|to| format!("{} ", label(*to, self.labels))).collect();
                format!("(block (br_table {targets} 0 {}))", self.expression(which))
            }
        }
    }
}

/// The outermost label of a function's body takes no value, so that every branch leads out of a block.
fn program(functions: &[Vec<Statement>]) -> String {
    let functions = functions.iter().enumerate().map(|(number, statements)| {
        let callee = (number + 1 < functions.len()).then_some(number + 1);
        let mut writer = Writer { callee, labels: 0, loops: 0 };
        let body = writer.body(statements);
        let counters = "i32 ".repeat(writer.loops);
        format!(
            "(func $f{number} (param i32) (result i32) (local i32 i32 {counters})
                (global.set 0 (i32.add (global.get 0) (i32.const 1)))
                (block {body})
                (i32.xor (local.get 0) (i32.xor (local.get 1) (local.get 2))))"
        )
    });
    let functions: String = functions.collect();
    format!(
        "(module (type $t (func (param i32) (result i32)))
            (memory (export \"first\") 1) (memory (export \"second\") 1 3)
            (global (export \"count\") (mut i32) (i32.const 0))
            (table funcref (elem $f0 $f1 $f2))
            (data (memory 0) (i32.const 3) \"\\01\\02\\03\") (data (memory 1) (i32.const 9) \"\\09\")
            (func $begin (global.set 0 (i32.const 1000))) (start $begin)
            (export \"main\" (func $f0)) {functions})"
    )
}

static ENGINE: LazyLock<Engine> = LazyLock::new(Engine::default);

/// Everything that a run leaves: its result or trap, the memories, the count of calls.
fn leaves(wasm: &[u8], argument: i32) -> (Result<i32, String>, Vec<u8>, Vec<u8>, Option<i32>) {
    let mut store = Store::new(&ENGINE, ());
    let module = Module::new(&ENGINE, wasm).unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    if let Some(start) = instance.get_func(&mut store, START) {
        start.call(&mut store, &[], &mut []).unwrap();
    }
    let main = instance.get_typed_func::<i32, i32>(&mut store, "main").unwrap();
    let result = main.call(&mut store, argument);
    let result = result.map_err(|error| error.downcast_ref::<wasmtime::Trap>().unwrap().to_string());
    let [first, second] = ["first", "second"].map(|name| instance.get_memory(&mut store, name).unwrap());
    let count = match instance.get_global(&mut store, "count").unwrap().get(&mut store) {
        Val::I32(count) => Some(count),
        _ => None,
    };
    (result, first.data(&store).to_vec(), second.data(&store).to_vec(), count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn checks_change_nothing_that_is_computed(
        functions in prop::collection::vec(prop::collection::vec(statement(), 0..5), 3),
        argument in -2..100i32,
    ) {
        let wasm = wat(&program(&functions));
        prop_assert_eq!(leaves(&checked(&wasm), argument), leaves(&wasm, argument));
    }
}
