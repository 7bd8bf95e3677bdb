//! Conditions on what there is.

use axum::http::{HeaderMap, HeaderName, header};
use cm_kernel::objects::{Condition, ObjectInfo};
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::describe::{http_date, time};

/// Whether the content is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It is.
    Send,
    /// The client has it.
    NotModified,
}

/// What a read demands of the object.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadConditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<Timestamp>,
    pub(super) if_unmodified_since: Option<Timestamp>,
}

impl ReadConditions {
    /// In the order of RFC 9110, section 13.2.2. Times have the precision of a second.
    ///
    /// # Errors
    /// `PreconditionFailed`.
    pub(super) fn check(&self, info: &ObjectInfo) -> S3Result<Freshness> {
        let is = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(tag) => tag.value() == info.etag(),
        };
        let seconds = |at: &Timestamp| ::time::OffsetDateTime::from(at.clone()).unix_timestamp();
        let modified = seconds(&time(info.created_at));
        let unmet = match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) => !is(condition),
            (None, Some(since)) => modified > seconds(since),
            (None, None) => false,
        };
        if unmet {
            return Err(S3Error::with_message(S3ErrorCode::PreconditionFailed, "the object is another one"));
        }
        let has_it = match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) => is(condition),
            (None, Some(since)) => modified <= seconds(since),
            (None, None) => false,
        };
        Ok(if has_it { Freshness::NotModified } else { Freshness::Send })
    }
}

/// Whether a range is to be sent of what is there, as far as `If-Range` says (RFC 9110, section 13.1.5): its tag must be that of the object, its
/// date the very moment at which the object was written.
pub(super) fn is_range_of(headers: &HeaderMap, info: &ObjectInfo) -> bool {
    let Some(said) = headers.get(header::IF_RANGE) else { return true };
    let Ok(said) = said.to_str() else { return false };
    match ETagCondition::parse_http_header(said.as_bytes()) {
        Ok(ETagCondition::ETag(ETag::Strong(tag))) => tag == info.etag(),
        Ok(ETagCondition::ETag(ETag::Weak(_)) | ETagCondition::Any) => false,
        Err(_) => http_date(&time(info.created_at)).is_some_and(|written| written == said.trim()),
    }
}

/// What a copy demands of what it replaces. The adapter knows of these headers with other writes only.
///
/// # Errors
/// `InvalidArgument` for what is no entity tag.
pub(super) fn copy_conditions(headers: &HeaderMap) -> S3Result<Vec<Condition>> {
    let said = |name: HeaderName| {
        let tag = headers.get(&name).map(|value| ETagCondition::parse_http_header(value.as_bytes()));
        tag.transpose().map_err(|_| {
            let message = format!("`{name}` is no entity tag");
            S3Error::with_message(S3ErrorCode::InvalidArgument, message)
        })
    };
    Ok(write_conditions(said(header::IF_MATCH)?, said(header::IF_NONE_MATCH)?))
}

/// What a write demands of what it replaces.
pub(super) fn write_conditions(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> Vec<Condition> {
    let if_match = if_match.map(|condition| match condition {
        ETagCondition::Any => Condition::Present,
        ETagCondition::ETag(tag) => Condition::OneOf(vec![tag.into_value()]),
    });
    let if_none_match = if_none_match.map(|condition| match condition {
        ETagCondition::Any => Condition::Absent,
        ETagCondition::ETag(tag) => Condition::NoneOf(vec![tag.into_value()]),
    });
    if_match.into_iter().chain(if_none_match).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_demand_what_other_writes_do() {
        let found = |name: HeaderName, value: &str| {
            let headers: HeaderMap = [(name, value.parse().unwrap())].into_iter().collect();
            copy_conditions(&headers).map_err(|error| error.code().as_str().to_owned())
        };
        assert_eq!(copy_conditions(&HeaderMap::new()).unwrap(), Vec::new());
        assert_eq!(found(header::IF_NONE_MATCH, "*"), Ok(vec![Condition::Absent]));
        assert_eq!(found(header::IF_MATCH, "\"00\""), Ok(vec![Condition::OneOf(vec!["00".to_owned()])]));
        assert_eq!(found(header::IF_MATCH, "\"00"), Err("InvalidArgument".to_owned()));
    }
}
