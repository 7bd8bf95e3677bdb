//! Which node to talk to, and as whom.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use cm_crypto::secret::Secret;
use serde::Deserialize;

use crate::ClientError;

/// Where a node writes its listeners once it is ready, within its data directory.
pub const READY_FILE: &str = "ready.json";
/// Where the first start writes the administrator's token, within the data directory.
pub const ADMIN_TOKEN_FILE: &str = "admin.token";
/// Where `cryptomesh login` keeps the token that it got, within the data directory.
pub const LOGIN_TOKEN_FILE: &str = "login.token";

/// A node's address and the token to present there.
#[derive(Debug)]
pub struct Location {
    /// The base URL, without a trailing slash.
    pub url: String,
    /// The bearer token; none for a node in open mode.
    pub token: Option<Secret<String>>,
    /// Where `cryptomesh login` keeps its token.
    pub token_file: PathBuf,
}

#[derive(Deserialize)]
struct Ready {
    listeners: std::collections::BTreeMap<String, String>,
}

impl Location {
    /// Takes what was given and fills the rest from the local data directory: the listener from `ready.json`, the
    /// token from `login.token` or else `admin.token`.
    ///
    /// The local token is used only with the local listener. It is sent to an address that was given only if that is
    /// the local listener's, written as an address and not as a name, which somebody else might answer for.
    pub fn resolve(
        url: Option<String>,
        token: Option<String>,
        data_dir: Option<&Path>,
    ) -> Result<Location, ClientError> {
        let dir = data_dir.unwrap_or(Path::new(".cryptomesh"));
        let token_file = dir.join(LOGIN_TOKEN_FILE);
        // A variable that is set to nothing is not set.
        let given = token.filter(|token| !token.is_empty()).map(Secret::new);
        match url.filter(|url| !url.is_empty()) {
            Some(url) => {
                let url = checked(url)?;
                let is_local = local_listener(dir).is_some_and(|listener| is_at(&url, &listener));
                let token = if is_local { given.or_else(|| local_token(dir)) } else { given };
                Ok(Location { url, token, token_file })
            }
            None => {
                let listener = local_listener(dir).ok_or_else(|| absent(dir))?;
                let token = given.or_else(|| local_token(dir));
                Ok(Location { url: format!("http://{listener}"), token, token_file })
            }
        }
    }
}

fn checked(url: String) -> Result<String, ClientError> {
    let trimmed = url.trim_end_matches('/');
    if trimmed.starts_with("http://") || trimmed.starts_with("https://") {
        Ok(trimmed.to_owned())
    } else {
        Err(ClientError::Url(url))
    }
}

/// A directory without `ready.json` is that of a node which is not running, if it is one at all.
fn absent(dir: &Path) -> ClientError {
    let name = dir.display().to_string();
    if dir.join("lock").exists() { ClientError::NotRunning(name) } else { ClientError::NoNode(name) }
}

/// Where the node of the directory serves S3, as a URL, while it runs.
pub fn local_s3_endpoint(dir: &Path) -> Option<String> {
    Some(format!("http://{}", listener(dir, "s3")?))
}

/// Where the node of the directory listens, as it wrote it down.
fn local_listener(dir: &Path) -> Option<String> {
    listener(dir, "api")
}

fn listener(dir: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(dir.join(READY_FILE)).ok()?;
    let mut ready: Ready = serde_json::from_str(&text).ok()?;
    ready.listeners.remove(name)
}

/// Whether a URL leads to a listener: to its very address, or from this machine to one that listens everywhere.
fn is_at(url: &str, listener: &str) -> bool {
    let asked = url.strip_prefix("http://").and_then(|address| address.parse::<SocketAddr>().ok());
    let (Some(asked), Ok(listener)) = (asked, listener.parse::<SocketAddr>()) else { return false };
    let everywhere =
        listener.ip().is_unspecified() && (asked.ip().is_loopback() && asked.is_ipv4() == listener.is_ipv4());
    asked.port() == listener.port() && (asked.ip() == listener.ip() || everywhere)
}

fn local_token(dir: &Path) -> Option<Secret<String>> {
    read_token(&dir.join(LOGIN_TOKEN_FILE)).or_else(|| read_token(&dir.join(ADMIN_TOKEN_FILE)))
}

fn read_token(path: &Path) -> Option<Secret<String>> {
    let text = std::fs::read_to_string(path).ok()?;
    let token = text.trim();
    (!token.is_empty()).then(|| Secret::new(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_token_never_leaves_for_a_given_address() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(READY_FILE), r#"{"listeners":{"api":"127.0.0.1:5"}}"#).unwrap();
        std::fs::write(dir.path().join(ADMIN_TOKEN_FILE), "secret\n").unwrap();
        let local = Location::resolve(None, None, Some(dir.path())).unwrap();
        assert_eq!(local.url, "http://127.0.0.1:5");
        assert!(local.token.is_some());
        let remote = Location::resolve(Some("http://example.org/".into()), None, Some(dir.path())).unwrap();
        assert_eq!(remote.url, "http://example.org");
        assert!(remote.token.is_none());
    }

    #[test]
    fn the_local_token_is_used_for_the_address_of_the_local_node() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(ADMIN_TOKEN_FILE), "secret\n").unwrap();
        let check = |listener: &str, url: &str, expected: bool| {
            let ready = format!(r#"{{"listeners":{{"api":"{listener}"}}}}"#);
            std::fs::write(dir.path().join(READY_FILE), ready).unwrap();
            let found = Location::resolve(Some(url.to_owned()), None, Some(dir.path())).unwrap();
            assert_eq!(found.token.is_some(), expected, "{url} where {listener} is");
        };
        check("127.0.0.1:5", "http://127.0.0.1:5", true);
        check("127.0.0.1:5", "http://127.0.0.1:5/", true);
        check("[::1]:5", "http://[::1]:5", true);
        check("0.0.0.0:5", "http://127.0.0.1:5", true);
        for other in [
            "http://127.0.0.1:6",
            "http://127.0.0.2:5",
            "https://127.0.0.1:5",
            "http://localhost:5",
            "http://127.0.0.1:5.example",
            "http://127.0.0.1:5@example.org",
            "http://127.0.0.1:5/x",
        ] {
            check("127.0.0.1:5", other, false);
        }
        check("0.0.0.0:5", "http://192.0.2.1:5", false);
        check("0.0.0.0:5", "http://[::1]:5", false);
        let given =
            Location::resolve(Some("http://127.0.0.1:5".into()), Some("own".into()), Some(dir.path()));
        assert_eq!(given.unwrap().token.unwrap().expose(), "own");
    }

    #[test]
    fn without_a_node_the_message_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = Location::resolve(None, None, Some(dir.path())).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("CRYPTOMESH_URL"));
        assert!(Location::resolve(Some("ftp://x".into()), None, None).is_err());
        std::fs::write(dir.path().join("lock"), "").unwrap();
        let error = Location::resolve(None, None, Some(dir.path())).unwrap_err();
        assert_eq!(error.exit_code(), 6);
        assert!(error.to_string().contains("cryptomesh up"));
    }
}
