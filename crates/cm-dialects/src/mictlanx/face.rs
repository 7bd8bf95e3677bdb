//! What surrounds the routes of both faces.

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use cm_door::authenticate;
use cm_http::{Failure, RequestLimits, frame};
use cm_kernel::OpContext;
use serde_json::{Value, json};

use super::MictlanX;
use super::shape::shape;

/// The header in which the first clients look for what went wrong.
const ERROR_MESSAGE: &str = "error-message";
/// The header in which a client of the token service says its secret.
const SECRET: &str = "secret";
/// The header in which it says who it is.
const CLIENT_ID: &str = "client-id";

/// A face of these routes. Everybody may ask whether it answers.
pub(super) fn face(routes: Router<MictlanX>, mictlanx: MictlanX, limits: RequestLimits) -> Router {
    let tasks = mictlanx.kernel().tasks().clone();
    let authenticated = middleware::from_fn_with_state(mictlanx.gate(), authenticate);
    // The last is the outermost.
    let routes = routes
        .layer(middleware::from_fn(named))
        .layer(authenticated)
        .layer(middleware::from_fn(presented))
        .layer(middleware::from_fn(told))
        .with_state(mictlanx)
        .route("/health", get(health));
    frame(routes, limits, shape, &tasks)
}

async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// That a secret was presented instead of a bearer token.
#[derive(Clone, Copy, Debug)]
struct BySecret;

/// Takes what earlier clients present for a bearer token: a token without a scheme, or a secret in a header of its own.
async fn presented(mut request: Request, next: Next) -> Response {
    let headers = request.headers_mut();
    let bare = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bare = bare.filter(|text| !text.is_empty() && !text.contains(' ')).map(str::to_owned);
    let secret = match headers.contains_key(header::AUTHORIZATION) {
        true => None,
        false => headers.get(SECRET).and_then(|value| value.to_str().ok()).map(str::to_owned),
    };
    if secret.is_some() {
        request.extensions_mut().insert(BySecret);
    }
    if let Some(token) = bare.or(secret)
        && let Ok(mut value) = HeaderValue::try_from(format!("Bearer {token}"))
    {
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    next.run(request).await
}

/// Refuses a secret that is another's than the client's.
async fn named(request: Request, next: Next) -> Result<Response, Failure> {
    let client = request.headers().get(CLIENT_ID).map(HeaderValue::as_bytes);
    let proven = request.extensions().get::<OpContext>().filter(|op| op.authenticated().is_some());
    let principal = proven.and_then(OpContext::principal).map(|principal| principal.as_str().as_bytes());
    if request.extensions().get::<BySecret>().is_some() && principal.is_some() && client != principal {
        return Err(Failure::unauthenticated("the credential is not valid"));
    }
    Ok(next.run(request).await)
}

/// Repeats what went wrong in a header, as far as one can hold it.
async fn told(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(failure) = response.extensions().get::<Failure>() {
        let visible = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        let text: String = failure.message().chars().map(visible).take(512).collect();
        if let Ok(value) = HeaderValue::try_from(text) {
            response.headers_mut().insert(ERROR_MESSAGE, value);
        }
    }
    response
}
