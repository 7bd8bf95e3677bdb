//! The collection of the node's own events: made of them when somebody asks, and open to signed events of others.
//!
//! Nobody who does not use TAXII pays for it. Each question first puts onto the shelf what came since the last one, some thousands of events at
//! most; what is left comes with the next question, later in the order, and is missed by nobody.

use cm_http::Failure;
use cm_intel::shelf::{NewObject, WhenFull};
use cm_intel::{EventFilter, Imported, IntelError, Stored, stix};
use cm_kernel::OpContext;
use cm_kernel::policy::{Create, Permit};
use cm_stix::StixObject;
use cm_types::PageLimit;
use serde_json::Value;
use tokio::sync::Mutex;

use super::Taxii;
use super::collections::Readable;

/// Events that one question puts onto the shelf at most, page by page.
const PAGES_MAX: usize = 20;
const PAGE_LEN: usize = 500;
/// Where events that were put in came from.
const ORIGIN: &str = "taxii";

/// Lets one question at a time bring the shelf up to date.
#[derive(Default)]
pub(crate) struct Feed(Mutex<()>);

/// What became of an object that was put among the events.
pub(crate) enum Taken {
    /// A signed event: kept, or known.
    Event {
        /// Whether it was known before.
        known: bool,
    },
    /// It goes with an event, whose indicator says all of it.
    Alongside,
    /// Not taken, and why.
    Refused(String),
}

impl Taxii {
    /// Brings the shelf of the events up to date; nothing to do for others.
    pub(crate) async fn feed(&self, readable: &Readable) -> Result<(), Failure> {
        let Some(permit) = &readable.events else { return Ok(()) };
        let _one = self.0.feed.0.lock().await;
        let shelf = self.intel().shelf();
        for _ in 0..PAGES_MAX {
            let fed = shelf.fed(&readable.shelf).await.map_err(Failure::internal)?;
            let page =
                self.intel().event_page(permit, fed, PageLimit::clamped(PAGE_LEN), EventFilter::default());
            let page = page.await.map_err(Failure::internal)?;
            let next = page.next.as_ref().and_then(|cursor| cursor.0.parse().ok());
            let Some(last) = page.items.last().map(|stored| stored.seq).max(next) else { return Ok(()) };
            let exported = page.items.iter().filter(|stored| stored.tlp.for_export());
            let objects = exported.flat_map(shelved).collect();
            let put = shelf.put(
                &readable.shelf,
                objects,
                self.kernel().now(),
                WhenFull::DropOldest,
                Some((fed, last)),
            );
            put.await.map_err(Failure::internal)?;
            if page.next.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes one object that was put among the events.
    pub(crate) async fn take_event(
        &self,
        op: &OpContext,
        permit: &Permit<Create>,
        object: &Value,
    ) -> Result<Taken, Failure> {
        let Some((event, tlp)) = stix::recovered(object) else {
            return Ok(match object.get("type").and_then(Value::as_str) {
                Some("identity" | "extension-definition" | "marking-definition" | "sighting") => {
                    Taken::Alongside
                }
                _ => Taken::Refused(
                    "only signed events are taken here; put other objects into a collection".to_owned(),
                ),
            });
        };
        let imported = self.intel().import(op, permit, event, ORIGIN, tlp);
        match imported.await {
            Ok(Imported::Stored(_)) => Ok(Taken::Event { known: false }),
            Ok(Imported::Known(_)) => Ok(Taken::Event { known: true }),
            Err(
                error @ (IntelError::Invalid(_)
                | IntelError::NoEvent(_)
                | IntelError::NotKept(_)
                | IntelError::Busy),
            ) => Ok(Taken::Refused(error.to_string())),
            Err(error) => Err(Failure::internal(error)),
        }
    }
}

/// The objects of an event, as they are kept.
fn shelved(stored: &Stored) -> Vec<NewObject> {
    stix::objects(stored).into_iter().filter_map(new_object).collect()
}

/// An object as it is kept; `None` for what is none.
fn new_object(value: Value) -> Option<NewObject> {
    let object = StixObject::check(value).ok()?;
    let (id, version) = (object.id().to_owned(), object.version());
    let spec = spec_of(&object);
    let text = serde_json::value::to_raw_value(&object.into_value()).ok()?;
    Some(NewObject { id, version, spec, text })
}

/// The version of STIX, times ten.
pub(crate) fn spec_of(object: &StixObject) -> u8 {
    match object.spec_version() {
        "2.0" => 20,
        _ => 21,
    }
}
