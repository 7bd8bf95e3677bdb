//! How the native API presents itself.

use super::{ApiToml, ConfigError, wrong};

const PREFIX_LEN_MAX: usize = 64;
const TITLE_CHARS_MAX: usize = 128;
const VERSION_CHARS_MAX: usize = 64;
const ORIGINS_MAX: usize = 64;
/// What the listener serves beside the API, at the root.
const AT_ROOT: &[&str] = &["/docs", "/openapi.json", "/health", "/ready", "/metrics", "/console", "/taxii2"];

/// How the native API presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiSettings {
    /// The title in its description.
    pub title: String,
    /// What its paths begin with: a slash and segments of unreserved characters, without a slash at the end.
    pub prefix: String,
    /// The version in its description; it is the operator's and says nothing about the program.
    pub version: String,
    /// Origins whose pages may call it (`https://example.org`), or `*`; none by default.
    pub cors_origins: Vec<String>,
}

pub(super) fn settings(api: ApiToml) -> Result<ApiSettings, ConfigError> {
    let ApiToml { title, prefix, version, cors_origins } = api;
    let cors_origins = cors_origins.unwrap_or_default();
    if cors_origins.len() > ORIGINS_MAX {
        return Err(wrong("api.cors_origins", format!("has more than {ORIGINS_MAX} origins")));
    }
    if let Some(origin) = cors_origins.iter().find(|origin| !is_origin(origin)) {
        let problem = format!("`{origin}` is neither `*` nor http(s)://HOST[:PORT] without a path");
        return Err(wrong("api.cors_origins", problem));
    }
    Ok(ApiSettings {
        title: line("api.title", title, "CryptoMesh API", TITLE_CHARS_MAX)?,
        prefix: match prefix {
            Some(prefix) => checked_prefix(prefix)?,
            None => "/api/v1".to_owned(),
        },
        version: line("api.version", version, "1.0.0", VERSION_CHARS_MAX)?,
        cors_origins,
    })
}

/// A text of one line that is not blank.
fn line(key: &str, text: Option<String>, default: &str, chars_max: usize) -> Result<String, ConfigError> {
    let text = text.unwrap_or_else(|| default.to_owned());
    if text.trim().is_empty() || text.chars().any(char::is_control) || text.chars().count() > chars_max {
        return Err(wrong(key, format!("must be one line of 1 to {chars_max} characters, not all blank")));
    }
    Ok(text)
}

fn checked_prefix(prefix: String) -> Result<String, ConfigError> {
    let refused = |problem: String| Err(wrong("api.prefix", format!("`{prefix}` {problem}")));
    let Some(segments) = prefix.strip_prefix('/') else {
        return refused("does not begin with `/`".to_owned());
    };
    if prefix.len() > PREFIX_LEN_MAX {
        return refused(format!("has more than {PREFIX_LEN_MAX} bytes"));
    }
    if let Some(segment) = segments.split('/').find(|segment| !is_segment(segment)) {
        return refused(if segment.is_empty() {
            "has an empty segment or ends in `/`".to_owned()
        } else {
            format!(
                "has the segment `{segment}`; letters, digits, `-`, `.`, `_` and `~` are allowed, `.` and `..` are not"
            )
        });
    }
    if AT_ROOT.contains(&prefix.as_str()) {
        return refused("is served already".to_owned());
    }
    Ok(prefix)
}

/// Unreserved characters (RFC 3986, section 2.3), and neither this nor the parent folder.
fn is_segment(segment: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(unreserved)
}

/// What browsers send as `Origin` (RFC 6454, section 6.2), or any of them.
fn is_origin(origin: &str) -> bool {
    let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    origin == "*" || rest.is_some_and(is_authority)
}

/// HOST or HOST:PORT, as far as can be said without resolving it.
pub(super) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let named = !host.is_empty() && host.bytes().all(of_name);
    let known = address.map_or(named, |address| address.parse::<std::net::Ipv6Addr>().is_ok());
    known && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}
