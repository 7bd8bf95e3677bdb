//! Answers of the specification's media type.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cm_http::Failure;
use cm_stix::moment;
use cm_types::Timestamp;
use serde::Serialize;

use super::media::TAXII;

const FIRST: HeaderName = HeaderName::from_static("x-taxii-date-added-first");
const LAST: HeaderName = HeaderName::from_static("x-taxii-date-added-last");

/// An answer.
///
/// # Errors
/// 500 for what is no JSON.
pub(crate) fn answer(status: StatusCode, body: &impl Serialize) -> Result<Response, Failure> {
    let text = serde_json::to_string(body).map_err(Failure::internal)?;
    Ok((status, [(header::CONTENT_TYPE, HeaderValue::from_static(TAXII))], text).into_response())
}

/// A page, which says from when to when its entries were added (section 3.5).
///
/// # Errors
/// As [`answer`].
pub(crate) fn page(
    body: &impl Serialize,
    added: impl Iterator<Item = Timestamp>,
) -> Result<Response, Failure> {
    let mut response = answer(StatusCode::OK, body)?;
    let (mut first, mut last): (Option<Timestamp>, Option<Timestamp>) = (None, None);
    for moment in added {
        first = Some(first.map_or(moment, |first| first.min(moment)));
        last = Some(last.map_or(moment, |last| last.max(moment)));
    }
    for (name, moment) in [(FIRST, first), (LAST, last)] {
        if let Some(moment) = moment {
            let value = HeaderValue::try_from(moment::text(moment)).map_err(Failure::internal)?;
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// Whether a truth value is not worth saying.
pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}
