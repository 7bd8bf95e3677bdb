//! Adding feeds, seeing how they are, asking them now, removing them.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cm_crypto::{Secret, derive, sealed};
use cm_db::{Direction, KeyRange};
use cm_kernel::OpContext;
use cm_kernel::events::{EventVerb, NewEvent};
use cm_kernel::policy::{Create, Delete, List, Permit, Update};
use cm_types::{ResourceId, Timestamp};
use serde_json::json;

use super::tables::{FeedRow, Feeds, Tally};
use super::{
    Activity, Credential, EVERY_MAX, EVERY_MIN, FEEDS_MAX, Feed, FeedSource, NewFeed, TEXT_LEN_MAX, Target,
};
use crate::{Intel, IntelError};

/// What the key is for that secrets of feeds are sealed under.
const PURPOSE: &str = "cryptomesh/intel-feeds/v1";

impl Intel {
    /// Asks feeds through this from now on, those that are there and those that are added. Once.
    pub fn follow_feeds(&self, source: Arc<dyn FeedSource>) {
        if self.desk().use_source(source) {
            super::worker::follow(self.clone(), self.tasks());
        }
    }

    /// Adds a feed, which is asked at once and then again and again. The permit is one of the node for peers of threat intelligence.
    ///
    /// # Errors
    /// [`IntelError::Field`] for what cannot be taken, [`IntelError::FeedExists`], [`IntelError::ManyFeeds`], [`IntelError::NoFeeds`].
    pub async fn add_feed(
        &self,
        op: &OpContext,
        _permit: &Permit<Create>,
        new: NewFeed,
    ) -> Result<Feed, IntelError> {
        check(&new)?;
        let source = self.desk().source().ok_or(IntelError::NoFeeds)?;
        let now = self.kernel().now();
        let NewFeed { id, kind, url, username, secret, weight, every, unmarked } = new;
        let credential = credential(username.clone(), secret.clone());
        let target =
            Target { kind, url: url.clone(), credential, unmarked, since: now, now, known: HashMap::new() };
        source.check(&target).map_err(|problem| IntelError::Field { field: "url", problem })?;
        let key = derive::derive_key(self.kernel().keys().sealing_key().expose(), PURPOSE);
        let name = id.as_str().to_owned();
        let written = self.db().write(move |tx| {
            let feeds = tx.range::<Feeds>(KeyRange::all(), Direction::Forward, FEEDS_MAX)?;
            if feeds.iter().any(|(known, _)| *known == name) {
                return Err(IntelError::FeedExists(name));
            }
            if feeds.len() >= FEEDS_MAX {
                return Err(IntelError::ManyFeeds);
            }
            // Not that of another feed; what one said that is gone must not come back with the next of its name.
            let last = feeds.iter().map(|(_, row)| row.number).max().unwrap_or(0);
            let number = u64::try_from(now.as_micros()).unwrap_or_default().max(last + 1);
            let sealed = secret.map(|secret| {
                STANDARD.encode(sealed::seal(
                    &key,
                    binding(number, &url).as_bytes(),
                    secret.expose().as_bytes(),
                ))
            });
            let row = FeedRow {
                number,
                kind,
                url,
                username,
                sealed,
                weight,
                every_secs: every.as_secs(),
                unmarked,
                created: now,
                position: String::new(),
                next: now,
                pulls: 0,
                last_success: None,
                last_failure: None,
                failures: 0,
                indicators: 0,
                tally: Tally::default(),
            };
            tx.put::<Feeds>(&name, &row)?;
            Ok(row)
        });
        let row = written.await?;
        self.tell_of_feed(Some(op), "intel-feed.added", &id, json!({ "url": row.url, "weight": weight }))
            .await?;
        self.desk().wake();
        Ok(self.told(id, row))
    }

    /// All feeds.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn feeds(&self, _permit: &Permit<List>) -> Result<Vec<Feed>, IntelError> {
        let told = |(name, row)| Some(self.told(ResourceId::parse(name).ok()?, row));
        Ok(self.feed_rows().await?.into_iter().filter_map(told).collect())
    }

    /// One feed.
    ///
    /// # Errors
    /// [`IntelError::NoSuchFeed`].
    pub async fn feed(&self, _permit: &Permit<List>, id: &ResourceId) -> Result<Feed, IntelError> {
        self.read_feed(id).await
    }

    /// Asks a feed now, as soon as there is room; [`Feed::activity`] says when that is over. The permit is as for [`Intel::add_feed`].
    ///
    /// # Errors
    /// [`IntelError::NoSuchFeed`].
    pub async fn pull_feed(&self, _permit: &Permit<Update>, id: &ResourceId) -> Result<Feed, IntelError> {
        let row = self.feed_row(id).await?;
        self.desk().queue(row.number);
        Ok(self.told(id.clone(), row))
    }

    /// Removes a feed with everything that it said; signed events that it carried stay, as those of their reporters.
    ///
    /// # Errors
    /// [`IntelError::NoSuchFeed`].
    pub async fn remove_feed(
        &self,
        op: &OpContext,
        _permit: &Permit<Delete>,
        id: &ResourceId,
    ) -> Result<(), IntelError> {
        let name = id.as_str().to_owned();
        let removed = self.db().write(move |tx| Ok::<_, IntelError>(tx.delete::<Feeds>(&name)?)).await?;
        if !removed {
            return Err(IntelError::NoSuchFeed(id.to_string()));
        }
        metrics::gauge!("cryptomesh_intel_feed_failures", "feed" => id.to_string()).set(0.0);
        self.tell_of_feed(Some(op), "intel-feed.removed", id, json!({})).await
    }

    async fn read_feed(&self, id: &ResourceId) -> Result<Feed, IntelError> {
        Ok(self.told(id.clone(), self.feed_row(id).await?))
    }

    async fn feed_row(&self, id: &ResourceId) -> Result<FeedRow, IntelError> {
        let name = id.as_str().to_owned();
        let row = self.db().look_up(move |tx| Ok::<_, IntelError>(tx.get::<Feeds>(&name)?)).await?;
        row.ok_or_else(|| IntelError::NoSuchFeed(id.to_string()))
    }

    /// All feeds as they are kept.
    pub(crate) async fn feed_rows(&self) -> Result<Vec<(String, FeedRow)>, IntelError> {
        let read = self.db().read(|tx| {
            Ok::<_, IntelError>(tx.range::<Feeds>(KeyRange::all(), Direction::Forward, FEEDS_MAX)?)
        });
        read.await
    }

    fn told(&self, id: ResourceId, row: FeedRow) -> Feed {
        let activity: Activity = self.desk().activity(row.number, row.next <= self.kernel().now());
        Feed {
            id,
            kind: row.kind,
            url: row.url,
            username: row.username,
            has_secret: row.sealed.is_some(),
            weight: row.weight,
            every: std::time::Duration::from_secs(row.every_secs),
            unmarked: row.unmarked,
            created: row.created,
            activity,
            next: row.next,
            pulls: row.pulls,
            last_success: row.last_success,
            last_failure: row.last_failure,
            failures: row.failures,
            indicators: row.indicators,
            tally: row.tally,
        }
    }

    /// Where a feed is and what it is asked with; `None` if its secret cannot be opened.
    pub(crate) fn target(
        &self,
        row: &FeedRow,
        since: Timestamp,
        known: HashMap<String, Timestamp>,
    ) -> Option<Target> {
        let secret = match &row.sealed {
            None => None,
            Some(sealed_text) => {
                let key = derive::derive_key(self.kernel().keys().sealing_key().expose(), PURPOSE);
                let bytes = STANDARD.decode(sealed_text).ok()?;
                let opened = sealed::open(&key, binding(row.number, &row.url).as_bytes(), &bytes).ok()?;
                let opened = Secret::new(opened);
                Some(Secret::new(std::str::from_utf8(opened.expose()).ok()?.to_owned()))
            }
        };
        let credential = credential(row.username.clone(), secret);
        let (url, now) = (row.url.clone(), self.kernel().now());
        Some(Target { kind: row.kind, url, credential, unmarked: row.unmarked, since, now, known })
    }

    /// Writes into the kernel's log what happened to a feed.
    pub(crate) async fn tell_of_feed(
        &self,
        op: Option<&OpContext>,
        verb: &'static str,
        id: &ResourceId,
        facts: serde_json::Value,
    ) -> Result<(), IntelError> {
        let serde_json::Value::Object(mut facts) = facts else {
            unreachable!("facts are written as an object")
        };
        facts.insert("feed".to_owned(), id.as_str().into());
        let node = OpContext::node(self.kernel().tasks().token());
        let op = op.unwrap_or(&node);
        let event = NewEvent {
            actor: op.principal().cloned(),
            request: Some(op.request.clone()),
            facts,
            ..NewEvent::new(op.tenant(), EventVerb::fixed(verb))
        };
        self.kernel().record_event(event).await?;
        Ok(())
    }
}

/// A sealed secret opens for its feed at its address only: whoever can write into the database cannot have it sent elsewhere.
fn binding(number: u64, url: &str) -> String {
    format!("{number} {url}")
}

fn credential(username: Option<String>, secret: Option<Secret<String>>) -> Option<Credential> {
    Some(match (username, secret?) {
        (Some(name), password) => Credential::Basic(name, password),
        (None, token) => Credential::Bearer(token),
    })
}

fn check(new: &NewFeed) -> Result<(), IntelError> {
    let field = |field, problem| Err(IntelError::Field { field, problem });
    let is_text =
        |text: &str| !text.is_empty() && text.len() <= TEXT_LEN_MAX && !text.chars().any(char::is_control);
    if !is_text(&new.url) {
        return field("url", "must be an address of at most 2048 bytes");
    }
    if new.weight > 100 {
        return field("weight", "must be 0 to 100");
    }
    if !(EVERY_MIN..=EVERY_MAX).contains(&new.every) {
        return field("every_secs", "must be 60 to 2592000");
    }
    if let Some(name) = &new.username {
        if !is_text(name) || name.contains(':') {
            return field(
                "username",
                "must be a name of at most 2048 bytes without colons and control characters",
            );
        }
        if new.secret.is_none() {
            return field("username", "needs a secret, which is its password");
        }
    }
    if new.secret.as_ref().is_some_and(|secret| !is_text(secret.expose()) || !secret.expose().is_ascii()) {
        return field("secret", "must be printable ASCII of at most 2048 bytes");
    }
    Ok(())
}
