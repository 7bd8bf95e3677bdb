//! Credentials as callers see them.

use cm_policy::{Grant, Permit, Update};
use cm_types::{PrincipalId, ResourceId, TenantId, Timestamp};

use crate::Principal;

/// The result of authenticating: who it is and by what it was proven. Only this crate makes one, so holding
/// it is as good as having checked. It speaks of the moment of the check; keep it for one request.
#[derive(Clone, Debug)]
pub struct Authenticated {
    principal: Principal,
    credential: Credential,
    second_factor: bool,
    began_at: Option<Timestamp>,
}

impl Authenticated {
    pub(crate) fn new(principal: Principal, credential: Credential) -> Self {
        Self { principal, credential, second_factor: false, began_at: None }
    }

    pub(crate) fn with_second_factor(self) -> Self {
        Self { second_factor: true, ..self }
    }

    /// Somebody whose session began then.
    pub(crate) fn since(self, began_at: Timestamp) -> Self {
        Self { began_at: Some(began_at), ..self }
    }

    /// When the session began whose token it is, however often that was refreshed; `None` for what was shown just now, and for
    /// what is of no session.
    pub fn began_at(&self) -> Option<Timestamp> {
        self.began_at
    }

    /// Whether a second factor was shown besides, or a passkey, now or when the session began.
    pub fn has_second_factor(&self) -> bool {
        self.second_factor
    }

    /// Whether a person showed a password or a passkey for it: just now, or to begin the session whose live token it is. API keys, what
    /// was made of other tokens and whom a provider vouches for do not count. It does not say that the person is still there: a
    /// session lasts thirty days, and its token may have been stolen ([`Identity::is_recent`](crate::Identity::is_recent)).
    pub fn is_in_person(&self) -> bool {
        match &self.credential {
            Credential::Password | Credential::Passkey { .. } => true,
            Credential::Token { api_key, session, within, via, .. } => {
                session.is_some() && api_key.is_none() && within.is_none() && via.is_none()
            }
            Credential::ApiKey { .. } | Credential::External { .. } => false,
        }
    }

    /// Who it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// By what it was proven.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }
}

/// By what a principal proved itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Its password, just now.
    Password,
    /// A passkey of its own, just now.
    Passkey {
        /// The passkey's id, which is no secret.
        id: String,
    },
    /// An API key, sent along or signed with.
    ApiKey {
        /// The key's id, which is no secret.
        id: String,
    },
    /// A token of an identity provider, just now.
    External {
        /// The provider, as it is trusted now.
        via: Via,
        /// When that token ends.
        expires_at: Timestamp,
    },
    /// A token.
    Token {
        /// The token's id, which is no secret.
        jti: String,
        /// When it ends.
        expires_at: Timestamp,
        /// The API key that it was made with, if any; it ends with the key.
        api_key: Option<String>,
        /// The session whose live token it is, if any; it ends with the session.
        session: Option<String>,
        /// The session by whose token it was made, if any: it ends with that session, however it ends, and ending it ends
        /// nothing else.
        within: Option<String>,
        /// The provider of whose token it was made, if any; it ends with the trust in that.
        via: Option<Via>,
    },
}

/// A provider that vouched for somebody, and what trust in it that was by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// What the tenant calls the provider.
    pub provider: ResourceId,
    /// Which trust: another one each time somebody says how far the provider is trusted.
    pub epoch: String,
}

/// What a key opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiKeyKind {
    /// It is sent along as a bearer token; only a digest of it is kept.
    #[default]
    Bearer,
    /// Requests of S3 are signed with it. Whoever checks a signature needs the secret itself: it is derived from the
    /// node's own secret and the key's id whenever it is needed, and kept nowhere.
    S3,
}

/// An API key without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyInfo {
    /// Its id: the middle part of its text, or the access key id of S3.
    pub id: String,
    /// What it opens.
    pub kind: ApiKeyKind,
    /// What it is for, in its owner's words.
    pub label: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A token without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// Its id.
    pub jti: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// By what right the credentials of a principal are changed.
///
/// Being allowed to update a principal is not enough: whoever could set the administrator's password would
/// be the administrator.
#[derive(Clone, Copy, Debug)]
pub enum CredentialRight<'a> {
    /// The principal changes its own; the permit must be held by the very principal it is for.
    Own(&'a Permit<Update>),
    /// Somebody who may grant changes them.
    Granted(&'a Permit<Grant>),
}

impl CredentialRight<'_> {
    /// Who acts.
    pub(crate) fn actor(&self) -> Option<&PrincipalId> {
        match self {
            CredentialRight::Own(permit) => permit.principal(),
            CredentialRight::Granted(permit) => permit.principal(),
        }
    }

    pub(crate) fn tenant(&self) -> &TenantId {
        match self {
            CredentialRight::Own(permit) => permit.tenant(),
            CredentialRight::Granted(permit) => permit.tenant(),
        }
    }
}
