//! Media types (section 3.3). The version may be left out, and a client that takes anything is given this.

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use cm_http::{Failure, FailureClass};

use super::shape::not_acceptable;

/// What is served and taken.
pub(crate) const TAXII: &str = "application/taxii+json;version=2.1";
/// What objects are.
pub(crate) const STIX: &str = "application/stix+json;version=2.1";

/// Refuses requests for other formats with 406, whatever they ask for.
pub(crate) async fn acceptable(request: Request, next: Next) -> Result<Response, Failure> {
    if !is_accepted(request.headers()) {
        return Err(not_acceptable());
    }
    Ok(next.run(request).await)
}

fn is_accepted(headers: &HeaderMap) -> bool {
    let mut ranges = headers
        .get_all(header::ACCEPT)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("").split(','))
        .peekable();
    if ranges.peek().is_none() {
        return true;
    }
    ranges.any(|range| {
        let (essence, parameters) = parsed(range);
        let refused = parameters.iter().any(|(name, value)| name == "q" && value.parse() == Ok(0.0_f32));
        !refused && (essence == "*/*" || essence == "application/*" || is_taxii(&essence, &parameters))
    })
}

/// Refuses bodies of other formats.
///
/// # Errors
/// 415.
pub(crate) fn require_taxii(headers: &HeaderMap) -> Result<(), Failure> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (essence, parameters) = parsed(value);
    match is_taxii(&essence, &parameters) {
        true => Ok(()),
        false => Err(Failure::new(FailureClass::UnsupportedMediaType, format!("expected `{TAXII}`"))),
    }
}

fn is_taxii(essence: &str, parameters: &[(String, String)]) -> bool {
    let version = parameters.iter().find(|(name, _)| name == "version");
    essence == "application/taxii+json" && version.is_none_or(|(_, version)| version == "2.1")
}

fn parsed(text: &str) -> (String, Vec<(String, String)>) {
    let mut parts = text.split(';');
    let essence = parts.next().unwrap_or("").trim().to_ascii_lowercase();
    let parameter = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_ascii_lowercase()))
    };
    (essence, parts.filter_map(parameter).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &[&str], expected: bool) {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, value.parse().unwrap());
        }
        assert_eq!(is_accepted(&headers), expected, "{accept:?}");
    }

    #[test]
    fn the_version_may_be_left_out_and_anything_may_be_taken() {
        for good in [
            "application/taxii+json;version=2.1",
            "application/taxii+json; version=\"2.1\"",
            "Application/TAXII+json",
            "*/*",
            "application/*;q=0.1",
            "application/json, text/plain, */*",
        ] {
            check(&[good], true);
        }
        check(&[], true);
        check(&["text/html", "application/taxii+json"], true);
        for bad in [
            "application/json",
            "application/taxii+json;version=2.0",
            "text/html",
            "application/taxii+json;q=0",
            "",
            "application/vnd.oasis.taxii+json",
        ] {
            check(&[bad], false);
        }
    }

    #[test]
    fn bodies_say_what_they_are() {
        let check = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            }
            require_taxii(&headers).is_ok()
        };
        assert!(check(Some("application/taxii+json;version=2.1")) && check(Some("application/taxii+json")));
        for bad in [
            None,
            Some("application/json"),
            Some("*/*"),
            Some("application/taxii+json;version=2.0"),
            Some("application/stix+json;version=2.1"),
        ] {
            assert!(!check(bad), "{bad:?}");
        }
    }
}
