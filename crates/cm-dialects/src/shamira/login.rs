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
use cm_kernel::identity::CredentialProblem;
use cm_kernel::{Access, Actor, KernelError, OpContext};
use cm_mpc::{Client, MessageUse};
use cm_types::{PrincipalId, TenantId};
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
/// What every challenge begins with, so that a challenge of another node, or one that was used, is known for what it is and never
/// passes for a message of the client's own.
const CHALLENGE_TAG: &[u8] = b"cmpchal1";
/// Longest message that is signed, in bytes.
const MESSAGE_LEN_MAX: usize = 4096;

/// What a signature that does not hold is answered with.
pub(super) const INVALID_SIGNATURE: &str = "Invalid signature";
/// What a key is answered with that nobody has registered.
pub(super) const NOT_REGISTERED: &str = "Public key not registered";

/// What a token is answered with that is none, or of no use any more.
const NO_LONGER: &str = "Invalid token or expired token.";

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
pub(super) struct Signature {
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
    let has_token = token.is_some();
    let trusted = [shamira.kernel().keys().verifying()];
    let claims = token.and_then(|token| {
        let (claims, _) = jws::verify(&token, TokenType::COMPUTATION, &trusted).ok()?;
        serde_json::from_slice::<Claims>(&claims).ok()
    });
    let Some(claims) = claims else {
        // The first system tells a token that is none from none at all by the status.
        return match cm_door::authenticate(State(shamira.gate()), request, next).await {
            Err(failure) if has_token && failure.class() == cm_http::FailureClass::Unauthenticated => {
                Err(Failure::new(cm_http::FailureClass::Forbidden, NO_LONGER))
            }
            answer => answer,
        };
    };
    let kernel = shamira.kernel();
    let op = cm_door::context(kernel, Actor::Anonymous, &request);
    let now = kernel.now().as_micros() / 1_000_000;
    if claims.exp <= now {
        return Err(no_longer(&shamira, &op, &claims, CredentialProblem::Expired).await);
    }
    if claims.aud != kernel.node_id().to_string() {
        return Err(no_longer(&shamira, &op, &claims, CredentialProblem::OtherAudience).await);
    }
    // Whoever took the key back, or was disabled, has no token any more.
    let clients = shamira.computations().clients().await.map_err(refused)?;
    if !clients.iter().any(|client| client.public_key == claims.key && client.principal == claims.sub) {
        return Err(no_longer(&shamira, &op, &claims, CredentialProblem::Revoked).await);
    }
    // In open mode whoever registered was the node's own actor, which is no principal that could be looked up.
    let actor = match &shamira.0.access {
        Access::Open(actor) if claims.sub == PrincipalId::node() => actor.clone(),
        _ => match kernel.vouched_for(&claims.tid, &claims.sub).await {
            Ok(actor) => actor,
            Err(KernelError::Unauthenticated) => {
                return Err(no_longer(&shamira, &op, &claims, CredentialProblem::Disabled).await);
            }
            Err(error) => return Err(cm_door::refusal(error)),
        },
    };
    let op = op.by(actor);
    request.extensions_mut().insert(op);
    if claims.published {
        request.extensions_mut().insert(Published);
    }
    Ok(next.run(request).await)
}

/// What a token of ours that is of no use any more is answered with, as the earlier service does; after the event.
async fn no_longer(
    shamira: &Shamira,
    op: &OpContext,
    claims: &Claims,
    problem: CredentialProblem,
) -> Failure {
    shamira.kernel().refuse_credential(op, &claims.tid, problem).await;
    Failure::new(cm_http::FailureClass::Forbidden, NO_LONGER)
}

/// A message to sign, which can be used once and soon.
pub(super) async fn challenge(State(shamira): State<Shamira>) -> Json<Value> {
    let message = hexed(&[&challenge_head(&shamira), random_bytes::<32>().as_slice()].concat());
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
        None => Err(Failure::unauthenticated(NOT_REGISTERED)),
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
        None => Ok(Json(json!({ "status_code": 404, "detail": NOT_REGISTERED, "headers": null }))),
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
    let signed = signed_bytes(&key, &login.message, r, s);
    let why = match &signed {
        None => Some("signature"),
        Some(_) if client.disputed && !client.proven => Some("key-disputed"),
        Some(bytes) if !use_once(shamira, bytes, &client.public_key).await? => Some("message-replayed"),
        Some(_) => None,
    };
    if let Some(why) = why {
        let mut event = NewEvent::new(client.tenant.clone(), EventVerb::fixed("computation.login-refused"));
        event.outcome = Outcome::Denied;
        event.actor = Some(client.principal.clone());
        event.facts = serde_json::Map::from_iter([("reason".to_owned(), why.into())]);
        shamira.kernel().record_event(event).await.map_err(cm_door::refusal)?;
        return Err(Failure::unauthenticated(INVALID_SIGNATURE));
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

/// The bytes that the signature holds for: the published client signs those that its message is the hexadecimal text of, others sign
/// the text.
fn signed_bytes(key: &Secp256k1PublicKey, message: &str, r: &str, s: &str) -> Option<Vec<u8>> {
    let spelled = [Some(message.as_bytes().to_vec()), unhexed(message)];
    spelled.into_iter().flatten().find(|bytes| key.verify(bytes, r, s).is_ok())
}

/// Whether a registration shows by its signature that whoever sent it has the key.
pub(super) async fn proves(
    shamira: &Shamira,
    key: &Secp256k1PublicKey,
    message: &str,
    signature: &Signature,
) -> Result<bool, Failure> {
    if message.len() > MESSAGE_LEN_MAX {
        return Err(invalid(format!("the message is longer than {MESSAGE_LEN_MAX} characters")));
    }
    match signed_bytes(key, message, digits(&signature.r), digits(&signature.s)) {
        // What was signed elsewhere may have been seen there: here only a challenge of this node counts.
        Some(bytes) => Ok(challenge_in(&bytes).is_some_and(|challenge| take_challenge(shamira, &challenge))),
        None => Ok(false),
    }
}

/// What challenges of this node begin with.
fn challenge_head(shamira: &Shamira) -> Vec<u8> {
    let node = sha256(shamira.kernel().node_id().to_string().as_bytes());
    [CHALLENGE_TAG, &node.as_bytes()[..16]].concat()
}

/// The challenge that was signed, as bytes or as text.
fn challenge_in(signed: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(signed).ok().and_then(unhexed);
    [Some(signed.to_vec()), text].into_iter().flatten().find(|bytes| bytes.starts_with(CHALLENGE_TAG))
}

/// Uses a challenge: whether it is one of this node, has not ended, and was not used.
fn take_challenge(shamira: &Shamira, challenge: &[u8]) -> bool {
    let message = hexed(challenge);
    let mut challenges = shamira.0.challenges.lock().unwrap_or_else(PoisonError::into_inner);
    challenges.retain(|(_, since)| since.elapsed() < CHALLENGE_FOR);
    let at = challenges.iter().position(|(own, _)| *own == message);
    challenge.starts_with(&challenge_head(shamira)) && at.and_then(|at| challenges.remove(at)).is_some()
}

/// Whether what was signed was not used before: a challenge of ours goes, any other message is remembered.
async fn use_once(shamira: &Shamira, signed: &[u8], key: &str) -> Result<bool, Failure> {
    if let Some(challenge) = challenge_in(signed) {
        return Ok(take_challenge(shamira, &challenge));
    }
    match shamira.computations().use_message(key, signed).await.map_err(refused)? {
        MessageUse::First => Ok(true),
        MessageUse::Again => Ok(false),
        MessageUse::Full => {
            let what = "this key has signed as many messages of its own as are remembered; sign one of GET /login_challenge";
            Err(Failure::new(cm_http::FailureClass::TooMany, what))
        }
    }
}

fn hexed(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhexed(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    if is_hex { (0..text.len()).step_by(2).map(pair).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_known_however_it_is_spelled() {
        let raw = [CHALLENGE_TAG, [7; 48].as_slice()].concat();
        let text = hexed(&raw);
        for signed in [raw.clone(), text.clone().into_bytes(), text.to_uppercase().into_bytes()] {
            assert_eq!(challenge_in(&signed).as_ref(), Some(&raw));
        }
        for own in [b"00ff".to_vec(), vec![0, 255], Vec::new()] {
            assert_eq!(challenge_in(&own), None);
        }
    }
}
