//! What can go wrong, by what a caller does about it.

use std::time::Duration;

use cm_catalog::CatalogError;
use cm_db::{DbError, StorageClass, StorageError};
use cm_events::EventError;
use cm_identity::{IdentityError, InvalidInput};
use cm_objects::ObjectError;
use cm_policy::declared::DeclarationError;
use cm_policy::{Denied, Explanation};
use cm_types::{PrincipalId, ResourceRef};

use crate::deployments::{QUOTA_RETRY_AFTER, QuotaKind};

/// Why an operation was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The caller has to say who it is, or what it presented proves nothing.
    #[error("authentication is required")]
    Unauthenticated,
    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(Explanation),
    /// There is no such thing, or the caller may not know of it.
    #[error("`{0}` does not exist")]
    NotFound(ResourceRef),
    /// A role, or somebody who has it, permits more than who would give it or take it away holds.
    #[error(
        "role `{role}` permits `{permission}`, which you do not hold and so can neither give nor take away"
    )]
    GivesMoreThanHeld {
        /// The role.
        role: String,
        /// The permission.
        permission: String,
    },
    /// A tenant has as many permission policies as it may have.
    #[error("a tenant may have at most {max} permission policies: put statements together in one")]
    TooManyPolicies {
        /// How many.
        max: usize,
    },
    /// The permission policies of a tenant take as much together as they may.
    #[error(
        "the permission policies of a tenant may take at most {max} entries, one for each of those that statements are for \
         with each of the things they speak of: use roles, groups and patterns in place of long lists"
    )]
    PoliciesTooLong {
        /// How many.
        max: usize,
    },
    /// Permission policies say what everybody may do.
    #[error("only administrators may write permission policies")]
    OnlyAdministrators,
    /// Who gets hold of the name gets what permission policies say of it.
    #[error("permission policies speak of `{0}`: only administrators may make it or its credentials")]
    NamedByPolicies(PrincipalId),
    /// Who has the credentials of a principal has what it owns; only an administrator may go that far.
    #[error("`{0}` owns records, so that only itself or an administrator may make credentials for it")]
    OwnsRecords(PrincipalId),
    /// A role that does not exist.
    #[error("role `{0}` does not exist")]
    NoSuchRole(String),
    /// The tenant has as much deployed as it may.
    #[error("{limit} {quota} are allowed at a time (`{}`), {taken} are taken and {asked} more asked for", .quota.setting())]
    QuotaReached {
        /// Of what.
        quota: QuotaKind,
        /// How much the tenant may have.
        limit: u64,
        /// How much it has.
        taken: u64,
        /// How much more was asked for.
        asked: u64,
    },
    /// The caller has as many challenges open or answered as are remembered.
    #[error("{max} challenges are remembered at a time; use those, or wait", max = crate::challenges::CHALLENGES_MAX)]
    TooManyChallenges {
        /// When some will have ended.
        retry_after: Duration,
    },
    /// The endpoint is not deployed, or not any more.
    #[error("`{0}` is not deployed")]
    NotDeployed(ResourceRef),
    /// The endpoint is deployed, and must be detached before its record can go.
    #[error("`{0}` is deployed; detach it first")]
    StillDeployed(ResourceRef),
    /// The key of a creation was used for something else before.
    #[error("the idempotency key `{0}` was used for another creation")]
    KeyReused(String),
    /// What was created under the key is gone.
    #[error("`{0}`, which was created under this idempotency key, exists no more")]
    CreationGone(ResourceRef),
    /// An idempotency key is too long, empty, or has a character that is not visible ASCII.
    #[error("an idempotency key is 1 to {max} visible ASCII characters", max = crate::idempotency::KEY_LEN_MAX)]
    InvalidKey,
    /// The administrator's key could not be kept on the first start, hence nothing was started.
    #[error("the administrator's token cannot be written")]
    AdminKey(#[source] std::io::Error),
    /// The file that says which node this is cannot be read or made.
    #[error("the node's id cannot be read or made")]
    NodeId(#[source] std::io::Error),
    /// This node is not one of several that agree on their database by themselves.
    #[error("this node is part of no network; `cryptomesh cluster found` makes one")]
    NoNetwork,
    /// As many nodes are invited as may be.
    #[error("{max} invitations are open; wait until some have ended", max = crate::network::INVITATIONS_MAX)]
    TooManyInvitations,
    /// Whoever wants to join has no invitation that holds.
    #[error(
        "the invitation is unknown, used, or has ended; ask an administrator of the network for a new one"
    )]
    NotInvited,
    /// There is no such node.
    #[error("the network has no node `{0}`")]
    NoSuchNode(cm_types::PeerId),
    /// What a node stores has to be elsewhere before it leaves.
    #[error("node `{0}` still stores chunks of objects; drain it first (`cryptomesh storage drain {0}`)")]
    NodeStores(cm_types::PeerId),
    /// A network has to keep a node.
    #[error("the last node cannot be removed")]
    LastNode,
    /// What an application declares about its own resources was refused.
    #[error(transparent)]
    Declaration(#[from] DeclarationError),
    /// A measure concerns the caller or where it is.
    #[error(
        "requests of yours, or from where you are, are refused for the time being; ask an operator of the node"
    )]
    Refused,
    /// The process is ending.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// Identities refused or failed.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The catalogue refused or failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The objects refused or failed.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The log refused or failed.
    #[error(transparent)]
    Events(#[from] EventError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What a caller does about an error. Faces choose their codes by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Authenticate.
    Unauthenticated,
    /// Ask for rights.
    Forbidden,
    /// Look elsewhere.
    NotFound,
    /// Resolve a conflict with what exists.
    Conflict,
    /// Read again, then change.
    Stale,
    /// Correct the input.
    Invalid,
    /// The input is larger than allowed.
    TooLarge,
    /// Ask for a part that exists.
    Range,
    /// Wait.
    TooMany {
        /// For how long.
        retry_after: Duration,
    },
    /// Try again.
    Unavailable,
    /// Report it; the details are in the node's log.
    Internal,
}

/// When to try again where nothing better is known.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

impl KernelError {
    /// The answer to a denied decision, with no more in it than its receiver may know.
    pub(crate) fn denied(denied: Denied, resource: ResourceRef) -> Self {
        match denied {
            Denied::Unauthenticated(_) => KernelError::Unauthenticated,
            Denied::Hidden(_) => KernelError::NotFound(resource),
            Denied::Forbidden(explanation) => KernelError::Forbidden(explanation),
        }
    }

    /// What a caller does about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            KernelError::Unauthenticated => ErrorClass::Unauthenticated,
            KernelError::Forbidden(_)
            | KernelError::GivesMoreThanHeld { .. }
            | KernelError::OnlyAdministrators
            | KernelError::NamedByPolicies(_)
            | KernelError::OwnsRecords(_) => ErrorClass::Forbidden,
            KernelError::NotFound(_) => ErrorClass::NotFound,
            KernelError::NoSuchRole(_) | KernelError::KeyReused(_) | KernelError::InvalidKey => {
                ErrorClass::Invalid
            }
            KernelError::CreationGone(_)
            | KernelError::TooManyPolicies { .. }
            | KernelError::PoliciesTooLong { .. } => ErrorClass::Conflict,
            KernelError::QuotaReached { .. } => ErrorClass::TooMany { retry_after: QUOTA_RETRY_AFTER },
            KernelError::TooManyChallenges { retry_after } => {
                ErrorClass::TooMany { retry_after: *retry_after }
            }
            KernelError::NotDeployed(_) | KernelError::StillDeployed(_) => ErrorClass::Conflict,
            KernelError::AdminKey(_) | KernelError::NodeId(_) => ErrorClass::Internal,
            KernelError::NoNetwork | KernelError::LastNode | KernelError::NodeStores(_) => {
                ErrorClass::Conflict
            }
            KernelError::TooManyInvitations => ErrorClass::TooMany { retry_after: RETRY_AFTER_DEFAULT },
            KernelError::NotInvited | KernelError::Refused => ErrorClass::Forbidden,
            KernelError::NoSuchNode(_) => ErrorClass::NotFound,
            KernelError::Declaration(error) => declaration_class(error),
            KernelError::ShuttingDown => ErrorClass::Unavailable,
            KernelError::Identity(error) => identity_class(error),
            KernelError::Catalog(error) => catalog_class(error),
            KernelError::Objects(error) => object_class(error),
            KernelError::Events(error) => event_class(error),
            KernelError::Db(error) => db_class(error),
        }
    }

    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        matches!(self.class(), ErrorClass::TooMany { .. } | ErrorClass::Unavailable)
    }
}

/// What the caller of something that is [`ErrorClass::Unavailable`] may know of the reason. No addresses: those are in the log.
pub fn why_unavailable(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let reasons = std::iter::successors(Some(error), |error| error.source());
    let storage = reasons.filter_map(|reason| reason.downcast_ref::<StorageError>()).next();
    match storage.map(|storage| storage.class) {
        Some(StorageClass::Unreachable) => {
            "the database does not answer, or too few of the nodes do that hold it; `cluster status` tells which. Try again later"
        }
        _ => "try again later",
    }
}

fn declaration_class(error: &DeclarationError) -> ErrorClass {
    match error {
        DeclarationError::NotFound { .. } => ErrorClass::NotFound,
        DeclarationError::Exists { .. }
        | DeclarationError::Cycle { .. }
        | DeclarationError::LastOwner(_)
        | DeclarationError::NoRoom { .. } => ErrorClass::Conflict,
        DeclarationError::Denied(_) => ErrorClass::Forbidden,
        DeclarationError::Invalid { .. } | DeclarationError::TooLong { .. } => ErrorClass::Invalid,
    }
}

fn identity_class(error: &IdentityError) -> ErrorClass {
    match error {
        IdentityError::InvalidCredential(_) | IdentityError::SecondFactorRequired => {
            ErrorClass::Unauthenticated
        }
        IdentityError::Locked { retry_after } | IdentityError::Busy { retry_after } => {
            ErrorClass::TooMany { retry_after: *retry_after }
        }
        IdentityError::NoSuchPrincipal
        | IdentityError::NoSuchTenant
        | IdentityError::NoSuchApiKey
        | IdentityError::NoSuchProvider
        | IdentityError::NoSuchSecondFactor
        | IdentityError::NoSuchPasskey
        | IdentityError::NoSuchAccountKey
        | IdentityError::NoSuchTrustDomain
        | IdentityError::NoSuchSession => ErrorClass::NotFound,
        IdentityError::Exists
        | IdentityError::LastAdministrator
        | IdentityError::TooManyApiKeys { .. }
        | IdentityError::TooManyProviders { .. }
        | IdentityError::TooManyTrustDomains { .. }
        | IdentityError::NoTrustDomain
        | IdentityError::SecondFactorExists
        | IdentityError::PasskeysOff
        | IdentityError::PasskeyExists
        | IdentityError::TooManyPasskeys { .. }
        | IdentityError::TooManyAccountKeys { .. }
        | IdentityError::TenantExists
        | IdentityError::TenantInUse(_) => ErrorClass::Conflict,
        IdentityError::Stale { .. } => ErrorClass::Stale,
        IdentityError::Invalid(InvalidInput::ReservedId) => ErrorClass::Conflict,
        IdentityError::Invalid(_)
        | IdentityError::UnnameableWorkload(_)
        | IdentityError::Request(_)
        | IdentityError::NotAToken
        | IdentityError::PasskeyRefused(_)
        | IdentityError::WrongCode => ErrorClass::Invalid,
        IdentityError::RolesNeedGrant
        | IdentityError::Vouched
        | IdentityError::NotAWorkload
        | IdentityError::OldPasswordRequired
        | IdentityError::WrongOldPassword
        | IdentityError::FactorNotShown
        | IdentityError::LoginTooLongAgo { .. }
        | IdentityError::NotInPerson => ErrorClass::Forbidden,
        IdentityError::WrongPermit
        | IdentityError::SecondFactorUnusable
        | IdentityError::NodeKeys(_)
        | IdentityError::Key(_)
        | IdentityError::MasterKey { .. } => ErrorClass::Internal,
        IdentityError::ShuttingDown => ErrorClass::Unavailable,
        IdentityError::Db(error) => db_class(error),
        IdentityError::Events(error) => event_class(error),
    }
}

fn catalog_class(error: &CatalogError) -> ErrorClass {
    match error {
        CatalogError::NotFound(_) => ErrorClass::NotFound,
        CatalogError::Exists(_)
        | CatalogError::StillReferenced { .. }
        | CatalogError::TooManyCascades { .. }
        | CatalogError::IllegalTransition { .. }
        | CatalogError::AppendOnly(_)
        | CatalogError::BuiltIn(_) => ErrorClass::Conflict,
        CatalogError::Invalid(_)
        | CatalogError::DanglingReference { .. }
        | CatalogError::NotCatalogued(_)
        | CatalogError::InvalidCursor => ErrorClass::Invalid,
        CatalogError::Stale { .. } => ErrorClass::Stale,
        CatalogError::PermitMismatch { .. } => ErrorClass::Internal,
        CatalogError::Db(error) => db_class(error),
        CatalogError::Events(error) => event_class(error),
    }
}

fn object_class(error: &ObjectError) -> ErrorClass {
    match error {
        ObjectError::NotFound { .. }
        | ObjectError::VersionNotFound { .. }
        | ObjectError::IsMarker { .. }
        | ObjectError::BucketNotFound { .. }
        | ObjectError::UploadNotFound { .. } => ErrorClass::NotFound,
        ObjectError::BucketExists { .. }
        | ObjectError::BucketNotEmpty { .. }
        | ObjectError::Locked { .. }
        | ObjectError::LockingNeedsVersions { .. } => ErrorClass::Conflict,
        ObjectError::AlreadyExists { .. } | ObjectError::PreconditionFailed { .. } => ErrorClass::Stale,
        ObjectError::DigestMismatch { .. }
        | ObjectError::Md5Mismatch
        | ObjectError::KeyRequired { .. }
        | ObjectError::WrongKey { .. }
        | ObjectError::PartNotFound { .. }
        | ObjectError::PartOrder
        | ObjectError::PartTooSmall { .. }
        | ObjectError::DescriptionTooLong { .. }
        | ObjectError::DescriptionCharacter { .. }
        | ObjectError::NotLockable { .. }
        | ObjectError::TooManyTags { .. }
        | ObjectError::InvalidTag { .. }
        | ObjectError::TooManyRules { .. }
        | ObjectError::Body(_)
        | ObjectError::InvalidCursor => ErrorClass::Invalid,
        ObjectError::TooLarge { .. } => ErrorClass::TooLarge,
        ObjectError::QuotaExceeded { .. } | ObjectError::TooMuchToCount { .. } => ErrorClass::Conflict,
        ObjectError::Elastic(_) | ObjectError::ColdDays { .. } => ErrorClass::Invalid,
        ObjectError::RangeNotSatisfiable { .. } => ErrorClass::Range,
        ObjectError::Busy | ObjectError::Overtaken | ObjectError::TooManyUploads { .. } => {
            ErrorClass::TooMany { retry_after: RETRY_AFTER_DEFAULT }
        }
        ObjectError::Lost
        | ObjectError::NotEnoughPeers { .. }
        | ObjectError::Unreachable { .. }
        | ObjectError::ColdUnavailable { .. } => ErrorClass::Unavailable,
        ObjectError::Layout(_)
        | ObjectError::NotConnected
        | ObjectError::NoColdTier
        | ObjectError::TooFewPeers { .. } => ErrorClass::Conflict,
        ObjectError::NotPermitted { .. }
        | ObjectError::Damaged(_)
        | ObjectError::InUse { .. }
        | ObjectError::ConnectedAlready
        | ObjectError::ColdAlready
        | ObjectError::Storage { .. } => ErrorClass::Internal,
        ObjectError::Db(error) => db_class(error),
        ObjectError::Events(error) => event_class(error),
    }
}

fn event_class(error: &EventError) -> ErrorClass {
    match error {
        EventError::Db(error) => db_class(error),
        _ => ErrorClass::Internal,
    }
}

fn db_class(error: &DbError) -> ErrorClass {
    if error.retryable() { ErrorClass::Unavailable } else { ErrorClass::Internal }
}
