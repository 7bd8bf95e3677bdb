//! The kernel: identity, policy, catalogue, objects and events as one whole. It is all that guests and faces see.
//!
//! Every operation carries an [`OpContext`]: who acts, until when, under which name. The way to an effect is always
//! the same: a look-up **for an action** ([`Kernel::look_up`], [`Kernel::authorize`]) asks the policy once and yields a
//! [`Permit`]; the method that has the effect takes that permit by reference, so that forgetting the check does not
//! compile. Effect and event are one transaction.
//!
//! Reading order: [`context`], [`kernel`] (opening and parts), [`authority`] (who may), [`sharing`] (who may in buckets), [`records`],
//! [`changes`], [`challenges`], [`descriptions`], [`manifest`], [`idempotency`], [`deployments`],
//! [`tenants`], [`principals`], [`credentials`], [`passkeys`], [`sessions`], [`svids`], [`signing_keys`], [`applications`], [`trail`], [`error`].

mod active_objects;
pub mod applications;
pub mod authority;
pub mod challenges;
pub mod changes;
pub mod config;
pub mod context;
pub mod credentials;
mod denials;
pub mod deployments;
pub mod descriptions;
pub mod error;
pub mod federation;
mod giving;
pub mod hierarchy;
pub mod idempotency;
pub mod kernel;
pub mod leases;
pub mod manifest;
mod measures;
pub mod network;
mod node_id;
pub mod passkeys;
pub mod policies;
mod preparation;
pub mod principals;
mod recognised;
pub mod records;
mod refused;
pub mod relations;
mod s3_keys;
mod schema;
pub mod sessions;
pub mod sharing;
pub mod signing_keys;
pub mod storage;
pub mod svids;
pub mod tenants;
pub mod trail;
pub mod vouched;
mod within;

#[cfg(test)]
mod tests;

pub use challenges::{Answered, Challenge};
pub use config::{Database, KernelConfig};
pub use context::{Access, Actor, ActorFacts, OpContext};
pub use credentials::CredentialPermit;
pub use deployments::{Deployment, DeploymentQuota, DeploymentStep, DeploymentTerms, QuotaKind};
pub use descriptions::{Description, Told};
pub use error::{ErrorClass, KernelError};
pub use federation::Exchanged;
pub use kernel::Kernel;
pub use leases::{Lease, Leases};
pub use network::{
    InvalidInvitation, Invitation, NetworkDoor, NetworkNode, NetworkView, NodePhase, Standing,
};
pub use node_id::NodeId;
pub use passkeys::PasskeyAnswer;
pub use policies::Policies;
pub use relations::Part;
pub use schema::schema;
pub use sessions::SignUp;
pub use sharing::Wanted;
pub use svids::{Judged, ShownSvid};

// What guests and faces need of the kernel's parts. They name no kernel crate but this one.
pub use cm_catalog as catalog;
pub use cm_events as events;
pub use cm_identity as identity;
pub use cm_objects as objects;
pub use cm_policy as policy;
pub use cm_policy::Permit;
