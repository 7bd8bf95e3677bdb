//! What a component is told about itself, time, randomness, and waiting.

use std::time::Duration;

use wasmtime::component::Resource;

use super::World;
use super::bindings::wasi::io::poll;
use super::bindings::wasi::{cli, clocks, random};
use super::streams::{InputStream, OutputStream};
use crate::vfs::Errno;
use crate::wasi::{End, RANDOM_MAX, RESOLUTION_NS};

/// Most things that one call waits for.
const POLLED_MAX: usize = 1024;
const NANOSECONDS: u64 = 1_000_000_000;

/// There are no terminals, so that nobody ever holds one.
#[derive(Debug)]
pub enum Terminal {}

/// Something to wait for.
#[derive(Clone, Copy, Debug)]
pub enum Pollable {
    /// Nothing that takes time.
    Ready,
    /// A time, in nanoseconds since the run began.
    At(u64),
}

fn trap(end: End) -> wasmtime::Error {
    wasmtime::Error::new(end)
}

/// A number from the clock. Without one the run ends, because the interfaces know no refusal.
fn timed<T>(result: Result<T, Errno>) -> wasmtime::Result<T> {
    result.map_err(|_| trap(End::NoClock))
}

/// A time as the interfaces write it.
pub(super) fn datetime(ns: u64) -> clocks::wall_clock::Datetime {
    clocks::wall_clock::Datetime { seconds: ns / NANOSECONDS, nanoseconds: (ns % NANOSECONDS) as u32 }
}

/// The nanoseconds of a time; an error if there are too many.
pub(super) fn nanoseconds(time: clocks::wall_clock::Datetime) -> Result<u64, Errno> {
    let seconds = time.seconds.checked_mul(NANOSECONDS).ok_or(Errno::Overflow)?;
    seconds.checked_add(time.nanoseconds.into()).ok_or(Errno::Overflow)
}

fn rounded(ns: u64) -> u64 {
    ns - ns % RESOLUTION_NS
}

fn random_bytes(len: u64) -> wasmtime::Result<Vec<u8>> {
    let len = usize::try_from(len).ok().filter(|len| *len <= RANDOM_MAX as usize);
    let mut bytes = vec![0; len.ok_or_else(|| wasmtime::Error::msg("too many random bytes at once"))?];
    cm_crypto::secret::fill_random(&mut bytes);
    Ok(bytes)
}

fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    cm_crypto::secret::fill_random(&mut bytes);
    u64::from_le_bytes(bytes)
}

impl World {
    /// How long something has to be waited for yet.
    fn left(&self, pollable: Pollable) -> wasmtime::Result<Duration> {
        match pollable {
            Pollable::Ready => Ok(Duration::ZERO),
            Pollable::At(at) => Ok(Duration::from_nanos(at.saturating_sub(timed(self.time.monotonic_ns())?))),
        }
    }

    fn output(&mut self, error: bool) -> wasmtime::Result<Resource<OutputStream>> {
        let handle = if error { &self.stderr } else { &self.stdout };
        let handle = handle.as_ref().and_then(|handle| self.view.duplicate(handle, 0).ok());
        Ok(self.table.push(OutputStream(handle))?)
    }
}

impl cli::environment::Host for World {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.arguments.clone())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }
}

impl cli::exit::Host for World {
    fn exit(&mut self, status: Result<(), ()>) -> wasmtime::Result<()> {
        Err(trap(End::Exit(u32::from(status.is_err()))))
    }

    fn exit_with_code(&mut self, code: u8) -> wasmtime::Result<()> {
        Err(trap(End::Exit(code.into())))
    }
}

impl cli::stdin::Host for World {
    fn get_stdin(&mut self) -> wasmtime::Result<Resource<InputStream>> {
        Ok(self.table.push(InputStream::Stdin)?)
    }
}

impl cli::stdout::Host for World {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<OutputStream>> {
        self.output(false)
    }
}

impl cli::stderr::Host for World {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<OutputStream>> {
        self.output(true)
    }
}

impl cli::terminal_input::Host for World {}

impl cli::terminal_input::HostTerminalInput for World {
    fn drop(&mut self, this: Resource<Terminal>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl cli::terminal_output::Host for World {}

impl cli::terminal_output::HostTerminalOutput for World {
    fn drop(&mut self, this: Resource<Terminal>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl cli::terminal_stdin::Host for World {
    fn get_terminal_stdin(&mut self) -> wasmtime::Result<Option<Resource<Terminal>>> {
        Ok(None)
    }
}

impl cli::terminal_stdout::Host for World {
    fn get_terminal_stdout(&mut self) -> wasmtime::Result<Option<Resource<Terminal>>> {
        Ok(None)
    }
}

impl cli::terminal_stderr::Host for World {
    fn get_terminal_stderr(&mut self) -> wasmtime::Result<Option<Resource<Terminal>>> {
        Ok(None)
    }
}

impl clocks::monotonic_clock::Host for World {
    fn now(&mut self) -> wasmtime::Result<u64> {
        timed(self.time.monotonic_ns()).map(rounded)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        timed(self.time.monotonic_ns()).map(|_| RESOLUTION_NS)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<Pollable>> {
        timed(self.time.monotonic_ns())?;
        Ok(self.table.push(Pollable::At(when))?)
    }

    fn subscribe_duration(&mut self, wait: u64) -> wasmtime::Result<Resource<Pollable>> {
        let now = timed(self.time.monotonic_ns())?;
        Ok(self.table.push(Pollable::At(now.saturating_add(wait)))?)
    }
}

impl clocks::wall_clock::Host for World {
    fn now(&mut self) -> wasmtime::Result<clocks::wall_clock::Datetime> {
        timed(self.time.realtime_ns()).map(rounded).map(datetime)
    }

    fn resolution(&mut self) -> wasmtime::Result<clocks::wall_clock::Datetime> {
        timed(self.time.realtime_ns()).map(|_| datetime(RESOLUTION_NS))
    }
}

impl poll::Host for World {
    fn poll(&mut self, list: Vec<Resource<Pollable>>) -> wasmtime::Result<Vec<u32>> {
        if list.is_empty() || list.len() > POLLED_MAX {
            return Err(wasmtime::Error::msg("a wait is for one to 1024 things"));
        }
        let mut waits = Vec::with_capacity(list.len());
        for pollable in &list {
            waits.push(self.left(*self.table.get(pollable)?)?);
        }
        let shortest = waits.iter().min().copied().unwrap_or_default();
        self.time.pause(shortest).map_err(trap)?;
        Ok((0..).zip(waits).filter(|(_, wait)| *wait <= shortest).map(|(index, _)| index).collect())
    }
}

impl poll::HostPollable for World {
    fn ready(&mut self, this: Resource<Pollable>) -> wasmtime::Result<bool> {
        Ok(self.left(*self.table.get(&this)?)?.is_zero())
    }

    fn block(&mut self, this: Resource<Pollable>) -> wasmtime::Result<()> {
        let wait = self.left(*self.table.get(&this)?)?;
        self.time.pause(wait).map_err(trap)
    }

    fn drop(&mut self, this: Resource<Pollable>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl random::random::Host for World {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        random_bytes(len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(random_u64())
    }
}

impl random::insecure::Host for World {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        random_bytes(len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(random_u64())
    }
}

impl random::insecure_seed::Host for World {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((random_u64(), random_u64()))
    }
}
