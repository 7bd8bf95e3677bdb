//! The node's key for links: by it, and by nothing else, other nodes know this one.
//!
//! It is unlike the keys that the nodes of a catalogue share: each node has one of its own, made before anything else, so that
//! it can be told to others before the first start. A data directory that was copied brings it along: remove the file, or two
//! nodes would pass for each other.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cm_crypto::Secret;
use cm_net::{Identity, PeerKey};
use cm_runtime::{Clock as _, SystemClock};

use crate::NodeError;
use crate::data_dir::{DataDir, write_private};

/// The node's key for links, within the data directory.
pub const LINK_KEY_FILE: &str = "link.key";
/// Far more than a key and its certificate take.
const LEN_MAX: u64 = 64 * 1024;

/// Reads the key of a data directory, or makes one. Off the runtime: it reads and writes files.
///
/// # Errors
/// A file that cannot be read or written, that others may read, or that holds something else.
pub fn open_or_create(data_dir: &Path) -> Result<Identity, NodeError> {
    let path = data_dir.join(LINK_KEY_FILE);
    let failed = |source| NodeError::DataDir { path: path.clone(), source };
    let unusable = |source| NodeError::LinkKey { path: path.clone(), source };
    match std::fs::metadata(&path) {
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(NodeError::LinkKeyMode { path, mode });
            }
            if metadata.len() > LEN_MAX {
                return Err(unusable(cm_crypto::CryptoError::Key("link")));
            }
            let text = std::fs::read_to_string(&path).map(Secret::new).map_err(failed)?;
            Identity::from_pem(text.expose()).map_err(unusable)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let issued = Identity::generate(SystemClock.now().into()).map_err(unusable)?;
            let (certificate, key) = (issued.certificate_pem(), issued.private_key_pem());
            let text = Secret::new(format!("{certificate}{}", key.expose()));
            write_private(&path, text.expose()).map_err(failed)?;
            Identity::new(&issued).map_err(unusable)
        }
        Err(error) => Err(failed(error)),
    }
}

/// The key of a data directory as others know it, making both if there is none; a node may be running on it.
///
/// # Errors
/// As [`open_or_create`]; a directory that holds other files.
pub async fn link_key(path: &Path) -> Result<PeerKey, NodeError> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || {
        // A key that is there does not change any more.
        let there = path.join(LINK_KEY_FILE).exists();
        let _held = (!there).then(|| DataDir::hold(&path)).transpose()?;
        Ok(open_or_create(&path)?.key())
    });
    opened.await.map_err(|_| cm_db::DbError::Panicked)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_keeps_its_key_for_links() {
        let dir = tempfile::tempdir().unwrap();
        let made = link_key(dir.path()).await.unwrap();
        let path = dir.path().join(LINK_KEY_FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let held = DataDir::hold(dir.path()).unwrap();
        assert_eq!(open_or_create(held.path()).unwrap().key(), made);
        assert_eq!(link_key(dir.path()).await.unwrap(), made, "also while a node runs");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(open_or_create(held.path()), Err(NodeError::LinkKeyMode { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "no key").unwrap();
        assert!(matches!(open_or_create(held.path()), Err(NodeError::LinkKey { .. })));
    }
}
