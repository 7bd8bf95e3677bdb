//! The node's own keys, in files that only the node may read.
//!
//! ```text
//! DIR/keys/          0700
//!   signing.key      0600  Ed25519: tokens, evidence, heads of the event log
//!   ca.key, ca.crt   0600  ECDSA P-256: certificates for TLS
//!   node.secret      0600  32 random bytes: what symmetric keys are derived from
//! ```
//!
//! All of them are made at once, in a directory beside, which is then renamed: there is never half a set.
//! The database records which signing key it belongs to ([`recorded_node_key`]). When keys are missing
//! although data exists, nothing is made anew: tokens and the event log would stop verifying, and
//! whoever pinned the node's key would see a stranger.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cm_crypto::cert::{self, CertificateAuthority};
use cm_crypto::sign::{SigningKey, VerifyingKey};
use cm_crypto::{CryptoError, Secret, derive, secret};
use cm_db::{DbError, ReadTx};
use cm_types::Timestamp;

use crate::table::{Nodes, THIS_NODE};
use crate::{MasterKey, NodeKeyError};

const SIGNING_KEY: &str = "signing.key";
const CA_KEY: &str = "ca.key";
const CA_CERTIFICATE: &str = "ca.crt";
const NODE_SECRET: &str = "node.secret";
/// All of them, in the order of a bundle.
const FILES: [&str; 4] = [SIGNING_KEY, CA_KEY, CA_CERTIFICATE, NODE_SECRET];

/// What stands between the keys of a bundle; no key has it.
const BETWEEN: char = '\u{1e}';
/// How long the node's authority holds: ten years, longer than a deployment lives without being rebuilt.
const CA_VALID_FOR: Duration = Duration::from_secs(3650 * 24 * 3600);
const CA_COMMON_NAME: &str = "CryptoMesh node CA";
/// Largest file that is read; keys are far smaller.
const FILE_LEN_MAX: u64 = 64 * 1024;
const MODULE_CACHE: &str = "cryptomesh/module-cache/v1";
const OBJECTS: &str = "cryptomesh/objects/v1";
const S3_SECRET: &str = "cryptomesh/s3-secret/v1";

/// The id of the signing key that the database belongs to; `None` if it is new.
pub fn recorded_node_key(tx: &ReadTx<'_>) -> Result<Option<String>, DbError> {
    Ok(tx.get::<Nodes>(&THIS_NODE.to_owned())?.map(|row| row.signing_key_id))
}

/// The node's keys. `Debug` shows the id of the signing key only.
pub struct NodeKeys {
    signing: SigningKey,
    ca: CertificateAuthority,
    secret: Secret<Vec<u8>>,
}

impl NodeKeys {
    /// Opens the keys in the directory, or creates them if the database is new too.
    ///
    /// `recorded` is what [`recorded_node_key`] said. Blocking: call it off the runtime.
    pub fn open_or_create(dir: &Path, recorded: Option<&str>, now: Timestamp) -> Result<Self, NodeKeyError> {
        if is_absent(dir)? {
            if let Some(expected) = recorded {
                return Err(NodeKeyError::Missing { dir: dir.to_owned(), expected: expected.to_owned() });
            }
            create(dir, now)?;
        }
        let keys = Self::open(dir)?;
        match recorded {
            Some(expected) => keys.check(expected).map(|()| keys),
            None => Ok(keys),
        }
    }

    /// Opens keys that must exist, with a complete set of files that nobody else may read.
    pub fn open(dir: &Path) -> Result<Self, NodeKeyError> {
        check_mode(dir)?;
        for file in FILES {
            let path = dir.join(file);
            if !path.try_exists().map_err(|error| io(&path, error))? {
                return Err(NodeKeyError::Incomplete { path });
            }
        }
        let path = dir.join(SIGNING_KEY);
        let signing =
            SigningKey::from_pkcs8_pem(read(&path)?.expose()).map_err(|error| content(&path, error))?;
        let path = dir.join(CA_CERTIFICATE);
        let certificate = read(&path)?;
        cert::pem_to_der(certificate.expose()).map_err(|error| content(&path, error))?;
        let path = dir.join(CA_KEY);
        let ca = CertificateAuthority::from_pem(certificate.expose(), read(&path)?.expose())
            .map_err(|error| content(&path, error))?;
        let path = dir.join(NODE_SECRET);
        let secret = hex::decode(read(&path)?.expose().trim())
            .ok()
            .map(Secret::new)
            .filter(|bytes| bytes.expose().len() == 32)
            .ok_or_else(|| content(&path, CryptoError::Key("node secret")))?;
        Ok(Self { signing, ca, secret })
    }

    /// Refuses keys other than those that the database belongs to.
    pub fn check(&self, expected: &str) -> Result<(), NodeKeyError> {
        let found = self.key_id();
        if found == expected {
            return Ok(());
        }
        Err(NodeKeyError::Mismatch { expected: expected.to_owned(), found })
    }

    /// All keys in one text, for another node of the same catalogue: it is to become part of this one's identity. It must go to
    /// that node alone, over a connection that both ends have proved their keys on.
    pub fn bundle(&self) -> Secret<String> {
        let contents = [
            self.signing.to_pkcs8_pem(),
            self.ca.private_key_pem(),
            Secret::new(self.ca.certificate_pem()),
            Secret::new(hex::encode(self.secret.expose())),
        ];
        let longest = contents.iter().map(|text| text.expose().len() + 4).sum();
        // Of the size that it will have, so that growing leaves no copies behind.
        let mut bundle = String::with_capacity(longest);
        for (at, text) in contents.iter().enumerate() {
            if at > 0 {
                bundle.push(BETWEEN);
            }
            bundle.push_str(text.expose());
        }
        Secret::new(bundle)
    }

    /// Makes the directory with the keys of [`NodeKeys::bundle`], all of them or nothing. The id of the signing key. Blocking.
    ///
    /// # Errors
    /// [`NodeKeyError::Incomplete`] if the text is no bundle; keys that are there already are not replaced, and have to be the same.
    pub fn install(dir: &Path, bundle: &Secret<String>) -> Result<String, NodeKeyError> {
        let incomplete = || NodeKeyError::Incomplete { path: dir.to_owned() };
        let parts: Vec<Secret<String>> =
            bundle.expose().split(BETWEEN).map(|text| Secret::new(text.to_owned())).collect();
        let parts: [Secret<String>; 4] = parts.try_into().map_err(|_| incomplete())?;
        if is_absent(dir)? {
            fill(dir, &parts)?;
        }
        let keys = match Self::open(dir) {
            Ok(keys) if keys.bundle().expose() == bundle.expose() => keys,
            Ok(keys) => {
                let expected =
                    SigningKey::from_pkcs8_pem(parts[0].expose()).map_err(|error| content(dir, error))?;
                return Err(NodeKeyError::Mismatch {
                    expected: expected.verifying_key().key_id(),
                    found: keys.key_id(),
                });
            }
            Err(error) => return Err(error),
        };
        Ok(keys.key_id())
    }

    /// The key that signs tokens, evidence and the event log.
    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// The public half of the signing key: the node's identity.
    pub fn verifying(&self) -> VerifyingKey {
        self.signing.verifying_key()
    }

    /// The id of the signing key, by which the node is known.
    pub fn key_id(&self) -> String {
        self.verifying().key_id()
    }

    /// The authority that issues the node's TLS certificates.
    pub fn ca(&self) -> &CertificateAuthority {
        &self.ca
    }

    /// The key under which compiled modules are kept.
    pub fn sealing_key(&self) -> Secret<[u8; 32]> {
        derive::derive_key(self.secret.expose(), MODULE_CACHE)
    }

    /// The key under which objects are kept whose writers asked for encryption.
    pub fn objects_key(&self) -> Secret<[u8; 32]> {
        derive::derive_key(self.secret.expose(), OBJECTS)
    }

    /// The key under which signing keys are kept, where no other is configured.
    pub(crate) fn master_key(&self) -> MasterKey {
        MasterKey::derived(self.secret.expose())
    }

    /// A secret of the node's for one purpose.
    pub(crate) fn secret_for(&self, purpose: &str) -> Secret<[u8; 32]> {
        derive::derive_key(self.secret.expose(), purpose)
    }

    /// The secret of an S3 key.
    pub(crate) fn s3_secret(&self, id: &str) -> Secret<String> {
        let key = derive::derive_key(self.secret.expose(), &format!("{S3_SECRET}/{id}"));
        Secret::new(hex::encode(key.expose()))
    }
}

impl std::fmt::Debug for NodeKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeKeys({})", self.key_id())
    }
}

fn io(path: &Path, error: std::io::Error) -> NodeKeyError {
    NodeKeyError::Io { path: path.to_owned(), source: Arc::new(error) }
}

fn content(path: &Path, source: CryptoError) -> NodeKeyError {
    NodeKeyError::Content { path: path.to_owned(), source }
}

/// Whether there is no directory, or an empty one, which an operator may have made beforehand.
fn is_absent(dir: &Path) -> Result<bool, NodeKeyError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(io(dir, error)),
    }
}

/// Refuses what group or others may touch.
fn check_mode(path: &Path) -> Result<(), NodeKeyError> {
    let metadata = fs::metadata(path).map_err(|error| io(path, error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(NodeKeyError::Permissions { path: path.to_owned(), mode })
}

fn read(path: &Path) -> Result<Secret<String>, NodeKeyError> {
    check_mode(path)?;
    let len = fs::metadata(path).map_err(|error| io(path, error))?.len();
    if len > FILE_LEN_MAX {
        return Err(content(path, CryptoError::Key("node")));
    }
    fs::read_to_string(path).map(Secret::new).map_err(|error| io(path, error))
}

/// Makes all keys in a directory beside and renames it into place.
fn create(dir: &Path, now: Timestamp) -> Result<(), NodeKeyError> {
    let ca =
        CertificateAuthority::create(CA_COMMON_NAME, now, CA_VALID_FOR).map_err(NodeKeyError::Generate)?;
    let random = Secret::new(secret::random_bytes::<32>());
    let contents = [
        SigningKey::generate().to_pkcs8_pem(),
        ca.private_key_pem(),
        Secret::new(ca.certificate_pem()),
        Secret::new(hex::encode(random.expose())),
    ];
    fill(dir, &contents)
}

/// Puts the contents of [`FILES`] in place, all at once.
fn fill(dir: &Path, contents: &[Secret<String>; 4]) -> Result<(), NodeKeyError> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|error| io(parent, error))?;
    let unfinished = Unfinished::create(dir)?;
    for (name, text) in FILES.iter().zip(contents) {
        write_new(&unfinished.0.join(name), text.expose())?;
    }
    sync_dir(&unfinished.0)?;
    fs::rename(&unfinished.0, dir).map_err(|error| io(dir, error))?;
    sync_dir(parent)
}

/// A directory that is removed again unless it was renamed.
struct Unfinished(PathBuf);

impl Unfinished {
    fn create(dir: &Path) -> Result<Self, NodeKeyError> {
        let mut name = dir.file_name().unwrap_or_default().to_owned();
        name.push(format!(".new-{}", hex::encode(secret::random_bytes::<8>())));
        let path = dir.with_file_name(name);
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| io(&path, error))?;
        Ok(Self(path))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Gone already after the rename; after a failure its error is the one worth reporting.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn write_new(path: &Path, text: &str) -> Result<(), NodeKeyError> {
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| io(path, error))
}

fn sync_dir(dir: &Path) -> Result<(), NodeKeyError> {
    fs::File::open(dir).and_then(|file| file.sync_all()).map_err(|error| io(dir, error))
}

#[cfg(test)]
mod tests;
