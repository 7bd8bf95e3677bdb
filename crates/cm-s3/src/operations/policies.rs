//! Policies of buckets, what keeps buckets from being public, and who owns what others write.

use cm_kernel::policy::sharing::{
    BucketSharing, Grantee, InvalidPolicy, ObjectOwnership as Ownership, PolicyDocument, PublicAccessBlock,
    Use,
};
use cm_kernel::policy::{Grant, Read};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::{Store, bucket_name};
use crate::caller::Caller;
use crate::codes::Code;
use crate::{failure, statements};

impl Store {
    async fn shared(&self, caller: &Caller, used: Use, bucket: String) -> S3Result<BucketSharing> {
        let bucket = bucket_name(bucket)?;
        let permit = self.permit_bucket::<Read>(caller, used, &bucket).await?;
        self.kernel.sharing_of(&permit, &bucket).await.map_err(failure::kernel)
    }

    async fn reshare(
        &self,
        caller: &Caller,
        used: Use,
        bucket: String,
        change: impl FnOnce(&mut BucketSharing) -> S3Result<()> + Send + 'static,
    ) -> S3Result<()> {
        let bucket = bucket_name(bucket)?;
        let permit = self.permit_bucket::<Grant>(caller, used, &bucket).await?;
        self.change_sharing(caller, &permit, &bucket, change).await
    }

    pub(super) async fn policy(
        &self,
        caller: Caller,
        request: S3Request<GetBucketPolicyInput>,
    ) -> S3Result<S3Response<GetBucketPolicyOutput>> {
        let sharing = self.shared(&caller, Use::GetBucketPolicy, request.input.bucket).await?;
        match sharing.policy {
            Some(policy) => {
                Ok(S3Response::new(GetBucketPolicyOutput { policy: Some(policy.as_str().to_owned()) }))
            }
            None => Err(S3Error::with_message(S3ErrorCode::NoSuchBucketPolicy, "the bucket has no policy")),
        }
    }

    pub(super) async fn set_policy(
        &self,
        caller: Caller,
        request: S3Request<PutBucketPolicyInput>,
    ) -> S3Result<S3Response<PutBucketPolicyOutput>> {
        let (text, name, tenant) = (request.input.policy, request.input.bucket.clone(), caller.tenant());
        self.reshare(&caller, Use::PutBucketPolicy, request.input.bucket, move |sharing| {
            let text = statements::checked(text, &tenant)?;
            let policy = PolicyDocument::parse(text).map_err(|error| malformed(&error))?;
            if !policy.is_of(&name) {
                let message = "the policy has a resource of another bucket";
                return Err(S3Error::with_message(S3ErrorCode::MalformedPolicy, message));
            }
            if sharing.block().block_public_policy && policy.is_public() {
                let message = "the bucket blocks policies that allow something to everybody";
                return Err(S3Error::with_message(S3ErrorCode::AccessDenied, message));
            }
            sharing.policy = Some(policy);
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutBucketPolicyOutput::default()))
    }

    pub(super) async fn remove_policy(
        &self,
        caller: Caller,
        request: S3Request<DeleteBucketPolicyInput>,
    ) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
        self.reshare(&caller, Use::DeleteBucketPolicy, request.input.bucket, |sharing| {
            sharing.policy = None;
            Ok(())
        })
        .await?;
        Ok(S3Response::new(DeleteBucketPolicyOutput::default()))
    }

    pub(super) async fn policy_status(
        &self,
        caller: Caller,
        request: S3Request<GetBucketPolicyStatusInput>,
    ) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
        let sharing = self.shared(&caller, Use::GetBucketPolicyStatus, request.input.bucket).await?;
        let policy_status = Some(PolicyStatus { is_public: Some(sharing.is_public()) });
        Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status }))
    }

    pub(super) async fn public_access(
        &self,
        caller: Caller,
        request: S3Request<GetPublicAccessBlockInput>,
    ) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
        let sharing = self.shared(&caller, Use::GetBucketPublicAccessBlock, request.input.bucket).await?;
        let block = sharing.block.ok_or_else(|| {
            Code::NoSuchPublicAccessBlock.error("nothing keeps the bucket from being public")
        })?;
        let configuration = PublicAccessBlockConfiguration {
            block_public_acls: Some(block.block_public_acls),
            block_public_policy: Some(block.block_public_policy),
            ignore_public_acls: Some(block.ignore_public_acls),
            restrict_public_buckets: Some(block.restrict_public_buckets),
        };
        let output = GetPublicAccessBlockOutput { public_access_block_configuration: Some(configuration) };
        Ok(S3Response::new(output))
    }

    pub(super) async fn set_public_access(
        &self,
        caller: Caller,
        request: S3Request<PutPublicAccessBlockInput>,
    ) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
        let said = request.input.public_access_block_configuration;
        let block = PublicAccessBlock {
            block_public_acls: said.block_public_acls.unwrap_or_default(),
            ignore_public_acls: said.ignore_public_acls.unwrap_or_default(),
            block_public_policy: said.block_public_policy.unwrap_or_default(),
            restrict_public_buckets: said.restrict_public_buckets.unwrap_or_default(),
        };
        self.reshare(&caller, Use::PutBucketPublicAccessBlock, request.input.bucket, move |sharing| {
            sharing.block = Some(block);
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
    }

    pub(super) async fn remove_public_access(
        &self,
        caller: Caller,
        request: S3Request<DeletePublicAccessBlockInput>,
    ) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
        self.reshare(&caller, Use::PutBucketPublicAccessBlock, request.input.bucket, |sharing| {
            sharing.block = None;
            Ok(())
        })
        .await?;
        Ok(S3Response::new(DeletePublicAccessBlockOutput::default()))
    }

    pub(super) async fn ownership(
        &self,
        caller: Caller,
        request: S3Request<GetBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
        let sharing = self.shared(&caller, Use::GetBucketOwnershipControls, request.input.bucket).await?;
        let missing = || {
            let message = "nothing was said about who owns what others write: they do";
            S3Error::with_message(S3ErrorCode::OwnershipControlsNotFoundError, message)
        };
        let name = match sharing.ownership.ok_or_else(missing)? {
            Ownership::ObjectWriter => ObjectOwnership::OBJECT_WRITER,
            Ownership::BucketOwnerPreferred => ObjectOwnership::BUCKET_OWNER_PREFERRED,
            Ownership::BucketOwnerEnforced => ObjectOwnership::BUCKET_OWNER_ENFORCED,
        };
        let rule = OwnershipControlsRule { object_ownership: ObjectOwnership::from_static(name) };
        let ownership_controls = Some(OwnershipControls { rules: vec![rule] });
        Ok(S3Response::new(GetBucketOwnershipControlsOutput { ownership_controls }))
    }

    pub(super) async fn set_ownership(
        &self,
        caller: Caller,
        request: S3Request<PutBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
        let rules = request.input.ownership_controls.rules;
        let [rule] = rules.as_slice() else {
            return Err(S3Error::with_message(
                S3ErrorCode::MalformedXML,
                "one rule says who owns what others write",
            ));
        };
        let ownership = ownership_named(rule.object_ownership.as_str()).map_err(|error| {
            S3Error::with_message(S3ErrorCode::MalformedXML, error.message().unwrap_or_default().to_owned())
        })?;
        let bucket = bucket_name(request.input.bucket)?;
        let used = Use::PutBucketOwnershipControls;
        let (record, permit) = self.bucket::<Grant>(&caller, used, &bucket).await?;
        let owner = Grantee::Principal(record.header.owner.clone());
        self.change_sharing(&caller, &permit, &bucket, move |sharing| {
            let grants = sharing.acl.iter().flat_map(|acl| &acl.grants);
            let is_shared = grants.into_iter().any(|grant| grant.grantee != owner);
            if ownership == Ownership::BucketOwnerEnforced && is_shared {
                let message = "take grants to others back first: they would count no more";
                return Err(S3Error::with_message(S3ErrorCode::InvalidBucketAclWithObjectOwnership, message));
            }
            sharing.ownership = Some(ownership);
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutBucketOwnershipControlsOutput::default()))
    }

    pub(super) async fn remove_ownership(
        &self,
        caller: Caller,
        request: S3Request<DeleteBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<DeleteBucketOwnershipControlsOutput>> {
        self.reshare(&caller, Use::PutBucketOwnershipControls, request.input.bucket, |sharing| {
            sharing.ownership = None;
            Ok(())
        })
        .await?;
        Ok(S3Response::new(DeleteBucketOwnershipControlsOutput::default()))
    }
}

/// Who owns what others write, by its name in S3.
pub(super) fn ownership_named(name: &str) -> S3Result<Ownership> {
    match name {
        ObjectOwnership::OBJECT_WRITER => Ok(Ownership::ObjectWriter),
        ObjectOwnership::BUCKET_OWNER_PREFERRED => Ok(Ownership::BucketOwnerPreferred),
        ObjectOwnership::BUCKET_OWNER_ENFORCED => Ok(Ownership::BucketOwnerEnforced),
        _ => {
            Err(S3Error::with_message(S3ErrorCode::InvalidArgument, "the ownership of objects is not known"))
        }
    }
}

fn malformed(error: &InvalidPolicy) -> S3Error {
    S3Error::with_message(S3ErrorCode::MalformedPolicy, error.to_string())
}
