//! The key with which this node signs what it reports.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use cm_crypto::Secret;
use cm_crypto::pss::PssSigningKey;

use crate::IntelError;

/// The file within the data directory. Unlike the node's other keys it is RSA, which is all that peers of version 1 understand.
pub const REPORTER_KEY_FILE: &str = "reporter.key";

/// Reads the key, or makes one. Off the runtime: it works on files, and making a key takes up to a second.
pub(crate) fn open_or_create(data_dir: &Path) -> Result<PssSigningKey, IntelError> {
    let path = data_dir.join(REPORTER_KEY_FILE);
    let failed = |source| IntelError::KeyFile { path: path.clone(), source };
    let unusable = |source| IntelError::Key { path: path.clone(), source };
    match std::fs::read_to_string(&path).map(Secret::new) {
        Ok(text) => PssSigningKey::from_pkcs8_pem(text.expose()).map_err(unusable),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = PssSigningKey::generate().map_err(unusable)?;
            keep(&path, &key).map_err(failed)?;
            Ok(key)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Under another name first: a process that dies half-way must not leave half a key.
fn keep(path: &Path, key: &PssSigningKey) -> std::io::Result<()> {
    let new = path.with_extension("key.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(key.to_pkcs8_pem().expose().as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let made = open_or_create(dir.path()).unwrap();
        let path = dir.path().join(REPORTER_KEY_FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(open_or_create(dir.path()).unwrap().public_pem(), made.public_pem());
        std::fs::write(&path, "junk").unwrap();
        assert!(matches!(open_or_create(dir.path()), Err(IntelError::Key { .. })));
    }
}
