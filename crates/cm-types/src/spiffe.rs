//! How workloads are named towards others: SPIFFE ids (the SPIFFE-ID standard, sections 2 and 3).
//!
//! `spiffe://DOMAIN/PATH`: the trust domain says by whose authority, the path which of its workloads. What is accepted is what the
//! standard's own libraries accept, so that two of them never read one text in two ways: no escapes, no empty or dotted segments,
//! nothing in upper case before the path, no port, no query.

use serde::{Deserialize, Serialize};

use crate::{PrincipalId, TenantId};

const SCHEME: &str = "spiffe://";
/// Longest id, in bytes.
pub const SPIFFE_ID_LEN_MAX: usize = 2048;
/// Longest name of a trust domain, in bytes.
pub const TRUST_DOMAIN_LEN_MAX: usize = 255;

/// Why a text is no SPIFFE id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpiffeId {
    /// No name of a trust domain.
    #[error("a trust domain has 1 to {TRUST_DOMAIN_LEN_MAX} lower-case letters, digits and `.-_`")]
    TrustDomain,
    /// No path.
    #[error(
        "the path of a SPIFFE id has segments of letters, digits and `.-_`, none of which is empty, `.` or `..`"
    )]
    Path,
    /// Something else than `spiffe://DOMAIN/PATH`, or too long.
    #[error("expected spiffe://DOMAIN/PATH, at most {SPIFFE_ID_LEN_MAX} bytes")]
    Form,
}

/// The name of a trust domain: whose authority vouches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustDomain(String);

impl TrustDomain {
    /// Checks the text and takes it over.
    ///
    /// # Errors
    /// [`InvalidSpiffeId::TrustDomain`].
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidSpiffeId> {
        let text = text.into();
        let fits = (1..=TRUST_DOMAIN_LEN_MAX).contains(&text.len());
        let all = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
        match fits && all {
            true => Ok(Self(text)),
            false => Err(InvalidSpiffeId::TrustDomain),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TrustDomain {
    type Error = InvalidSpiffeId;

    fn try_from(text: String) -> Result<Self, InvalidSpiffeId> {
        Self::parse(text)
    }
}

impl From<TrustDomain> for String {
    fn from(domain: TrustDomain) -> String {
        domain.0
    }
}

/// The id of a workload, with a path, or of a trust domain itself, without one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeId {
    domain: TrustDomain,
    /// Empty, or segments with `/` before each.
    path: String,
}

impl SpiffeId {
    /// Reads an id.
    ///
    /// # Errors
    /// [`InvalidSpiffeId`].
    pub fn parse(text: &str) -> Result<Self, InvalidSpiffeId> {
        let rest = text.strip_prefix(SCHEME).filter(|_| text.len() <= SPIFFE_ID_LEN_MAX);
        let rest = rest.ok_or(InvalidSpiffeId::Form)?;
        let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let domain = TrustDomain::parse(domain)?;
        match path.is_empty() || path[1..].split('/').all(is_segment) {
            true => Ok(Self { domain, path: path.to_owned() }),
            false => Err(InvalidSpiffeId::Path),
        }
    }

    /// The id of a principal: `spiffe://DOMAIN/tenant/TENANT/principal/PRINCIPAL`. Two principals never have the same.
    ///
    /// # Errors
    /// [`InvalidSpiffeId::Path`] for names with characters that these ids have no place for, such as `:` and `@`: they would have
    /// to be escaped, which the standard forbids.
    pub fn of_principal(
        domain: &TrustDomain,
        tenant: &TenantId,
        principal: &PrincipalId,
    ) -> Result<Self, InvalidSpiffeId> {
        let (tenant, principal) = (tenant.as_str(), principal.as_str());
        match is_segment(tenant) && is_segment(principal) {
            true => {
                Ok(Self { domain: domain.clone(), path: format!("/tenant/{tenant}/principal/{principal}") })
            }
            false => Err(InvalidSpiffeId::Path),
        }
    }

    /// The trust domain.
    pub fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// The path: empty, or beginning with `/`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

impl std::fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{SCHEME}{}{}", self.domain, self.path)
    }
}

impl TryFrom<String> for SpiffeId {
    type Error = InvalidSpiffeId;

    fn try_from(text: String) -> Result<Self, InvalidSpiffeId> {
        Self::parse(&text)
    }
}

impl From<SpiffeId> for String {
    fn from(id: SpiffeId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_they_are_written() {
        for text in [
            "spiffe://example.org",
            "spiffe://example.org/a",
            "spiffe://mesh_1.example-2/tenant/default/principal/Web.1",
        ] {
            assert_eq!(SpiffeId::parse(text).unwrap().to_string(), text);
        }
        let (domain, tenant) = (TrustDomain::parse("a.b").unwrap(), TenantId::parse("t").unwrap());
        let of = |name: &str| SpiffeId::of_principal(&domain, &tenant, &PrincipalId::parse(name).unwrap());
        let id = of("web-1").unwrap();
        assert_eq!(id.to_string(), "spiffe://a.b/tenant/t/principal/web-1");
        assert_eq!((id.domain(), id.path()), (&domain, "/tenant/t/principal/web-1"));
        assert_eq!(SpiffeId::parse(&id.to_string()), Ok(id));
        for name in ["oidc:ab", "me@home", "a+b"] {
            assert_eq!(of(name), Err(InvalidSpiffeId::Path), "{name}");
        }
    }

    #[test]
    fn what_others_could_read_otherwise_is_refused() {
        for bad in [
            "",
            "example.org/a",
            "SPIFFE://example.org/a",
            "https://example.org/a",
            "spiffe:///a",
            "spiffe://Example.org/a",
            "spiffe://example.org:443/a",
            "spiffe://me@example.org/a",
            "spiffe://example.org/",
            "spiffe://example.org/a/",
            "spiffe://example.org//a",
            "spiffe://example.org/a/../b",
            "spiffe://example.org/./b",
            "spiffe://example.org/a%2fb",
            "spiffe://example.org/a?b",
            "spiffe://example.org/a#b",
            "spiffe://example.org/\u{e4}",
            "spiffe://b\u{fc}ro/a",
            &format!("spiffe://{}/a", "a".repeat(256)),
            &format!("spiffe://a/{}", "a".repeat(2048)),
        ] {
            assert!(SpiffeId::parse(bad).is_err(), "{bad}");
        }
    }
}
