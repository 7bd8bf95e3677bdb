//! Sessions, as faces work with them; and who asks in the protocols whose credentials are none of the native API's.

use std::sync::Arc;
use std::time::Duration;

use cm_crypto::Secret;
use cm_identity::{
    AccountKeyInfo, AccountScope, Authenticated, CredentialProblem, CredentialRight, IdentityError,
    Introspection, LiveSession, NewPrincipal, NewSession, Principal, Profile, SessionKind, SessionTokens,
};
use cm_policy::{Create, Grant, List, Permit, Update};
use cm_types::{Cursor, Page, PageLimit, PrincipalId, ResourceKind, TenantId, Timestamp};

use crate::applications::{Scopes, change_within};
use crate::authority::existing_roles;
use crate::credentials::existing;
use crate::giving::demand_nameable;
use crate::{Actor, ActorFacts, Kernel, KernelError, OpContext};

/// Somebody who signs up.
#[derive(Debug)]
pub struct SignUp {
    /// The name.
    pub id: PrincipalId,
    /// The password.
    pub password: Secret<String>,
    /// What it says of itself.
    pub profile: Profile,
    /// For which scope, and until when.
    pub scope: Option<(String, Timestamp)>,
}

impl Kernel {
    /// Begins a session for somebody who just authenticated.
    pub async fn begin_session(
        &self,
        op: &OpContext,
        authenticated: &Authenticated,
        new: NewSession,
    ) -> Result<SessionTokens, KernelError> {
        let (identity, authenticated) = (self.identity().clone(), authenticated.clone());
        let request = op.request.clone();
        self.db().write(move |tx| Ok(identity.begin_session(tx, &authenticated, new, Some(&request))?)).await
    }

    /// The session of this label that is live, if there is one, with its token.
    pub async fn live_session(
        &self,
        authenticated: &Authenticated,
        kind: SessionKind,
        label: &str,
    ) -> Result<Option<SessionTokens>, KernelError> {
        let (identity, authenticated) = (self.identity().clone(), authenticated.clone());
        let label = label.to_owned();
        self.db().read(move |tx| Ok(identity.live_session(tx, &authenticated, kind, &label)?)).await
    }

    /// Carries on a session of the native API.
    ///
    /// # Errors
    /// [`KernelError::Unauthenticated`] for a refresh token that is not ours, over, or used before; the last ends the
    /// session. Each is an event.
    pub async fn refresh_session(
        &self,
        op: &OpContext,
        refresh: Secret<String>,
        ttl: Duration,
    ) -> Result<(Principal, SessionTokens), KernelError> {
        let (identity, request) = (self.identity().clone(), op.request.clone());
        let outcome = self
            .db()
            .write(move |tx| {
                Ok::<_, KernelError>(identity.refresh_session(tx, refresh.expose(), ttl, Some(&request))?)
            })
            .await?;
        match outcome {
            Ok(carried_on) => Ok(carried_on),
            Err(problem) => Err(self.refuse_credential(op, &TenantId::default_tenant(), problem).await),
        }
    }

    /// Ends a session. Nobody asks whose it is: whoever calls this has seen its token.
    pub async fn end_session(&self, op: &OpContext, session: &str) -> Result<(), KernelError> {
        let (identity, request, session) = (self.identity().clone(), op.request.clone(), session.to_owned());
        self.db().write(move |tx| Ok(identity.end_session(tx, &session, Some(&request))?)).await
    }

    /// Ends the session of a refresh token; says whether there was one.
    pub async fn end_session_of(&self, op: &OpContext, refresh: Secret<String>) -> Result<bool, KernelError> {
        let (identity, request) = (self.identity().clone(), op.request.clone());
        self.db().write(move |tx| Ok(identity.end_session_of(tx, refresh.expose(), Some(&request))?)).await
    }

    /// What a token of the native API is; `None` for what is of no use, and for a token of another tenant than the permit's.
    pub async fn introspect(
        &self,
        permit: &Permit<List>,
        text: Secret<String>,
    ) -> Result<Option<Introspection>, KernelError> {
        let (identity, tenant) = (self.identity().clone(), permit.tenant().clone());
        let found = self.db().look_up(move |tx| identity.introspect(tx, text.expose())).await?;
        Ok(found.filter(|found| found.authenticated.principal().tenant == tenant))
    }

    /// Revokes a token or a refresh token that is shown.
    pub async fn revoke_shown(&self, op: &OpContext, text: Secret<String>) -> Result<(), KernelError> {
        let (identity, request) = (self.identity().clone(), op.request.clone());
        self.db()
            .write(move |tx| {
                identity.revoke_shown(tx, text.expose(), Some(&request))?;
                Ok(())
            })
            .await
    }

    /// Whose token of the Xolo dialect this is.
    ///
    /// # Errors
    /// [`KernelError::Unauthenticated`]; each refusal is an event of the tenant.
    pub async fn xolo_session(
        &self,
        op: &OpContext,
        token: &str,
        kind: SessionKind,
        tenant: &TenantId,
    ) -> Result<LiveSession, KernelError> {
        let (identity, token, wanted) = (self.identity().clone(), token.to_owned(), tenant.clone());
        match self.db().look_up(move |tx| identity.xolo_session(tx, &token, kind, &wanted)).await {
            Ok(live) => Ok(live),
            Err(IdentityError::InvalidCredential(problem)) => {
                Err(self.refuse_credential(op, tenant, problem).await)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Carries on a session of the Xolo dialect.
    pub async fn renew_session(
        &self,
        op: &OpContext,
        live: &LiveSession,
        ttl: Duration,
    ) -> Result<SessionTokens, KernelError> {
        let (identity, live, request) = (self.identity().clone(), live.clone(), op.request.clone());
        self.db().write(move |tx| Ok(identity.renew_session(tx, &live, ttl, Some(&request))?)).await
    }

    /// The operation of who showed the live token of a session.
    pub async fn as_session(&self, op: &OpContext, live: &LiveSession) -> Result<OpContext, KernelError> {
        self.as_authenticated(op, live.authenticated()).await
    }

    /// The operation of who just authenticated.
    pub async fn as_authenticated(
        &self,
        op: &OpContext,
        authenticated: Authenticated,
    ) -> Result<OpContext, KernelError> {
        let Principal { id, tenant, roles, .. } = authenticated.principal().clone();
        let place = tenant.clone();
        let roles = self.db().look_up(move |tx| existing_roles(tx, &place, &roles)).await?;
        let policies = self.policies_of(&tenant).await?;
        let facts = ActorFacts { principal: id, tenant, roles, policies };
        Ok(op.clone().by(Actor::Principal(Arc::new(facts), Arc::new(authenticated))))
    }

    /// The operation of an application that shows a key, for something that belongs to a scope. The key must be of the tenant
    /// and open the scope; what it may do is what its scopes permit.
    ///
    /// # Errors
    /// [`KernelError::Unauthenticated`] for a key that is none of the tenant's. A key without the scope is let in and holds
    /// no permission: it is refused where one is asked for.
    pub async fn as_account_key(
        &self,
        op: &OpContext,
        text: &str,
        tenant: &TenantId,
        scope: AccountScope,
    ) -> Result<OpContext, KernelError> {
        let (identity, text) = (self.identity().clone(), text.to_owned());
        let found = self.db().look_up(move |tx| identity.account_key(tx, &text)).await;
        let key = match found {
            Ok(key) if key.tenant == *tenant => key,
            Ok(_) => {
                return Err(self.refuse_credential(op, tenant, CredentialProblem::OtherAudience).await);
            }
            Err(IdentityError::InvalidCredential(problem)) => {
                return Err(self.refuse_credential(op, tenant, problem).await);
            }
            Err(error) => return Err(error.into()),
        };
        let roles = if key.opens(scope) { vec![key.role()] } else { Vec::new() };
        let principal =
            PrincipalId::parse(format!("key:{}", key.id)).map_err(|_| KernelError::Unauthenticated)?;
        let policies = self.policies_of(&key.tenant).await?;
        let facts = ActorFacts { principal, tenant: key.tenant, roles, policies };
        Ok(OpContext { actor: Actor::Node(Arc::new(facts)), ..op.clone() })
    }

    /// Whose key of an application this is, for what does not name the account. What it opens is asked by [`Kernel::as_account_key`].
    ///
    /// # Errors
    /// [`KernelError::Unauthenticated`] for a key of nobody, which is an event.
    pub async fn account_of_key(&self, op: &OpContext, text: &str) -> Result<TenantId, KernelError> {
        let (identity, text) = (self.identity().clone(), text.to_owned());
        match self.db().look_up(move |tx| identity.account_key(tx, &text)).await {
            Ok(key) => Ok(key.tenant),
            Err(IdentityError::InvalidCredential(problem)) => {
                Err(self.refuse_credential(op, &TenantId::default_tenant(), problem).await)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a key for an application. The permit is to grant, for the collection of principals.
    pub async fn create_account_key(
        &self,
        op: &OpContext,
        permit: &Permit<Grant>,
        name: String,
        scopes: Vec<AccountScope>,
        expires_at: Option<Timestamp>,
    ) -> Result<(Secret<String>, AccountKeyInfo), KernelError> {
        let (identity, permit, request) = (self.identity().clone(), permit.clone(), op.request.clone());
        self.db()
            .write(move |tx| {
                let wanted = (name.as_str(), scopes, expires_at);
                Ok(identity.create_account_key(tx, &permit, wanted, Some(&request))?)
            })
            .await
    }

    /// The keys of a tenant's applications.
    pub async fn list_account_keys(
        &self,
        permit: &Permit<Grant>,
    ) -> Result<Vec<AccountKeyInfo>, KernelError> {
        let (identity, tenant) = (self.identity().clone(), permit.tenant().clone());
        self.db().read(move |tx| Ok(identity.list_account_keys(tx, &tenant)?)).await
    }

    /// Gives a key of an application another secret.
    pub async fn rotate_account_key(
        &self,
        op: &OpContext,
        permit: &Permit<Grant>,
        id: String,
    ) -> Result<(Secret<String>, AccountKeyInfo), KernelError> {
        let (identity, permit, request) = (self.identity().clone(), permit.clone(), op.request.clone());
        self.db().write(move |tx| Ok(identity.rotate_account_key(tx, &permit, &id, Some(&request))?)).await
    }

    /// Revokes a key of an application.
    pub async fn revoke_account_key(
        &self,
        op: &OpContext,
        permit: &Permit<Grant>,
        id: String,
    ) -> Result<(), KernelError> {
        let (identity, permit, request) = (self.identity().clone(), permit.clone(), op.request.clone());
        self.db().write(move |tx| Ok(identity.revoke_account_key(tx, &permit, &id, Some(&request))?)).await
    }

    /// Signs somebody up: a principal without roles, with a password and what it says of itself, and for a scope if one is
    /// named; as a whole or not at all.
    pub async fn sign_up(
        &self,
        op: &OpContext,
        permit: &Permit<Create>,
        new: SignUp,
    ) -> Result<Principal, KernelError> {
        let grant = self.authorize::<Grant>(op, ResourceKind::Principal).await?;
        demand_nameable(&op.subject(), &new.id)?;
        let (identity, catalog) = (self.identity().clone(), self.catalog().clone());
        let SignUp { id, password, profile, scope } = new;
        // Looked at once more when it is made; but for a name that is taken no password is hashed.
        let (known, place, name) = (identity.clone(), permit.tenant().clone(), id.clone());
        if self.db().read(move |tx| known.get_principal(tx, &place, &name)).await?.is_some() {
            return Err(IdentityError::Exists.into());
        }
        let hash = identity.hash_sign_up_password(password).await?;
        let (permit, request, now) = (permit.clone(), op.request.clone(), self.now());
        self.db()
            .write(move |tx| {
                let tenant = permit.tenant();
                if !catalog.owned_by(tx, tenant, &id, 1)?.is_empty() {
                    return Err(IdentityError::Exists.into());
                }
                let new = NewPrincipal { id: id.clone(), display_name: None, roles: Vec::new() };
                let made = identity.create_principal(tx, &permit, None, new, Some(&request))?;
                identity.set_profile(tx, &permit, &id, &profile)?;
                identity.set_password(tx, CredentialRight::Granted(&grant), &id, hash, Some(&request))?;
                if let Some((scope, until)) = scope {
                    change_within::<Scopes, _>(tx, tenant, |scopes| {
                        scopes.assign(id.as_str(), &scope)?;
                        scopes.license(id.as_str(), &scope, until, (now, true))
                    })?;
                }
                Ok(made)
            })
            .await
    }

    /// Signs somebody up in a tenant that is open to anybody. The node itself does it, for who signs up is nobody yet.
    ///
    /// # Errors
    /// [`KernelError::Unauthenticated`] for a tenant that is not open, and for one that does not exist.
    pub async fn sign_up_openly(
        &self,
        op: &OpContext,
        tenant: &TenantId,
        new: SignUp,
    ) -> Result<Principal, KernelError> {
        if !self.tenant(tenant).await?.is_some_and(|tenant| tenant.open && !tenant.leaving) {
            return Err(KernelError::Unauthenticated);
        }
        self.identity().spend_on_sign_up(&op.source)?;
        // The node may make anybody, but not let strangers be those whom permission policies speak of.
        let policies = self.policies_of(tenant).await?;
        if policies.compiled().is_some_and(|policies| policies.names_user(new.id.as_str())) {
            return Err(KernelError::NamedByPolicies(new.id));
        }
        let op = self.node_in(op, tenant);
        let permit = self.authorize::<Create>(&op, ResourceKind::Principal).await?;
        self.sign_up(&op, &permit, new).await
    }

    /// One page of the tenant's principals, with what they say of themselves. The permit is to list principals.
    pub async fn list_profiles(
        &self,
        permit: &Permit<List>,
        after: Option<Cursor>,
        limit: PageLimit,
    ) -> Result<Page<(Principal, Profile)>, KernelError> {
        let (identity, tenant) = (self.identity().clone(), permit.tenant().clone());
        self.db()
            .read(move |tx| {
                let page = identity.list_principals(tx, &tenant, after.as_ref(), limit)?;
                let with_profile = |principal: Principal| {
                    let profile = identity.profile(tx, &tenant, &principal.id)?;
                    Ok::<_, IdentityError>((principal, profile))
                };
                let items = page.items.into_iter().map(with_profile).collect::<Result<Vec<_>, _>>()?;
                Ok(Page { items, next: page.next })
            })
            .await
    }

    /// What who showed the live token of a session says of itself.
    pub async fn own_profile(&self, live: &LiveSession) -> Result<Profile, KernelError> {
        let (identity, principal) = (self.identity().clone(), live.principal.clone());
        self.db().read(move |tx| Ok(identity.profile(tx, &principal.tenant, &principal.id)?)).await
    }

    /// Bars who showed the live token of a session from logging in again, or lets it: by its own wish, which it can take
    /// back for as long as the session lasts.
    pub async fn set_own_withdrawal(
        &self,
        op: &OpContext,
        live: &LiveSession,
        withdrawn: bool,
    ) -> Result<(), KernelError> {
        let (identity, principal) = (self.identity().clone(), live.principal.clone());
        let (_, right) = self.look_up_credentials(op, principal.id.as_str()).await?;
        let crate::CredentialPermit::Own(permit) = right else { return Err(KernelError::Unauthenticated) };
        self.db()
            .write(move |tx| {
                let mut profile = identity.profile(tx, &principal.tenant, &principal.id)?;
                profile.withdrawn = withdrawn;
                Ok(identity.set_profile(tx, &permit, &principal.id, &profile)?)
            })
            .await
    }

    /// Changes what a principal says of itself.
    pub async fn set_profile(
        &self,
        permit: &Permit<Update>,
        id: &PrincipalId,
        profile: Profile,
    ) -> Result<(), KernelError> {
        let (identity, permit, id) = (self.identity().clone(), permit.clone(), id.clone());
        self.db()
            .write(move |tx| {
                existing(tx, &identity, permit.tenant(), &id)?;
                Ok(identity.set_profile(tx, &permit, &id, &profile)?)
            })
            .await
    }

    /// What a refused credential is answered with, after the event.
    pub async fn refuse_credential(
        &self,
        op: &OpContext,
        tenant: &TenantId,
        problem: CredentialProblem,
    ) -> KernelError {
        self.credential_refused(tenant, problem, &op.source, &op.request).await;
        KernelError::Unauthenticated
    }
}
