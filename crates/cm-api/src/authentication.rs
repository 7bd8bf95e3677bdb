//! Who asks: decided before the route, the query and the body are looked at.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use cm_http::{Failure, RequestLimits};
use cm_kernel::{Actor, OpContext};
use cm_types::RequestId;

use crate::api::{Access, Api};
use crate::failure::refusal;

/// The one operation whose credentials are in its body, as seen within `/api/v1`.
pub(crate) const LOGIN: &str = "/auth/login";

/// The context of the operation, made by [`authenticate`].
pub struct Op(pub OpContext);

impl<S: Sync> FromRequestParts<S> for Op {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        // A route outside of the authenticated router must fail closed.
        parts.extensions.get().cloned().map(Op).ok_or_else(missing_credential)
    }
}

/// The bearer token of the request, for work that outlives one check of it. Its `Debug` hides it.
#[derive(Clone)]
pub struct Bearer(Arc<str>);

impl Bearer {
    /// The token.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bearer([redacted])")
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Bearer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get().cloned())
    }
}

/// Puts the [`OpContext`] of an authenticated actor into the request, or answers 401.
pub async fn authenticate(
    State(api): State<Api>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let actor = match bearer(request.headers())? {
        Some(bearer) => {
            let actor = api.kernel.authenticate(bearer.expose()).await.map_err(refusal)?;
            request.extensions_mut().insert(bearer);
            actor
        }
        None if is_login(&request) => Actor::Anonymous,
        None => match &api.access {
            Access::Open(actor) => actor.clone(),
            Access::Credential => return Err(missing_credential()),
        },
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
