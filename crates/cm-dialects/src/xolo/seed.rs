//! The first protocol: five operations, each with `app_id`, `client_id` and `secret` in its body. Answers have exactly the
//! fields that its clients know; they refuse others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::routing::post;
use axum::{Json, Router};
use cm_crypto::Secret;
use cm_http::Failure;
use cm_kernel::SignUp;
use cm_kernel::identity::{Authenticated, CredentialProblem, LiveSession, NewSession, Profile, SessionKind};
use cm_types::{PrincipalId, TenantId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Xolo;
use super::call::{Call, account, admit, ensure_account};
use super::shape::{invalid, refused, unauthorized};

/// How long a token lives unless told: a day, as with the first clients.
const TTL_DEFAULT: Duration = Duration::from_secs(24 * 3600);
/// How long claims of the body may be, all together, in bytes.
const CLAIMS_LEN_MAX: usize = 4096;
/// Where claims are kept in what a client says of itself.
const CLAIMS: &str = "xolo.claims";

#[derive(Deserialize)]
struct SignUpBody {
    app_id: String,
    client_id: String,
    secret: Secret<String>,
    #[serde(default)]
    metadata: BTreeMap<String, Value>,
    #[serde(default)]
    claims: BTreeMap<String, Value>,
    #[serde(default)]
    expires_in: Option<i64>,
}

#[derive(Deserialize)]
struct AuthBody {
    app_id: String,
    client_id: String,
    secret: Secret<String>,
    #[serde(default)]
    expires_in: Option<i64>,
}

#[derive(Deserialize)]
struct TokenBody {
    app_id: String,
    client_id: String,
    secret: Secret<String>,
    token: String,
}

pub(super) fn routes() -> Router<Xolo> {
    Router::new()
        .route("/signup", post(sign_up))
        .route("/auth", post(auth))
        .route("/verify", post(verify))
        .route("/refresh", post(refresh))
        .route("/logout", post(logout))
}

fn service_time(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn ttl(expires_in: Option<i64>) -> Result<Duration, Failure> {
    match expires_in {
        None => Ok(TTL_DEFAULT),
        Some(seconds) => u64::try_from(seconds)
            .map(Duration::from_secs)
            .map_err(|_| invalid("expires_in", "expected a number of seconds")),
    }
}

/// A name that nobody can have is no credential.
fn client(text: &str) -> Result<PrincipalId, Failure> {
    PrincipalId::parse(text).map_err(|_| unauthorized())
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// Who has this name and secret; every operation of the protocol begins with it.
async fn proven(
    call: (&Xolo, &cm_kernel::OpContext),
    app: &TenantId,
    client_id: &str,
    secret: Secret<String>,
) -> Result<Authenticated, Failure> {
    let (xolo, op) = call;
    let kernel = xolo.kernel();
    kernel.freshen().await.map_err(refused)?;
    kernel.admit(op.asked.address, &op.actor).map_err(refused)?;
    let authenticated = kernel.login(op, app, &client(client_id)?, secret).await.map_err(refused)?;
    admit(kernel, op, &authenticated).await?;
    Ok(authenticated)
}

async fn sign_up(call: Call) -> Result<Json<Value>, Failure> {
    let began = Instant::now();
    let (xolo, op) = (call.xolo.clone(), call.op.clone());
    xolo.kernel().admit(op.asked.address, &op.actor).map_err(refused)?;
    let body: SignUpBody = call.body().await?;
    let app = account(&body.app_id).map_err(|_| unauthorized())?;
    ensure_account(&xolo, &op, &app).await?;
    let id = PrincipalId::parse(&*body.client_id).map_err(|error| invalid("client_id", error))?;
    let mut metadata: BTreeMap<String, String> =
        body.metadata.into_iter().map(|(name, value)| (name, text_of(value))).collect();
    if !body.claims.is_empty() {
        let claims = json!(body.claims).to_string();
        if claims.len() > CLAIMS_LEN_MAX {
            return Err(invalid("claims", "expected at most 4096 bytes"));
        }
        metadata.insert(CLAIMS.to_owned(), claims);
    }
    let ttl = ttl(body.expires_in)?;
    let new = SignUp {
        id: id.clone(),
        password: body.secret.clone(),
        profile: Profile { metadata, ..Profile::default() },
        scope: None,
    };
    xolo.kernel().sign_up_openly(&op, &app, new).await.map_err(refused)?;
    let authenticated = xolo.kernel().login(&op, &app, &id, body.secret).await.map_err(refused)?;
    let session = NewSession { kind: SessionKind::Xolo3, label: String::new(), ttl };
    let tokens = xolo.kernel().begin_session(&op, &authenticated, session).await.map_err(refused)?;
    Ok(Json(json!({ "token": tokens.token.expose(), "service_time": service_time(began) })))
}

async fn auth(call: Call) -> Result<Json<Value>, Failure> {
    let began = Instant::now();
    let (xolo, op) = (call.xolo.clone(), call.op.clone());
    let body: AuthBody = call.body().await?;
    let app = account(&body.app_id).map_err(|_| unauthorized())?;
    let ttl = ttl(body.expires_in)?;
    let authenticated = proven((&xolo, &op), &app, &body.client_id, body.secret).await?;
    let kernel = xolo.kernel();
    let live = kernel.live_session(&authenticated, SessionKind::Xolo3, "").await.map_err(refused)?;
    let tokens = match live {
        Some(tokens) => tokens,
        None => {
            let session = NewSession { kind: SessionKind::Xolo3, label: String::new(), ttl };
            kernel.begin_session(&op, &authenticated, session).await.map_err(refused)?
        }
    };
    let session = kernel.xolo_session(&op, tokens.token.expose(), SessionKind::Xolo3, &app).await;
    let mut profile = kernel.own_profile(&session.map_err(refused)?).await.map_err(refused)?;
    profile.metadata.remove(CLAIMS);
    Ok(Json(json!({
        "client_id": body.client_id,
        "token": tokens.token.expose(),
        "jti": tokens.jti,
        "metadata": profile.metadata,
        "service_time": service_time(began),
    })))
}

/// The session of a token, if it is the live one of who has this name and secret.
async fn live(
    xolo: &Xolo,
    op: &cm_kernel::OpContext,
    body: TokenBody,
) -> Result<Option<LiveSession>, Failure> {
    let app = account(&body.app_id).map_err(|_| unauthorized())?;
    let authenticated = proven((xolo, op), &app, &body.client_id, body.secret).await?;
    match xolo.kernel().xolo_session(op, &body.token, SessionKind::Xolo3, &app).await {
        Ok(live) if live.principal.id == authenticated.principal().id => Ok(Some(live)),
        Ok(_) => {
            // Whoever has it has it from somebody else.
            xolo.kernel().refuse_credential(op, &app, CredentialProblem::OtherPrincipal).await;
            Ok(None)
        }
        Err(cm_kernel::KernelError::Unauthenticated) => Ok(None),
        Err(error) => Err(refused(error)),
    }
}

async fn verify(call: Call) -> Result<Json<Value>, Failure> {
    let began = Instant::now();
    let (xolo, op) = (call.xolo.clone(), call.op.clone());
    let verified = live(&xolo, &op, call.body().await?).await?.is_some();
    Ok(Json(json!({ "verified": verified, "service_time": service_time(began) })))
}

async fn refresh(call: Call) -> Result<Json<Value>, Failure> {
    let began = Instant::now();
    let (xolo, op) = (call.xolo.clone(), call.op.clone());
    let live = live(&xolo, &op, call.body().await?).await?.ok_or_else(unauthorized)?;
    let tokens = xolo.kernel().renew_session(&op, &live, TTL_DEFAULT).await.map_err(refused)?;
    Ok(Json(json!({ "token": tokens.token.expose(), "service_time": service_time(began) })))
}

async fn logout(call: Call) -> Result<Json<Value>, Failure> {
    let began = Instant::now();
    let (xolo, op) = (call.xolo.clone(), call.op.clone());
    let live = live(&xolo, &op, call.body().await?).await?.ok_or_else(unauthorized)?;
    xolo.kernel().end_session(&op, &live.id).await.map_err(refused)?;
    Ok(Json(json!({ "logout": true, "service_time": service_time(began) })))
}
