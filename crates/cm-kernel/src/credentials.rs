//! Passwords, API keys and tokens, as faces work with them.
//!
//! Everybody may change their own credentials. Those of somebody else take `principal:grant`, and more: see the rules
//! where they are, at [`Kernel::set_password`].

use cm_crypto::Secret;
use cm_db::ReadTx;
use cm_identity::{
    ApiKeyInfo, Authenticated, CredentialRight, EndedPasskeys, Enrolment, Identity, IdentityError, Principal,
    SecondFactor, TokenInfo,
};
use cm_policy::{Grant, Permit, RoleFacts, Subject, Target, Update, decide};
use cm_types::{Labels, PrincipalId, ResourceKind, ResourceRef, TenantId};

use crate::authority::existing_roles;
use crate::giving::{demand_power_over, demand_power_to_become};
use crate::principals::target;
use crate::{Kernel, KernelError, OpContext};

/// By what right the credentials of a principal are changed.
#[derive(Clone, Debug)]
pub enum CredentialPermit {
    /// They are the actor's own.
    Own(Permit<Update>),
    /// The actor may grant.
    Granted(Permit<Grant>),
}

impl CredentialPermit {
    pub(crate) fn right(&self) -> CredentialRight<'_> {
        match self {
            CredentialPermit::Own(permit) => CredentialRight::Own(permit),
            CredentialPermit::Granted(permit) => CredentialRight::Granted(permit),
        }
    }

    pub(crate) fn tenant(&self) -> &TenantId {
        match self {
            CredentialPermit::Own(permit) => permit.tenant(),
            CredentialPermit::Granted(permit) => permit.tenant(),
        }
    }

    fn principal(&self) -> Option<&PrincipalId> {
        match self {
            CredentialPermit::Own(permit) => permit.principal(),
            CredentialPermit::Granted(permit) => permit.principal(),
        }
    }
}

impl From<&CredentialPermit> for CredentialPermit {
    fn from(permit: &CredentialPermit) -> Self {
        permit.clone()
    }
}

impl From<&Permit<Grant>> for CredentialPermit {
    fn from(permit: &Permit<Grant>) -> Self {
        CredentialPermit::Granted(permit.clone())
    }
}

impl Kernel {
    /// Reads a principal for a change of its credentials: somebody's own, or those of somebody else with the
    /// permission to grant.
    pub async fn look_up_credentials(
        &self,
        op: &OpContext,
        id: &str,
    ) -> Result<(Principal, CredentialPermit), KernelError> {
        let own = op.authenticated().map(Authenticated::principal).filter(|own| own.id.as_str() == id);
        let Some(own) = own else {
            let (principal, permit) = self.look_up_principal::<Grant>(op, id).await?;
            return Ok((principal, CredentialPermit::Granted(permit)));
        };
        let labels = Labels::new();
        let itself = Target { owner: Some(&own.id), ..target(id, &own.tenant, &labels) };
        match decide::<Update>(&op.at(self.now()).subject(), &itself) {
            Ok(permit) => Ok((own.clone(), CredentialPermit::Own(permit))),
            Err(denied) => Err(self.refuse(op, denied, ResourceRef::new(ResourceKind::Principal, id)).await),
        }
    }

    /// Sets a principal's password, and ends its tokens.
    ///
    /// One's own is set so by who could set that of somebody else with such roles; everybody else shows the old one, see
    /// [`Kernel::change_password`]. Otherwise whoever has an API key, which never counts as a second factor, could get a password, and
    /// with it a second factor, where there was none.
    ///
    /// Whoever knows a password can become the principal. Unless it is the actor itself, the actor must therefore
    /// hold what the principal's roles permit and, unless it administers the tenant, the principal must own nothing.
    pub async fn set_password(
        &self,
        op: &OpContext,
        permit: impl Into<CredentialPermit>,
        principal: &Principal,
        password: Secret<String>,
    ) -> Result<(), KernelError> {
        let permit = permit.into();
        if let CredentialPermit::Own(own) = &permit {
            let labels = Labels::new();
            let itself =
                Target { owner: Some(&principal.id), ..target(principal.id.as_str(), own.tenant(), &labels) };
            if decide::<Grant>(&op.at(self.now()).subject(), &itself).is_err() {
                return Err(IdentityError::OldPasswordRequired.into());
            }
        }
        let (identity, catalog) = (self.identity().clone(), self.catalog().clone());
        let (op, id) = (op.clone(), principal.id.clone());
        let hash = identity.hash_password(password).await?;
        self.db()
            .write(move |tx| {
                let principal = existing(tx, &identity, permit.tenant(), &id)?;
                demand_power_to_become(tx, &catalog, &op.subject(), &principal)?;
                Ok(identity.set_password(tx, permit.right(), &id, hash, Some(&op.request))?)
            })
            .await
    }

    /// Sets the actor's own password, who shows the old one, and a code of the second factor if there is one. What is wrong counts as
    /// a failed login does. Passkeys end, as somebody else may have registered them: see [`Identity::end_passkeys`]. A factor was shown
    /// for it by the code, or lately to begin the session in use.
    ///
    /// # Errors
    /// [`IdentityError::WrongOldPassword`], also for somebody who has none, and for a wrong code;
    /// [`IdentityError::SecondFactorRequired`]; [`IdentityError::Locked`].
    pub async fn change_password(
        &self,
        op: &OpContext,
        permit: &CredentialPermit,
        principal: &Principal,
        (old, code): (Secret<String>, Option<Secret<String>>),
        password: Secret<String>,
    ) -> Result<EndedPasskeys, KernelError> {
        let identity = self.identity().clone();
        let (name, request) = ((&principal.tenant, &principal.id), Some(&op.request));
        let shown = identity.login_with_code(name, (old, code), &op.source, request).await;
        let shown = shown.map_err(|error| match error {
            IdentityError::InvalidCredential(_) => IdentityError::WrongOldPassword,
            error => error,
        })?;
        let hash = identity.hash_password(password).await?;
        let (op, permit, id) = (op.clone(), permit.clone(), principal.id.clone());
        self.db()
            .write(move |tx| {
                let now = existing(tx, &identity, permit.tenant(), &id)?;
                // Whoever set another one meanwhile is not overruled by who knew the one before.
                if !now.has_credentials_of(shown.principal()) {
                    return Err(IdentityError::WrongOldPassword.into());
                }
                let lately = |own: &Authenticated| own.has_second_factor() && identity.is_recent(own);
                let factor_shown = shown.has_second_factor() || op.authenticated().is_some_and(lately);
                let (right, request) = (permit.right(), Some(&op.request));
                let ended = identity.end_passkeys(tx, right, (&id, factor_shown), request)?;
                identity.set_password(tx, right, &id, hash, request)?;
                Ok(ended)
            })
            .await
    }

    /// Makes an API key for a principal; its text is returned this once. The rules are those of
    /// [`Kernel::set_password`].
    pub async fn create_api_key(
        &self,
        op: &OpContext,
        permit: impl Into<CredentialPermit>,
        principal: &Principal,
        label: String,
    ) -> Result<(Secret<String>, ApiKeyInfo), KernelError> {
        let permit = permit.into();
        let (identity, catalog) = (self.identity().clone(), self.catalog().clone());
        let (op, id) = (op.clone(), principal.id.clone());
        self.db()
            .write(move |tx| {
                let principal = existing(tx, &identity, permit.tenant(), &id)?;
                demand_power_to_become(tx, &catalog, &op.subject(), &principal)?;
                Ok(identity.create_api_key(tx, permit.right(), &id, &label, Some(&op.request))?)
            })
            .await
    }

    /// Revokes an API key of a principal, whose roles' permissions the actor must hold.
    pub async fn revoke_api_key(
        &self,
        op: &OpContext,
        permit: impl Into<CredentialPermit>,
        principal: &PrincipalId,
        key: String,
    ) -> Result<(), KernelError> {
        let permit = permit.into();
        let (identity, op, id) = (self.identity().clone(), op.clone(), principal.clone());
        self.db()
            .write(move |tx| {
                let principal = existing(tx, &identity, permit.tenant(), &id)?;
                demand_power_over(tx, &op.subject(), &principal)?;
                Ok(identity.revoke_api_key(tx, permit.right(), &id, &key, Some(&op.request))?)
            })
            .await
    }

    /// The API keys of a principal, without their secrets. The holder of the permit must hold what the principal's
    /// roles permit.
    pub async fn list_api_keys(
        &self,
        permit: impl Into<CredentialPermit>,
        principal: &PrincipalId,
    ) -> Result<Vec<ApiKeyInfo>, KernelError> {
        let permit = permit.into();
        let (identity, id) = (self.identity().clone(), principal.clone());
        self.db()
            .read(move |tx| {
                let tenant = permit.tenant();
                let principal = existing(tx, &identity, tenant, &id)?;
                if let Some(holder) = permit.principal() {
                    let roles = roles_of(tx, &identity, tenant, holder)?;
                    demand_power_over(tx, &Subject::principal(holder, tenant, &roles), &principal)?;
                }
                Ok(identity.list_api_keys(tx, tenant, &id)?)
            })
            .await
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

    /// Checks a password; who has it may be issued a token.
    pub async fn login(
        &self,
        op: &OpContext,
        tenant: &TenantId,
        principal: &PrincipalId,
        password: Secret<String>,
    ) -> Result<Authenticated, KernelError> {
        self.login_with_code(op, (tenant, principal), (password, None)).await
    }

    /// As [`Kernel::login`], with a code of the second factor besides.
    pub async fn login_with_code(
        &self,
        op: &OpContext,
        name: (&TenantId, &PrincipalId),
        shown: (Secret<String>, Option<Secret<String>>),
    ) -> Result<Authenticated, KernelError> {
        let outcome = self.identity().login_with_code(name, shown, &op.source, Some(&op.request)).await;
        outcome.map_err(unproven)
    }

    /// Begins to enrol a second factor of the actor's own.
    ///
    /// # Errors
    /// [`KernelError::Unauthenticated`] for an actor that is no principal; one that has a second factor; a credential that no
    /// password or passkey was shown for; a session that a password alone began, of somebody who has a passkey; one that began too long
    /// ago ([`Identity::require_enrolment`]).
    pub async fn enrol_second_factor(&self, op: &OpContext) -> Result<Enrolment, KernelError> {
        let shown = op.authenticated().cloned().ok_or(KernelError::Unauthenticated)?;
        let (identity, (id, permit)) = (self.identity().clone(), self.own_credentials(op).await?);
        self.db()
            .write(move |tx| {
                let enrolment = identity.enrol_second_factor(tx, permit.right(), &id)?;
                identity.require_enrolment(tx, &shown)?;
                Ok(enrolment)
            })
            .await
    }

    /// Confirms the enrolment of the actor's own second factor by a code; the recovery codes, once.
    ///
    /// # Errors
    /// As [`Kernel::enrol_second_factor`]; a wrong code.
    pub async fn confirm_second_factor(
        &self,
        op: &OpContext,
        code: Secret<String>,
    ) -> Result<Vec<Secret<String>>, KernelError> {
        let shown = op.authenticated().cloned().ok_or(KernelError::Unauthenticated)?;
        let (identity, (id, permit)) = (self.identity().clone(), self.own_credentials(op).await?);
        let request = op.request.clone();
        self.db()
            .write(move |tx| {
                identity.require_enrolment(tx, &shown)?;
                let confirmed = (&id, code.expose().as_str());
                Ok(identity.confirm_second_factor(tx, permit.right(), confirmed, Some(&request))?)
            })
            .await
    }

    /// Takes a second factor away: one's own by a code, somebody else's with the power to become them.
    pub async fn remove_second_factor(
        &self,
        op: &OpContext,
        permit: impl Into<CredentialPermit>,
        principal: &PrincipalId,
        code: Option<Secret<String>>,
    ) -> Result<(), KernelError> {
        let permit = permit.into();
        let (identity, catalog) = (self.identity().clone(), self.catalog().clone());
        let (op, id) = (op.clone(), principal.clone());
        let outcome = self
            .db()
            .write(move |tx| {
                let principal = existing(tx, &identity, permit.tenant(), &id)?;
                demand_power_to_become(tx, &catalog, &op.subject(), &principal)?;
                let shown = (&id, code.as_ref().map(|code| code.expose().as_str()));
                Ok::<_, KernelError>(identity.remove_second_factor(
                    tx,
                    permit.right(),
                    shown,
                    Some(&op.request),
                )?)
            })
            .await?;
        Ok(outcome?)
    }

    /// What is known of the actor's own second factor.
    pub async fn own_second_factor(&self, op: &OpContext) -> Result<Option<SecondFactor>, KernelError> {
        let (identity, (id, permit)) = (self.identity().clone(), self.own_credentials(op).await?);
        self.db().read(move |tx| Ok(identity.second_factor(tx, permit.tenant(), &id)?)).await
    }

    pub(crate) async fn own_credentials(
        &self,
        op: &OpContext,
    ) -> Result<(PrincipalId, CredentialPermit), KernelError> {
        let own = op.authenticated().ok_or(KernelError::Unauthenticated)?.principal().id.clone();
        Ok((own.clone(), self.look_up_credentials(op, own.as_str()).await?.1))
    }
}

/// The caller is not told what is wrong with a credential.
pub(crate) fn unproven(error: IdentityError) -> KernelError {
    match error {
        IdentityError::InvalidCredential(_) => KernelError::Unauthenticated,
        error => error.into(),
    }
}

pub(crate) fn existing(
    tx: &ReadTx<'_>,
    identity: &Identity,
    tenant: &TenantId,
    id: &PrincipalId,
) -> Result<Principal, KernelError> {
    Ok(identity.get_principal(tx, tenant, id)?.ok_or(IdentityError::NoSuchPrincipal)?)
}

/// What the roles of the holder of a permit permit.
fn roles_of(
    tx: &ReadTx<'_>,
    identity: &Identity,
    tenant: &TenantId,
    holder: &PrincipalId,
) -> Result<Vec<RoleFacts>, KernelError> {
    if *holder == PrincipalId::node() {
        return Ok(vec![RoleFacts::administrator()]);
    }
    existing_roles(tx, tenant, &existing(tx, identity, tenant, holder)?.roles)
}
