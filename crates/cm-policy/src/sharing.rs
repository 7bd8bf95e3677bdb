//! Sharing: what the owner of a bucket lets others do with it, in the ways of S3: lists of grants on buckets and objects,
//! a policy, and what keeps both from opening a bucket to everybody.
//!
//! Roles and security policies stay above it. The rules, in the order in which they are weighed:
//!
//! 1. What the bucket's policy denies is denied, to its owner and to administrators too; only reading and changing the
//!    policy itself stays open to these, or a wrong policy could not be taken back.
//! 2. Administrators may do everything in their tenant, and nothing else crosses tenants, as ever.
//! 3. A bucket **without** a list of grants is decided as every other resource; its policy may allow more.
//! 4. A bucket **with** one is private: roles do not reach into it. Its owner may do what is no matter of grants, and read
//!    and change the lists; so may the owner of an object with the object's. All else takes a grant, or the policy.
//! 5. What a grant or a policy gives to others is narrowed by the security policy in force: if that lists roles, they must
//!    hold one; if it demands authentication, it stays closed to everybody who did not say who they are.
//!
//! Reading order: [`acl`], [`uses`], [`circumstances`], [`conditions`], [`document`], [`decision`].

pub mod acl;
pub mod circumstances;
pub mod conditions;
pub mod decision;
pub mod document;
pub(crate) mod pattern;
pub mod uses;

use serde::{Deserialize, Serialize};

pub use acl::{Acl, AclGrant, AclPermission, CannedAcl, GRANTS_MAX, Grantee};
pub use circumstances::Circumstances;
pub use decision::{Asked, ObjectSharing, Sharing, decide_shared, explain_shared};
pub use document::{InvalidPolicy, POLICY_BYTES_MAX, PolicyDocument, PolicyRequest, Verdict};
pub use uses::{AclDemand, Use};

/// What the owner of a bucket has said about sharing it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketSharing {
    /// The grants; `None` where nobody has ever set any: then roles decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<Acl>,
    /// The policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyDocument>,
    /// What keeps it from being public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<PublicAccessBlock>,
    /// Who owns what others write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ownership: Option<ObjectOwnership>,
}

/// What keeps a bucket from being public, whatever lists and policies say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAccessBlock {
    /// No new grants to groups.
    pub block_public_acls: bool,
    /// Grants to groups give nothing.
    pub ignore_public_acls: bool,
    /// No new policy that allows something to everybody.
    pub block_public_policy: bool,
    /// A policy that allows something to everybody allows it to principals of the tenant only.
    pub restrict_public_buckets: bool,
}

/// Who owns what others write into a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectOwnership {
    /// Whoever writes it.
    ObjectWriter,
    /// The owner of the bucket, if the writer gives it full control.
    BucketOwnerPreferred,
    /// The owner of the bucket; lists of grants give nothing.
    BucketOwnerEnforced,
}

impl BucketSharing {
    /// A bucket for its owner alone.
    pub fn private(owner: &cm_types::PrincipalId) -> Self {
        Self { acl: Some(CannedAcl::Private.acl(Some(owner), owner)), ..Self::default() }
    }

    /// What keeps it from being public.
    pub fn block(&self) -> PublicAccessBlock {
        self.block.unwrap_or_default()
    }

    /// Whether lists of grants count.
    pub fn has_acls(&self) -> bool {
        self.ownership != Some(ObjectOwnership::BucketOwnerEnforced)
    }

    /// Whether somebody who was not named may do something with the bucket.
    pub fn is_public(&self) -> bool {
        let by_acl = self.has_acls()
            && !self.block().ignore_public_acls
            && self.acl.as_ref().is_some_and(Acl::is_public);
        let by_policy = !self.block().restrict_public_buckets
            && self.policy.as_ref().is_some_and(PolicyDocument::is_public);
        by_acl || by_policy
    }
}
