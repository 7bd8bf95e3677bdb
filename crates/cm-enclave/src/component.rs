//! What a component sees of the world: the interfaces of `wasi:cli/command` 0.2 without sockets, and nothing else.
//!
//! The files are those of [`crate::vfs`], seen through the same [`View`](crate::vfs::View) as by a program of preview
//! 1; a right of a policy governs the same act under either interface. `docs/adr/0017-components-and-inference.md`
//! says why `wasmtime-wasi` is not used.
//!
//! # What needs which right
//!
//! The rules are those at the top of [`crate::wasi`]. What differs, because the interface does:
//!
//! - `open-at` asks for all rights but those that `descriptor-flags` leave out: without `read` no `FD_READ`, without
//!   `write` none that changes the file's bytes or length. The descriptor gets those of them that the policy gives.
//! - A stream reads or writes with `FD_READ` or `FD_WRITE`, asked for at every use. One that begins elsewhere than at
//!   the file's beginning needs `FD_SEEK` too, as `descriptor.read` and `descriptor.write` do always.
//! - `metadata-hash` tells the number of a file, which comes with the entries of a directory in preview 1: it needs
//!   `FD_READDIR`, or what `stat` needs. `get-type`, `get-flags` and `is-same-object` need nothing.
//! - `wasi:clocks` has no way to refuse. Without a clock in the policy, asking for the time ends the run.
//! - Everything is ready at once but a wait for a clock, which ends with the run.
//!
//! Errors tell a missing right as `not-permitted`; it is listed in the report under the name of the interface's call.

#![allow(unreachable_pub, reason = "the generated traits demand types that are as public as they are")]

mod bindings;
mod descriptors;
mod failure;
mod process;
mod streams;
#[cfg(test)]
mod tests;

use cm_instance::policy::StreamEntry;
use wasmtime::component::{HasSelf, Linker, ResourceTable};

use crate::vfs::{Handle, View};
use crate::wasi::{Time, open_streams};

pub(crate) use bindings::ProgramPre;

use bindings::wasi;

/// Most descriptors, streams and the like that a component holds at once.
const RESOURCES_MAX: usize = 4096;
/// Most bytes that one call takes out of a file or lets into one. Programs repeat the call.
const CALL_LEN_MAX: usize = 1024 * 1024;

/// What a store must hold for the calls.
pub(crate) struct ComponentState<L> {
    /// The world of the run.
    pub(crate) world: World,
    /// The limits of the run.
    pub(crate) limits: L,
}

/// The world of one run of a component.
pub(crate) struct World {
    view: View,
    table: ResourceTable,
    /// Standard input; its position is one for all streams that the program gets.
    stdin: Option<Handle>,
    stdout: Option<Handle>,
    stderr: Option<Handle>,
    arguments: Vec<String>,
    time: Time,
}

impl World {
    /// The world of a component, as [`crate::wasi::Wasi::new`] makes that of a program of preview 1.
    pub(crate) fn new(mut view: View, streams: &[StreamEntry], arguments: &[String], time: Time) -> Self {
        let [stdin, stdout, stderr] = open_streams(&mut view, streams);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        Self { view, table, stdin, stdout, stderr, arguments: arguments.to_vec(), time }
    }

    /// The view, with the list of refusals.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }
}

/// Defines the interfaces. Fails only if one of them is defined already.
pub(crate) fn add_to_linker<L: 'static>(linker: &mut Linker<ComponentState<L>>) -> wasmtime::Result<()> {
    macro_rules! add {
        ($($interface:path),+ $(,)?) => {{
            $({
                use $interface as interface;
                interface::add_to_linker::<_, HasSelf<World>>(linker, |state| &mut state.world)?;
            })+
        }};
    }
    add!(
        wasi::cli::environment,
        wasi::cli::exit,
        wasi::cli::stdin,
        wasi::cli::stdout,
        wasi::cli::stderr,
        wasi::cli::terminal_input,
        wasi::cli::terminal_output,
        wasi::cli::terminal_stdin,
        wasi::cli::terminal_stdout,
        wasi::cli::terminal_stderr,
        wasi::clocks::monotonic_clock,
        wasi::clocks::wall_clock,
        wasi::filesystem::types,
        wasi::filesystem::preopens,
        wasi::io::error,
        wasi::io::poll,
        wasi::io::streams,
        wasi::random::random,
        wasi::random::insecure,
        wasi::random::insecure_seed,
    );
    Ok(())
}
