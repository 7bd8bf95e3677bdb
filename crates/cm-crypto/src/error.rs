//! What can go wrong with keys, certificates and sealed bytes.

/// Why a cryptographic operation was refused.
///
/// No variant says more about secret input than its caller already knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// The text holds no PEM section of the wanted kind, or a damaged one.
    #[error("expected one PEM section `{0}`")]
    Pem(&'static str),
    /// The bytes are no key of the algorithm in use, or one that its library rejects.
    #[error("not a usable {0} key")]
    Key(&'static str),
    /// The signature was not made over this message by this key.
    #[error("the signature does not match")]
    Signature,
    /// The bytes are no X.509 certificate, or have others behind it.
    #[error("not a well-formed X.509 certificate")]
    Certificate,
    /// The bytes are no request for a certificate of an ECDSA P-256 key.
    #[error("not a certificate request (PKCS#10) for an ECDSA P-256 key")]
    CertificateRequest,
    /// The certificate was not made for the key that came with it.
    #[error("the certificate and the private key do not belong together")]
    KeyMismatch,
    /// The certificate may not issue others.
    #[error("the certificate is not one of a certificate authority")]
    NotAnAuthority,
    /// A name that a certificate should carry cannot be written in one.
    #[error("a name for the certificate contains characters that are not allowed there")]
    CertificateName,
    /// The sealed bytes were altered, or sealed under another key or for another purpose.
    #[error("the sealed bytes were altered or sealed for another purpose")]
    Sealed,
    /// The token is no compact JWS in the one form that is accepted.
    #[error("not a signed token of the expected type")]
    Token,
    /// The token names a signer that is not among the given keys.
    #[error("the token was signed by a key that is not trusted")]
    UntrustedSigner,
    /// The token, or certificate, is of another time than the present.
    #[error("expired, or not valid yet")]
    Expired,
    /// The token is for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// It vouches for nobody of the trust domain whose bundle it was judged by.
    #[error("not a document of exactly one workload of that trust domain")]
    Workload,
    /// The bytes are no trust bundle in the form of SPIFFE, are too many, or hold no usable authority.
    #[error("not a trust bundle with a usable authority")]
    TrustBundle,
    /// The text is no password hash of a form that is verified.
    #[error("not a password hash that can be verified: neither argon2id nor PBKDF2 of the earlier service")]
    PasswordHash,
}
