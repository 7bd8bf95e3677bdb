//! Request bodies that are read when the handler asks for them.

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

impl<S: Sync, T> FromRequest<S> for JsonBody<T> {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        let limits = RequestLimits::of(request.extensions());
        let (parts, body) = request.into_parts();
        Ok(Self { headers: parts.headers, body, limits, shape: PhantomData })
    }
}

impl<T: DeserializeOwned> JsonBody<T> {
    /// Reads and decodes the body.
    ///
    /// Not cancel-safe: bytes already read are lost.
    ///
    /// # Errors
    /// 415 without a JSON content type, 413 beyond [`RequestLimits::json_bytes_max`], 408 when the client
    /// pauses too long, 400 when it is no JSON, 422 with the path of the field when it has the wrong shape.
    pub async fn decode(self) -> Result<T, Failure> {
        if !is_json(&self.headers) {
            return Err(Failure::new(FailureClass::UnsupportedMediaType, "expected application/json"));
        }
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
        let max = self.limits.json_bytes_max;
        let too_large = || {
            Failure::new(FailureClass::TooLarge, "the body is too large")
                .with_detail("limit_bytes", max as u64)
        };
        if content_length(&self.headers).is_some_and(|length| length > max as u64) {
            return Err(too_large());
        }
        let mut text = BytesMut::new();
        let mut chunks = std::pin::pin!(chunks_within(self.body.into_data_stream(), self.limits.body_idle));
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(unreadable)?;
            if text.len() + chunk.len() > max {
                return Err(too_large());
            }
            text.extend_from_slice(&chunk);
        }
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

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body of any size, taken as a stream. No limit on its length applies here; the engine that stores it
/// has its own. It must keep flowing, though: each pause is bounded by [`RequestLimits::body_idle`].
#[derive(Debug)]
pub struct Upload {
    headers: HeaderMap,
    body: Body,
    limits: RequestLimits,
}

impl<S: Sync> FromRequest<S> for Upload {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        let limits = RequestLimits::of(request.extensions());
        let (parts, body) = request.into_parts();
        Ok(Self { headers: parts.headers, body, limits })
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

    /// The bytes as they arrive. A body that breaks off yields an error, never a clean end: HTTP/1 says the
    /// length or ends chunks explicitly, HTTP/2 ends streams explicitly.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        chunks_within(self.body.into_data_stream(), self.limits.body_idle)
    }

    /// All bytes at once.
    ///
    /// # Errors
    /// 413 when there are more than `bytes_max`, 408 and 400 as for JSON bodies.
    pub async fn read_to_end(self, bytes_max: usize) -> Result<Bytes, Failure> {
        let too_large = || {
            Failure::new(FailureClass::TooLarge, "the body is too large")
                .with_detail("limit_bytes", bytes_max as u64)
        };
        if self.content_length().is_some_and(|length| length > bytes_max as u64) {
            return Err(too_large());
        }
        let mut all = BytesMut::new();
        let mut chunks = std::pin::pin!(self.into_stream());
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(unreadable)?;
            if all.len() + chunk.len() > bytes_max {
                return Err(too_large());
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}

/// The chunks of a body, or `TimedOut` once nothing arrives for `idle`; nothing follows an error.
fn chunks_within(
    body: BodyDataStream,
    idle: Duration,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        match tokio::time::timeout(idle, body.next()).await {
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(body))),
            Ok(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
            Ok(None) => None,
            Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
        }
    })
}

#[cfg(test)]
mod tests;
