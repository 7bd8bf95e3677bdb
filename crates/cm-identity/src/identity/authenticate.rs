//! Recognising bearers.

use cm_crypto::{Secret, jws, secret};
use cm_db::ReadTx;

use super::api_keys::{API_KEY_PREFIX, parse_api_key, s3_key};
use super::tokens::TokenClaims;
use super::{Identity, key_of, require_open_doors};
use crate::secret_digest::SecretDigest;
use crate::table::{ApiKeyRow, ApiKeys, Principals, RevokedTokens};
use crate::{ApiKeyKind, Authenticated, Credential, CredentialProblem, IdentityError, Principal};

/// Longest bearer credential that is looked at, in bytes.
pub const BEARER_LEN_MAX: usize = 4096;

/// What a bearer presents: well formed. Nobody is proven by it until it is [recognised](Presented::recognise).
pub struct Presented(Identity, Kind);

enum Kind {
    ApiKey { id: String, secret_sha256: SecretDigest },
    S3Key { id: String },
    Token(Secret<String>),
}

impl Presented {
    /// Who it is, as of this transaction.
    ///
    /// Errors: as [`Identity::authenticate`].
    pub fn recognise(self, tx: &ReadTx<'_>) -> Result<Authenticated, IdentityError> {
        let Presented(identity, kind) = self;
        match kind {
            Kind::ApiKey { id, secret_sha256 } => recognise_api_key(tx, &id, &secret_sha256),
            Kind::S3Key { id } => {
                let key = s3_key(tx, &id)?;
                recognise_holder(tx, id, key)
            }
            Kind::Token(text) => {
                let claims = identity.verify_token(tx, text.expose())?;
                identity.recognise_token(tx, claims)
            }
        }
    }
}

impl Identity {
    /// Who presents this API key or token.
    ///
    /// Every failure to prove something is the same `InvalidCredential` to the client; `Db` says that
    /// nothing could be decided. Cancel-safe; changes nothing.
    pub async fn authenticate(&self, bearer: &str) -> Result<Authenticated, IdentityError> {
        let presented = self.presented(bearer)?;
        self.0.db.read(move |tx| presented.recognise(tx)).await
    }

    /// The first half of [`Identity::authenticate`], which takes no transaction: for callers who have something else
    /// to look up in that of the second half, [`Presented::recognise`].
    ///
    /// Errors: `InvalidCredential`.
    pub fn presented(&self, bearer: &str) -> Result<Presented, IdentityError> {
        if bearer.len() > BEARER_LEN_MAX {
            return Err(CredentialProblem::Malformed.into());
        }
        if bearer.starts_with(API_KEY_PREFIX) {
            let (id, secret) = parse_api_key(bearer).ok_or(CredentialProblem::Malformed)?;
            let secret_sha256 = SecretDigest::of(secret.as_bytes());
            return Ok(Presented(self.clone(), Kind::ApiKey { id: id.to_owned(), secret_sha256 }));
        }
        if jws::claimed_key_id(bearer).is_none() {
            return Err(CredentialProblem::NotOurs.into());
        }
        Ok(Presented(self.clone(), Kind::Token(Secret::new(bearer.to_owned()))))
    }

    /// What somebody presents whose signature was made with this secret of an S3 key. Whoever calls this has checked the
    /// signature; that the secret is the one of the key is checked here.
    ///
    /// Errors: `InvalidCredential`.
    pub fn presented_s3(&self, id: &str, secret: &str) -> Result<Presented, IdentityError> {
        let expected = self.keys().s3_secret(id);
        match secret::constant_time_eq(expected.expose().as_bytes(), secret.as_bytes()) {
            true => Ok(Presented(self.clone(), Kind::S3Key { id: id.to_owned() })),
            false => Err(CredentialProblem::UnknownKey.into()),
        }
    }
}

fn recognise_api_key(
    tx: &ReadTx<'_>,
    id: &str,
    presented: &SecretDigest,
) -> Result<Authenticated, IdentityError> {
    let key = tx.get::<ApiKeys>(&id.to_owned())?;
    // An unknown id is compared as well; its digest belongs to no secret that anybody has.
    let stored = key.as_ref().map_or(SecretDigest::of_nothing(), |key| key.secret_sha256);
    let same = stored.matches(presented);
    let key =
        key.filter(|key| same && key.kind == ApiKeyKind::Bearer).ok_or(CredentialProblem::UnknownKey)?;
    recognise_holder(tx, id.to_owned(), key)
}

fn recognise_holder(tx: &ReadTx<'_>, id: String, key: ApiKeyRow) -> Result<Authenticated, IdentityError> {
    require_open_doors(tx, &key.tenant)?;
    let row = tx
        .get::<Principals>(&key_of(&key.tenant, &key.principal))?
        .ok_or(CredentialProblem::UnknownPrincipal)?;
    if row.disabled {
        return Err(CredentialProblem::Disabled.into());
    }
    let principal = Principal::from_row(&key.tenant, &key.principal, &row);
    Ok(Authenticated::new(principal, Credential::ApiKey { id }))
}

impl Identity {
    pub(super) fn recognise_token(
        &self,
        tx: &ReadTx<'_>,
        claims: TokenClaims,
    ) -> Result<Authenticated, IdentityError> {
        require_open_doors(tx, &claims.tid)?;
        let row = tx
            .get::<Principals>(&key_of(&claims.tid, &claims.sub))?
            .ok_or(CredentialProblem::UnknownPrincipal)?;
        if row.disabled {
            return Err(CredentialProblem::Disabled.into());
        }
        let key_revoked = match &claims.key {
            Some(key) => tx.get::<ApiKeys>(key)?.is_none(),
            None => false,
        };
        let revoked = key_revoked
            || row.credential_epoch != claims.epoch
            || tx.get::<RevokedTokens>(&claims.jti)?.is_some();
        if revoked {
            return Err(CredentialProblem::Revoked.into());
        }
        let via = claims.via();
        if let Some(via) = &via {
            self.require_trusted(tx, &claims.tid, via)?;
        }
        let session = match &claims.within {
            Some(within) => Some(self.require_standing_session(tx, within, (&claims.tid, &claims.sub))?),
            None => self.require_live(tx, &claims)?,
        };
        let principal = Principal::from_row(&claims.tid, &claims.sub, &row);
        let expires_at = claims.expires_at();
        let TokenClaims { jti, key: api_key, sid, within, .. } = claims;
        let credential = Credential::Token { jti, expires_at, api_key, session: sid, within, via };
        let authenticated = Authenticated::new(principal, credential);
        let Some(session) = session else { return Ok(authenticated) };
        let authenticated = authenticated.since(session.created_at);
        Ok(match session.second_factor {
            true => authenticated.with_second_factor(),
            false => authenticated,
        })
    }
}
