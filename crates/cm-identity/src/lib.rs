//! Who there is and how they prove it: tenants, principals, passwords, API keys, tokens, and the node's own
//! keys.
//!
//! A [`Principal`] belongs to a tenant and holds roles, by id only; what a role permits is the catalogue's
//! and the policy's business. It proves itself with a password ([`Identity::login`]), an API key or a
//! token ([`Identity::authenticate`]); each way ends in an [`Authenticated`], which cannot be made otherwise.
//!
//! - **Passwords** are hashed with argon2id, off the runtime, a few at a time. An unknown name costs what a
//!   wrong password costs. Failures in a row lock a name, known or not, for a growing while.
//! - **Codes** of a device are a [second factor](second_factor) of passwords.
//! - **Passkeys** log in by themselves, and count as two factors; see [`passkey`].
//! - **API keys** read `cmk_<id>_<secret>` and last until revoked. Only a digest of the secret is kept.
//! - **Keys of S3** are API keys that requests are signed with ([`ApiKeyKind::S3`]); they open nothing else.
//! - **Sessions** are begun by a login, carried on by refreshing and ended by a logout; see [`session`].
//! - **Workloads** show certificates and tokens to each other, which name them in the manner of SPIFFE; see [`workload`] and, for
//!   those of others, [`federation`].
//! - **Tokens** are signed by the node and checked without being stored. They name the principal's
//!   credential epoch, which changes with the password and on disabling, so that all of them
//!   die at once; a single one dies by revocation, and one made with an API key dies with the key.
//!
//! Whatever changes something takes the transaction it belongs to and the [`Permit`](cm_policy::Permit) that
//! allows it, and appends its event to the same transaction. Changing somebody else's credentials or
//! anybody's roles takes a permit to *grant*, see [`CredentialRight`].
//!
//! Reading order: [`principal`], [`tenant`], [`profile`], [`credential`], [`second_factor`], [`passkey`], [`session`], [`identity`], [`lockout`],
//! [`provider`], [`workload`], [`federation`], [`account_key`], [`node_keys`], [`signing`], [`master`].

pub mod account_key;
pub mod credential;
mod error;
pub mod federation;
mod hashing;
pub mod identity;
pub mod lockout;
pub mod master;
pub mod node_keys;
pub mod passkey;
pub mod principal;
pub mod profile;
pub mod provider;
pub mod second_factor;
mod secret_digest;
pub mod session;
pub mod signing;
mod table;
pub mod tenant;
mod trail;
pub mod workload;

pub use account_key::{AccountKeyInfo, AccountScope};
pub use cm_crypto::cert::CertificateRequest;
pub use cm_crypto::foreign::{ForeignKeys, KEY_SET_LEN_MAX, claimed_issuer};
pub use cm_crypto::svid;
pub use credential::{ApiKeyInfo, ApiKeyKind, Authenticated, Credential, CredentialRight, TokenInfo, Via};
pub use error::{CredentialProblem, IdentityError, InvalidInput, NodeKeyError};
pub use federation::{TRUST_DOMAINS_MAX, TrustedDomain};
pub use identity::{Identity, Introspection, NewSession, Presented, TOKEN_TTL_DEFAULT, TOKEN_TTL_MAX};
pub use lockout::Source;
pub use master::MasterKey;
pub use node_keys::{NodeKeys, recorded_node_key};
pub use passkey::relying_party::{InvalidRelyingParty, ORIGINS_MAX, RelyingParty};
pub use passkey::{
    CheckedPasskey, ENROL_WITHIN, EndedPasskeys, PASSKEYS_MAX, PasskeyChallenge, PasskeyInfo, PasskeyProblem,
};
pub use principal::{NewPrincipal, Principal, PrincipalChange};
pub use profile::Profile;
pub use provider::{External, Provider, is_safe_url};
pub use second_factor::{Enrolment, SecondFactor};
pub use session::{LiveSession, SessionKind, SessionTokens};
pub use signing::{PublicKey, Purpose, SigningKeyInfo};
pub use table::TABLES;
pub use tenant::{NewTenant, Tenant};
pub use workload::{IssuedSvid, IssuedToken, SVID_TTL_DEFAULT, SVID_TTL_MAX, WORKLOADS_MAX, Workload};

#[cfg(test)]
mod tests;
