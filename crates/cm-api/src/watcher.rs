//! Following something that grows and is read by number, by server-sent events: the event log, threats as they come.
//!
//! A watcher reads by cursor at its own pace: nothing is buffered for it, however slow it is, and it
//! misses nothing, for it can always resume after the last number that it has seen.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use axum::response::sse;
use cm_door::Caller;
use cm_http::Failure;
use cm_kernel::policy::{List, Permit};
use cm_types::{Page, PageLimit};
use futures::{Stream, stream};
use tokio::sync::watch;

use crate::api::Api;

/// How long a watcher is believed before its credential and its permission are looked at again. A watch
/// lasts for days; a revoked token must not.
const RECHECK_AFTER: Duration = Duration::from_secs(60);
/// Entries read at a time.
const BATCH: usize = 100;

/// What is followed.
pub(crate) trait Source: Send + 'static {
    /// One entry of it.
    type Entry: Send;

    /// Asks whether somebody may follow it.
    fn permit(&self, api: &Api, op: &Caller) -> impl Future<Output = Result<Permit<List>, Failure>> + Send;

    /// The entries after a number that the caller wants, and how far was looked if that is not all of it.
    fn page(
        &self,
        api: &Api,
        permit: &Permit<List>,
        after: u64,
        limit: PageLimit,
    ) -> impl Future<Output = Result<Page<Self::Entry>, Failure>> + Send;

    /// The number of an entry.
    fn number(entry: &Self::Entry) -> u64;

    /// An entry as it is sent, without its number.
    fn message(entry: Self::Entry) -> sse::Event;
}

/// One client that follows.
pub(crate) struct Watcher<S: Source> {
    source: S,
    api: Api,
    op: Caller,
    permit: Permit<List>,
    /// Everything up to here was read.
    after: u64,
    /// The number of the last entry that is there.
    head: watch::Receiver<u64>,
    /// When the credential was last looked at.
    checked: Instant,
    /// Read, but not taken by the client.
    ready: VecDeque<S::Entry>,
}

impl<S: Source> Watcher<S> {
    /// Follows what comes after a number, for somebody who was permitted to.
    pub(crate) fn new(
        source: S,
        api: Api,
        op: Caller,
        permit: Permit<List>,
        after: u64,
        head: watch::Receiver<u64>,
    ) -> Self {
        let checked = api.kernel.clock().monotonic();
        Self { source, api, op, permit, after, head, checked, ready: VecDeque::new() }
    }

    /// What is sent, until the credential ends or something fails.
    pub(crate) fn messages(self) -> impl Stream<Item = sse::Event> + Send {
        stream::unfold(self, |mut watcher| async move {
            match watcher.next().await {
                Ok(entry) => {
                    let number = S::number(&entry).to_string();
                    Some((S::message(entry).id(number), watcher))
                }
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "watch ended");
                    None
                }
            }
        })
    }

    async fn next(&mut self) -> Result<S::Entry, Failure> {
        loop {
            self.recheck().await?;
            if let Some(entry) = self.ready.pop_front() {
                return Ok(entry);
            }
            let last = *self.head.borrow_and_update();
            if self.after < last {
                self.read(last).await?;
            } else {
                // A closed channel means that the log is gone with its node; the token ends the stream then.
                let changed = self.head.changed();
                let _woken = tokio::time::timeout(RECHECK_AFTER, changed).await;
            }
        }
    }

    async fn read(&mut self, last: u64) -> Result<(), Failure> {
        let limit = PageLimit::clamped(BATCH);
        let page = self.source.page(&self.api, &self.permit, self.after, limit).await?;
        let next = page.next.and_then(|cursor| cursor.0.parse().ok());
        let newest = page.items.last().map_or(0, S::number);
        // Without a next page everything that was there when the read began was looked at, matching or not.
        self.after = next.unwrap_or(last).max(newest);
        self.ready.extend(page.items);
        Ok(())
    }

    async fn recheck(&mut self) -> Result<(), Failure> {
        let now = self.api.kernel.clock().monotonic();
        if now.saturating_duration_since(self.checked) < RECHECK_AFTER {
            return Ok(());
        }
        self.op = self.op.clone().again(&self.api.kernel).await?;
        self.permit = self.source.permit(&self.api, &self.op).await?;
        self.checked = now;
        Ok(())
    }
}
