//! Time as a run may know it and has it left.

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use cm_instance::Limit;
use cm_runtime::Clock;

use super::End;
use crate::engine::Interrupt;
use crate::vfs::Errno;

/// What clocks claim to distinguish, in nanoseconds: a millisecond, so that a program is a poor stopwatch.
pub(crate) const RESOLUTION_NS: u64 = 1_000_000;

/// The clock of a run, if the policy enables one, and what ends its waiting.
pub struct Time {
    clock: Option<Arc<dyn Clock>>,
    started: Option<Instant>,
    deadline: Instant,
    interrupt: Interrupt,
}

impl Time {
    /// The time of a run that begins now.
    pub fn new(clock: Option<Arc<dyn Clock>>, deadline: Instant, interrupt: Interrupt) -> Self {
        let started = clock.as_ref().map(|clock| clock.monotonic());
        Self { clock, started, deadline, interrupt }
    }

    /// Nanoseconds since 1970.
    pub(crate) fn realtime_ns(&self) -> Result<u64, Errno> {
        let clock = self.clock.as_ref().ok_or(Errno::Acces)?;
        let since = clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).map_err(|_| Errno::Overflow)
    }

    /// Nanoseconds since the run began.
    pub(crate) fn monotonic_ns(&self) -> Result<u64, Errno> {
        let (Some(clock), Some(started)) = (&self.clock, self.started) else { return Err(Errno::Acces) };
        let since = clock.monotonic().saturating_duration_since(started);
        u64::try_from(since.as_nanos()).map_err(|_| Errno::Overflow)
    }

    /// Waits, but neither beyond the deadline nor beyond a cancellation.
    pub(crate) fn pause(&self, wait: Duration) -> Result<(), End> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if self.interrupt.wait(wait.min(left)) {
            return Err(End::Cancelled);
        }
        if wait > left { Err(End::Limit(Limit::Time)) } else { Ok(()) }
    }

    /// Whether the run has to end.
    pub(crate) fn check(&self) -> Result<(), End> {
        if self.interrupt.is_cancelled() {
            return Err(End::Cancelled);
        }
        if Instant::now() >= self.deadline { Err(End::Limit(Limit::Time)) } else { Ok(()) }
    }
}
