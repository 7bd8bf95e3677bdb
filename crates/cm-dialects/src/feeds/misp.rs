//! A feed of MISP: `manifest.json`, which says when each event was changed last, and an event a file.
//!
//! Events are fetched in the order of their changes, the oldest first, so that one moment says how far a feed was read. Those whose statements would hold no
//! more are passed over. Events are published later than they are changed, and files later than the manifest names them: what was changed up to a week
//! before that moment is fetched, too, unless it is known.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use cm_intel::feeds::{Batch, Entry, FeedFailure, Pulling, Target, said};
use futures::future::BoxFuture;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{HttpFeeds, address, below};

const ACCEPT: &str = "application/json";
const MANIFEST: &str = "manifest.json";
/// How long before what was read last an event may have been changed that was not there then, in seconds.
const LATE_MAX: i64 = 7 * 24 * 3600;
/// How far the clocks of others may be ahead, in seconds.
const AHEAD_MAX: i64 = 24 * 3600;

/// The last event that was read: when it was changed, in seconds, and its UUID.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Position {
    changed: i64,
    uuid: Uuid,
}

/// A feed that is being read.
pub(super) struct Misp {
    feeds: HttpFeeds,
    target: Target,
    position: Position,
    /// What is still to be fetched, once the manifest was read.
    waiting: Option<VecDeque<Position>>,
    events: usize,
}

impl Misp {
    pub(super) fn new(feeds: HttpFeeds, target: Target, position: &str) -> Self {
        let position = serde_json::from_str(position).unwrap_or_default();
        Self { feeds, target, position, waiting: None, events: 0 }
    }

    fn url(&self, file: &str) -> Result<Url, FeedFailure> {
        let base = address(&self.target).map_err(|_| FeedFailure::Unreachable)?;
        let mut base = below(&base, &[]);
        if base.path().ends_with("/manifest.json")
            && let Ok(mut path) = base.path_segments_mut()
        {
            path.pop();
        }
        Ok(below(&base, &[file]))
    }

    async fn manifest(&mut self) -> Result<VecDeque<Position>, FeedFailure> {
        let url = self.url(MANIFEST)?;
        let (_, bytes) = self.feeds.get(url, ACCEPT, self.target.credential.as_ref()).await?;
        let (position, since) = (self.position.clone(), self.target.since.as_secs());
        let (until, known) = (self.target.now.as_secs() + AHEAD_MAX, std::mem::take(&mut self.target.known));
        let is_known = move |found: &Position| {
            let version = known.get(&said::misp_id(&found.uuid.to_string()));
            version.is_some_and(|version| *version >= said::misp_moment(found.changed))
        };
        self.feeds.parse(move || news(&bytes, &position, since..=until, is_known)).await
    }

    async fn event(&mut self) -> Result<Option<Batch>, FeedFailure> {
        if self.waiting.is_none() {
            self.waiting = Some(self.manifest().await?);
        }
        let first = self.waiting.as_ref().and_then(VecDeque::front).cloned();
        let Some(event) = first.filter(|_| self.events < self.feeds.limits.pages_max) else {
            return Ok(None);
        };
        let url = self.url(&format!("{}.json", event.uuid))?;
        let got = self.feeds.get(url, ACCEPT, self.target.credential.as_ref()).await;
        let entries = match got {
            Ok((_, bytes)) => {
                let (uuid, changed) = (event.uuid.to_string(), said::misp_moment(event.changed));
                let unmarked = self.target.unmarked;
                let read = move || {
                    let document: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                    Ok(said::misp(&uuid, changed, &document, unmarked))
                };
                self.feeds.parse(read).await?
            }
            // One bad event must not keep the node from all others.
            Err(FeedFailure::Absent | FeedFailure::Odd | FeedFailure::TooLong) => vec![Entry::Unreadable],
            Err(failure) => return Err(failure),
        };
        if let Some(waiting) = &mut self.waiting {
            waiting.pop_front();
        }
        self.events += 1;
        // One that came late does not take the feed back.
        self.position = event.max(self.position.clone());
        let position = serde_json::to_string(&self.position).expect("a number and a UUID are JSON");
        Ok(Some(Batch { entries, position }))
    }
}

impl Pulling for Misp {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Batch>, FeedFailure>> {
        Box::pin(self.event())
    }
}

/// What a manifest has that was not read, or not yet there when its time was, the oldest first.
fn news(
    bytes: &[u8],
    read: &Position,
    within: RangeInclusive<i64>,
    is_known: impl Fn(&Position) -> bool,
) -> Result<VecDeque<Position>, FeedFailure> {
    let manifest: Map<String, Value> = serde_json::from_slice(bytes).map_err(|_| FeedFailure::Garbage)?;
    let entry = |(uuid, told): (String, Value)| {
        // Nothing else gets into an address.
        let uuid = Uuid::try_parse(&uuid).ok()?;
        let changed = match told.get("timestamp")? {
            Value::Number(number) => number.as_i64()?,
            Value::String(text) => text.parse().ok()?,
            _ => return None,
        };
        Some(Position { changed, uuid })
    };
    let is_new = |found: &Position| {
        let is_late = found.changed >= read.changed.saturating_sub(LATE_MAX);
        within.contains(&found.changed) && (found > read || (is_late && found != read && !is_known(found)))
    };
    let mut found: Vec<Position> = manifest.into_iter().filter_map(entry).filter(is_new).collect();
    found.sort_unstable();
    Ok(found.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_come_late_are_news_and_those_of_the_future_are_not_yet() {
        let (day, now) = (24 * 3600, 1_700_000_000_i64);
        let uuid = Uuid::from_u128;
        let at = |changed, number| Position { changed, uuid: uuid(number) };
        let manifest: Map<String, Value> = [
            (1, now - 20 * day), // before the feed was read
            (2, now - day),      // known
            (3, now - day),      // published late
            (4, now),            // read last
            (5, now + 60),
            (6, now + 40 * day),
            (7, i64::MAX),
        ]
        .into_iter()
        .map(|(number, changed)| {
            (uuid(number).to_string(), serde_json::json!({ "timestamp": changed.to_string() }))
        })
        .collect();
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let known = |found: &Position| found.uuid == uuid(2);
        let within = now - 30 * day..=now + AHEAD_MAX;
        let found = news(&bytes, &at(now, 4), within.clone(), known).unwrap();
        assert_eq!(Vec::from(found), [at(now - day, 3), at(now + 60, 5)]);
        let first = news(&bytes, &Position::default(), within, |_| false).unwrap();
        assert_eq!(first.len(), 5, "all of that time");
    }
}
