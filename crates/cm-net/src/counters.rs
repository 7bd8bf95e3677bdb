//! What is counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// What went over the links of a node since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that were made to peers.
    pub connected: u64,
    /// Attempts to connect that failed.
    pub connect_failed: u64,
    /// Connections of peers that were accepted.
    pub accepted: u64,
    /// Callers that were turned away: strangers, and those beyond the limits.
    pub turned_away: u64,
    /// Exchanges that were begun here.
    pub asked: u64,
    /// Those of them that ended with an answer.
    pub answered: u64,
    /// Exchanges that peers began.
    pub served: u64,
    /// Those of them that were refused.
    pub refused: u64,
    /// Bytes of messages and pieces sent, without what surrounds them.
    pub bytes_sent: u64,
    /// Bytes of messages and pieces received.
    pub bytes_received: u64,
}

macro_rules! tally {
    ($($field:ident),*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Tally {
            $(pub(crate) $field: Count,)*
        }

        impl Tally {
            pub(crate) fn read(&self) -> Counters {
                Counters { $($field: self.$field.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

tally! {
    connected, connect_failed, accepted, turned_away, asked, answered, served, refused, bytes_sent, bytes_received
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn one(&self) {
        self.many(1);
    }

    pub(crate) fn many(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }
}
