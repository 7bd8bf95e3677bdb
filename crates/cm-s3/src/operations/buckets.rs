//! Buckets, which are records of the catalogue.

use axum::http::HeaderName;
use cm_kernel::KernelError;
use cm_kernel::catalog::kinds::Bucket as BucketSpec;
use cm_kernel::catalog::{CatalogError, Dependents, NewRecord, Query};
use cm_kernel::objects::Setting;
use cm_kernel::policy::sharing::{BucketSharing, Use};
use cm_kernel::policy::{Create, Delete, Read};
use cm_types::{BucketName, PageLimit, ResourceId, ResourceKind, TenantId};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::listing::{last_of, token, unknown_token};
use super::{Store, bucket_name};
use crate::acls::Said;
use crate::caller::Caller;
use crate::describe::time;
use crate::failure;

/// Most buckets that one answer names; S3 gives the same.
const LISTED_MAX: usize = 10_000;
/// The region that a bucket is in of which its maker said nothing, for clients that must know one. Signatures may be for any.
const REGION: &str = "us-east-1";
/// What a token of a listing of buckets begins with.
const TOKEN: &str = "bucket:";
/// How many versions a bucket has, as Ceph says it.
const OBJECT_COUNT: HeaderName = HeaderName::from_static("x-rgw-object-count");
/// How many bytes they and the parts of uploads have.
const BYTES_USED: HeaderName = HeaderName::from_static("x-rgw-bytes-used");

impl Store {
    pub(super) async fn buckets(
        &self,
        caller: Caller,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let input = request.input;
        let max = match input.max_buckets {
            None => LISTED_MAX,
            Some(max) => {
                usize::try_from(max).ok().filter(|max| (1..=LISTED_MAX).contains(max)).ok_or_else(|| {
                    S3Error::with_message(S3ErrorCode::InvalidArgument, "a page has 1 to 10000 buckets")
                })?
            }
        };
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = match input.continuation_token.as_deref() {
            None => String::new(),
            Some(given) => after_bucket(given).ok_or_else(unknown_token)?,
        };
        let mut found = Vec::new();
        let mut query = Query { limit: PageLimit::MAX, ..Query::of(ResourceKind::Bucket) };
        loop {
            let page = self.kernel.list_own_buckets(&caller, query.clone()).await.map_err(failure::kernel)?;
            found.extend(page.items.into_iter().map(|record| record.header));
            match page.next {
                Some(next) if found.len() < LISTED_MAX => query.after = Some(next),
                _ => break,
            }
        }
        found.retain(|header| header.id.as_str().starts_with(&prefix) && header.id.as_str() > after.as_str());
        found.sort_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
        let more = found.len() > max;
        found.truncate(max);
        let next = found.last().filter(|_| more).map(|last| token(&format!("{TOKEN}{}", last.id)));
        let mut buckets = Vec::with_capacity(found.len());
        for header in found {
            let region = match BucketName::parse(header.id.as_str()) {
                Ok(name) => self.location(&caller.tenant(), &name).await?,
                Err(_) => None,
            };
            buckets.push(Bucket {
                name: Some(header.id.to_string()),
                creation_date: Some(time(header.created_at)),
                bucket_region: Some(region.unwrap_or_else(|| REGION.to_owned())),
            });
        }
        let owner = match caller.principal() {
            Some(principal) => Some(self.owner(&caller.tenant(), principal).await?),
            None => None,
        };
        let output = ListBucketsOutput {
            buckets: Some(buckets),
            continuation_token: next,
            owner,
            prefix: input.prefix,
        };
        Ok(S3Response::new(output))
    }

    pub(super) async fn make_bucket(
        &self,
        caller: Caller,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let (input, said) = (request.input, Said::of(&request.headers));
        let with_locks = input.object_lock_enabled_for_bucket == Some(true);
        let name = BucketName::parse(input.bucket)
            .map_err(|error| S3Error::with_message(S3ErrorCode::InvalidBucketName, error.to_string()))?;
        if !is_name_of_s3(name.as_str()) {
            let message = "a name has 3 to 63 small letters, digits, dots and hyphens, begins and ends with a letter or a \
                           digit, and looks like no address";
            return Err(S3Error::with_message(S3ErrorCode::InvalidBucketName, message));
        }
        let location = input.create_bucket_configuration.and_then(|said| said.location_constraint);
        let location = location.map(|location| location.as_str().to_owned()).filter(|text| !text.is_empty());
        if location.as_ref().is_some_and(|location| !is_location(location)) {
            let message = "a location is a name of up to 63 letters, digits, hyphens and underscores";
            return Err(S3Error::with_message(S3ErrorCode::InvalidLocationConstraint, message));
        }
        let permit =
            self.kernel.authorize::<Create>(&caller, ResourceKind::Bucket).await.map_err(failure::kernel)?;
        let owner = permit.principal().ok_or_else(|| S3Error::new(S3ErrorCode::AccessDenied))?;
        let ownership = input.object_ownership.as_ref().map(|ownership| ownership.as_str());
        let sharing = self.new_sharing(permit.tenant(), owner, said, ownership).await?;
        let new = NewRecord {
            id: Some(ResourceId::from(name.clone())),
            ..NewRecord::of(name.as_str(), &BucketSpec::default())
        };
        self.forget_versions(&caller, &name);
        let output = || S3Response::new(CreateBucketOutput { location: Some(format!("/{name}")) });
        let made =
            self.kernel.create_shared_bucket(&caller, &permit, new, sharing.clone(), with_locks, location);
        match made.await {
            Ok(_) => Ok(output()),
            // Whoever makes a bucket again as it is has what it wants, as in the first region of S3.
            Err(KernelError::Catalog(CatalogError::Exists(_)))
                if self.has(&caller, &name, &sharing, with_locks).await =>
            {
                Ok(output())
            }
            Err(error) => Err(failure::kernel(error)),
        }
    }

    /// Whether the bucket is the caller's own, shared so, and with locks if it is to have them.
    async fn has(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        sharing: &BucketSharing,
        with_locks: bool,
    ) -> bool {
        let Ok((record, permit)) = self.bucket::<Read>(caller, Use::GetBucketPolicy, bucket).await else {
            return false;
        };
        let is_same = self.kernel.sharing_of(&permit, bucket).await.is_ok_and(|found| found == *sharing);
        let has_locks = match with_locks {
            true => self.kernel.objects().locking(&permit, bucket).await.is_ok_and(|found| found.is_some()),
            false => true,
        };
        is_same && has_locks && Some(&record.header.owner) == caller.principal()
    }

    pub(super) async fn describe_bucket(
        &self,
        caller: Caller,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        let name = bucket_name(request.input.bucket)?;
        let permit = self.permit_bucket::<Read>(&caller, Use::ListBucket, &name).await?;
        let region = self.location(permit.tenant(), &name).await?.unwrap_or_else(|| REGION.to_owned());
        let output = HeadBucketOutput { bucket_region: Some(region), ..HeadBucketOutput::default() };
        let mut answer = S3Response::new(output);
        // Nothing is known of a bucket that is older than counts.
        let (_, usage) = self.kernel.objects().bucket_quota(&permit, &name).await.map_err(failure::object)?;
        if let Some(usage) = usage {
            answer.headers.insert(OBJECT_COUNT, usage.objects.into());
            answer.headers.insert(BYTES_USED, usage.bytes.into());
        }
        Ok(answer)
    }

    pub(super) async fn bucket_location(
        &self,
        caller: Caller,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let name = bucket_name(request.input.bucket)?;
        let permit = self.permit_bucket::<Read>(&caller, Use::GetBucketLocation, &name).await?;
        // The first region has no name here, for historical reasons of S3; nor has a bucket of which nothing was said.
        let location = self.location(permit.tenant(), &name).await?;
        let location_constraint = location.map(BucketLocationConstraint::from);
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
    }

    /// Where its maker wanted a bucket to be.
    async fn location(&self, tenant: &TenantId, bucket: &BucketName) -> S3Result<Option<String>> {
        let found = self.kernel.objects().setting_of(tenant, bucket, Setting::Location).await;
        found.map_err(failure::object)
    }

    pub(super) async fn remove_bucket(
        &self,
        caller: Caller,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        let name = bucket_name(request.input.bucket)?;
        let permit = self.permit_bucket::<Delete>(&caller, Use::DeleteBucket, &name).await?;
        let id = ResourceId::from(name);
        let removed = self.kernel.delete_record(&caller, &permit, &id, None, Dependents::default()).await;
        removed.map_err(failure::kernel)?;
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }
}

/// The bucket that a token says to go on behind.
fn after_bucket(given: &str) -> Option<String> {
    let text = last_of(given)?;
    let name = text.strip_prefix(TOKEN)?;
    BucketName::parse(name).is_ok().then(|| name.to_owned())
}

/// Whether a location can be called so.
fn is_location(text: &str) -> bool {
    text.len() <= 63 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Whether S3 lets a bucket be called so: it must be the name of a host, too. Buckets that were made natively may have other names.
fn is_name_of_s3(name: &str) -> bool {
    const BEGINNINGS: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
    const ENDS: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
    let is_label = |label: &str| {
        let ends = [label.bytes().next(), label.bytes().last()];
        ends.into_iter().all(|end| end.is_some_and(|end| end.is_ascii_lowercase() || end.is_ascii_digit()))
    };
    (3..=63).contains(&name.len())
        && name.bytes().all(|letter| matches!(letter, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'))
        && name.split('.').all(is_label)
        && name.parse::<std::net::Ipv4Addr>().is_err()
        && !BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        && !ENDS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tokens_that_were_given_go_on() {
        assert_eq!(after_bucket(&token("bucket:abc")).as_deref(), Some("abc"));
        for foreign in ["", "abc", "!", &token("abc"), &token("bucket:"), &token("o:abc")] {
            assert_eq!(after_bucket(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn names_are_those_of_hosts() {
        let check = |name: &str, expected: bool| assert_eq!(is_name_of_s3(name), expected, "{name}");
        for good in ["abc", "a.b-c.1", "1abc", &"x".repeat(63), "a--b", "192.168.5"] {
            check(good, true);
        }
        for bad in [
            "a",
            "ab",
            "a_b",
            "Abc",
            "-abc",
            "abc-",
            "abc.",
            ".abc",
            "a..b",
            "a.-b",
            "a-.b",
            "192.168.5.123",
            "xn--a",
            "a--x-s3",
            &"x".repeat(64),
        ] {
            check(bad, false);
        }
    }
}
