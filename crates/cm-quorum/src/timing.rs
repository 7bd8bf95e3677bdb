//! How long things take at most.

use std::time::Duration;

/// The delays of the protocol. Nothing is ever wrong because of them; badly chosen ones make it slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often an idle leader shows that it lives.
    pub heartbeat: Duration,
    /// After how long without a leader another one is elected: from this to twice as long, by lot.
    pub election: Duration,
    /// After how long a question that was not answered is asked again.
    pub resend: Duration,
    /// How long a holder keeps its turn without a sign of life.
    pub turn: Duration,
    /// How long a holder keeps its turn at all while others wait.
    pub turn_max: Duration,
    /// Entries of the log that are kept for those who lag, though they are applied.
    pub log_entries: usize,
    /// As `log_entries`, in bytes.
    pub log_bytes: usize,
}

impl Default for Timing {
    /// For nodes in one place, some milliseconds from each other, with disks that now and then take a while.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(150),
            election: Duration::from_millis(1000),
            resend: Duration::from_millis(500),
            turn: Duration::from_secs(3),
            turn_max: Duration::from_secs(60),
            log_entries: 4096,
            log_bytes: 32 << 20,
        }
    }
}
