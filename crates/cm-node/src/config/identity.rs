//! Who the node says it is, and under what it keeps its signing keys.

use std::path::PathBuf;

use cm_crypto::Secret;
use cm_types::TrustDomain;
use serde::Deserialize;

use super::{ConfigError, wrong};

/// `[identity]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityToml {
    /// The URL under which the node is reached.
    pub issuer: Option<String>,
    /// A file with the key under which signing keys are kept.
    pub master_key: Option<PathBuf>,
    /// The name of the trust domain of the node's workloads.
    pub trust_domain: Option<String>,
}

/// Who the node says it is, and under what it keeps its signing keys.
#[derive(Clone, Debug, Default)]
pub struct IdentitySettings {
    /// What tokens name as their issuer; the id of the node's key if there is none.
    pub issuer: Option<String>,
    /// The key under which signing keys are kept; derived from the node's secret if there is none.
    pub master_key: Option<Secret<[u8; 32]>>,
    /// In whose name documents of workloads are issued; without it there are none.
    pub trust_domain: Option<TrustDomain>,
}

pub(super) fn settings(identity: IdentityToml) -> Result<IdentitySettings, ConfigError> {
    let IdentityToml { issuer, master_key, trust_domain } = identity;
    if let Some(issuer) = &issuer {
        let rest = issuer.strip_prefix("https://").or_else(|| issuer.strip_prefix("http://"));
        let is_url = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#', ' ']));
        if !is_url {
            return Err(wrong("identity.issuer", format!("`{issuer}` is no URL without query and fragment")));
        }
    }
    let master_key = match master_key {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(&path).map(Secret::new).map_err(|error| {
                wrong("identity.master_key", format!("{} cannot be read: {error}", path.display()))
            })?;
            let mut key = [0; 32];
            hex::decode_to_slice(text.expose().trim(), &mut key).map_err(|_| {
                wrong(
                    "identity.master_key",
                    format!("{} does not hold 64 hexadecimal digits", path.display()),
                )
            })?;
            Some(Secret::new(key))
        }
    };
    let trust_domain = trust_domain
        .map(TrustDomain::parse)
        .transpose()
        .map_err(|error| wrong("identity.trust_domain", error.to_string()))?;
    Ok(IdentitySettings { issuer, master_key, trust_domain })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_urls_and_keys_are_keys() {
        let of = |issuer: &str| {
            settings(IdentityToml { issuer: Some(issuer.to_owned()), ..IdentityToml::default() }).is_ok()
        };
        assert!(of("https://node.example") && of("http://127.0.0.1:19000"));
        assert!(!of("node.example") && !of("https://") && !of("https://a?b"));
        let domain = |name: &str| {
            let trust_domain = Some(name.to_owned());
            settings(IdentityToml { trust_domain, ..IdentityToml::default() }).map(|found| found.trust_domain)
        };
        assert_eq!(domain("mesh.example").unwrap().unwrap().as_str(), "mesh.example");
        assert!(domain("Mesh.example").is_err() && domain("spiffe://mesh.example").is_err());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let with = || settings(IdentityToml { master_key: Some(path.clone()), ..IdentityToml::default() });
        assert!(with().is_err());
        std::fs::write(&path, "00").unwrap();
        assert!(with().is_err());
        std::fs::write(&path, format!("{}\n", "ab".repeat(32))).unwrap();
        let found = with().unwrap();
        assert_eq!(found.master_key.as_ref().unwrap().expose(), &[0xab; 32]);
        assert!(!format!("{found:?}").contains("171"));
    }
}
