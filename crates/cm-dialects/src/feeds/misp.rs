//! A feed of MISP: `manifest.json`, which says when each event was changed last, and an event a file.
//!
//! Events are fetched in the order of their changes, the oldest first, so that one moment says how far a feed was read. Those whose statements would hold no
//! more are passed over.

use std::collections::VecDeque;

use cm_intel::feeds::{Batch, Entry, FeedFailure, Pulling, Target, said};
use futures::future::BoxFuture;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{HttpFeeds, address, below};

const ACCEPT: &str = "application/json";
const MANIFEST: &str = "manifest.json";

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
        self.feeds.parse(move || news(&bytes, &position, since)).await
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
        self.position = event;
        let position = serde_json::to_string(&self.position).expect("a number and a UUID are JSON");
        Ok(Some(Batch { entries, position }))
    }
}

impl Pulling for Misp {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Batch>, FeedFailure>> {
        Box::pin(self.event())
    }
}

/// What a manifest has that was not read, the oldest first.
fn news(bytes: &[u8], read: &Position, since: i64) -> Result<VecDeque<Position>, FeedFailure> {
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
    let is_new = |found: &Position| found > read && found.changed >= since;
    let mut found: Vec<Position> = manifest.into_iter().filter_map(entry).filter(is_new).collect();
    found.sort_unstable();
    Ok(found.into())
}
