//! Asking feeds when it is their time, a few at a time.
//!
//! Only what is kept moves a feed's position, in the same transaction, so that this can be ended anywhere: by the node that stops, by a feed that is
//! removed, by a server that never ends.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use cm_db::{Direction, KeyPrefix, KeyRange};
use cm_runtime::{Backoff, Tasks};
use cm_types::{ResourceId, Timestamp};
use futures::StreamExt as _;
use futures::future::{BoxFuture, try_join_all};
use futures::stream::FuturesUnordered;
use serde_json::json;
use tokio::sync::Notify;

use super::source::POSITION_LEN_MAX;
use super::tables::{FeedRow, Feeds, Statements, Tally};
use super::take::{Taken, take};
use super::{Activity, Batch, Entry, FeedFailure, FeedKind, FeedSource, Pulling};
use crate::{Intel, IntelError, ThreatEvent, Tlp};

/// Feeds that are asked at a time.
const PULLS_MAX: usize = 4;
/// How long one pull may take; what it kept stays, and the next one goes on there.
const PULL_WITHIN: Duration = Duration::from_secs(1800);
/// How often a feed is asked again at once that does not answer, and after how long.
const ATTEMPTS: u32 = 3;
const AGAIN_FIRST: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(10);
/// How soon a feed is asked again after a pull in vain, doubled each time.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// How often is looked although nothing was heard.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Statements that are read in one transaction; each may name thousands of values.
const BATCH: usize = 64;
/// Signed events that are verified at a time.
const SIGNED_AT_ONCE: usize = 32;

/// What faces and the worker tell each other.
#[derive(Default)]
pub(crate) struct Desk {
    source: OnceLock<Arc<dyn FeedSource>>,
    woken: Notify,
    at_work: Mutex<AtWork>,
}

#[derive(Default)]
struct AtWork {
    queued: HashSet<u64>,
    pulling: HashSet<u64>,
}

impl Desk {
    /// Whether it is the first.
    pub(crate) fn use_source(&self, source: Arc<dyn FeedSource>) -> bool {
        self.source.set(source).is_ok()
    }

    pub(crate) fn source(&self) -> Option<&Arc<dyn FeedSource>> {
        self.source.get()
    }

    pub(crate) fn wake(&self) {
        self.woken.notify_one();
    }

    pub(crate) fn queue(&self, number: u64) {
        self.at_work().queued.insert(number);
        self.wake();
    }

    pub(crate) fn activity(&self, number: u64, is_due: bool) -> Activity {
        let at_work = self.at_work();
        match (at_work.queued.contains(&number), at_work.pulling.contains(&number)) {
            (_, true) => Activity::Pulling,
            (true, false) => Activity::Queued,
            (false, false) if is_due => Activity::Queued,
            (false, false) => Activity::Waiting,
        }
    }

    fn at_work(&self) -> MutexGuard<'_, AtWork> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a feed is to be asked now; notes that it is.
    fn begin(&self, number: u64, is_due: bool) -> bool {
        let mut at_work = self.at_work();
        if at_work.pulling.contains(&number) {
            return false;
        }
        let wanted = at_work.queued.remove(&number) || is_due;
        if wanted {
            at_work.pulling.insert(number);
        }
        wanted
    }

    fn end(&self, number: u64) {
        self.at_work().pulling.remove(&number);
    }

    /// Forgets what was asked for of feeds that are no more.
    fn keep(&self, numbers: &HashSet<u64>) {
        self.at_work().queued.retain(|number| numbers.contains(number));
    }
}

/// Asks feeds until the tasks are told to end.
pub(crate) fn follow(intel: Intel, tasks: &Tasks) {
    let token = tasks.token();
    tasks.spawn("intel-feeds", async move {
        token.run_until_cancelled(run(intel)).await;
    });
}

async fn run(intel: Intel) {
    let mut pulls: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
    loop {
        let wait = match intel.feed_rows().await {
            Ok(feeds) => begin(&intel, feeds, &mut pulls),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "feeds not read");
                LOOK_EVERY
            }
        };
        tokio::select! {
            () = intel.desk().woken.notified() => {}
            Some(()) = pulls.next() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Begins what is to be begun; how long there is nothing to do.
fn begin<'a>(
    intel: &'a Intel,
    feeds: Vec<(String, FeedRow)>,
    pulls: &mut FuturesUnordered<BoxFuture<'a, ()>>,
) -> Duration {
    let now = intel.kernel().now();
    let mut wait = LOOK_EVERY;
    intel.desk().keep(&feeds.iter().map(|(_, row)| row.number).collect());
    for (name, row) in feeds {
        // A clock that was set back must not silence a feed.
        let every = Duration::from_secs(row.every_secs);
        let is_due = row.next <= now || row.next.since(now) > every * 2;
        if pulls.len() < PULLS_MAX && intel.desk().begin(row.number, is_due) {
            let number = row.number;
            pulls.push(Box::pin(async move {
                pull(intel, name, row).await;
                intel.desk().end(number);
            }));
        } else if !is_due {
            wait = wait.min(row.next.since(now));
        }
    }
    wait.max(Duration::from_millis(10))
}

/// Asks one feed to the end, and writes down how that went.
async fn pull(intel: &Intel, name: String, row: FeedRow) {
    let asked = tokio::time::timeout(PULL_WITHIN, ask(intel, &name, &row));
    let outcome = asked.await.unwrap_or(Err(FeedFailure::Slow));
    let label = if outcome.is_ok() { "success" } else { "failure" };
    metrics::counter!("cryptomesh_intel_feed_pulls_total", "outcome" => label).increment(1);
    if let Err(error) = finish(intel, name, row.number, outcome).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "the state of a feed was not written");
        // It is still due.
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

async fn ask(intel: &Intel, name: &str, row: &FeedRow) -> Result<(), FeedFailure> {
    let source = intel.desk().source().ok_or(FeedFailure::Unreachable)?;
    let now = intel.kernel().now();
    let lifetime = intel.config().indicator_lifetime;
    let lifetime_micros = i64::try_from(lifetime.as_micros()).unwrap_or(i64::MAX);
    let since = Timestamp::from_micros(now.as_micros().saturating_sub(lifetime_micros).max(0));
    let known = match row.kind {
        FeedKind::Misp => known(intel, row.number).await.map_err(|_| FeedFailure::NotKept)?,
        FeedKind::Taxii => HashMap::new(),
    };
    let target = intel.target(row, since, known).ok_or(FeedFailure::Sealed)?;
    let mut pulling = source.begin(target, &row.position);
    while let Some(batch) = next(&mut *pulling).await? {
        let kept = keep(intel, name, row.number, batch).await.map_err(|error| {
            tracing::warn!(feed = name, error = &error as &dyn std::error::Error, "a feed was not kept");
            FeedFailure::NotKept
        })?;
        if !kept {
            break;
        }
    }
    Ok(())
}

/// The statements of a feed that are kept, and their versions.
async fn known(intel: &Intel, number: u64) -> Result<HashMap<String, Timestamp>, IntelError> {
    let (mut known, mut range) = (HashMap::new(), KeyRange::prefix(KeyPrefix::new().part(&number)));
    loop {
        let page = range.clone();
        let rows = intel
            .db()
            .read(move |tx| Ok::<_, IntelError>(tx.range::<Statements>(page, Direction::Forward, BATCH)?));
        let rows = rows.await?;
        let Some((last, _)) = rows.last() else { return Ok(known) };
        range = range.after(last);
        known.extend(rows.into_iter().map(|((_, id), row)| (id, row.version)));
    }
}

/// The next batch, asked for again where that may help.
async fn next(pulling: &mut dyn Pulling) -> Result<Option<Batch>, FeedFailure> {
    let mut backoff = Backoff::new(AGAIN_FIRST, AGAIN_MAX);
    loop {
        match pulling.next().await {
            Err(failure) if failure.is_passing() && backoff.attempts() + 1 < ATTEMPTS => {
                tokio::time::sleep(backoff.next_delay()).await;
            }
            outcome => return outcome,
        }
    }
}

/// Keeps a batch and its position; `false` if the feed is no more.
async fn keep(intel: &Intel, name: &str, number: u64, batch: Batch) -> Result<bool, IntelError> {
    let Batch { entries, position } = batch;
    if position.len() > POSITION_LEN_MAX {
        return Err(IntelError::Field { field: "position", problem: "is too long" });
    }
    let mut tally = Tally { read: entries.len() as u64, ..Tally::default() };
    let (mut said, mut signed): (Vec<_>, Vec<(ThreatEvent, Tlp)>) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            Entry::Said(one) => said.push(one),
            Entry::Signed(event, tlp) => signed.push((*event, tlp)),
            Entry::Other => tally.other += 1,
            Entry::Unreadable => tally.unreadable += 1,
        }
    }
    // Before the position moves: events that come again are known.
    while !signed.is_empty() {
        let some: Vec<_> = signed.drain(..signed.len().min(SIGNED_AT_ONCE)).collect();
        let taking = some.into_iter().map(|(event, tlp)| intel.take_from_feed(event, name, tlp));
        for is_kept in try_join_all(taking).await? {
            *(if is_kept { &mut tally.events } else { &mut tally.refused }) += 1;
        }
    }
    metrics::counter!("cryptomesh_intel_feed_objects_total").increment(tally.read);
    let (now, lifetime) = (intel.kernel().now(), intel.config().indicator_lifetime);
    let (feed, taken) = (name.to_owned(), Taken { said, position, tally });
    let kept =
        intel.db().write(move |tx| Ok::<_, IntelError>(take(tx, &feed, number, taken, now, lifetime)?));
    kept.await
}

/// What of the past makes a pull news.
enum News {
    Failed(String),
    Recovered,
}

async fn finish(
    intel: &Intel,
    name: String,
    number: u64,
    outcome: Result<(), FeedFailure>,
) -> Result<(), IntelError> {
    let now = intel.kernel().now();
    let id = ResourceId::parse(name.clone());
    let written = intel.db().write(move |tx| {
        let Some(mut row) = tx.get::<Feeds>(&name)?.filter(|row| row.number == number) else {
            return Ok::<_, IntelError>(None);
        };
        let news = note(&mut row, outcome, now);
        tx.put::<Feeds>(&name, &row)?;
        Ok(Some((news, row.failures)))
    });
    let (Some((news, failures)), Ok(id)) = (written.await?, id) else { return Ok(()) };
    let label = id.to_string();
    metrics::gauge!("cryptomesh_intel_feed_failures", "feed" => label.clone()).set(f64::from(failures));
    if failures == 0 {
        metrics::gauge!("cryptomesh_intel_feed_last_success_seconds", "feed" => label)
            .set(now.as_secs() as f64);
    }
    match news {
        Some(News::Failed(reason)) => {
            tracing::warn!(feed = %id, reason, "a feed cannot be read");
            intel.tell_of_feed(None, "intel-feed.failed", &id, json!({ "reason": reason })).await
        }
        Some(News::Recovered) => {
            tracing::info!(feed = %id, "a feed can be read again");
            intel.tell_of_feed(None, "intel-feed.recovered", &id, json!({})).await
        }
        None => Ok(()),
    }
}

/// Notes how a pull went, and when the next one is due. The same failure again is no news.
fn note(row: &mut FeedRow, outcome: Result<(), FeedFailure>, now: Timestamp) -> Option<News> {
    let every = Duration::from_secs(row.every_secs);
    row.pulls += 1;
    match outcome {
        Ok(()) => {
            let was_failing = row.failures > 0;
            (row.failures, row.last_success) = (0, Some(now));
            row.next = now.after(every + some_of(every / 10));
            was_failing.then_some(News::Recovered)
        }
        Err(failure) => {
            let reason = failure.to_string();
            let told = row.last_failure.as_ref().is_some_and(|(_, before)| *before == reason);
            let is_news = row.failures == 0 || !told;
            row.failures = row.failures.saturating_add(1);
            let factor = 1u32.checked_shl(row.failures - 1).unwrap_or(u32::MAX);
            let wait = RETRY_AFTER.saturating_mul(factor).min(every);
            row.next = now.after(wait + some_of(wait / 4));
            row.last_failure = Some((now, reason.clone()));
            is_news.then_some(News::Failed(reason))
        }
    }
}

/// So much or less: nodes that were started together must not ask together for ever.
fn some_of(most: Duration) -> Duration {
    Duration::from_millis(rand::random_range(0..=u64::try_from(most.as_millis()).unwrap_or(u64::MAX)))
}
