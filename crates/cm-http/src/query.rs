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
        decode(&self.uri)
    }

    /// Decodes the parameters, and apart from them the values of the one that may be repeated. Its name is plain
    /// ASCII and not percent-encoded.
    ///
    /// # Errors
    /// As [`Params::decode`].
    pub fn decode_with_repeated(&self, name: &str) -> Result<(T, Vec<String>), Failure> {
        let pairs = self.uri.query().unwrap_or_default().split('&');
        let (repeated, others): (Vec<_>, Vec<_>) =
            pairs.partition(|pair| pair.split_once('=').map_or(*pair, |(found, _)| found) == name);
        let repeated: Vec<(String, String)> = decode(&only(&repeated)?)?;
        Ok((decode(&only(&others)?)?, repeated.into_iter().map(|(_, value)| value).collect()))
    }
}

fn decode<T: DeserializeOwned>(uri: &Uri) -> Result<T, Failure> {
    Query::try_from_uri(uri).map(|Query(params)| params).map_err(|error| {
        let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Failure::new(FailureClass::Malformed, "the query cannot be read").with_detail("reason", reason)
    })
}

/// An address with these pairs, as they came, for its query.
fn only(pairs: &[&str]) -> Result<Uri, Failure> {
    Uri::try_from(format!("/?{}", pairs.join("&")))
        .map_err(|error| Failure::new(FailureClass::Malformed, "the query cannot be read").with_cause(error))
}

impl<S: Sync, T> FromRequestParts<S> for Params<T> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self { uri: parts.uri.clone(), shape: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        limit: Option<u32>,
    }

    fn check(query: &str, expected: Option<(Option<u32>, &[&str])>) {
        let uri = Uri::try_from(format!("/list?{query}")).unwrap();
        let found = Params::<Shape> { uri, shape: PhantomData }.decode_with_repeated("filter");
        let found = found.ok().map(|(shape, filters)| (shape.limit, filters));
        let expected =
            expected.map(|(limit, values)| (limit, values.iter().map(|v| (*v).to_owned()).collect()));
        assert_eq!(found, expected, "{query}");
    }

    #[test]
    fn one_parameter_may_be_repeated_and_others_may_not() {
        check("", Some((None, &[])));
        check("filter=a%3D1&limit=3&filter=b=2%26", Some((Some(3), &["a=1", "b=2&"])));
        check("limit=3&limit=4", None);
        check("filters=a", None);
    }
}
