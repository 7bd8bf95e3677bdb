//! A collection of a TAXII 2.1 server, page by page (OASIS Standard, sections 3.4, 3.5 and 5.4).
//!
//! Within a pull the pages follow each other by `next`; the next pull begins with what was added after the last object of this one
//! (`X-TAXII-Date-Added-Last`). A pull that was interrupted goes on with its `next`, and if the server has forgotten that, from where
//! it began: what comes twice is known.

use cm_intel::feeds::{Batch, Entry, FeedFailure, Pulling, Target, said};
use futures::future::BoxFuture;
use reqwest::Url;
use reqwest::header::HeaderMap;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{HttpFeeds, address, below};

const ACCEPT: &str = "application/taxii+json;version=2.1";
const ADDED_LAST: &str = "x-taxii-date-added-last";
/// Longest `next` that is sent back, in bytes.
const NEXT_LEN_MAX: usize = 4096;
/// Longest time that is sent back, in bytes.
const MOMENT_LEN_MAX: usize = 40;
/// Pages without objects in a row: a server that looks through much for little sends some.
const EMPTY_MAX: usize = 200;

/// Where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// Only what was added after this.
    after: Option<String>,
    /// The page, of those.
    next: Option<String>,
    /// When the last object was added that came since.
    newest: Option<String>,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    more: bool,
    #[serde(default)]
    next: Option<String>,
    #[serde(default)]
    objects: Vec<Value>,
    /// What discovery, API roots, lists of collections and collections have, and envelopes do not.
    #[serde(default)]
    title: Option<IgnoredAny>,
    #[serde(default)]
    collections: Option<IgnoredAny>,
}

struct Page {
    more: bool,
    next: Option<String>,
    entries: Vec<Entry>,
}

/// A collection that is being read.
pub(super) struct Taxii {
    feeds: HttpFeeds,
    target: Target,
    position: Position,
    pages: usize,
    empty: usize,
    is_over: bool,
    /// Whether the `next` is of an earlier pull.
    is_resumed: bool,
}

impl Taxii {
    pub(super) fn new(feeds: HttpFeeds, target: Target, position: &str) -> Self {
        let position: Position = serde_json::from_str(position).unwrap_or_default();
        let is_resumed = position.next.is_some();
        Self { feeds, target, position, pages: 0, empty: 0, is_over: false, is_resumed }
    }

    fn url(&self) -> Result<Url, FeedFailure> {
        let base = address(&self.target).map_err(|_| FeedFailure::Unreachable)?;
        let names_objects = base.path().trim_end_matches('/').ends_with("/objects");
        // The specification writes all addresses with a slash at the end.
        let mut url = if names_objects { below(&base, &[""]) } else { below(&base, &["objects", ""]) };
        let mut query = url.query_pairs_mut();
        query.append_pair("limit", &self.feeds.limits.page_len.to_string());
        query.append_pair("match[type]", "indicator");
        if let Some(after) = &self.position.after {
            query.append_pair("added_after", after);
        }
        if let Some(next) = &self.position.next {
            query.append_pair("next", next);
        }
        drop(query);
        Ok(url)
    }

    async fn page(&mut self) -> Result<Option<Batch>, FeedFailure> {
        if self.is_over || self.pages >= self.feeds.limits.pages_max {
            return Ok(None);
        }
        let got = self.feeds.get(self.url()?, ACCEPT, self.target.credential.as_ref()).await;
        let (headers, bytes) = match got {
            Err(failure) if self.is_resumed && failure != FeedFailure::Unreachable => {
                // The server has forgotten where that was, however it says so.
                (self.position.next, self.is_resumed) = (None, false);
                self.feeds.get(self.url()?, ACCEPT, self.target.credential.as_ref()).await?
            }
            got => got?,
        };
        let unmarked = self.target.unmarked;
        let page = self.feeds.parse(move || read(&bytes, unmarked)).await?;
        self.advance(page, &headers).map(Some)
    }

    fn advance(&mut self, page: Page, headers: &HeaderMap) -> Result<Batch, FeedFailure> {
        let mut position = self.position.clone();
        position.newest = later(position.newest.take(), added_last(headers));
        let empty = if page.entries.is_empty() { self.empty + 1 } else { 0 };
        if page.more {
            match page.next {
                Some(next) if next.len() > NEXT_LEN_MAX => return Err(FeedFailure::Garbage),
                Some(next) if Some(&next) == self.position.next.as_ref() => return Err(FeedFailure::Endless),
                Some(next) => position.next = Some(next),
                // Some servers leave it out; the time is then all there is to go on by.
                None if position.newest.is_some() && position.newest != position.after => {
                    position =
                        Position { after: position.newest.clone(), next: None, newest: position.newest };
                }
                None => return Err(FeedFailure::Endless),
            }
            if empty > EMPTY_MAX {
                return Err(FeedFailure::Endless);
            }
        } else {
            let after = position.newest.or(position.after);
            position = Position { after, ..Position::default() };
        }
        self.is_over = !page.more;
        (self.empty, self.is_resumed) = (empty, false);
        self.pages += 1;
        self.position = position;
        let position = serde_json::to_string(&self.position).expect("texts are JSON");
        Ok(Batch { entries: page.entries, position })
    }
}

impl Pulling for Taxii {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Batch>, FeedFailure>> {
        Box::pin(self.page())
    }
}

fn read(bytes: &[u8], unmarked: cm_intel::Tlp) -> Result<Page, FeedFailure> {
    let envelope = serde_json::from_slice(bytes).map_err(|_| FeedFailure::Garbage)?;
    let Envelope { more, next, objects, title, collections } = envelope;
    if title.is_some() || collections.is_some() {
        return Err(FeedFailure::Garbage);
    }
    let entries = objects.into_iter().map(|object| said::stix(object, unmarked)).collect();
    Ok(Page { more, next, entries })
}

/// When the last object of a page was added, as the server writes it: it may be more precise than a time is here.
fn added_last(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(ADDED_LAST)?.to_str().ok()?.trim();
    (text.len() <= MOMENT_LEN_MAX && said::taxii_moment(text).is_some()).then(|| text.to_owned())
}

fn later(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) => {
            // Times of one server are written alike, so that those within a microsecond sort as their texts.
            let key = |text: &String| (said::taxii_moment(text), text.clone());
            Some(if key(&other) > key(&one) { other } else { one })
        }
        (one, other) => one.or(other),
    }
}
