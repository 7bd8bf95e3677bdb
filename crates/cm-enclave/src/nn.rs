//! Inference: models of machine learning, run at the machine's own speed for a program that is WebAssembly.
//!
//! The calls are those of `wasi_ephemeral_nn`, the first published form of wasi-nn: `load` or `load_by_name`,
//! `init_execution_context`, `set_input`, `compute`, `get_output`. Models are ONNX; `rten` computes, which is Rust
//! throughout and needs nothing of the machine but processors.
//!
//! # Rights
//!
//! `load_by_name` takes the name of a file and reads it as the program: `PATH_OPEN` and `FD_READ` on its path, or the
//! refusal is listed in the report. `load` takes bytes that the program has already. A model can name no other files.
//!
//! # Limits
//!
//! `rten` limits neither memory nor time. What holds is this, and why:
//!
//! - A model is taken apart and judged before `rten` gets it: how long it is, how many steps it has, that it has no
//!   graphs within graphs (which could be nested without end), and only operators of `bounds`.
//! - It is computed **step by step**. Before each step `bounds` says from the shapes that are really there how much
//!   could come out and how much work it is. What comes out is counted as memory of the program, together with its
//!   own; beyond the limit the run ends as if the program had grown.
//! - Between steps the run's deadline and its cancellation are looked at. One step cannot be interrupted; it is
//!   refused beforehand if it takes more than [`bounds::WORK_MAX`] multiplications. A run may therefore end some seconds
//!   after its deadline, and not later.
//! - What a step needs while it computes, beyond what comes out, is not counted exactly; `model` charges twice the output.
//!
//! A panic of the engine is the program's error and not the instance's end.

mod bounds;
mod calls;
mod model;
mod onnx;
mod tensor;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use calls::add_to_linker;

use model::Model;
use rten::Value;

/// Most models that a program has loaded at once.
const GRAPHS_MAX: usize = 16;
/// Most computations that a program has prepared at once.
const CONTEXTS_MAX: usize = 64;
/// Longest model, in bytes.
const MODEL_LEN_MAX: usize = 256 * 1024 * 1024;

/// The models and computations of one run.
#[derive(Default)]
pub(crate) struct Nn {
    graphs: Vec<Arc<Model>>,
    contexts: Vec<Context>,
}

impl std::fmt::Debug for Nn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nn").field("graphs", &self.graphs.len()).finish_non_exhaustive()
    }
}

/// A model with its inputs and, once it was computed, its outputs.
struct Context {
    model: Arc<Model>,
    inputs: Vec<Option<Value>>,
    outputs: Vec<Value>,
}

/// Error numbers, as the interface numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum NnErrno {
    InvalidArgument = 1,
    InvalidEncoding = 2,
    MissingMemory = 3,
    RuntimeError = 5,
    UnsupportedOperation = 6,
    TooLarge = 7,
    NotFound = 8,
}
