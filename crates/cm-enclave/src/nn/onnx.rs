//! What has to be known of an ONNX file before it is trusted to the engine.
//!
//! The messages name the fields of `onnx.proto3` that the judgement needs; everything else is skipped, weights without being
//! copied. Fields in which messages could contain themselves are kept as bytes, so that nesting cannot exhaust the stack.
//!
//! The engine reads the file again, in its own way. What two readers could understand differently is refused: fields,
//! attributes and names that occur twice.

use std::collections::{HashMap, HashSet};

use prost::Message;

use super::NnErrno;
use super::bounds::{self, Kind};

/// Most steps of a model.
const STEPS_MAX: usize = 10_000;
/// Most names that one step takes in or gives.
const STEP_NAMES_MAX: usize = 64;
/// Operators of this domain, or of none, are those of the specification.
const DOMAIN: &str = "ai.onnx";

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, repeated, tag = "7")]
    graph: Vec<GraphProto>,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "13")]
    value_info: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
    #[prost(string, tag = "7")]
    domain: String,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, tag = "3")]
    i: i64,
    #[prost(message, repeated, tag = "5")]
    t: Vec<TensorProto>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    g: Vec<Vec<u8>>,
    #[prost(int64, repeated, tag = "8")]
    ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "11")]
    graphs: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(string, tag = "8")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorTypeProto>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    sequence: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "5")]
    map: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    optional: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    elem_type: i32,
}

/// One operator of a model, in the order of the file, which is an order of computation.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) kind: Kind,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    numbers: HashMap<String, Vec<i64>>,
}

impl Step {
    /// An attribute of numbers; empty if it is not there.
    pub(super) fn numbers(&self, name: &str) -> &[i64] {
        self.numbers.get(name).map_or(&[], Vec::as_slice)
    }

    /// An attribute of one number.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.numbers(name).first().copied()
    }
}

/// A model's structure.
#[derive(Debug)]
pub(super) struct Outline {
    pub(super) steps: Vec<Step>,
    /// The shapes of what is constant.
    pub(super) constants: HashMap<String, Vec<usize>>,
    /// Inputs that have to be given, with the number of their type of elements.
    pub(super) inputs: Vec<(String, i32)>,
    /// Outputs, in the same way.
    pub(super) outputs: Vec<(String, i32)>,
}

impl Outline {
    /// Reads a model and refuses what is not computed here.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, NnErrno> {
        let model = ModelProto::decode(bytes).map_err(|_| NnErrno::InvalidEncoding)?;
        let [graph] = <[GraphProto; 1]>::try_from(model.graph).map_err(|_| NnErrno::InvalidEncoding)?;
        if graph.node.len() > STEPS_MAX {
            return Err(NnErrno::TooLarge);
        }
        names_are_unique(&graph)?;
        let mut constants = HashMap::new();
        for tensor in graph.initializer {
            constants.insert(tensor.name, shape(&tensor.dims)?);
        }
        let mut steps = Vec::new();
        for node in graph.node {
            // Texts, graphs and the like are no numbers, and nobody asks for them.
            if node.attribute.iter().any(|attribute| !attribute.g.is_empty() || !attribute.graphs.is_empty())
            {
                return Err(NnErrno::UnsupportedOperation);
            }
            if node.op_type == "Constant" {
                let (output, shape) = constant(&node)?;
                constants.insert(output, shape);
            } else {
                steps.push(step(node)?);
            }
        }
        infos_are_flat(graph.input.iter().chain(&graph.output).chain(&graph.value_info))?;
        // Older files list constants among the inputs too.
        let inputs = graph.input.into_iter().filter(|info| !constants.contains_key(&info.name));
        let inputs = inputs.map(typed).collect();
        let outputs = graph.output.into_iter().map(typed).collect();
        Ok(Self { steps, constants, inputs, outputs })
    }
}

/// Whether each name means one thing: a constant, what a step gives, or an input.
fn names_are_unique(graph: &GraphProto) -> Result<(), NnErrno> {
    let mut names = HashSet::new();
    let constants = graph.initializer.iter().map(|tensor| &tensor.name);
    let given = graph.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
    let unique = constants.chain(given).all(|name| names.insert(name));
    let mut inputs = HashSet::new();
    let made: HashSet<_> = graph.node.iter().flat_map(|node| &node.output).collect();
    let fresh = graph.input.iter().all(|input| inputs.insert(&input.name) && !made.contains(&input.name));
    if unique && fresh { Ok(()) } else { Err(NnErrno::InvalidEncoding) }
}

fn infos_are_flat<'a>(mut infos: impl Iterator<Item = &'a ValueInfoProto>) -> Result<(), NnErrno> {
    let nested =
        |kind: &TypeProto| !kind.sequence.is_empty() || !kind.map.is_empty() || !kind.optional.is_empty();
    let any = infos.any(|info| info.r#type.as_ref().is_some_and(nested));
    if any { Err(NnErrno::UnsupportedOperation) } else { Ok(()) }
}

fn typed(info: ValueInfoProto) -> (String, i32) {
    let elements = info.r#type.and_then(|kind| kind.tensor).map_or(0, |tensor| tensor.elem_type);
    (info.name, elements)
}

fn shape(dims: &[i64]) -> Result<Vec<usize>, NnErrno> {
    dims.iter().map(|&dim| usize::try_from(dim).map_err(|_| NnErrno::InvalidEncoding)).collect()
}

/// The name and the shape of a constant: that of a tensor, of a list of numbers, or of a single one.
fn constant(node: &NodeProto) -> Result<(String, Vec<usize>), NnErrno> {
    let output = node.output.first().ok_or(NnErrno::InvalidEncoding)?.clone();
    let [attribute] = node.attribute.as_slice() else { return Err(NnErrno::InvalidEncoding) };
    let shape = match (attribute.name.as_str(), attribute.t.as_slice()) {
        ("value", [tensor]) => shape(&tensor.dims)?,
        ("value_ints", _) => vec![attribute.ints.len()],
        ("value_int" | "value_float", _) => Vec::new(),
        _ => return Err(NnErrno::UnsupportedOperation),
    };
    Ok((output, shape))
}

fn step(node: NodeProto) -> Result<Step, NnErrno> {
    let known = node.domain.is_empty() || node.domain == DOMAIN;
    let kind = bounds::kind(&node.op_type).filter(|_| known).ok_or(NnErrno::UnsupportedOperation)?;
    if node.input.len() > STEP_NAMES_MAX || node.output.len() > STEP_NAMES_MAX || node.output.is_empty() {
        return Err(NnErrno::UnsupportedOperation);
    }
    let mut numbers = HashMap::new();
    for attribute in node.attribute {
        // Either one number or several.
        if attribute.i != 0 && !attribute.ints.is_empty() {
            return Err(NnErrno::InvalidEncoding);
        }
        let found = if attribute.ints.is_empty() { vec![attribute.i] } else { attribute.ints };
        if numbers.insert(attribute.name, found).is_some() {
            return Err(NnErrno::InvalidEncoding);
        }
    }
    Ok(Step { kind, numbers, inputs: node.input, outputs: node.output })
}
