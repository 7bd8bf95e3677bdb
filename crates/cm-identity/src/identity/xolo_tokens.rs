//! Tokens of the Xolo dialect: whose they are, and of which session.

use cm_crypto::jws;
use cm_db::ReadTx;
use cm_types::{TenantId, Timestamp};

use super::Identity;
use super::tokens::CLOCK_SKEW_MAX;
use crate::session::{LiveSession, SessionKind, XoloClaims};
use crate::signing::{Purpose, Signer};
use crate::table::{SessionRow, Sessions};
use crate::{CredentialProblem, IdentityError};

impl Identity {
    /// The session of a token of the dialect, as `any_xolo_session`, of this protocol and tenant.
    ///
    /// Errors: `InvalidCredential`.
    pub fn xolo_session(
        &self,
        tx: &ReadTx<'_>,
        token: &str,
        kind: SessionKind,
        tenant: &TenantId,
    ) -> Result<LiveSession, IdentityError> {
        let claims = self.verify_xolo(tx, token)?;
        if claims.kind != kind || claims.aid != *tenant {
            return Err(CredentialProblem::OtherAudience.into());
        }
        self.live_xolo_session(tx, &claims)
    }

    /// The session of a token of the dialect, of either protocol: signed by us, not expired, and the live one; and what the token
    /// claims.
    pub(super) fn any_xolo_session(
        &self,
        tx: &ReadTx<'_>,
        token: &str,
    ) -> Result<(LiveSession, XoloClaims), IdentityError> {
        let claims = self.verify_xolo(tx, token)?;
        Ok((self.live_xolo_session(tx, &claims)?, claims))
    }

    fn verify_xolo(&self, tx: &ReadTx<'_>, token: &str) -> Result<XoloClaims, IdentityError> {
        let kid = jws::claimed_key_id(token).ok_or(CredentialProblem::Malformed)?;
        let key = self.key_by_id(tx, Purpose::Xolo, &kid)?.ok_or(CredentialProblem::NotOurs)?;
        let Signer::Mac(mac) = &key.signer else { return Err(CredentialProblem::NotOurs.into()) };
        let (body, _) = jws::verify_mac(token, [mac]).map_err(|_| CredentialProblem::NotOurs)?;
        let claims: XoloClaims = serde_json::from_slice(&body).map_err(|_| CredentialProblem::Malformed)?;
        if !claims.is_ours() {
            return Err(CredentialProblem::OtherAudience.into());
        }
        Ok(claims)
    }

    fn live_xolo_session(&self, tx: &ReadTx<'_>, claims: &XoloClaims) -> Result<LiveSession, IdentityError> {
        let now = self.now();
        let issued_at = Timestamp::from_micros(claims.iat.saturating_mul(1_000_000));
        if now >= claims.expires_at() || issued_at.since(now) > CLOCK_SKEW_MAX {
            return Err(CredentialProblem::Expired.into());
        }
        let row = tx.get::<Sessions>(&claims.uid2)?.ok_or(CredentialProblem::Replaced)?;
        let live = row.jti == claims.jti && row.tenant == claims.aid && row.principal == claims.sub;
        if !live {
            return Err(CredentialProblem::Replaced.into());
        }
        let principal = self.owner_of(tx, &row)?;
        let SessionRow { label, jti, token_ends_at, created_at, turn, .. } = row;
        let (id, expires_at, began_at) = (claims.uid2.clone(), token_ends_at, created_at);
        Ok(LiveSession { id, principal, label, jti, expires_at, began_at, turn })
    }
}
