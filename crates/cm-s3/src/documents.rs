//! Bodies that are no objects but say what is to be done: lists of keys to delete, tags, settings.
//!
//! The adapter takes such a body in and hands on what it means, so that nobody can compare the bytes with what was announced of
//! them afterwards: a list of keys that was damaged on its way would delete others. Hence they are compared while the adapter takes
//! them, which it does once it knows who sent them. A body that breaks is to the adapter its own failure: what was wrong is kept, and
//! answered instead.

use std::io;
use std::sync::{Arc, OnceLock};

use axum::http::request;
use bytes::Bytes;
use cm_crypto::digest::{Md5, Sha256};
use cm_types::Sha256Digest;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::codes::Code;
use crate::content::{Announced, own};
use crate::framing::Trailers;
use crate::operations::{announced_sha256, md5};
use crate::subresources::{self, Body};
use crate::xml::Letters;

/// What a document must be.
pub(crate) struct Document {
    demands: S3Result<Demands>,
    wrong: Wrong,
}

/// What was wrong with a document, once that is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wrong(Arc<OnceLock<S3Error>>);

impl Wrong {
    /// The refusal, if there is one.
    pub(crate) fn get(&self) -> Option<&S3Error> {
        self.0.get()
    }

    /// Keeps the refusal, and ends a body with an error.
    fn tell(&self, error: S3Error) -> io::Error {
        let ended = io::Error::other(error.to_string());
        // Set once: nothing follows the first error.
        let _ = self.0.set(error);
        ended
    }
}

impl Document {
    /// What headers say of the document that follows them; `None` if what follows is none.
    pub(crate) fn of(parts: &request::Parts) -> Option<Self> {
        let announced = match subresources::body(&parts.method, &parts.uri) {
            Body::Content | Body::Other => return None,
            // The checksum in a completion is the object's.
            Body::Completion => Announced::of_length(None),
            Body::Document => {
                Announced::of(&parts.headers, None, (None, parts.extensions.get::<Trailers>().cloned()))
            }
        };
        let digest = parts.headers.get("content-md5").map(|value| value.to_str().unwrap_or_default());
        // A policy is JSON, and judged as such.
        let is_xml = !subresources::names(&parts.uri).any(|name| name == "policy");
        let demands = announced.and_then(|announced| {
            Ok(Demands {
                announced,
                md5: md5(digest)?,
                sha256: announced_sha256(&parts.headers),
                found_md5: Md5::new(),
                found_sha256: Sha256::new(),
                letters: is_xml.then(Letters::default),
            })
        });
        Some(Self { demands, wrong: Wrong::default() })
    }

    /// The document if it has no bytes: `None` if it may have none.
    pub(crate) fn empty(self) -> Option<Self> {
        let refused = self.demands.and_then(|mut demands| demands.finish()).err()?;
        Some(Self { demands: Err(refused), wrong: self.wrong })
    }

    /// Where it is going to be said what was wrong.
    pub(crate) fn wrong(&self) -> Wrong {
        self.wrong.clone()
    }

    /// The body as far as it is what was announced.
    pub(crate) fn checked(
        self,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> BoxStream<'static, io::Result<Bytes>> {
        let Self { demands, wrong } = self;
        let demands = match demands {
            Ok(demands) => demands,
            Err(error) => return stream::once(async move { Err(wrong.tell(error)) }).boxed(),
        };
        // The adapter does not ask for the end once it has as many bytes as were announced: the last of them wait for it.
        let state = Some((body.boxed(), demands, wrong, None));
        let checked = stream::unfold(state, |state| async move {
            let (mut body, mut demands, wrong, mut held) = state?;
            loop {
                let (taken, before) = match body.next().await {
                    Some(Ok(bytes)) => (demands.take(&bytes), held.replace(bytes)),
                    Some(Err(error)) => (Err(own(error.into())), None),
                    None => match demands.finish() {
                        Ok(()) => return held.map(|last| (Ok(last), None)),
                        Err(error) => (Err(error), None),
                    },
                };
                match (taken, before) {
                    (Ok(()), Some(bytes)) => return Some((Ok(bytes), Some((body, demands, wrong, held)))),
                    (Ok(()), None) => {}
                    (Err(error), _) => return Some((Err(wrong.tell(error)), None)),
                }
            }
        });
        checked.fuse().boxed()
    }
}

struct Demands {
    announced: Announced,
    md5: Option<[u8; 16]>,
    sha256: Option<Sha256Digest>,
    found_md5: Md5,
    found_sha256: Sha256,
    /// Of XML, which not every document is.
    letters: Option<Letters>,
}

impl Demands {
    fn take(&mut self, bytes: &Bytes) -> S3Result<()> {
        if self.md5.is_some() {
            self.found_md5.update(bytes);
        }
        if self.sha256.is_some() {
            self.found_sha256.update(bytes);
        }
        if self.letters.as_mut().is_some_and(|letters| !letters.take(bytes)) {
            let message = "the document has letters that XML has no place for";
            return Err(S3Error::with_message(S3ErrorCode::MalformedXML, message));
        }
        self.announced.take(bytes)
    }

    fn finish(&mut self) -> S3Result<()> {
        if self.sha256.is_some_and(|expected| expected != self.found_sha256.clone().finish()) {
            return Err(Code::ContentSha256Mismatch.error("the body has another SHA-256"));
        }
        if self.md5.is_some_and(|expected| expected != self.found_md5.clone().finish()) {
            return Err(S3Error::with_message(S3ErrorCode::BadDigest, "the body has another MD5"));
        }
        self.announced.finish()
    }
}

#[cfg(test)]
mod tests;
