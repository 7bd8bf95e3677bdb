//! Models that are well, models that are not, and models that want too much.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cm_instance::Limit;
use proptest::prelude::*;
use prost::Message;

use super::model::{Failure, Model};
use super::*;
use crate::engine::{Interrupt, MemoryLimit};
use crate::wasi::{End, Time};

const DIGITS: &[u8] = include_bytes!("../../../../examples/classifier/data/digits.onnx");
const F32: u8 = 1;
const MIB: u64 = 1024 * 1024;

/// ONNX as the tests write it, independent of how it is read.
mod written {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Model {
        #[prost(int64, tag = "1")]
        pub(super) ir_version: i64,
        #[prost(message, optional, tag = "7")]
        pub(super) graph: Option<Graph>,
        #[prost(message, repeated, tag = "8")]
        pub(super) opset: Vec<Opset>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Opset {
        #[prost(int64, tag = "2")]
        pub(super) version: i64,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Graph {
        #[prost(message, repeated, tag = "1")]
        pub(super) node: Vec<Node>,
        #[prost(message, repeated, tag = "11")]
        pub(super) input: Vec<Info>,
        #[prost(message, repeated, tag = "12")]
        pub(super) output: Vec<Info>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Node {
        #[prost(string, repeated, tag = "1")]
        pub(super) input: Vec<String>,
        #[prost(string, repeated, tag = "2")]
        pub(super) output: Vec<String>,
        #[prost(string, tag = "4")]
        pub(super) op_type: String,
        #[prost(message, repeated, tag = "5")]
        pub(super) attribute: Vec<Attribute>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Attribute {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(int64, tag = "3")]
        pub(super) i: i64,
        #[prost(message, optional, tag = "6")]
        pub(super) g: Option<Graph>,
        #[prost(int64, repeated, packed = "false", tag = "8")]
        pub(super) ints: Vec<i64>,
        #[prost(int32, tag = "20")]
        pub(super) kind: i32,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Info {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(message, optional, tag = "2")]
        pub(super) kind: Option<Kind>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Kind {
        #[prost(message, optional, tag = "1")]
        pub(super) tensor: Option<Tensor>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Tensor {
        #[prost(int32, tag = "1")]
        pub(super) elements: i32,
    }
}

use written::{Attribute, Graph, Info, Node};

fn node(operator: &str, input: &[&str], output: &str) -> Node {
    Node {
        input: input.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        op_type: operator.to_owned(),
        attribute: Vec::new(),
    }
}

fn ints(name: &str, ints: &[i64]) -> Attribute {
    const INTS: i32 = 7;
    Attribute { name: name.to_owned(), ints: ints.to_vec(), kind: INTS, ..Attribute::default() }
}

fn int(name: &str, i: i64) -> Attribute {
    const INT: i32 = 2;
    Attribute { name: name.to_owned(), i, kind: INT, ..Attribute::default() }
}

fn info(name: &str) -> Info {
    let tensor = written::Tensor { elements: 1 };
    Info { name: name.to_owned(), kind: Some(written::Kind { tensor: Some(tensor) }) }
}

/// A model of these steps with inputs `a` and `b` and output `y`.
fn model(node: Vec<Node>) -> Vec<u8> {
    let graph = Graph { node, input: vec![info("a"), info("b")], output: vec![info("y")] };
    let opset = vec![written::Opset { version: 17 }];
    written::Model { ir_version: 8, graph: Some(graph), opset }.encode_to_vec()
}

fn time() -> Time {
    Time::new(None, Instant::now() + Duration::from_secs(60), Interrupt::new())
}

fn floats(shape: &[usize]) -> Value {
    let elements: usize = shape.iter().product();
    let bytes: Vec<u8> = (0..elements).flat_map(|number| (number as f32).to_le_bytes()).collect();
    tensor::value(F32, shape, &bytes).unwrap()
}

#[derive(Debug, PartialEq)]
enum Refused {
    Errno(NnErrno),
    End(End),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Errno(errno) => Self::Errno(errno),
            Failure::End(end) => Self::End(end),
        }
    }
}

fn load(bytes: Vec<u8>) -> Result<Model, Refused> {
    Ok(Model::load(bytes, &mut MemoryLimit::new(64 * MIB, 0))?)
}

/// Computes a model on two inputs of these shapes within 16 MiB.
fn compute(bytes: Vec<u8>, a: &[usize], b: &[usize]) -> Result<Vec<f32>, Refused> {
    let model = load(bytes)?;
    let mut limits = MemoryLimit::new(16 * MIB, 0);
    let outputs = model.compute(&[Some(floats(a)), Some(floats(b))], &mut limits, &time())?;
    let bytes = tensor::bytes(&outputs[0], 1).unwrap();
    Ok(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

const MEMORY: Refused = Refused::End(End::Limit(Limit::Memory));

#[test]
fn steps_compute_what_the_operators_mean() {
    let sum = model(vec![node("Add", &["a", "b"], "s"), node("MatMul", &["s", "b"], "y")]);
    // a = [[0, 1], [2, 3]], b the same; (a + b) b = [[0, 2], [4, 6]] [[0, 1], [2, 3]].
    assert_eq!(compute(sum, &[2, 2], &[2, 2]), Ok(vec![4.0, 6.0, 12.0, 22.0]));
    let twice = model(vec![node("Mul", &["a", "a"], "s"), node("Concat", &["s", "b"], "y")]);
    let mut with_axis = twice;
    assert!(load(with_axis.clone()).is_err(), "Concat needs an axis");
    let mut concat = node("Concat", &["s", "b"], "y");
    concat.attribute.push(int("axis", 0));
    with_axis = model(vec![node("Mul", &["a", "a"], "s"), concat]);
    assert_eq!(compute(with_axis, &[3], &[2]), Ok(vec![0.0, 1.0, 4.0, 0.0, 1.0]));
}

#[test]
fn what_comes_out_is_counted_before_it_is_computed() {
    // 4000 numbers by 4000 numbers are 64 MB.
    let outer = model(vec![node("Mul", &["a", "b"], "y")]);
    assert_eq!(compute(outer, &[4000, 1], &[1, 4000]), Err(MEMORY));
    let product = model(vec![node("MatMul", &["a", "b"], "y")]);
    assert_eq!(compute(product, &[4000, 1], &[1, 4000]), Err(MEMORY));
    // Each step doubles: 2^40 elements after forty.
    let doubled = |number: usize| {
        let (from, to) = (format!("x{number}"), format!("x{}", number + 1));
        let mut step = node("Concat", &[&from, &from], &to);
        step.attribute.push(int("axis", 0));
        step
    };
    let mut steps: Vec<Node> = (0..40).map(doubled).collect();
    steps.insert(0, node("Identity", &["a"], "x0"));
    steps.push(node("Identity", &["x40"], "y"));
    assert_eq!(compute(model(steps), &[1], &[1]), Err(MEMORY));
    // A frame of zeros, ten thousand wide, around a picture of one point.
    let mut pool = node("MaxPool", &["a"], "y");
    pool.attribute = vec![ints("kernel_shape", &[2, 2]), ints("pads", &[10_000; 4])];
    assert_eq!(compute(model(vec![pool]), &[1, 1, 1, 1], &[1]), Err(MEMORY));
    // Nothing along one side is still as much as the other when it is summed up.
    let mut sum = node("ReduceMax", &["a"], "y");
    sum.attribute.push(ints("axes", &[0]));
    assert_eq!(compute(model(vec![sum]), &[0, 1 << 30], &[1]), Err(MEMORY));
}

/// The judge and the engine must not understand one file in two ways.
#[test]
fn what_is_said_twice_is_refused() {
    let refused = Some(Refused::Errno(NnErrno::InvalidEncoding));
    let mut pool = node("MaxPool", &["a"], "y");
    pool.attribute =
        vec![ints("kernel_shape", &[2, 2]), ints("pads", &[1_000_000; 4]), ints("pads", &[0, 0, 0, 0])];
    assert_eq!(load(model(vec![pool])).err(), refused);
    let twice = vec![node("Relu", &["a"], "y"), node("Relu", &["b"], "y")];
    assert_eq!(load(model(twice)).err(), refused);
    assert_eq!(load(model(vec![node("Relu", &["b"], "a"), node("Relu", &["a"], "y")])).err(), refused);
    let one = model(vec![node("Relu", &["a"], "y")]);
    assert!(load(one.clone()).is_ok());
    assert_eq!(load([one.clone(), one].concat()).err(), refused);
}

#[test]
fn too_much_work_in_one_step_is_refused() {
    let long = model(vec![node("MatMul", &["a", "b"], "y")]);
    let step = super::onnx::Outline::read(&long).unwrap().steps.remove(0);
    let shapes = [Some(vec![1000, 1 << 20]), Some(vec![1 << 20, 1000])];
    let bound = bounds::bound(&step, &shapes).unwrap();
    assert_eq!((bound.elements, bound.work), (1_000_000, 1_000_000 << 20));
    assert!(bound.work > bounds::WORK_MAX);
}

#[test]
fn memory_is_given_back() {
    let mut limits = MemoryLimit::new(16 * MIB, 0);
    let model = Model::load(DIGITS.to_vec(), &mut limits).map_err(Refused::from).unwrap();
    limits.reserve(15 * MIB).unwrap();
    limits.release(15 * MIB);
    for _ in 0..1000 {
        let output = model.compute(&[Some(floats(&[1, 64]))], &mut limits, &time());
        assert_eq!(output.map_err(Refused::from).unwrap().len(), 1);
    }
    let failed = model.compute(&[Some(floats(&[1, 63]))], &mut limits, &time());
    assert_eq!(failed.map_err(Refused::from).unwrap_err(), Refused::Errno(NnErrno::InvalidArgument));
    limits.reserve(15 * MIB).unwrap();
    let over = model.compute(&[Some(floats(&[4000, 64]))], &mut limits, &time());
    assert_eq!(over.map_err(Refused::from).unwrap_err(), MEMORY);
    limits.release(15 * MIB);
    assert!(model.compute(&[Some(floats(&[4000, 64]))], &mut limits, &time()).is_ok());
}

#[test]
fn a_computation_ends_with_the_run() {
    let model = load(DIGITS.to_vec()).unwrap();
    let mut limits = MemoryLimit::new(16 * MIB, 0);
    let inputs = [Some(floats(&[1, 64]))];
    let late = Time::new(None, Instant::now(), Interrupt::new());
    let failure = model.compute(&inputs, &mut limits, &late).map_err(Refused::from);
    assert_eq!(failure.unwrap_err(), Refused::End(End::Limit(Limit::Time)));
    let interrupt = Interrupt::new();
    interrupt.cancel();
    let cancelled = Time::new(None, Instant::now() + Duration::from_secs(60), interrupt);
    let failure = model.compute(&inputs, &mut limits, &cancelled).map_err(Refused::from);
    assert_eq!(failure.unwrap_err(), Refused::End(End::Cancelled));
    let missing = model.compute(&[None], &mut limits, &time()).map_err(Refused::from);
    assert_eq!(missing.unwrap_err(), Refused::Errno(NnErrno::InvalidArgument));
}

#[test]
fn what_is_not_computed_here_is_refused_when_it_is_loaded() {
    let unsupported = Refused::Errno(NnErrno::UnsupportedOperation);
    for operator in ["Expand", "ConstantOfShape", "Range", "Tile", "Loop", "If", "RandomNormal", "Nonsense"] {
        let refused = load(model(vec![node(operator, &["a", "b"], "y")]));
        assert_eq!(refused.err(), Some(Refused::Errno(NnErrno::UnsupportedOperation)), "{operator}");
    }
    // Graphs in graphs in graphs, as deep as the file is long.
    let mut nested = node("Identity", &["a"], "y");
    for _ in 0..30 {
        let graph = Graph { node: vec![nested], ..Graph::default() };
        nested = node("Identity", &["a"], "y");
        nested.attribute = vec![Attribute { g: Some(graph), ..Attribute::default() }];
    }
    assert_eq!(load(model(vec![nested])).err(), Some(unsupported));
    let steps = (0..10_001).map(|_| node("Identity", &["a"], "y")).collect();
    assert_eq!(load(model(steps)).err(), Some(Refused::Errno(NnErrno::TooLarge)));
    for bytes in [&b""[..], b"not a model", &DIGITS[..DIGITS.len() / 2]] {
        assert!(matches!(load(bytes.to_vec()), Err(Refused::Errno(_))));
    }
    let small = Model::load(DIGITS.to_vec(), &mut MemoryLimit::new(DIGITS.len() as u64, 0));
    assert_eq!(small.map_err(Refused::from).err(), Some(MEMORY));
}

#[test]
fn numbers_keep_their_kind() {
    let value = tensor::value(5, &[2], &[7i64.to_le_bytes(), (-1i64).to_le_bytes()].concat()).unwrap();
    assert_eq!(tensor::bytes(&value, 7).unwrap(), [7i64.to_le_bytes(), (-1i64).to_le_bytes()].concat());
    assert_eq!(tensor::bytes(&value, 6).unwrap(), [7i32.to_le_bytes(), (-1i32).to_le_bytes()].concat());
    assert_eq!(tensor::bytes(&value, 9).unwrap(), [1, 1]);
    let wide = tensor::value(5, &[1], &i64::MAX.to_le_bytes());
    assert_eq!(wide.err(), Some(NnErrno::InvalidArgument));
    for (kind, shape, len) in
        [(1u8, vec![2], 7), (1, vec![usize::MAX, 2], 8), (1, vec![1; 9], 4), (3, vec![2], 3)]
    {
        let refused = tensor::value(kind, &shape, &vec![0; len]).err();
        assert_eq!(refused, Some(NnErrno::InvalidArgument), "{kind} {shape:?}");
    }
    assert_eq!(tensor::value(2, &[1], &[0; 8]).err(), Some(NnErrno::UnsupportedOperation));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// Damaged models are refused or computed, and nothing else happens.
    #[test]
    fn no_damage_to_a_model_does_harm(damage in prop::collection::vec((0..DIGITS.len(), any::<u8>()), 1..6)) {
        let mut bytes = DIGITS.to_vec();
        for (at, byte) in damage {
            bytes[at] = byte;
        }
        if let Ok(model) = load(bytes) {
            let inputs: Vec<_> = (0..model.inputs_len()).map(|_| Some(floats(&[2, 64]))).collect();
            let _ = model.compute(&inputs, &mut MemoryLimit::new(16 * MIB, 0), &time());
        }
    }

    /// What a step gives is never more than was said beforehand.
    #[test]
    fn bounds_hold(a in prop::collection::vec(1usize..6, 1..5), b in prop::collection::vec(1usize..6, 1..5), operator in 0usize..5) {
        let operator = ["Add", "MatMul", "Where", "Pow", "Gemm"][operator];
        let inputs: &[&str] = if operator == "Where" { &["a", "b", "a"] } else { &["a", "b"] };
        let bytes = model(vec![node(operator, inputs, "y")]);
        let step = super::onnx::Outline::read(&bytes).unwrap().steps.remove(0);
        let shapes: Vec<_> = inputs.iter().map(|name| Some(if *name == "a" { a.clone() } else { b.clone() })).collect();
        let bound = bounds::bound(&step, &shapes);
        if let Ok(outputs) = compute(bytes, &a, &b) {
            prop_assert!(bound.is_some_and(|bound| outputs.len() as u64 <= bound.elements));
        }
    }
}

#[test]
fn a_run_has_its_own_models() {
    let nn = Nn::default();
    assert!(nn.graphs.is_empty() && nn.contexts.is_empty());
    let shared = Arc::new(load(DIGITS.to_vec()).unwrap());
    assert_eq!((shared.inputs_len(), shared.output_elements(0)), (1, Some(1)));
    assert_eq!(shared.output_elements(1), None);
}
