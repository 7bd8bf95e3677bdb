//! Who somebody is, and whether they may: authentication at the door, one decision on the way to the effect.

use std::sync::Arc;

use cm_catalog::{Record, guard};
use cm_db::{DbError, ReadTx};
use cm_events::{EventVerb, NewEvent, Outcome};
use cm_identity::{CredentialProblem, IdentityError, Presented, Source};
use cm_objects::VersionName;
use cm_policy::sharing::decision::usual_use;
use cm_policy::sharing::{Circumstances, Use};
use cm_policy::{
    ActionKind, Denied, Explanation, Guard, List, Permit, RoleFacts, Rules, Subject, Target, Update, absent,
    decide, pdl,
};
use cm_types::{
    Action, BucketName, Labels, ObjectKey, PrincipalId, RequestId, ResourceId, ResourceKind, ResourceRef,
    TenantId,
};
use serde_json::{Map, Value};

use crate::recognised::Asked;
use crate::{Actor, ActorFacts, Kernel, KernelError, OpContext};

/// A record together with the security policy in force on it.
struct Found {
    record: Record,
    guard: Option<Guard>,
}

impl Found {
    /// What a decision needs to know. An object is decided with the owner, the labels and the security policy of its
    /// bucket, hence kind and id are given.
    fn target<'a>(&'a self, kind: ResourceKind, id: &'a str) -> Target<'a> {
        let header = &self.record.header;
        Target {
            kind,
            id: Some(id),
            tenant: &header.tenant,
            owner: Some(&header.owner),
            labels: &header.labels,
            guard: self.guard.as_ref(),
        }
    }
}

/// Why nobody was found behind a credential.
pub(crate) enum Unproven {
    /// It proves nothing.
    Credential(CredentialProblem),
    /// Nothing could be found out.
    Failed(KernelError),
}

impl From<Unproven> for KernelError {
    fn from(unproven: Unproven) -> Self {
        match unproven {
            Unproven::Credential(_) => KernelError::Unauthenticated,
            Unproven::Failed(error) => error,
        }
    }
}

impl From<IdentityError> for Unproven {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::InvalidCredential(problem) => Unproven::Credential(problem),
            error => Unproven::Failed(error.into()),
        }
    }
}

impl From<KernelError> for Unproven {
    fn from(error: KernelError) -> Self {
        Unproven::Failed(error)
    }
}

impl From<DbError> for Unproven {
    fn from(error: DbError) -> Self {
        Unproven::Failed(error.into())
    }
}

impl Kernel {
    /// Finds out who presents this bearer token.
    ///
    /// # Errors
    /// [`KernelError::Unauthenticated`] for a token that is unknown, expired or revoked, and for a principal that
    /// is disabled: the caller is not told which of these it was.
    pub async fn authenticate(&self, bearer: &str) -> Result<Actor, KernelError> {
        self.freshen().await?;
        self.authenticate_locally(bearer).await
    }

    /// Returns once this node has all that any node of its network has answered before the call. Every request begins with it: what was
    /// revoked elsewhere has no effect here, and what was written elsewhere is seen. Nothing to do for a node that is alone.
    ///
    /// # Errors
    /// A database whose majority cannot be reached in time, which is worth another attempt ([`KernelError::retryable`]).
    pub async fn freshen(&self) -> Result<(), KernelError> {
        Ok(self.db().barrier().await?)
    }

    /// As [`Kernel::authenticate`], by what this node knows: what was revoked elsewhere a moment ago may still have an effect. Only for what
    /// has to be answered when other nodes cannot be reached.
    ///
    /// # Errors
    /// As [`Kernel::authenticate`].
    pub async fn authenticate_locally(&self, bearer: &str) -> Result<Actor, KernelError> {
        Ok(self.find_actor(bearer).await?)
    }

    /// As [`Kernel::authenticate`], of somebody at the door: what is refused becomes an event, `credential.refused`.
    pub async fn authenticate_at_door(
        &self,
        bearer: &str,
        source: &Source,
        request: &RequestId,
    ) -> Result<Actor, KernelError> {
        self.freshen().await?;
        match self.find_actor(bearer).await {
            Err(Unproven::Credential(problem)) => {
                let tenant = TenantId::default_tenant();
                self.credential_refused(&tenant, problem, source, request).await;
                Err(KernelError::Unauthenticated)
            }
            outcome => Ok(outcome?),
        }
    }

    async fn find_actor(&self, bearer: &str) -> Result<Actor, Unproven> {
        let asked = Asked::of(bearer, self.db());
        if let Some(known) = asked.as_ref().and_then(|asked| self.recognised().find(asked, self.now())) {
            return Ok(known);
        }
        let presented = self.identity().presented(bearer)?;
        self.recognise(presented, asked).await
    }

    /// Looks up whose credential it is, and remembers it if that can be.
    pub(crate) async fn recognise(
        &self,
        presented: Presented,
        asked: Option<Asked>,
    ) -> Result<Actor, Unproven> {
        let (book, catalog) = (self.policy_book().clone(), self.catalog().clone());
        // One transaction: every request waits for it, and nobody has roles of another moment than its credential.
        let actor = self
            .db()
            .look_up(move |tx| {
                let authenticated = presented.recognise(tx)?;
                let principal = authenticated.principal();
                let roles = existing_roles(tx, &principal.tenant, &principal.roles)?;
                let policies = book.in_force(tx, &catalog, &principal.tenant).map_err(KernelError::from)?;
                let (principal, tenant) = (principal.id.clone(), principal.tenant.clone());
                let facts = ActorFacts { principal, tenant, roles, policies };
                Ok::<_, Unproven>(Actor::Principal(Arc::new(facts), Arc::new(authenticated)))
            })
            .await?;
        if let Some(asked) = asked {
            self.recognised().keep(asked, &actor);
        }
        Ok(actor)
    }

    /// Decides about the collection of a kind: may the actor create in it, or list it?
    pub async fn authorize<A: ActionKind>(
        &self,
        op: &OpContext,
        kind: ResourceKind,
    ) -> Result<Permit<A>, KernelError> {
        self.authorize_labelled(op, kind, &Labels::new()).await
    }

    /// Decides about what belongs to the whole node: tenants, signing keys. Only who belongs to the tenant `default` can be
    /// permitted that, whatever an administrator of another tenant may do there.
    pub async fn authorize_of_node<A: ActionKind>(
        &self,
        op: &OpContext,
        kind: ResourceKind,
    ) -> Result<Permit<A>, KernelError> {
        let (tenant, labels) = (TenantId::default_tenant(), Labels::new());
        let target = Target { kind, id: None, tenant: &tenant, owner: None, labels: &labels, guard: None };
        match decide::<A>(&op.at(self.now()).subject(), &target) {
            Ok(permit) => Ok(permit),
            Err(denied) => Err(self.refuse(op, denied, ResourceRef::new(kind, "*")).await),
        }
    }

    /// Whether [`Kernel::authorize_of_node`] would permit it, and no refusal in the log: for answers that tell more to who may know more.
    pub(crate) fn may_of_node<A: ActionKind>(&self, op: &OpContext, kind: ResourceKind) -> bool {
        let (tenant, labels) = (TenantId::default_tenant(), Labels::new());
        let target = Target { kind, id: None, tenant: &tenant, owner: None, labels: &labels, guard: None };
        decide::<A>(&op.at(self.now()).subject(), &target).is_ok()
    }

    /// Decides about creating something that is going to have these labels.
    pub async fn authorize_labelled<A: ActionKind>(
        &self,
        op: &OpContext,
        kind: ResourceKind,
        labels: &Labels,
    ) -> Result<Permit<A>, KernelError> {
        let tenant = op.tenant();
        let target = Target { kind, id: None, tenant: &tenant, owner: None, labels, guard: None };
        match decide::<A>(&op.at(self.now()).subject(), &target) {
            Ok(permit) => Ok(permit),
            Err(denied) => Err(self.refuse(op, denied, ResourceRef::new(kind, "*")).await),
        }
    }

    /// Reads one record **for an action**: what comes back is the record and the proof that the actor may do `A`
    /// to it.
    ///
    /// # Errors
    /// A record that does not exist and one that the actor may not know of are refused alike.
    pub async fn look_up<A: ActionKind>(
        &self,
        op: &OpContext,
        kind: ResourceKind,
        id: &str,
    ) -> Result<(Record, Permit<A>), KernelError> {
        if kind == ResourceKind::Bucket
            && let (Ok(bucket), Some(used)) = (BucketName::parse(id), usual_use(kind, A::ACTION))
        {
            return self.look_up_natively(op, &bucket, None, used).await;
        }
        let found = self.find(op.tenant(), kind, id).await?;
        let permit = self.decide_on::<A>(op, found.as_ref(), kind, id).await?;
        match found {
            Some(found) => Ok((found.record, permit)),
            None => Err(KernelError::NotFound(ResourceRef::new(kind, id))),
        }
    }

    /// As [`Kernel::look_up`], but `None` for what would be refused, and no refusal in the log: for answers that say what the actor may do. Whoever
    /// acts asks again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn look_up_quietly<A: ActionKind>(
        &self,
        op: &OpContext,
        kind: ResourceKind,
        id: &str,
    ) -> Result<Option<(Record, Permit<A>)>, KernelError> {
        let found = self.find(op.tenant(), kind, id).await?;
        Ok(found.and_then(|found| {
            let permit = decide::<A>(&op.at(self.now()).subject(), &found.target(kind, id)).ok()?;
            Some((found.record, permit))
        }))
    }

    /// Decides about one object, which need not exist. Objects have the owner, the labels and the security policy
    /// of their bucket, and what its owner said about sharing it.
    pub async fn look_up_object<A: ActionKind>(
        &self,
        op: &OpContext,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<Permit<A>, KernelError> {
        if let Some(used) = usual_use(ResourceKind::Object, A::ACTION) {
            return Ok(self.look_up_natively(op, bucket, Some((key, None)), used).await?.1);
        }
        let found = self.find(op.tenant(), ResourceKind::Bucket, bucket.as_str()).await?;
        let id = format!("{bucket}/{key}");
        self.decide_on::<A>(op, found.as_ref(), ResourceKind::Object, &id).await
    }

    /// Decides about one version of an object, which need not exist: each has an owner, grants and tags of its own, and the
    /// policy of its bucket may speak of versions. The permit is for that version alone; it must be asked for by its name.
    pub async fn look_up_version<A: ActionKind>(
        &self,
        op: &OpContext,
        bucket: &BucketName,
        key: &ObjectKey,
        version: VersionName,
    ) -> Result<Permit<A>, KernelError> {
        match usual_use(ResourceKind::Object, A::ACTION) {
            Some(used) => {
                let object = Some((key, Some(version)));
                Ok(self.look_up_natively(op, bucket, object, used.of_version()).await?.1)
            }
            None => self.look_up_object::<A>(op, bucket, key).await,
        }
    }

    /// Decides about listing the versions of a bucket's objects.
    pub async fn look_up_versions(
        &self,
        op: &OpContext,
        bucket: &BucketName,
    ) -> Result<Permit<List>, KernelError> {
        Ok(self.look_up_natively(op, bucket, None, Use::ListBucketVersions).await?.1)
    }

    /// Decides about listing the uploads in parts that are under way in a bucket.
    pub async fn look_up_uploads(
        &self,
        op: &OpContext,
        bucket: &BucketName,
    ) -> Result<Permit<List>, KernelError> {
        Ok(self.look_up_natively(op, bucket, None, Use::ListBucketMultipartUploads).await?.1)
    }

    /// Decides about an upload in parts that is to become an object: whether it may be written, listed or aborted, as `used` says.
    pub async fn look_up_upload(
        &self,
        op: &OpContext,
        bucket: &BucketName,
        key: &ObjectKey,
        used: Use,
    ) -> Result<Permit<Update>, KernelError> {
        Ok(self.look_up_natively(op, bucket, Some((key, None)), used).await?.1)
    }

    /// A bucket or an object for a use, by a face that tells no circumstances of its own.
    async fn look_up_natively<A: ActionKind>(
        &self,
        op: &OpContext,
        bucket: &BucketName,
        object: Option<(&ObjectKey, Option<VersionName>)>,
        used: Use,
    ) -> Result<(Record, Permit<A>), KernelError> {
        let (key, version) = (object.map(|(key, _)| key), object.and_then(|(_, version)| version));
        let mut said = op.circumstances(self.now());
        said.tell("s3:VersionId");
        if let Some(version) = version {
            said.add("s3:VersionId", version.to_string());
        }
        let resource = match key {
            Some(key) => ResourceRef::new(ResourceKind::Object, format!("{bucket}/{key}")),
            None => ResourceRef::new(ResourceKind::Bucket, bucket.as_str()),
        };
        let found = self.find_bucket(op.tenant(), bucket, key, version, used).await?;
        let decision = match &found {
            Some(found) => found.decide::<A>(&op.at(self.now()).subject(), &resource, used, &said),
            None => Err(absent(A::ACTION, &op.subject(), resource.kind)),
        };
        match (decision, found) {
            (Ok(permit), Some(found)) => Ok((found.record, permit)),
            (Ok(_), None) => Err(KernelError::NotFound(resource)),
            (Err(denied), _) => Err(self.refuse(op, denied, resource).await),
        }
    }

    async fn decide_on<A: ActionKind>(
        &self,
        op: &OpContext,
        found: Option<&Found>,
        kind: ResourceKind,
        id: &str,
    ) -> Result<Permit<A>, KernelError> {
        let decision = match found {
            Some(found) => decide::<A>(&op.at(self.now()).subject(), &found.target(kind, id)),
            None => Err(absent(A::ACTION, &op.subject(), kind)),
        };
        match decision {
            Ok(permit) => Ok(permit),
            Err(denied) => Err(self.refuse(op, denied, ResourceRef::new(kind, id)).await),
        }
    }

    /// Explains how a decision about `principal` would go. Nothing is done and nothing is logged.
    ///
    /// The resource's id may be `*`, which means the collection. Where a bucket's policy has conditions on what only requests
    /// tell, such as their address, the explanation is of a request that does not tell it.
    pub async fn explain(
        &self,
        op: &OpContext,
        principal: &PrincipalId,
        action: Action,
        resource: &ResourceRef,
    ) -> Result<Explanation, KernelError> {
        let (identity, tenant, id) = (self.identity().clone(), op.tenant(), principal.clone());
        let (book, catalog) = (self.policy_book().clone(), self.catalog().clone());
        let (principal, roles, policies) = self
            .db()
            .read(move |tx| {
                let principal =
                    identity.get_principal(tx, &tenant, &id)?.ok_or(IdentityError::NoSuchPrincipal)?;
                let roles = existing_roles(tx, &tenant, &principal.roles)?;
                let policies = book.in_force(tx, &catalog, &tenant)?;
                Ok::<_, KernelError>((principal, roles, policies))
            })
            .await?;
        let tenant = op.tenant();
        // Of a request as it would be made now; from where, and how somebody signed in, is not known.
        let circumstances = pdl::Circumstances { now: Some(self.now()), ..Default::default() };
        let mut subject = Subject::principal(&principal.id, &tenant, &roles);
        if let Some(policies) = policies.compiled() {
            let (tenant, circumstances) = (&tenant, &circumstances);
            subject = subject.under(Rules { tenant, policies, circumstances, groups: &[], attributes: None });
        }
        let labels = Labels::new();
        // What does not exist, or is a collection, is decided as something that nobody owns and nothing guards.
        let bare = Target {
            kind: resource.kind,
            id: (resource.id != "*").then_some(resource.id.as_str()),
            tenant: &tenant,
            owner: None,
            labels: &labels,
            guard: None,
        };
        let (kind, id) = match (resource.kind, resource.id.split_once('/')) {
            (ResourceKind::Object, Some((bucket, _))) => (ResourceKind::Bucket, bucket),
            _ => (resource.kind, resource.id.as_str()),
        };
        let (bucket, key) = match (resource.kind, resource.id.split_once('/')) {
            (ResourceKind::Object, Some((bucket, key))) => {
                (BucketName::parse(bucket), ObjectKey::parse(key).ok())
            }
            _ => (BucketName::parse(id), None),
        };
        if let (ResourceKind::Bucket, Ok(bucket), Some(used)) =
            (kind, bucket, usual_use(resource.kind, action))
            && let Some(found) = self.find_bucket(tenant.clone(), &bucket, key.as_ref(), None, used).await?
        {
            let mut said = Circumstances::incomplete();
            said.add_caller(Some((&principal.id, &tenant)));
            said.add_time(self.now());
            said.tell("s3:VersionId");
            return Ok(found.explain(action, &subject, resource, used, &said));
        }
        Ok(match self.find(tenant.clone(), kind, id).await? {
            Some(found) => cm_policy::explain(action, &subject, &found.target(resource.kind, &resource.id)),
            None => cm_policy::explain(action, &subject, &bare),
        })
    }

    async fn find(
        &self,
        tenant: TenantId,
        kind: ResourceKind,
        id: &str,
    ) -> Result<Option<Found>, KernelError> {
        let Ok(id) = ResourceId::parse(id) else { return Ok(None) };
        let catalog = self.catalog().clone();
        self.db()
            .look_up(move |tx| {
                let Some(record) = catalog.get(tx, &tenant, kind, &id)? else { return Ok(None) };
                let guard = guard::guard_of(tx, &record)?;
                Ok(Some(Found { record, guard }))
            })
            .await
    }

    /// Turns a refusal into the answer that its receiver may know, and records it.
    pub(crate) async fn refuse(&self, op: &OpContext, denied: Denied, resource: ResourceRef) -> KernelError {
        let explanation = denied.explanation();
        // Without a reason against it, the thing simply does not exist: nothing was refused.
        let refused = !explanation.reasons.is_empty();
        if refused && self.denials().should_record(op, explanation, self.clock().monotonic()) {
            let event = NewEvent {
                tenant: op.tenant(),
                actor: op.principal().cloned(),
                verb: EventVerb::fixed("access.denied"),
                resource: Some(resource.clone()),
                request: Some(op.request.clone()),
                outcome: Outcome::Denied,
                facts: denial_facts(explanation),
            };
            // The caller's answer does not depend on whether the denial could be recorded.
            if let Err(error) = self.record_event(event).await {
                tracing::error!(error = &error as &dyn std::error::Error, "denial not recorded");
            }
        }
        KernelError::denied(denied, resource)
    }
}

fn denial_facts(explanation: &Explanation) -> Map<String, Value> {
    let reasons: Vec<&str> = explanation.reasons.iter().map(cm_policy::Reason::code).collect();
    let mut facts = Map::new();
    facts.insert("action".to_owned(), explanation.action.as_str().into());
    facts.insert("reasons".to_owned(), reasons.into());
    facts
}

/// What the roles with these ids permit. A role that is gone permits nothing.
pub(crate) fn existing_roles(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    ids: &[ResourceId],
) -> Result<Vec<RoleFacts>, KernelError> {
    let mut roles = Vec::with_capacity(ids.len());
    for id in ids {
        roles.extend(guard::role_facts(tx, tenant, id)?);
    }
    Ok(roles)
}
