//! Files that are longer than a message may be: written beside the others, and in their place once they are whole.

use bytes::Bytes;
use cm_crypto::digest::Sha256;
use cm_instance::GuestPath;
use cm_instance::wire::Response;
use cm_types::Sha256Digest;

use super::{Refusal, Service};
use crate::server::host::Staged;

/// A file that is being sent. Dropped before its end, it leaves nothing.
pub(crate) struct Upload {
    name: String,
    state: Result<Taking, Refusal>,
}

struct Taking {
    path: GuestPath,
    append: bool,
    staged: Box<dyn Staged>,
    /// What the policy demands of the file's bytes.
    hash: Option<(Sha256, Sha256Digest)>,
}

impl Upload {
    /// Takes the next bytes. What cannot be kept is passed over until the end, where the client is told why.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let Ok(taking) = &mut self.state else { return };
        if let Some((hash, _)) = &mut taking.hash {
            hash.update(bytes);
        }
        if let Err(error) = taking.staged.push(bytes) {
            self.state = Err(error.into());
        }
    }
}

impl Service {
    /// Begins to take a file of so many bytes.
    pub(crate) fn begin_upload(&self, identity: u64, append: bool, name: &str, length: u64) -> Upload {
        Upload { name: name.to_owned(), state: self.take(identity, append, name, length) }
    }

    fn take(&self, identity: u64, append: bool, name: &str, length: u64) -> Result<Taking, Refusal> {
        let path = self.writable(identity, name, append)?;
        let hash = self.policy.expected_hash(&path).map(|expected| (Sha256::new(), expected));
        let staged = self.host.stage(length)?;
        Ok(Taking { path, append, staged, hash })
    }

    /// Puts the file in its place, if it is the one that the policy demands.
    pub(crate) fn end_upload(&self, identity: u64, upload: Upload) -> Bytes {
        let Upload { name, state } = upload;
        let kept = state.and_then(|taking| self.keep(identity, &name, taking));
        self.respond(identity, Some(&name), kept)
    }

    fn keep(&self, identity: u64, name: &str, taking: Taking) -> Result<Response, Refusal> {
        // The file may have come to be since the upload began, and to replace one takes another right than to make one.
        self.writable(identity, name, taking.append)?;
        let Taking { path, append, staged, hash } = taking;
        if let Some((hash, expected)) = hash {
            let found = hash.finish();
            if found != expected {
                return Err(Refusal::Hash { path, expected, found });
            }
        }
        staged.commit(&path, append)?;
        self.changed();
        Ok(Response::success())
    }
}
