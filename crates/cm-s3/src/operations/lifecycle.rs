//! Rules by which objects end.

use std::collections::HashSet;

use cm_kernel::objects::{Expiration as Ends, Noncurrent, Rule, Scope, ScopeForm, UploadInfo};
use cm_kernel::policy::sharing::Use;
use cm_kernel::policy::{Read, Update};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use uuid::Uuid;

use super::tagging::said_tags;
use super::{Store, bucket_name};
use crate::caller::Caller;
use crate::describe::{moment, time};
use crate::failure;

/// Most characters of a rule's name: the limit of S3.
const NAME_CHARS_MAX: usize = 255;
/// Most earlier versions that a rule keeps: the limit of S3.
const KEPT_MAX: u32 = 100;
const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;

impl Store {
    pub(super) async fn lifecycle(
        &self,
        caller: Caller,
        request: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
        let bucket = bucket_name(request.input.bucket)?;
        let permit = self.permit_bucket::<Read>(&caller, Use::GetLifecycleConfiguration, &bucket).await?;
        let rules = self.kernel.objects().lifecycle(&permit, &bucket).await.map_err(failure::object)?;
        let missing = || {
            let message = "the bucket has no rules by which objects end";
            S3Error::with_message(S3ErrorCode::NoSuchLifecycleConfiguration, message)
        };
        let rules = rules.ok_or_else(missing)?.into_iter().map(shown).collect();
        let output = GetBucketLifecycleConfigurationOutput {
            rules: Some(rules),
            ..GetBucketLifecycleConfigurationOutput::default()
        };
        Ok(S3Response::new(output))
    }

    pub(super) async fn set_lifecycle(
        &self,
        caller: Caller,
        request: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
        let input = request.input;
        let said = input.lifecycle_configuration.map(|said| said.rules).unwrap_or_default();
        if said.is_empty() {
            return Err(malformed("there are no rules"));
        }
        let rules = said.into_iter().map(understood).collect::<S3Result<Vec<Rule>>>()?;
        let mut names = HashSet::new();
        if !rules.iter().all(|rule| names.insert(rule.id.as_str())) {
            return Err(invalid("no two rules have the same ID"));
        }
        self.keep_lifecycle(&caller, input.bucket, Some(rules)).await?;
        Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
    }

    pub(super) async fn remove_lifecycle(
        &self,
        caller: Caller,
        request: S3Request<DeleteBucketLifecycleInput>,
    ) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
        self.keep_lifecycle(&caller, request.input.bucket, None).await?;
        Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
    }

    async fn keep_lifecycle(
        &self,
        caller: &Caller,
        bucket: String,
        rules: Option<Vec<Rule>>,
    ) -> S3Result<()> {
        let bucket = bucket_name(bucket)?;
        let permit = self.permit_bucket::<Update>(caller, Use::PutLifecycleConfiguration, &bucket).await?;
        self.kernel.objects().set_lifecycle(&permit, &bucket, rules).await.map_err(failure::object)
    }

    /// When an object ends, for `x-amz-expiration`.
    pub(super) async fn expiration(
        &self,
        tenant: &cm_types::TenantId,
        info: &cm_kernel::objects::ObjectInfo,
    ) -> S3Result<Option<String>> {
        let expiry = self.kernel.objects().expiry(tenant, info).await.map_err(failure::object)?;
        Ok(expiry.and_then(|(at, rule)| {
            let date = crate::describe::http_date(&time(at))?;
            let rule = percent_encoding::utf8_percent_encode(&rule, percent_encoding::CONTROLS);
            Some(format!("expiry-date=\"{date}\", rule-id=\"{rule}\""))
        }))
    }
}

/// When an upload is given up, and by which rule: the first to come. As the worker has it, but in days of 24 hours.
pub(super) fn abortion(rules: &[Rule], upload: &UploadInfo) -> Option<(Timestamp, String)> {
    let due = |rule: &Rule| {
        let is_about = rule.scope.prefix.as_ref().is_none_or(|it| upload.upload.key.as_str().starts_with(it));
        let days = rule.abort_uploads_after_days.filter(|_| rule.enabled && is_about)?;
        let at = upload.created_at.as_micros().saturating_add(i64::from(days).saturating_mul(DAY_MICROS));
        // At the midnight that follows.
        let rest = at.rem_euclid(DAY_MICROS);
        let at = if rest == 0 { at } else { at.saturating_add(DAY_MICROS - rest) };
        Some((cm_types::Timestamp::from_micros(at), rule.id.clone()))
    };
    rules.iter().filter_map(due).min().map(|(at, rule)| (time(at), rule))
}

fn malformed(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::MalformedXML, message)
}

fn invalid(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, message)
}

fn positive(number: i32) -> S3Result<u32> {
    let number = u32::try_from(number).ok().filter(|number| *number > 0);
    number.ok_or_else(|| invalid("days are counted from 1"))
}

fn understood(rule: LifecycleRule) -> S3Result<Rule> {
    if rule.transitions.is_some() || rule.noncurrent_version_transitions.is_some() {
        let message = "there is one storage class here: objects do not move to another";
        return Err(S3Error::with_message(S3ErrorCode::NotImplemented, message));
    }
    refuse_senseless(&rule)?;
    let enabled = match rule.status.as_str() {
        "Enabled" => true,
        "Disabled" => false,
        _ => return Err(malformed("a rule is Enabled or Disabled")),
    };
    let id = match rule.id.filter(|id| !id.is_empty()) {
        Some(id) if id.chars().count() > NAME_CHARS_MAX => {
            return Err(invalid("an ID has 255 characters at most"));
        }
        Some(id) => id,
        None => Uuid::new_v4().to_string(),
    };
    let understood = Rule {
        id,
        enabled,
        scope: scope(rule.prefix, rule.filter)?,
        expiration: rule.expiration.map(expiration).transpose()?,
        noncurrent: rule.noncurrent_version_expiration.map(noncurrent).transpose()?,
        abort_uploads_after_days: rule
            .abort_incomplete_multipart_upload
            .map(|said| positive(said.days_after_initiation.unwrap_or_default()))
            .transpose()?,
    };
    let does_something = understood.expiration.is_some()
        || understood.noncurrent.is_some()
        || understood.abort_uploads_after_days.is_some();
    match does_something {
        true => Ok(understood),
        false => Err(S3Error::with_message(S3ErrorCode::InvalidRequest, "a rule says what ends")),
    }
}

/// What S3 does not take because it could never be followed: marks and uploads have neither tags nor a size.
fn refuse_senseless(rule: &LifecycleRule) -> S3Result<()> {
    let refused = |message: &'static str| Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message));
    let Some(filter) = &rule.filter else { return Ok(()) };
    let and = filter.and.as_ref();
    let has_tags =
        filter.tag.is_some() || and.and_then(|and| and.tags.as_ref()).is_some_and(|tags| !tags.is_empty());
    let above = filter.object_size_greater_than.or(and.and_then(|and| and.object_size_greater_than));
    let below = filter.object_size_less_than.or(and.and_then(|and| and.object_size_less_than));
    let ends_markers =
        rule.expiration.as_ref().is_some_and(|said| said.expired_object_delete_marker.is_some());
    if has_tags && ends_markers {
        return refused("marks of deletion have no tags");
    }
    let is_of_objects = has_tags || above.is_some() || below.is_some();
    if is_of_objects && rule.abort_incomplete_multipart_upload.is_some() {
        return refused("uploads under way have neither tags nor a size");
    }
    match above.zip(below).is_some_and(|(above, below)| above >= below) {
        true => refused("no object is larger and smaller than that"),
        false => Ok(()),
    }
}

fn scope(prefix: Option<String>, filter: Option<LifecycleRuleFilter>) -> S3Result<Scope> {
    let size = |bytes: Option<i64>| {
        bytes.map(u64::try_from).transpose().map_err(|_| invalid("a size is not negative"))
    };
    let Some(filter) = filter else {
        // A scope that was forgotten must not end everything.
        let prefix = prefix.ok_or_else(|| malformed("a rule has a filter, or a prefix"))?;
        return Ok(Scope { prefix: Some(prefix), form: ScopeForm::Prefix, ..Scope::default() });
    };
    if prefix.is_some() {
        return Err(malformed("a rule has a prefix or a filter"));
    }
    if let Some(and) = filter.and {
        let is_empty = and.prefix.is_none()
            && and.tags.as_ref().is_none_or(Vec::is_empty)
            && and.object_size_greater_than.is_none()
            && and.object_size_less_than.is_none();
        if is_empty {
            return Err(malformed("an `And` says what it is about"));
        }
        return Ok(Scope {
            prefix: and.prefix,
            tags: said_tags(and.tags.unwrap_or_default())?,
            larger_than: size(and.object_size_greater_than)?,
            smaller_than: size(and.object_size_less_than)?,
            form: ScopeForm::And,
        });
    }
    let said = [
        filter.prefix.is_some(),
        filter.tag.is_some(),
        filter.object_size_greater_than.is_some(),
        filter.object_size_less_than.is_some(),
    ];
    if said.into_iter().filter(|is_said| *is_said).count() > 1 {
        return Err(malformed("what a filter says besides stands in its `And`"));
    }
    Ok(Scope {
        prefix: filter.prefix,
        tags: said_tags(filter.tag.into_iter().collect())?,
        larger_than: size(filter.object_size_greater_than)?,
        smaller_than: size(filter.object_size_less_than)?,
        form: ScopeForm::Filter,
    })
}

fn expiration(said: LifecycleExpiration) -> S3Result<Ends> {
    match (said.days, said.date, said.expired_object_delete_marker) {
        (Some(days), None, None) => positive(days).map(Ends::Days),
        (None, Some(date), None) => {
            let date = moment(&date);
            match date.as_micros() % DAY_MICROS {
                0 => Ok(Ends::Date(date)),
                _ => Err(invalid("a date is a midnight, in UTC")),
            }
        }
        (None, None, Some(wanted)) => Ok(Ends::LoneMarkers(wanted)),
        _ => Err(malformed("an expiration says days, a date or ExpiredObjectDeleteMarker")),
    }
}

fn noncurrent(said: NoncurrentVersionExpiration) -> S3Result<Noncurrent> {
    let keep = said.newer_noncurrent_versions.map(positive).transpose()?;
    if keep.is_some_and(|keep| keep > KEPT_MAX) {
        return Err(invalid("100 earlier versions are kept at most"));
    }
    Ok(Noncurrent { days: positive(said.noncurrent_days.unwrap_or_default())?, keep })
}

fn shown(rule: Rule) -> LifecycleRule {
    let days = |days: u32| i32::try_from(days).ok();
    let size = |bytes: Option<u64>| bytes.and_then(|bytes| i64::try_from(bytes).ok());
    let Scope { prefix, tags, larger_than, smaller_than, form } = rule.scope;
    let mut tags: TagSet =
        tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect();
    let (prefix, filter) = match form {
        ScopeForm::Prefix => (prefix, None),
        ScopeForm::Filter => {
            let filter = LifecycleRuleFilter {
                prefix,
                tag: tags.pop(),
                object_size_greater_than: size(larger_than),
                object_size_less_than: size(smaller_than),
                ..LifecycleRuleFilter::default()
            };
            (None, Some(filter))
        }
        ScopeForm::And => {
            let and = LifecycleRuleAndOperator {
                prefix,
                tags: Some(tags),
                object_size_greater_than: size(larger_than),
                object_size_less_than: size(smaller_than),
            };
            (None, Some(LifecycleRuleFilter { and: Some(and), ..LifecycleRuleFilter::default() }))
        }
    };
    let status = if rule.enabled { ExpirationStatus::ENABLED } else { ExpirationStatus::DISABLED };
    LifecycleRule {
        id: Some(rule.id),
        status: ExpirationStatus::from_static(status),
        prefix,
        filter,
        expiration: rule.expiration.map(|ends| {
            let empty = LifecycleExpiration::default();
            match ends {
                Ends::Days(count) => LifecycleExpiration { days: days(count), ..empty },
                Ends::Date(date) => LifecycleExpiration { date: Some(time(date)), ..empty },
                Ends::LoneMarkers(wanted) => {
                    LifecycleExpiration { expired_object_delete_marker: Some(wanted), ..empty }
                }
            }
        }),
        noncurrent_version_expiration: rule.noncurrent.map(|noncurrent| NoncurrentVersionExpiration {
            noncurrent_days: days(noncurrent.days),
            newer_noncurrent_versions: noncurrent.keep.and_then(days),
        }),
        abort_incomplete_multipart_upload: rule
            .abort_uploads_after_days
            .map(|count| AbortIncompleteMultipartUpload { days_after_initiation: days(count) }),
        noncurrent_version_transitions: None,
        transitions: None,
    }
}

#[cfg(test)]
mod tests {
    use cm_kernel::objects::UploadRef;

    use super::*;

    fn check(filter: LifecycleRuleFilter, change: impl FnOnce(&mut LifecycleRule), expected: Option<&str>) {
        let status = ExpirationStatus::from_static(ExpirationStatus::ENABLED);
        let mut rule = LifecycleRule { filter: Some(filter), ..shown(sample("", None)) };
        (rule.status, rule.prefix) = (status, None);
        change(&mut rule);
        let found = understood(rule).err().map(|error| error.code().as_str().to_owned());
        assert_eq!(found.as_deref(), expected);
    }

    fn sample(prefix: &str, abort_uploads_after_days: Option<u32>) -> Rule {
        Rule {
            id: format!("{prefix}-{abort_uploads_after_days:?}"),
            enabled: true,
            scope: Scope { prefix: Some(prefix.to_owned()), ..Scope::default() },
            expiration: None,
            noncurrent: None,
            abort_uploads_after_days,
        }
    }

    #[test]
    fn what_could_never_be_followed_is_refused() {
        let tag = || Some(Tag { key: Some("a".to_owned()), value: Some("b".to_owned()) });
        let tagged = || LifecycleRuleFilter { tag: tag(), ..Default::default() };
        let sized = |above, below| {
            let and = LifecycleRuleAndOperator {
                object_size_greater_than: above,
                object_size_less_than: below,
                ..Default::default()
            };
            LifecycleRuleFilter { and: Some(and), ..Default::default() }
        };
        let days = |rule: &mut LifecycleRule| {
            rule.expiration = Some(LifecycleExpiration { days: Some(1), ..Default::default() });
        };
        let markers = |rule: &mut LifecycleRule| {
            let said = LifecycleExpiration { expired_object_delete_marker: Some(true), ..Default::default() };
            rule.expiration = Some(said);
        };
        let uploads = |rule: &mut LifecycleRule| {
            let said = AbortIncompleteMultipartUpload { days_after_initiation: Some(1) };
            rule.abort_incomplete_multipart_upload = Some(said);
        };
        let keeping = |kept: i32| {
            move |rule: &mut LifecycleRule| {
                let said = NoncurrentVersionExpiration {
                    noncurrent_days: Some(1),
                    newer_noncurrent_versions: Some(kept),
                };
                rule.noncurrent_version_expiration = Some(said);
            }
        };
        check(tagged(), days, None);
        check(tagged(), |_| {}, Some("InvalidRequest"));
        let prefixed = LifecycleRuleFilter { prefix: Some("a".to_owned()), ..tagged() };
        check(prefixed, days, Some("MalformedXML"));
        check(tagged(), markers, Some("InvalidRequest"));
        check(tagged(), uploads, Some("InvalidRequest"));
        check(LifecycleRuleFilter::default(), uploads, None);
        check(sized(Some(1), None), uploads, Some("InvalidRequest"));
        check(sized(Some(1), Some(3)), days, None);
        check(sized(Some(3), Some(3)), days, Some("InvalidRequest"));
        check(LifecycleRuleFilter::default(), keeping(100), None);
        check(LifecycleRuleFilter::default(), keeping(101), Some("InvalidArgument"));
    }

    #[test]
    fn uploads_are_given_up_at_the_first_midnight_that_a_rule_names() {
        let hour = DAY_MICROS / 24;
        let upload = UploadInfo {
            upload: UploadRef {
                bucket: "b".parse().unwrap(),
                key: "logs/a".parse().unwrap(),
                id: Uuid::nil(),
            },
            owner: None,
            headers: Default::default(),
            created_at: cm_types::Timestamp::from_micros(hour),
            encrypted_by: None,
        };
        let found = |rules: &[Rule]| {
            abortion(rules, &upload).map(|(at, rule)| (moment(&at).as_micros() / DAY_MICROS, rule))
        };
        assert_eq!(found(&[sample("logs/", None), sample("other/", Some(1))]), None);
        let rules = [sample("", Some(5)), sample("logs/", Some(1))];
        assert_eq!(found(&rules), Some((2, rules[1].id.clone())));
        let off = Rule { enabled: false, ..sample("", Some(1)) };
        assert_eq!(found(&[off]), None);
    }
}
