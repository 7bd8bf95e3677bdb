//! The event log: pages, its newest end, and its verification.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::resources::{Entry, Listing};
use crate::{Api, ClientError};

/// How much of the log's end is read first for its newest events, and by how much that grows.
const SPAN_FIRST: u64 = 1000;
const SPAN_GROWTH: u64 = 8;
/// Events of one page: as many as a node sends.
const PAGE: usize = 1000;

/// What came of checking the log.
#[derive(Debug, Deserialize, Serialize)]
pub struct Verification {
    /// Whether every record is as it was written.
    pub intact: bool,
    /// How many records were checked.
    pub records: u64,
    /// The end of the log.
    pub head: Head,
    /// What is wrong, in the order of the log.
    pub findings: Vec<Finding>,
}

/// The end of the log.
#[derive(Debug, Deserialize, Serialize)]
pub struct Head {
    /// The number of the last record; 0 for an empty log.
    pub seq: u64,
    /// The hash of the chain up to it; none for an empty log.
    pub hash: Option<String>,
    /// All of it in one line, to be kept elsewhere and given to a verification as its anchor.
    pub anchor: Option<String>,
}

/// One place where the log is not what was written.
#[derive(Debug, Deserialize, Serialize)]
pub struct Finding {
    /// The number of the record.
    pub seq: u64,
    /// What is wrong, such as `altered` or `missing`.
    pub what: String,
    /// For people.
    pub detail: String,
}

impl Api {
    /// Events after a sequence number, oldest first. `filters` are query parameters of `/api/v1/events`.
    pub async fn events(
        &self,
        after: u64,
        limit: usize,
        filters: &[(&str, String)],
    ) -> Result<Listing<Entry>, ClientError> {
        let mut query = vec![("after", after.to_string()), ("limit", limit.to_string())];
        query.extend(filters.iter().cloned());
        self.get_page("/api/v1/events", &query).await
    }

    /// Checks the whole log, however long that takes. `anchor` is the text of a head that was kept elsewhere.
    pub async fn verify_events(&self, anchor: Option<&str>) -> Result<Verification, ClientError> {
        self.post_patiently("/api/v1/events/verify", &serde_json::json!({ "anchor": anchor })).await
    }

    /// The head of the log: its last sequence number, digest and text form.
    pub async fn events_head(&self) -> Result<Entry, ClientError> {
        self.get("/api/v1/events/head").await
    }

    /// The newest events, at most `count`, oldest first. `filters` are query parameters of `/api/v1/events`.
    ///
    /// The API reads the log forwards only. Hence ever larger parts of its end are read, until enough is found.
    pub async fn newest_events(
        &self,
        count: usize,
        filters: &[(&str, String)],
    ) -> Result<Vec<Entry>, ClientError> {
        let head = self.events_head().await?.get("seq").and_then(Value::as_u64).unwrap_or(0);
        let mut span = SPAN_FIRST;
        loop {
            let after = head.saturating_sub(span);
            let newest = self.last_events(after, count, filters).await?;
            if newest.len() >= count || after == 0 {
                return Ok(newest);
            }
            span = span.saturating_mul(SPAN_GROWTH);
        }
    }

    /// The last events of all that come after a number.
    async fn last_events(
        &self,
        after: u64,
        count: usize,
        filters: &[(&str, String)],
    ) -> Result<Vec<Entry>, ClientError> {
        let mut last = VecDeque::new();
        let mut after = after;
        loop {
            let page = self.events(after, PAGE, filters).await?;
            last.extend(page.items);
            last.drain(..last.len().saturating_sub(count));
            // A cursor that leads back would never end.
            match page.next.and_then(|next| next.parse().ok()).filter(|next| *next > after) {
                Some(next) => after = next,
                None => return Ok(last.into()),
            }
        }
    }
}
