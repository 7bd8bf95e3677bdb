//! Query parameters that are read when the handler asks for them.

use std::convert::Infallible;
use std::marker::PhantomData;

use axum::extract::{FromRequestParts, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::failure::{Failure, FailureClass};

/// The query of the request, not yet decoded: a caller may have to be refused first.
#[derive(Clone, Debug)]
pub struct Params<T> {
    uri: Uri,
    shape: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Params<T> {
    /// Decodes the parameters.
    ///
    /// # Errors
    /// 400 when one is missing, has the wrong type, or cannot be percent-decoded.
    pub fn decode(&self) -> Result<T, Failure> {
        Query::try_from_uri(&self.uri).map(|Query(params)| params).map_err(|error| {
            let reason =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Failure::new(FailureClass::Malformed, "the query cannot be read").with_detail("reason", reason)
        })
    }
}

impl<S: Sync, T> FromRequestParts<S> for Params<T> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self { uri: parts.uri.clone(), shape: PhantomData })
    }
}
