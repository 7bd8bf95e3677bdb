//! Workloads, what they show to each other, and trust domains of others, as faces work with them. Newer bundles come from the network,
//! which is the faces' business.

use std::time::Duration;

use cm_crypto::cert::{self, CertificateRequest};
use cm_crypto::svid::{self, CHAIN_MAX, TrustBundle};
use cm_crypto::{CryptoError, Secret};
use cm_events::{EventVerb, NewEvent, Outcome};
use cm_identity::{IdentityError, IssuedSvid, IssuedToken, TrustedDomain, Workload};
use cm_policy::{Grant, List, Permit, Update};
use cm_types::{PrincipalId, ResourceKind, ResourceRef, SpiffeId, TrustDomain};
use serde_json::Value;

use crate::credentials::existing;
use crate::giving::{demand_power_over, demand_power_to_become};
use crate::{CredentialPermit, Kernel, KernelError, OpContext};

/// A document that somebody shows, to be judged.
#[derive(Clone, Debug)]
pub enum ShownSvid {
    /// A chain of certificates in PEM, the leaf first.
    Certificates(String),
    /// A token, and for whom it has to be.
    Token(Secret<String>, String),
}

/// What became of a document that was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It vouches for this workload.
    Vouches(svid::Workload),
    /// It vouches for nobody.
    Refused(CryptoError),
    /// It is of this trust domain, which is trusted, but of a key that is not in its bundle: it may be in a newer one.
    UnknownKey(TrustDomain),
}

impl Kernel {
    /// Makes a principal a workload. Whoever does must be able to become it.
    pub async fn register_workload(
        &self,
        op: &OpContext,
        permit: &Permit<Grant>,
        principal: &PrincipalId,
        ttl_max: Duration,
    ) -> Result<SpiffeId, KernelError> {
        let (identity, catalog) = (self.identity().clone(), self.catalog().clone());
        let (op, permit, id) = (op.clone(), permit.clone(), principal.clone());
        self.db()
            .write(move |tx| {
                let principal = existing(tx, &identity, permit.tenant(), &id)?;
                demand_power_to_become(tx, &catalog, &op.subject(), &principal)?;
                Ok(identity.register_workload(tx, &permit, &id, ttl_max, Some(&op.request))?)
            })
            .await
    }

    /// Makes a principal, whose roles' permissions the actor must hold, no workload any more.
    pub async fn remove_workload(
        &self,
        op: &OpContext,
        permit: &Permit<Grant>,
        principal: &PrincipalId,
    ) -> Result<(), KernelError> {
        let (identity, op, permit) = (self.identity().clone(), op.clone(), permit.clone());
        let id = principal.clone();
        self.db()
            .write(move |tx| {
                let principal = existing(tx, &identity, permit.tenant(), &id)?;
                demand_power_over(tx, &op.subject(), &principal)?;
                Ok(identity.remove_workload(tx, &permit, &id, Some(&op.request))?)
            })
            .await
    }

    /// The workloads of the permit's tenant, by name, a page at a time.
    pub async fn list_workloads(
        &self,
        permit: &Permit<List>,
        after: Option<PrincipalId>,
    ) -> Result<Vec<Workload>, KernelError> {
        let (identity, tenant) = (self.identity().clone(), permit.tenant().clone());
        self.db().read(move |tx| Ok(identity.workloads(tx, &tenant, after.as_ref())?)).await
    }

    /// Issues a certificate for the key of a request in PEM (PKCS#10), to a workload itself or to who may become it.
    ///
    /// # Errors
    /// A request that was not signed with its key; a principal that is no workload, which is an event.
    pub async fn issue_svid(
        &self,
        op: &OpContext,
        permit: impl Into<CredentialPermit>,
        principal: &PrincipalId,
        (request, ttl): (String, Duration),
    ) -> Result<IssuedSvid, KernelError> {
        let permit = permit.into();
        let reading = move || CertificateRequest::from_pem(&request);
        let key = self.tasks().spawn_blocking("certificate-request", reading);
        let key = key.await.map_err(|_| KernelError::ShuttingDown)?.map_err(IdentityError::Request)?;
        let (identity, catalog) = (self.identity().clone(), self.catalog().clone());
        let (actor, id) = (op.clone(), principal.clone());
        let issued = self
            .db()
            .write(move |tx| {
                let principal = existing(tx, &identity, permit.tenant(), &id)?;
                demand_power_to_become(tx, &catalog, &actor.subject(), &principal)?;
                let right = (permit.right(), actor.authenticated());
                Ok(identity.issue_certificate(tx, right, &id, (&key, ttl), Some(&actor.request))?)
            })
            .await;
        self.told_if_refused(op, principal, issued).await
    }

    /// Issues a token for these audiences, to a workload itself or to who may become it.
    ///
    /// # Errors
    /// A principal that is no workload, which is an event.
    pub async fn issue_workload_token(
        &self,
        op: &OpContext,
        permit: impl Into<CredentialPermit>,
        principal: &PrincipalId,
        (audience, ttl): (Vec<String>, Duration),
    ) -> Result<IssuedToken, KernelError> {
        let permit = permit.into();
        let (identity, catalog) = (self.identity().clone(), self.catalog().clone());
        let (actor, id) = (op.clone(), principal.clone());
        let issued = self
            .db()
            .write(move |tx| {
                let principal = existing(tx, &identity, permit.tenant(), &id)?;
                demand_power_to_become(tx, &catalog, &actor.subject(), &principal)?;
                let right = (permit.right(), actor.authenticated());
                Ok(identity.issue_workload_token(tx, right, &id, (&audience, ttl), Some(&actor.request))?)
            })
            .await;
        self.told_if_refused(op, principal, issued).await
    }

    /// Records that somebody who is no workload asked for a document, `svid.refused`.
    async fn told_if_refused<T>(
        &self,
        op: &OpContext,
        principal: &PrincipalId,
        issued: Result<T, KernelError>,
    ) -> Result<T, KernelError> {
        if let Err(KernelError::Identity(IdentityError::NotAWorkload)) = &issued
            && let Some(asker) = op.authenticated()
        {
            let tenant = asker.principal().tenant.clone();
            let mut event = NewEvent::new(tenant, EventVerb::fixed("svid.refused"));
            event.actor = Some(asker.principal().id.clone());
            event.resource = Some(ResourceRef::new(ResourceKind::Principal, principal.as_str()));
            event.request = Some(op.request.clone());
            event.outcome = Outcome::Denied;
            if let Err(error) = self.record_event(event).await {
                tracing::error!(error = &error as &dyn std::error::Error, "refused document not recorded");
            }
        }
        issued
    }

    /// The bundle of the node's own trust domain, in the form of SPIFFE. It is no secret.
    ///
    /// # Errors
    /// A node without a trust domain.
    pub async fn own_bundle(&self) -> Result<Value, KernelError> {
        let identity = self.identity().clone();
        let reading = identity.clone();
        match self.db().read(move |tx| reading.known_bundle(tx)).await? {
            Some(bundle) => Ok(bundle),
            None => Ok(self.db().write(move |tx| identity.own_bundle(tx)).await?),
        }
    }

    /// Trusts a trust domain of others, or says anew how. The permit is one of [`Kernel::authorize_of_node`] for tenants.
    pub async fn trust_domain(
        &self,
        op: &OpContext,
        permit: &Permit<Update>,
        trusted: TrustedDomain,
    ) -> Result<(), KernelError> {
        let (identity, permit, request) = (self.identity().clone(), permit.clone(), op.request.clone());
        self.db()
            .write(move |tx| Ok(identity.trust_domain_of_others(tx, &permit, &trusted, Some(&request))?))
            .await
    }

    /// Trusts a trust domain no more. The permit is one of [`Kernel::authorize_of_node`] for tenants.
    pub async fn distrust_domain(
        &self,
        op: &OpContext,
        permit: &Permit<Update>,
        domain: &TrustDomain,
    ) -> Result<(), KernelError> {
        let (identity, permit, request) = (self.identity().clone(), permit.clone(), op.request.clone());
        let domain = domain.clone();
        self.db().write(move |tx| Ok(identity.distrust_domain(tx, &permit, &domain, Some(&request))?)).await
    }

    /// The trust domains of others. What they publish is no secret; whom a node trusts is told to its workloads, which need it, and
    /// to who keeps the tenants.
    pub async fn trusted_domains(&self) -> Result<Vec<TrustedDomain>, KernelError> {
        let identity = self.identity().clone();
        self.db().read(move |tx| Ok(identity.trusted_domains(tx)?)).await
    }

    /// Takes over a bundle that a face fetched from the place that `fetched_for` names; whether it was a new one.
    pub async fn refresh_domain(
        &self,
        op: &OpContext,
        fetched_for: TrustedDomain,
        document: String,
    ) -> Result<bool, KernelError> {
        let (identity, request) = (self.identity().clone(), op.request.clone());
        self.db()
            .write(move |tx| Ok(identity.refresh_domain(tx, &fetched_for, document, Some(&request))?))
            .await
    }

    /// The trust domain that a document claims, if it is trusted and of others: a face sees whether its bundle is recent before it
    /// has the document judged.
    pub async fn claimed_domain(&self, shown: &ShownSvid) -> Result<Option<TrustedDomain>, KernelError> {
        let Ok(domain) = domain_of(shown) else { return Ok(None) };
        let identity = self.identity().clone();
        self.db().read(move |tx| Ok(identity.trusted_domain(tx, &domain)?)).await
    }

    /// Judges a document by the bundle of the trust domain that it claims: the node's own, or one that is trusted.
    pub async fn judge_svid(&self, _: &Permit<List>, shown: ShownSvid) -> Result<Judged, KernelError> {
        let domain = match domain_of(&shown) {
            Ok(domain) => domain,
            Err(error) => return Ok(Judged::Refused(error)),
        };
        let is_own = self.identity().trust_domain().is_ok_and(|own| *own == domain);
        let bundle = match is_own {
            true => Some(self.own_bundle().await?.to_string()),
            false => {
                let (identity, domain) = (self.identity().clone(), domain.clone());
                let found = self.db().read(move |tx| identity.trusted_domain(tx, &domain)).await?;
                found.map(|found| found.bundle)
            }
        };
        let Some(bundle) = bundle else { return Ok(Judged::Refused(CryptoError::UntrustedSigner)) };
        let now = self.now();
        let judging = self.tasks().spawn_blocking("svid", move || {
            let bundle = TrustBundle::parse(bundle.as_bytes())?;
            let found = match shown {
                ShownSvid::Certificates(text) => {
                    bundle.verify_certificates(&domain, &cert::pems_to_der(&text, CHAIN_MAX)?, now)
                }
                ShownSvid::Token(token, audience) => {
                    bundle.verify_token(&domain, token.expose(), &audience, now)
                }
            };
            match found {
                Err(CryptoError::UntrustedSigner) if !is_own => Ok(Judged::UnknownKey(domain)),
                Err(error) => Err(error),
                Ok(workload) => Ok(Judged::Vouches(workload)),
            }
        });
        Ok(judging.await.map_err(|_| KernelError::ShuttingDown)?.unwrap_or_else(Judged::Refused))
    }
}

fn domain_of(shown: &ShownSvid) -> Result<TrustDomain, CryptoError> {
    match shown {
        ShownSvid::Certificates(text) => {
            let chain = cert::pems_to_der(text, CHAIN_MAX)?;
            svid::claimed_domain(chain.first().ok_or(CryptoError::Certificate)?)
        }
        ShownSvid::Token(token, _) => svid::claimed_domain_of_token(token.expose()),
    }
}
