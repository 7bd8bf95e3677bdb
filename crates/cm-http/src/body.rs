//! Request bodies that are read when the handler asks for them.

pub mod form;

use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::time::Instant;

use crate::deadline::Deadline;
use crate::failure::{Failure, FailureClass};
use crate::frame::RequestLimits;

/// A JSON body, not yet read: a caller may have to be refused first.
#[derive(Debug)]
pub struct JsonBody<T> {
    headers: HeaderMap,
    body: Body,
    limits: RequestLimits,
    shape: PhantomData<fn() -> T>,
}

/// What a client may be taking its time for: more patience is earned by bytes only.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// The longest silence.
    idle: Duration,
    /// How long may be waited in all while nothing arrives.
    grace: Duration,
    /// Bytes that buy one second of waiting; `None` if none do.
    rate_min: Option<u32>,
}

impl<S: Sync, T> FromRequest<S> for JsonBody<T> {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        let limits = RequestLimits::of(request.extensions());
        let (parts, body) = request.into_parts();
        Ok(Self { headers: parts.headers, body, limits, shape: PhantomData })
    }
}

impl<T: DeserializeOwned> JsonBody<T> {
    /// The same body with tighter limits: for callers of whom nothing is known yet.
    pub fn limited_to(mut self, bytes_max: usize, total: Duration) -> Self {
        self.limits.json_bytes_max = self.limits.json_bytes_max.min(bytes_max);
        self.limits.body_total = self.limits.body_total.min(total);
        self
    }

    /// Reads and decodes the body.
    ///
    /// Not cancel-safe: bytes already read are lost.
    ///
    /// # Errors
    /// 415 without a JSON content type, 413 beyond [`RequestLimits::json_bytes_max`], 408 when all of it is not
    /// there within [`RequestLimits::body_total`], 400 when it is no JSON, 422 with the path of the field when it has the wrong shape.
    pub async fn decode(self) -> Result<T, Failure> {
        require_json(&self.headers)?;
        self.decode_any_type().await
    }

    /// Like [`JsonBody::decode`], but an absent body counts as `T::default()`.
    ///
    /// # Errors
    /// As [`JsonBody::decode`].
    pub async fn decode_or_default(self) -> Result<T, Failure>
    where
        T: Default,
    {
        if axum::body::HttpBody::is_end_stream(&self.body) {
            return Ok(T::default());
        }
        self.decode().await
    }

    async fn decode_any_type(self) -> Result<T, Failure> {
        let text = read_whole(&self.headers, self.body, &self.limits, self.limits.json_bytes_max).await?;
        from_json(&text)
    }
}

/// Decodes JSON text, nothing but white space behind it.
///
/// # Errors
/// 400 when it is no JSON, 422 with the path of the field when it has the wrong shape.
pub fn from_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Failure> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        undecodable(error.inner()).with_detail("path", path)
    })?;
    deserializer.end().map_err(|error| undecodable(&error))?;
    Ok(value)
}

fn undecodable(error: &serde_json::Error) -> Failure {
    let (class, message) = match error.classify() {
        Category::Data => (FailureClass::Invalid, "the body has the wrong shape"),
        Category::Io | Category::Syntax | Category::Eof => (FailureClass::Malformed, "the body is no JSON"),
    };
    Failure::new(class, message).with_detail("reason", error.to_string())
}

fn unreadable(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::TimedOut => {
            Failure::new(FailureClass::RequestTimeout, "the body did not arrive in time")
        }
        _ => Failure::new(FailureClass::Malformed, "the body broke off"),
    }
    .with_cause(error)
}

fn require_json(headers: &HeaderMap) -> Result<(), Failure> {
    if is_json(headers) {
        return Ok(());
    }
    Err(Failure::new(FailureClass::UnsupportedMediaType, "expected application/json"))
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body of any size, taken as a stream. No limit on its length applies here; the engine that stores it
/// has its own. It must keep flowing, though: each pause is bounded by [`RequestLimits::body_idle`], and on the
/// whole it must not fall below [`RequestLimits::upload_rate_min`].
#[derive(Debug)]
pub struct Upload {
    headers: HeaderMap,
    body: Body,
    limits: RequestLimits,
    deadline: Deadline,
}

impl<S: Sync> FromRequest<S> for Upload {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        let limits = RequestLimits::of(request.extensions());
        let deadline = Deadline::of(request.extensions());
        let (parts, body) = request.into_parts();
        Ok(Self { headers: parts.headers, body, limits, deadline })
    }
}

impl Upload {
    /// The request's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The announced length in bytes, if there is one.
    pub fn content_length(&self) -> Option<u64> {
        content_length(&self.headers)
    }

    /// The announced media type.
    pub fn content_type(&self) -> Option<&str> {
        self.headers.get(header::CONTENT_TYPE)?.to_str().ok()
    }

    /// Refuses a body that does not claim to be JSON. A browser sends such a body to another site only after asking.
    ///
    /// # Errors
    /// 415.
    pub fn require_json(&self) -> Result<(), Failure> {
        require_json(&self.headers)
    }

    /// The bytes as they arrive; from now on the request has no deadline but its pace. A body that breaks off yields an error, never a clean end: HTTP/1 says the
    /// length or ends chunks explicitly, HTTP/2 ends streams explicitly.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        self.deadline.lift();
        let pace = Pace {
            idle: self.limits.body_idle,
            grace: self.limits.upload_grace,
            rate_min: Some(self.limits.upload_rate_min),
        };
        chunks_within(self.body.into_data_stream(), pace)
    }

    /// All bytes at once.
    ///
    /// # Errors
    /// 413 when there are more than `bytes_max`, 408 and 400 as for JSON bodies.
    pub async fn read_to_end(self, bytes_max: usize) -> Result<Bytes, Failure> {
        read_whole(&self.headers, self.body, &self.limits, bytes_max).await
    }
}

/// All of a body that has to be held in memory. One deadline covers all of it: a client that sends a byte now and
/// then would otherwise hold its connection for ever.
async fn read_whole(
    headers: &HeaderMap,
    body: Body,
    limits: &RequestLimits,
    bytes_max: usize,
) -> Result<Bytes, Failure> {
    let too_large = || {
        Failure::new(FailureClass::TooLarge, "the body is too large")
            .with_detail("limit_bytes", bytes_max as u64)
    };
    if content_length(headers).is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large());
    }
    let pace = Pace { idle: limits.body_idle, grace: limits.body_total, rate_min: None };
    let mut all = BytesMut::new();
    let mut chunks = std::pin::pin!(chunks_within(body.into_data_stream(), pace));
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(unreadable)?;
        if all.len() + chunk.len() > bytes_max {
            return Err(too_large());
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}

/// The chunks of a body, or `TimedOut` once it falls behind its pace; nothing follows an error.
///
/// Only time that is spent waiting for the client counts, not what the reader does with the bytes.
fn chunks_within(body: BodyDataStream, pace: Pace) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold(Some((body, pace.grace)), move |state| async move {
        let (mut body, patience) = state?;
        let asked = Instant::now();
        match tokio::time::timeout(pace.idle.min(patience), body.next()).await {
            Ok(Some(Ok(chunk))) => {
                let earned = pace.rate_min.map_or(Duration::ZERO, |rate| {
                    Duration::from_secs_f64(chunk.len() as f64 / f64::from(rate.max(1)))
                });
                let patience = (patience.saturating_sub(asked.elapsed()) + earned).min(pace.grace);
                Some((Ok(chunk), Some((body, patience))))
            }
            Ok(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
            Ok(None) => None,
            Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
        }
    })
}

#[cfg(test)]
mod tests;
