//! Identity providers that tenants trust, as faces work with them. Their keys come from the network, which is the faces' business.

use std::time::Duration;

use cm_crypto::foreign::ForeignKeys;
use cm_crypto::{CryptoError, Secret};
use cm_identity::{CredentialProblem, IdentityError, Provider, TokenInfo};
use cm_policy::{List, Permit, Update};
use cm_types::{ResourceId, TenantId};

use crate::giving::{demand_held, named_roles};
use crate::{Kernel, KernelError, OpContext};

/// What became of a token that was shown to be exchanged.
#[derive(Debug)]
pub enum Exchanged {
    /// A token of ours.
    Token {
        /// Its text.
        text: Secret<String>,
        /// What is known of it.
        info: TokenInfo,
        /// The roles of whose it is.
        roles: Vec<ResourceId>,
    },
    /// Roles were asked for that the claims do not give.
    NotGranted,
    /// It was signed with a key that is not among those given: it may have been published since.
    UnknownKey,
}

impl Kernel {
    /// Trusts a provider in a tenant, or says anew how far. The permit is one of [`Kernel::authorize_of_node`] for tenants.
    ///
    /// # Errors
    /// Roles that do not exist there, and roles that permit more than the actor holds.
    pub async fn set_provider(
        &self,
        op: &OpContext,
        permit: &Permit<Update>,
        tenant: &TenantId,
        provider: Provider,
    ) -> Result<(), KernelError> {
        let (identity, op, permit) = (self.identity().clone(), op.clone(), permit.clone());
        let tenant = tenant.clone();
        self.db()
            .write(move |tx| {
                for roles in provider.roles.values() {
                    demand_held(&op.subject(), &named_roles(tx, &tenant, roles)?)?;
                }
                Ok(identity.set_provider(tx, &permit, &tenant, provider, Some(&op.request))?)
            })
            .await
    }

    /// Trusts a provider no more. The permit is one of [`Kernel::authorize_of_node`] for tenants.
    pub async fn delete_provider(
        &self,
        op: &OpContext,
        permit: &Permit<Update>,
        (tenant, id): (&TenantId, &ResourceId),
    ) -> Result<(), KernelError> {
        let (identity, request, permit) = (self.identity().clone(), op.request.clone(), permit.clone());
        let (tenant, id) = (tenant.clone(), id.clone());
        self.db()
            .write(move |tx| Ok(identity.delete_provider(tx, &permit, (&tenant, &id), Some(&request))?))
            .await
    }

    /// The providers that a tenant trusts. The permit is one of [`Kernel::authorize_of_node`] for tenants.
    pub async fn list_providers(
        &self,
        _: &Permit<List>,
        tenant: &TenantId,
    ) -> Result<Vec<Provider>, KernelError> {
        let (identity, tenant) = (self.identity().clone(), tenant.clone());
        self.db().read(move |tx| Ok(identity.providers(tx, &tenant)?)).await
    }

    /// The provider of an issuer that a tenant trusts.
    ///
    /// # Errors
    /// [`KernelError::Unauthenticated`] for an issuer that it does not trust, which is an event.
    pub async fn provider_of(
        &self,
        op: &OpContext,
        tenant: &TenantId,
        issuer: Option<String>,
    ) -> Result<Provider, KernelError> {
        let (identity, place) = (self.identity().clone(), tenant.clone());
        let known = self.tenant(tenant).await?.is_some();
        let found = match issuer {
            Some(issuer) if known => {
                let all = self.db().read(move |tx| identity.providers(tx, &place)).await?;
                all.into_iter().find(|provider| provider.issuer == issuer)
            }
            _ => None,
        };
        match found {
            Some(provider) => Ok(provider),
            None => {
                let told = if known { tenant.clone() } else { TenantId::default_tenant() };
                Err(self.refuse_credential(op, &told, CredentialProblem::NotOurs).await)
            }
        }
    }

    /// Exchanges a token of a provider for one of ours, which ends no later. It has all roles that the claims give, which must be all
    /// that are wanted.
    ///
    /// # Errors
    /// [`KernelError::Unauthenticated`] for a token that proves nothing; each refusal is an event of the tenant.
    pub async fn exchange(
        &self,
        op: &OpContext,
        (tenant, provider): (&TenantId, &Provider),
        (token, keys): (Secret<String>, ForeignKeys),
        (ttl, wanted): (Duration, Vec<String>),
    ) -> Result<Exchanged, KernelError> {
        let pinned = provider.pinned();
        let verifying =
            self.tasks().spawn_blocking("foreign-token", move || keys.verify(token.expose(), &pinned));
        let claims = match verifying.await.map_err(|_| KernelError::ShuttingDown)? {
            Ok(claims) => claims,
            Err(CryptoError::UntrustedSigner) => return Ok(Exchanged::UnknownKey),
            Err(_) => return Err(self.refuse_credential(op, tenant, CredentialProblem::NotOurs).await),
        };
        let external = match provider.judge(&claims, self.now()) {
            Ok(external) => external,
            Err(problem) => return Err(self.refuse_credential(op, tenant, problem).await),
        };
        let (identity, request) = (self.identity().clone(), op.request.clone());
        let (place, provider) = (tenant.clone(), provider.clone());
        let issued = self
            .db()
            .write(move |tx| {
                let request = Some(&request);
                let admitted = identity.admit_external(tx, &place, (&provider, &external), request)?;
                let roles = admitted.principal().roles.clone();
                if !wanted.iter().all(|wanted| roles.iter().any(|role| role.as_str() == wanted)) {
                    return Ok(Exchanged::NotGranted);
                }
                let (text, info) = identity.issue_token(tx, &admitted, ttl, request)?;
                Ok(Exchanged::Token { text, info, roles })
            })
            .await;
        match issued {
            Ok(exchanged) => Ok(exchanged),
            Err(IdentityError::InvalidCredential(problem)) => {
                Err(self.refuse_credential(op, tenant, problem).await)
            }
            Err(error) => Err(error.into()),
        }
    }
}
