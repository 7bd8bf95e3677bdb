//! Typed client of a node's public API, and of the confidential instances that it launches.
//!
//! Two peers with two kinds of trust. The **node** is spoken to over HTTP with a bearer token
//! ([`Api`]); it is believed about catalogue entries, never about what an instance is. An **instance** is spoken to
//! over TLS 1.3 ([`InstanceConnection`]), and only after its evidence has been verified against what the caller
//! expects ([`Trust`]): nothing is sent before that.
//!
//! Reading order: [`locate`] (which node, with what token), [`api`], `waiting`, [`resources`], [`removal`], [`manifests`], [`objects`], [`transfer`],
//! `steady_file`, [`upload`], [`object_cache`], [`share`], [`events`], [`follow`], then
//! [`terms`] (what was agreed), [`trust`] (what is believed), [`instance`] and [`by_policy`], and [`release`]
//! (to whom a key is given).

pub mod api;
pub mod by_policy;
pub mod computations;
pub mod endpoints;
pub mod error;
pub mod events;
pub mod follow;
pub mod instance;
pub mod intel;
pub mod locate;
pub mod manifests;
pub mod object_cache;
pub mod objects;
mod open;
pub mod release;
pub mod removal;
pub mod resources;
pub mod sealed;
pub mod share;
mod steady_file;
pub mod storage_network;
pub mod terms;
pub mod transfer;
pub mod trust;
pub mod upload;
mod waiting;
pub mod workloads;

pub use api::{Api, segment};
pub use by_policy::CertifiedConnection;
pub use error::{ClientError, Refusal, Unanswered};
pub use follow::Followed;
pub use instance::{ClientIdentity, InstanceChannel, InstanceConnection, Work};
pub use locate::Location;
pub use object_cache::ObjectCache;
pub use objects::{ObjectDownload, Progress};
pub use removal::{DeletionPlan, Dependents};
pub use resources::{EndedPasskeys, NetworkInfo, NetworkNodeInfo, NodeInvitation};
pub use steady_file::SteadyFile;
pub use storage_network::{
    BucketElasticInfo, ColdTierInfo, ExtraCopiesInfo, QuotaInfo, QuotaOf, ScrubInfo, StorageNetworkInfo,
    StoragePeerInfo,
};
pub use terms::{BrokenTerm, Terms};
pub use transfer::{is_content_of, is_unfinished, unfinished};
pub use trust::{Trust, VerifiedInstance};
pub use upload::{UploadMemory, Uploaded};
pub use waiting::OnSilence;
pub use workloads::{IssuedSvid, IssuedWorkloadToken};

pub use cm_attest::Claims;
pub use cm_instance::{ExecutionReport, InstanceClaims};
