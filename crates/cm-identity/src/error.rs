//! What can go wrong with identities.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cm_crypto::CryptoError;
use cm_db::DbError;
use cm_events::EventError;
use cm_types::{Generation, InvalidSpiffeId, ResourceId};

use crate::passkey::PasskeyProblem;

/// Why something about identities was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The credential proves nothing. The text is the same for every problem; the log may have the details.
    #[error("the credential is not valid")]
    InvalidCredential(CredentialProblem),
    /// Too many failed logins under this name; the password was not looked at.
    #[error("too many failed logins, try again in {} seconds", retry_after.as_secs().max(1))]
    Locked {
        /// How long the lock still holds.
        retry_after: Duration,
    },
    /// Too many logins at once; the password was not looked at.
    #[error("too many logins at once, try again later")]
    Busy {
        /// When it may be worth trying again.
        retry_after: Duration,
    },
    /// There is no such principal.
    #[error("there is no such principal")]
    NoSuchPrincipal,
    /// There is no such tenant.
    #[error("there is no such tenant")]
    NoSuchTenant,
    /// The principal has no such API key.
    #[error("there is no such API key")]
    NoSuchApiKey,
    /// The id is taken.
    #[error("a principal of this id exists already")]
    Exists,
    /// The principal changed since the caller read it.
    #[error("expected generation {expected} but found {found}")]
    Stale {
        /// What the caller expected.
        expected: Generation,
        /// What there is.
        found: Generation,
    },
    /// The input breaks a rule.
    #[error(transparent)]
    Invalid(InvalidInput),
    /// Roles are given or taken without a permit to grant.
    #[error("changing roles needs the permission to grant")]
    RolesNeedGrant,
    /// Nobody could administrate the tenant any more.
    #[error("this is the last administrator of the tenant")]
    LastAdministrator,
    /// The principal has as many API keys as one may have.
    #[error("a principal may have at most {max} API keys")]
    TooManyApiKeys {
        /// The limit.
        max: usize,
    },
    /// There is no such key of an application.
    #[error("there is no such key")]
    NoSuchAccountKey,
    /// The tenant has as many keys of applications as one may have.
    #[error("a tenant may have at most {max} keys of applications")]
    TooManyAccountKeys {
        /// The limit.
        max: usize,
    },
    /// The tenant trusts no such identity provider.
    #[error("there is no such identity provider")]
    NoSuchProvider,
    /// The tenant trusts as many identity providers as one may.
    #[error("a tenant may trust at most {max} identity providers")]
    TooManyProviders {
        /// The limit.
        max: usize,
    },
    /// The password is right, and a code of the second factor is needed besides.
    #[error("a code of the second factor is required")]
    SecondFactorRequired,
    /// The principal has a second factor already.
    #[error("there is a second factor already; remove it first")]
    SecondFactorExists,
    /// The principal has no second factor.
    #[error("there is no second factor")]
    NoSuchSecondFactor,
    /// A code of the second factor is another one, or was used before.
    #[error("the code is wrong, or was used before")]
    WrongCode,
    /// Somebody whom an identity provider vouches for would have a credential that outlives the provider's word.
    #[error(
        "whom an identity provider vouches for has no credentials of its own; exchange the provider's token again, \
         or make a principal of this node for what needs a key or a password"
    )]
    Vouched,
    /// A second factor or a passkey was to be enrolled by another credential than those of people.
    #[error(
        "second factors and passkeys are enrolled and changed in a session that a password or a passkey began; \
         log in (`cryptomesh login`), and use no API key, nor a token that was made of another"
    )]
    NotInPerson,
    /// What guards the account already was not shown when the session began.
    #[error(
        "the account has a second factor or a passkey, and this session began without; log in with one of them, or ask who may grant \
         to reset them"
    )]
    FactorNotShown,
    /// A second factor or a passkey was to be enrolled long after the login.
    #[error(
        "log in again: second factors and passkeys are enrolled within {} minutes of logging in, so that whoever found a \
         token enrols none", within.as_secs() / 60
    )]
    LoginTooLongAgo {
        /// How long after the login they are enrolled.
        within: Duration,
    },
    /// The node is not known to browsers.
    #[error("this node has no passkeys; set `identity.passkeys.origins`")]
    PasskeysOff,
    /// What a device made for a registration is not taken.
    #[error("the passkey is not accepted: {0}")]
    PasskeyRefused(PasskeyProblem),
    /// The credential is registered already, whosever it is.
    #[error("this passkey is registered already")]
    PasskeyExists,
    /// The principal has as many passkeys as one may have.
    #[error("a principal may have at most {max} passkeys")]
    TooManyPasskeys {
        /// The limit.
        max: usize,
    },
    /// The principal has no such passkey, or none at all.
    #[error("there is no such passkey")]
    NoSuchPasskey,
    /// Somebody would change its own password without showing the old one, or would give itself the first.
    #[error(
        "your own password is changed by the old one; without it, or for a first one, it is set by who may grant"
    )]
    OldPasswordRequired,
    /// The old password is another one.
    #[error("the old password is wrong")]
    WrongOldPassword,
    /// The secret of a second factor is none.
    #[error("the second factor cannot be used")]
    SecondFactorUnusable,
    /// The principal was not made a workload, or is disabled.
    #[error("the principal is no workload; somebody who may grant makes it one (`cryptomesh svid register`)")]
    NotAWorkload,
    /// The request for a certificate is none, or was not signed with the key that it is about.
    #[error("expected a certificate request (PKCS#10) in PEM for an ECDSA P-256 key, signed with that key")]
    Request(#[source] CryptoError),
    /// The node has no name to issue documents of workloads in.
    #[error("this node has no trust domain; set `identity.trust_domain`")]
    NoTrustDomain,
    /// The name of the principal, or its tenant's, cannot stand in a SPIFFE id.
    #[error(
        "the name of this principal or its tenant cannot be that of a workload: letters, digits and `.-_` only"
    )]
    UnnameableWorkload(#[from] InvalidSpiffeId),
    /// The trust domain is not one that is trusted.
    #[error("there is no such trust domain")]
    NoSuchTrustDomain,
    /// As many trust domains are trusted as may be.
    #[error("a node may trust at most {max} trust domains")]
    TooManyTrustDomains {
        /// The most.
        max: usize,
    },
    /// The id of a tenant is taken.
    #[error("a tenant of this id exists already")]
    TenantExists,
    /// A tenant that still has principals, or the first one.
    #[error("the tenant `{0}` is still in use, or the first one; remove what it holds before")]
    TenantInUse(cm_types::TenantId),
    /// The principal has no session of this name.
    #[error("there is no such session")]
    NoSuchSession,
    /// A signing key could not be made or used.
    #[error("a signing key could not be used")]
    Key(#[source] CryptoError),
    /// A signing key was sealed under another master key than the one in use.
    #[error(
        "a signing key is sealed under the master key {expected}, which is not the one in use; \
         start the node with that one, or have the keys rotated at once"
    )]
    MasterKey {
        /// The name of the key under which it is sealed.
        expected: String,
    },
    /// Logging out takes a token; another credential has nothing to revoke.
    #[error("the credential in use is not a token")]
    NotAToken,
    /// The permit is for something else than what is about to be changed: a mistake of the caller.
    #[error("the permit does not cover this principal")]
    WrongPermit,
    /// The node's keys cannot be used.
    #[error("the node's keys cannot be used")]
    NodeKeys(#[source] NodeKeyError),
    /// Work was given up because the process is ending.
    #[error("the process is shutting down")]
    ShuttingDown,
    /// The database failed.
    #[error("the database failed")]
    Db(#[from] DbError),
    /// The event could not be recorded, hence nothing was changed.
    #[error("the event could not be recorded")]
    Events(#[from] EventError),
}

impl From<InvalidInput> for IdentityError {
    fn from(problem: InvalidInput) -> Self {
        IdentityError::Invalid(problem)
    }
}

impl From<NodeKeyError> for IdentityError {
    fn from(error: NodeKeyError) -> Self {
        IdentityError::NodeKeys(error)
    }
}

impl From<CredentialProblem> for IdentityError {
    fn from(problem: CredentialProblem) -> Self {
        IdentityError::InvalidCredential(problem)
    }
}

/// Why a credential proves nothing. For logs and tests; a client is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CredentialProblem {
    /// Neither an API key nor a token in form.
    #[error("the credential is neither an API key nor a token")]
    Malformed,
    /// A token that this node did not sign, or that was altered.
    #[error("the token was not signed by this node")]
    NotOurs,
    /// A token for somebody else to accept.
    #[error("the token is for another audience")]
    OtherAudience,
    /// A token that another has taken the place of, or of a session that has ended.
    #[error("the token was refreshed or its session has ended")]
    Replaced,
    /// A refresh token that was used before: whoever has it is not the only one.
    #[error("the refresh token was used before")]
    Reused,
    /// A token that is good, and another's than whose name and secret were shown.
    #[error("the token is of another principal")]
    OtherPrincipal,
    /// A token past its end, or dated into the future.
    #[error("the token is expired or not yet valid")]
    Expired,
    /// A token or key that was revoked, or a token of an earlier credential epoch.
    #[error("the credential was revoked")]
    Revoked,
    /// The principal is disabled.
    #[error("the principal is disabled")]
    Disabled,
    /// No such API key, or another secret.
    #[error("the API key is unknown")]
    UnknownKey,
    /// The principal does not exist.
    #[error("the principal does not exist")]
    UnknownPrincipal,
    /// A token of an identity provider that says nothing by which a role is given.
    #[error("the provider's token gives no role here")]
    NoRole,
    /// The password is right, but the code of the second factor is another one, or was used before.
    #[error("the code of the second factor is wrong or was used before")]
    WrongCode,
    /// The password is another one, or the principal has none.
    #[error("the password is wrong")]
    WrongPassword,
    /// No such passkey.
    #[error("the passkey is unknown")]
    UnknownPasskey,
    /// The answer of a passkey that does not hold.
    #[error("the answer of the passkey is refused: {0}")]
    Passkey(PasskeyProblem),
}

/// Which rule an input breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInput {
    /// A name or a label.
    #[error("{field} must have 1 to {max} bytes and no control characters")]
    Text {
        /// Which field.
        field: &'static str,
        /// The most bytes.
        max: usize,
    },
    /// The number of roles.
    #[error("a principal may have at most {max} roles")]
    Roles {
        /// The most roles.
        max: usize,
    },
    /// A role that is listed twice.
    #[error("role `{0}` is listed twice")]
    DuplicateRole(ResourceId),
    /// The length of a password.
    #[error("a password must have {min} to {max} bytes")]
    PasswordLength {
        /// The fewest bytes.
        min: usize,
        /// The most bytes.
        max: usize,
    },
    /// The lifetime of a token or a document.
    #[error("{field} must be 1 to {}", max.as_secs())]
    Ttl {
        /// Which field; it counts seconds.
        field: &'static str,
        /// The longest.
        max: Duration,
    },
    /// A field of a profile.
    #[error("{field} must have at most {max} bytes and no control characters")]
    Profile {
        /// Which field.
        field: &'static str,
        /// The most bytes.
        max: usize,
    },
    /// Something about an identity provider.
    #[error("{field}: {rule}")]
    Provider {
        /// Which field.
        field: &'static str,
        /// What is expected.
        rule: &'static str,
    },
    /// Something about a trust domain.
    #[error("{field}: {rule}")]
    TrustDomain {
        /// Which field.
        field: &'static str,
        /// What is expected.
        rule: &'static str,
    },
    /// The audiences of a token.
    #[error("audience: expected 1 to {max} texts of 1 to {len_max} bytes without control characters")]
    Audience {
        /// The most audiences.
        max: usize,
        /// The most bytes of one.
        len_max: usize,
    },
    /// An id that the product uses itself.
    #[error("the id is reserved")]
    ReservedId,
    /// A cursor that no list returned.
    #[error("the cursor is not one of this list")]
    Cursor,
}

impl InvalidInput {
    /// The field of the request that breaks the rule. Where a field has another name at some face, the message says what is meant.
    pub fn field(&self) -> &'static str {
        match self {
            InvalidInput::Text { field, .. }
            | InvalidInput::Ttl { field, .. }
            | InvalidInput::Profile { field, .. }
            | InvalidInput::Provider { field, .. }
            | InvalidInput::TrustDomain { field, .. } => field,
            InvalidInput::Roles { .. } | InvalidInput::DuplicateRole(_) => "roles",
            InvalidInput::PasswordLength { .. } => "password",
            InvalidInput::Audience { .. } => "audience",
            InvalidInput::ReservedId => "id",
            InvalidInput::Cursor => "after",
        }
    }
}

/// Why the node's keys cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NodeKeyError {
    /// Data exists, but the keys that belong to it do not.
    #[error(
        "{} does not hold the node's keys, but the database belongs to key {expected}; \
         restore the directory from a backup, or start with an empty data directory", dir.display()
    )]
    Missing {
        /// Where the keys should be.
        dir: PathBuf,
        /// The id of the signing key that the database belongs to.
        expected: String,
    },
    /// The keys are not those that the data belongs to.
    #[error(
        "the node's key is {found}, but the database belongs to key {expected}; \
         restore the keys from a backup, or start with an empty data directory"
    )]
    Mismatch {
        /// The id of the signing key that the database belongs to.
        expected: String,
        /// The id of the signing key that was found.
        found: String,
    },
    /// Some of the files are there and others are not.
    #[error("{} is missing while other keys of the node exist; restore it from a backup", path.display())]
    Incomplete {
        /// The missing file.
        path: PathBuf,
    },
    /// Others than the owner may read or write.
    #[error(
        "{} is accessible to others than its owner (mode {mode:03o}); run: chmod go-rwx {}",
        path.display(), path.display()
    )]
    Permissions {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file does not hold what it should.
    #[error("{} does not hold a usable key", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CryptoError,
    },
    /// A key could not be generated.
    #[error("the keys could not be generated")]
    Generate(#[source] CryptoError),
    /// Reading or writing failed.
    #[error("{} cannot be read or written", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
}
