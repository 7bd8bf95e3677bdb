//! Sessions: what a login begins, a refresh carries on and a logout ends.
//!
//! A session is a row; it has exactly one live token at a time. Refreshing makes another and ends the one before. So that
//! nobody can carry on a session beside its owner, a refresh token can be used once: `Refresh` numbers its turns, and a
//! turn that is over proves that somebody kept a copy. Then the whole session ends (RFC 9700, section 4.14.2).
//!
//! | kind | signed with | who accepts it | refreshed with |
//! | --- | --- | --- | --- |
//! | [`SessionKind::Api`] | Ed25519 | every face that takes bearer tokens | a refresh token |
//! | [`SessionKind::Xolo3`], [`SessionKind::Xolo4`] | HMAC-SHA-256, as their clients know it | the Xolo dialect | the live token itself |
//!
//! No token and no refresh token is stored. A token of the dialect is made anew from its row whenever it is asked for, which
//! gives the same text; refresh tokens and temporal secrets are derived from the node's secret.

use cm_crypto::jws::{self, TokenType};
use cm_crypto::{Secret, digest, secret};
use cm_types::{PrincipalId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::signing::{OpenKey, Signer};
use crate::table::SessionRow;
use crate::{Authenticated, Credential, Identity, Principal};

/// What every refresh token begins with, for people and for tools that look for leaked secrets.
pub(crate) const REFRESH_PREFIX: &str = "cmr_";
/// What the key of refresh tokens is derived for.
const REFRESH_SECRET: &str = "cryptomesh/refresh-token/v1";
/// What temporal secrets are derived for.
const TEMPORAL_SECRET: &str = "cryptomesh/xolo-temporal-secret/v1";
/// Whom tokens of the dialect are for.
const XOLO_AUDIENCE: &str = "xolo";
const MICROS_PER_SEC: i64 = 1_000_000;

/// Which protocol a session is of. Tokens of one are never accepted as another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionKind {
    /// The native API, and all faces that take its tokens.
    Api,
    /// The first protocol of Xolo.
    Xolo3,
    /// Today's protocol of Xolo.
    Xolo4,
}

impl SessionKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            SessionKind::Api => "api",
            SessionKind::Xolo3 => "xolo-3",
            SessionKind::Xolo4 => "xolo-4",
        }
    }
}

/// What begins or carries on a session. Its texts are shown this once.
#[derive(Clone, Debug)]
pub struct SessionTokens {
    /// The session's id, which is no secret.
    pub session: String,
    /// The live token.
    pub token: Secret<String>,
    /// Its id.
    pub jti: String,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// What carries the session on; of the native API only.
    pub refresh: Option<Secret<String>>,
    /// When the session ends, however often it is refreshed.
    pub session_ends_at: Timestamp,
}

/// A session whose live token was shown.
#[derive(Clone, Debug)]
pub struct LiveSession {
    /// The session's id.
    pub id: String,
    /// Whose it is.
    pub principal: Principal,
    /// What it is for: a scope of the dialect.
    pub label: String,
    /// The token's id.
    pub jti: String,
    /// When the token ends.
    pub expires_at: Timestamp,
    pub(crate) began_at: Timestamp,
    pub(crate) turn: u64,
}

impl LiveSession {
    /// Who showed the token, as faces need it.
    pub fn authenticated(&self) -> Authenticated {
        let (jti, expires_at) = (self.jti.clone(), self.expires_at);
        let credential = Credential::Token {
            jti,
            expires_at,
            api_key: None,
            session: Some(self.id.clone()),
            within: None,
            via: None,
        };
        Authenticated::new(self.principal.clone(), credential).since(self.began_at)
    }
}

/// A refresh token, taken apart and found to be ours. Whether its turn has come is said by the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refresh {
    pub(crate) session: String,
    pub(crate) turn: u64,
}

/// What a token of the dialect claims.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct XoloClaims {
    pub(crate) sub: PrincipalId,
    /// The account.
    pub(crate) aid: TenantId,
    /// The scope, as earlier services have it.
    pub(crate) iss: String,
    pub(crate) aud: String,
    /// Seconds since 1970.
    pub(crate) iat: i64,
    /// Seconds since 1970.
    pub(crate) exp: i64,
    pub(crate) jti: String,
    /// The session.
    pub(crate) uid2: String,
    /// Which protocol it is of.
    pub(crate) kind: SessionKind,
}

impl XoloClaims {
    fn of(session: &str, row: &SessionRow) -> Self {
        Self {
            sub: row.principal.clone(),
            aid: row.tenant.clone(),
            iss: row.label.clone(),
            aud: XOLO_AUDIENCE.to_owned(),
            iat: row.issued_at.as_secs(),
            exp: row.token_ends_at.as_secs(),
            jti: row.jti.clone(),
            uid2: session.to_owned(),
            kind: row.kind,
        }
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.aud == XOLO_AUDIENCE
    }

    pub(crate) fn expires_at(&self) -> Timestamp {
        Timestamp::from_micros(self.exp.saturating_mul(MICROS_PER_SEC))
    }
}

impl Identity {
    /// The text of the live token of a session.
    pub(crate) fn session_token(&self, session: &str, row: &SessionRow, key: &OpenKey) -> Secret<String> {
        let text = match &key.signer {
            Signer::Ed25519(signing) => {
                jws::sign(signing, TokenType::ACCESS, &json(&self.claims_of_session(session, row)))
            }
            Signer::Mac(mac) => mac.sign(&json(&XoloClaims::of(session, row))),
            Signer::P256(_) | Signer::Authority(_) => {
                unreachable!("the purpose of a session's key is chosen by its kind")
            }
        };
        Secret::new(text)
    }

    /// The refresh token of a session's turn.
    pub(crate) fn refresh_token(&self, session: &str, turn: u64) -> Secret<String> {
        let mac = self.keys().secret_for(&format!("{REFRESH_SECRET}/{session}/{turn}"));
        Secret::new(format!("{REFRESH_PREFIX}{session}_{turn}_{}", hex::encode(mac.expose())))
    }

    /// Takes a refresh token apart; `None` unless we made it. What we made and is over tells a thief from a guesser.
    pub(crate) fn parse_refresh(&self, text: &str) -> Option<Refresh> {
        let mut parts = text.strip_prefix(REFRESH_PREFIX)?.splitn(3, '_');
        let (session, turn) = (parts.next()?, parts.next()?.parse().ok()?);
        let in_form = session.len() == 32 && session.bytes().all(|b| b.is_ascii_hexdigit());
        let expected = self.refresh_token(session, turn);
        let ours = secret::constant_time_eq(expected.expose().as_bytes(), text.as_bytes());
        (in_form && ours).then(|| Refresh { session: session.to_owned(), turn })
    }

    /// The second secret of a session of the dialect: opaque, bound to the session's live token, and no key of anything.
    pub fn temporal_secret(&self, session: &str, jti: &str) -> Secret<String> {
        let bytes = self.keys().secret_for(&format!("{TEMPORAL_SECRET}/{session}/{jti}"));
        Secret::new(hex::encode(&bytes.expose()[..16]))
    }

    /// Whether this is the temporal secret of a session whose live token was shown.
    pub fn is_temporal_secret(&self, session: &LiveSession, text: &str) -> bool {
        let expected = self.temporal_secret(&session.id, &session.jti);
        // Digests, so that not even the length is told.
        let (a, b) = (digest::sha256(expected.expose().as_bytes()), digest::sha256(text.as_bytes()));
        secret::constant_time_eq(a.as_bytes(), b.as_bytes())
    }
}

fn json(claims: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(claims).expect("the claims are strings and numbers")
}
