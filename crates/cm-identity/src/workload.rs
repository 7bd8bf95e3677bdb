//! Workloads and what they show to each other: documents of SPIFFE.
//!
//! A principal is a workload when somebody who may grant says so; nobody makes itself one. Its id towards others is made of the
//! trust domain, the tenant and its own name ([`SpiffeId::of_principal`]) and of nothing that it asks for. It is given
//!
//! - **certificates** (X.509-SVID) for a key of its own: of its request (PKCS#10) only the key counts, which it must be shown to hold;
//! - **tokens** (JWT-SVID), for an audience that it names.
//!
//! Both last an hour unless told, a day at most, never longer than the token by which they were asked for, and cannot be revoked: who is
//! no workload any more gets no further ones. The keys that sign them take turns as all do ([`crate::signing`]); the authority
//! of certificates also does when its own end comes near. What verifies them is the [`TrustBundle`](cm_crypto::svid::TrustBundle)
//! of the domain.

use std::time::Duration;

use cm_crypto::cert::{self, CertificateRequest, CertificateSpec};
use cm_crypto::svid::{AUDIENCE_LEN_MAX, bundle_document};
use cm_crypto::{Secret, secret};
use cm_db::{KeyPrefix, ReadTx, WriteTx};
use cm_policy::{Grant, Permit};
use cm_types::{PrincipalId, RequestId, SpiffeId, TenantId, Timestamp, TrustDomain};
use serde_json::{Value, json};

use crate::identity::{existing, key_of, require_cover, require_not_vouched, require_right};
use crate::signing::{PublicKey, Purpose, Signer};
use crate::table::{WorkloadRow, Workloads};
use crate::trail::Entry;
use crate::{
    Authenticated, Credential, CredentialProblem, CredentialRight, Identity, IdentityError, InvalidInput,
};

/// How long documents live unless told.
pub const SVID_TTL_DEFAULT: Duration = Duration::from_secs(3600);
/// How long documents may live.
pub const SVID_TTL_MAX: Duration = Duration::from_secs(24 * 3600);
/// Most audiences of one token.
pub const AUDIENCES_MAX: usize = 16;
/// Most workloads that are listed at once.
pub const WORKLOADS_MAX: usize = 1000;
/// How soon others shall ask for the bundle again, in seconds.
pub const BUNDLE_REFRESH_SECS: u64 = 300;
/// How long before its end another authority takes an authority's place.
const AUTHORITY_LEFT_MIN: Duration = Duration::from_secs(30 * 24 * 3600);

/// A principal that is a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Which principal.
    pub principal: PrincipalId,
    /// The longest that its documents live.
    pub ttl_max: Duration,
    /// Since when.
    pub created_at: Timestamp,
}

/// A certificate that was issued to a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedSvid {
    /// The workload's id.
    pub id: SpiffeId,
    /// The certificate in PEM.
    pub certificate: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A token that was issued to a workload.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The workload's id.
    pub id: SpiffeId,
    /// Its text.
    pub token: Secret<String>,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Identity {
    /// The trust domain in whose name documents are issued.
    ///
    /// # Errors
    /// `NoTrustDomain` on a node that was told none.
    pub fn trust_domain(&self) -> Result<&TrustDomain, IdentityError> {
        self.own_trust_domain().ok_or(IdentityError::NoTrustDomain)
    }

    /// Makes a principal a workload, or says anew how long its documents may live.
    ///
    /// # Errors
    /// `NoTrustDomain`; `UnnameableWorkload` for a name that no SPIFFE id has a place for; `Vouched` for whom a provider vouches for;
    /// `Invalid`, `NoSuchPrincipal`, `WrongPermit`. Event: `workload.registered`.
    pub fn register_workload(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Grant>,
        id: &PrincipalId,
        ttl_max: Duration,
        request: Option<&RequestId>,
    ) -> Result<SpiffeId, IdentityError> {
        let tenant = permit.tenant();
        require_cover(permit, tenant, id)?;
        existing(tx, tenant, id)?;
        require_not_vouched(tx, tenant, id)?;
        require_ttl("ttl_seconds_max", ttl_max)?;
        let name = SpiffeId::of_principal(self.trust_domain()?, tenant, id)?;
        let key = key_of(tenant, id);
        let before = tx.get::<Workloads>(&key)?;
        let row = WorkloadRow {
            ttl_max_secs: ttl_max.as_secs(),
            created_at: before.map_or_else(|| self.now(), |row| row.created_at),
        };
        tx.put::<Workloads>(&key, &row)?;
        let entry = Entry::done("workload.registered", tenant, permit.principal(), id, request);
        self.record(tx, entry.fact("spiffe_id", name.to_string()).fact("ttl_max", ttl_max.as_secs()))?;
        Ok(name)
    }

    /// Makes a principal no workload any more: it gets no further documents.
    ///
    /// # Errors
    /// `NotAWorkload`, `WrongPermit`. Event: `workload.removed`.
    pub fn remove_workload(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Grant>,
        id: &PrincipalId,
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        let tenant = permit.tenant();
        require_cover(permit, tenant, id)?;
        if !tx.delete::<Workloads>(&key_of(tenant, id))? {
            return Err(IdentityError::NotAWorkload);
        }
        self.record(tx, Entry::done("workload.removed", tenant, permit.principal(), id, request))
    }

    /// The workloads of a tenant, by name; at most [`WORKLOADS_MAX`] behind `after`.
    pub fn workloads(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        after: Option<&PrincipalId>,
    ) -> Result<Vec<Workload>, IdentityError> {
        let after = after.map(|id| key_of(tenant, id));
        let rows = tx.prefix::<Workloads>(&KeyPrefix::new().part(tenant), after.as_ref(), WORKLOADS_MAX)?;
        Ok(rows.into_iter().map(|((_, principal), row)| workload(principal, row)).collect())
    }

    /// Issues a certificate for the key of a request.
    ///
    /// # Errors
    /// `NotAWorkload`, also for one that is disabled; `NoTrustDomain`, `Invalid` for the time, `InvalidCredential` if who asks by what
    /// it proved a moment ago would not be let in now; `WrongPermit`. Event: `svid.issued`.
    pub fn issue_certificate(
        &self,
        tx: &mut WriteTx<'_>,
        (right, shown): (CredentialRight<'_>, Option<&Authenticated>),
        id: &PrincipalId,
        (key, ttl): (&CertificateRequest, Duration),
        request: Option<&RequestId>,
    ) -> Result<IssuedSvid, IdentityError> {
        let (name, expires_at) = self.entitled(tx, (right, shown), id, ttl)?;
        self.renew_authority(tx, request)?;
        let signer = self.active_key(tx, Purpose::Workloads)?;
        let Signer::Authority(authority) = &signer.signer else { return Err(IdentityError::WrongPermit) };
        let now = self.now();
        let valid_for = Duration::from_secs(u64::try_from(expires_at.as_secs() - now.as_secs()).unwrap_or(0));
        let spec = CertificateSpec {
            uris: vec![name.to_string()],
            // For people: peers look at the URI.
            ..CertificateSpec::new(common_name(id), now, valid_for)
        };
        let der = authority.issue_for(key.spki_der(), &spec).map_err(IdentityError::Key)?;
        let (_, ends) = cert::validity(&der).map_err(IdentityError::Key)?;
        let fingerprint = cert::fingerprint(&der).to_string();
        let entry = Entry::done("svid.issued", right.tenant(), right.actor(), id, request);
        let entry = entry.fact("kind", "x509").fact("spiffe_id", name.to_string());
        let entry = entry.fact("certificate_sha256", fingerprint).fact("expires_at", ends.to_string());
        self.record(tx, entry)?;
        Ok(IssuedSvid { id: name, certificate: cert::der_to_pem(&der), expires_at: ends })
    }

    /// Issues a token for these audiences.
    ///
    /// # Errors
    /// As [`Identity::issue_certificate`]; `Invalid` for the audiences.
    pub fn issue_workload_token(
        &self,
        tx: &mut WriteTx<'_>,
        (right, shown): (CredentialRight<'_>, Option<&Authenticated>),
        id: &PrincipalId,
        (audience, ttl): (&[String], Duration),
        request: Option<&RequestId>,
    ) -> Result<IssuedToken, IdentityError> {
        let is_text = |text: &String| {
            (1..=AUDIENCE_LEN_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
        };
        if !(1..=AUDIENCES_MAX).contains(&audience.len()) || !audience.iter().all(is_text) {
            let (max, len_max) = (AUDIENCES_MAX, AUDIENCE_LEN_MAX);
            return Err(InvalidInput::Audience { max, len_max }.into());
        }
        let (name, expires_at) = self.entitled(tx, (right, shown), id, ttl)?;
        let signer = self.active_key(tx, Purpose::WorkloadTokens)?;
        let Signer::P256(key) = &signer.signer else { return Err(IdentityError::WrongPermit) };
        let (now, jti) = (self.now(), hex::encode(secret::random_bytes::<16>()));
        let claims = json!({
            "sub": name, "aud": audience, "iat": now.as_secs(), "exp": expires_at.as_secs(), "jti": jti,
        });
        let token = key.sign_token(claims.to_string().as_bytes()).map_err(IdentityError::Key)?;
        let entry = Entry::done("svid.issued", right.tenant(), right.actor(), id, request);
        let entry = entry.fact("kind", "jwt").fact("spiffe_id", name.to_string()).fact("jti", jti);
        let entry = entry.fact("audience", audience.to_vec());
        self.record(tx, entry.fact("expires_at", expires_at.to_string()))?;
        Ok(IssuedToken { id: name, token: Secret::new(token), expires_at })
    }

    /// The name of a workload that may have a document now, and when that ends.
    fn entitled(
        &self,
        tx: &ReadTx<'_>,
        (right, shown): (CredentialRight<'_>, Option<&Authenticated>),
        id: &PrincipalId,
        ttl: Duration,
    ) -> Result<(SpiffeId, Timestamp), IdentityError> {
        require_right(right, id)?;
        let tenant = right.tenant();
        let row = existing(tx, tenant, id)?;
        crate::identity::require_open_doors(tx, tenant)?;
        require_not_vouched(tx, tenant, id)?;
        let workload = tx.get::<Workloads>(&key_of(tenant, id))?.filter(|_| !row.disabled);
        let workload = workload.ok_or(IdentityError::NotAWorkload)?;
        require_ttl("ttl_seconds", ttl)?;
        let mut expires_at = self.now().after(ttl.min(Duration::from_secs(workload.ttl_max_secs)));
        if let (CredentialRight::Own(_), Some(shown)) = (right, shown) {
            let outlives = matches!(shown.credential(), Credential::ApiKey { .. });
            if !outlives && shown.principal().credential_epoch != row.credential_epoch {
                return Err(CredentialProblem::Revoked.into());
            }
            // Nothing outlives what it was asked for with.
            if let Credential::Token { expires_at: ends, .. } = shown.credential() {
                expires_at = expires_at.min(*ends);
            }
        }
        let whole = Timestamp::from_micros(expires_at.as_secs() * 1_000_000);
        Ok((SpiffeId::of_principal(self.trust_domain()?, tenant, id)?, whole))
    }

    /// Puts another authority in the place of one whose end comes near. The newest is looked at: the one that signs may have been
    /// replaced, and wait for its successor to be known.
    fn renew_authority(
        &self,
        tx: &mut WriteTx<'_>,
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        let signer = self.newest_key(tx, Purpose::Workloads)?;
        let Signer::Authority(authority) = &signer.signer else { return Ok(()) };
        let (_, ends) = cert::validity(authority.certificate_der()).map_err(IdentityError::Key)?;
        match ends.since(self.now()) < AUTHORITY_LEFT_MIN {
            true => self.turn_key(tx, Purpose::Workloads, (false, None), request).map(|_| ()),
            false => Ok(()),
        }
    }

    /// The bundle of this node's own trust domain, in the form of SPIFFE. Keys that are not there yet are made; those that do not open
    /// are left out.
    ///
    /// # Errors
    /// `NoTrustDomain`; `MasterKey` if none of the authorities or none of the keys of tokens opens.
    pub fn own_bundle(&self, tx: &mut WriteTx<'_>) -> Result<Value, IdentityError> {
        for purpose in [Purpose::Workloads, Purpose::WorkloadTokens] {
            self.active_row(tx, purpose)?;
        }
        if let Some(bundle) = self.known_bundle(tx)? {
            return Ok(bundle);
        }
        // There is a key of each, so that one of them does not open.
        for purpose in [Purpose::Workloads, Purpose::WorkloadTokens] {
            self.active_key(tx, purpose)?;
        }
        Err(IdentityError::NoTrustDomain)
    }

    /// As [`Identity::own_bundle`], if there are keys already.
    ///
    /// # Errors
    /// `NoTrustDomain`.
    pub fn known_bundle(&self, tx: &ReadTx<'_>) -> Result<Option<Value>, IdentityError> {
        self.trust_domain()?;
        let (mut authorities, mut tokens) = (Vec::new(), Vec::new());
        for purpose in [Purpose::Workloads, Purpose::WorkloadTokens] {
            for (id, key) in self.public_keys(tx, purpose)? {
                match key {
                    PublicKey::Authority(der) => authorities.push(der),
                    PublicKey::P256(key) => tokens.push((id, key)),
                    PublicKey::Ed25519(_) => {}
                }
            }
        }
        if authorities.is_empty() || tokens.is_empty() {
            return Ok(None);
        }
        // Grows with every change: keys come, and end at moments that are told in the rows.
        let sequence = self.keys_changed_at(tx, &[Purpose::Workloads, Purpose::WorkloadTokens])?;
        bundle_document(&authorities, &tokens, sequence, BUNDLE_REFRESH_SECS)
            .map(Some)
            .map_err(IdentityError::Key)
    }
}

fn workload(principal: PrincipalId, row: WorkloadRow) -> Workload {
    let WorkloadRow { ttl_max_secs, created_at } = row;
    Workload { principal, ttl_max: Duration::from_secs(ttl_max_secs), created_at }
}

fn require_ttl(field: &'static str, ttl: Duration) -> Result<(), IdentityError> {
    let max = SVID_TTL_MAX;
    match ttl.as_secs() == 0 || ttl > max {
        true => Err(InvalidInput::Ttl { field, max }.into()),
        false => Ok(()),
    }
}

/// As much of the name as a certificate has room for.
fn common_name(id: &PrincipalId) -> &str {
    &id.as_str()[..id.as_str().len().min(64)]
}
