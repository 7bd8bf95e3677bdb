//! Who the node says it is, and under what it keeps its signing keys.

use cm_crypto::Secret;
use cm_identity::{InvalidRelyingParty, RelyingParty};
use cm_types::TrustDomain;
use serde::Deserialize;

use super::{ConfigError, wrong};

/// `[identity]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityToml {
    /// The URL under which the node is reached.
    pub issuer: Option<String>,
    /// The key under which signing keys are kept, or a file with it. Which of them is seen by looking, hence neither is shown.
    pub master_key: Option<Secret<String>>,
    /// The name of the trust domain of the node's workloads.
    pub trust_domain: Option<String>,
    /// Passkeys of people.
    pub passkeys: PasskeysToml,
}

/// `[identity.passkeys]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PasskeysToml {
    /// The origins of the node's pages, as browsers know them; `off` for no passkeys.
    pub origins: Option<Vec<String>>,
    /// What browsers know the node by.
    pub rp_id: Option<String>,
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
    /// From where passkeys are asked for.
    pub passkeys: PasskeySettings,
}

/// From where passkeys are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PasskeySettings {
    /// From the node's own pages on `localhost`.
    #[default]
    Local,
    /// There are none.
    Off,
    /// From pages of these origins. They are those of a [`RelyingParty`].
    Of {
        /// The origins.
        origins: Vec<String>,
        /// What browsers know the node by; the host of the first origin if there is none.
        id: Option<String>,
    },
}

impl PasskeySettings {
    /// As whom a node is known to browsers whose API and console listen on these ports. `None` if it has no passkeys.
    pub fn relying_party(&self, ports: impl Iterator<Item = u16>) -> Option<RelyingParty> {
        match self {
            PasskeySettings::Off => None,
            PasskeySettings::Of { origins, id } => RelyingParty::new(id.as_deref(), origins).ok(),
            PasskeySettings::Local => {
                let origins: Vec<String> = ports.map(local_origin).collect();
                RelyingParty::new(None, &origins).ok()
            }
        }
    }
}

/// As browsers write it: without the port that every scheme has.
fn local_origin(port: u16) -> String {
    match port {
        80 => "http://localhost".to_owned(),
        port => format!("http://localhost:{port}"),
    }
}

fn passkeys(written: PasskeysToml) -> Result<PasskeySettings, ConfigError> {
    let PasskeysToml { origins, rp_id: id } = written;
    let Some(origins) = origins else {
        return match id {
            None => Ok(PasskeySettings::Local),
            Some(_) => {
                Err(wrong("identity.passkeys.rp_id", "says nothing without `identity.passkeys.origins`"))
            }
        };
    };
    if origins == ["off"] {
        return Ok(PasskeySettings::Off);
    }
    let key = |error: &InvalidRelyingParty| match error {
        InvalidRelyingParty::Id { .. } => "identity.passkeys.rp_id",
        _ => "identity.passkeys.origins",
    };
    RelyingParty::new(id.as_deref(), &origins).map_err(|error| wrong(key(&error), &error))?;
    Ok(PasskeySettings::Of { origins, id })
}

pub(super) fn settings(identity: IdentityToml) -> Result<IdentitySettings, ConfigError> {
    let IdentityToml { issuer, master_key, trust_domain, passkeys: passkeys_toml } = identity;
    let passkeys = passkeys(passkeys_toml)?;
    if let Some(issuer) = &issuer {
        let rest = issuer.strip_prefix("https://").or_else(|| issuer.strip_prefix("http://"));
        let is_url = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#', ' ']));
        if !is_url {
            return Err(wrong("identity.issuer", format!("`{issuer}` is no URL without query and fragment")));
        }
    }
    let master_key = master_key.map(|written| read_master_key(&written)).transpose()?;
    let trust_domain = trust_domain
        .map(TrustDomain::parse)
        .transpose()
        .map_err(|error| wrong("identity.trust_domain", error.to_string()))?;
    Ok(IdentitySettings { issuer, master_key, trust_domain, passkeys })
}

/// The key itself, or what is in the file of this name. No error shows what was written: it may be a key with a typing error.
fn read_master_key(written: &Secret<String>) -> Result<Secret<[u8; 32]>, ConfigError> {
    if let Some(key) = key_of(written) {
        return Ok(key);
    }
    let refused = |what: &str| {
        wrong("identity.master_key", format!("expected 64 hexadecimal digits, or a file with them; {what}"))
    };
    let text = std::fs::read_to_string(written.expose()).map(Secret::new).map_err(|error| {
        // The kind alone: other words of the system might repeat the name.
        refused(&format!("as the name of a file it cannot be read ({})", error.kind()))
    })?;
    key_of(&text).ok_or_else(|| refused("the file holds something else"))
}

fn key_of(text: &Secret<String>) -> Option<Secret<[u8; 32]>> {
    let bytes = Secret::new(hex::decode(text.expose().trim()).ok()?);
    <[u8; 32]>::try_from(bytes.expose().as_slice()).ok().map(Secret::new)
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
        let of = |written: &str| {
            let master_key = Some(Secret::new(written.to_owned()));
            settings(IdentityToml { master_key, ..IdentityToml::default() })
        };
        let with = || of(path.to_str().unwrap());
        assert!(with().is_err());
        std::fs::write(&path, "00").unwrap();
        assert!(with().is_err());
        std::fs::write(&path, format!("{}\n", "ab".repeat(32))).unwrap();
        for found in [with().unwrap(), of(&"ab".repeat(32)).unwrap(), of(&"AB".repeat(32)).unwrap()] {
            assert_eq!(found.master_key.as_ref().unwrap().expose(), &[0xab; 32]);
            assert!(!format!("{found:?}").contains("171"));
        }
    }

    #[test]
    fn no_error_shows_what_may_be_the_master_key() {
        for nearly in ["ab".repeat(31), "ab".repeat(33), format!("{}xy", "ab".repeat(31))] {
            let written =
                || IdentityToml { master_key: Some(nearly.clone().into()), ..IdentityToml::default() };
            assert!(!format!("{:?}", written()).contains("abab"));
            let error = settings(written()).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(
                shown.contains("identity.master_key") && shown.contains("64 hexadecimal digits"),
                "{shown}"
            );
            assert!(!shown.contains("abab"), "{shown}");
        }
    }

    #[test]
    fn passkeys_are_local_unless_told() {
        let of = |origins: Option<&[&str]>, id: Option<&str>| {
            let origins = origins.map(|texts| texts.iter().map(|&text| text.to_owned()).collect());
            passkeys(PasskeysToml { origins, rp_id: id.map(str::to_owned) })
        };
        let local = of(None, None).unwrap();
        assert_eq!(local, PasskeySettings::Local);
        let party = local.relying_party([19000, 80].into_iter()).unwrap();
        assert_eq!((party.id(), party.origins()[0].as_str()), ("localhost", "http://localhost:19000"));
        assert_eq!(party.origins()[1], "http://localhost");
        assert!(local.relying_party(std::iter::empty()).is_none(), "a node without pages asks nobody");
        assert!(of(Some(&["off"]), None).unwrap().relying_party([19000].into_iter()).is_none());
        let named = of(Some(&["https://mesh.example.com"]), Some("example.com")).unwrap();
        assert_eq!(named.relying_party([19000].into_iter()).unwrap().id(), "example.com");
        for (origins, id, key) in [
            (None, Some("example.com"), "identity.passkeys.rp_id"),
            (Some(&["https://mesh.example.com"][..]), Some("other.com"), "identity.passkeys.rp_id"),
            (Some(&["http://mesh.example.com"][..]), None, "identity.passkeys.origins"),
            (Some(&[][..]), None, "identity.passkeys.origins"),
        ] {
            let message = of(origins, id).unwrap_err().to_string();
            assert!(message.contains(key), "{message}");
        }
    }
}
