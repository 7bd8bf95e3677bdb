//! The proof that an action was decided on.

use std::marker::PhantomData;

use cm_types::{Action, PrincipalId, ResourceKind, ResourceRef, TenantId};

use crate::{ActionKind, Basis, Subject, Target};

/// Says that somebody may do `A` to something. Minted by [`decide`](crate::decide) alone.
///
/// An engine's mutating method takes one by reference and asserts with [`Permit::covers`] that it
/// is for what the method is about to change. A permit speaks of the moment of the decision; it is made
/// for one request and must not be kept for a later one.
///
/// It cannot be made up:
///
/// ```compile_fail
/// use cm_policy::{Permit, Read};
/// let permit: Permit<Read> = Permit {
///     tenant: cm_types::TenantId::default_tenant(),
///     principal: None,
///     kind: cm_types::ResourceKind::Function,
///     id: None,
///     basis: None,
///     action: std::marker::PhantomData,
/// };
/// ```
///
/// nor obtained from the crate's own constructor:
///
/// ```compile_fail
/// use cm_policy::{Permit, Read, Subject, Target};
/// fn forge(subject: &Subject<'_>, target: &Target<'_>) -> Permit<Read> {
///     Permit::mint(subject, target)
/// }
/// ```
///
/// nor used for another action than the one that was decided:
///
/// ```compile_fail
/// use cm_policy::{Delete, Permit, Read};
/// fn delete(_: &Permit<Delete>) {}
/// fn try_it(permit: &Permit<Read>) {
///     delete(permit);
/// }
/// ```
///
/// What compiles is asking:
///
/// ```
/// use cm_policy::{Read, RoleFacts, Subject, Target, decide};
/// use cm_types::{Labels, PrincipalId, ResourceKind, TenantId};
///
/// let (admin, tenant) = (PrincipalId::admin(), TenantId::default_tenant());
/// let roles = [RoleFacts::administrator()];
/// let target = Target {
///     kind: ResourceKind::Function,
///     id: Some("f1"),
///     tenant: &tenant,
///     owner: None,
///     labels: &Labels::new(),
///     guard: None,
/// };
/// let permit = decide::<Read>(&Subject::principal(&admin, &tenant, &roles), &target)?;
/// assert!(permit.covers(&tenant, ResourceKind::Function, "f1"));
/// # Ok::<(), cm_policy::Denied>(())
/// ```
pub struct Permit<A: ActionKind> {
    // Invariant: the first four fields are those of a decision that ended in "allowed".
    tenant: TenantId,
    principal: Option<PrincipalId>,
    kind: ResourceKind,
    id: Option<String>,
    basis: Option<Basis>,
    action: PhantomData<fn() -> A>,
}

impl<A: ActionKind> Permit<A> {
    pub(crate) fn mint(subject: &Subject<'_>, target: &Target<'_>) -> Self {
        Self {
            tenant: target.tenant.clone(),
            principal: subject.tenant.and(subject.principal).cloned(),
            kind: target.kind,
            id: target.id.map(str::to_owned),
            basis: None,
            action: PhantomData,
        }
    }

    /// The same, for what was found at the decision only. This takes away, hence anybody may do it.
    #[must_use]
    pub fn resting_on(self, basis: Basis) -> Self {
        Self { basis: Some(basis), ..self }
    }

    /// What was found at the decision; `None` where that did not matter.
    pub fn basis(&self) -> Option<&Basis> {
        self.basis.as_ref()
    }

    /// The action that was decided.
    pub fn action(&self) -> Action {
        A::ACTION
    }

    /// The tenant that the target belongs to, which an administrator's own need not be.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Who may act; `None` is an anonymous caller.
    pub fn principal(&self) -> Option<&PrincipalId> {
        self.principal.as_ref()
    }

    /// The kind of the target.
    pub fn kind(&self) -> ResourceKind {
        self.kind
    }

    /// The id of the target; `None` is the collection.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The target, if it is one resource.
    pub fn resource(&self) -> Option<ResourceRef> {
        self.id.as_ref().map(|id| ResourceRef::new(self.kind, id.clone()))
    }

    /// Whether this permit is for that very resource.
    pub fn covers(&self, tenant: &TenantId, kind: ResourceKind, id: &str) -> bool {
        self.tenant == *tenant && self.kind == kind && self.id.as_deref() == Some(id)
    }

    /// Whether this permit is for the collection of the kind: to create in it or to list it.
    pub fn covers_collection(&self, tenant: &TenantId, kind: ResourceKind) -> bool {
        self.tenant == *tenant && self.kind == kind && self.id.is_none()
    }
}

// Written by hand because a derive would demand the same of the marker.
impl<A: ActionKind> Clone for Permit<A> {
    fn clone(&self) -> Self {
        Self {
            tenant: self.tenant.clone(),
            principal: self.principal.clone(),
            kind: self.kind,
            id: self.id.clone(),
            basis: self.basis.clone(),
            action: PhantomData,
        }
    }
}

impl<A: ActionKind> std::fmt::Debug for Permit<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit")
            .field("action", &A::ACTION)
            .field("tenant", &self.tenant)
            .field("principal", &self.principal)
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("basis", &self.basis)
            .finish()
    }
}
