//! Decisions about buckets that may be shared, and objects in them: facts from the catalogue and the object store in one
//! snapshot, the decision in [`cm_policy::sharing`].

use std::collections::BTreeMap;

use cm_catalog::{Catalog, NewRecord, Query, Record, guard};
use cm_db::ReadTx;
use cm_objects::{ObjectFacts, Objects, VersionName};
use cm_policy::sharing::{
    Asked, BucketSharing, Circumstances, ObjectSharing, Sharing, Use, decide_shared, explain_shared,
};
use cm_policy::{ActionKind, Basis, Create, Denied, Explanation, Guard, Permit, Read, Subject, Target};
use cm_types::{
    Action, BucketName, ObjectKey, Page, PrincipalId, ResourceId, ResourceKind, ResourceRef, TenantId,
};

use crate::{Kernel, KernelError, OpContext};

/// What a request wants with a bucket or an object.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The bucket.
    pub bucket: &'a BucketName,
    /// The object, for uses of objects.
    pub key: Option<&'a ObjectKey>,
    /// Which version of it.
    pub version: Option<VersionName>,
    /// For what.
    pub used: Use,
    /// What the request says about itself.
    pub circumstances: &'a Circumstances,
}

impl Wanted<'_> {
    fn resource(&self) -> ResourceRef {
        match self.key {
            Some(key) => ResourceRef::new(ResourceKind::Object, format!("{}/{key}", self.bucket)),
            None => ResourceRef::new(ResourceKind::Bucket, self.bucket.as_str()),
        }
    }
}

/// A bucket with all that decisions about it rest on.
pub(crate) struct FoundBucket {
    pub(crate) record: Record,
    guard: Option<Guard>,
    sharing: Option<BucketSharing>,
    object: Option<ObjectFacts>,
}

impl FoundBucket {
    fn target<'a>(&'a self, resource: &'a ResourceRef) -> Target<'a> {
        let header = &self.record.header;
        Target {
            kind: resource.kind,
            id: Some(&resource.id),
            tenant: &header.tenant,
            owner: Some(&header.owner),
            labels: &header.labels,
            guard: self.guard.as_ref(),
        }
    }

    fn sharing(&self) -> Option<Sharing<'_>> {
        let object = self.object.as_ref();
        Some(Sharing {
            bucket: self.sharing.as_ref()?,
            bucket_owner: &self.record.header.owner,
            object: object
                .map(|found| ObjectSharing { owner: found.owner.as_ref(), acl: found.acl.as_ref() }),
        })
    }

    /// The circumstances, and what is known of the object besides.
    fn circumstances(&self, said: &Circumstances) -> Circumstances {
        let mut all = said.clone();
        all.tell("s3:ExistingObjectTag/");
        for (name, value) in self.object.iter().flat_map(|object| &object.tags) {
            all.add(&format!("s3:ExistingObjectTag/{name}"), value.as_str());
        }
        all
    }

    pub(crate) fn decide<A: ActionKind>(
        &self,
        subject: &Subject<'_>,
        resource: &ResourceRef,
        used: Use,
        said: &Circumstances,
    ) -> Result<Permit<A>, Denied> {
        let circumstances = self.circumstances(said);
        let asked = Asked { used, circumstances: &circumstances };
        let permit = decide_shared::<A>(subject, &self.target(resource), self.sharing().as_ref(), asked)?;
        // Roles and owners of buckets are the same for all objects; only what was shared may differ from one to the next.
        if self.sharing.is_none() || resource.kind != ResourceKind::Object || !used.is_of_object() {
            return Ok(permit);
        }
        let facts = self.object.clone().map(std::sync::Arc::new);
        Ok(permit.resting_on(facts.map_or(Basis::Absent, Basis::Facts)))
    }

    pub(crate) fn explain(
        &self,
        action: Action,
        subject: &Subject<'_>,
        resource: &ResourceRef,
        used: Use,
        said: &Circumstances,
    ) -> Explanation {
        let circumstances = self.circumstances(said);
        let (target, asked) = (self.target(resource), Asked { used, circumstances: &circumstances });
        match self.sharing() {
            Some(sharing) => explain_shared(action, subject, &target, &sharing, asked),
            None => cm_policy::explain(action, subject, &target),
        }
    }
}

impl Kernel {
    /// Reads a bucket for a use of it or of an object in it, as clients of S3 know uses: what comes back is the bucket's record
    /// and the proof that the actor may do `A`.
    ///
    /// # Errors
    /// [`KernelError::NotFound`] for a bucket that does not exist and for one that roles hide; one that is private because
    /// of a list of grants is refused openly, as is everything that the actor may know of.
    pub async fn look_up_bucket<A: ActionKind>(
        &self,
        op: &OpContext,
        wanted: Wanted<'_>,
    ) -> Result<(Record, Permit<A>), KernelError> {
        let resource = wanted.resource();
        let missing = || KernelError::NotFound(resource.clone());
        let found =
            self.find_bucket(op.tenant(), wanted.bucket, wanted.key, wanted.version, wanted.used).await?;
        let Some(found) = found else { return Err(missing()) };
        let at_present = op.at(self.now());
        let subject = at_present.subject();
        let denied = match found.decide::<A>(&subject, &resource, wanted.used, wanted.circumstances) {
            Ok(permit) => return Ok((found.record, permit)),
            Err(denied) => denied,
        };
        let bucket = ResourceRef::new(ResourceKind::Bucket, wanted.bucket.as_str());
        let is_hidden = found.sharing.as_ref().is_none_or(|sharing| sharing.acl.is_none())
            && !found.explain(Action::Read, &subject, &bucket, Use::ListBucket, wanted.circumstances).allowed;
        let error = self.refuse(op, denied, resource.clone()).await;
        Err(if is_hidden { missing() } else { error })
    }

    /// Creates a bucket and says how it is shared and whether versions of its objects can be locked, in one transaction.
    ///
    /// # Errors
    /// As [`Kernel::create_record`].
    pub async fn create_shared_bucket(
        &self,
        op: &OpContext,
        permit: &Permit<Create>,
        new: NewRecord,
        sharing: BucketSharing,
        with_locks: bool,
        location: Option<String>,
    ) -> Result<Record, KernelError> {
        let (objects, permit_then) = (self.objects().clone(), permit.clone());
        self.create_record_and(op, permit, new, move |tx, record| {
            let name = crate::records::bucket_name(&record.header.id)?;
            objects.set_first_sharing(tx, &permit_then, &name, sharing)?;
            if with_locks {
                objects.set_first_locking(tx, &permit_then, &name)?;
            }
            if let Some(location) = location {
                objects.set_first_location(tx, &permit_then, &name, location)?;
            }
            Ok(record)
        })
        .await
    }

    /// One page of the buckets that are the actor's own, and of those that nobody made private and that it may list and
    /// read. It needs no permit: nobody is shown more, and nobody who did not say who they are is shown anything.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list_own_buckets(&self, op: &OpContext, query: Query) -> Result<Page<Record>, KernelError> {
        let (catalog, objects, op) = (self.catalog().clone(), self.objects().clone(), op.clone());
        let Some(principal) = op.principal().cloned() else {
            return Ok(Page { items: Vec::new(), next: None });
        };
        self.db()
            .read(move |tx| {
                let (tenant, subject) = (op.tenant(), op.subject());
                let may_list = subject.holds_some(ResourceKind::Bucket, Action::List);
                let shows = |record: &Record| -> Result<bool, KernelError> {
                    if record.header.owner == principal {
                        return Ok(true);
                    }
                    let name = crate::records::bucket_name(&record.header.id)?;
                    let is_private =
                        objects.sharing(tx, &tenant, &name)?.is_some_and(|sharing| sharing.acl.is_some());
                    let guard = guard::guard_of(tx, record)?;
                    Ok(may_list && !is_private && crate::records::may_read(&op, record, guard.as_ref()))
                };
                let mut failed = None;
                let page =
                    catalog.list_where(tx, &tenant, &query, &mut |record: &Record| match shows(record) {
                        Ok(shown) => shown,
                        Err(error) => {
                            failed.get_or_insert(error);
                            false
                        }
                    })?;
                failed.map_or(Ok(page), Err)
            })
            .await
    }

    /// How a bucket is shared, for whoever may know it: the permit is for the bucket, or for an object in it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn sharing_of<A: ActionKind>(
        &self,
        permit: &Permit<A>,
        bucket: &BucketName,
    ) -> Result<BucketSharing, KernelError> {
        let (objects, tenant, bucket) = (self.objects().clone(), permit.tenant().clone(), bucket.clone());
        let found = self.db().look_up(move |tx| Ok::<_, KernelError>(objects.sharing(tx, &tenant, &bucket)?));
        Ok(found.await?.unwrap_or_default())
    }

    /// Whose an object is, and to whom it was given, for whoever may know it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn access_of<A: ActionKind>(
        &self,
        permit: &Permit<A>,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionName>,
    ) -> Result<Option<ObjectFacts>, KernelError> {
        let (objects, tenant) = (self.objects().clone(), permit.tenant().clone());
        let (bucket, key) = (bucket.clone(), key.clone());
        self.db()
            .look_up(move |tx| Ok::<_, KernelError>(objects.access(tx, &tenant, &bucket, &key, version)?))
            .await
    }

    /// What the principals with these ids are called; those that do not exist are left out. For lists of grants, whose readers
    /// see names.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn display_names(
        &self,
        tenant: &TenantId,
        ids: Vec<PrincipalId>,
    ) -> Result<BTreeMap<PrincipalId, String>, KernelError> {
        let (identity, tenant) = (self.identity().clone(), tenant.clone());
        self.db()
            .read(move |tx| {
                let mut names = BTreeMap::new();
                for id in ids {
                    if let Some(principal) = identity.get_principal(tx, &tenant, &id)? {
                        names.insert(id, principal.display_name);
                    }
                }
                Ok::<_, KernelError>(names)
            })
            .await
    }

    /// What is known of a request by a face that tells no circumstances of its own, and names no version.
    pub(crate) fn said_by(&self, op: &OpContext) -> Circumstances {
        let mut said = op.circumstances(self.now());
        said.tell("s3:VersionId");
        said
    }

    pub(crate) async fn find_bucket(
        &self,
        tenant: TenantId,
        bucket: &BucketName,
        key: Option<&ObjectKey>,
        version: Option<VersionName>,
        used: Use,
    ) -> Result<Option<FoundBucket>, KernelError> {
        let (catalog, objects) = (self.catalog().clone(), self.objects().clone());
        let (bucket, key) = (bucket.clone(), key.cloned());
        self.db()
            .look_up(move |tx: &ReadTx<'_>| {
                let Some(mut found) = bucket_of((&catalog, &objects), tx, &tenant, &bucket)? else {
                    return Ok::<_, KernelError>(None);
                };
                if let (Some(key), Some(_)) = (&key, &found.sharing)
                    && used.is_of_object()
                {
                    found.object = objects.access(tx, &tenant, &bucket, key, version)?;
                }
                Ok(Some(found))
            })
            .await
    }
}

/// A bucket as decisions need it, without any object.
fn bucket_of(
    (catalog, objects): (&Catalog, &Objects),
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    bucket: &BucketName,
) -> Result<Option<FoundBucket>, KernelError> {
    let id = ResourceId::from(bucket.clone());
    let Some(record) = catalog.get(tx, tenant, ResourceKind::Bucket, &id)? else { return Ok(None) };
    let guard = guard::guard_of(tx, &record)?;
    let sharing = objects.sharing(tx, tenant, bucket)?;
    Ok(Some(FoundBucket { record, guard, sharing, object: None }))
}

/// Which of these objects the actor may read, for answers that say nothing of the others. Nobody is refused anything,
/// so nothing is noted.
pub(crate) fn readable(
    (catalog, objects): (&Catalog, &Objects),
    tx: &ReadTx<'_>,
    (op, said): (&OpContext, &Circumstances),
    places: &[(BucketName, ObjectKey)],
) -> Result<Vec<bool>, KernelError> {
    let (tenant, subject) = (op.tenant(), op.subject());
    let mut last: Option<(&BucketName, Option<FoundBucket>)> = None;
    let mut readable = Vec::with_capacity(places.len());
    for (bucket, key) in places {
        let found = match last.take() {
            Some((name, found)) if name == bucket => found,
            _ => bucket_of((catalog, objects), tx, &tenant, bucket)?,
        };
        let (_, found) = last.insert((bucket, found));
        let Some(found) = found else {
            readable.push(false);
            continue;
        };
        found.object = match found.sharing {
            Some(_) => objects.access(tx, &tenant, bucket, key, None)?,
            None => None,
        };
        let resource = ResourceRef::new(ResourceKind::Object, format!("{bucket}/{key}"));
        let decision = found.decide::<Read>(&subject, &resource, Use::GetObject, said);
        readable.push(decision.is_ok());
    }
    Ok(readable)
}
