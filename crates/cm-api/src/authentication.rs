//! Who asks: decided before the route, the query and the body are looked at.

use std::io;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use cm_http::local::require_local;
use cm_http::{Failure, FailureClass, RequestLimits};
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

/// The bearer token of the request, for work that outlives one check of it. Its `Debug` hides it.
#[derive(Clone)]
struct Bearer(Arc<str>);

impl Bearer {
    /// The token.
    fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bearer([redacted])")
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
    let Some(bearer) = bearer(headers)? else { return Ok(None) };
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

/// The bearer token of RFC 6750, section 2.1; `None` without a header.
///
/// A header of another scheme is a credential that is not valid, and so is a second header.
fn bearer(headers: &HeaderMap) -> Result<Option<Bearer>, Failure> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let invalid = || Failure::unauthenticated("the credential is not valid");
    if values.next().is_some() {
        return Err(invalid());
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(invalid)?;
    let token = token.trim();
    match scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        true => Ok(Some(Bearer(token.into()))),
        false => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&str], expected: Result<Option<&str>, ()>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        let found = bearer(&headers);
        assert_eq!(
            found.as_ref().map(|found| found.as_ref().map(Bearer::expose)).map_err(|_| ()),
            expected,
            "{values:?}"
        );
    }

    #[test]
    fn only_one_bearer_token_is_a_credential() {
        check(&[], Ok(None));
        check(&["Bearer abc"], Ok(Some("abc")));
        check(&["bearer  abc "], Ok(Some("abc")));
        check(&["Bearer"], Err(()));
        check(&["Bearer "], Err(()));
        check(&["Basic abc"], Err(()));
        check(&["Bearer abc", "Bearer def"], Err(()));
    }
}
