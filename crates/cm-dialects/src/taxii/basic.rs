//! HTTP Basic (RFC 7617), which clients of TAXII send: exchanged for what the door knows.
//!
//! An API key in place of the password is the credential itself. A password is exchanged for a short-lived token, which is kept for as long as it lasts:
//! checking passwords is slow on purpose, and clients send theirs with every request. What is kept is found by a digest under a key of
//! this process. The token is checked by the door with every request, so that whoever is disabled is so at once.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cm_crypto::Secret;
use cm_crypto::mac::hmac_sha256;
use cm_door::{refusal, source_of};
use cm_http::{Failure, FailureClass, Peer};
use cm_kernel::{Access, Actor, OpContext};
use cm_types::{PrincipalId, RequestId, TenantId, Timestamp};
use uuid::Uuid;

use super::Taxii;

/// How long a token lasts that stands for a password. A password that was changed opens nothing for longer.
const TOKEN_TTL: Duration = Duration::from_secs(300);
/// Most passwords that are remembered at a time.
const REMEMBERED_MAX: usize = 1000;
/// What API keys begin with.
const API_KEY: &str = "cmk_";
/// What 401 asks for: either.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"taxii\", charset=\"UTF-8\"");

/// Tokens and when they end, by the marks of the passwords that they stand for.
type Tokens = HashMap<[u8; 32], (Secret<String>, Timestamp)>;

/// Tokens that stand for passwords.
pub(crate) struct Basic {
    key: Secret<Vec<u8>>,
    tokens: Mutex<Tokens>,
}

impl Default for Basic {
    fn default() -> Self {
        let key = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
        Self { key: Secret::new(key), tokens: Mutex::default() }
    }
}

impl Basic {
    fn mark(&self, credentials: &str) -> [u8; 32] {
        hmac_sha256(self.key.expose(), credentials.as_bytes())
    }

    fn find(&self, mark: &[u8; 32], now: Timestamp) -> Option<Secret<String>> {
        let tokens = self.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tokens.get(mark).filter(|(_, ends)| *ends > now).map(|(token, _)| token.clone())
    }

    fn keep(&self, mark: [u8; 32], token: Secret<String>, ends: Timestamp, now: Timestamp) {
        let mut tokens = self.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tokens.retain(|_, (_, ends)| *ends > now);
        if tokens.len() < REMEMBERED_MAX {
            tokens.insert(mark, (token, ends));
        }
    }
}

/// Puts a bearer token in the place of Basic credentials, and asks for either where there is none.
pub(crate) async fn exchanged(
    State(taxii): State<Taxii>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let open = matches!(taxii.0.access, Access::Open(_));
    if let Some((name, password)) = credentials(request.headers()).filter(|_| !open) {
        let id = request.extensions().get::<RequestId>().cloned().unwrap_or_else(RequestId::random);
        let mut op = OpContext::new(Actor::Anonymous, id, taxii.kernel().tasks().token().child_token());
        op.source = source_of(&request);
        let peer = request.extensions().get::<Peer>().map(|Peer(address)| address.ip());
        op = op.asked_at(taxii.kernel().now(), peer, None);
        let bearer = bearer(&taxii, op, name, password).await?;
        let mut value =
            HeaderValue::try_from(format!("Bearer {}", bearer.expose())).map_err(|_| unknown())?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    let mut response = next.run(request).await;
    if response.status() == axum::http::StatusCode::UNAUTHORIZED {
        response.headers_mut().append(header::WWW_AUTHENTICATE, CHALLENGE);
    }
    Ok(response)
}

/// Name and password, if the one credential is of that kind.
fn credentials(headers: &HeaderMap) -> Option<(String, Secret<String>)> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), Secret::new(password.to_owned())))
}

async fn bearer(
    taxii: &Taxii,
    op: OpContext,
    name: String,
    password: Secret<String>,
) -> Result<Secret<String>, Failure> {
    if password.expose().starts_with(API_KEY) {
        return Ok(password);
    }
    let (kernel, basic) = (taxii.kernel(), &taxii.0.basic);
    let mark = basic.mark(&format!("{name}:{}", password.expose()));
    if let Some(token) = basic.find(&mark, kernel.now()) {
        return Ok(token);
    }
    // A name of another tenant says so: `TENANT/NAME`.
    let (tenant, principal) =
        name.split_once('/').map_or((None, name.as_str()), |(tenant, name)| (Some(tenant), name));
    let tenant =
        tenant.map_or_else(|| Ok(TenantId::default_tenant()), TenantId::parse).map_err(|_| unknown())?;
    let principal = PrincipalId::parse(principal).map_err(|_| unknown())?;
    // Whoever is refused tries no passwords: they are not even looked at.
    kernel.admit_source(op.asked.address, true).map_err(refusal)?;
    let authenticated = kernel.login(&op, &tenant, &principal, password).await;
    let authenticated = authenticated.map_err(|error| challenged(refusal(error)))?;
    let (token, info) = kernel.issue_token(&op, &authenticated, TOKEN_TTL).await.map_err(refusal)?;
    basic.keep(mark, token.clone(), info.expires_at, kernel.now());
    Ok(token)
}

/// Who was not known is told how to say who they are.
fn challenged(failure: Failure) -> Failure {
    match failure.class() {
        FailureClass::Unauthenticated => failure.with_header(header::WWW_AUTHENTICATE, CHALLENGE),
        _ => failure,
    }
}

fn unknown() -> Failure {
    Failure::new(FailureClass::Unauthenticated, "the credential is not valid")
        .with_header(header::WWW_AUTHENTICATE, CHALLENGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: Option<(&str, &str)>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        let found = credentials(&headers);
        let found = found.as_ref().map(|(name, password)| (name.as_str(), password.expose().as_str()));
        assert_eq!(found, expected, "{value}");
    }

    #[test]
    fn credentials_are_read_as_rfc_7617_writes_them() {
        check("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some(("Aladdin", "open sesame")));
        check("basic YTpiOmM=", Some(("a", "b:c")));
        for bad in ["Bearer YTpi", "Basic", "Basic ????", "Basic YWI=", "Basic /w=="] {
            check(bad, None);
        }
    }

    #[test]
    fn tokens_are_remembered_until_they_end() {
        let basic = Basic::default();
        let at = Timestamp::from_micros;
        let mark = basic.mark("ada:secret");
        basic.keep(mark, Secret::new("token".to_owned()), at(10), at(0));
        assert_eq!(basic.find(&mark, at(9)).map(|token| token.expose().clone()).as_deref(), Some("token"));
        assert!(basic.find(&mark, at(10)).is_none());
        assert!(basic.find(&basic.mark("ada:other"), at(0)).is_none());
        assert_ne!(mark, Basic::default().mark("ada:secret"), "of this process only");
    }
}
