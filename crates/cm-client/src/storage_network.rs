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
    /// Copies beyond the promised ones, where there is much reading; nothing from nodes that know of none.
    #[serde(default)]
    pub extra: ExtraCopiesInfo,
    /// The node that looks after all chunks.
    pub surveyor: Option<String>,
    /// When it has last looked at everything.
    pub surveyed_at: Option<String>,
}

/// Copies that follow the load.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct ExtraCopiesInfo {
    /// Buckets that want them.
    pub buckets: u64,
    /// Chunks that have some.
    pub chunks: u64,
    /// The copies.
    pub copies: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How copies of a bucket's chunks follow the load.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct BucketElasticInfo {
    /// Most holders of a chunk; `None` if copies do not follow the load.
    pub copies_max: Option<u8>,
    /// A policy of replication.
    pub policy: Option<String>,
}

/// The cold tier.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct ColdTierInfo {
    /// What the service is called; `None` if the node has none.
    pub place: Option<String>,
    /// Buckets that want their cold chunks there.
    pub buckets: u64,
    /// Chunks that lie there and nowhere else.
    pub chunks: u64,
    /// Their bytes, before they were sealed.
    pub bytes: u64,
    /// Names there that wait to be deleted.
    pub waiting: u64,
    /// When all cold chunks were last looked for.
    pub looked_at: Option<String>,
    /// Why the node has last failed to use the service, unless it succeeded since.
    pub failure: Option<String>,
}

/// How much may be kept, and how much is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct QuotaInfo {
    /// Bytes at most.
    pub bytes_max: Option<u64>,
    /// Versions of objects at most.
    pub objects_max: Option<u64>,
    /// The bytes that there are, if they are counted.
    pub bytes: Option<u64>,
    /// The versions that there are, if they are counted.
    pub objects: Option<u64>,
}

/// Whose quota.
#[derive(Clone, Copy, Debug)]
pub enum QuotaOf<'a> {
    /// A bucket's.
    Bucket(&'a str),
    /// A tenant's.
    Tenant(&'a str),
}

impl QuotaOf<'_> {
    fn path(self) -> String {
        match self {
            Self::Bucket(bucket) => format!("/api/v1/buckets/{}/quota", segment(bucket)),
            Self::Tenant(tenant) => format!("/api/v1/tenants/{}/quota", segment(tenant)),
        }
    }
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
    /// How far it is with reading all that it keeps; nothing before it began, and from nodes that do not say it.
    #[serde(default)]
    pub scrub: Option<ScrubInfo>,
}

/// How far a node is with reading all that it keeps.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ScrubInfo {
    /// When it began.
    pub begun_at: String,
    /// It is done at 100.
    pub percent: u8,
}

#[derive(Deserialize)]
struct EpochAnswer {
    epoch: u64,
}

#[derive(Deserialize)]
struct ColdAnswer {
    after_days: Option<u32>,
}

/// How the content of a bucket's new objects becomes chunks.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PackingInfo {
    /// Where it is cut: `fixed` or `content`.
    pub cutting: String,
    /// Whether chunks are compressed: `none` or `zstd`.
    pub compression: String,
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

    /// Has every node read all that it keeps.
    pub async fn scrub_storage(&self) -> Result<(), ClientError> {
        self.call(reqwest::Method::POST, "/api/v1/storage/scrub", None).await
    }

    /// How copies of a bucket's chunks follow the load.
    pub async fn bucket_elastic(&self, bucket: &str) -> Result<BucketElasticInfo, ClientError> {
        self.get(&format!("/api/v1/buckets/{}/elastic", segment(bucket))).await
    }

    /// Lets copies of a bucket's chunks follow the load, or no longer.
    pub async fn set_bucket_elastic(
        &self,
        bucket: &str,
        elastic: &BucketElasticInfo,
    ) -> Result<(), ClientError> {
        let path = format!("/api/v1/buckets/{}/elastic", segment(bucket));
        let body = json!({ "copies_max": elastic.copies_max, "policy": elastic.policy });
        self.call(reqwest::Method::PUT, &path, Some(&body)).await
    }

    /// The cold tier, as the node sees it.
    pub async fn cold_tier(&self) -> Result<ColdTierInfo, ClientError> {
        self.get("/api/v1/storage/cold").await
    }

    /// After how many days without access chunks of a bucket may go to the cold tier; `None` if they stay.
    pub async fn bucket_cold(&self, bucket: &str) -> Result<Option<u32>, ClientError> {
        let answer: ColdAnswer = self.get(&format!("/api/v1/buckets/{}/cold", segment(bucket))).await?;
        Ok(answer.after_days)
    }

    /// Lets chunks of a bucket go to the cold tier after so many days, or no longer.
    pub async fn set_bucket_cold(&self, bucket: &str, after_days: Option<u32>) -> Result<(), ClientError> {
        let path = format!("/api/v1/buckets/{}/cold", segment(bucket));
        self.call(reqwest::Method::PUT, &path, Some(&json!({ "after_days": after_days }))).await
    }

    /// How much a bucket or a tenant may keep, and how much it does.
    pub async fn quota(&self, of: QuotaOf<'_>) -> Result<QuotaInfo, ClientError> {
        self.get(&of.path()).await
    }

    /// Says how much a bucket or a tenant may keep.
    pub async fn set_quota(
        &self,
        of: QuotaOf<'_>,
        bytes_max: Option<u64>,
        objects_max: Option<u64>,
    ) -> Result<(), ClientError> {
        let body = json!({ "bytes_max": bytes_max, "objects_max": objects_max });
        self.call(reqwest::Method::PUT, &of.path(), Some(&body)).await
    }

    /// How the content of a bucket's new objects becomes chunks.
    pub async fn bucket_packing(&self, bucket: &str) -> Result<PackingInfo, ClientError> {
        self.get(&format!("/api/v1/buckets/{}/packing", segment(bucket))).await
    }

    /// Says how content is to become chunks that is written from now on.
    pub async fn set_bucket_packing(&self, bucket: &str, packing: &PackingInfo) -> Result<(), ClientError> {
        let path = format!("/api/v1/buckets/{}/packing", segment(bucket));
        self.call(reqwest::Method::PUT, &path, Some(&json!(packing))).await
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
