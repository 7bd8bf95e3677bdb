//! Keys that sign what this node issues, and take turns.
//!
//! Each [`Purpose`] has one active key, which signs, and keys that have signed and still verify until the last of what they
//! signed has expired. [`Identity::rotate_signing_key`] puts a new key in the place of the active one; nothing stops for it. What an
//! authority of workloads signs is verified by peers that look for new ones now and then, so that an authority is
//! published first and signs later ([`PUBLISHED_BEFORE`]).
//! Keys are rows of the database, sealed under the [`MasterKey`](crate::MasterKey); every node of a catalogue has them. A key
//! comes into being when it is first needed.
//!
//! What the node is known by, the key of [`NodeKeys`](crate::NodeKeys), is none of these: evidence and the event log are
//! judged by it for as long as the node exists, and whoever pinned it must be told of another.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cm_crypto::cert::{self, CertificateAuthority};
use cm_crypto::es256::{EcSigningKey, EcVerifyingKey};
use cm_crypto::jws::MacKey;
use cm_crypto::sign::{SigningKey, VerifyingKey};
use cm_crypto::{Secret, secret};
use cm_db::{KeyPrefix, ReadTx, WriteTx};
use cm_events::Outcome;
use cm_policy::{Permit, Update};
use cm_types::{PrincipalId, RequestId, ResourceKind, TenantId, Timestamp};
use tracing::warn;

use crate::identity::TOKEN_TTL_MAX;
use crate::table::{SigningKeyRow, SigningKeys};
use crate::trail::Entry;
use crate::workload::{BUNDLE_REFRESH_SECS, SVID_TTL_MAX};
use crate::{Identity, IdentityError};

/// How long the authority of workloads holds, so that even one that is never rotated ends.
const AUTHORITY_VALID_FOR: Duration = Duration::from_secs(2 * 365 * 24 * 3600);
const AUTHORITY_NAME: &str = "CryptoMesh workload authority";
/// How long an authority is published before it signs: peers ask for the bundle again within [`BUNDLE_REFRESH_SECS`], and may
/// fail to once.
pub const PUBLISHED_BEFORE: Duration = Duration::from_secs(2 * BUNDLE_REFRESH_SECS);
/// Keys of one purpose that are remembered: the active one and those that have been.
const KEYS_OF_PURPOSE_MAX: usize = 64;

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// Tokens of the native API: Ed25519.
    Tokens,
    /// Tokens of the Xolo dialect: HMAC-SHA-256, which its clients know.
    Xolo,
    /// Tokens of workloads (JWT-SVID): ECDSA P-256, as the standard has it.
    WorkloadTokens,
    /// Certificates of workloads (X.509-SVID): an authority of ECDSA P-256.
    Workloads,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Purpose; 4] =
        [Purpose::Tokens, Purpose::Xolo, Purpose::WorkloadTokens, Purpose::Workloads];

    /// The name, `workload-tokens`.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Tokens => "tokens",
            Purpose::Xolo => "xolo",
            Purpose::WorkloadTokens => "workload-tokens",
            Purpose::Workloads => "workloads",
        }
    }

    /// The algorithm.
    pub fn algorithm(self) -> &'static str {
        match self {
            Purpose::Tokens => "EdDSA",
            Purpose::Xolo => "HS256",
            Purpose::WorkloadTokens => "ES256",
            Purpose::Workloads => "X.509 ECDSA P-256",
        }
    }

    /// How long a key verifies after it signed last: the longest life of what it signs.
    fn overlap(self) -> Duration {
        match self {
            Purpose::Tokens => TOKEN_TTL_MAX,
            Purpose::Xolo => crate::identity::XOLO_TTL_MAX,
            Purpose::WorkloadTokens | Purpose::Workloads => SVID_TTL_MAX,
        }
    }

    /// How long a key is published before it signs in the place of another.
    fn published_before(self) -> Duration {
        match self {
            Purpose::Workloads => PUBLISHED_BEFORE,
            // Those who verify these ask for a key that they do not know.
            Purpose::Tokens | Purpose::Xolo | Purpose::WorkloadTokens => Duration::ZERO,
        }
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Purpose {
    type Err = UnknownPurpose;

    fn from_str(text: &str) -> Result<Self, UnknownPurpose> {
        let named = Purpose::ALL.into_iter().find(|purpose| purpose.as_str() == text);
        named.ok_or_else(|| UnknownPurpose(text.to_owned()))
    }
}

/// The text names no purpose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no keys are called `{0}`; there are tokens, xolo, workload-tokens and workloads")]
pub struct UnknownPurpose(pub String);

/// What is known of a key without the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKeyInfo {
    /// What it signs.
    pub purpose: Purpose,
    /// Its name, the `kid` of tokens.
    pub id: String,
    /// Since when it is there.
    pub created_at: Timestamp,
    /// Whether it signs now. A newer one may only be published yet.
    pub is_active: bool,
    /// From when on another signs; `None` while none is there.
    pub retired_at: Option<Timestamp>,
    /// Until when what it signed is accepted; `None` while no other key is there.
    pub ends_at: Option<Timestamp>,
    /// The name of the master key under which it is kept.
    pub master: String,
}

/// A public key, for those who verify.
#[derive(Clone, Debug)]
pub enum PublicKey {
    /// Of [`Purpose::Tokens`].
    Ed25519(VerifyingKey),
    /// Of [`Purpose::WorkloadTokens`].
    P256(EcVerifyingKey),
    /// Of [`Purpose::Workloads`]: the authority's certificate in DER.
    Authority(Vec<u8>),
}

/// A key that can sign.
pub(crate) enum Signer {
    Ed25519(SigningKey),
    Mac(MacKey),
    P256(EcSigningKey),
    Authority(Box<CertificateAuthority>),
}

/// A key that was opened. Whether it still counts is said by its row, in the transaction that asks.
pub(crate) struct OpenKey {
    pub(crate) id: String,
    pub(crate) signer: Signer,
}

/// Keys that were opened, by purpose and id. They never change; what other nodes rotate shows in the rows.
#[derive(Default)]
pub(crate) struct Ring(HashMap<(Purpose, String), Arc<OpenKey>>);

impl Identity {
    /// The keys of all purposes, those that have ended left out, in the order of their creation.
    pub fn list_signing_keys(&self, tx: &ReadTx<'_>) -> Result<Vec<SigningKeyInfo>, IdentityError> {
        let now = self.now();
        let mut all = Vec::new();
        for purpose in Purpose::ALL {
            let rows = rows_of(tx, purpose)?;
            let active = signing(&rows, now).map(|(id, _)| id.clone());
            for (id, row) in rows {
                if !row.is_over(now) {
                    all.push(info(purpose, active.as_ref(), (id, row)));
                }
            }
        }
        all.sort_by_key(|key| (key.purpose, key.created_at));
        Ok(all)
    }

    /// Puts a new key in the place of the active one. What the old one signed is accepted until it expires; or not any more
    /// from now on, if the old ones are to end `at_once` because somebody else has them. An authority of workloads signs only after
    /// it was published for [`PUBLISHED_BEFORE`], unless at once.
    ///
    /// The permit is for the collection of tenants: keys are of the whole node. Errors: `WrongPermit`.
    pub fn rotate_signing_key(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<Update>,
        purpose: Purpose,
        at_once: bool,
        request: Option<&RequestId>,
    ) -> Result<SigningKeyInfo, IdentityError> {
        if !permit.covers_collection(&TenantId::default_tenant(), ResourceKind::Tenant) {
            return Err(IdentityError::WrongPermit);
        }
        self.turn_key(tx, purpose, (at_once, permit.principal()), request)
    }

    /// Puts a new key in the place of the active one, for whatever reason.
    pub(crate) fn turn_key(
        &self,
        tx: &mut WriteTx<'_>,
        purpose: Purpose,
        (at_once, actor): (bool, Option<&PrincipalId>),
        request: Option<&RequestId>,
    ) -> Result<SigningKeyInfo, IdentityError> {
        let now = self.now();
        for (id, mut row) in rows_of(tx, purpose)? {
            let key = (purpose.as_str().to_owned(), id);
            if at_once || row.is_over(now) {
                tx.delete::<SigningKeys>(&key)?;
            } else if row.retired_at.is_none() {
                let until = now.after(purpose.published_before());
                let until = if self.signs_until(purpose, &key.1, &row, until) { until } else { now };
                row.retired_at = Some(until);
                row.ends_at = Some(until.after(purpose.overlap()));
                tx.put::<SigningKeys>(&key, &row)?;
            }
        }
        let (id, row) = self.create_key(tx, purpose, actor, request)?;
        let active = signing(&rows_of(tx, purpose)?, now).map(|(id, _)| id.clone());
        Ok(info(purpose, active.as_ref(), (id, row)))
    }

    /// Whether a key can still sign at this moment: one that does not open, or an authority that has ended, is worth no wait.
    fn signs_until(&self, purpose: Purpose, id: &str, row: &SigningKeyRow, until: Timestamp) -> bool {
        match self.opened(purpose, id.to_owned(), row).as_deref() {
            Ok(OpenKey { signer: Signer::Authority(authority), .. }) => {
                cert::validity(authority.certificate_der()).is_ok_and(|(_, ends)| ends > until)
            }
            outcome => outcome.is_ok(),
        }
    }

    /// A number that grows whenever the keys of these purposes change: the latest second at which one came, or ended. What ends by
    /// time counts from that moment on.
    pub(crate) fn keys_changed_at(
        &self,
        tx: &ReadTx<'_>,
        purposes: &[Purpose],
    ) -> Result<u64, IdentityError> {
        let (now, mut latest) = (self.now(), 0);
        for purpose in purposes {
            for (_, row) in rows_of(tx, *purpose)? {
                let ended = row.ends_at.filter(|end| *end <= now);
                latest = latest.max(row.created_at.as_secs()).max(ended.map_or(0, Timestamp::as_secs));
            }
        }
        Ok(u64::try_from(latest).unwrap_or(0))
    }

    /// Whether there is a key that signs, whether or not it opens.
    pub fn has_signing_key(&self, tx: &ReadTx<'_>, purpose: Purpose) -> Result<bool, IdentityError> {
        Ok(signing(&rows_of(tx, purpose)?, self.now()).is_some())
    }

    /// Makes the key that signs, if there is none.
    pub fn ensure_signing_key(&self, tx: &mut WriteTx<'_>, purpose: Purpose) -> Result<(), IdentityError> {
        self.active_row(tx, purpose).map(|_| ())
    }

    /// The key that signs, made if there is none.
    pub(crate) fn active_key(
        &self,
        tx: &mut WriteTx<'_>,
        purpose: Purpose,
    ) -> Result<Arc<OpenKey>, IdentityError> {
        let (id, row) = self.active_row(tx, purpose)?;
        self.opened(purpose, id, &row)
    }

    /// The row of the key that signs, made if there is none, whether or not it opens.
    pub(crate) fn active_row(
        &self,
        tx: &mut WriteTx<'_>,
        purpose: Purpose,
    ) -> Result<(String, SigningKeyRow), IdentityError> {
        match signing(&rows_of(tx, purpose)?, self.now()) {
            Some(found) => Ok(found.clone()),
            None => self.create_key(tx, purpose, None, None),
        }
    }

    /// The key that signs or will: the newest, which may only be published yet. Made if there is none.
    pub(crate) fn newest_key(
        &self,
        tx: &mut WriteTx<'_>,
        purpose: Purpose,
    ) -> Result<Arc<OpenKey>, IdentityError> {
        let newest = rows_of(tx, purpose)?.into_iter().find(|(_, row)| row.retired_at.is_none());
        match newest {
            Some((id, row)) => self.opened(purpose, id, &row),
            None => self.active_key(tx, purpose),
        }
    }

    /// A key by its id, if what it signed is still accepted.
    pub(crate) fn key_by_id(
        &self,
        tx: &ReadTx<'_>,
        purpose: Purpose,
        id: &str,
    ) -> Result<Option<Arc<OpenKey>>, IdentityError> {
        match tx.get::<SigningKeys>(&(purpose.as_str().to_owned(), id.to_owned()))? {
            Some(row) if !row.is_over(self.now()) => self.opened(purpose, id.to_owned(), &row).map(Some),
            _ => Ok(None),
        }
    }

    /// The public keys of a purpose by which something may still be verified, with their ids. None of [`Purpose::Xolo`]. A key that
    /// cannot be opened, as after a change of the master key, is left out and logged: the others go on verifying.
    pub fn public_keys(
        &self,
        tx: &ReadTx<'_>,
        purpose: Purpose,
    ) -> Result<Vec<(String, PublicKey)>, IdentityError> {
        let now = self.now();
        let (mut all, mut closed) = (Vec::new(), Vec::new());
        for (id, row) in rows_of(tx, purpose)? {
            if row.is_over(now) {
                continue;
            }
            let key = match self.opened(purpose, id.clone(), &row) {
                Ok(key) => key,
                Err(IdentityError::MasterKey { .. } | IdentityError::Key(_)) => {
                    closed.push(id);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let public = match &key.signer {
                Signer::Ed25519(key) => PublicKey::Ed25519(key.verifying_key()),
                Signer::P256(key) => PublicKey::P256(key.verifying_key()),
                Signer::Authority(authority) => PublicKey::Authority(authority.certificate_der().to_vec()),
                Signer::Mac(_) => continue,
            };
            all.push((key.id.clone(), public));
        }
        if !closed.is_empty() {
            let master = self.master().name();
            warn!(%purpose, keys = ?closed, master, "signing keys that do not open are left out; rotate them at once");
        }
        Ok(all)
    }

    fn create_key(
        &self,
        tx: &mut WriteTx<'_>,
        purpose: Purpose,
        actor: Option<&PrincipalId>,
        request: Option<&RequestId>,
    ) -> Result<(String, SigningKeyRow), IdentityError> {
        let now = self.now();
        let (id, certificate, private) = match purpose {
            Purpose::Tokens => {
                let key = SigningKey::generate();
                (key.verifying_key().key_id(), None, key.to_pkcs8_pem())
            }
            Purpose::Xolo => {
                let key = Secret::new(secret::random_bytes::<32>());
                (hex::encode(secret::random_bytes::<8>()), None, Secret::new(hex::encode(key.expose())))
            }
            Purpose::WorkloadTokens => {
                let key = EcSigningKey::generate().map_err(IdentityError::Key)?;
                (key.verifying_key().key_id(), None, key.to_pkcs8_pem())
            }
            Purpose::Workloads => {
                let authority = CertificateAuthority::create(AUTHORITY_NAME, now, AUTHORITY_VALID_FOR)
                    .map_err(IdentityError::Key)?;
                let id = hex::encode(secret::random_bytes::<8>());
                (id, Some(authority.certificate_pem()), authority.private_key_pem())
            }
        };
        let master = self.master();
        let sealed = master.seal(&what(purpose, &id), private.expose().as_bytes());
        let row = SigningKeyRow {
            created_at: now,
            retired_at: None,
            ends_at: None,
            certificate,
            sealed: STANDARD.encode(sealed),
            master: master.name().to_owned(),
        };
        tx.insert::<SigningKeys>(&(purpose.as_str().to_owned(), id.clone()), &row)?;
        let (tenant, node) = (TenantId::default_tenant(), PrincipalId::node());
        let actor = actor.unwrap_or(&node);
        let entry = Entry {
            outcome: Outcome::Allowed,
            ..Entry::done("signing-key.created", &tenant, Some(actor), actor, request)
        };
        self.record(tx, entry.fact("purpose", purpose.as_str()).fact("key", id.as_str()))?;
        Ok((id, row))
    }

    #[cfg(test)]
    pub(crate) fn forget_opened(&self) {
        self.ring().0.clear();
    }

    fn opened(
        &self,
        purpose: Purpose,
        id: String,
        row: &SigningKeyRow,
    ) -> Result<Arc<OpenKey>, IdentityError> {
        let known = self.ring().0.get(&(purpose, id.clone())).cloned();
        if let Some(key) = known {
            return Ok(key);
        }
        let signer = self.open_signer(purpose, &id, row)?;
        let key = Arc::new(OpenKey { id: id.clone(), signer });
        let mut ring = self.ring();
        if ring.0.len() >= KEYS_OF_PURPOSE_MAX * Purpose::ALL.len() {
            ring.0.clear();
        }
        ring.0.insert((purpose, id), Arc::clone(&key));
        Ok(key)
    }

    fn open_signer(&self, purpose: Purpose, id: &str, row: &SigningKeyRow) -> Result<Signer, IdentityError> {
        let closed = || IdentityError::MasterKey { expected: row.master.clone() };
        let sealed = STANDARD.decode(&row.sealed).map_err(|_| closed())?;
        let bytes = self.master().open(&what(purpose, id), &sealed).ok_or_else(closed)?;
        let text = std::str::from_utf8(bytes.expose()).map_err(|_| closed())?;
        Ok(match purpose {
            Purpose::Tokens => Signer::Ed25519(SigningKey::from_pkcs8_pem(text).map_err(IdentityError::Key)?),
            Purpose::Xolo => {
                let mut key = [0; 32];
                hex::decode_to_slice(text, &mut key).map_err(|_| closed())?;
                Signer::Mac(MacKey::new(id, Secret::new(key)))
            }
            Purpose::WorkloadTokens => {
                Signer::P256(EcSigningKey::from_pkcs8_pem(text).map_err(IdentityError::Key)?)
            }
            Purpose::Workloads => {
                let certificate = row.certificate.as_deref().ok_or_else(closed)?;
                let authority =
                    CertificateAuthority::from_pem(certificate, text).map_err(IdentityError::Key)?;
                Signer::Authority(Box::new(authority))
            }
        })
    }
}

fn what(purpose: Purpose, id: &str) -> String {
    format!("{purpose}/{id}")
}

fn rows_of(tx: &ReadTx<'_>, purpose: Purpose) -> Result<Vec<(String, SigningKeyRow)>, IdentityError> {
    let prefix = KeyPrefix::new().part(&purpose.as_str().to_owned());
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let rows = tx.prefix::<SigningKeys>(&prefix, after.as_ref(), KEYS_OF_PURPOSE_MAX)?;
        // A page that is not full is the last one. Ids say nothing of age: the one in use may be on any.
        let is_last = rows.len() < KEYS_OF_PURPOSE_MAX;
        after = rows.last().map(|(key, _)| key.clone());
        all.extend(rows.into_iter().map(|((_, id), row)| (id, row)));
        if is_last {
            return Ok(all);
        }
    }
}

/// The key that signs now: the oldest whose turn is not over. What comes behind it is published only.
fn signing(rows: &[(String, SigningKeyRow)], now: Timestamp) -> Option<&(String, SigningKeyRow)> {
    let in_turn = rows.iter().filter(|(_, row)| row.retired_at.is_none_or(|at| at > now));
    in_turn.min_by_key(|(_, row)| (row.retired_at.is_none(), row.retired_at, row.created_at))
}

fn info(purpose: Purpose, active: Option<&String>, (id, row): (String, SigningKeyRow)) -> SigningKeyInfo {
    let SigningKeyRow { created_at, retired_at, ends_at, master, .. } = row;
    SigningKeyInfo { purpose, is_active: active == Some(&id), id, created_at, retired_at, ends_at, master }
}
