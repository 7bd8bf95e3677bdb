//! Who asks: decided before the route, the query and the body are looked at.

use std::io;
use std::ops::Deref;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use cm_http::local::require_local;
use cm_http::{Bearer, Failure, FailureClass, RequestLimits};
use cm_kernel::{Access, Actor, Kernel, OpContext};
use cm_types::RequestId;
use futures::{Stream, StreamExt, stream};

use crate::api::Api;
use crate::failure::refusal;

/// The one operation whose credentials are in its body, as seen within `/api/v1`.
pub(crate) const LOGIN: &str = "/auth/login";

/// The context of the operation, made by [`authenticate`].
pub struct Op(pub Caller);

/// Who asks, and by what: an [`OpContext`] that can be believed anew.
#[derive(Clone, Debug)]
pub struct Caller {
    op: OpContext,
    bearer: Option<Bearer>,
}

impl Deref for Caller {
    type Target = OpContext;

    fn deref(&self) -> &OpContext {
        &self.op
    }
}

impl Caller {
    /// Authenticates again. A body takes its time: whoever was known when it began may be disabled, and its
    /// credential revoked, when it ends. Every handler that read a body calls this, and decides again, right
    /// before the effect.
    ///
    /// # Errors
    /// 401 when the credential is not valid any more.
    pub(crate) async fn again(mut self, kernel: &Kernel) -> Result<Self, Failure> {
        if let Some(bearer) = &self.bearer {
            self.op.actor = kernel.authenticate(bearer.expose()).await.map_err(refusal)?;
        }
        Ok(self)
    }
}

/// A body whose end is an error unless `check` allows it: whoever stores it only as a whole does not store it then.
pub(crate) fn confirmed(
    body: impl Stream<Item = io::Result<Bytes>> + Send,
    check: impl Future<Output = Result<(), Failure>> + Send,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let refused = |failure| Err(io::Error::new(io::ErrorKind::PermissionDenied, failure));
    let end = move |checked: Result<(), Failure>| std::future::ready(checked.err().map(refused));
    body.chain(stream::once(check).filter_map(end))
}

impl<S: Sync> FromRequestParts<S> for Op {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        // A route outside of the authenticated router must fail closed.
        let op = parts.extensions.get::<OpContext>().cloned().ok_or_else(missing_credential)?;
        Ok(Op(Caller { op, bearer: parts.extensions.get().cloned() }))
    }
}

/// Puts the [`OpContext`] of an authenticated actor into the request, or answers 401.
pub async fn authenticate(
    State(api): State<Api>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    if let Access::Open(_) = api.access {
        require_local(&request)?;
    }
    let actor = match (presented(&api, request.headers()).await, &api.access) {
        (Ok(Some((bearer, actor))), _) => {
            request.extensions_mut().insert(bearer);
            actor
        }
        (Ok(None), _) if is_login(&request) => Actor::Anonymous,
        (Ok(None), Access::Open(actor)) => actor.clone(),
        // Clients of the earlier implementation send tokens that nobody ever looked at.
        (Err(failure), Access::Open(actor)) if failure.class() == FailureClass::Unauthenticated => {
            actor.clone()
        }
        (Ok(None), Access::Credential) => return Err(missing_credential()),
        (Err(failure), _) => return Err(failure),
    };
    let op = context(&api, actor, &request);
    let span = tracing::Span::current();
    span.record("tenant", op.tenant().as_str());
    if let Some(principal) = op.principal() {
        span.record("principal", principal.as_str());
    }
    request.extensions_mut().insert(op);
    Ok(next.run(request).await)
}

/// Who presents a credential, and the credential; `None` without one.
async fn presented(api: &Api, headers: &HeaderMap) -> Result<Option<(Bearer, Actor)>, Failure> {
    let Some(bearer) = Bearer::of(headers)? else { return Ok(None) };
    let actor = api.kernel.authenticate(bearer.expose()).await.map_err(refusal)?;
    Ok(Some((bearer, actor)))
}

fn context(api: &Api, actor: Actor, request: &Request) -> OpContext {
    let id = request.extensions().get::<RequestId>().cloned().unwrap_or_else(RequestId::random);
    let mut op = OpContext::new(actor, id, api.kernel.tasks().token().child_token());
    op.deadline = api.kernel.clock().monotonic() + RequestLimits::of(request.extensions()).deadline;
    op
}

fn is_login(request: &Request) -> bool {
    request.method() == Method::POST && request.uri().path() == LOGIN
}

fn missing_credential() -> Failure {
    Failure::unauthenticated("a bearer token is required")
}
