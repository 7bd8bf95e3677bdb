//! Lists of grants on buckets and objects.

use cm_kernel::catalog::Record;
use cm_kernel::objects::{Protection, Tags, VersionName};
use cm_kernel::policy::sharing::{Acl, AclGrant, BucketSharing, CannedAcl, Grantee, ObjectOwnership, Use};
use cm_kernel::policy::{ActionKind, Grant, Permit, Read};
use cm_types::{BucketName, ObjectKey, PrincipalId, TenantId};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::{Store, bucket_name, object_key};
use crate::acls::{self, Grants, Said};
use crate::caller::Caller;
use crate::failure;

/// Whose a new object is, and to whom it is given.
#[derive(Clone, Debug, Default)]
pub(super) struct NewAccess {
    /// The owner, where it is another than the writer.
    pub(super) owner: Option<PrincipalId>,
    /// The grants; `None` is private.
    pub(super) acl: Option<Acl>,
}

/// What is said along with a new object that takes more than leave to write it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SaidAlong {
    acl: bool,
    tags: bool,
    retention: bool,
    hold: bool,
}

impl SaidAlong {
    /// What a request says.
    pub(super) fn of(
        access: &NewAccess,
        tags: &Tags,
        protection: &Protection,
        writer: Option<&PrincipalId>,
        bucket_owner: &PrincipalId,
    ) -> Self {
        // What only lets in the two that have a right to it anyway gives nothing away.
        let gives = |grant: &AclGrant| match &grant.grantee {
            Grantee::Principal(id) => Some(id) != writer && id != bucket_owner,
            Grantee::Authenticated | Grantee::Everybody => true,
        };
        Self {
            acl: access.acl.as_ref().is_some_and(|acl| acl.grants.iter().any(gives)),
            tags: !tags.is_empty(),
            retention: protection.retention.is_some(),
            hold: protection.legal_hold.is_some(),
        }
    }
}

impl Store {
    pub(super) async fn bucket_acl(
        &self,
        caller: Caller,
        request: S3Request<GetBucketAclInput>,
    ) -> S3Result<S3Response<GetBucketAclOutput>> {
        let bucket = bucket_name(request.input.bucket)?;
        let (record, permit) = self.bucket::<Read>(&caller, Use::GetBucketAcl, &bucket).await?;
        let sharing = self.kernel.sharing_of(&permit, &bucket).await.map_err(failure::kernel)?;
        let owner = &record.header.owner;
        let acl = sharing.acl.unwrap_or_else(|| CannedAcl::Private.acl(Some(owner), owner));
        let (owner, grants) = self.shown(permit.tenant(), owner, &acl).await?;
        Ok(S3Response::new(GetBucketAclOutput { grants: Some(grants), owner: Some(owner) }))
    }

    pub(super) async fn set_bucket_acl(
        &self,
        caller: Caller,
        request: S3Request<PutBucketAclInput>,
    ) -> S3Result<S3Response<PutBucketAclOutput>> {
        let (input, mut said) = (request.input, Said::of(&request.headers));
        said.document = input.access_control_policy;
        let bucket = bucket_name(input.bucket)?;
        let (record, permit) = self.bucket::<Grant>(&caller, Use::PutBucketAcl, &bucket).await?;
        let owner = &record.header.owner;
        require_same_owner(&said, owner)?;
        let acl = self.required_acl(&permit, said, Some(owner), owner).await?;
        self.change_sharing(&caller, &permit, &bucket, move |sharing| {
            refuse_acl(sharing, &acl)?;
            sharing.acl = Some(acl);
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutBucketAclOutput::default()))
    }

    pub(super) async fn object_acl(
        &self,
        caller: Caller,
        request: S3Request<GetObjectAclInput>,
    ) -> S3Result<S3Response<GetObjectAclOutput>> {
        let input = request.input;
        let (bucket, key) = (bucket_name(input.bucket)?, object_key(input.key)?);
        let version = super::reading::version_name(input.version_id.as_deref())?;
        let (record, permit) =
            self.object::<Read>(&caller, Use::GetObjectAcl, &bucket, &key, version).await?;
        let Some((owner, acl)) = self.access_to(&permit, &record, &bucket, &key, version).await? else {
            let found = self.kernel.objects().head_version(&permit, &bucket, &key, version).await;
            return Err(found.err().map_or_else(gone, failure::object));
        };
        let (owner, grants) = self.shown(permit.tenant(), &owner, &acl).await?;
        let output =
            GetObjectAclOutput { grants: Some(grants), owner: Some(owner), ..GetObjectAclOutput::default() };
        Ok(S3Response::new(output))
    }

    pub(super) async fn set_object_acl(
        &self,
        caller: Caller,
        request: S3Request<PutObjectAclInput>,
    ) -> S3Result<S3Response<PutObjectAclOutput>> {
        let (input, mut said) = (request.input, Said::of(&request.headers));
        said.document = input.access_control_policy;
        let (bucket, key) = (bucket_name(input.bucket)?, object_key(input.key)?);
        let version = super::reading::version_name(input.version_id.as_deref())?;
        let (record, permit) =
            self.object::<Grant>(&caller, Use::PutObjectAcl, &bucket, &key, version).await?;
        let Some((owner, _)) = self.access_to(&permit, &record, &bucket, &key, version).await? else {
            // The permit is for what is not there, so that this sets nothing, and says why.
            let set = self.kernel.objects().set_acl(&permit, &bucket, &key, version, Acl::default(), None);
            return Err(set.await.err().map_or_else(gone, failure::object));
        };
        require_same_owner(&said, &owner)?;
        let acl = self.required_acl(&permit, said, Some(&owner), &record.header.owner).await?;
        let sharing = self.kernel.sharing_of(&permit, &bucket).await.map_err(failure::kernel)?;
        refuse_acl(&sharing, &acl)?;
        if sharing.acl.is_none() {
            return Err(not_shared());
        }
        let objects = self.kernel.objects();
        let set = objects.set_acl(&permit, &bucket, &key, version, acl, Some(caller.request.clone())).await;
        set.map_err(failure::object)?;
        Ok(S3Response::new(PutObjectAclOutput::default()))
    }

    /// Whose a new object is going to be, and to whom it is given, by what its writer says.
    pub(super) async fn new_access<A: ActionKind>(
        &self,
        caller: &Caller,
        permit: &Permit<A>,
        bucket: &BucketName,
        record: &Record,
        said: Said,
    ) -> S3Result<NewAccess> {
        let Some(grants) = said.grants()? else { return Ok(NewAccess::default()) };
        let sharing = self.kernel.sharing_of(permit, bucket).await.map_err(failure::kernel)?;
        let bucket_owner = &record.header.owner;
        let for_bucket_owner = grants == Grants::Canned(CannedAcl::BucketOwnerFullControl);
        match sharing.ownership {
            Some(ObjectOwnership::BucketOwnerEnforced) if for_bucket_owner => return Ok(NewAccess::default()),
            Some(ObjectOwnership::BucketOwnerPreferred) if for_bucket_owner => {
                return Ok(NewAccess { owner: Some(bucket_owner.clone()), acl: None });
            }
            _ => {}
        }
        let acl = self.resolved(permit.tenant(), grants, caller.principal(), bucket_owner).await?;
        refuse_acl(&sharing, &acl)?;
        let private = CannedAcl::Private.acl(caller.principal(), bucket_owner);
        match (sharing.acl.is_some(), acl == private) {
            (_, true) => Ok(NewAccess::default()),
            (true, false) => Ok(NewAccess { owner: None, acl: Some(acl) }),
            (false, false) => Err(not_shared()),
        }
    }

    /// Demands leave for what is said along with a new object, by the names that policies have for it. Leave to write is none
    /// to share, to tag or to lock.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(super) async fn permit_said<A: ActionKind>(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        said: SaidAlong,
    ) -> S3Result<()> {
        if said.acl {
            self.permit_object::<A>(caller, Use::PutNewObjectAcl, bucket, key, None).await?;
        }
        if said.tags {
            self.permit_object::<A>(caller, Use::PutNewObjectTagging, bucket, key, None).await?;
        }
        if said.retention {
            self.permit_object::<A>(caller, Use::PutObjectRetention, bucket, key, None).await?;
        }
        if said.hold {
            self.permit_object::<A>(caller, Use::PutObjectLegalHold, bucket, key, None).await?;
        }
        Ok(())
    }

    /// How a new bucket is going to be shared.
    pub(super) async fn new_sharing(
        &self,
        tenant: &TenantId,
        owner: &PrincipalId,
        said: Said,
        ownership: Option<&str>,
    ) -> S3Result<BucketSharing> {
        let ownership = ownership.map(super::policies::ownership_named).transpose()?;
        let mut sharing = BucketSharing { ownership, ..BucketSharing::private(owner) };
        if let Some(grants) = said.grants()? {
            let acl = self.resolved(tenant, grants, Some(owner), owner).await?;
            if !sharing.has_acls() && sharing.acl.as_ref() != Some(&acl) {
                let code = S3ErrorCode::InvalidBucketAclWithObjectOwnership;
                return Err(S3Error::with_message(
                    code,
                    "grants do not count where the owner of the bucket owns all",
                ));
            }
            sharing.acl = Some(acl);
        }
        Ok(sharing)
    }

    /// Changes how a bucket is shared.
    pub(super) async fn change_sharing(
        &self,
        caller: &Caller,
        permit: &Permit<Grant>,
        bucket: &BucketName,
        change: impl FnOnce(&mut BucketSharing) -> S3Result<()> + Send + 'static,
    ) -> S3Result<()> {
        let shared = self.kernel.objects().share(permit, bucket, Some(caller.request.clone()), change).await;
        shared.map_err(failure::object)?.map(drop)
    }

    async fn required_acl(
        &self,
        permit: &Permit<Grant>,
        said: Said,
        owner: Option<&PrincipalId>,
        bucket_owner: &PrincipalId,
    ) -> S3Result<Acl> {
        let missing = || S3Error::with_message(S3ErrorCode::MissingSecurityHeader, "no grants were said");
        let grants = said.grants()?.ok_or_else(missing)?;
        self.resolved(permit.tenant(), grants, owner, bucket_owner).await
    }

    async fn resolved(
        &self,
        tenant: &TenantId,
        grants: Grants,
        owner: Option<&PrincipalId>,
        bucket_owner: &PrincipalId,
    ) -> S3Result<Acl> {
        let existing = self.kernel.display_names(tenant, grants.named()?).await.map_err(failure::kernel)?;
        grants.resolve(&existing, owner, bucket_owner)
    }

    async fn access_to<A: ActionKind>(
        &self,
        permit: &Permit<A>,
        record: &Record,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionName>,
    ) -> S3Result<Option<(PrincipalId, Acl)>> {
        let access = self.kernel.access_of(permit, bucket, key, version).await.map_err(failure::kernel)?;
        let Some(access) = access else { return Ok(None) };
        let bucket_owner = &record.header.owner;
        let sharing = self.kernel.sharing_of(permit, bucket).await.map_err(failure::kernel)?;
        if !sharing.has_acls() {
            // Whoever wrote it: the owner of the bucket owns all, and no grants count.
            let acl = CannedAcl::Private.acl(Some(bucket_owner), bucket_owner);
            return Ok(Some((bucket_owner.clone(), acl)));
        }
        let owner = access.owner.unwrap_or_else(|| bucket_owner.clone());
        let acl = access.acl.unwrap_or_else(|| CannedAcl::Private.acl(Some(&owner), bucket_owner));
        Ok(Some((owner, acl)))
    }

    async fn shown(
        &self,
        tenant: &TenantId,
        owner: &PrincipalId,
        acl: &Acl,
    ) -> S3Result<(Owner, s3s::dto::Grants)> {
        let named = acls::principals(acl).chain([owner.clone()]).collect();
        let names = self.kernel.display_names(tenant, named).await.map_err(failure::kernel)?;
        Ok((acls::owner(owner, &names), acls::listed(acl, &names)))
    }

    /// A principal as an owner, by its id and what it is called.
    pub(super) async fn owner(&self, tenant: &TenantId, id: &PrincipalId) -> S3Result<Owner> {
        let names = self.kernel.display_names(tenant, vec![id.clone()]).await.map_err(failure::kernel)?;
        Ok(acls::owner(id, &names))
    }
}

fn gone() -> S3Error {
    S3Error::with_message(S3ErrorCode::NoSuchKey, "the object does not exist")
}

/// A list does not give a thing to another owner.
fn require_same_owner(said: &Said, owner: &PrincipalId) -> S3Result<()> {
    let named = said.document.as_ref().and_then(|document| document.owner.as_ref()?.id.as_deref());
    match named.is_none_or(|named| named == owner.as_str()) {
        true => Ok(()),
        false => Err(S3Error::with_message(S3ErrorCode::AccessDenied, "a list of grants changes no owner")),
    }
}

/// What a bucket does not let be said.
fn refuse_acl(sharing: &BucketSharing, acl: &Acl) -> S3Result<()> {
    if !sharing.has_acls() {
        let message = "grants do not count here: the owner of the bucket owns all";
        return Err(S3Error::with_message(S3ErrorCode::AccessControlListNotSupported, message));
    }
    match sharing.block().block_public_acls && acl.is_public() {
        true => Err(S3Error::with_message(S3ErrorCode::AccessDenied, "the bucket blocks grants to groups")),
        false => Ok(()),
    }
}

fn not_shared() -> S3Error {
    let message = "roles decide in this bucket; give the bucket a list of grants first, with PutBucketAcl";
    S3Error::with_message(S3ErrorCode::AccessControlListNotSupported, message)
}
