//! Running programs: compiled or interpreted, within limits, with a typed end.
//!
//! An [`Engine`] compiles a WebAssembly module to an [`Artefact`], which can be kept and loaded again much
//! faster, and runs a loaded [`Program`] once per call of [`Engine::run`], each time in a fresh store.
//!
//! # Limits
//!
//! - **Time**: a thread pulls a run's `brake` exactly when its deadline has passed, and so does who cancels it. A
//!   compiled program finds the page gone that it reads at loops and calls (`checks`); an interpreted
//!   one, and every component, finds the engine's epoch advanced. There is no periodic tick, so that nothing is spent on runs that
//!   end in time.
//! - **Memory**: growing over the limit ends the run, rather than to let a program guess why it got -1.
//! - **Storage**: see [`crate::vfs`]. **Fuel**: optional, because counting costs about a third of the speed.
//!
//! # Choices
//!
//! Instances are allocated on demand with copy-on-write images of their initial memory: an instance process
//! runs few programs, one after the other, for which a pool would reserve address space in vain. Linear
//! memory is reserved as 4 GiB of address space with a guard, which lets the compiler leave bounds checks
//! out and takes no memory; `RLIMIT_AS` must therefore leave room for that, and memory is limited by the engine.

mod artefact;
mod brake;
mod checks;
mod components;
mod interrupt;
mod limits;
mod outcome;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cm_instance::ExecutionReport;
use cm_instance::policy::{ExecutionStrategy, StreamEntry};
use cm_runtime::Clock;
use wasmtime::{Config, Inlining, Linker, Store, Trap, UpdateDeadline};

use crate::vfs::View;
use crate::wasi::{End, Time, Wasi, WasiState, add_to_linker};

pub use artefact::{Artefact, Program};
pub use interrupt::Interrupt;

use artefact::{Linked, Module};
use brake::{Brake, Page};
use components::Components;
use interrupt::Alarm;
pub(crate) use limits::MemoryLimit;

/// The function that a program begins with.
const ENTRY: &str = "_start";
/// Deepest stack of a program, in bytes.
const STACK_BYTES: usize = 1024 * 1024;

/// What the engine cannot do. Why a run ended is no error but an [`ExecutionReport`].
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine cannot be set up on this machine.
    #[error("the WebAssembly engine cannot start")]
    Setup(#[source] wasmtime::Error),
    /// The bytes are no WebAssembly module that can run here.
    #[error("not a WebAssembly module that can run here")]
    Module(#[source] wasmtime::Error),
    /// The artefact is for another engine, another module, or none.
    #[error("not a compiled artefact for this engine")]
    Artefact(#[source] wasmtime::Error),
    /// The thread that wakes at deadlines cannot be started.
    #[error("the deadline thread cannot start")]
    Thread(#[source] std::io::Error),
}

/// What one run may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// Linear memory, in bytes.
    pub memory_bytes: u64,
    /// How long it may run.
    pub wall: Duration,
    /// Fuel, if the engine counts it; about one unit per instruction.
    pub fuel: Option<u64>,
}

/// Everything that one run has to do with.
pub struct Run<'a> {
    /// The files as the program may use them.
    pub view: View,
    /// What the program was called with, the name that it was called by first.
    pub arguments: &'a [String],
    /// The standard streams.
    pub streams: &'a [StreamEntry],
    /// A clock, if the policy enables one.
    pub clock: Option<Arc<dyn Clock>>,
    /// Its limits.
    pub limits: RunLimits,
    /// What ends it early.
    pub interrupt: Interrupt,
}

/// Compiles and runs programs in one of the two ways.
pub struct Engine {
    inner: wasmtime::Engine,
    linker: Linker<WasiState<MemoryLimit>>,
    components: OnceLock<Components>,
    strategy: ExecutionStrategy,
    fuel: bool,
    alarm: Alarm,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("strategy", &self.strategy).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine that does not count fuel.
    pub fn new(strategy: ExecutionStrategy) -> Result<Self, EngineError> {
        Self::with_fuel(strategy, false)
    }

    /// An engine, and whether it counts fuel. Starts the thread that wakes at deadlines.
    pub fn with_fuel(strategy: ExecutionStrategy, fuel: bool) -> Result<Self, EngineError> {
        let epochs = strategy == ExecutionStrategy::Interpretation;
        let inner = config(strategy, fuel, epochs).and_then(|config| wasmtime::Engine::new(&config));
        let inner = inner.map_err(EngineError::Setup)?;
        let mut linker = Linker::new(&inner);
        add_to_linker(&mut linker).map_err(EngineError::Setup)?;
        crate::nn::add_to_linker(&mut linker).map_err(EngineError::Setup)?;
        let alarm = Alarm::start().map_err(EngineError::Thread)?;
        Ok(Self { inner, linker, components: OnceLock::new(), strategy, fuel, alarm })
    }

    /// How it runs programs.
    pub fn strategy(&self) -> ExecutionStrategy {
        self.strategy
    }

    /// Runs a program to its end and says how it ended. Blocks; the caller moves off the runtime.
    pub fn run(&self, program: &Program, run: Run<'_>) -> ExecutionReport {
        match program.linked() {
            Linked::Module(module) => self.run_module(module, run),
            Linked::Component(component) => self.run_component(component, run),
        }
    }

    fn run_module(&self, module: &Module, run: Run<'_>) -> ExecutionReport {
        let started = Instant::now();
        let deadline = started + run.limits.wall;
        let time = Time::new(run.clock, deadline, run.interrupt.clone());
        let wasi = Wasi::new(run.view, run.streams, run.arguments, time);
        let limit = MemoryLimit::new(run.limits.memory_bytes, module.checks_len);
        let mut store = Store::new(&self.inner, WasiState::new(wasi, limit));
        store.limiter(|state| &mut state.limits);
        let fuel = self.fuel(&run.limits);
        let ready = fuel.map_or(Ok(()), |fuel| store.set_fuel(fuel));
        let interrupt = run.interrupt;
        let brake = Arc::new(match self.strategy {
            ExecutionStrategy::Jit => Brake::Page(Page::default()),
            ExecutionStrategy::Interpretation => epoch_brake(&self.inner, &mut store, deadline, &interrupt),
        });
        let guard = self.alarm.watch(deadline, &interrupt, &brake);
        // A cancellation before the deadline was set has advanced an epoch that nobody waited for.
        let result = match check(&interrupt, deadline) {
            Some(end) => Err(wasmtime::Error::new(end)),
            None => ready.and_then(|()| enter(&mut store, module, &brake)),
        };
        drop(guard);
        let result = result.map_err(|error| match (&*brake, error.downcast_ref::<Trap>()) {
            (Brake::Page(page), Some(Trap::MemoryOutOfBounds)) if page.is_pulled() => {
                check(&interrupt, deadline).map_or(error, wasmtime::Error::new)
            }
            _ => error,
        });
        let burnt = fuel.map(|fuel| fuel.saturating_sub(store.get_fuel().unwrap_or(0)));
        let state = store.data();
        outcome::report(result, state.wasi.view(), &state.limits, burnt, started.elapsed())
    }

    /// The fuel of a run, if this engine counts it.
    fn fuel(&self, limits: &RunLimits) -> Option<u64> {
        if self.fuel { limits.fuel.or(Some(u64::MAX)) } else { None }
    }
}

fn enter(store: &mut Store<WasiState<MemoryLimit>>, module: &Module, brake: &Brake) -> wasmtime::Result<()> {
    let instance = module.linked.instantiate(&mut *store)?;
    if let Brake::Page(page) = brake {
        let memory = instance.get_memory(&mut *store, checks::STOP);
        let memory = memory.ok_or_else(|| wasmtime::Error::msg("the program could not be stopped"))?;
        // The checks alone read this memory, which lives as long as the store and cannot grow.
        page.arm(memory.data_ptr(&*store), memory.data_size(&*store));
        if let Some(start) = instance.get_func(&mut *store, checks::START) {
            start.typed::<(), ()>(&*store)?.call(&mut *store, ())?;
        }
    }
    let entry = instance.get_typed_func::<(), ()>(&mut *store, ENTRY)?;
    entry.call(store, ())
}

/// Lets a store look, whenever the engine's epoch advances, whether its run has to end.
fn epoch_brake<T: 'static>(
    engine: &wasmtime::Engine,
    store: &mut Store<T>,
    deadline: Instant,
    interrupt: &Interrupt,
) -> Brake {
    let watched = interrupt.clone();
    store.epoch_deadline_callback(move |_| match check(&watched, deadline) {
        Some(end) => Err(wasmtime::Error::new(end)),
        None => Ok(UpdateDeadline::Continue(1)),
    });
    store.set_epoch_deadline(1);
    Brake::Epoch(engine.clone())
}

fn check(interrupt: &Interrupt, deadline: Instant) -> Option<End> {
    if interrupt.is_cancelled() {
        return Some(End::Cancelled);
    }
    (Instant::now() >= deadline).then_some(End::Limit(cm_instance::Limit::Time))
}

fn config(strategy: ExecutionStrategy, fuel: bool, epochs: bool) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    if strategy == ExecutionStrategy::Interpretation {
        config.target(if cfg!(target_pointer_width = "64") { "pulley64" } else { "pulley32" })?;
    }
    config.epoch_interruption(epochs);
    // A check that stands twice in a function could be left out once; see `checks`.
    config.compiler_inlining(Inlining::No);
    config.consume_fuel(fuel);
    config.max_wasm_stack(STACK_BYTES);
    config.memory_init_cow(true);
    config.relaxed_simd_deterministic(true);
    Ok(config)
}
