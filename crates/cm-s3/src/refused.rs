//! Signatures that were refused, in the log.
//!
//! The adapter finds them out, before anything here knows who asks, and says so in its answer only: that is what is read.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use cm_kernel::events::{EventVerb, NewEvent, Outcome};
use cm_kernel::{Actor, Kernel, OpContext};
use cm_types::{ResourceKind, ResourceRef};

use crate::version_two;

/// What the adapter answers to who does not prove whose key it is. A request without a signature is no attempt.
const CODES: [&str; 3] = ["SignatureDoesNotMatch", "InvalidAccessKeyId", "RequestTimeTooSkewed"];
/// Longest answer that is read; the adapter's refusals are a few hundred bytes.
const ANSWER_LEN_MAX: usize = 16 * 1024;
/// Longest name of a key that is written down.
const KEY_LEN_MAX: usize = 64;
/// Most refusals that are written down at once: as with logins, the log must be no weapon.
const BURST: u32 = 5;
/// How long it takes until another may be.
const INTERVAL: Duration = Duration::from_secs(1);

/// How many more may be written down.
#[derive(Debug)]
struct Allowance {
    left: u32,
    since: Instant,
    /// How many could not be, since the last that could.
    dropped: u64,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { left: BURST, since: now, dropped: 0 }
    }

    /// Takes one: how many were dropped before it. `None` if it has to be dropped too.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let earned = now.saturating_duration_since(self.since).as_secs() / INTERVAL.as_secs();
        if earned > 0 {
            self.left = self.left.saturating_add(u32::try_from(earned).unwrap_or(BURST)).min(BURST);
            self.since = now;
        }
        if self.left == 0 {
            self.dropped += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.dropped))
    }
}

/// Writes refused signatures down, a bounded number of them.
#[derive(Debug)]
pub(crate) struct Refusals {
    /// Of keys that exist. They have an allowance of their own, so that nobody hides an attack on one by inventing others.
    known: Mutex<Allowance>,
    /// Of keys that do not.
    unknown: Mutex<Allowance>,
}

impl Refusals {
    pub(crate) fn new(now: Instant) -> Self {
        Self { known: Mutex::new(Allowance::new(now)), unknown: Mutex::new(Allowance::new(now)) }
    }

    /// Leaves an event if the answer refuses a signature, and returns the answer as it was. `key` is what the request says
    /// whose it is.
    pub(crate) async fn note(
        &self,
        kernel: &Kernel,
        op: &OpContext,
        key: Option<&str>,
        answer: Response,
    ) -> Response {
        if answer.status() != StatusCode::FORBIDDEN {
            return answer;
        }
        let (parts, body) = answer.into_parts();
        let Ok(bytes) = axum::body::to_bytes(body, ANSWER_LEN_MAX).await else {
            // No refusal of the adapter's is so long: it cannot be given back, for it was not read.
            return Response::from_parts(parts, Body::empty());
        };
        if let Some(code) = code(&bytes) {
            self.record(kernel, op, key, code).await;
        }
        Response::from_parts(parts, Body::from(bytes))
    }

    /// Leaves an event that a signature was refused, and why.
    pub(crate) async fn record(
        &self,
        kernel: &Kernel,
        op: &OpContext,
        key: Option<&str>,
        code: &'static str,
    ) {
        let mut holder = op.clone();
        let mut is_known = false;
        if let Some(actor) = holder_of(kernel, key).await {
            (holder.actor, is_known) = (actor, true);
        }
        let allowance = if is_known { &self.known } else { &self.unknown };
        let taken = allowance.lock().unwrap_or_else(PoisonError::into_inner).take(kernel.clock().monotonic());
        let Some(dropped) = taken else { return };
        // Whose key it is, is known; who used it, is not.
        let resource =
            holder.principal().map(|holder| ResourceRef::new(ResourceKind::Principal, holder.as_str()));
        let mut event = NewEvent {
            resource,
            request: Some(op.request.clone()),
            outcome: Outcome::Denied,
            ..NewEvent::new(holder.tenant(), EventVerb::fixed("s3-signature.refused"))
        };
        event.facts.insert("reason".to_owned(), code.into());
        if let Some(key) = key {
            event.facts.insert("api_key".to_owned(), key.into());
        }
        if dropped > 0 {
            event.facts.insert("dropped".to_owned(), dropped.into());
        }
        // The answer does not depend on whether the refusal could be recorded.
        if let Err(error) = kernel.record_event(event).await {
            tracing::error!(error = &error as &dyn std::error::Error, "refused signature not recorded");
        }
    }
}

/// Why a signature was refused, if that is what the answer says.
fn code(answer: &[u8]) -> Option<&'static str> {
    let text = std::str::from_utf8(answer).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    CODES.into_iter().find(|known| *known == code)
}

/// Whose key it is; what was signed with it is not looked at.
pub(crate) async fn holder_of(kernel: &Kernel, key: Option<&str>) -> Option<Actor> {
    let key = key?;
    let secret = kernel.s3_secret(key).await.ok()?;
    kernel.authenticate_s3(key, secret.expose()).await.ok()
}

/// Whose key a request says that it was signed with.
pub(crate) fn key_of<B>(request: &Request<B>) -> Option<String> {
    let in_header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let in_header = in_header.and_then(|text| {
        version_two::key(text).or_else(|| text.split_once("Credential=").map(|(_, scope)| scope))
    });
    let mut pairs = request.uri().query().unwrap_or_default().split('&');
    let in_query = pairs.find_map(|pair| {
        ["X-Amz-Credential=", "AWSAccessKeyId="].iter().find_map(|name| pair.strip_prefix(name))
    });
    let scope = in_header.or(in_query)?;
    let end = scope.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(scope.len());
    // What is no name of a key is somebody's text, which does not belong in the log.
    (1..=KEY_LEN_MAX).contains(&end).then(|| scope[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_written_down_and_then_one_a_second() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        for _ in 0..BURST {
            assert_eq!(allowance.take(start), Some(0));
        }
        assert_eq!(allowance.take(start), None);
        assert_eq!(allowance.take(start), None);
        assert_eq!(allowance.take(start + INTERVAL), Some(2));
        assert_eq!(allowance.take(start + INTERVAL), None);
    }

    #[test]
    fn only_refused_signatures_are_told_of() {
        let answer =
            |code: &str| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>").into_bytes();
        for refused in CODES {
            assert_eq!(code(&answer(refused)), Some(refused));
        }
        for other in [answer("AccessDenied"), answer(""), b"<Code>".to_vec(), vec![0xff], Vec::new()] {
            assert_eq!(code(&other), None);
        }
    }

    #[test]
    fn the_key_is_named_in_the_header_or_in_the_address() {
        let check = |authorization: Option<&str>, query: &str, expected: Option<&str>| {
            let mut request = Request::builder().uri(format!("http://x/b/k?{query}"));
            if let Some(value) = authorization {
                request = request.header(header::AUTHORIZATION, value);
            }
            assert_eq!(key_of(&request.body(()).unwrap()).as_deref(), expected);
        };
        let signed =
            "AWS4-HMAC-SHA256 Credential=CMS3AB/20260101/us-east-1/s3/aws4_request, SignedHeaders=host";
        check(Some(signed), "", Some("CMS3AB"));
        check(None, "a=b&X-Amz-Credential=CMS3AB%2F20260101%2Fx&c=d", Some("CMS3AB"));
        check(None, "X-Amz-Credential=CMS3AB/20260101", Some("CMS3AB"));
        check(Some("AWS CMS3AB:c2ln"), "", Some("CMS3AB"));
        check(None, "AWSAccessKeyId=CMS3AB&Signature=x", Some("CMS3AB"));
        check(None, "", None);
        check(Some("Bearer x"), "X-Amz-Credential=", None);
        check(Some(&format!("AWS4-HMAC-SHA256 Credential={}/x", "A".repeat(65))), "", None);
    }
}
