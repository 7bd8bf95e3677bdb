//! The API, for the browser's session: the same router, in the same process, with the token where it belongs.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{Extensions, HeaderValue, Uri, header};
use axum::response::Response;
use cm_http::{Failure, FailureClass, Peer};
use tower::ServiceExt;

use crate::guard::require_own;
use crate::routes::PREFIX;
use crate::session;

/// What a browser may do with an answer of the API that it was made to show as a page: nothing. Objects are what their writers made them.
const SHOWN_AS_A_PAGE: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox");

/// What pages ask about credentials. None of it hands one out: beginning to log in with a passkey answers with a question.
const ASKED_BY_PAGES: [&str; 2] = ["/api/v1/auth/whoami", LOGIN_QUESTION];
/// Asked as nobody: whoever logs in may still have the cookie of a session that has ended, and would be refused for it.
const LOGIN_QUESTION: &str = "/api/v1/auth/login/passkey";
/// One's own passkeys: likewise, what is below it too.
const PASSKEYS: &str = "/api/v1/auth/passkeys";

/// Where requests of the console go.
#[derive(Clone)]
pub(crate) struct Relay {
    /// The API, complete.
    pub(crate) api: Router,
    /// Answers with the [`Failure`] in the request's extensions, in a frame of its own: the API's own frame never sees what is refused here.
    pub(crate) refusals: Router,
}

/// Passes a request on to the API.
pub(crate) async fn relay(State(Relay { api, refusals }): State<Relay>, mut request: Request) -> Response {
    let answer = match passed_on(&request) {
        Ok(uri) => {
            let as_nobody = uri.path() == LOGIN_QUESTION;
            let bearer = session::bearer(request.uri(), request.headers()).filter(|_| !as_nobody);
            let headers = request.headers_mut();
            headers.remove(header::COOKIE);
            headers.remove(header::AUTHORIZATION);
            if let Some(bearer) = bearer {
                headers.insert(header::AUTHORIZATION, bearer);
            }
            *request.uri_mut() = uri;
            // What this router noted of the request is not what the API's would.
            let peer = request.extensions().get::<Peer>().copied();
            *request.extensions_mut() = Extensions::new();
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            api.oneshot(request).await
        }
        Err(failure) => {
            request.extensions_mut().insert(failure);
            refusals.oneshot(request).await
        }
    };
    let mut answer = answer.unwrap_or_else(|never| match never {});
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, SHOWN_AS_A_PAGE);
    answer
}

/// The address within the API.
fn passed_on(request: &Request) -> Result<Uri, Failure> {
    require_own(request.method(), request.uri(), request.headers())?;
    let not_found = || Failure::new(FailureClass::NotFound, "not found");
    let written = request.uri().path_and_query().map(PathAndQuery::as_str).unwrap_or_default();
    let within = written.strip_prefix(PREFIX).ok_or_else(not_found)?;
    let mut parts = request.uri().clone().into_parts();
    let path = PathAndQuery::try_from(within).map_err(|_| not_found())?;
    // Whoever takes such a segment for a step finds something else than whoever takes it for a name.
    if path.path().split('/').any(is_step) {
        let reason = "the address contains the segment `.` or `..`; name what is meant without it";
        return Err(Failure::new(FailureClass::Malformed, reason));
    }
    // Pages hold no credential: they are given none either. Sessions begin and end at the console's own address.
    let within = path.path();
    let of_passkeys =
        within.strip_prefix(PASSKEYS).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let hands_out =
        within.split('/').nth(3) == Some("auth") && !ASKED_BY_PAGES.contains(&within) && !of_passkeys;
    if hands_out {
        return Err(not_found());
    }
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).map_err(|_| not_found())
}

/// Whether a segment of an address is one that browsers and proxies take for a step through it, as they do in any spelling.
fn is_step(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}
