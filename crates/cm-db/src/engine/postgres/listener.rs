//! The connection that hears when another process commits.

use std::sync::Arc;
use std::time::Duration;

use cm_runtime::Backoff;
use tokio::sync::watch;

use super::link::{Heard, Link};
use super::session::Shared;
use super::writer::CHANNEL;
use crate::DbError;
use crate::engine::Ticks;

/// How often a silent connection is asked whether it is still there.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(15);
/// First and longest delay before the server is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

pub(super) struct Listener {
    pub(super) shared: Arc<Shared>,
    pub(super) ticks: Ticks,
    pub(super) stop: watch::Receiver<bool>,
    /// What our own writer calls itself: its commits are told elsewhere.
    pub(super) name: String,
    pub(super) ask_every: Duration,
}

impl Listener {
    /// Hears until it is stopped, whatever happens to the server.
    pub(super) fn run(mut self, first: Link) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        let mut link = Some(first);
        loop {
            let connected = match link.take() {
                Some(link) => Ok(link),
                None => self.connect(),
            };
            match connected.and_then(|link| self.hear(link, &mut backoff)) {
                Ok(()) => return,
                Err(error) => {
                    if backoff.attempts() == 0 {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "not told of other nodes' changes"
                        );
                    }
                }
            }
            if self.stopped_within(backoff.next_delay()) {
                return;
            }
        }
    }

    /// A connection that is told of every commit from now on.
    pub(super) fn connect(&self) -> Result<Link, DbError> {
        let mut link = self.shared.connect()?;
        link.ask(async |client| client.batch_execute(&format!("LISTEN {CHANNEL}")).await)?;
        Ok(link)
    }

    /// `Ok` when stopped.
    fn hear(&mut self, mut link: Link, backoff: &mut Backoff) -> Result<(), DbError> {
        if backoff.attempts() > 0 {
            tracing::info!("told of other nodes' changes again");
            backoff.reset();
        }
        // What happened before, and while nobody listened, counts as one change.
        self.ticks.elsewhere();
        loop {
            let stop = self.stop.wait_for(|stop| *stop);
            match link.listen(self.ask_every, stop)? {
                Heard::Told(name) if name == self.name => {}
                Heard::Told(_) => self.ticks.elsewhere(),
                Heard::Nothing => {
                    link.ask(async |client| client.batch_execute("").await)?;
                    // What was told while the answer was waited for was passed over.
                    self.ticks.elsewhere();
                }
                Heard::Stop => return Ok(()),
            }
        }
    }

    fn stopped_within(&mut self, delay: Duration) -> bool {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
            return true;
        };
        runtime.block_on(async {
            let stopped = self.stop.wait_for(|stop| *stop);
            tokio::time::timeout(delay, stopped).await.is_ok()
        })
    }
}
