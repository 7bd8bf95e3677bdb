//! Who asks: each handler says which credential it takes, and gets the operation of who has it.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use axum::extract::{FromRequest, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use cm_http::body::from_json;
use cm_http::local::require_local;
use cm_http::{Bearer, Failure, Upload};
use cm_kernel::identity::{
    AccountScope, Authenticated, CredentialProblem, LiveSession, NewTenant, SessionKind,
};
use cm_kernel::policy::Create;
use cm_kernel::{Actor, Kernel, OpContext};
use cm_types::{ResourceKind, TenantId};
use serde::de::DeserializeOwned;

use super::Xolo;
use super::shape::{coded, invalid, refused, unauthorized};

/// The header of who administers accounts.
const ADMIN_TOKEN: &str = "x-admin-token";
/// The header of an application.
const API_KEY: &str = "x-api-key";
/// The header with the second secret of a session.
const TEMPORAL_SECRET: &str = "temporal-secret-key";
/// Longest body, in bytes.
const BODY_BYTES_MAX: usize = 256 << 10;

/// A request of which nothing is believed yet.
pub(super) struct Call {
    pub(super) xolo: Xolo,
    /// By nobody.
    pub(super) op: OpContext,
    headers: HeaderMap,
    /// Behind a lock nobody waits for, so that handlers may lend the call while they wait: bodies cannot be shared.
    body: Mutex<Option<Upload>>,
    /// What was shown and believed so far, to be believed anew once the body is there.
    shown: Mutex<Vec<Shown>>,
}

/// A credential that was believed before the body was read.
enum Shown {
    /// An admin token, and what its owner was permitted then.
    Admin(Actor),
    /// A key of an application, for a scope of an account.
    Key(TenantId, AccountScope),
    /// The token of a user of an account.
    User(TenantId),
}

impl FromRequest<Xolo> for Call {
    type Rejection = Infallible;

    async fn from_request(request: Request, xolo: &Xolo) -> Result<Self, Infallible> {
        let op = cm_door::context(xolo.kernel(), Actor::Anonymous, &request);
        let headers = request.headers().clone();
        let body = Mutex::new(Some(Upload::from_request(request, xolo).await?));
        Ok(Self { xolo: xolo.clone(), op, headers, body, shown: Mutex::default() })
    }
}

impl Call {
    /// The operation of who administers the account: its own administrator, or whoever may grant rights over tenants.
    pub(super) async fn admin(&self, account: &TenantId) -> Result<OpContext, Failure> {
        let op = self.operator().await?;
        if op.tenant() == *account && !matches!(op.actor, Actor::Node(_)) {
            return Ok(op);
        }
        self.xolo.kernel().operate_in(&op, account).await.map_err(refused)
    }

    /// The operation of who shows an admin token, in its own tenant.
    pub(super) async fn operator(&self) -> Result<OpContext, Failure> {
        let kernel = self.xolo.kernel();
        let peer = self.op.asked.address;
        let actor = match self.header(ADMIN_TOKEN) {
            Some(token) => {
                let known = kernel.authenticate_at_door(token, &self.op.source, &self.op.request).await;
                let known = known.map_err(refused)?;
                self.believe(Shown::Admin(known.clone()));
                known
            }
            // A node in open mode lets whoever is on the same machine act as itself.
            None if self.xolo.is_open() => Actor::node(),
            None => return Err(unauthorized()),
        };
        kernel.admit(peer, &actor).map_err(refused)?;
        Ok(self.op.clone().by(actor))
    }

    /// The operation of an application, or of who administers the account.
    pub(super) async fn application(
        &self,
        account: &TenantId,
        scope: AccountScope,
    ) -> Result<OpContext, Failure> {
        match self.header(API_KEY) {
            Some(key) if self.header(ADMIN_TOKEN).is_none() => {
                let kernel = self.xolo.kernel();
                kernel.freshen().await.map_err(refused)?;
                kernel.admit_source(self.op.asked.address, true).map_err(refused)?;
                let op = kernel.as_account_key(&self.op, key, account, scope).await.map_err(refused)?;
                self.believe(Shown::Key(account.clone(), scope));
                Ok(op)
            }
            _ => self.admin(account).await,
        }
    }

    /// The account of the application whose key is shown, for addresses that name none. Nothing is believed yet.
    pub(super) async fn account_of_key(&self) -> Result<TenantId, Failure> {
        let kernel = self.xolo.kernel();
        let key = self.header(API_KEY).ok_or_else(unauthorized)?;
        kernel.freshen().await.map_err(refused)?;
        kernel.admit_source(self.op.asked.address, true).map_err(refused)?;
        kernel.account_of_key(&self.op, key).await.map_err(refused)
    }

    fn believe(&self, shown: Shown) {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).push(shown);
    }

    /// The live session of a user, whose temporal secret must be shown along with its token.
    pub(super) async fn session(&self, account: &TenantId) -> Result<LiveSession, Failure> {
        let live = self.session_even_withdrawn(account).await?;
        match self.xolo.kernel().own_profile(&live).await.map_err(refused)?.withdrawn {
            false => Ok(live),
            true => Err(inactive()),
        }
    }

    /// As [`Call::session`], also of a user that does not want to be logged in as for now.
    pub(super) async fn session_even_withdrawn(&self, account: &TenantId) -> Result<LiveSession, Failure> {
        let live = self.shown_session(account).await?;
        self.believe(Shown::User(account.clone()));
        Ok(live)
    }

    async fn shown_session(&self, account: &TenantId) -> Result<LiveSession, Failure> {
        let kernel = self.xolo.kernel();
        kernel.freshen().await.map_err(refused)?;
        let bearer = Bearer::of(&self.headers)?.ok_or_else(unauthorized)?;
        let live = kernel.xolo_session(&self.op, bearer.expose(), SessionKind::Xolo4, account).await;
        let live = live.map_err(refused)?;
        let secret = self.header(TEMPORAL_SECRET).unwrap_or_default();
        if !kernel.identity().is_temporal_secret(&live, secret) {
            let problem = CredentialProblem::NotOurs;
            return Err(refused(kernel.refuse_credential(&self.op, account, problem).await));
        }
        admit(kernel, &self.op, &live.authenticated()).await?;
        Ok(live)
    }

    /// An application and a user of it at once: what the application may do, and who asks for it.
    pub(super) async fn user_of(
        &self,
        account: &TenantId,
        scope: AccountScope,
    ) -> Result<(OpContext, LiveSession), Failure> {
        let op = self.application(account, scope).await?;
        Ok((op, self.session(account).await?))
    }

    /// The body. Earlier clients send JSON without saying so.
    ///
    /// It takes its time: whatever was shown before it is believed anew once it is there, so that a credential that was
    /// revoked meanwhile has no effect.
    pub(super) async fn body<T: DeserializeOwned>(self) -> Result<T, Failure> {
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner).take();
        let body = body.expect("the body is taken here only, where the call ends");
        let bytes = body.read_to_end(BODY_BYTES_MAX).await?;
        self.again().await?;
        from_json(&bytes).map_err(|failure| {
            let path = failure.details().get("path").and_then(|path| path.as_str()).unwrap_or("body");
            let reason = failure.details().get("reason").and_then(|reason| reason.as_str());
            match reason {
                Some(reason) => invalid(path, reason),
                None => failure,
            }
        })
    }

    /// Believes anew what was shown.
    ///
    /// # Errors
    /// 401 for what proves nothing any more; 403 for an administrator who is permitted something else by now, for what was
    /// decided before the body was decided by that.
    async fn again(&self) -> Result<(), Failure> {
        let shown = std::mem::take(&mut *self.shown.lock().unwrap_or_else(PoisonError::into_inner));
        let kernel = self.xolo.kernel();
        for shown in shown {
            match shown {
                Shown::Admin(before) => {
                    let token = self.header(ADMIN_TOKEN).ok_or_else(unauthorized)?;
                    let now = kernel.authenticate_at_door(token, &self.op.source, &self.op.request).await;
                    if !now.map_err(refused)?.may_the_same(&before) {
                        let message = "what you may do changed while the body arrived; ask again";
                        return Err(coded(cm_http::FailureClass::Forbidden, "XOLO.ACCESS_DENIED", message));
                    }
                }
                Shown::Key(account, scope) => {
                    let key = self.header(API_KEY).ok_or_else(unauthorized)?;
                    kernel.freshen().await.map_err(refused)?;
                    kernel.as_account_key(&self.op, key, &account, scope).await.map_err(refused)?;
                }
                Shown::User(account) => {
                    self.shown_session(&account).await?;
                }
            }
        }
        Ok(())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
    }
}

/// Refuses whom a measure in force refuses: somebody who authenticated, or where they ask from.
pub(super) async fn admit(
    kernel: &Kernel,
    op: &OpContext,
    authenticated: &Authenticated,
) -> Result<(), Failure> {
    let known = kernel.as_authenticated(op, authenticated.clone()).await.map_err(refused)?;
    kernel.admit(op.asked.address, &known.actor).map_err(refused)
}

/// 403 for a user that does not want to be logged in as for now, or is barred.
pub(super) fn inactive() -> Failure {
    coded(cm_http::FailureClass::Forbidden, "XOLO.INACTIVE_USER", "the user is not active")
}

/// The account that a path or a body names.
///
/// # Errors
/// 404: there cannot be one of such a name.
pub(super) fn account(text: &str) -> Result<TenantId, Failure> {
    TenantId::parse(text).map_err(|error| {
        Failure::new(cm_http::FailureClass::NotFound, format!("there is no such account: {error}"))
    })
}

/// On a node in open mode an account comes into being with its first use.
pub(super) async fn ensure_account(xolo: &Xolo, op: &OpContext, account: &TenantId) -> Result<(), Failure> {
    let kernel = xolo.kernel();
    if !xolo.is_open() || kernel.tenant(account).await.map_err(refused)?.is_some() {
        return Ok(());
    }
    let op = OpContext { actor: Actor::node(), ..op.clone() };
    let permit = kernel.authorize_of_node::<Create>(&op, ResourceKind::Tenant).await.map_err(refused)?;
    let new = NewTenant { id: account.clone(), name: None, open: true, administrator: None };
    kernel.create_tenant(&op, &permit, new).await.map_err(refused)?;
    Ok(())
}

/// On a node in open mode only this machine is answered.
pub(super) async fn local_if_open(
    State(xolo): State<Xolo>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    if xolo.is_open() {
        require_local(&request)?;
    }
    Ok(next.run(request).await)
}
