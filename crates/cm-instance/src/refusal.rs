//! What an instance refused for the sake of security, as it tells the launcher, which writes it down.
//!
//! It is told so that somebody notices, and tells nothing of what was sent: a name that a client spelled is told only if
//! the policy names that file.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::GuestPath;

/// Something that was refused, possibly several times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// What.
    pub kind: RefusalKind,
    /// The number of the identity that tried; `None` for whoever did not get that far.
    #[serde(default)]
    pub identity: Option<u64>,
    /// The file, if the policy names it.
    #[serde(default)]
    pub file: Option<GuestPath>,
    /// Where the connection came from.
    #[serde(default)]
    pub peer: Option<IpAddr>,
    /// How often, this time included, since the same was last told.
    pub count: u64,
}

/// What can be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// A client showed no certificate.
    NoCertificate,
    /// A client showed a certificate that the policy does not hold, whatever name stands in it.
    UnknownCertificate,
    /// A client showed a certificate of the policy outside of its validity.
    CertificateNotValid,
    /// A client showed a certificate of the policy without having its key.
    StolenCertificate,
    /// What was sent is no handshake that can succeed.
    Handshake,
    /// A handshake or a request took too long to arrive.
    TooSlow,
    /// A message longer than the limit was announced.
    OversizeMessage,
    /// What was sent is no message.
    MalformedMessage,
    /// An identity asked for more connections than its share.
    TooManyConnections,
    /// A session was named that is not the client's.
    UnknownSession,
    /// An identity asked for what the policy does not allow it.
    Right,
    /// A name leads out of the instance's files, as with `..`.
    Path,
    /// The bytes of a file are not those that the policy demands.
    Hash,
    /// A sealed file does not open under the key that was released for it.
    Seal,
}

impl RefusalKind {
    /// Its name in messages and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoCertificate => "no-certificate",
            Self::UnknownCertificate => "unknown-certificate",
            Self::CertificateNotValid => "certificate-not-valid",
            Self::StolenCertificate => "stolen-certificate",
            Self::Handshake => "handshake",
            Self::TooSlow => "too-slow",
            Self::OversizeMessage => "oversize-message",
            Self::MalformedMessage => "malformed-message",
            Self::TooManyConnections => "too-many-connections",
            Self::UnknownSession => "unknown-session",
            Self::Right => "right",
            Self::Path => "path",
            Self::Hash => "hash",
            Self::Seal => "seal",
        }
    }
}
