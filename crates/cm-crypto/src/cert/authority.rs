//! Making certificates.

use std::net::IpAddr;
use std::time::Duration;

use cm_types::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyUsagePurpose, PublicKeyData as _, SanType, SubjectPublicKeyInfo,
};
use time::OffsetDateTime;

use super::inspect;
use super::key::{PRIVATE_KEY, TlsKey};
use super::request::CERTIFICATE_REQUEST;
use crate::{CryptoError, Secret, pem};

/// How far before the present a certificate begins to hold, for peers whose clocks are behind.
const BACKDATED: Duration = Duration::from_secs(5 * 60);
/// Longest common name, in bytes: `ub-common-name` of RFC 5280 appendix A.
const COMMON_NAME_LEN_MAX: usize = 64;

/// What a certificate shall say. It will serve both sides of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSpec {
    /// The subject's common name, 1 to 64 bytes. For people; peers check the names below.
    pub common_name: String,
    /// The subject's organisation, for people too.
    pub organization: Option<String>,
    /// The part of the organisation.
    pub organizational_unit: Option<String>,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// IP addresses.
    pub ip_addresses: Vec<IpAddr>,
    /// URIs, for example a SPIFFE identity.
    pub uris: Vec<String>,
    /// What no standard field has a place for.
    pub extensions: Vec<Extension>,
    /// The moment of issue. The certificate holds from five minutes before.
    pub now: Timestamp,
    /// For how long it holds after `now`; whole seconds.
    pub valid_for: Duration,
}

/// An extension of a certificate. It is not critical: whoever does not know it passes over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The arcs of its object identifier.
    pub oid: &'static [u64],
    /// Its value, which need not be DER.
    pub content: Vec<u8>,
}

impl CertificateSpec {
    /// A certificate without any name but the common one.
    pub fn new(common_name: impl Into<String>, now: Timestamp, valid_for: Duration) -> Self {
        Self {
            common_name: common_name.into(),
            organization: None,
            organizational_unit: None,
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            uris: Vec::new(),
            extensions: Vec::new(),
            now,
            valid_for,
        }
    }

    fn params(&self) -> Result<CertificateParams, CryptoError> {
        if self.common_name.is_empty() || self.common_name.len() > COMMON_NAME_LEN_MAX {
            return Err(CryptoError::CertificateName);
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = &self.organization {
            params.distinguished_name.push(DnType::OrganizationName, name.as_str());
        }
        if let Some(name) = &self.organizational_unit {
            params.distinguished_name.push(DnType::OrganizationalUnitName, name.as_str());
        }
        params.distinguished_name.push(DnType::CommonName, self.common_name.as_str());
        for name in &self.dns_names {
            let name = name.as_str().try_into().map_err(|_| CryptoError::CertificateName)?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        for uri in &self.uris {
            let uri = uri.as_str().try_into().map_err(|_| CryptoError::CertificateName)?;
            params.subject_alt_names.push(SanType::URI(uri));
        }
        let extensions = self.extensions.iter();
        params.custom_extensions = extensions
            .map(|extension| CustomExtension::from_oid_content(extension.oid, extension.content.clone()))
            .collect();
        params.subject_alt_names.extend(self.ip_addresses.iter().copied().map(SanType::IpAddress));
        let begin_secs = self.now.as_secs().saturating_sub_unsigned(BACKDATED.as_secs());
        params.not_before = moment(begin_secs.max(0));
        params.not_after = moment(self.now.after(self.valid_for).as_secs());
        Ok(params)
    }

    fn leaf_params(&self) -> Result<CertificateParams, CryptoError> {
        let mut params = self.params()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok(params)
    }
}

/// Whole seconds, as X.509 knows no finer time.
fn moment(secs: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(secs).expect("a Timestamp lies between the years 1970 and 9999")
}

/// A certificate together with the private key that was made for it.
#[derive(Clone, Debug)]
pub struct IssuedCertificate {
    /// The certificate in DER.
    pub certificate_der: Vec<u8>,
    /// The private key as PKCS#8 in DER.
    pub private_key_der: Secret<Vec<u8>>,
}

impl IssuedCertificate {
    fn new(certificate: &rcgen::Certificate, key: &TlsKey) -> Self {
        Self { certificate_der: certificate.der().to_vec(), private_key_der: key.to_pkcs8_der() }
    }

    /// The certificate in PEM.
    pub fn certificate_pem(&self) -> String {
        inspect::der_to_pem(&self.certificate_der)
    }

    /// The private key as PKCS#8 in PEM.
    pub fn private_key_pem(&self) -> Secret<String> {
        Secret::new(pem::encode(PRIVATE_KEY, self.private_key_der.expose()))
    }
}

/// A certificate authority of one level: it issues leaves, no further authorities.
pub struct CertificateAuthority {
    issuer: Issuer<'static, TlsKey>,
    certificate_der: Vec<u8>,
}

impl CertificateAuthority {
    /// A new authority with a new key.
    pub fn create(common_name: &str, now: Timestamp, valid_for: Duration) -> Result<Self, CryptoError> {
        let mut params = CertificateSpec::new(common_name, now, valid_for).params()?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let key = TlsKey::generate()?;
        let certificate = params.self_signed(&key).map_err(|_| CryptoError::CertificateName)?;
        let certificate_der = certificate.der().to_vec();
        Ok(Self { issuer: Issuer::new(params, key), certificate_der })
    }

    /// An authority read back from its certificate and PKCS#8 key, which must belong together.
    pub fn from_pem(certificate_pem: &str, private_key_pem: &str) -> Result<Self, CryptoError> {
        let certificate_der = inspect::pem_to_der(certificate_pem)?;
        let key = TlsKey::from_pkcs8_pem(private_key_pem)?;
        if inspect::spki_der(&certificate_der)? != key.subject_public_key_info() {
            return Err(CryptoError::KeyMismatch);
        }
        if !inspect::is_authority(&certificate_der)? {
            return Err(CryptoError::NotAnAuthority);
        }
        let issuer = Issuer::from_ca_cert_der(&certificate_der.as_slice().into(), key)
            .map_err(|_| CryptoError::Certificate)?;
        Ok(Self { issuer, certificate_der })
    }

    /// The authority's certificate in DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate_der
    }

    /// The authority's certificate in PEM.
    pub fn certificate_pem(&self) -> String {
        inspect::der_to_pem(&self.certificate_der)
    }

    /// The authority's private key as PKCS#8 in PEM, to be kept in a file.
    pub fn private_key_pem(&self) -> Secret<String> {
        Secret::new(pem::encode(PRIVATE_KEY, self.issuer.key().to_pkcs8_der().expose()))
    }

    /// Issues a leaf certificate for a new key.
    pub fn issue(&self, spec: &CertificateSpec) -> Result<IssuedCertificate, CryptoError> {
        let mut params = spec.leaf_params()?;
        params.use_authority_key_identifier_extension = true;
        let key = TlsKey::generate()?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(|_| CryptoError::CertificateName)?;
        Ok(IssuedCertificate::new(&certificate, &key))
    }

    /// Issues a leaf certificate, in DER, for a key that somebody else holds, given as SubjectPublicKeyInfo in DER. That the
    /// asker holds it is for the asker's peers to prove, in each handshake.
    pub fn issue_for(&self, spki_der: &[u8], spec: &CertificateSpec) -> Result<Vec<u8>, CryptoError> {
        let mut params = spec.leaf_params()?;
        params.use_authority_key_identifier_extension = true;
        let key = SubjectPublicKeyInfo::from_der(spki_der).map_err(|_| CryptoError::Key("public"))?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(|_| CryptoError::CertificateName)?;
        Ok(certificate.der().to_vec())
    }
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fingerprint = inspect::fingerprint(&self.certificate_der);
        f.debug_struct("CertificateAuthority").field("fingerprint", &fingerprint).finish_non_exhaustive()
    }
}

/// A new key for TLS, without a certificate yet.
#[derive(Clone, Debug)]
pub struct GeneratedKey {
    /// The private key as PKCS#8 in DER.
    pub private_key_der: Secret<Vec<u8>>,
    /// The public key as SubjectPublicKeyInfo in DER.
    pub spki_der: Vec<u8>,
}

impl GeneratedKey {
    /// The private key as PKCS#8 in PEM.
    pub fn private_key_pem(&self) -> Secret<String> {
        Secret::new(pem::encode(PRIVATE_KEY, self.private_key_der.expose()))
    }
}

/// Makes a key for TLS whose certificate somebody else is going to issue.
pub fn generate_key() -> Result<GeneratedKey, CryptoError> {
    let key = TlsKey::generate()?;
    Ok(GeneratedKey { private_key_der: key.to_pkcs8_der(), spki_der: key.subject_public_key_info() })
}

/// Makes a key for TLS, and a request in PEM (PKCS#10) by which its holder has it certified. Names are for the issuer to choose, so
/// there are none in it.
///
/// # Errors
/// [`CryptoError::Key`] if the library refuses.
pub fn generate_request() -> Result<(GeneratedKey, String), CryptoError> {
    let key = TlsKey::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(|_| CryptoError::Key("ECDSA P-256 private"))?;
    let text = pem::encode(CERTIFICATE_REQUEST, request.der());
    Ok((GeneratedKey { private_key_der: key.to_pkcs8_der(), spki_der: key.subject_public_key_info() }, text))
}

/// A certificate for a new key that vouches for nothing but the key: peers pin it.
pub fn self_signed(spec: &CertificateSpec) -> Result<IssuedCertificate, CryptoError> {
    let params = spec.leaf_params()?;
    let key = TlsKey::generate()?;
    let certificate = params.self_signed(&key).map_err(|_| CryptoError::CertificateName)?;
    Ok(IssuedCertificate::new(&certificate, &key))
}

/// The identity certificate by which a person or program is known to confidential instances.
pub fn generate_identity(
    common_name: &str,
    now: Timestamp,
    valid_for: Duration,
) -> Result<IssuedCertificate, CryptoError> {
    self_signed(&CertificateSpec::new(common_name, now, valid_for))
}
