//! The seam through which the product reads time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Tells the time. Two implementations ship: the machine's, and one that tests set.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock. It may jump in either direction.
    fn now(&self) -> SystemTime;

    /// A clock that never goes backwards, for measuring and for deadlines within this process.
    fn monotonic(&self) -> Instant;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }

    fn monotonic(&self) -> Instant {
        (**self).monotonic()
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

/// A clock that stands still until it is moved. Clones share the same time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Manual>>);

#[derive(Debug)]
struct Manual {
    now: SystemTime,
    monotonic: Instant,
}

impl ManualClock {
    /// Stands at the given wall time.
    pub fn at(now: SystemTime) -> Self {
        Self(Arc::new(Mutex::new(Manual { now, monotonic: Instant::now() })))
    }

    /// Stands at 2024-01-01T00:00:00Z, so that printed times are the same in every run.
    pub fn new() -> Self {
        Self::at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_067_200))
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let mut manual = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        manual.now += by;
        manual.monotonic += by;
    }

    /// Sets the wall clock only, as an administrator or NTP would; the monotonic clock stays.
    pub fn set_wall(&self, now: SystemTime) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now = now;
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now
    }

    fn monotonic(&self) -> Instant {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).monotonic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new();
        let (wall, monotonic) = (clock.now(), clock.monotonic());
        assert_eq!((clock.now(), clock.monotonic()), (wall, monotonic));
        clock.clone().advance(Duration::from_secs(5));
        assert_eq!(clock.now(), wall + Duration::from_secs(5));
        assert_eq!(clock.monotonic(), monotonic + Duration::from_secs(5));
        clock.set_wall(SystemTime::UNIX_EPOCH);
        assert_eq!(clock.now(), SystemTime::UNIX_EPOCH);
        assert_eq!(clock.monotonic(), monotonic + Duration::from_secs(5));
    }
}
