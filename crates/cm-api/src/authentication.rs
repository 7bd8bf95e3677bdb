//! Who asks: decided by the gate that all faces share, which lets few operations through without a credential.

use axum::extract::{FromRequestParts, Request};
use axum::http::Method;
use axum::http::request::Parts;
use cm_door::{Caller, Gate};
use cm_http::Failure;

use crate::api::Engines;

/// The operations whose credentials are in their bodies, and the one that asks for one, as seen within `/api/v1`.
const CREDENTIAL_IN_BODY: [&str; 6] = [
    "/auth/login",
    "/auth/login/passkey",
    "/auth/login/passkey/finish",
    "/auth/refresh",
    "/auth/revoke",
    "/auth/exchange",
];

/// The operation that is answered by this node alone, as seen within `/api/v1`.
const NETWORK: &str = "/network";

/// The context of the operation, made by [`authenticate`](cm_door::authenticate()).
pub struct Op(pub Caller);

impl<S: Sync> FromRequestParts<S> for Op {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        Caller::from_request_parts(parts, state).await.map(Op)
    }
}

/// What stands before all routes.
pub(crate) fn gate(engines: &Engines) -> Gate {
    Gate::new(engines.kernel.clone(), engines.access.clone()).open_to(is_login).local_to(is_network_view)
}

/// What this node sees of its network is wanted most when the others cannot be reached.
fn is_network_view(request: &Request) -> bool {
    request.method() == Method::GET && request.uri().path() == NETWORK
}

fn is_login(request: &Request) -> bool {
    request.method() == Method::POST && CREDENTIAL_IN_BODY.contains(&request.uri().path())
}
