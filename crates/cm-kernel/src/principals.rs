//! Principals and their credentials, as faces work with them.
//!
//! Principals live in the identity's own tables. Nobody gives away more than they hold: giving roles, and getting hold
//! of the credentials of somebody with roles, both demand that the giver holds all that these roles permit.

use cm_catalog::guard::role_facts;
use cm_crypto::Secret;
use cm_identity::{
    ApiKeyInfo, Authenticated, CredentialRight, IdentityError, NewPrincipal, Principal, PrincipalChange,
    TokenInfo,
};
use cm_policy::{ActionKind, Create, Delete, Grant, List, Permit, RoleFacts, Target, Update, absent, decide};
use cm_types::{
    Cursor, Generation, Labels, Page, PageLimit, PrincipalId, ResourceId, ResourceKind, ResourceRef, TenantId,
};

use crate::{Kernel, KernelError, OpContext};

impl Kernel {
    /// Reads a principal for an action. A principal does not own itself: what it may do about itself is said where
    /// it is done.
    pub async fn look_up_principal<A: ActionKind>(
        &self,
        op: &OpContext,
        id: &str,
    ) -> Result<(Principal, Permit<A>), KernelError> {
        let resource = ResourceRef::new(ResourceKind::Principal, id);
        let tenant = op.tenant();
        let found = match PrincipalId::parse(id) {
            Ok(id) => {
                let (identity, tenant) = (self.identity().clone(), tenant.clone());
                self.db().read(move |tx| identity.get_principal(tx, &tenant, &id)).await?
            }
            Err(_) => None,
        };
        let decision = match &found {
            Some(principal) => {
                decide::<A>(&op.subject(), &target(principal.id.as_str(), &tenant, &Labels::new()))
            }
            None => Err(absent(A::ACTION, &op.subject(), ResourceKind::Principal)),
        };
        match (decision, found) {
            (Ok(permit), Some(principal)) => Ok((principal, permit)),
            (Ok(_), None) => Err(KernelError::NotFound(resource)),
            (Err(denied), _) => Err(self.refuse(op, denied, resource).await),
        }
    }

    /// Creates a principal, with roles if the actor may give them.
    pub async fn create_principal(
        &self,
        op: &OpContext,
        permit: &Permit<Create>,
        new: NewPrincipal,
    ) -> Result<Principal, KernelError> {
        let grant = match new.roles.is_empty() {
            true => None,
            false => Some(self.grant_of_roles(op, &new.roles).await?),
        };
        let (identity, permit, request) = (self.identity().clone(), permit.clone(), op.request.clone());
        self.db()
            .write(move |tx| {
                Ok(identity.create_principal(tx, &permit, grant.as_ref(), new, Some(&request))?)
            })
            .await
    }

    /// One page of the tenant's principals.
    pub async fn list_principals(
        &self,
        permit: &Permit<List>,
        after: Option<Cursor>,
        limit: PageLimit,
    ) -> Result<Page<Principal>, KernelError> {
        let (identity, tenant) = (self.identity().clone(), permit.tenant().clone());
        self.db().read(move |tx| Ok(identity.list_principals(tx, &tenant, after.as_ref(), limit)?)).await
    }

    /// Changes a principal; its roles if the actor may give them.
    pub async fn update_principal(
        &self,
        op: &OpContext,
        permit: &Permit<Update>,
        id: &PrincipalId,
        change: PrincipalChange,
    ) -> Result<Principal, KernelError> {
        let grant = match &change.roles {
            None => None,
            Some(roles) => Some(self.grant_of_roles(op, roles).await?),
        };
        let (identity, permit) = (self.identity().clone(), permit.clone());
        let (id, request) = (id.clone(), op.request.clone());
        self.db()
            .write(move |tx| {
                Ok(identity.update_principal(tx, &permit, grant.as_ref(), &id, change, Some(&request))?)
            })
            .await
    }

    /// Removes a principal and its credentials.
    pub async fn delete_principal(
        &self,
        op: &OpContext,
        permit: &Permit<Delete>,
        id: &PrincipalId,
        expected: Option<Generation>,
    ) -> Result<(), KernelError> {
        let (identity, permit) = (self.identity().clone(), permit.clone());
        let (id, request) = (id.clone(), op.request.clone());
        self.db()
            .write(move |tx| Ok(identity.delete_principal(tx, &permit, &id, expected, Some(&request))?))
            .await
    }

    /// Sets a principal's password. The permit is to grant, for that principal.
    pub async fn set_password(
        &self,
        op: &OpContext,
        permit: &Permit<Grant>,
        principal: &Principal,
        password: Secret<String>,
    ) -> Result<(), KernelError> {
        self.check_may_give(op, &principal.roles).await?;
        let hash = self.identity().hash_password(password).await?;
        let (identity, permit) = (self.identity().clone(), permit.clone());
        let (id, request) = (principal.id.clone(), op.request.clone());
        self.db()
            .write(move |tx| {
                Ok(identity.set_password(tx, CredentialRight::Granted(&permit), &id, hash, Some(&request))?)
            })
            .await
    }

    /// Makes an API key for a principal; its text is returned this once.
    pub async fn create_api_key(
        &self,
        op: &OpContext,
        permit: &Permit<Grant>,
        principal: &Principal,
        label: String,
    ) -> Result<(Secret<String>, ApiKeyInfo), KernelError> {
        self.check_may_give(op, &principal.roles).await?;
        let (identity, permit) = (self.identity().clone(), permit.clone());
        let (id, request) = (principal.id.clone(), op.request.clone());
        self.db()
            .write(move |tx| {
                Ok(identity.create_api_key(
                    tx,
                    CredentialRight::Granted(&permit),
                    &id,
                    &label,
                    Some(&request),
                )?)
            })
            .await
    }

    /// Revokes an API key of a principal.
    pub async fn revoke_api_key(
        &self,
        op: &OpContext,
        permit: &Permit<Grant>,
        principal: &PrincipalId,
        key: String,
    ) -> Result<(), KernelError> {
        let (identity, permit) = (self.identity().clone(), permit.clone());
        let (id, request) = (principal.clone(), op.request.clone());
        self.db()
            .write(move |tx| {
                Ok(identity.revoke_api_key(
                    tx,
                    CredentialRight::Granted(&permit),
                    &id,
                    &key,
                    Some(&request),
                )?)
            })
            .await
    }

    /// The API keys of a principal, without their secrets.
    pub async fn list_api_keys(
        &self,
        permit: &Permit<Grant>,
        principal: &PrincipalId,
    ) -> Result<Vec<ApiKeyInfo>, KernelError> {
        let (identity, tenant, id) = (self.identity().clone(), permit.tenant().clone(), principal.clone());
        self.db().read(move |tx| Ok(identity.list_api_keys(tx, &tenant, &id)?)).await
    }

    /// Makes a token for somebody who just authenticated.
    pub async fn issue_token(
        &self,
        op: &OpContext,
        authenticated: &Authenticated,
        ttl: std::time::Duration,
    ) -> Result<(Secret<String>, TokenInfo), KernelError> {
        let (identity, authenticated) = (self.identity().clone(), authenticated.clone());
        let request = op.request.clone();
        self.db().write(move |tx| Ok(identity.issue_token(tx, &authenticated, ttl, Some(&request))?)).await
    }

    /// Revokes the token by which somebody authenticated.
    pub async fn revoke_token(
        &self,
        op: &OpContext,
        authenticated: &Authenticated,
    ) -> Result<(), KernelError> {
        let (identity, authenticated) = (self.identity().clone(), authenticated.clone());
        let request = op.request.clone();
        self.db().write(move |tx| Ok(identity.revoke_token(tx, &authenticated, Some(&request))?)).await
    }

    /// The proof that the actor may give these roles to somebody.
    async fn grant_of_roles(
        &self,
        op: &OpContext,
        roles: &[ResourceId],
    ) -> Result<Permit<Grant>, KernelError> {
        let permit = self.authorize::<Grant>(op, ResourceKind::Principal).await?;
        self.check_may_give(op, roles).await?;
        Ok(permit)
    }

    /// Whether the actor holds all that these roles permit.
    async fn check_may_give(&self, op: &OpContext, roles: &[ResourceId]) -> Result<(), KernelError> {
        let subject = op.subject();
        for role in self.roles(op.tenant(), roles).await? {
            if let Some(permission) = role.permissions.iter().find(|permission| !subject.holds(permission)) {
                let permission = permission.to_string();
                return Err(KernelError::GivesMoreThanHeld { role: role.name, permission });
            }
        }
        Ok(())
    }

    async fn roles(&self, tenant: TenantId, roles: &[ResourceId]) -> Result<Vec<RoleFacts>, KernelError> {
        let roles = roles.to_vec();
        self.db()
            .read(move |tx| {
                roles
                    .iter()
                    .map(|role| {
                        role_facts(tx, &tenant, role)?
                            .ok_or_else(|| KernelError::NoSuchRole(role.to_string()))
                    })
                    .collect()
            })
            .await
    }
}

fn target<'a>(id: &'a str, tenant: &'a TenantId, labels: &'a Labels) -> Target<'a> {
    Target { kind: ResourceKind::Principal, id: Some(id), tenant, owner: None, labels, guard: None }
}

impl Kernel {
    /// Checks a password; who has it may be issued a token.
    pub async fn login(
        &self,
        op: &OpContext,
        tenant: &TenantId,
        principal: &PrincipalId,
        password: Secret<String>,
    ) -> Result<Authenticated, KernelError> {
        let outcome = self.identity().login(tenant, principal, password, Some(&op.request)).await;
        outcome.map_err(|error| match error {
            IdentityError::InvalidCredential(_) => KernelError::Unauthenticated,
            error => error.into(),
        })
    }
}
