//! The calls under their names.

use std::sync::Arc;

use cm_instance::Rights;
use wasmtime::{Caller, Linker};

use super::model::{Failure, Model};
use super::tensor;
use super::{CONTEXTS_MAX, Context, GRAPHS_MAX, MODEL_LEN_MAX, Nn, NnErrno};
use crate::engine::MemoryLimit;
use crate::vfs::{Errno, OpenOptions};
use crate::wasi::{End, Guest, Wasi, WasiState};

const MODULE: &str = "wasi_ephemeral_nn";
/// The interface's number of ONNX among the encodings.
const ONNX: u32 = 1;
/// The interface's numbers of targets that mean the processor: itself, and whatever is there.
const TARGETS: [u32; 2] = [0, 3];
/// Bytes of a model that are read at a time.
const READ_LEN: usize = 1024 * 1024;
/// Most parts that a model comes in.
const PARTS_MAX: u32 = 16;

type State = WasiState<MemoryLimit>;

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Errno(match errno {
            Errno::Fault => NnErrno::MissingMemory,
            Errno::Noent | Errno::Notdir | Errno::Isdir => NnErrno::NotFound,
            Errno::Notcapable => NnErrno::RuntimeError,
            _ => NnErrno::InvalidArgument,
        })
    }
}

/// What a call works on.
struct Host<'a> {
    wasi: &'a mut Wasi,
    nn: &'a mut Nn,
    limits: &'a mut MemoryLimit,
}

type NnResult = Result<(), Failure>;

impl Host<'_> {
    fn load(&mut self, guest: &mut Guest<'_>, parts: (u32, u32), how: (u32, u32), out: u32) -> NnResult {
        if how.0 != ONNX {
            return Err(NnErrno::InvalidEncoding.into());
        }
        if !TARGETS.contains(&how.1) {
            return Err(NnErrno::UnsupportedOperation.into());
        }
        if parts.1 > PARTS_MAX {
            return Err(NnErrno::InvalidArgument.into());
        }
        let mut len = 0;
        for index in 0..parts.1 {
            len += guest.buffer(parts.0, index)?.1 as usize;
        }
        self.room(len)?;
        let mut bytes = Vec::with_capacity(len);
        for index in 0..parts.1 {
            let (at, len) = guest.buffer(parts.0, index)?;
            bytes.extend_from_slice(guest.bytes(at, len)?);
        }
        self.keep(guest, bytes, out)
    }

    fn load_by_name(&mut self, guest: &mut Guest<'_>, at: u32, len: u32, out: u32) -> NnResult {
        let name = guest.text(at, len)?;
        let view = self.wasi.view_mut();
        view.begin("load_by_name");
        let options = OpenOptions { wanted: Rights::FD_READ, follow: true, ..OpenOptions::default() };
        let mut file = view.open(None, &name, options)?;
        let mut bytes = Vec::new();
        loop {
            let done = bytes.len();
            self.room(done + READ_LEN)?;
            bytes.resize(done + READ_LEN, 0);
            let count = self.wasi.view_mut().read(&mut file, std::iter::once(&mut bytes[done..]))?;
            bytes.truncate(done + count);
            if count == 0 {
                break;
            }
        }
        bytes.shrink_to_fit();
        self.keep(guest, bytes, out)
    }

    /// Whether a model of this length is small enough, and its bytes alone leave room.
    fn room(&mut self, len: usize) -> NnResult {
        if len > MODEL_LEN_MAX + READ_LEN || self.nn.graphs.len() >= GRAPHS_MAX {
            return Err(NnErrno::TooLarge.into());
        }
        self.limits.reserve(len as u64)?;
        self.limits.release(len as u64);
        Ok(())
    }

    fn keep(&mut self, guest: &mut Guest<'_>, bytes: Vec<u8>, out: u32) -> NnResult {
        if bytes.len() > MODEL_LEN_MAX {
            return Err(NnErrno::TooLarge.into());
        }
        guest.u32(out)?;
        self.wasi.time().check()?;
        let model = Model::load(bytes, self.limits)?;
        let number = self.nn.graphs.len() as u32;
        self.nn.graphs.push(Arc::new(model));
        Ok(guest.put_u32(out, number)?)
    }

    fn init_execution_context(&mut self, guest: &mut Guest<'_>, graph: u32, out: u32) -> NnResult {
        let model = self.nn.graphs.get(graph as usize).ok_or(NnErrno::InvalidArgument)?.clone();
        if self.nn.contexts.len() >= CONTEXTS_MAX {
            return Err(NnErrno::TooLarge.into());
        }
        guest.put_u32(out, self.nn.contexts.len() as u32)?;
        let inputs = (0..model.inputs_len()).map(|_| None).collect();
        self.nn.contexts.push(Context { model, inputs, outputs: Vec::new() });
        Ok(())
    }

    /// A tensor in the program's memory: the place and number of its sides, the type of its elements, the place and
    /// length of its bytes.
    fn set_input(&mut self, guest: &mut Guest<'_>, context: u32, index: u32, at: u32) -> NnResult {
        let field = |by: u32| at.checked_add(by).ok_or(NnErrno::MissingMemory);
        let (sides_at, rank) = guest.buffer(at, 0)?;
        let kind = guest.bytes(field(8)?, 1)?[0];
        let (bytes_at, len) = guest.buffer(field(12)?, 0)?;
        if rank as usize > tensor::RANK_MAX {
            return Err(NnErrno::InvalidArgument.into());
        }
        let sides = guest.bytes(sides_at, rank * 4)?;
        let shape: Vec<usize> =
            sides.as_chunks().0.iter().map(|side| u32::from_le_bytes(*side) as usize).collect();
        let bytes = guest.bytes(bytes_at, len)?;
        let context = self.nn.contexts.get_mut(context as usize).ok_or(NnErrno::InvalidArgument)?;
        let place = context.inputs.get_mut(index as usize).ok_or(NnErrno::InvalidArgument)?;
        self.limits.reserve(u64::from(len))?;
        let made = tensor::value(kind, &shape, bytes);
        self.limits.release(u64::from(len));
        let value = made?;
        self.limits.reserve(tensor::held(&value))?;
        if let Some(before) = place.replace(value) {
            self.limits.release(tensor::held(&before));
        }
        Ok(())
    }

    fn compute(&mut self, context: u32) -> NnResult {
        let context = self.nn.contexts.get_mut(context as usize).ok_or(NnErrno::InvalidArgument)?;
        for before in context.outputs.drain(..) {
            self.limits.release(tensor::held(&before));
        }
        let outputs = context.model.compute(&context.inputs, self.limits, self.wasi.time())?;
        self.limits.reserve(outputs.iter().map(tensor::held).sum())?;
        context.outputs = outputs;
        Ok(())
    }

    fn get_output(
        &mut self,
        guest: &mut Guest<'_>,
        which: (u32, u32),
        buffer: (u32, u32),
        out: u32,
    ) -> NnResult {
        let context = self.nn.contexts.get(which.0 as usize).ok_or(NnErrno::InvalidArgument)?;
        let index = which.1 as usize;
        let value = context.outputs.get(index).ok_or(NnErrno::InvalidArgument)?;
        let elements = context.model.output_elements(index).ok_or(NnErrno::InvalidArgument)?;
        let bytes = tensor::bytes(value, elements)?;
        if bytes.len() > buffer.1 as usize {
            return Err(NnErrno::TooLarge.into());
        }
        guest.put(buffer.0, &bytes)?;
        Ok(guest.put_u32(out, bytes.len() as u32)?)
    }
}

fn call(
    caller: &mut Caller<'_, State>,
    body: impl FnOnce(&mut Host<'_>, &mut Guest<'_>) -> NnResult,
) -> wasmtime::Result<i32> {
    let Some((bytes, state)) = State::with_memory(caller) else {
        return Ok(NnErrno::MissingMemory as i32);
    };
    let State { wasi, nn, limits, .. } = state;
    match body(&mut Host { wasi, nn, limits }, &mut Guest::new(bytes)) {
        Ok(()) => Ok(0),
        Err(Failure::Errno(errno)) => Ok(errno as i32),
        Err(Failure::End(end)) => Err(wasmtime::Error::new::<End>(end)),
    }
}

/// Defines the calls. Fails only if one of them is defined already.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "load",
        |mut c: Caller<'_, State>, parts: u32, n: u32, encoding: u32, target: u32, out: u32| {
            call(&mut c, |host, guest| host.load(guest, (parts, n), (encoding, target), out))
        },
    )?;
    linker.func_wrap(MODULE, "load_by_name", |mut c: Caller<'_, State>, at: u32, len: u32, out: u32| {
        call(&mut c, |host, guest| host.load_by_name(guest, at, len, out))
    })?;
    linker.func_wrap(
        MODULE,
        "init_execution_context",
        |mut c: Caller<'_, State>, graph: u32, out: u32| {
            call(&mut c, |host, guest| host.init_execution_context(guest, graph, out))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "set_input",
        |mut c: Caller<'_, State>, context: u32, index: u32, at: u32| {
            call(&mut c, |host, guest| host.set_input(guest, context, index, at))
        },
    )?;
    linker.func_wrap(MODULE, "compute", |mut c: Caller<'_, State>, context: u32| {
        call(&mut c, |host, _| host.compute(context))
    })?;
    linker.func_wrap(
        MODULE,
        "get_output",
        |mut c: Caller<'_, State>, context: u32, index: u32, at: u32, len: u32, out: u32| {
            call(&mut c, |host, guest| host.get_output(guest, (context, index), (at, len), out))
        },
    )?;
    Ok(())
}
