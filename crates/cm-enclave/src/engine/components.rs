//! Components: compiled, linked and run as modules are, with interfaces of WASI 0.2 instead of calls of preview 1.
//!
//! A component holds several modules, whose memories nobody outside can name. The checks of [`super::checks`] would
//! have to be carried into each of them and their memory out again. Components are stopped by epochs instead,
//! compiled or interpreted: an engine of their own checks a counter at loops and calls.

use std::sync::Arc;
use std::time::Instant;

use cm_instance::ExecutionReport;
use wasmtime::Store;
use wasmtime::component::Linker;

use super::limits::MemoryLimit;
use super::{Engine, EngineError, Run, check, config, epoch_brake, outcome};
use crate::component::{ComponentState, ProgramPre, World, add_to_linker};
use crate::wasi::{End, Time};

/// What components need of an engine. Made when the first component arrives: most instances never see one.
pub(super) struct Components {
    pub(super) inner: wasmtime::Engine,
    pub(super) linker: Linker<ComponentState<MemoryLimit>>,
}

/// A component whose imports are resolved.
pub(super) type Component = ProgramPre<ComponentState<MemoryLimit>>;

impl Engine {
    /// The engine of the components.
    pub(super) fn components(&self) -> Result<&Components, EngineError> {
        if let Some(components) = self.components.get() {
            return Ok(components);
        }
        let inner = config(self.strategy, self.fuel, true).and_then(|config| wasmtime::Engine::new(&config));
        let inner = inner.map_err(EngineError::Setup)?;
        let mut linker = Linker::new(&inner);
        add_to_linker(&mut linker).map_err(EngineError::Setup)?;
        // Another thread may have been faster; then its engine stays.
        Ok(self.components.get_or_init(|| Components { inner, linker }))
    }

    pub(super) fn run_component(&self, component: &Component, run: Run<'_>) -> ExecutionReport {
        let started = Instant::now();
        let deadline = started + run.limits.wall;
        let time = Time::new(run.clock, deadline, run.interrupt.clone());
        let world = World::new(run.view, run.streams, run.arguments, time);
        let limits = MemoryLimit::new(run.limits.memory_bytes, 0);
        let engine = component.engine();
        let mut store = Store::new(engine, ComponentState { world, limits });
        store.limiter(|state| &mut state.limits);
        let fuel = self.fuel(&run.limits);
        let ready = fuel.map_or(Ok(()), |fuel| store.set_fuel(fuel));
        let interrupt = run.interrupt;
        let brake = Arc::new(epoch_brake(engine, &mut store, deadline, &interrupt));
        let guard = self.alarm.watch(deadline, &interrupt, &brake);
        let result = match check(&interrupt, deadline) {
            Some(end) => Err(wasmtime::Error::new(end)),
            None => ready.and_then(|()| enter(&mut store, component)),
        };
        drop(guard);
        let burnt = fuel.map(|fuel| fuel.saturating_sub(store.get_fuel().unwrap_or(0)));
        let state = store.data();
        outcome::report(result, state.world.view(), &state.limits, burnt, started.elapsed())
    }
}

fn enter(store: &mut Store<ComponentState<MemoryLimit>>, component: &Component) -> wasmtime::Result<()> {
    let program = component.instantiate(&mut *store)?;
    let result = program.wasi_cli_run().call_run(store)?;
    result.map_err(|()| wasmtime::Error::new(End::Exit(1)))
}
