//! Who uses the console in a browser: a cookie that holds a short-lived token.
//!
//! The token is made by the API's own login, with its limits and its events, and revoked when the session ends. The cookie is for the console
//! alone (`Path`), hidden from scripts (`HttpOnly`), and not sent with what other sites cause (`SameSite=Strict`).

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use cm_http::{Failure, FailureClass, JsonBody, Peer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tower::ServiceExt;

use crate::guard::{host, require_own};
use crate::routes::PREFIX;

/// Begins the name of the cookie; the port follows. Cookies know no ports: two nodes on one machine would log each other's users out.
pub const COOKIE: &str = "cryptomesh-console";
/// Whether the browser came by HTTPS, in the words of a proxy that ends it.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Longest body of a login, in bytes, and how long it may take.
const LOGIN_BYTES_MAX: usize = 16 << 10;
const LOGIN_TOTAL: Duration = Duration::from_secs(10);
/// Longest answer of the API to a login, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// How somebody says who they are.
#[derive(Deserialize)]
#[serde(untagged)]
enum Credentials {
    Password(Password),
    Token(Token),
    Passkey(Passkey),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Password {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    principal: String,
    password: String,
    /// Of a second factor, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

/// An API key, or a token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    token: String,
}

/// The answer of a passkey, as the API takes it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Passkey {
    state: String,
    credential: Map<String, Value>,
}

/// What the API's login answers.
#[derive(Deserialize)]
struct Issued {
    token: String,
    expires_at: String,
}

/// The request as far as a session is concerned.
struct Asked {
    uri: Uri,
    headers: HeaderMap,
    peer: Option<Peer>,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let peer = request.extensions().get::<Peer>().copied();
        Self { uri: request.uri().clone(), headers: request.headers().clone(), peer }
    }

    /// A question to the API on the browser's behalf.
    fn to_api(&self, path: &'static str, bearer: Option<&str>, body: Body) -> Result<Request, Failure> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(path);
        for name in [header::HOST, header::ORIGIN] {
            if let Some(value) = self.headers.get(&name) {
                request.headers_mut().insert(name, value.clone());
            }
        }
        // HTTP/2 names the host in the address.
        if let Some(host) =
            host(&self.uri, &self.headers).and_then(|host| HeaderValue::try_from(host.as_str()).ok())
        {
            request.headers_mut().entry(header::HOST).or_insert(host);
        }
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        if let Some(bearer) = bearer {
            request.headers_mut().insert(header::AUTHORIZATION, authorization(bearer)?);
        }
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        Ok(request)
    }
}

/// `Authorization` with this token.
///
/// # Errors
/// 401 when it cannot be one.
fn authorization(bearer: &str) -> Result<HeaderValue, Failure> {
    let header = HeaderValue::try_from(format!("Bearer {bearer}"));
    let mut header = header.map_err(|_| Failure::unauthenticated("the credential is not valid"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// Logs in: has the API make a token, and puts it into the cookie.
///
/// # Errors
/// 403 for other pages' requests, 400, 408, 413, 415, 422 for what is no login; else the API's answer.
pub(crate) async fn begin(State(api): State<Router>, request: Request) -> Result<Response, Failure> {
    require_own(request.method(), request.uri(), request.headers())?;
    let asked = Asked::of(&request);
    let Ok(body) = JsonBody::<Credentials>::from_request(request, &()).await;
    let question = match body.limited_to(LOGIN_BYTES_MAX, LOGIN_TOTAL).decode().await? {
        Credentials::Password(password) => {
            let text = serde_json::to_vec(&password).map_err(Failure::internal)?;
            asked.to_api("/api/v1/auth/login", None, Body::from(text))?
        }
        Credentials::Passkey(passkey) => {
            let text = serde_json::to_vec(&passkey).map_err(Failure::internal)?;
            asked.to_api("/api/v1/auth/login/passkey/finish", None, Body::from(text))?
        }
        Credentials::Token(Token { token }) => {
            asked.to_api("/api/v1/auth/tokens", Some(token.trim()), Body::empty())?
        }
    };
    let answer = answer_of(api, question).await;
    if !answer.status().is_success() {
        return Ok(answer);
    }
    let text = to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await.map_err(Failure::internal)?;
    let issued: Issued = serde_json::from_slice(&text).map_err(Failure::internal)?;
    let ends = OffsetDateTime::parse(&issued.expires_at, &Rfc3339).map_err(Failure::internal)?;
    let seconds = (ends - OffsetDateTime::now_utc()).whole_seconds().max(0);
    let cookie = cookie(&asked, &issued.token, seconds)?;
    Ok(([(header::SET_COOKIE, cookie)], Json(json!({ "expires_at": issued.expires_at }))).into_response())
}

/// Logs out: revokes the token and has the browser forget it.
///
/// # Errors
/// 403 for other pages' requests; the API's answer when the token could not be revoked.
pub(crate) async fn end(State(api): State<Router>, request: Request) -> Result<Response, Failure> {
    require_own(request.method(), request.uri(), request.headers())?;
    let asked = Asked::of(&request);
    let gone = cookie(&asked, "", 0)?;
    if let Some(token) = token(&asked.uri, &asked.headers) {
        let answer = answer_of(api, asked.to_api("/api/v1/auth/logout", Some(&token), Body::empty())?).await;
        // What is not valid any more needs no revoking.
        if !answer.status().is_success() && answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}

async fn answer_of(api: Router, question: Request) -> Response {
    api.oneshot(question).await.unwrap_or_else(|never| match never {})
}

fn cookie(asked: &Asked, token: &str, seconds: i64) -> Result<HeaderValue, Failure> {
    // RFC 6265 knows no quoting that all browsers share; tokens need none.
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if !token.bytes().all(legal) {
        return Err(Failure::new(FailureClass::Internal, "internal error"));
    }
    let name = name(&asked.uri, &asked.headers);
    let secure = asked.headers.get(FORWARDED_PROTO).is_some_and(|proto| proto == "https");
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{name}={token}; Path={PREFIX}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut value = HeaderValue::try_from(text).map_err(Failure::internal)?;
    value.set_sensitive(true);
    Ok(value)
}

fn name(uri: &Uri, headers: &HeaderMap) -> String {
    match host(uri, headers).and_then(|host| host.port_u16()) {
        Some(port) => format!("{COOKIE}-{port}"),
        None => COOKIE.to_owned(),
    }
}

/// The token that the browser's cookie holds. Of two cookies of the name neither is taken: one was planted.
pub(crate) fn token(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let name = name(uri, headers);
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut found = cookies
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(found, _)| *found == name);
    let (_, token) = found.next()?;
    (found.next().is_none() && !token.is_empty()).then(|| token.to_owned())
}

/// The header for the API by which the browser's session speaks; `None` without a session.
pub(crate) fn bearer(uri: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
    authorization(&token(uri, headers)?).ok()
}
