//! Compiled modules, kept between runs and between instances.
#![allow(unsafe_code, reason = "wasmtime deserialises machine code, which no check can make safe")]

use cm_crypto::digest::{Sha256, sha256};
use cm_instance::policy::ExecutionStrategy;
use cm_types::Sha256Digest;
use wasmtime::{InstancePre, Module};

use super::limits::MemoryLimit;
use super::{Engine, EngineError, checks};
use crate::wasi::WasiState;

/// What every WebAssembly module begins with; text forms are not accepted.
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
    linked: InstancePre<WasiState<MemoryLimit>>,
    wasm_sha256: Sha256Digest,
    checks_len: usize,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Program({})", self.wasm_sha256)
    }
}

impl Program {
    /// SHA-256 of the module that it was compiled from.
    pub fn wasm_sha256(&self) -> Sha256Digest {
        self.wasm_sha256
    }

    pub(super) fn linked(&self) -> &InstancePre<WasiState<MemoryLimit>> {
        &self.linked
    }

    /// How many bytes of memory it has for the checks, beyond its own; 0 if it is interpreted.
    pub(super) fn checks_len(&self) -> usize {
        self.checks_len
    }
}

impl Engine {
    /// Compiles a module. Takes seconds for large ones; blocks.
    pub fn compile(&self, wasm: &[u8]) -> Result<Artefact, EngineError> {
        if !wasm.starts_with(MAGIC) {
            return Err(EngineError::Module(wasmtime::Error::msg("the bytes do not begin as a module does")));
        }
        let artefact = match self.strategy {
            ExecutionStrategy::Interpretation => self.inner.precompile_module(wasm),
            // What is not valid must not become so by what is added.
            ExecutionStrategy::Jit => Module::validate(&self.inner, wasm)
                .and_then(|()| checks::insert(wasm).map_err(wasmtime::Error::new))
                .and_then(|checked| self.inner.precompile_module(&checked)),
        };
        artefact.map(Artefact).map_err(EngineError::Module)
    }

    /// Makes a program of an artefact. `wasm_sha256` is the hash of the module it was compiled from, which
    /// the artefact's seal vouches for.
    pub fn load(&self, wasm_sha256: Sha256Digest, artefact: &Artefact) -> Result<Program, EngineError> {
        // SAFETY: `deserialize` demands bytes that `precompile_module` gave, unaltered. An `Artefact` is made
        // by `compile`, which calls just that, or by `from_authentic_bytes`, whose callers authenticate them
        // with a seal that binds the module's hash and this engine's configuration. Wasmtime itself refuses
        // artefacts of another version or configuration.
        let module = unsafe { Module::deserialize(&self.inner, &artefact.0) };
        let module = module.map_err(EngineError::Artefact)?;
        let checks_len = match self.strategy {
            ExecutionStrategy::Interpretation => 0,
            ExecutionStrategy::Jit => checks::stop_len(&module)
                .ok_or_else(|| EngineError::Artefact(wasmtime::Error::msg("it could not be stopped")))?,
        };
        let linked = self.linker.instantiate_pre(&module).map_err(EngineError::Module)?;
        Ok(Program { linked, wasm_sha256, checks_len })
    }

    /// Compiles a module and makes a program of it.
    pub fn prepare(&self, wasm: &[u8]) -> Result<(Program, Artefact), EngineError> {
        let artefact = self.compile(wasm)?;
        let program = self.load(sha256(wasm), &artefact)?;
        Ok((program, artefact))
    }

    /// What an artefact's seal must bind it to, as associated data: the module, and everything about this
    /// engine that machine code depends on. The number is that of the checks' kind and place.
    pub fn artefact_binding(&self, wasm_sha256: &Sha256Digest) -> Vec<u8> {
        let mut hasher = ConfigHasher(Sha256::new());
        std::hash::Hash::hash(&self.inner.precompile_compatibility_hash(), &mut hasher);
        let config = hasher.0.finish();
        [b"cryptomesh artefact 2\0".as_slice(), wasm_sha256.as_bytes(), config.as_bytes()].concat()
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
