//! Sealed files: the owner hands over the key of one file, anybody who may write it carries the file, and it is opened
//! here as it arrives.
//!
//! A key serves for one file: the one whose sealed header it was released for. It is forgotten once that file is there.
//! What arrives is kept aside until its last piece proved that all of it is authentic; whatever fails before that leaves
//! nothing that could be read, and the key stays for the true file.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cm_crypto::digest::Sha256;
use cm_crypto::seal::{ContentKey, Unsealer};
use cm_instance::GuestPath;
use cm_instance::wire::{ProvideKey, Response, WriteSealed};
use cm_types::Sha256Digest;
use zeroize::Zeroizing;

use super::{Refusal, Service, WRITE};
use crate::server::host::Staged;

/// Most keys that wait for their files at a time.
const KEYS_MAX: usize = 64;

/// The keys that wait for their files.
#[derive(Default)]
pub(super) struct SealedFiles(Mutex<HashMap<GuestPath, SealedFile>>);

struct SealedFile {
    key: ContentKey,
    header: Sha256Digest,
    carried: Option<Carried>,
}

/// A file that is on its way.
struct Carried {
    identity: u64,
    offset: u64,
    unsealer: Unsealer,
    staged: Box<dyn Staged>,
    /// What the policy demands of the plaintext.
    hash: Option<(Sha256, Sha256Digest)>,
}

impl SealedFiles {
    fn lock(&self) -> MutexGuard<'_, HashMap<GuestPath, SealedFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// Takes a key over. One that waits for the same file is forgotten, and what was carried for it.
    pub(super) fn provide_key(&self, identity: u64, request: &ProvideKey) -> Result<Response, Refusal> {
        let path = GuestPath::parse(&request.file_name)?;
        self.demand(identity, &path, WRITE)?;
        let key = ContentKey::from_slice(&request.content_key).ok_or(Refusal::Unknown)?;
        let header = <[u8; 32]>::try_from(request.sealed_header.as_slice()).map_err(|_| Refusal::Unknown)?;
        let mut files = self.sealed.lock();
        if files.len() >= KEYS_MAX && !files.contains_key(&path) {
            return Err(Refusal::TooManyKeys);
        }
        files.insert(path, SealedFile { key, header: Sha256Digest::from_bytes(header), carried: None });
        Ok(Response::success())
    }

    /// Takes the next piece of a sealed file.
    pub(super) fn write_sealed(&self, identity: u64, request: &WriteSealed) -> Result<Response, Refusal> {
        let path = self.writable(identity, &request.file_name, false)?;
        let mut files = self.sealed.lock();
        let file = files.get_mut(&path).ok_or(Refusal::NoKey)?;
        let mut carried = match file.carried.take() {
            _ if request.offset == 0 => self.begin_carrying(identity, &path, file)?,
            Some(carried) if carried.identity == identity && carried.offset == request.offset => carried,
            other => {
                // Somebody else's file goes on undisturbed.
                file.carried = other.filter(|carried| carried.identity != identity);
                return Err(Refusal::Piece);
            }
        };
        carried.take(&request.data)?;
        if !request.last {
            file.carried = Some(carried);
            return Ok(Response::success());
        }
        carried.finish(&path)?;
        files.remove(&path);
        drop(files);
        self.changed();
        Ok(Response::success())
    }

    fn begin_carrying(&self, identity: u64, path: &GuestPath, file: &SealedFile) -> Result<Carried, Refusal> {
        Ok(Carried {
            identity,
            offset: 0,
            unsealer: Unsealer::new(file.key.clone(), file.header),
            staged: self.host.stage(0)?,
            hash: self.policy.expected_hash(path).map(|expected| (Sha256::new(), expected)),
        })
    }
}

impl Carried {
    fn take(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        let mut plaintext = Zeroizing::new(Vec::with_capacity(piece.len()));
        self.unsealer.push(piece, &mut plaintext)?;
        self.offset += piece.len() as u64;
        self.keep(&plaintext)
    }

    fn keep(&mut self, plaintext: &[u8]) -> Result<(), Refusal> {
        if let Some((hash, _)) = &mut self.hash {
            hash.update(plaintext);
        }
        Ok(self.staged.push(plaintext)?)
    }

    fn finish(mut self, path: &GuestPath) -> Result<(), Refusal> {
        let mut plaintext = Zeroizing::new(Vec::new());
        self.unsealer.finish(&mut plaintext)?;
        self.keep(&plaintext)?;
        if let Some((hash, expected)) = self.hash {
            let found = hash.finish();
            if found != expected {
                return Err(Refusal::Hash { path: path.clone(), expected, found });
            }
        }
        Ok(self.staged.commit(path, false)?)
    }
}
