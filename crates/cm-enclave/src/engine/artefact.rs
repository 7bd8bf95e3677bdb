//! Compiled modules, kept between runs and between instances.
#![allow(unsafe_code, reason = "wasmtime deserialises machine code, which no check can make safe")]

use cm_crypto::digest::{Sha256, sha256};
use cm_instance::policy::ExecutionStrategy;
use cm_types::Sha256Digest;
use wasmtime::{InstancePre, Precompiled};

use super::components::Component;
use super::limits::MemoryLimit;
use super::{Engine, EngineError, checks};
use crate::component::ProgramPre;
use crate::wasi::WasiState;

/// What every WebAssembly module and component begins with; text forms are not accepted.
const MAGIC: &[u8] = b"\0asm";

/// A compiled module. Whoever can alter one can run machine code in the instance, so it is kept sealed
/// wherever others reach.
#[derive(Clone, PartialEq, Eq)]
pub struct Artefact(Vec<u8>);

impl Artefact {
    /// Takes over bytes that were an artefact before.
    ///
    /// # Safety contract of the caller
    ///
    /// Only bytes that were authenticated may be wrapped: opened with `cm_crypto::sealed::open` under a key
    /// that nobody else has, with [`Engine::artefact_binding`] of the program as associated data.
    pub fn from_authentic_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, to be sealed.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Artefact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Artefact({} bytes)", self.0.len())
    }
}

/// A program that is ready to run, any number of times. Its imports are resolved.
#[derive(Clone)]
pub struct Program {
    linked: Linked,
    wasm_sha256: Sha256Digest,
}

/// The two forms that programs come in.
#[derive(Clone)]
pub(super) enum Linked {
    /// A module that imports calls of preview 1.
    Module(Module),
    /// A component that imports interfaces of WASI 0.2.
    Component(Component),
}

/// A module whose imports are resolved.
#[derive(Clone)]
pub(super) struct Module {
    pub(super) linked: InstancePre<WasiState<MemoryLimit>>,
    /// How many bytes of memory it has for the checks, beyond its own; 0 if it is interpreted.
    pub(super) checks_len: usize,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Program({})", self.wasm_sha256)
    }
}

impl Program {
    /// SHA-256 of the module or component that it was compiled from.
    pub fn wasm_sha256(&self) -> Sha256Digest {
        self.wasm_sha256
    }

    pub(super) fn linked(&self) -> &Linked {
        &self.linked
    }
}

impl Engine {
    /// Compiles a module or a component. Takes seconds for large ones; blocks.
    pub fn compile(&self, wasm: &[u8]) -> Result<Artefact, EngineError> {
        if !wasm.starts_with(MAGIC) {
            return Err(EngineError::Module(wasmtime::Error::msg("the bytes do not begin as a module does")));
        }
        let artefact = if wasmparser::Parser::is_component(wasm) {
            self.components()?.inner.precompile_component(wasm)
        } else {
            self.compile_module(wasm)
        };
        artefact.map(Artefact).map_err(EngineError::Module)
    }

    fn compile_module(&self, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
        match self.strategy {
            ExecutionStrategy::Interpretation => self.inner.precompile_module(wasm),
            // What is not valid must not become so by what is added.
            ExecutionStrategy::Jit => wasmtime::Module::validate(&self.inner, wasm)
                .and_then(|()| checks::insert(wasm).map_err(wasmtime::Error::new))
                .and_then(|checked| self.inner.precompile_module(&checked)),
        }
    }

    /// Makes a program of an artefact. `wasm_sha256` is the hash of the module or component it was compiled from,
    /// which the artefact's seal vouches for.
    pub fn load(&self, wasm_sha256: Sha256Digest, artefact: &Artefact) -> Result<Program, EngineError> {
        let linked = match wasmtime::Engine::detect_precompiled(&artefact.0) {
            Some(Precompiled::Component) => Linked::Component(self.load_component(artefact)?),
            _ => Linked::Module(self.load_module(artefact)?),
        };
        Ok(Program { linked, wasm_sha256 })
    }

    fn load_component(&self, artefact: &Artefact) -> Result<Component, EngineError> {
        let components = self.components()?;
        // SAFETY: as in `load_module`; `compile` calls `precompile_component` here.
        let component =
            unsafe { wasmtime::component::Component::deserialize(&components.inner, &artefact.0) };
        let component = component.map_err(EngineError::Artefact)?;
        let linked = components.linker.instantiate_pre(&component).and_then(ProgramPre::new);
        linked.map_err(EngineError::Module)
    }

    fn load_module(&self, artefact: &Artefact) -> Result<Module, EngineError> {
        // SAFETY: `deserialize` demands bytes that `precompile_module` gave, unaltered. An `Artefact` is made
        // by `compile`, which calls just that, or by `from_authentic_bytes`, whose callers authenticate them
        // with a seal that binds the module's hash and this engine's configuration. Wasmtime itself refuses
        // artefacts of another version or configuration.
        let module = unsafe { wasmtime::Module::deserialize(&self.inner, &artefact.0) };
        let module = module.map_err(EngineError::Artefact)?;
        let checks_len = match self.strategy {
            ExecutionStrategy::Interpretation => 0,
            ExecutionStrategy::Jit => checks::stop_len(&module)
                .ok_or_else(|| EngineError::Artefact(wasmtime::Error::msg("it could not be stopped")))?,
        };
        let linked = self.linker.instantiate_pre(&module).map_err(EngineError::Module)?;
        Ok(Module { linked, checks_len })
    }

    /// Compiles a module or a component and makes a program of it.
    pub fn prepare(&self, wasm: &[u8]) -> Result<(Program, Artefact), EngineError> {
        let artefact = self.compile(wasm)?;
        let program = self.load(sha256(wasm), &artefact)?;
        Ok((program, artefact))
    }

    /// What an artefact's seal must bind it to, as associated data: the module, and everything about this
    /// engine that machine code depends on. The number is that of the kind and place of what stops programs.
    pub fn artefact_binding(&self, wasm_sha256: &Sha256Digest) -> Vec<u8> {
        let mut hasher = ConfigHasher(Sha256::new());
        std::hash::Hash::hash(&self.inner.precompile_compatibility_hash(), &mut hasher);
        let config = hasher.0.finish();
        [b"cryptomesh artefact 3\0".as_slice(), wasm_sha256.as_bytes(), config.as_bytes()].concat()
    }
}

/// Lets SHA-256 take in what is made for `std::hash`.
struct ConfigHasher(Sha256);

impl std::hash::Hasher for ConfigHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
