//! A peer that does one thing after the other.

use std::collections::VecDeque;

/// What waits at a peer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Job {
    /// A read that came in at this time, for this router.
    Read { object: usize, arrived_micros: u64, router: usize },
    /// Reading a piece of a copy that goes elsewhere.
    Send { transfer: usize },
    /// Writing a piece of a copy.
    Receive { transfer: usize },
}

/// The queue of a peer.
#[derive(Debug, Default)]
pub(super) struct Peer {
    jobs: VecDeque<(Job, u64)>,
    /// How long it has been busy altogether, in microseconds.
    pub(super) busy_micros: u64,
    pub(super) used_bytes: u64,
    /// Copies that wait to be sent from here, one at a time.
    pub(super) outbox: VecDeque<usize>,
}

impl Peer {
    /// One more job; says how long it takes if it begins at once. Pieces of copies come next, and reads in their order: what is
    /// copied is what too many wait for.
    pub(super) fn push(&mut self, job: Job, micros: u64) -> Option<u64> {
        match job {
            Job::Read { .. } => self.jobs.push_back((job, micros)),
            Job::Send { .. } | Job::Receive { .. } => {
                self.jobs.insert(self.jobs.len().min(1), (job, micros));
            }
        }
        self.busy_micros += micros;
        (self.jobs.len() == 1).then_some(micros)
    }

    /// The job that is done now, and how long the next one takes if there is one.
    pub(super) fn pop(&mut self) -> (Option<Job>, Option<u64>) {
        let done = self.jobs.pop_front().map(|(job, _)| job);
        (done, self.jobs.front().map(|(_, micros)| *micros))
    }
}
