//! Objects, their manifest and their versions: read and deleted (sections 5.3, 5.4, 5.6 to 5.8).

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use cm_door::Caller;
use cm_http::{Failure, FailureClass};
use cm_intel::shelf::{Match, Query, ShelfPage};
use cm_stix::moment;
use cm_types::Timestamp;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::Taxii;
use super::answer::{answer, is_false, page};
use super::collections::{Readable, Writable};
use super::params::{Filter, parse};

/// Objects under way (section 3.7). Empty, it is `{}`.
#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(skip_serializing_if = "is_false")]
    more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    objects: Vec<&'a RawValue>,
}

#[derive(Serialize)]
struct Manifest {
    #[serde(skip_serializing_if = "is_false")]
    more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    objects: Vec<ManifestRecord>,
}

#[derive(Serialize)]
struct ManifestRecord {
    id: String,
    date_added: String,
    version: String,
    media_type: &'static str,
}

#[derive(Serialize)]
struct Versions {
    #[serde(skip_serializing_if = "is_false")]
    more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    versions: Vec<String>,
}

const EVERYTHING: &[Filter] = &[Filter::Id, Filter::Type, Filter::Version, Filter::SpecVersion, Filter::Page];
const OF_OBJECT: &[Filter] = &[Filter::Version, Filter::SpecVersion, Filter::Page];
const OF_VERSIONS: &[Filter] = &[Filter::SpecVersion, Filter::Page];
const OF_DELETION: &[Filter] = &[Filter::Version, Filter::SpecVersion];

pub(crate) async fn list(
    State(taxii): State<Taxii>,
    op: Caller,
    Path(collection): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let readable = taxii.readable(&op, &collection).await?;
    enveloped(&taxii.page(&readable, parse(query.as_deref(), EVERYTHING)?).await?)
}

pub(crate) async fn read(
    State(taxii): State<Taxii>,
    op: Caller,
    Path((collection, object)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let readable = taxii.readable(&op, &collection).await?;
    let query = Query { ids: vec![object.clone()], ..parse(query.as_deref(), OF_OBJECT)? };
    let found = taxii.page(&readable, query).await?;
    taxii.require(&readable, &object).await?;
    enveloped(&found)
}

pub(crate) async fn manifest(
    State(taxii): State<Taxii>,
    op: Caller,
    Path(collection): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let readable = taxii.readable(&op, &collection).await?;
    let found = taxii.page(&readable, parse(query.as_deref(), EVERYTHING)?).await?;
    let record = |item: &cm_intel::shelf::Shelved| ManifestRecord {
        id: item.id.clone(),
        date_added: moment::text(item.added),
        version: moment::text(item.version),
        media_type: match item.spec {
            20 => "application/stix+json;version=2.0",
            _ => super::media::STIX,
        },
    };
    let body = Manifest {
        more: found.next.is_some(),
        next: next(&found),
        objects: found.items.iter().map(record).collect(),
    };
    page(&body, found.items.iter().map(|item| item.added))
}

pub(crate) async fn versions(
    State(taxii): State<Taxii>,
    op: Caller,
    Path((collection, object)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let readable = taxii.readable(&op, &collection).await?;
    let (at, query) = versions_after(query.as_deref())?;
    let limit = query.limit;
    taxii.feed(&readable).await?;
    taxii.require(&readable, &object).await?;
    let shelf = taxii.intel().shelf();
    let query = Query { versions: vec![Match::All], ..query };
    let mut all = shelf.versions(&readable.shelf, &object, query).await.map_err(Failure::internal)?;
    // The newest first: the next page begins with what is older than the last of this one.
    all.retain(|version| at.is_none_or(|at| (version.version, version.added) < at));
    let more = all.len() > limit;
    all.truncate(limit);
    let next = all.last().filter(|_| more).map(|last| format!("{}-{}", last.version.as_micros(), last.added));
    let texts = all.iter().map(|version| moment::text(version.version)).collect();
    let added =
        all.iter().map(|version| Timestamp::from_micros(i64::try_from(version.added).unwrap_or(i64::MAX)));
    page(&Versions { more, next, versions: texts }, added)
}

/// A version and the moment at which it was added: a version may be there in two versions of STIX.
type VersionCursor = (Timestamp, u64);

/// The query of versions: `next` counts in versions there, not in moments of addition.
fn versions_after(query: Option<&str>) -> Result<(Option<VersionCursor>, Query), Failure> {
    let parts: Vec<&str> = query.unwrap_or_default().split('&').collect();
    let (next, others): (Vec<&str>, Vec<&str>) =
        parts.into_iter().partition(|part| part.starts_with("next="));
    let parsed = parse(Some(&others.join("&")), OF_VERSIONS)?;
    if next.is_empty() {
        return Ok((None, parsed));
    }
    let next = next.join("&");
    let (version, added) = next.rsplit_once('-').unwrap_or((next.as_str(), "0"));
    let version = parse(Some(version), OF_VERSIONS)?.after;
    let added = parse(Some(&format!("next={added}")), OF_VERSIONS)?.after;
    let version = Timestamp::from_micros(i64::try_from(version).unwrap_or(i64::MAX));
    Ok((Some((version, added)), parsed))
}

pub(crate) async fn delete(
    State(taxii): State<Taxii>,
    op: Caller,
    Path((collection, object)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let readable = taxii.readable(&op, &collection).await?;
    let Writable::Shelf(shelf) = taxii.writable(&op, &collection).await? else {
        return Err(Failure::new(
            FailureClass::Forbidden,
            "events of the mesh are not deleted; dismiss them",
        ));
    };
    let query = parse(query.as_deref(), OF_DELETION)?;
    taxii.require(&readable, &object).await?;
    let removed = taxii.intel().shelf().remove(&shelf, &object, query).await.map_err(Failure::internal)?;
    match removed {
        0 => Err(Failure::not_found()),
        _ => answer(StatusCode::OK, &json!({})),
    }
}

fn next(found: &ShelfPage) -> Option<String> {
    found.next.map(|next| next.to_string())
}

fn enveloped(found: &ShelfPage) -> Result<Response, Failure> {
    let objects = found.items.iter().map(|item| &*item.text).collect();
    let body = Envelope { more: found.next.is_some(), next: next(found), objects };
    page(&body, found.items.iter().map(|item| item.added))
}

impl Taxii {
    async fn page(&self, readable: &Readable, query: Query) -> Result<ShelfPage, Failure> {
        self.feed(readable).await?;
        self.intel().shelf().page(&readable.shelf, query).await.map_err(Failure::internal)
    }

    /// 404 for what is not there in any version.
    async fn require(&self, readable: &Readable, object: &str) -> Result<(), Failure> {
        match self.intel().shelf().has(&readable.shelf, object).await.map_err(Failure::internal)? {
            true => Ok(()),
            false => Err(Failure::not_found()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_an_empty_object() {
        let text = |body: &dyn erased::Text| body.text();
        assert_eq!(text(&Envelope { more: false, next: None, objects: Vec::new() }), "{}");
        assert_eq!(text(&Manifest { more: false, next: None, objects: Vec::new() }), "{}");
        assert_eq!(
            text(&Versions { more: true, next: Some("7".into()), versions: Vec::new() }),
            r#"{"more":true,"next":"7"}"#
        );
    }

    /// JSON of different shapes behind one name.
    mod erased {
        pub(super) trait Text {
            fn text(&self) -> String;
        }

        impl<T: serde::Serialize> Text for T {
            fn text(&self) -> String {
                serde_json::to_string(self).unwrap()
            }
        }
    }

    #[test]
    fn versions_go_on_below_the_last() {
        let at = Timestamp::from_micros;
        let (after, query) = versions_after(Some("limit=2&next=17-5")).unwrap();
        assert_eq!((after, query.limit, query.after), (Some((at(17), 5)), 2, 0));
        // As it was written before.
        assert_eq!(versions_after(Some("next=17")).unwrap().0, Some((at(17), 0)));
        for bad in ["next=x", "next=17-x", "next=-5", "next=17-", "next=1-2-3", "next=1-2&next=3-4"] {
            assert!(versions_after(Some(bad)).is_err(), "{bad}");
        }
        assert!(versions_after(Some("match[version]=all")).is_err());
    }
}
