//! Who asks: a credential of the node, or a token for a key that was registered.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use cm_crypto::digest::sha256;
use cm_crypto::jws::{self, TokenType};
use cm_crypto::secp256k1::Secp256k1PublicKey;
use cm_crypto::secret::random_bytes;
use cm_http::{Failure, JsonBody};
use cm_kernel::events::{EventVerb, NewEvent, Outcome};
use cm_kernel::{Access, OpContext};
use cm_mpc::Client;
use cm_types::{PrincipalId, RequestId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Shamira, invalid, refused};

/// How long a token lives.
const TOKEN_FOR: Duration = Duration::from_secs(3600);
/// How long a challenge can be used.
const CHALLENGE_FOR: Duration = Duration::from_secs(120);
/// Challenges that are remembered; the oldest of more is forgotten.
const CHALLENGES_MAX: usize = 1000;
/// Longest message that is signed, in bytes.
const MESSAGE_LEN_MAX: usize = 4096;

/// What a token claims.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: PrincipalId,
    tid: TenantId,
    /// The key that was signed with.
    key: String,
    iat: i64,
    exp: i64,
    jti: String,
    /// Whether the published client logged in by its own route.
    published: bool,
}

/// That a request came with a token of the published client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Published;

#[derive(Debug, Deserialize)]
pub(super) struct Login {
    public_key: String,
    message: String,
    signature: Signature,
}

/// Two numbers of up to 256 bits, as JSON numbers or texts of digits.
#[derive(Debug, Deserialize)]
struct Signature {
    r: Box<RawValue>,
    s: Box<RawValue>,
}

fn digits(number: &RawValue) -> &str {
    number.get().trim().trim_matches('"')
}

/// The layer around all routes: takes our tokens, and leaves everything else to the door of all faces.
pub(super) async fn authenticate(
    State(shamira): State<Shamira>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|text| text.strip_prefix("Bearer ")).map(str::to_owned);
    let trusted = [shamira.kernel().keys().verifying()];
    let claims = token.and_then(|token| {
        let (claims, _) = jws::verify(&token, TokenType::COMPUTATION, &trusted).ok()?;
        serde_json::from_slice::<Claims>(&claims).ok()
    });
    let Some(claims) = claims else {
        return cm_door::authenticate(State(shamira.gate()), request, next).await;
    };
    let expired = || Failure::new(cm_http::FailureClass::Forbidden, "Invalid token or expired token.");
    let now = shamira.kernel().now().as_micros() / 1_000_000;
    let node = shamira.kernel().node_id().to_string();
    if claims.exp <= now || claims.aud != node {
        return Err(expired());
    }
    // Whoever took the key back, or was disabled, has no token any more.
    let clients = shamira.computations().clients().await.map_err(refused)?;
    if !clients.iter().any(|client| client.public_key == claims.key && client.principal == claims.sub) {
        return Err(expired());
    }
    // In open mode whoever registered was the node's own actor, which is no principal that could be looked up.
    let actor = match &shamira.0.access {
        Access::Open(actor) if claims.sub == PrincipalId::node() => actor.clone(),
        _ => shamira.kernel().vouched_for(&claims.tid, &claims.sub).await.map_err(|_| expired())?,
    };
    let id = request.extensions().get::<RequestId>().cloned().unwrap_or_else(RequestId::random);
    let mut op = OpContext::new(actor, id, shamira.kernel().tasks().token().child_token());
    let peer = request.extensions().get::<cm_http::Peer>().map(|peer| peer.0.ip());
    op = op.asked_at(shamira.kernel().now(), peer, None);
    op.deadline =
        shamira.kernel().clock().monotonic() + cm_http::RequestLimits::of(request.extensions()).deadline;
    request.extensions_mut().insert(op);
    if claims.published {
        request.extensions_mut().insert(Published);
    }
    Ok(next.run(request).await)
}

/// A message to sign, which can be used once and soon.
pub(super) async fn challenge(State(shamira): State<Shamira>) -> Json<Value> {
    let message: String = random_bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut challenges = shamira.0.challenges.lock().unwrap_or_else(PoisonError::into_inner);
    challenges.retain(|(_, since)| since.elapsed() < CHALLENGE_FOR);
    if challenges.len() >= CHALLENGES_MAX {
        challenges.pop_front();
    }
    challenges.push_back((message.clone(), Instant::now()));
    Json(json!({ "message": message, "expires_in": CHALLENGE_FOR.as_secs() }))
}

/// The seed's route: 401 for a key that is not registered.
pub(super) async fn login(
    State(shamira): State<Shamira>,
    body: JsonBody<Login>,
) -> Result<Json<Value>, Failure> {
    let login = body.decode().await?;
    match find(&shamira, &login.public_key).await? {
        Some(client) => verified(&shamira, login, client, false).await,
        None => Err(Failure::unauthenticated("Public key not registered")),
    }
}

/// The published client's: it depends on this answer to a key that is not registered.
pub(super) async fn login_published(
    State(shamira): State<Shamira>,
    body: JsonBody<Login>,
) -> Result<Json<Value>, Failure> {
    let login = body.decode().await?;
    match find(&shamira, &login.public_key).await? {
        Some(client) => verified(&shamira, login, client, true).await,
        None => {
            let detail = "Public key not registered";
            Ok(Json(json!({ "status_code": 404, "detail": detail, "headers": null })))
        }
    }
}

async fn find(shamira: &Shamira, key: &str) -> Result<Option<Client>, Failure> {
    let Ok(key) = Secp256k1PublicKey::parse(key) else { return Ok(None) };
    let key = key.to_hex();
    let clients = shamira.computations().clients().await.map_err(refused)?;
    Ok(clients.into_iter().find(|client| client.public_key == key))
}

async fn verified(
    shamira: &Shamira,
    login: Login,
    client: Client,
    published: bool,
) -> Result<Json<Value>, Failure> {
    if login.message.len() > MESSAGE_LEN_MAX {
        return Err(invalid(format!("the message is longer than {MESSAGE_LEN_MAX} characters")));
    }
    let key = Secp256k1PublicKey::parse(&client.public_key).map_err(Failure::internal)?;
    let (r, s) = (digits(&login.signature.r), digits(&login.signature.s));
    // The published client signs the bytes that its message is the hexadecimal text of; others sign the text.
    let bytes = unhexed(&login.message);
    let mut holds = key.verify(login.message.as_bytes(), r, s).is_ok();
    if let Some(bytes) = bytes.filter(|_| !holds) {
        holds = key.verify(&bytes, r, s).is_ok();
    }
    let is_fresh = holds && use_once(shamira, &login.message, &client).await?;
    if !is_fresh {
        let why = if holds { "message-replayed" } else { "signature" };
        let mut event = NewEvent::new(client.tenant.clone(), EventVerb::fixed("computation.login-refused"));
        event.outcome = Outcome::Denied;
        event.actor = Some(client.principal.clone());
        event.facts = serde_json::Map::from_iter([("reason".to_owned(), why.into())]);
        shamira.kernel().record_event(event).await.map_err(cm_door::refusal)?;
        return Err(Failure::unauthenticated("Invalid signature"));
    }
    let now = shamira.kernel().now().as_micros() / 1_000_000;
    let exp = now + i64::try_from(TOKEN_FOR.as_secs()).unwrap_or(3600);
    let node = shamira.kernel().node_id().to_string();
    let claims = Claims {
        iss: node.clone(),
        aud: node,
        sub: client.principal,
        tid: client.tenant,
        key: client.public_key,
        iat: now,
        exp,
        jti: uuid::Uuid::new_v4().to_string(),
        published,
    };
    let claims = serde_json::to_vec(&claims).map_err(Failure::internal)?;
    let token = jws::sign(shamira.kernel().keys().signing(), TokenType::COMPUTATION, &claims);
    Ok(Json(json!({ "token": token, "access_token": token, "token_type": "bearer", "expiration_time": exp })))
}

/// Whether the message was not used before: a challenge of ours goes, any other is remembered.
async fn use_once(shamira: &Shamira, message: &str, client: &Client) -> Result<bool, Failure> {
    {
        let mut challenges = shamira.0.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        challenges.retain(|(_, since)| since.elapsed() < CHALLENGE_FOR);
        if let Some(at) = challenges.iter().position(|(own, _)| own == message) {
            challenges.remove(at);
            // It is remembered, too: a second use must not pass for a message of the client's own.
        }
    }
    let digest = sha256(format!("{}\n{message}", client.public_key).as_bytes());
    shamira.computations().use_message(&digest).await.map_err(refused)
}

fn unhexed(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    if is_hex { (0..text.len()).step_by(2).map(pair).collect() } else { None }
}
