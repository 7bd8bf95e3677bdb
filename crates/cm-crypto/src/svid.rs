//! What workloads show to each other: SVIDs of SPIFFE, judged by the bundle of a trust domain.
//!
//! An X.509-SVID is a certificate whose only URI is the workload's id; a JWT-SVID is a token whose subject it is, for one audience or
//! a few. Both are short-lived and cannot be revoked. A [`TrustBundle`] holds the public keys of one trust domain: what those keys
//! signed is believed about names of that domain and no other. (The standards X509-SVID, JWT-SVID, SPIFFE Trust Domain and Bundle.)
//!
//! Paths of certificates are verified by `webpki`, tokens by [`crate::foreign`]; the rules of SPIFFE on top are here.

mod bundle;

use std::time::Duration;

use cm_types::{SpiffeId, Timestamp, TrustDomain};
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::{Map, Value};
use webpki::aws_lc_rs as accepted;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::cert;
use crate::foreign::ForeignAlgorithm;
use crate::{CryptoError, jws};

pub use bundle::{AUTHORITIES_MAX, BUNDLE_LEN_MAX, TrustBundle, bundle_document};

/// Longest chain of certificates that is looked at.
pub const CHAIN_MAX: usize = 8;
/// Longest audience of a token, in bytes.
pub const AUDIENCE_LEN_MAX: usize = 512;
/// How far others' clocks may be ahead of ours.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);
/// With which algorithms tokens may be signed (JWT-SVID, section 2.1), as far as they are verified here.
const TOKEN_ALGORITHMS: [ForeignAlgorithm; 4] =
    [ForeignAlgorithm::Es256, ForeignAlgorithm::Es384, ForeignAlgorithm::Rs256, ForeignAlgorithm::Ps256];
/// With which algorithms certificates may be signed.
const CERTIFICATE_ALGORITHMS: &[&dyn rustls_pki_types::SignatureVerificationAlgorithm] = &[
    accepted::ECDSA_P256_SHA256,
    accepted::ECDSA_P256_SHA384,
    accepted::ECDSA_P384_SHA256,
    accepted::ECDSA_P384_SHA384,
    accepted::ED25519,
    accepted::RSA_PKCS1_2048_8192_SHA256,
    accepted::RSA_PKCS1_2048_8192_SHA384,
    accepted::RSA_PKCS1_2048_8192_SHA512,
];

/// Whom a document vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The workload.
    pub id: SpiffeId,
    /// When the document ends.
    pub expires_at: Timestamp,
}

impl TrustBundle {
    /// Whom a chain of certificates in DER, the leaf first, vouches for in this bundle's trust domain. That whoever shows it holds
    /// the key is proven in a handshake, not here.
    ///
    /// # Errors
    /// [`CryptoError::UntrustedSigner`] for one that none of the authorities issued, which may be in a newer bundle;
    /// [`CryptoError::Expired`]; [`CryptoError::Workload`] for another domain, and a certificate that is no X.509-SVID of a workload;
    /// [`CryptoError::Certificate`].
    pub fn verify_certificates(
        &self,
        domain: &TrustDomain,
        chain: &[Vec<u8>],
        now: Timestamp,
    ) -> Result<Workload, CryptoError> {
        let (leaf, between) = chain.split_first().ok_or(CryptoError::Certificate)?;
        if chain.len() > CHAIN_MAX {
            return Err(CryptoError::Certificate);
        }
        let id = workload_of(leaf)?;
        if id.domain() != domain {
            return Err(CryptoError::Workload);
        }
        // Of an anchor, the verifier looks at no dates.
        let is_valid = |der: &[u8]| cert::validity(der).is_ok_and(|(from, to)| from <= now && now < to);
        let authorities = self.authorities().iter().filter(|der| is_valid(der));
        let authorities: Vec<CertificateDer<'_>> =
            authorities.map(|der| CertificateDer::from(der.as_slice())).collect();
        let anchors: Vec<_> =
            authorities.iter().filter_map(|der| anchor_from_trusted_cert(der).ok()).collect();
        let between: Vec<CertificateDer<'_>> =
            between.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let der = CertificateDer::from(leaf.as_slice());
        let certificate = EndEntityCert::try_from(&der).map_err(|_| CryptoError::Certificate)?;
        let secs = u64::try_from(now.as_secs()).unwrap_or(0);
        let moment = UnixTime::since_unix_epoch(Duration::from_secs(secs));
        let usage = KeyUsage::client_auth();
        certificate
            .verify_for_usage(CERTIFICATE_ALGORITHMS, &anchors, &between, moment, usage, None, None)
            .map_err(|error| match error {
            webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => CryptoError::Expired,
            _ => CryptoError::UntrustedSigner,
        })?;
        Ok(Workload { id, expires_at: cert::validity(leaf)?.1 })
    }

    /// Whom a token vouches for in this bundle's trust domain, towards this audience.
    ///
    /// # Errors
    /// [`CryptoError::UntrustedSigner`] for one of a key that may be in a newer bundle; [`CryptoError::Expired`];
    /// [`CryptoError::Audience`]; [`CryptoError::Workload`]; [`CryptoError::Signature`]; [`CryptoError::Token`].
    pub fn verify_token(
        &self,
        domain: &TrustDomain,
        token: &str,
        audience: &str,
        now: Timestamp,
    ) -> Result<Workload, CryptoError> {
        let keys = self.token_keys().ok_or(CryptoError::UntrustedSigner)?;
        let claims = keys.verify(token, &TOKEN_ALGORITHMS)?;
        let subject = claims.get("sub").and_then(Value::as_str).ok_or(CryptoError::Workload)?;
        let id = SpiffeId::parse(subject).map_err(|_| CryptoError::Workload)?;
        if id.domain() != domain || id.path().is_empty() {
            return Err(CryptoError::Workload);
        }
        if !is_for(&claims, audience) {
            return Err(CryptoError::Audience);
        }
        let moment = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(secs) if (0.0..=1e11).contains(&secs) => {
                    Ok(Some(Timestamp::from_micros((secs * 1e6) as i64)))
                }
                _ => Err(CryptoError::Token),
            },
        };
        let expires_at = moment("exp")?.ok_or(CryptoError::Token)?;
        let begins_at = moment("nbf")?.max(moment("iat")?);
        if now >= expires_at || begins_at.is_some_and(|begins| begins.since(now) > CLOCK_SKEW_MAX) {
            return Err(CryptoError::Expired);
        }
        Ok(Workload { id, expires_at })
    }
}

/// The trust domain that a document claims, without any proof: to know by whose bundle to judge it. Of certificates the leaf is
/// enough.
///
/// # Errors
/// [`CryptoError::Workload`], [`CryptoError::Certificate`].
pub fn claimed_domain(leaf: &[u8]) -> Result<TrustDomain, CryptoError> {
    workload_of(leaf).map(|id| id.domain().clone())
}

/// As [`claimed_domain`], of a token.
///
/// # Errors
/// [`CryptoError::Token`], [`CryptoError::Workload`].
pub fn claimed_domain_of_token(token: &str) -> Result<TrustDomain, CryptoError> {
    let claims: Map<String, Value> = jws::claimed(token).ok_or(CryptoError::Token)?;
    let subject = claims.get("sub").and_then(Value::as_str).ok_or(CryptoError::Workload)?;
    let id = SpiffeId::parse(subject).map_err(|_| CryptoError::Workload)?;
    Ok(id.domain().clone())
}

/// Whose certificate it claims to be, if it has the form of one of a workload (X509-SVID, section 4 and 5.2).
fn workload_of(leaf: &[u8]) -> Result<SpiffeId, CryptoError> {
    let uris = cert::uris(leaf)?;
    let [uri] = uris.as_slice() else { return Err(CryptoError::Workload) };
    let id = SpiffeId::parse(uri).map_err(|_| CryptoError::Workload)?;
    if id.path().is_empty() || cert::is_authority(leaf)? || !cert::signs_only(leaf)? {
        return Err(CryptoError::Workload);
    }
    Ok(id)
}

fn is_for(claims: &Map<String, Value>, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(found)) => found == audience,
        Some(Value::Array(all)) => all.iter().any(|found| found.as_str() == Some(audience)),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
