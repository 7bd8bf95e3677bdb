//! Pages of collections.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use cm_http::{Failure, FailureClass};
use cm_types::{Cursor, LabelSelector, Page, PageLimit};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Where the next page begins: the `after` of the next request, percent-encoded. Absent on the last page.
pub const NEXT_CURSOR: &str = "next-cursor";

/// One page of a collection. It travels as a bare array; where the next page begins is said in the headers.
#[derive(Debug)]
pub struct Listing<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// What an entry takes as a rule, in bytes.
const ITEM_BYTES: usize = 512;

/// An answer in JSON, made in memory that is large enough as a rule: growing costs as much as writing does.
pub(crate) fn json(value: &impl Serialize, bytes: usize) -> Response {
    let mut text = Vec::with_capacity(bytes);
    match serde_json::to_writer(&mut text, value) {
        Ok(()) => {
            let json = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, json)], text).into_response()
        }
        Err(error) => Failure::internal(error).into_response(),
    }
}

impl<T: Serialize> IntoResponse for Listing<T> {
    fn into_response(self) -> Response {
        let mut response = json(&self.items, self.items.len() * ITEM_BYTES);
        if let Some(next) = self.next {
            let next = percent_encoding::utf8_percent_encode(&next, percent_encoding::NON_ALPHANUMERIC);
            let next = HeaderValue::try_from(next.to_string()).expect("percent-encoded text is ASCII");
            response.headers_mut().insert(NEXT_CURSOR, next);
        }
        response
    }
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// What was first comes first.
    #[serde(alias = "asc")]
    OldestFirst,
    /// What was last comes first.
    #[serde(alias = "desc")]
    NewestFirst,
}

impl Order {
    /// Whether what was last comes first.
    pub fn is_newest_first(self) -> bool {
        self == Order::NewestFirst
    }
}

impl<T> Listing<T> {
    /// A page with every entry converted.
    pub fn of<U>(page: Page<U>, convert: impl FnMut(U) -> T) -> Self {
        let page = page.map(convert);
        Self { items: page.items, next: page.next.map(|cursor| cursor.0) }
    }
}

/// Which part of a collection is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListParams {
    /// The most entries to answer with, 1 to 1000. Of records, all are answered with if neither this nor `after` is
    /// given.
    pub limit: Option<usize>,
    /// Where to begin: the `Next-Cursor` of the page before.
    pub after: Option<String>,
    /// Only what has all these labels, `name=value,name=value`.
    pub selector: Option<String>,
    /// `oldest-first`, unless told, or `newest-first`.
    #[param(inline)]
    pub order: Option<Order>,
    /// Follow the records instead of listing them, as `text/event-stream`: a message for each that is created, changed
    /// or deleted from now on, or from the event named by `Last-Event-ID`.
    pub watch: Option<bool>,
}

/// The parameter that may be repeated.
pub(crate) const FILTER: &str = "filter";
/// Most filters of one list; each is sought in every record that is looked at.
const FILTERS_MAX: usize = 16;

/// What else may be asked of records. It may be repeated, hence it is read apart from the other parameters.
#[derive(Clone, Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FilterParams {
    /// Only what has this value in this field, `path=value`; repeated for more of them, 16 at most. `id`, `name`, `owner`; a path such as
    /// `resources.cpu` is sought in the spec, after `status.` in the status; a list has each of its elements.
    pub filter: Option<Vec<String>>,
}

/// The fields asked for, from `path=value` each.
pub(crate) fn filters(terms: Vec<String>) -> Result<Vec<(String, String)>, Failure> {
    if terms.len() > FILTERS_MAX {
        return Err(bad_parameter(FILTER, "at most 16 filters"));
    }
    let pair = |term: String| match term.split_once('=') {
        Some((path, value)) if !path.is_empty() => Ok((path.to_owned(), value.to_owned())),
        _ => Err(bad_parameter(FILTER, "expected `path=value`")),
    };
    terms.into_iter().map(pair).collect()
}

/// The limit asked for, held within its bounds.
pub(crate) fn page_limit(limit: Option<usize>) -> PageLimit {
    limit.map_or_else(PageLimit::default, PageLimit::clamped)
}

/// The cursor asked for.
pub(crate) fn cursor(after: Option<String>) -> Option<Cursor> {
    after.filter(|text| !text.is_empty()).map(Cursor)
}

/// The selector asked for; everything without one.
pub(crate) fn selector(text: Option<&str>) -> Result<LabelSelector, Failure> {
    text.unwrap_or_default()
        .parse()
        .map_err(|error: cm_types::InvalidLabel| bad_parameter("selector", &error.to_string()))
}

/// 400 about one parameter of the query.
pub(crate) fn bad_parameter(name: &str, reason: &str) -> Failure {
    Failure::new(FailureClass::Malformed, format!("the parameter `{name}` cannot be read"))
        .with_detail("parameter", name)
        .with_detail("reason", reason)
}
