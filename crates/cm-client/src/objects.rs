//! Objects: streamed both ways, with progress, never held whole.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cm_crypto::digest::Sha256;
use cm_types::{BucketName, ObjectKey, Sha256Digest};
use futures::{Stream, StreamExt};
use reqwest::header::{self, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use crate::api::{key_path, segment};
use crate::resources::Listing;
use crate::steady_file::SteadyFile;
use crate::transfer::{CONTENT_SHA256, PART_ATTEMPTS};
use crate::waiting::Waiting;
use crate::{Api, ClientError};

/// Bytes that are read from a source at a time.
pub(crate) const READ_BYTES: usize = 256 * 1024;
/// Begins the names of headers that carry an object's free fields.
const FIELD_PREFIX: &str = "x-object-meta-";
/// A tag that no object has: real ones are digests.
const TAG_OF_NOTHING: &str = "\"no object has this tag\"";
/// The status of a request whose condition does not hold.
const UNMET_CONDITION: u16 = 412;

/// Called with the number of bytes that have passed so far.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// What the store knows of an object.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ObjectView {
    /// Its key.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
    /// Everything else.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// What came of checking everything that is stored.
#[derive(Debug, Deserialize, Serialize)]
pub struct ObjectVerification {
    /// Whether everything is as it was written.
    pub intact: bool,
    /// How many objects were looked at.
    pub objects: u64,
    /// Damaged places: bucket, key, chunk, digest and flaw.
    pub findings: Vec<crate::resources::Entry>,
}

/// An object being read.
pub struct ObjectDownload {
    api: Api,
    path: String,
    name: String,
    response: Response,
    size: Option<u64>,
    /// What tells this version apart from others, and lets the rest of it be asked for.
    etag: Option<HeaderValue>,
    received: u64,
    /// What its digest is to be, and that of what has arrived.
    digest: Option<(Sha256Digest, Sha256)>,
}

impl ObjectDownload {
    /// The length that the node announced.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The digest that the node announced.
    pub fn sha256(&self) -> Option<Sha256Digest> {
        self.digest.as_ref().map(|(expected, _)| *expected)
    }

    /// The next piece; `None` at the end. Where the connection breaks the rest is asked for: a node that cannot go on then says
    /// why. An object that ends early, or turns out at its end to have another digest than was announced, is an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let mut attempt = 1;
        let piece = loop {
            match self.response.chunk().await {
                Ok(piece) => break piece,
                Err(source) if attempt == PART_ATTEMPTS => return Err(self.broken_off(source)),
                Err(source) => self.response = self.rest(source).await?,
            }
            attempt += 1;
        };
        match (&piece, &mut self.digest) {
            (Some(piece), Some((_, hash))) => hash.update(piece),
            (None, digest) => {
                if let Some((expected, hash)) = digest.take() {
                    matches(&self.name, expected, hash.finish())?;
                }
            }
            (Some(_), None) => {}
        }
        self.received += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(piece)
    }

    fn broken_off(&self, source: reqwest::Error) -> ClientError {
        ClientError::BrokenOff { object: self.name.clone(), received: self.received, source: source.into() }
    }

    /// What has not arrived yet of the same version.
    async fn rest(&self, broken: reqwest::Error) -> Result<Response, ClientError> {
        let Some(etag) = &self.etag else { return Err(self.broken_off(broken)) };
        let request = self
            .api
            .request(Method::GET, &self.path)?
            .header(header::RANGE, format!("bytes={}-", self.received))
            .header(header::IF_MATCH, etag);
        let response = self.api.send(request).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => Ok(response),
            _ => Err(self.broken_off(broken)),
        }
    }
}

fn collection(bucket: &BucketName) -> String {
    format!("/api/v1/buckets/{}/objects", segment(bucket.as_str()))
}

pub(crate) fn item(bucket: &BucketName, key: &ObjectKey) -> String {
    format!("{}/{}", collection(bucket), key_path(key.as_str()))
}

/// Whether the bytes of an object are those that they were to be.
fn matches(object: &str, expected: Sha256Digest, found: Sha256Digest) -> Result<(), ClientError> {
    match expected == found {
        true => Ok(()),
        false => Err(ClientError::Damaged { object: object.to_owned(), expected, found }),
    }
}

impl Api {
    /// Stores what `body` yields under `key`. `size` is announced when it is known.
    pub async fn put_object(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        body: impl AsyncRead + Send + Sync + 'static,
        size: Option<u64>,
        progress: Option<Progress>,
    ) -> Result<ObjectView, ClientError> {
        let parts = ReaderStream::with_capacity(body, READ_BYTES);
        self.put_parts(bucket, key, parts, size, progress).await
    }

    /// Stores what a file is, by one request. One that is written to meanwhile becomes no object.
    ///
    /// # Errors
    /// [`ClientError::FileChanged`], [`ClientError::File`], and those of any call.
    pub async fn put_file(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        file: SteadyFile,
        progress: Option<Progress>,
    ) -> Result<ObjectView, ClientError> {
        let size = file.size();
        let parts = futures::stream::try_unfold(file, |mut file| async move {
            let reading = tokio::task::spawn_blocking(move || {
                let mut buffer = vec![0; READ_BYTES];
                let read = file.read(&mut buffer)?;
                buffer.truncate(read);
                std::io::Result::Ok((Bytes::from(buffer), file))
            });
            let (part, file) = reading.await.map_err(std::io::Error::other)??;
            Ok((!part.is_empty()).then_some((part, file)))
        });
        self.put_parts(bucket, key, parts, size, progress).await
    }

    /// Stores what the parts are, unless one of them is an error: then nothing is stored.
    pub(crate) async fn put_parts(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        parts: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
        size: Option<u64>,
        progress: Option<Progress>,
    ) -> Result<ObjectView, ClientError> {
        self.put_described(bucket, key, parts, size, &[], progress).await
    }

    /// The same with free fields of the object.
    pub(crate) async fn put_described(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        parts: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
        size: Option<u64>,
        fields: &[(&str, String)],
        progress: Option<Progress>,
    ) -> Result<ObjectView, ClientError> {
        let path = item(bucket, key);
        let waiting = Waiting::work();
        let movement = waiting.movement();
        let unreadable = Arc::new(Mutex::new(None));
        let (mut sent, noted) = (0, unreadable.clone());
        let hash = Arc::new(Mutex::new(Sha256::new()));
        let hashed = hash.clone();
        let parts = parts.map(move |part| match part {
            Ok(part) => {
                movement.note();
                sent += part.len() as u64;
                hashed.lock().unwrap_or_else(PoisonError::into_inner).update(&part);
                progress.iter().for_each(|progress| progress(sent));
                Ok(part)
            }
            // The error itself is for the caller; the connection only has to break before the end.
            Err(error) => {
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(std::io::Error::other("the source failed"))
            }
        });
        let mut request = self
            .patient_request(Method::PUT, &path)?
            .header("content-type", "application/octet-stream")
            .body(reqwest::Body::wrap_stream(parts));
        if let Some(size) = size {
            request = request.header("content-length", size);
        }
        for (name, value) in fields {
            request = request.header(format!("{FIELD_PREFIX}{name}"), value);
        }
        let error = match self.send_waiting(request, waiting).await {
            Ok(response) => {
                let stored: ObjectView = self.json(response).await?;
                let hash = std::mem::take(&mut *hash.lock().unwrap_or_else(PoisonError::into_inner));
                matches(&format!("{bucket}/{key}"), hash.finish(), stored.sha256)?;
                return Ok(stored);
            }
            Err(error) => error,
        };
        if let Some(source) = unreadable.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let path = format!("what was to become {bucket}/{key}");
            // Sources that know more of it say so themselves.
            return Err(source.downcast().unwrap_or_else(|source| ClientError::File { path, source }));
        }
        match error {
            ClientError::Unreachable { ref source, .. } if !source.is_connect() => {
                Err(self.upload_refused(&path).await.unwrap_or(error))
            }
            error => Err(error),
        }
    }

    /// Why an upload is refused, if it is. A node that refuses does not read what it refuses, and closes the
    /// connection; its answer is lost when that is noticed while bytes are still being sent. The question is the
    /// same call without bytes, and under a condition that is never met.
    async fn upload_refused(&self, path: &str) -> Option<ClientError> {
        let question = self
            .request(Method::PUT, path)
            .ok()?
            .header("content-type", "application/octet-stream")
            .header("if-match", TAG_OF_NOTHING)
            .header("content-length", 0);
        match self.send(question).await {
            Err(ClientError::Refused(refusal)) if refusal.status != UNMET_CONDITION => {
                Some(ClientError::Refused(refusal))
            }
            _ => None,
        }
    }

    /// Begins to read an object.
    pub async fn get_object(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<ObjectDownload, ClientError> {
        let path = item(bucket, key);
        let response = self.send(self.request(Method::GET, &path)?).await?;
        let announced = response.headers().get(CONTENT_SHA256).and_then(|value| value.to_str().ok());
        let digest = announced.and_then(|text| text.parse().ok()).map(|digest| (digest, Sha256::new()));
        Ok(ObjectDownload {
            api: self.clone(),
            path,
            name: format!("{bucket}/{key}"),
            size: response.content_length(),
            etag: response.headers().get(header::ETAG).cloned(),
            received: 0,
            digest,
            response,
        })
    }

    /// Copies an object by way of this client, checked on both ways.
    pub async fn copy_object(
        &self,
        from: (&BucketName, &ObjectKey),
        to: (&BucketName, &ObjectKey),
        progress: Option<Progress>,
    ) -> Result<ObjectView, ClientError> {
        let download = self.get_object(from.0, from.1).await?;
        let size = download.size();
        let pieces = futures::stream::try_unfold(download, |mut download| async move {
            let piece = download.next().await.map_err(std::io::Error::other)?;
            Ok(piece.map(|piece| (piece, download)))
        });
        self.put_parts(to.0, to.1, pieces, size, progress).await
    }

    /// Has the node read and check everything that it stores, however long that takes.
    pub async fn verify_objects(&self) -> Result<ObjectVerification, ClientError> {
        self.post_patiently("/api/v1/objects/verify", &serde_json::json!({})).await
    }

    /// Removes an object.
    pub async fn remove_object(&self, bucket: &BucketName, key: &ObjectKey) -> Result<(), ClientError> {
        self.delete(&item(bucket, key)).await
    }

    /// One page of a bucket's objects.
    pub async fn list_objects(
        &self,
        bucket: &BucketName,
        prefix: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listing<ObjectView>, ClientError> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(prefix.map(|prefix| ("prefix", prefix.to_owned())));
        query.extend(after.map(|after| ("after", after.to_owned())));
        self.get_page(&collection(bucket), &query).await
    }
}
