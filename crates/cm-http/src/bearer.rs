//! The bearer token of RFC 6750, section 2.1.

use std::sync::Arc;

use axum::http::{HeaderMap, header};

use crate::failure::Failure;

/// The bearer token of a request, for work that outlives one check of it. Its `Debug` hides it.
#[derive(Clone)]
pub struct Bearer(Arc<str>);

impl Bearer {
    /// Reads the token; `None` without the header.
    ///
    /// # Errors
    /// 401: a header of another scheme is a credential that is not valid, and so is a second header.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, Failure> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let invalid = || Failure::unauthenticated("the credential is not valid");
        if values.next().is_some() {
            return Err(invalid());
        }
        let (scheme, token) =
            value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(invalid)?;
        let token = token.trim();
        match scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
            true => Ok(Some(Self(token.into()))),
            false => Err(invalid()),
        }
    }

    /// The token.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bearer([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&str], expected: Result<Option<&str>, ()>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        let found = Bearer::of(&headers);
        assert_eq!(
            found.as_ref().map(|found| found.as_ref().map(Bearer::expose)).map_err(|_| ()),
            expected,
            "{values:?}"
        );
    }

    #[test]
    fn only_one_bearer_token_is_a_credential() {
        check(&[], Ok(None));
        check(&["Bearer abc"], Ok(Some("abc")));
        check(&["bearer  abc "], Ok(Some("abc")));
        check(&["Bearer"], Err(()));
        check(&["Bearer "], Err(()));
        check(&["Basic abc"], Err(()));
        check(&["Bearer abc", "Bearer def"], Err(()));
    }
}
