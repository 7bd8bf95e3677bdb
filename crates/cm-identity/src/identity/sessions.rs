//! Beginning, carrying on and ending sessions.

use std::sync::Arc;
use std::time::Duration;

use cm_crypto::secret;
use cm_db::{Direction, KeyPrefix, KeyRange, ReadTx, WriteTx};
use cm_events::Outcome;
use cm_types::{PrincipalId, RequestId, TenantId, Timestamp};

use super::tokens::TokenClaims;
use super::{Identity, TOKEN_TTL_MAX, key_of, require_not_vouched, require_open_doors};
use crate::session::{LiveSession, SessionKind, SessionTokens};
use crate::signing::Purpose;
use crate::table::{
    ApiKeys, Mark, Passkeys, Principals, SessionRow, Sessions, SessionsByExpiry, SessionsOfPrincipal,
};
use crate::trail::Entry;
use crate::{Authenticated, Credential, CredentialProblem, IdentityError, InvalidInput, Principal};

/// How long a session of the native API lasts, however often it is refreshed.
pub const SESSION_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a token of the Xolo dialect may live; its clients ask for a month.
pub const XOLO_TTL_MAX: Duration = Duration::from_secs(31 * 24 * 3600);
/// Sessions of one principal. The one that ends first makes room.
pub const SESSIONS_MAX: usize = 64;
/// Ended sessions that each new one clears away. More than one, so that they never pile up.
const CLEARED_AT_ONCE: usize = 16;

/// Which session is to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// Of which protocol.
    pub kind: SessionKind,
    /// What it is for: a scope of the dialect; empty for the native API.
    pub label: String,
    /// How long its token lives.
    pub ttl: Duration,
}

impl Identity {
    /// Begins a session for who just authenticated. One of the dialect takes the place of an earlier one of the same label.
    ///
    /// Errors: `Invalid` unless the token is to live 1 s to what its protocol allows; `InvalidCredential` if the principal
    /// was disabled or deleted, or its credentials were changed, meanwhile; `Vouched` for whom a provider vouches for, since a
    /// session outlives what the provider said.
    pub fn begin_session(
        &self,
        tx: &mut WriteTx<'_>,
        authenticated: &Authenticated,
        new: NewSession,
        request: Option<&RequestId>,
    ) -> Result<SessionTokens, IdentityError> {
        self.require_ttl(new.kind, new.ttl)?;
        let (tenant, id) = (&authenticated.principal().tenant, &authenticated.principal().id);
        require_open_doors(tx, tenant)?;
        let row = tx.get::<Principals>(&key_of(tenant, id))?.ok_or(CredentialProblem::UnknownPrincipal)?;
        if row.disabled {
            return Err(CredentialProblem::Disabled.into());
        }
        require_not_vouched(tx, tenant, id)?;
        // A new password ends what was proven before it, also between the proof and this. API keys outlive it.
        let outlives = matches!(authenticated.credential(), Credential::ApiKey { .. });
        if !outlives && row.credential_epoch != authenticated.principal().credential_epoch {
            return Err(CredentialProblem::Revoked.into());
        }
        self.clear_ended_sessions(tx)?;
        self.make_room_for_session(tx, (tenant, id), new.kind, &new.label)?;
        let now = self.now();
        let key = self.active_key(tx, purpose_of(new.kind))?;
        let session = SessionRow {
            tenant: tenant.clone(),
            principal: id.clone(),
            kind: new.kind,
            label: new.label,
            epoch: row.credential_epoch,
            created_at: now,
            ends_at: now.after(if new.kind == SessionKind::Api { SESSION_MAX } else { new.ttl }),
            turn: 0,
            jti: new_id(),
            issued_at: whole(now),
            token_ends_at: whole(now.after(new.ttl)),
            key_id: key.id.clone(),
            api_key: match authenticated.credential() {
                Credential::ApiKey { id } => Some(id.clone()),
                _ => None,
            },
            passkey: match authenticated.credential() {
                Credential::Passkey { id } => Some(id.clone()),
                _ => None,
            },
            second_factor: authenticated.has_second_factor(),
        };
        let sid = new_id();
        self.put_session(tx, &sid, None, &session)?;
        tx.put::<SessionsOfPrincipal>(&place(&session, &sid), &Mark {})?;
        let entry = Entry::done("session.begun", tenant, Some(id), id, request);
        let entry = entry.fact("session", sid.as_str()).fact("kind", session.kind.as_str());
        self.record(tx, entry.fact("label", session.label.as_str()).fact("jti", session.jti.as_str()))?;
        Ok(self.tokens_of(&sid, &session, &key))
    }

    /// The live session of this label, with the token that it has; `None` if there is none.
    pub fn live_session(
        &self,
        tx: &ReadTx<'_>,
        authenticated: &Authenticated,
        kind: SessionKind,
        label: &str,
    ) -> Result<Option<SessionTokens>, IdentityError> {
        let (tenant, id) = (&authenticated.principal().tenant, &authenticated.principal().id);
        let Some(owner) = tx.get::<Principals>(&key_of(tenant, id))? else { return Ok(None) };
        for (sid, row) in sessions_of(tx, tenant, id)? {
            let same = row.kind == kind && row.label == label && row.epoch == owner.credential_epoch;
            if !same || row.token_ends_at <= self.now() {
                continue;
            }
            if let Some(key) = self.key_by_id(tx, purpose_of(kind), &row.key_id)? {
                return Ok(Some(self.tokens_of(&sid, &row, &key)));
            }
        }
        Ok(None)
    }

    /// Carries on a session of the native API. `Ok(Err(_))` is a refusal that must be committed: a refresh token that was
    /// used before ends its session.
    ///
    /// Events: `session.refreshed`, `session.reuse-detected`.
    pub fn refresh_session(
        &self,
        tx: &mut WriteTx<'_>,
        refresh: &str,
        ttl: Duration,
        request: Option<&RequestId>,
    ) -> Result<Result<(Principal, SessionTokens), CredentialProblem>, IdentityError> {
        self.require_ttl(SessionKind::Api, ttl)?;
        let Some(presented) = self.parse_refresh(refresh) else {
            return Ok(Err(CredentialProblem::NotOurs));
        };
        let sid = presented.session;
        let Some(row) = tx.get::<Sessions>(&sid)? else { return Ok(Err(CredentialProblem::Replaced)) };
        if presented.turn != row.turn {
            self.delete_session(tx, &sid, &row)?;
            let entry = Entry {
                outcome: Outcome::Denied,
                ..Entry::done("session.reuse-detected", &row.tenant, None, &row.principal, request)
            };
            self.record(tx, entry.fact("session", sid.as_str()).fact("turn", presented.turn))?;
            return Ok(Err(CredentialProblem::Reused));
        }
        match self.owner_of(tx, &row) {
            Ok(principal) => {
                let tokens = self.turn_session(tx, &sid, row, ttl, request)?;
                Ok(Ok((principal, tokens)))
            }
            Err(IdentityError::InvalidCredential(problem)) => Ok(Err(problem)),
            Err(error) => Err(error),
        }
    }

    /// Carries on a session of the dialect, whose live token was shown: a new token, and the old one is no more.
    ///
    /// Errors: `Invalid` for the time that the token is to live, `InvalidCredential` if it is over by now.
    pub fn renew_session(
        &self,
        tx: &mut WriteTx<'_>,
        live: &LiveSession,
        ttl: Duration,
        request: Option<&RequestId>,
    ) -> Result<SessionTokens, IdentityError> {
        let row = tx.get::<Sessions>(&live.id)?.ok_or(CredentialProblem::Replaced)?;
        self.require_ttl(row.kind, ttl)?;
        if row.turn != live.turn {
            return Err(CredentialProblem::Replaced.into());
        }
        self.turn_session(tx, &live.id, row, ttl, request)
    }

    /// Ends a session.
    ///
    /// Errors: `NoSuchSession`.
    pub fn end_session(
        &self,
        tx: &mut WriteTx<'_>,
        session: &str,
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        let row = tx.get::<Sessions>(&session.to_owned())?.ok_or(IdentityError::NoSuchSession)?;
        self.delete_session(tx, session, &row)?;
        let entry = Entry::done("session.ended", &row.tenant, Some(&row.principal), &row.principal, request);
        self.record(tx, entry.fact("session", session))
    }

    /// Ends the session of a refresh token, if it is one of ours; says whether there was one.
    pub fn end_session_of(
        &self,
        tx: &mut WriteTx<'_>,
        refresh: &str,
        request: Option<&RequestId>,
    ) -> Result<bool, IdentityError> {
        let Some(presented) = self.parse_refresh(refresh) else { return Ok(false) };
        match self.end_session(tx, &presented.session, request) {
            Ok(()) => Ok(true),
            Err(IdentityError::NoSuchSession) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the token is the live one of its session, if it is of one.
    pub(super) fn require_live(
        &self,
        tx: &ReadTx<'_>,
        claims: &TokenClaims,
    ) -> Result<Option<SessionRow>, IdentityError> {
        let Some(sid) = &claims.sid else { return Ok(None) };
        let row = tx.get::<Sessions>(sid)?.ok_or(CredentialProblem::Replaced)?;
        let live = row.jti == claims.jti && row.principal == claims.sub && row.tenant == claims.tid;
        if !live || row.kind != SessionKind::Api || row.ends_at <= self.now() {
            return Err(CredentialProblem::Replaced.into());
        }
        require_passkey(tx, &row)?;
        Ok(Some(row))
    }

    /// The session in which a token was made, if it goes on: refreshed or not, but neither ended nor over.
    pub(super) fn require_standing_session(
        &self,
        tx: &ReadTx<'_>,
        session: &str,
        (tenant, principal): (&TenantId, &PrincipalId),
    ) -> Result<SessionRow, IdentityError> {
        let row = tx.get::<Sessions>(&session.to_owned())?.ok_or(CredentialProblem::Replaced)?;
        let stands = row.tenant == *tenant && row.principal == *principal && row.ends_at > self.now();
        if !stands {
            return Err(CredentialProblem::Replaced.into());
        }
        require_passkey(tx, &row)?;
        Ok(row)
    }

    /// Removes all sessions of a principal that is being deleted.
    pub(super) fn delete_sessions(
        &self,
        tx: &mut WriteTx<'_>,
        tenant: &TenantId,
        id: &PrincipalId,
    ) -> Result<(), IdentityError> {
        for (sid, row) in sessions_of(tx, tenant, id)? {
            self.delete_session(tx, &sid, &row)?;
        }
        Ok(())
    }

    pub(crate) fn claims_of_session(&self, session: &str, row: &SessionRow) -> TokenClaims {
        let issuer = self.issuer();
        TokenClaims {
            iss: issuer.clone(),
            sub: row.principal.clone(),
            tid: row.tenant.clone(),
            iat: row.issued_at.as_secs(),
            exp: row.token_ends_at.as_secs(),
            jti: row.jti.clone(),
            epoch: row.epoch.clone(),
            key: row.api_key.clone(),
            aud: Some(issuer),
            client_id: Some(row.principal.to_string()),
            sid: Some(session.to_owned()),
            within: None,
            via: None,
            via_epoch: None,
        }
    }

    /// Whose session it is, if the principal may still be who it was when it began.
    pub(super) fn owner_of(&self, tx: &ReadTx<'_>, row: &SessionRow) -> Result<Principal, IdentityError> {
        require_open_doors(tx, &row.tenant)?;
        let owner = tx.get::<Principals>(&key_of(&row.tenant, &row.principal))?;
        let owner = owner.ok_or(CredentialProblem::UnknownPrincipal)?;
        let key_revoked = match &row.api_key {
            Some(key) => tx.get::<ApiKeys>(key)?.is_none(),
            None => false,
        };
        if owner.disabled {
            return Err(CredentialProblem::Disabled.into());
        }
        if key_revoked || owner.credential_epoch != row.epoch {
            return Err(CredentialProblem::Revoked.into());
        }
        require_passkey(tx, row)?;
        if row.ends_at <= self.now() {
            return Err(CredentialProblem::Expired.into());
        }
        Ok(Principal::from_row(&row.tenant, &row.principal, &owner))
    }

    fn turn_session(
        &self,
        tx: &mut WriteTx<'_>,
        sid: &str,
        before: SessionRow,
        ttl: Duration,
        request: Option<&RequestId>,
    ) -> Result<SessionTokens, IdentityError> {
        let now = self.now();
        let key = self.active_key(tx, purpose_of(before.kind))?;
        let mut row = before.clone();
        row.turn += 1;
        row.jti = new_id();
        row.issued_at = whole(now);
        row.key_id = key.id.clone();
        if row.kind == SessionKind::Api {
            row.token_ends_at = whole(now.after(ttl).min(row.ends_at));
        } else {
            row.token_ends_at = whole(now.after(ttl));
            row.ends_at = row.token_ends_at;
        }
        self.put_session(tx, sid, Some(&before), &row)?;
        let entry =
            Entry::done("session.refreshed", &row.tenant, Some(&row.principal), &row.principal, request);
        self.record(tx, entry.fact("session", sid).fact("turn", row.turn).fact("jti", row.jti.as_str()))?;
        Ok(self.tokens_of(sid, &row, &key))
    }

    fn tokens_of(&self, sid: &str, row: &SessionRow, key: &Arc<crate::signing::OpenKey>) -> SessionTokens {
        SessionTokens {
            session: sid.to_owned(),
            token: self.session_token(sid, row, key),
            jti: row.jti.clone(),
            issued_at: row.issued_at,
            expires_at: row.token_ends_at,
            refresh: (row.kind == SessionKind::Api).then(|| self.refresh_token(sid, row.turn)),
            session_ends_at: row.ends_at,
        }
    }

    fn require_ttl(&self, kind: SessionKind, ttl: Duration) -> Result<(), IdentityError> {
        let max = if kind == SessionKind::Api { TOKEN_TTL_MAX } else { XOLO_TTL_MAX };
        match ttl.as_secs() == 0 || ttl > max {
            true => Err(InvalidInput::Ttl { field: "ttl_seconds", max }.into()),
            false => Ok(()),
        }
    }

    fn put_session(
        &self,
        tx: &mut WriteTx<'_>,
        sid: &str,
        before: Option<&SessionRow>,
        row: &SessionRow,
    ) -> Result<(), IdentityError> {
        if let Some(before) = before {
            tx.delete::<SessionsByExpiry>(&(before.ends_at, sid.to_owned()))?;
        }
        tx.put::<Sessions>(&sid.to_owned(), row)?;
        tx.put::<SessionsByExpiry>(&(row.ends_at, sid.to_owned()), &Mark {})?;
        Ok(())
    }

    fn delete_session(&self, tx: &mut WriteTx<'_>, sid: &str, row: &SessionRow) -> Result<(), IdentityError> {
        tx.delete::<Sessions>(&sid.to_owned())?;
        tx.delete::<SessionsByExpiry>(&(row.ends_at, sid.to_owned()))?;
        tx.delete::<SessionsOfPrincipal>(&place(row, sid))?;
        Ok(())
    }

    fn clear_ended_sessions(&self, tx: &mut WriteTx<'_>) -> Result<(), IdentityError> {
        let ended = KeyRange::all().before(&(self.now(), String::new()));
        for ((end, sid), _) in tx.range::<SessionsByExpiry>(ended, Direction::Forward, CLEARED_AT_ONCE)? {
            match tx.get::<Sessions>(&sid)? {
                Some(row) => self.delete_session(tx, &sid, &row)?,
                None => {
                    tx.delete::<SessionsByExpiry>(&(end, sid))?;
                }
            }
        }
        Ok(())
    }

    /// Ends sessions of the dialect that the new one takes the place of, and the oldest if there are too many.
    fn make_room_for_session(
        &self,
        tx: &mut WriteTx<'_>,
        (tenant, id): (&TenantId, &PrincipalId),
        kind: SessionKind,
        label: &str,
    ) -> Result<(), IdentityError> {
        let mut sessions = sessions_of(tx, tenant, id)?;
        if kind != SessionKind::Api {
            let (replaced, others): (Vec<_>, Vec<_>) =
                sessions.into_iter().partition(|(_, row)| row.kind == kind && row.label == label);
            for (sid, row) in replaced {
                self.delete_session(tx, &sid, &row)?;
            }
            sessions = others;
        }
        if sessions.len() >= SESSIONS_MAX
            && let Some((sid, row)) = sessions.into_iter().min_by_key(|(_, row)| row.ends_at)
        {
            self.delete_session(tx, &sid, &row)?;
        }
        Ok(())
    }
}

/// A session ends with the passkey that began it: whoever took it away lost the device.
fn require_passkey(tx: &ReadTx<'_>, row: &SessionRow) -> Result<(), IdentityError> {
    let Some(passkey) = &row.passkey else { return Ok(()) };
    match tx.get::<Passkeys>(&(row.tenant.clone(), row.principal.clone(), passkey.clone()))? {
        Some(_) => Ok(()),
        None => Err(CredentialProblem::Revoked.into()),
    }
}

fn sessions_of(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    id: &PrincipalId,
) -> Result<Vec<(String, SessionRow)>, IdentityError> {
    let prefix = KeyPrefix::new().part(tenant).part(id);
    let mut all = Vec::new();
    for ((_, _, _, sid), _) in tx.prefix::<SessionsOfPrincipal>(&prefix, None, SESSIONS_MAX + 1)? {
        if let Some(row) = tx.get::<Sessions>(&sid)? {
            all.push((sid, row));
        }
    }
    Ok(all)
}

fn place(row: &SessionRow, sid: &str) -> (TenantId, PrincipalId, String, String) {
    (row.tenant.clone(), row.principal.clone(), row.kind.as_str().to_owned(), sid.to_owned())
}

fn purpose_of(kind: SessionKind) -> Purpose {
    match kind {
        SessionKind::Api => Purpose::Tokens,
        SessionKind::Xolo3 | SessionKind::Xolo4 => Purpose::Xolo,
    }
}

fn new_id() -> String {
    hex::encode(secret::random_bytes::<16>())
}

/// Whole seconds, as tokens know no finer time: what is said of a token must be what is in it.
fn whole(moment: Timestamp) -> Timestamp {
    Timestamp::from_micros(moment.as_secs() * 1_000_000)
}
