//! Peers of whom something is thought for a while.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cm_types::PeerId;
use tokio::time::{Duration, Instant};

/// Marks that end by themselves.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<HashMap<PeerId, Instant>>);

impl Marks {
    /// Marks the peer from now on.
    pub(super) fn set(&self, peer: &PeerId, lasts: Duration) {
        self.lock().insert(peer.clone(), Instant::now() + lasts);
    }

    /// Whether the peer is marked.
    pub(super) fn has(&self, peer: &PeerId) -> bool {
        let mut marks = self.lock();
        let is_marked = marks.get(peer).is_some_and(|until| *until > Instant::now());
        if !is_marked {
            marks.remove(peer);
        }
        is_marked
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_mark_ends_by_itself() {
        let (marks, peer) = (Marks::default(), "n1".parse().unwrap());
        assert!(!marks.has(&peer));
        marks.set(&peer, Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert!(marks.has(&peer));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!marks.has(&peer));
    }
}
