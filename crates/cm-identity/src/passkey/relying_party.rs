//! As whom the node is known to browsers, and from which of its pages passkeys are asked for.

use webauthn_rs::prelude::{Url, Webauthn, WebauthnBuilder};

use super::CEREMONY_MAX;

/// Origins from which passkeys are asked for.
pub const ORIGINS_MAX: usize = 16;
/// What devices show as the name of who asks.
const NAME: &str = "CryptoMesh";

/// As whom the node is known to browsers. What a device signs for another party, or for a page of another origin, proves nothing here.
pub struct RelyingParty {
    id: String,
    origins: Vec<String>,
    webauthn: Webauthn,
}

/// Why a relying party is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRelyingParty {
    /// There is no origin, or there are too many.
    #[error("expected 1 to {ORIGINS_MAX} origins")]
    Origins,
    /// Browsers have passkeys on pages of such an origin only.
    #[error(
        "`{0}` is no origin for passkeys: expected https://NAME or https://NAME:PORT, or http://localhost:PORT; no address, no path, \
         no port that the scheme has anyway"
    )]
    Origin(String),
    /// Browsers would refuse it on pages of the origin.
    #[error("`{id}` is neither the host of `{origin}` nor a domain above it")]
    Id {
        /// The id.
        id: String,
        /// The origin.
        origin: String,
    },
}

impl RelyingParty {
    /// A party of these origins. `id` is their common host, or a domain above all of them; the host of the first, unless told.
    ///
    /// # Errors
    /// [`InvalidRelyingParty`].
    pub fn new(id: Option<&str>, origins: &[String]) -> Result<Self, InvalidRelyingParty> {
        if origins.len() > ORIGINS_MAX {
            return Err(InvalidRelyingParty::Origins);
        }
        let urls = origins.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
        let (first, others) = urls.split_first().ok_or(InvalidRelyingParty::Origins)?;
        let id = id.unwrap_or_else(|| host(first)).to_owned();
        let wrong = |url: &Url| InvalidRelyingParty::Id {
            id: id.clone(),
            origin: url.origin().ascii_serialization(),
        };
        if let Some(url) = urls.iter().find(|url| !covers(&id, host(url))) {
            return Err(wrong(url));
        }
        let builder = WebauthnBuilder::new(&id, first).map_err(|_| wrong(first))?;
        let builder = builder.rp_name(NAME).timeout(CEREMONY_MAX);
        let builder = others.iter().fold(builder, WebauthnBuilder::append_allowed_origin);
        let webauthn = builder.build().map_err(|_| wrong(first))?;
        Ok(Self { id, origins: origins.to_vec(), webauthn })
    }

    /// What browsers know it by: a host, or a domain above it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The origins of its pages.
    pub fn origins(&self) -> &[String] {
        &self.origins
    }

    pub(super) fn webauthn(&self) -> &Webauthn {
        &self.webauthn
    }
}

impl std::fmt::Debug for RelyingParty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RelyingParty({}, {:?})", self.id, self.origins)
    }
}

fn host(url: &Url) -> &str {
    url.domain().unwrap_or_default()
}

/// Compared as it is written: what is not an origin to the letter is a mistake, or something else than was meant.
fn parse(text: &str) -> Result<Url, InvalidRelyingParty> {
    let wrong = || InvalidRelyingParty::Origin(text.to_owned());
    let url = Url::parse(text).map_err(|_| wrong())?;
    let is_safe = match url.scheme() {
        "https" => url.domain().is_some(),
        "http" => url.domain() == Some("localhost"),
        _ => false,
    };
    match is_safe && url.origin().ascii_serialization() == text {
        true => Ok(url),
        false => Err(wrong()),
    }
}

/// Whether pages of the host may use the id. A top-level domain covers nobody but itself; browsers know those of several labels.
fn covers(id: &str, host: &str) -> bool {
    let above = id.contains('.') && host.strip_suffix(id).is_some_and(|rest| rest.ends_with('.'));
    !id.is_empty() && (id == host || above)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: Option<&str>, origins: &[&str], expected: Result<&str, InvalidRelyingParty>) {
        let origins: Vec<String> = origins.iter().map(|&text| text.to_owned()).collect();
        let found = RelyingParty::new(id, &origins).map(|party| party.id().to_owned());
        assert_eq!(found, expected.map(str::to_owned), "{id:?} {origins:?}");
    }

    #[test]
    fn the_id_is_the_host_or_a_domain_above_all_origins() {
        check(None, &["https://mesh.example.com"], Ok("mesh.example.com"));
        check(
            Some("example.com"),
            &["https://a.example.com", "https://b.example.com:8443"],
            Ok("example.com"),
        );
        check(None, &["http://localhost:19000", "http://localhost:5050"], Ok("localhost"));
        let wrong = |id: &str, origin: &str| {
            Err(InvalidRelyingParty::Id { id: id.to_owned(), origin: origin.to_owned() })
        };
        check(Some("other.com"), &["https://example.com"], wrong("other.com", "https://example.com"));
        check(Some("ample.com"), &["https://example.com"], wrong("ample.com", "https://example.com"));
        check(Some("com"), &["https://example.com"], wrong("com", "https://example.com"));
        check(Some(""), &["https://example.com"], wrong("", "https://example.com"));
        check(None, &["https://a.example", "https://b.example"], wrong("a.example", "https://b.example"));
    }

    #[test]
    fn origins_are_origins_to_the_letter() {
        for text in [
            "http://mesh.example.com",
            "https://192.0.2.1",
            "http://127.0.0.1:19000",
            "https://[::1]",
            "https://mesh.example.com/",
            "https://mesh.example.com/console",
            "https://mesh.example.com:443",
            "https://user@mesh.example.com",
            "https://Mesh.example.com",
            "localhost:19000",
            "https://",
            "*",
            "",
        ] {
            check(None, &[text], Err(InvalidRelyingParty::Origin(text.to_owned())));
        }
        check(None, &[], Err(InvalidRelyingParty::Origins));
        check(None, &["https://a.example"; ORIGINS_MAX + 1], Err(InvalidRelyingParty::Origins));
    }
}
