//! The event log: pages, following it as it grows, and its verification.

use bytes::BytesMut;
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::resources::{Entry, Listing};
use crate::{Api, ClientError};

/// Longest line of an event stream that is accepted.
const LINE_LEN_MAX: usize = 1 << 20;

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

    /// Calls `seen` with each event after `after` as it happens, until it returns `false` or the node goes away.
    pub async fn follow_events(
        &self,
        after: u64,
        mut seen: impl FnMut(Entry) -> bool,
    ) -> Result<(), ClientError> {
        let request = self
            .request(Method::GET, "/api/v1/events/watch")
            .header("accept", "text/event-stream")
            .header("last-event-id", after.to_string());
        let mut response = self.send(request).await?;
        let url = response.url().to_string();
        let mut buffer = BytesMut::new();
        loop {
            let part = response
                .chunk()
                .await
                .map_err(|source| ClientError::Unreachable { url: url.clone(), source })?;
            let Some(part) = part else { return Ok(()) };
            buffer.extend_from_slice(&part);
            while let Some(end) = buffer.iter().position(|&byte| byte == b'\n') {
                let line = buffer.split_to(end + 1);
                if let Some(event) = decode_line(&line, &url)?
                    && !seen(event)
                {
                    return Ok(());
                }
            }
            if buffer.len() > LINE_LEN_MAX {
                return Err(ClientError::Protocol {
                    url,
                    problem: "endless line in the event stream".into(),
                });
            }
        }
    }
}

/// The event in one line of the stream: each is a JSON document on a single `data:` line.
fn decode_line(line: &[u8], url: &str) -> Result<Option<Entry>, ClientError> {
    let Some(data) = line.strip_prefix(b"data:") else { return Ok(None) };
    serde_json::from_slice(data)
        .map(Some)
        .map_err(|error| ClientError::Protocol { url: url.to_owned(), problem: error.to_string() })
}
