//! Identity providers that a tenant trusts, and those whom they vouch for.
//!
//! A provider is known by its issuer. What it says is believed within narrow bounds: tokens for one audience, signed with the
//! algorithms that were named for it, by somebody whom at least one rule about a claim gives a role. Such a somebody is a principal
//! of the tenant like any other, without a password, under a name that is made of issuer and subject and that nobody else can get;
//! the roles that the provider's claims gave last are its roles, besides those that people gave it. No rule makes administrators.
//! It has no credential of its own, neither key nor password nor session, which would outlive the provider's word.
//!
//! A token of ours that was made of a provider's ends with the trust in the provider, or when that is said anew, and not later than
//! what it was made of.

use std::collections::BTreeMap;
use std::time::Duration;

use cm_crypto::digest;
use cm_crypto::foreign::ForeignAlgorithm;
use cm_db::{KeyPrefix, ReadTx, WriteTx};
use cm_policy::{ADMIN_ROLE, Permit, Update};
use cm_types::{Generation, PrincipalId, RequestId, ResourceId, ResourceKind, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::identity::{key_of, new_epoch, require_tenant};
use crate::principal::{DISPLAY_NAME_LEN_MAX, ROLES_MAX};
use crate::table::{ExternalRow, Externals, PrincipalRow, Principals, ProviderRow, Providers};
use crate::trail::Entry;
use crate::{
    Authenticated, Credential, CredentialProblem, Identity, IdentityError, InvalidInput, Principal, Via,
};

/// Most providers of one tenant.
pub const PROVIDERS_MAX: usize = 16;
/// Most rules of one provider.
pub const RULES_MAX: usize = 256;
/// Longest text of a provider's description, in bytes.
pub const TEXT_LEN_MAX: usize = 512;
/// What the names of those whom providers vouch for begin with. Nobody else gets such a name.
pub const EXTERNAL_PREFIX: &str = "oidc:";
/// How far a provider's clock may be ahead of ours.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);
/// Longest subject, in bytes (OpenID Connect Core, section 2).
const SUBJECT_LEN_MAX: usize = 255;
/// Principals that one step of withdrawing a provider's word holds in memory.
const WITHDRAWN_AT_ONCE: usize = 1000;
/// Characters of the digest in a name: 128 bits.
const DIGEST_CHARS: usize = 32;

/// A provider that a tenant trusts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// What the tenant calls it.
    pub id: ResourceId,
    /// Its issuer, the very text that stands in its tokens: a URL.
    pub issuer: String,
    /// Whom its tokens must be for: what this product is called there.
    pub audience: String,
    /// The algorithms that it signs with.
    pub algorithms: Vec<String>,
    /// Where its keys are; found by its description under the issuer unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_url: Option<String>,
    /// Which claim gives roles, `groups` or `realm_access.roles`.
    pub claim: String,
    /// Which roles each value of the claim gives.
    pub roles: BTreeMap<String, Vec<ResourceId>>,
}

/// Somebody whom a provider vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// Who it is there.
    pub subject: String,
    /// The roles that the rules give it, at least one.
    pub roles: Vec<ResourceId>,
    /// When the token ends by which it was proven.
    pub expires_at: Timestamp,
}

impl Provider {
    /// The algorithms, as they are pinned.
    pub fn pinned(&self) -> Vec<ForeignAlgorithm> {
        self.algorithms.iter().filter_map(|name| ForeignAlgorithm::named(name)).collect()
    }

    fn check(&self) -> Result<(), InvalidInput> {
        let wrong = |field, rule| Err(InvalidInput::Provider { field, rule });
        let is_text = |text: &str| {
            !text.is_empty()
                && text.len() <= TEXT_LEN_MAX
                && !text.chars().any(|c| c.is_control() || c == ' ')
        };
        if !is_text(&self.issuer) || !is_safe_url(&self.issuer) {
            return wrong("issuer", "expected an https URL; http is for this very machine only");
        }
        if self.keys_url.as_deref().is_some_and(|url| !is_text(url) || !is_safe_url(url)) {
            return wrong("keys_url", "expected an https URL; http is for this very machine only");
        }
        if !is_text(&self.audience) {
            return wrong("audience", "expected 1 to 512 bytes without spaces");
        }
        if !is_text(&self.claim) {
            return wrong("claim", "expected the name of a claim, 1 to 512 bytes without spaces");
        }
        let named = !self.algorithms.is_empty() && self.pinned().len() == self.algorithms.len();
        if !named {
            return wrong("algorithms", "expected some of RS256, PS256, ES256, ES384 and EdDSA");
        }
        if self.roles.is_empty() || self.roles.len() > RULES_MAX {
            return wrong("roles", "expected 1 to 256 values of the claim with the roles that they give");
        }
        for (value, roles) in &self.roles {
            if value.is_empty() || value.len() > TEXT_LEN_MAX || roles.is_empty() || roles.len() > ROLES_MAX {
                return wrong("roles", "expected 1 to 64 roles for each value of at most 512 bytes");
            }
            if roles.iter().any(|role| role.as_str() == ADMIN_ROLE) {
                return wrong(
                    "roles",
                    "no provider makes administrators; give the role to the principal instead",
                );
            }
        }
        Ok(())
    }

    /// Whom a token vouches for, whose signature by one of the provider's keys was found to hold.
    ///
    /// # Errors
    /// Why it vouches for nobody.
    pub fn judge(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<External, CredentialProblem> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(&self.issuer) {
            return Err(CredentialProblem::NotOurs);
        }
        let is_for_us = match claims.get("aud") {
            Some(Value::String(audience)) => *audience == self.audience,
            Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(&self.audience)),
            _ => false,
        };
        if !is_for_us {
            return Err(CredentialProblem::OtherAudience);
        }
        let moment = |name: &str| match claims.get(name) {
            None => Ok(None),
            // Some providers write fractions of seconds.
            Some(value) => match value.as_f64() {
                Some(secs) if (0.0..=1e11).contains(&secs) => {
                    Ok(Some(Timestamp::from_micros((secs * 1e6) as i64)))
                }
                _ => Err(CredentialProblem::Malformed),
            },
        };
        let expires_at = moment("exp")?.ok_or(CredentialProblem::Malformed)?;
        let begins_at = moment("nbf")?.max(moment("iat")?);
        let is_early = begins_at.is_some_and(|begins| begins.since(now) > CLOCK_SKEW_MAX);
        if now >= expires_at || is_early {
            return Err(CredentialProblem::Expired);
        }
        let subject = text("sub").filter(|text| !text.is_empty() && text.len() <= SUBJECT_LEN_MAX);
        let subject = subject.ok_or(CredentialProblem::Malformed)?.to_owned();
        let roles = self.roles_of(claims);
        match roles.is_empty() {
            true => Err(CredentialProblem::NoRole),
            false => Ok(External { subject, roles, expires_at }),
        }
    }

    /// The roles that the values of the claim give, each once, at most as many as a principal may have.
    fn roles_of(&self, claims: &Map<String, Value>) -> Vec<ResourceId> {
        let mut at = claims.get(&self.claim);
        if at.is_none() {
            // Not the name of a claim as it stands: one within others.
            let mut parts = self.claim.split('.');
            at = parts.next().and_then(|first| claims.get(first));
            at = parts.fold(at, |at, part| at.and_then(|value| value.get(part)));
        }
        let values: Vec<&str> = match at {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let mut roles: Vec<ResourceId> = Vec::new();
        for role in values.into_iter().filter_map(|value| self.roles.get(value)).flatten() {
            if !roles.contains(role) && roles.len() < ROLES_MAX {
                roles.push(role.clone());
            }
        }
        roles
    }

    /// The name here of a subject there: the same for ever, and told from the names of all other subjects and issuers.
    pub fn name_of(&self, subject: &str) -> PrincipalId {
        let text = format!("{}\n{subject}", self.issuer);
        let digest = hex::encode(digest::sha256(text.as_bytes()).as_bytes());
        PrincipalId::parse(format!("{EXTERNAL_PREFIX}{}", &digest[..DIGEST_CHARS]))
            .expect("a prefix and hexadecimal digits are an id")
    }
}

/// Whether what is said by somebody at this URL cannot be said by somebody else on the way.
pub fn is_safe_url(url: &str) -> bool {
    if let Some(rest) = url.strip_prefix("https://") {
        return !rest.is_empty() && !rest.starts_with('/');
    }
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return false;
    }
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Identity {
    /// Trusts a provider, or says anew how far one is trusted, which ends whatever came of its word before. That its roles exist and that the actor holds what they permit is
    /// for the caller to check.
    ///
    /// The permit is for the tenants. Errors: `Invalid`, `NoSuchTenant`, `TooManyProviders`, `WrongPermit`.
    pub fn set_provider(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Update>,
        tenant: &TenantId,
        provider: Provider,
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        require_of_tenants(permit)?;
        require_tenant(tx, tenant)?;
        provider.check()?;
        let others = self.providers(tx, tenant)?;
        let others: Vec<&Provider> = others.iter().filter(|other| other.id != provider.id).collect();
        if others.len() >= PROVIDERS_MAX {
            return Err(IdentityError::TooManyProviders { max: PROVIDERS_MAX });
        }
        if others.iter().any(|other| other.issuer == provider.issuer) {
            let rule = "another provider of the tenant has this issuer already";
            return Err(InvalidInput::Provider { field: "issuer", rule }.into());
        }
        let (id, issuer) = (provider.id.clone(), provider.issuer.clone());
        tx.put::<Providers>(&(tenant.clone(), id.clone()), &ProviderRow::of(provider, new_epoch()))?;
        let barred = self.withdraw(tx, (tenant, &id))?;
        self.tell_of_provider(tx, ("provider.trusted", barred), permit, (tenant, &id, &issuer), request)
    }

    /// Trusts a provider no more. Tokens that were made of its tokens are worth nothing from then on, and whom it vouched for
    /// have lost the roles that it gave.
    ///
    /// The permit is for the tenants. Errors: `NoSuchProvider`, `WrongPermit`.
    pub fn delete_provider(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Update>,
        (tenant, id): (&TenantId, &ResourceId),
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        require_of_tenants(permit)?;
        let key = (tenant.clone(), id.clone());
        let row = tx.get::<Providers>(&key)?.ok_or(IdentityError::NoSuchProvider)?;
        tx.delete::<Providers>(&key)?;
        let barred = self.withdraw(tx, (tenant, id))?;
        let verb = ("provider.distrusted", barred);
        self.tell_of_provider(tx, verb, permit, (tenant, id, &row.issuer), request)
    }

    /// Takes from all whom a provider vouched for what came of its word: its roles, their tokens and sessions, and keys and
    /// passwords of before such principals could have none. What people gave them stays. How many they are.
    fn withdraw(
        &self,
        tx: &mut WriteTx<'_>,
        (tenant, provider): (&TenantId, &ResourceId),
    ) -> Result<usize, IdentityError> {
        let prefix = KeyPrefix::new().part(tenant);
        let (mut after, mut count) = (None, 0);
        loop {
            let rows = tx.prefix::<Externals>(&prefix, after.as_ref(), WITHDRAWN_AT_ONCE)?;
            let Some((last, _)) = rows.last() else { return Ok(count) };
            after = Some(last.clone());
            for (key, external) in rows.into_iter().filter(|(_, row)| row.provider == *provider) {
                if let Some(mut row) = tx.get::<Principals>(&key)? {
                    row.roles.retain(|role| !external.roles.contains(role));
                    row.credential_epoch = new_epoch();
                    row.password = None;
                    row.generation = row.generation.next();
                    tx.put::<Principals>(&key, &row)?;
                    self.delete_api_keys(tx, tenant, &key.1)?;
                }
                tx.put::<Externals>(&key, &ExternalRow { roles: Vec::new(), ..external })?;
                count += 1;
            }
        }
    }

    fn tell_of_provider(
        &self,
        tx: &mut WriteTx<'_>,
        (verb, barred): (&'static str, usize),
        permit: &Permit<Update>,
        (tenant, id, issuer): (&TenantId, &ResourceId, &str),
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        let node = PrincipalId::node();
        let actor = permit.principal().unwrap_or(&node);
        let entry = Entry::done(verb, tenant, Some(actor), actor, request);
        self.record(tx, entry.fact("provider", id.as_str()).fact("issuer", issuer).fact("principals", barred))
    }

    /// The providers that a tenant trusts, by id.
    pub fn providers(&self, tx: &ReadTx<'_>, tenant: &TenantId) -> Result<Vec<Provider>, IdentityError> {
        let rows = tx.prefix::<Providers>(&KeyPrefix::new().part(tenant), None, PROVIDERS_MAX)?;
        Ok(rows.into_iter().map(|(_, row)| row.provider()).collect())
    }

    /// Lets in somebody whom a provider vouches for: as a principal of the tenant, made when it comes for the first time. Of its
    /// roles those that its provider gave last are replaced by `external`'s.
    ///
    /// Errors: `InvalidCredential` for a principal that is disabled and for a provider that is not trusted any more. Events:
    /// `external.created`, `external.roles-changed`.
    pub fn admit_external(
        &self,
        tx: &mut WriteTx<'_>,
        tenant: &TenantId,
        (provider, external): (&Provider, &External),
        request: Option<&RequestId>,
    ) -> Result<Authenticated, IdentityError> {
        let trusted = tx.get::<Providers>(&(tenant.clone(), provider.id.clone()))?;
        let trusted = trusted.ok_or(CredentialProblem::Revoked)?;
        let epoch = trusted.epoch.clone();
        if trusted.provider() != *provider {
            return Err(CredentialProblem::Revoked.into());
        }
        crate::identity::require_open_doors(tx, tenant)?;
        let id = provider.name_of(&external.subject);
        let key = key_of(tenant, &id);
        let given = tx.get::<Externals>(&key)?.map_or_else(Vec::new, |row| row.roles);
        let mut row = match tx.get::<Principals>(&key)? {
            Some(row) if row.disabled => return Err(CredentialProblem::Disabled.into()),
            Some(row) => row,
            None => {
                let entry = Entry::done("external.created", tenant, Some(&id), &id, request);
                let entry = entry.fact("provider", provider.id.as_str());
                self.record(tx, entry.fact("subject", external.subject.as_str()))?;
                PrincipalRow {
                    display_name: display_name(provider, &external.subject),
                    roles: Vec::new(),
                    disabled: false,
                    generation: Generation::FIRST,
                    created_at: self.now(),
                    password: None,
                    credential_epoch: new_epoch(),
                }
            }
        };
        let mut roles: Vec<ResourceId> =
            row.roles.iter().filter(|role| !given.contains(role)).cloned().collect();
        let added: Vec<ResourceId> =
            external.roles.iter().filter(|role| !roles.contains(role)).cloned().collect();
        roles.extend(added.iter().cloned());
        roles.truncate(ROLES_MAX);
        if roles != row.roles {
            let texts: Vec<String> = roles.iter().map(ToString::to_string).collect();
            let entry = Entry::done("external.roles-changed", tenant, Some(&id), &id, request);
            self.record(tx, entry.fact("provider", provider.id.as_str()).fact("roles", texts))?;
            row.roles = roles;
            row.generation = row.generation.next();
        }
        tx.put::<Principals>(&key, &row)?;
        let provider_id = provider.id.clone();
        let subject = external.subject.clone();
        tx.put::<Externals>(&key, &ExternalRow { provider: provider_id, subject, roles: added })?;
        let via = Via { provider: provider.id.clone(), epoch };
        let credential = Credential::External { via, expires_at: external.expires_at };
        Ok(Authenticated::new(Principal::from_row(tenant, &id, &row), credential))
    }

    /// Whether a provider by which somebody was proven is still trusted, by the same trust.
    pub(crate) fn require_trusted(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        via: &Via,
    ) -> Result<(), IdentityError> {
        match tx.get::<Providers>(&(tenant.clone(), via.provider.clone()))? {
            Some(row) if row.epoch == via.epoch => Ok(()),
            _ => Err(CredentialProblem::Revoked.into()),
        }
    }
}

fn display_name(provider: &Provider, subject: &str) -> String {
    let clean: String = subject.chars().filter(|c| !c.is_control()).collect();
    let mut name = format!("{clean} of {}", provider.id);
    let mut end = name.len().min(DISPLAY_NAME_LEN_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name
}

fn require_of_tenants(permit: &Permit<Update>) -> Result<(), IdentityError> {
    match permit.covers_collection(&TenantId::default_tenant(), ResourceKind::Tenant) {
        true => Ok(()),
        false => Err(IdentityError::WrongPermit),
    }
}
