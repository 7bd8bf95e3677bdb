//! The limits and times of links.

use std::time::Duration;

/// How links behave. Every combination is legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// For a connection to be made, with its handshake. 5 s unless told.
    pub connect_timeout: Duration,
    /// How often the peer at the other end is probed. 2 s unless told.
    pub probe_every: Duration,
    /// How long a probe may take until the peer counts as down. 5 s unless told. An accepted connection ends when nothing has
    /// come for four times this and [`Config::probe_every`].
    pub probe_timeout: Duration,
    /// How long either end of a stream may keep the other waiting for the next piece, or for credit. 30 s unless told.
    pub stalled_after: Duration,
    /// The first ceiling of the delay between attempts to connect. 50 ms unless told.
    pub backoff_first: Duration,
    /// The last ceiling of that delay. 3 s unless told.
    pub backoff_max: Duration,
    /// Exchanges that one peer may have with this node at once, and this node with one peer. At most 512; 128 unless told. What a
    /// peer asks beyond that is refused as busy; one that has twice as many loses its connection.
    pub exchanges_per_peer_max: usize,
    /// Bytes of requests of all peers that are in memory at once, in units of 1 KiB. 256 MiB unless told; a request beyond that
    /// is refused as busy.
    pub request_kib_max: u32,
    /// Longest answer that is accepted, in bytes. 32 MiB unless told.
    pub answer_len_max: usize,
    /// Handshakes at once of callers that are not known yet. 64 unless told.
    pub handshakes_max: usize,
    /// Those of one address. 8 unless told.
    pub handshakes_per_address_max: usize,
    /// Longest deadline that a handler is given, whatever the request says. 10 minutes unless told.
    pub handler_timeout_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            probe_every: Duration::from_secs(2),
            probe_timeout: Duration::from_secs(5),
            stalled_after: Duration::from_secs(30),
            backoff_first: Duration::from_millis(50),
            backoff_max: Duration::from_secs(3),
            exchanges_per_peer_max: 128,
            request_kib_max: 256 * 1024,
            answer_len_max: 32 << 20,
            handshakes_max: 64,
            handshakes_per_address_max: 8,
            handler_timeout_max: Duration::from_secs(600),
        }
    }
}

impl Config {
    /// After this time without a probe the other end of an accepted connection is not there any more.
    pub(crate) fn silent_after(&self) -> Duration {
        (self.probe_every + self.probe_timeout) * 4
    }
}
