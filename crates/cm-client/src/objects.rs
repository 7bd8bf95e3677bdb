//! Objects: streamed both ways, with progress, never held whole.

use std::sync::Arc;

use bytes::Bytes;
use cm_types::{BucketName, ObjectKey, Sha256Digest};
use futures::StreamExt;
use reqwest::{Method, Response};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;

use crate::api::segment;
use crate::resources::Listing;
use crate::{Api, ClientError};

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
        let mut sent = 0;
        let stream = tokio_util::io::ReaderStream::with_capacity(body, 256 * 1024).map(move |part| {
            if let (Ok(part), Some(progress)) = (&part, &progress) {
                sent += part.len() as u64;
                progress(sent);
            }
            part
        });
        let mut request = self
            .request(Method::PUT, &item(bucket, key))
            .header("content-type", "application/octet-stream")
            .body(reqwest::Body::wrap_stream(stream));
        if let Some(size) = size {
            request = request.header("content-length", size);
        }
        let response = self.send(request).await?;
        self.json(response).await
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

    /// Has the node read and check everything that it stores.
    pub async fn verify_objects(&self) -> Result<ObjectVerification, ClientError> {
        self.post("/api/v1/objects/verify", &serde_json::json!({})).await
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
        self.get_query(&collection(bucket), &query).await
    }
}
