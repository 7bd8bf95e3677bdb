//! Who asks: decided before the route, the query and the body are looked at, as the native API does.
//!
//! Earlier clients send no credential. A node in open mode lets them act as its own actor, as long as they are on the same
//! machine and no foreign web page speaks through them; a node that asks for credentials takes bearer tokens.

use std::io;
use std::ops::Deref;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use cm_http::local::require_local;
use cm_http::{Bearer, Failure, FailureClass, RequestLimits};
use cm_kernel::{Access, Actor, Kernel, OpContext};
use cm_types::RequestId;
use futures::{Stream, StreamExt as _, stream};

use crate::failure::refusal;

/// What [`authenticate`] needs of a face.
#[derive(Clone)]
pub struct Gate {
    /// Who knows the credentials.
    pub kernel: Kernel,
    /// Whether callers must say who they are.
    pub access: Access,
}

/// The context of the operation, made by [`authenticate`].
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
    pub async fn again(mut self, kernel: &Kernel) -> Result<Self, Failure> {
        if let Some(bearer) = &self.bearer {
            self.op.actor = kernel.authenticate(bearer.expose()).await.map_err(refusal)?;
        }
        Ok(self)
    }
}

/// A body whose end is an error unless `check` allows it: whoever stores it only as a whole does not store it then.
pub fn confirmed(
    body: impl Stream<Item = io::Result<Bytes>> + Send,
    check: impl Future<Output = Result<(), Failure>> + Send,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let refused = |failure| Err(io::Error::new(io::ErrorKind::PermissionDenied, failure));
    let end = move |checked: Result<(), Failure>| std::future::ready(checked.err().map(refused));
    body.chain(stream::once(check).filter_map(end))
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        // A route outside of the authenticated router must fail closed.
        let op = parts.extensions.get::<OpContext>().cloned().ok_or_else(missing_credential)?;
        Ok(Self { op, bearer: parts.extensions.get().cloned() })
    }
}

/// Puts the [`OpContext`] of an authenticated actor into the request, or answers 401. A layer around all routes and
/// fallbacks of a dialect: `middleware::from_fn_with_state(gate, authenticate)`.
///
/// # Errors
/// 401 without a valid credential where one is asked for; 403 in open mode for what does not come from this machine.
pub async fn authenticate(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    if let Access::Open(_) = gate.access {
        require_local(&request)?;
    }
    let actor = match (presented(&gate.kernel, request.headers()).await, &gate.access) {
        (Ok(Some((bearer, actor))), _) => {
            request.extensions_mut().insert(bearer);
            actor
        }
        (Ok(None), Access::Open(actor)) => actor.clone(),
        // The earlier services never looked at credentials; what a client sends to them may be anything.
        (Err(failure), Access::Open(actor)) if failure.class() == FailureClass::Unauthenticated => {
            actor.clone()
        }
        (Ok(None), Access::Credential) => return Err(missing_credential()),
        (Err(failure), _) => return Err(failure),
    };
    let op = context(&gate.kernel, actor, &request);
    let span = tracing::Span::current();
    span.record("tenant", op.tenant().as_str());
    if let Some(principal) = op.principal() {
        span.record("principal", principal.as_str());
    }
    request.extensions_mut().insert(op);
    Ok(next.run(request).await)
}

/// Who presents a credential, and the credential; `None` without one.
async fn presented(kernel: &Kernel, headers: &HeaderMap) -> Result<Option<(Bearer, Actor)>, Failure> {
    let Some(bearer) = Bearer::of(headers)? else { return Ok(None) };
    let actor = kernel.authenticate(bearer.expose()).await.map_err(refusal)?;
    Ok(Some((bearer, actor)))
}

fn context(kernel: &Kernel, actor: Actor, request: &Request) -> OpContext {
    let id = request.extensions().get::<RequestId>().cloned().unwrap_or_else(RequestId::random);
    let mut op = OpContext::new(actor, id, kernel.tasks().token().child_token());
    op.deadline = kernel.clock().monotonic() + RequestLimits::of(request.extensions()).deadline;
    op
}

fn missing_credential() -> Failure {
    Failure::unauthenticated("a bearer token is required")
}
