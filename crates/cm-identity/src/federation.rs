//! Trust domains of others: whose workloads are believed to be who they say.
//!
//! Who keeps the tenants pins a bundle of the other domain, and says where newer ones are. What a bundle signs is believed about names of its
//! own domain and no other, so that no partner speaks for a third. A newer bundle takes the place of the pinned one when it comes from
//! that place, over TLS; one whose number is lower than that of the bundle before is an old one that somebody kept, and is refused.
//! Fetching is the business of a face, since nothing here speaks HTTP.

use cm_crypto::svid::{BUNDLE_LEN_MAX, TrustBundle};
use cm_crypto::{CryptoError, cert};
use cm_db::{ReadTx, WriteTx};
use cm_policy::{Permit, Update};
use cm_types::{PrincipalId, RequestId, ResourceKind, TenantId, Timestamp, TrustDomain};

use crate::provider::is_safe_url;
use crate::table::{TrustDomainRow, TrustDomains};
use crate::trail::Entry;
use crate::{Identity, IdentityError, InvalidInput};

/// Most trust domains of others.
pub const TRUST_DOMAINS_MAX: usize = 64;
/// Longest URL, in bytes.
const URL_LEN_MAX: usize = 512;
/// Longest certificate that a place of bundles is known by, in bytes of PEM.
const CERTIFICATES_LEN_MAX: usize = 32 * 1024;
/// Most certificates that a place of bundles is known by.
const CERTIFICATES_MAX: usize = 8;

/// A trust domain of others, as it is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedDomain {
    /// The domain.
    pub domain: TrustDomain,
    /// Its bundle, the text of the document in the form of SPIFFE.
    pub bundle: String,
    /// Where newer ones are; the pinned one stays if there is no such place.
    pub endpoint: Option<String>,
    /// Certificates, in PEM, by which that place is known; those that the Web goes by if there are none.
    pub endpoint_certificates: Option<String>,
    /// When the bundle was pinned, or found to be the newest.
    pub refreshed_at: Timestamp,
}

impl TrustedDomain {
    /// The bundle, ready to judge by.
    ///
    /// # Errors
    /// [`CryptoError::TrustBundle`], which was checked before it was kept.
    pub fn bundle(&self) -> Result<TrustBundle, CryptoError> {
        TrustBundle::parse(self.bundle.as_bytes())
    }

    fn check(&self) -> Result<TrustBundle, InvalidInput> {
        let wrong = |field, rule| InvalidInput::TrustDomain { field, rule };
        let fits = |url: &String| url.len() <= URL_LEN_MAX && is_safe_url(url);
        if !self.endpoint.as_ref().is_none_or(fits) {
            return Err(wrong("endpoint", "expected an https URL; http is for this very machine only"));
        }
        if let Some(text) = &self.endpoint_certificates {
            let read = cert::pems_to_der(text, CERTIFICATES_MAX);
            if text.len() > CERTIFICATES_LEN_MAX || read.is_err() {
                return Err(wrong("endpoint_certificates", "expected 1 to 8 certificates in PEM"));
            }
        }
        let rule = "expected a bundle in the form of SPIFFE, with a key for certificates or tokens";
        let fits = self.bundle.len() <= BUNDLE_LEN_MAX;
        self.bundle().ok().filter(|_| fits).ok_or(wrong("bundle", rule))
    }
}

impl Identity {
    /// Trusts a domain of others, or says anew how.
    ///
    /// The permit is for the tenants. Errors: `Invalid`, also for one's own domain; `TooManyTrustDomains`, `WrongPermit`. Event:
    /// `trust-domain.trusted`.
    pub fn trust_domain_of_others(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Update>,
        trusted: &TrustedDomain,
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        require_of_tenants(permit)?;
        if self.own_trust_domain() == Some(&trusted.domain) {
            let rule = "this is the node's own trust domain";
            return Err(InvalidInput::TrustDomain { field: "domain", rule }.into());
        }
        trusted.check()?;
        let key = trusted.domain.to_string();
        let others =
            tx.range::<TrustDomains>(cm_db::KeyRange::all(), cm_db::Direction::Forward, TRUST_DOMAINS_MAX)?;
        if others.len() >= TRUST_DOMAINS_MAX && !others.iter().any(|(other, _)| *other == key) {
            return Err(IdentityError::TooManyTrustDomains { max: TRUST_DOMAINS_MAX });
        }
        tx.put::<TrustDomains>(&key, &TrustDomainRow::of(trusted, self.now()))?;
        self.tell("trust-domain.trusted", tx, permit.principal(), &trusted.domain, request)
    }

    /// Trusts a domain no more.
    ///
    /// The permit is for the tenants. Errors: `NoSuchTrustDomain`, `WrongPermit`. Event: `trust-domain.distrusted`.
    pub fn distrust_domain(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Update>,
        domain: &TrustDomain,
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        require_of_tenants(permit)?;
        if !tx.delete::<TrustDomains>(&domain.to_string())? {
            return Err(IdentityError::NoSuchTrustDomain);
        }
        self.tell("trust-domain.distrusted", tx, permit.principal(), domain, request)
    }

    /// Takes over what was fetched from the place of a domain's bundles, `fetched_for`: nothing, if the domain has been trusted anew
    /// or no more since. Whether it was a new one.
    ///
    /// Errors: `Invalid` for what is no bundle, or an older one. Event: `trust-domain.refreshed`, for a new one.
    pub fn refresh_domain(
        &self,
        tx: &mut WriteTx<'_>,
        fetched_for: &TrustedDomain,
        document: String,
        request: Option<&RequestId>,
    ) -> Result<bool, IdentityError> {
        let key = fetched_for.domain.to_string();
        let Some(row) = tx.get::<TrustDomains>(&key)? else { return Ok(false) };
        let before = row.clone().domain(fetched_for.domain.clone());
        let same_place = before.endpoint == fetched_for.endpoint
            && before.endpoint_certificates == fetched_for.endpoint_certificates;
        if !same_place {
            return Ok(false);
        }
        let changed = before.bundle != document;
        let after = TrustedDomain { bundle: document, ..before.clone() };
        let bundle = after.check()?;
        let number = before.bundle().ok().and_then(|before| before.sequence());
        if number.zip(bundle.sequence()).is_some_and(|(before, after)| after < before) {
            let rule = "an older bundle than the one before: its number is lower";
            return Err(InvalidInput::TrustDomain { field: "bundle", rule }.into());
        }
        tx.put::<TrustDomains>(&key, &TrustDomainRow::of(&after, self.now()))?;
        if changed {
            self.tell("trust-domain.refreshed", tx, None, &after.domain, request)?;
        }
        Ok(changed)
    }

    /// The trust domains of others, by name.
    pub fn trusted_domains(&self, tx: &ReadTx<'_>) -> Result<Vec<TrustedDomain>, IdentityError> {
        let (all, forward) = (cm_db::KeyRange::all(), cm_db::Direction::Forward);
        let rows = tx.range::<TrustDomains>(all, forward, TRUST_DOMAINS_MAX)?;
        let named = rows.into_iter().filter_map(|(key, row)| Some(row.domain(TrustDomain::parse(key).ok()?)));
        Ok(named.collect())
    }

    /// One of them.
    pub fn trusted_domain(
        &self,
        tx: &ReadTx<'_>,
        domain: &TrustDomain,
    ) -> Result<Option<TrustedDomain>, IdentityError> {
        Ok(tx.get::<TrustDomains>(&domain.to_string())?.map(|row| row.domain(domain.clone())))
    }

    fn tell(
        &self,
        verb: &'static str,
        tx: &mut WriteTx<'_>,
        actor: Option<&PrincipalId>,
        domain: &TrustDomain,
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        let (tenant, node) = (TenantId::default_tenant(), PrincipalId::node());
        let actor = actor.unwrap_or(&node);
        let entry = Entry::done(verb, &tenant, Some(actor), actor, request);
        self.record(tx, entry.fact("trust_domain", domain.as_str()))
    }
}

fn require_of_tenants(permit: &Permit<Update>) -> Result<(), IdentityError> {
    match permit.covers_collection(&TenantId::default_tenant(), ResourceKind::Tenant) {
        true => Ok(()),
        false => Err(IdentityError::WrongPermit),
    }
}
