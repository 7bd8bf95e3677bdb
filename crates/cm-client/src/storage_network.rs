//! The storage network: which nodes keep the chunks of objects.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::segment;
use crate::{Api, ClientError};

/// The storage network as one node sees it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StorageNetworkInfo {
    /// The node that was asked.
    pub node: String,
    /// Counts the layouts.
    pub epoch: u64,
    /// Data still moves out of layouts since this one.
    pub oldest_epoch: u64,
    /// How chunks are kept where the bucket says nothing else.
    pub redundancy: String,
    /// The nodes of the layout.
    pub peers: Vec<StoragePeerInfo>,
    /// Chunks of which parts are known to be missing or elsewhere.
    pub short_chunks: u64,
    /// Chunks of which the last survey could not reach enough parts.
    pub lost_chunks: u64,
    /// Chunks that some node has yet to delete.
    pub condemned_chunks: u64,
    /// The node that looks after all chunks.
    pub surveyor: Option<String>,
    /// When it has last looked at everything.
    pub surveyed_at: Option<String>,
}

/// One node of the storage network.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoragePeerInfo {
    /// Its id.
    pub id: String,
    /// `active`, `draining` or `gone`.
    pub state: String,
    /// How many bytes it offers.
    pub capacity_bytes: u64,
    /// What it fails together with.
    pub zone: String,
    /// Whether data still moves out of it.
    pub moving: bool,
    /// Whether it answers.
    pub up: bool,
    /// Parts of chunks that it keeps.
    pub parts: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
    /// Parts that it found damaged since it started.
    pub damaged: Option<u64>,
    /// Whether it keeps nothing that belongs elsewhere.
    pub tidy: Option<bool>,
}

#[derive(Deserialize)]
struct EpochAnswer {
    epoch: u64,
}

#[derive(Deserialize)]
struct RedundancyAnswer {
    redundancy: Option<String>,
}

impl Api {
    /// The storage network, as the node sees it.
    pub async fn storage(&self) -> Result<StorageNetworkInfo, ClientError> {
        self.get("/api/v1/storage").await
    }

    /// Changes the layout; answers with the new epoch. Each change is an object as the API describes it.
    pub async fn change_storage_layout(&self, changes: Vec<Value>) -> Result<u64, ClientError> {
        let answer: EpochAnswer = self.post("/api/v1/storage/layout", &json!({ "changes": changes })).await?;
        Ok(answer.epoch)
    }

    /// Has every chunk looked at.
    pub async fn repair_storage(&self) -> Result<(), ClientError> {
        self.call(reqwest::Method::POST, "/api/v1/storage/repair", None).await
    }

    /// How the chunks of a bucket are kept.
    pub async fn bucket_redundancy(&self, bucket: &str) -> Result<Option<String>, ClientError> {
        let path = format!("/api/v1/buckets/{}/redundancy", segment(bucket));
        let answer: RedundancyAnswer = self.get(&path).await?;
        Ok(answer.redundancy)
    }

    /// Says how chunks of a bucket are to be kept that are written from now on.
    pub async fn set_bucket_redundancy(
        &self,
        bucket: &str,
        redundancy: Option<&str>,
    ) -> Result<(), ClientError> {
        let path = format!("/api/v1/buckets/{}/redundancy", segment(bucket));
        let body = json!({ "redundancy": redundancy });
        self.call(reqwest::Method::PUT, &path, Some(&body)).await
    }
}
