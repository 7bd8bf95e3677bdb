//! Objects: streamed both ways, with progress, never held whole.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cm_types::{BucketName, ObjectKey, Sha256Digest};
use futures::{Stream, StreamExt};
use reqwest::{Method, Response};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use crate::api::segment;
use crate::resources::Listing;
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
    response: Response,
    url: String,
}

impl ObjectDownload {
    /// The length that the node announced.
    pub fn size(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next piece; `None` at the end. An object that ends early is an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.response
            .chunk()
            .await
            .map_err(|source| ClientError::Unreachable { url: self.url.clone(), source })
    }
}

fn collection(bucket: &BucketName) -> String {
    format!("/api/v1/buckets/{}/objects", segment(bucket.as_str()))
}

fn item(bucket: &BucketName, key: &ObjectKey) -> String {
    let key: Vec<String> = key.as_str().split('/').map(segment).collect();
    format!("{}/{}", collection(bucket), key.join("/"))
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
        let unreadable = Arc::new(Mutex::new(None));
        let (mut sent, noted) = (0, unreadable.clone());
        let parts = parts.map(move |part| match part {
            Ok(part) => {
                sent += part.len() as u64;
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
            .request(Method::PUT, &path)
            .header("content-type", "application/octet-stream")
            .body(reqwest::Body::wrap_stream(parts));
        if let Some(size) = size {
            request = request.header("content-length", size);
        }
        for (name, value) in fields {
            request = request.header(format!("{FIELD_PREFIX}{name}"), value);
        }
        let error = match self.send(request).await {
            Ok(response) => return self.json(response).await,
            Err(error) => error,
        };
        if let Some(source) = unreadable.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(ClientError::File { path: format!("what was to become {bucket}/{key}"), source });
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
        let response = self.send(self.request(Method::GET, &item(bucket, key))).await?;
        let url = response.url().to_string();
        Ok(ObjectDownload { response, url })
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
