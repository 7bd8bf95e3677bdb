//! A model that was judged, and its computation step by step.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rten::{ModelOptions, NodeId, ShapeInferenceMode, Value};

use super::NnErrno;
use super::bounds::{self, WORK_MAX};
use super::onnx::{Outline, Step};
use super::tensor;
use crate::engine::MemoryLimit;
use crate::wasi::{End, Time};

/// What a model takes in memory while it is read, as a multiple of its length: its bytes, its parts, its weights, and
/// the weights once more in the order that multiplying wants.
pub(super) const LOADING_FACTOR: u64 = 4;
/// What of it remains: the weights, twice.
const LOADED_FACTOR: u64 = 2;
/// What a step takes as a multiple of what it gives: the output, and as much for its own use.
const STEP_FACTOR: u64 = 2;
const ELEMENT_LEN: u64 = 4;

/// Why a computation does not come to its end.
#[derive(Debug)]
pub(super) enum Failure {
    /// The program gets this number.
    Errno(NnErrno),
    /// The run ends.
    End(End),
}

impl From<NnErrno> for Failure {
    fn from(errno: NnErrno) -> Self {
        Self::Errno(errno)
    }
}

impl From<End> for Failure {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

/// A model, ready to be computed any number of times.
pub(super) struct Model {
    inner: rten::Model,
    steps: Vec<ReadyStep>,
    constants: HashMap<NodeId, Vec<usize>>,
    /// Inputs and outputs with the types of their elements, as ONNX numbers them.
    inputs: Vec<NodeId>,
    outputs: Vec<(NodeId, i32)>,
}

/// A step whose names were looked up.
struct ReadyStep {
    step: Step,
    /// An input that is left out has none.
    inputs: Vec<Option<NodeId>>,
    outputs: Vec<NodeId>,
    /// What no later step needs.
    last_uses: Vec<NodeId>,
}

impl Model {
    /// Judges a model and makes it ready. `limits` hold what it takes; what remains held is the model's.
    pub(super) fn load(bytes: Vec<u8>, limits: &mut MemoryLimit) -> Result<Self, Failure> {
        let len = bytes.len() as u64;
        limits.reserve(len.saturating_mul(LOADING_FACTOR))?;
        let outline = Outline::read(&bytes)?;
        let inner = guarded(|| {
            ModelOptions::with_ops(bounds::registry())
                // Nothing may be computed before it was judged, and names must stay what they are.
                .enable_optimization(false)
                .shape_inference(ShapeInferenceMode::Off)
                .prepack_weights(true)
                .load(bytes)
                .map_err(|_| NnErrno::InvalidEncoding)
        })?;
        limits.release(len.saturating_mul(LOADING_FACTOR - LOADED_FACTOR));
        Ok(Self::ready(inner, outline)?)
    }

    fn ready(inner: rten::Model, outline: Outline) -> Result<Self, NnErrno> {
        let id = |name: &str| inner.find_node(name).ok_or(NnErrno::InvalidEncoding);
        let outputs: Result<Vec<_>, _> =
            outline.outputs.iter().map(|(name, elements)| Ok((id(name)?, *elements))).collect();
        let outputs = outputs?;
        let inputs: Result<Vec<_>, _> = outline.inputs.iter().map(|(name, _)| id(name)).collect();
        let mut constants = HashMap::new();
        for (name, shape) in outline.constants {
            // One that nobody uses may be gone.
            if let Some(id) = inner.find_node(&name) {
                constants.insert(id, shape);
            }
        }
        let mut steps = Vec::with_capacity(outline.steps.len());
        for step in outline.steps {
            let given = |name: &String| if name.is_empty() { Ok(None) } else { id(name).map(Some) };
            let inputs: Result<Vec<_>, _> = step.inputs.iter().map(given).collect();
            let named = step.outputs.iter().filter(|name| !name.is_empty());
            let outputs: Result<Vec<_>, _> = named.map(|name| id(name)).collect();
            steps.push(ReadyStep { inputs: inputs?, outputs: outputs?, last_uses: Vec::new(), step });
        }
        let mut needed: HashSet<NodeId> = outputs.iter().map(|(id, _)| *id).collect();
        for step in steps.iter_mut().rev() {
            for id in step.inputs.iter().flatten().chain(&step.outputs) {
                if needed.insert(*id) {
                    step.last_uses.push(*id);
                }
            }
        }
        Ok(Self { inner, steps, constants, inputs: inputs?, outputs })
    }

    /// How many inputs have to be given.
    pub(super) fn inputs_len(&self) -> usize {
        self.inputs.len()
    }

    /// The type of elements that the model declares for an output, as ONNX numbers it.
    pub(super) fn output_elements(&self, index: usize) -> Option<i32> {
        self.outputs.get(index).map(|(_, elements)| *elements)
    }

    /// Computes the outputs. On an end other than success nothing stays counted.
    pub(super) fn compute(
        &self,
        inputs: &[Option<Value>],
        limits: &mut MemoryLimit,
        time: &Time,
    ) -> Result<Vec<Value>, Failure> {
        let mut given = HashMap::new();
        for (id, input) in self.inputs.iter().zip(inputs) {
            given.insert(*id, input.as_ref().ok_or(NnErrno::InvalidArgument)?);
        }
        let mut computation = Computation { model: self, given, made: HashMap::new(), limits, counted: 0 };
        let result = computation.run(time);
        let counted = computation.counted;
        limits.release(counted);
        result
    }
}

/// One computation.
struct Computation<'a> {
    model: &'a Model,
    given: HashMap<NodeId, &'a Value>,
    made: HashMap<NodeId, Value>,
    limits: &'a mut MemoryLimit,
    /// Bytes that are counted as held by it.
    counted: u64,
}

impl Computation<'_> {
    fn run(&mut self, time: &Time) -> Result<Vec<Value>, Failure> {
        for step in &self.model.steps {
            time.check()?;
            self.step(step)?;
        }
        time.check()?;
        let mut outputs = Vec::with_capacity(self.model.outputs.len());
        for (id, _) in &self.model.outputs {
            // An output may be named twice, or be an input.
            let value = self.made.get(id).or_else(|| self.given.get(id).copied());
            outputs.push(value.ok_or(NnErrno::RuntimeError)?.clone());
        }
        Ok(outputs)
    }

    fn value(&self, id: &NodeId) -> Option<&Value> {
        self.made.get(id).or_else(|| self.given.get(id).copied())
    }

    fn shape(&self, id: &NodeId) -> Option<Vec<usize>> {
        self.value(id).map(tensor::shape).or_else(|| self.model.constants.get(id).cloned())
    }

    fn step(&mut self, ready: &ReadyStep) -> Result<(), Failure> {
        let shapes: Vec<_> =
            ready.inputs.iter().map(|id| id.as_ref().and_then(|id| self.shape(id))).collect();
        let bound = bounds::bound(&ready.step, &shapes).ok_or(NnErrno::InvalidArgument)?;
        if bound.work > WORK_MAX {
            return Err(NnErrno::TooLarge.into());
        }
        let outputs = ready.outputs.len() as u64;
        let most =
            bound.elements.saturating_mul(ELEMENT_LEN).saturating_mul(STEP_FACTOR).saturating_mul(outputs);
        self.limits.reserve(most)?;
        let results = self.results(ready);
        self.limits.release(most);
        let results = results?;
        let made: u64 = results.iter().map(tensor::held).sum();
        self.limits.reserve(made)?;
        self.counted += made;
        self.made.extend(ready.outputs.iter().copied().zip(results));
        for id in &ready.last_uses {
            if let Some(value) = self.made.remove(id) {
                let held = tensor::held(&value);
                self.limits.release(held);
                self.counted -= held;
            }
        }
        Ok(())
    }

    /// Lets the engine compute one step from what is there.
    fn results(&self, ready: &ReadyStep) -> Result<Vec<Value>, NnErrno> {
        let mut inputs = Vec::with_capacity(ready.inputs.len());
        for id in ready.inputs.iter().flatten() {
            let again = inputs.iter().any(|(other, _)| other == id);
            if let Some(value) = self.value(id).filter(|_| !again) {
                inputs.push((*id, value.into()));
            }
        }
        guarded(|| self.model.inner.run(inputs, &ready.outputs, None).map_err(|_| NnErrno::InvalidArgument))
    }
}

/// A panic of the engine is a failure of the model.
fn guarded<T>(work: impl FnOnce() -> Result<T, NnErrno>) -> Result<T, NnErrno> {
    // Nothing that the work changes is looked at after a panic.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(NnErrno::RuntimeError))
}
