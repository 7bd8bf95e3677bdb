//! Sealed files: the owner hands over the key of one file, anybody who may write it carries the file, and it is opened
//! here as it arrives.
//!
//! A key serves for one file: the one whose sealed header it was released for. It is forgotten once that file is there, or
//! after [`KEY_LIFETIME`]. What arrives is kept aside until its last piece proved that all of it is authentic; whatever fails
//! before that leaves nothing that could be read, and the key stays for the true file.
//!
//! Several identities may be allowed to write one file. Each has keys of its own, which nobody else can replace or crowd out, and
//! carries by itself: which key opens what is carried shows by the header of the sealed file, which commits to its key.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cm_crypto::digest::Sha256;
use cm_crypto::seal::{ContentKey, SealError, Unsealer};
use cm_instance::GuestPath;
use cm_instance::wire::{ProvideKey, Response, WriteSealed};
use cm_types::Sha256Digest;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Refusal, Service, WRITE};
use crate::server::host::Staged;

/// Most keys of one identity that wait for their files at a time.
const KEYS_MAX: usize = 64;
/// How long a key waits for its file, and a file for its next piece.
pub(super) const KEY_LIFETIME: Duration = Duration::from_secs(3600);

/// The keys that wait for their files, and the files that are on their way.
#[derive(Default)]
pub(super) struct SealedFiles(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    keys: Vec<WaitingKey>,
    /// By the file and who carries it.
    carried: HashMap<(GuestPath, u64), Carried>,
}

struct WaitingKey {
    path: GuestPath,
    provider: u64,
    key: ContentKey,
    header: Sha256Digest,
    until: Instant,
}

/// A file that is on its way.
struct Carried {
    offset: u64,
    /// One for each key that may be the file's. Behind the header there is one at most.
    candidates: Vec<Candidate>,
    staged: Box<dyn Staged>,
    /// What the policy demands of the plaintext.
    hash: Option<(Sha256, Sha256Digest)>,
    until: Instant,
}

struct Candidate {
    provider: u64,
    header: Sha256Digest,
    unsealer: Unsealer,
}

impl SealedFiles {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what has waited for too long.
    pub(super) fn forget_old(&self, now: Instant) {
        self.lock().forget_old(now);
    }
}

impl Waiting {
    fn forget_old(&mut self, now: Instant) {
        self.keys.retain(|key| key.until > now);
        self.carried.retain(|_, carried| carried.until > now);
    }

    /// Forgets an identity's key for a file, and what is carried for it.
    fn forget(&mut self, path: &GuestPath, provider: u64) {
        self.keys.retain(|key| key.provider != provider || key.path != *path);
        for ((file, _), carried) in &mut self.carried {
            if file == path {
                carried.candidates.retain(|candidate| candidate.provider != provider);
            }
        }
        self.carried.retain(|_, carried| !carried.candidates.is_empty());
    }
}

impl Service {
    /// Takes a key over. One of the same identity that waits for the same file is forgotten, and what was carried for it.
    pub(super) fn provide_key(
        &self,
        identity: u64,
        mut request: ProvideKey,
        now: Instant,
    ) -> Result<Response, Refusal> {
        let key = ContentKey::from_slice(&request.content_key);
        request.content_key.zeroize();
        let path = GuestPath::parse(&request.file_name)?;
        self.demand(identity, &path, WRITE)?;
        let key = key.ok_or(Refusal::Unknown)?;
        let header = <[u8; 32]>::try_from(request.sealed_header.as_slice()).map_err(|_| Refusal::Unknown)?;
        let header = Sha256Digest::from_bytes(header);
        let mut waiting = self.sealed.lock();
        waiting.forget_old(now);
        waiting.forget(&path, identity);
        if waiting.keys.iter().filter(|key| key.provider == identity).count() >= KEYS_MAX {
            return Err(Refusal::TooManyKeys);
        }
        let until = now + KEY_LIFETIME;
        waiting.keys.push(WaitingKey { path, provider: identity, key, header, until });
        drop(waiting);
        self.refusals.key_provided(identity, self.named(&request.file_name), header);
        Ok(Response::success())
    }

    /// Takes the next piece of a sealed file.
    pub(super) fn write_sealed(
        &self,
        identity: u64,
        request: &WriteSealed,
        now: Instant,
    ) -> Result<Response, Refusal> {
        let path = self.writable(identity, &request.file_name, false)?;
        let mut waiting = self.sealed.lock();
        waiting.forget_old(now);
        let place = (path, identity);
        let carried = waiting.carried.remove(&place);
        let path = &place.0;
        let mut carried = match carried {
            _ if request.offset == 0 => self.begin_carrying(path, &waiting)?,
            Some(carried) if carried.offset == request.offset => carried,
            None if waiting.keys.iter().all(|key| key.path != *path) => return Err(Refusal::NoKey),
            _ => return Err(Refusal::Piece),
        };
        carried.take(&request.data)?;
        carried.until = now + KEY_LIFETIME;
        if !request.last {
            waiting.carried.insert(place, carried);
            return Ok(Response::success());
        }
        let header = carried.finish(path)?;
        waiting.keys.retain(|key| key.path != *path || key.header != header);
        drop(waiting);
        self.changed();
        Ok(Response::success())
    }

    fn begin_carrying(&self, path: &GuestPath, waiting: &Waiting) -> Result<Carried, Refusal> {
        let candidates: Vec<Candidate> = waiting
            .keys
            .iter()
            .filter(|key| key.path == *path)
            .map(|WaitingKey { provider, key, header, .. }| Candidate {
                provider: *provider,
                header: *header,
                unsealer: Unsealer::new(key.clone(), *header),
            })
            .collect();
        if candidates.is_empty() {
            return Err(Refusal::NoKey);
        }
        Ok(Carried {
            offset: 0,
            candidates,
            staged: self.host.stage(0)?,
            hash: self.policy.expected_hash(path).map(|expected| (Sha256::new(), expected)),
            until: Instant::now(),
        })
    }
}

impl Carried {
    fn take(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        let mut plaintext = Zeroizing::new(Vec::with_capacity(piece.len()));
        let mut failed = None;
        let mut fitting = Vec::new();
        for mut candidate in std::mem::take(&mut self.candidates) {
            match candidate.unsealer.push(piece, &mut plaintext) {
                Ok(()) if candidate.unsealer.has_begun() => {
                    // The header is its own, and commits to its key: no other can be right.
                    fitting = vec![candidate];
                    break;
                }
                Ok(()) => fitting.push(candidate),
                Err(error) => failed = Some(error),
            }
        }
        if fitting.is_empty() {
            return Err(failed.unwrap_or(SealError::Poisoned).into());
        }
        self.candidates = fitting;
        self.offset += piece.len() as u64;
        self.keep(&plaintext)
    }

    fn keep(&mut self, plaintext: &[u8]) -> Result<(), Refusal> {
        if let Some((hash, _)) = &mut self.hash {
            hash.update(plaintext);
        }
        Ok(self.staged.push(plaintext)?)
    }

    /// Shows the file, and names the header by which it was known.
    fn finish(mut self, path: &GuestPath) -> Result<Sha256Digest, Refusal> {
        let mut plaintext = Zeroizing::new(Vec::new());
        let candidate = self.candidates.first_mut().ok_or(SealError::Truncated)?;
        candidate.unsealer.finish(&mut plaintext)?;
        let header = candidate.header;
        self.keep(&plaintext)?;
        if let Some((hash, expected)) = self.hash {
            let found = hash.finish();
            if found != expected {
                return Err(Refusal::Hash { path: path.clone(), expected, found });
            }
        }
        self.staged.commit(path, false)?;
        Ok(header)
    }
}
