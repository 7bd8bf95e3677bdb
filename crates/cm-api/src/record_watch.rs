//! Following the records of a kind, by server-sent events: what `?watch=true` does to a list.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use cm_door::Caller;
use cm_http::{Failure, sse};
use cm_kernel::Kernel;
use cm_kernel::catalog::Query;
use cm_kernel::changes::{Happened, RecordChange};
use cm_kernel::policy::{List, Permit};
use cm_types::PageLimit;
use futures::{Stream, stream};
use serde_json::json;
use tokio::sync::watch;

use crate::failure::refusal;
use crate::record::{WireSpec, view_of};

/// How long a watcher is believed before its credential and its permission are looked at again. A watch
/// lasts for days; a revoked token must not.
const RECHECK_AFTER: Duration = Duration::from_secs(60);
/// Changes read at a time.
const BATCH: usize = 100;

/// Messages about the records that the query selects, from now on or from the event that the client has seen last:
/// `id` is the event's number, `event` is `created`, `changed` or `deleted`, `data` the record, or the id of a deleted
/// one.
pub(crate) fn follow<S: WireSpec>(
    kernel: Kernel,
    op: Caller,
    permit: Permit<List>,
    query: Query,
    headers: &HeaderMap,
) -> Response {
    let head = kernel.events().head();
    let after = sse::last_event_id(headers).unwrap_or_else(|| *head.borrow());
    let shutdown = kernel.tasks().token();
    let checked = kernel.clock().monotonic();
    let watcher = Watcher { kernel, op, permit, query, after, head, checked, ready: VecDeque::new() };
    sse::answer(watcher.messages::<S>(), shutdown)
}

/// One client that follows a kind. It reads the log by cursor at its own pace: nothing is buffered for it beyond a
/// batch, and it misses nothing.
struct Watcher {
    kernel: Kernel,
    op: Caller,
    permit: Permit<List>,
    query: Query,
    /// Everything up to here was read.
    after: u64,
    /// The number of the last committed event.
    head: watch::Receiver<u64>,
    /// When the credential was last looked at.
    checked: Instant,
    /// Read, but not taken by the client.
    ready: VecDeque<RecordChange>,
}

impl Watcher {
    fn messages<S: WireSpec>(self) -> impl Stream<Item = Event> + Send {
        stream::unfold(self, |mut watcher| async move {
            match watcher.message::<S>().await {
                Ok(message) => Some((message, watcher)),
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "watch ended");
                    None
                }
            }
        })
    }

    async fn message<S: WireSpec>(&mut self) -> Result<Event, Failure> {
        let RecordChange { seq, what } = self.next().await?;
        let (name, data) = match what {
            Happened::Created(record) => ("created", self.text::<S>(*record).await?),
            Happened::Changed(record) => ("changed", self.text::<S>(*record).await?),
            Happened::Deleted(id) => ("deleted", json!({ "id": id }).to_string()),
        };
        Ok(Event::default().id(seq.to_string()).event(name).data(data))
    }

    async fn text<S: WireSpec>(&self, record: cm_kernel::catalog::Record) -> Result<String, Failure> {
        let view = view_of::<S>(&self.kernel, &self.op, record).await?;
        serde_json::to_string(&view).map_err(Failure::internal)
    }

    async fn next(&mut self) -> Result<RecordChange, Failure> {
        loop {
            self.recheck().await?;
            if let Some(change) = self.ready.pop_front() {
                return Ok(change);
            }
            let committed = *self.head.borrow_and_update();
            if self.after < committed {
                let limit = PageLimit::clamped(BATCH);
                let changes =
                    self.kernel.record_changes(&self.op, &self.permit, &self.query, self.after, limit);
                let changes = changes.await.map_err(refusal)?;
                self.after = changes.seen;
                self.ready.extend(changes.items);
            } else {
                // A closed channel means that the log is gone with its node; the token ends the stream then.
                let changed = self.head.changed();
                let _woken = tokio::time::timeout(RECHECK_AFTER, changed).await;
            }
        }
    }

    async fn recheck(&mut self) -> Result<(), Failure> {
        let now = self.kernel.clock().monotonic();
        if now.saturating_duration_since(self.checked) < RECHECK_AFTER {
            return Ok(());
        }
        self.op = self.op.clone().again(&self.kernel).await?;
        let permit = self.kernel.authorize::<List>(&self.op, self.query.kind);
        self.permit = permit.await.map_err(refusal)?;
        self.checked = now;
        Ok(())
    }
}
