//! Buckets, which are records of the catalogue.

use cm_kernel::catalog::kinds::Bucket as BucketSpec;
use cm_kernel::catalog::{CatalogError, Dependents, NewRecord, Query};
use cm_kernel::policy::{Create, Delete, List, Read};
use cm_kernel::{KernelError, OpContext};
use cm_types::{BucketName, PageLimit, ResourceId, ResourceKind};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::refusals::refuse;
use super::{Store, bucket_name};
use crate::caller::Caller;
use crate::describe::time;
use crate::failure;

/// Most buckets that one answer names; S3 gives the same.
const LISTED_MAX: usize = 10_000;
/// The region that every bucket is in, for clients that must know one. Signatures may be for any.
const REGION: &str = "us-east-1";

impl Store {
    pub(super) async fn buckets(
        &self,
        caller: Caller,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let input = request.input;
        let permit =
            self.kernel.authorize::<List>(&caller, ResourceKind::Bucket).await.map_err(failure::kernel)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.unwrap_or_default();
        let mut found = Vec::new();
        let mut query = Query { limit: PageLimit::MAX, ..Query::of(ResourceKind::Bucket) };
        loop {
            let page = self.kernel.list_records(&caller, &permit, query.clone()).await;
            let page = page.map_err(failure::kernel)?;
            found.extend(page.items.into_iter().map(|record| record.header));
            match page.next {
                Some(next) if found.len() < LISTED_MAX => query.after = Some(next),
                _ => break,
            }
        }
        found.retain(|header| header.id.as_str().starts_with(&prefix) && header.id.as_str() > after.as_str());
        found.sort_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
        let max = input.max_buckets.and_then(|max| usize::try_from(max).ok()).unwrap_or(LISTED_MAX);
        let more = found.len() > max;
        found.truncate(max);
        let next = found.last().filter(|_| more).map(|last| last.id.to_string());
        let buckets = found.into_iter().map(|header| Bucket {
            name: Some(header.id.to_string()),
            creation_date: Some(time(header.created_at)),
            bucket_region: Some(REGION.to_owned()),
        });
        let id = caller.principal().map(ToString::to_string);
        let output = ListBucketsOutput {
            buckets: Some(buckets.collect()),
            continuation_token: next,
            owner: Some(Owner { display_name: id.clone(), id }),
            prefix: input.prefix,
        };
        Ok(S3Response::new(output))
    }

    pub(super) async fn make_bucket(
        &self,
        caller: Caller,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let input = request.input;
        refuse!(
            input; grant_full_control, grant_read, grant_read_acp, grant_write, grant_write_acp,
            object_lock_enabled_for_bucket
        );
        if input.acl.as_ref().is_some_and(|acl| acl.as_str() != "private") {
            let message = "who may do what is said by roles and security policies here";
            return Err(S3Error::with_message(S3ErrorCode::NotImplemented, message));
        }
        let name = BucketName::parse(input.bucket)
            .map_err(|error| S3Error::with_message(S3ErrorCode::InvalidBucketName, error.to_string()))?;
        let permit =
            self.kernel.authorize::<Create>(&caller, ResourceKind::Bucket).await.map_err(failure::kernel)?;
        let new = NewRecord {
            id: Some(ResourceId::from(name.clone())),
            ..NewRecord::of(name.as_str(), &BucketSpec::default())
        };
        match self.kernel.create_record(&caller, &permit, new).await {
            Ok(_) => {
                let output = CreateBucketOutput { location: Some(format!("/{name}")) };
                Ok(S3Response::new(output))
            }
            Err(KernelError::Catalog(CatalogError::Exists(_))) if self.owns(&caller, &name).await => Err(
                S3Error::with_message(S3ErrorCode::BucketAlreadyOwnedByYou, "the bucket is yours already"),
            ),
            Err(error) => Err(failure::kernel(error)),
        }
    }

    async fn owns(&self, caller: &OpContext, bucket: &BucketName) -> bool {
        let found = self.kernel.look_up::<Read>(caller, ResourceKind::Bucket, bucket.as_str()).await;
        found.is_ok_and(|(record, _)| Some(&record.header.owner) == caller.principal())
    }

    pub(super) async fn describe_bucket(
        &self,
        caller: Caller,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        refuse!(request.input; expected_bucket_owner);
        self.require_bucket(&caller, request.input.bucket).await?;
        let output =
            HeadBucketOutput { bucket_region: Some(REGION.to_owned()), ..HeadBucketOutput::default() };
        Ok(S3Response::new(output))
    }

    pub(super) async fn bucket_location(
        &self,
        caller: Caller,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        refuse!(request.input; expected_bucket_owner);
        self.require_bucket(&caller, request.input.bucket).await?;
        // The first region has no name here, for historical reasons of S3.
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    pub(super) async fn bucket_versioning(
        &self,
        caller: Caller,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        refuse!(request.input; expected_bucket_owner);
        self.require_bucket(&caller, request.input.bucket).await?;
        Ok(S3Response::new(GetBucketVersioningOutput::default()))
    }

    pub(super) async fn remove_bucket(
        &self,
        caller: Caller,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        refuse!(request.input; expected_bucket_owner);
        let name = bucket_name(request.input.bucket)?;
        let found = self.kernel.look_up::<Delete>(&caller, ResourceKind::Bucket, name.as_str()).await;
        let (_, permit) = found.map_err(failure::kernel)?;
        let id = ResourceId::from(name);
        let removed = self.kernel.delete_record(&caller, &permit, &id, None, Dependents::default()).await;
        removed.map_err(failure::kernel)?;
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }

    async fn require_bucket(&self, caller: &OpContext, name: String) -> S3Result<()> {
        let name = bucket_name(name)?;
        let found = self.kernel.look_up::<Read>(caller, ResourceKind::Bucket, name.as_str()).await;
        found.map(drop).map_err(failure::kernel)
    }
}
