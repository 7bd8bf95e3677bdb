//! What people and programs of this node say: reports, events signed elsewhere, and what is false.

use std::sync::Arc;

use cm_kernel::OpContext;
use cm_kernel::policy::{Create, Permit};
use cm_types::{ResourceKind, ResourceRef, Timestamp};
use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;

use super::Intel;
use crate::store::accept::{self, Outcome};
use crate::{Draft, IntelError, KeyId, Origin, Stored, ThreatEvent, Tlp, sign};

/// Longest field of a report that is made here, in bytes.
pub const FIELD_LEN_MAX: usize = 1024;

/// A threat that somebody reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewThreat {
    /// Where it comes from: an address as a rule.
    pub source_ip: String,
    /// What it is.
    pub threat_type: String,
    /// How grave it is, such as `low`, `medium`, `high` or `critical`.
    pub severity: String,
    /// With whom it may be shared.
    pub tlp: Tlp,
}

/// What became of an event that was imported.
#[derive(Clone, Debug, PartialEq)]
pub enum Imported {
    /// It is kept, and shared if it may be.
    Stored(Arc<Stored>),
    /// It was known, under this number.
    Known(u64),
}

impl Intel {
    /// Reports a threat: signs it with the node's key, keeps it, and shares it if it may be.
    ///
    /// # Errors
    /// [`IntelError::Field`]; a database that fails.
    pub async fn report(
        &self,
        op: &OpContext,
        _permit: &Permit<Create>,
        new: NewThreat,
    ) -> Result<Arc<Stored>, IntelError> {
        let stored = self.sign_and_keep(new, None).await?;
        self.tell(op, "threat-event.reported", &stored).await?;
        Ok(stored)
    }

    /// As [`Intel::report`], of the node's own accord; `at` is when it happened, now unless told.
    pub(crate) async fn sign_and_keep(
        &self,
        new: NewThreat,
        at: Option<Timestamp>,
    ) -> Result<Arc<Stored>, IntelError> {
        let NewThreat { source_ip, threat_type, severity, tlp } = new;
        for (field, text) in
            [("source_ip", &source_ip), ("threat_type", &threat_type), ("severity", &severity)]
        {
            check_field(field, text)?;
        }
        let timestamp = local_text(at.unwrap_or_else(|| self.0.kernel.now()));
        let draft = Draft { source_ip, threat_type, severity, timestamp };
        let key = self.0.key.clone();
        let signed = self.0.tasks.spawn_blocking("intel-sign", move || sign(&key, draft));
        let verified = signed.await.map_err(|_| IntelError::ShuttingDown)?;
        let event = ThreatEvent::clone(verified.event());
        match self.0.pipeline.submit(event, Some(verified), Origin::Own, tlp).await? {
            Outcome::Kept(stored) => Ok(stored),
            // The same, in the same second: one event.
            Outcome::Known(seq) => {
                self.read_event(seq).await?.map(Arc::new).ok_or(IntelError::NoSuchEvent(seq))
            }
            _ => Err(IntelError::NotKept("the node's own key is not listened to")),
        }
    }

    /// Takes an event that somebody signed elsewhere: verified, kept and shared as if a peer had brought it.
    ///
    /// # Errors
    /// [`IntelError::Invalid`] if it was not signed by whom it names, [`IntelError::NotKept`] if whoever signed it is not listened to.
    pub async fn import(
        &self,
        op: &OpContext,
        _permit: &Permit<Create>,
        event: ThreatEvent,
        from: &str,
        tlp: Tlp,
    ) -> Result<Imported, IntelError> {
        match self.0.pipeline.submit(event, None, Origin::Import(from.to_owned()), tlp).await? {
            Outcome::Kept(stored) => {
                self.tell(op, "threat-event.imported", &stored).await?;
                Ok(Imported::Stored(stored))
            }
            Outcome::Known(seq) => Ok(Imported::Known(seq)),
            Outcome::Banned => Err(IntelError::NotKept("its reporter is not listened to")),
            Outcome::Limited => Err(IntelError::NotKept("its reporter says more than it may")),
            Outcome::NameTooLong => Err(IntelError::NotKept("its id is longer than 256 bytes")),
            Outcome::TooLong => Err(IntelError::NotKept("it takes more than 65536 bytes as it is passed on")),
            Outcome::Evidence => Err(IntelError::Invalid(crate::Invalid::Signature)),
        }
    }

    /// Takes an event that a feed carries; whether it is kept, or was. The kernel's log is not told of each: a feed brings thousands.
    pub(crate) async fn take_from_feed(
        &self,
        event: ThreatEvent,
        feed: &str,
        tlp: Tlp,
    ) -> Result<bool, IntelError> {
        let origin = Origin::Feed(feed.to_owned());
        match self.0.pipeline.submit(event, None, origin, tlp).await {
            Ok(outcome) => Ok(matches!(outcome, Outcome::Kept(_) | Outcome::Known(_))),
            // Refused as what it is; the rest of the feed is none the worse for it.
            Err(IntelError::Invalid(_) | IntelError::NoEvent(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Says that an event is false: held against its reporter.
    ///
    /// # Errors
    /// [`IntelError::NoSuchEvent`].
    pub async fn dismiss(
        &self,
        op: &OpContext,
        _permit: &Permit<Create>,
        seq: u64,
    ) -> Result<KeyId, IntelError> {
        let (terms, now) = (self.0.terms.clone(), self.0.kernel.now());
        let dismissed =
            self.0.db.write(move |tx| Ok::<_, IntelError>(accept::dismiss(tx, &terms, seq, now)?));
        let reporter = dismissed.await?.ok_or(IntelError::NoSuchEvent(seq))?;
        self.record(op, "threat-event.dismissed", seq, json!({ "reporter": reporter.to_string() })).await?;
        Ok(reporter)
    }

    async fn tell(&self, op: &OpContext, verb: &'static str, stored: &Stored) -> Result<(), IntelError> {
        let event = &stored.event;
        let facts =
            json!({ "source": event.source_ip, "type": event.threat_type, "severity": event.severity });
        self.record(op, verb, stored.seq, facts).await
    }

    async fn record(
        &self,
        op: &OpContext,
        verb: &'static str,
        seq: u64,
        facts: serde_json::Value,
    ) -> Result<(), IntelError> {
        use cm_kernel::events::{EventVerb, NewEvent};
        let serde_json::Value::Object(facts) = facts else { unreachable!("facts are written as an object") };
        let event = NewEvent {
            actor: op.principal().cloned(),
            resource: Some(ResourceRef::new(ResourceKind::ThreatEvent, seq.to_string())),
            request: Some(op.request.clone()),
            facts,
            ..NewEvent::new(op.tenant(), EventVerb::fixed(verb))
        };
        self.0.kernel.record_event(event).await?;
        Ok(())
    }
}

fn check_field(field: &'static str, text: &str) -> Result<(), IntelError> {
    let problem = if text.trim().is_empty() {
        "is empty"
    } else if text.len() > FIELD_LEN_MAX {
        "is longer than 1024 bytes"
    } else if text.chars().any(char::is_control) {
        "must not contain control characters"
    } else {
        return Ok(());
    };
    Err(IntelError::Field { field, problem })
}

/// The moment as the earlier node writes it. Its times have no zone and are said to be local; those of this node are UTC.
fn local_text(at: Timestamp) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at.as_secs()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    at.format(&format).expect("every moment of a clock can be written so")
}
