//! Tokens: signed by the node, checked without being stored.
//!
//! They are signed with a key that takes turns ([`crate::signing`]). Those that were signed with the node's own key, before
//! there were such keys, are accepted until they expire.

use std::time::Duration;

use cm_crypto::jws::{self, TokenType};
use cm_crypto::{Secret, secret};
use cm_db::{Direction, KeyRange, ReadTx, WriteTx};
use cm_types::{PrincipalId, RequestId, ResourceId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Identity, key_of};
use crate::signing::{OpenKey, Purpose, Signer};
use crate::table::{Mark, Principals, RevokedTokenRow, RevokedTokens, RevokedTokensByExpiry};
use crate::trail::Entry;
use crate::{Authenticated, Credential, CredentialProblem, IdentityError, InvalidInput, TokenInfo, Via};

/// How long a token lives unless told.
pub const TOKEN_TTL_DEFAULT: Duration = Duration::from_secs(3600);
/// How long a token may live.
pub const TOKEN_TTL_MAX: Duration = Duration::from_secs(24 * 3600);
/// How far into the future a token may be dated: the node's own clock may have been set back since.
pub(crate) const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);
/// Expired revocations that each revocation clears away. More than one, so that they never pile up.
const CLEARED_AT_ONCE: usize = 16;
const MICROS_PER_SEC: i64 = 1_000_000;

/// What a token claims (RFC 7519 names where there are any).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenClaims {
    /// Who issued it; the id of the node's key in those that it signed itself.
    pub(super) iss: String,
    pub(super) sub: PrincipalId,
    pub(super) tid: TenantId,
    /// Seconds since 1970.
    pub(super) iat: i64,
    /// Seconds since 1970.
    pub(super) exp: i64,
    pub(super) jti: String,
    /// The principal's credential epoch.
    pub(super) epoch: String,
    /// The API key that the token was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    /// Whom it is for: the issuer itself. Absent in tokens that the node's own key signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) aud: Option<String>,
    /// Which client asked for it (RFC 9068, section 2.2): nobody registers clients here, so it is the principal itself. Absent in
    /// tokens of before it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client_id: Option<String>,
    /// The session whose live token it is; without one it lives until it expires or is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sid: Option<String>,
    /// The session by whose token it was made: it is worth nothing once that has ended, lest whoever stole the session's
    /// token once kept what it made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) within: Option<String>,
    /// The provider of whose token it was made: it is worth nothing once that is trusted no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) via: Option<ResourceId>,
    /// Which trust in the provider that was. Absent in tokens of before trusts were told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) via_epoch: Option<String>,
}

/// What a token that holds is.
#[derive(Clone, Debug)]
pub struct Introspection {
    /// Whose it is, and which.
    pub authenticated: Authenticated,
    /// Seconds since 1970.
    pub issued_at: i64,
    /// Who issued it; of the Xolo dialect the scope, as its tokens say.
    pub issuer: String,
    /// Whom it is for; not said by tokens that the node's own key signed.
    pub audience: Option<String>,
    /// Which client asked for it, if it says so.
    pub client: Option<String>,
}

impl TokenClaims {
    pub(super) fn expires_at(&self) -> Timestamp {
        Timestamp::from_micros(self.exp.saturating_mul(MICROS_PER_SEC))
    }

    /// The provider of whose token it was made.
    pub(super) fn via(&self) -> Option<Via> {
        let epoch = self.via_epoch.clone().unwrap_or_default();
        self.via.clone().map(|provider| Via { provider, epoch })
    }
}

impl Identity {
    /// Makes a token for who just authenticated. It ends after `ttl`, but not later than the token by which
    /// the principal authenticated, and with the API key by which it did or the session of whose token it was made.
    ///
    /// Errors: `Invalid` unless `ttl` is 1 s to [`TOKEN_TTL_MAX`]; `InvalidCredential` if the principal was
    /// disabled or deleted, or its credentials were changed, meanwhile.
    pub fn issue_token(
        &self,
        tx: &mut WriteTx<'_>,
        authenticated: &Authenticated,
        ttl: Duration,
        request: Option<&RequestId>,
    ) -> Result<(Secret<String>, TokenInfo), IdentityError> {
        if ttl.as_secs() == 0 || ttl > TOKEN_TTL_MAX {
            return Err(InvalidInput::Ttl { field: "ttl_seconds", max: TOKEN_TTL_MAX }.into());
        }
        let (tenant, id) = (&authenticated.principal().tenant, &authenticated.principal().id);
        let row = tx.get::<Principals>(&key_of(tenant, id))?.ok_or(CredentialProblem::UnknownPrincipal)?;
        if row.disabled {
            return Err(CredentialProblem::Disabled.into());
        }
        // A new password ends what was proven before it, also between the proof and this. API keys outlive it.
        let outlives = matches!(authenticated.credential(), Credential::ApiKey { .. });
        if !outlives && row.credential_epoch != authenticated.principal().credential_epoch {
            return Err(CredentialProblem::Revoked.into());
        }
        let now = self.now();
        let (latest, key, within, via) = match authenticated.credential() {
            Credential::Password | Credential::Passkey { .. } => (None, None, None, None),
            Credential::ApiKey { id } => (None, Some(id.clone()), None, None),
            Credential::External { via, expires_at } => (Some(*expires_at), None, None, Some(via.clone())),
            Credential::Token { expires_at, api_key, session, within, via, .. } => {
                let within = session.clone().or_else(|| within.clone());
                (Some(*expires_at), api_key.clone(), within, via.clone())
            }
        };
        if let Some(session) = &within {
            self.require_standing_session(tx, session, (tenant, id))?;
        }
        let signer = self.active_key(tx, Purpose::Tokens)?;
        let Signer::Ed25519(signing) = &signer.signer else { return Err(IdentityError::WrongPermit) };
        let issuer = self.issuer();
        let exp = latest.map_or(now.after(ttl), |latest| latest.min(now.after(ttl))).as_secs();
        let claims = TokenClaims {
            iss: issuer.clone(),
            sub: id.clone(),
            tid: tenant.clone(),
            iat: now.as_secs(),
            exp,
            jti: hex::encode(secret::random_bytes::<16>()),
            epoch: row.credential_epoch,
            key,
            aud: Some(issuer),
            client_id: Some(id.to_string()),
            sid: None,
            within,
            via_epoch: via.as_ref().map(|via| via.epoch.clone()),
            via: via.map(|via| via.provider),
        };
        let body = serde_json::to_vec(&claims).expect("the claims are strings and numbers");
        let text = jws::sign(signing, TokenType::ACCESS, &body);
        let info = TokenInfo { jti: claims.jti.clone(), expires_at: claims.expires_at() };
        let entry = Entry::done("token.issued", tenant, Some(id), id, request);
        let entry = entry.fact("jti", info.jti.as_str()).fact("expires_at", info.expires_at.to_string());
        self.record(tx, entry)?;
        Ok((Secret::new(text), info))
    }

    /// Revokes the token by which somebody authenticated: logging out. With the live token of a session the session ends.
    /// Tokens made from it live on until they expire, which is not later.
    ///
    /// Errors: `NotAToken` if it was another credential.
    pub fn revoke_token(
        &self,
        tx: &mut WriteTx<'_>,
        authenticated: &Authenticated,
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        let Credential::Token { jti, expires_at, session, .. } = authenticated.credential() else {
            return Err(IdentityError::NotAToken);
        };
        if let Some(session) = session {
            return match self.end_session(tx, session, request) {
                // Somebody else ended it meanwhile.
                Err(IdentityError::NoSuchSession) => Ok(()),
                outcome => outcome,
            };
        }
        self.clear_expired(tx)?;
        tx.put::<RevokedTokens>(jti, &RevokedTokenRow { expires_at: *expires_at })?;
        tx.put::<RevokedTokensByExpiry>(&(*expires_at, jti.clone()), &Mark {})?;
        let (tenant, id) = (&authenticated.principal().tenant, &authenticated.principal().id);
        let entry = Entry::done("token.revoked", tenant, Some(id), id, request);
        self.record(tx, entry.fact("jti", jti.as_str()))
    }

    /// What a token is, of the native API or of the Xolo dialect, for whoever may ask (RFC 7662): `None` for one that is of no use any
    /// more, and for anything else.
    pub fn introspect(&self, tx: &ReadTx<'_>, text: &str) -> Result<Option<Introspection>, IdentityError> {
        let native = self.introspect_native(tx, text);
        let found = match native {
            Err(IdentityError::InvalidCredential(_)) => self.introspect_xolo(tx, text),
            native => native,
        };
        match found {
            Ok(found) => Ok(Some(found)),
            Err(IdentityError::InvalidCredential(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn introspect_native(&self, tx: &ReadTx<'_>, text: &str) -> Result<Introspection, IdentityError> {
        let claims = self.verify_token(tx, text)?;
        let (issued_at, issuer) = (claims.iat, claims.iss.clone());
        let (audience, client) = (claims.aud.clone(), claims.client_id.clone());
        let authenticated = self.recognise_token(tx, claims)?;
        Ok(Introspection { authenticated, issued_at, issuer, audience, client })
    }

    fn introspect_xolo(&self, tx: &ReadTx<'_>, text: &str) -> Result<Introspection, IdentityError> {
        let (live, claims) = self.any_xolo_session(tx, text)?;
        let (issued_at, issuer, audience) = (claims.iat, claims.iss, Some(claims.aud));
        Ok(Introspection { authenticated: live.authenticated(), issued_at, issuer, audience, client: None })
    }

    /// Revokes what is shown, a token or a refresh token (RFC 7009): whoever has it may. A token of the Xolo dialect ends its session.
    /// Says whether there was something to revoke, which nobody is told.
    pub fn revoke_shown(
        &self,
        tx: &mut WriteTx<'_>,
        text: &str,
        request: Option<&RequestId>,
    ) -> Result<bool, IdentityError> {
        if self.end_session_of(tx, text, request)? {
            return Ok(true);
        }
        match self.introspect(tx, text)? {
            Some(found) => self.revoke_token(tx, &found.authenticated, request).map(|()| true),
            None => Ok(false),
        }
    }

    /// The claims of a token that we signed, for us, and whose time it is.
    pub(super) fn verify_token(&self, tx: &ReadTx<'_>, bearer: &str) -> Result<TokenClaims, IdentityError> {
        let kid = jws::claimed_key_id(bearer).ok_or(CredentialProblem::NotOurs)?;
        let own = kid == self.keys().key_id();
        let key = match own {
            true => self.keys().verifying(),
            false => match self.key_by_id(tx, Purpose::Tokens, &kid)?.as_deref() {
                Some(OpenKey { signer: Signer::Ed25519(key), .. }) => key.verifying_key(),
                _ => return Err(CredentialProblem::NotOurs.into()),
            },
        };
        let (body, _) =
            jws::verify(bearer, TokenType::ACCESS, &[key]).map_err(|_| CredentialProblem::NotOurs)?;
        let claims: TokenClaims = serde_json::from_slice(&body).map_err(|_| CredentialProblem::Malformed)?;
        let now = self.now();
        let issued_at = Timestamp::from_micros(claims.iat.saturating_mul(MICROS_PER_SEC));
        let issuer = if own { self.keys().key_id() } else { self.issuer() };
        if claims.iss != issuer {
            return Err(CredentialProblem::NotOurs.into());
        }
        if claims.aud != (!own).then_some(issuer) {
            return Err(CredentialProblem::OtherAudience.into());
        }
        if now >= claims.expires_at() || issued_at.since(now) > CLOCK_SKEW_MAX {
            return Err(CredentialProblem::Expired.into());
        }
        Ok(claims)
    }

    /// Forgets some revocations of tokens that are expired anyway.
    fn clear_expired(&self, tx: &mut WriteTx<'_>) -> Result<(), IdentityError> {
        let expired = KeyRange::all().before(&(self.now(), String::new()));
        let found = tx.range::<RevokedTokensByExpiry>(expired, Direction::Forward, CLEARED_AT_ONCE)?;
        for (key, _) in found {
            tx.delete::<RevokedTokens>(&key.1)?;
            tx.delete::<RevokedTokensByExpiry>(&key)?;
        }
        Ok(())
    }
}
