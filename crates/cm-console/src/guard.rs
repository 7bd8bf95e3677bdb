//! Whether a request is the console's own. Cookies go along with requests that other pages cause; what they carry must not act for them.

use axum::http::header::{self, HeaderMap, HeaderName};
use axum::http::uri::Authority;
use axum::http::{Method, Uri};
use cm_http::{Failure, FailureClass};

/// Every change carries it. A page of another origin can add a header of its own making only after asking, and is never allowed to.
pub const HEADER: HeaderName = HeaderName::from_static("x-cryptomesh-console");

/// Where a request comes from, in the browser's own words; pages cannot write it (W3C Fetch Metadata).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses what a page of another origin caused.
///
/// Reads must not come from elsewhere as far as the browser says; changes must carry [`HEADER`] besides. Sites share cookies across ports, so "the same
/// site" is not enough.
///
/// # Errors
/// 403.
pub fn require_own(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
    if !comes_from_here(method, uri, headers) {
        return Err(refused("only pages of the console may use its session"));
    }
    if !method.is_safe() && !headers.contains_key(HEADER) {
        return Err(refused("changes through the console carry the header `X-CryptoMesh-Console`"));
    }
    Ok(())
}

fn refused(reason: &'static str) -> Failure {
    Failure::new(FailureClass::Forbidden, reason)
}

fn comes_from_here(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(FETCH_SITE).iter().peekable();
    if sites.peek().is_some() {
        // `none`: typed into the browser, or a bookmark. No page causes that, and it never changes anything.
        return sites.all(|site| site == "same-origin" || (site == "none" && method.is_safe()));
    }
    // Browsers that do not say where a request comes from name the origin of changes. Other clients have no cookies that they did not mean to send.
    let host = host(uri, headers);
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let page = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, page)| page);
        page.is_some() && page.and_then(|page| page.parse::<Authority>().ok()) == host
    })
}

/// The name and port under which the browser reached the console.
pub(crate) fn host(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse().ok());
    named.or_else(|| uri.authority().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, given: &[(&str, &str)], expected: bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in [("host", "node.example:5050")].iter().chain(given) {
            headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let uri = Uri::from_static("/console/session");
        assert_eq!(require_own(&method, &uri, &headers).is_ok(), expected, "{method} {given:?}");
    }

    #[test]
    fn reads_come_from_the_console_or_from_nobodys_page() {
        check(Method::GET, &[], true);
        check(Method::GET, &[("sec-fetch-site", "same-origin")], true);
        check(Method::GET, &[("sec-fetch-site", "none")], true);
        check(Method::GET, &[("sec-fetch-site", "same-site")], false);
        check(Method::GET, &[("sec-fetch-site", "cross-site")], false);
        check(Method::GET, &[("origin", "http://evil.example")], false);
    }

    #[test]
    fn changes_carry_a_header_that_other_origins_cannot_add() {
        let ours = ("x-cryptomesh-console", "1");
        check(Method::POST, &[], false);
        check(Method::POST, &[ours], true);
        check(Method::POST, &[ours, ("sec-fetch-site", "same-origin")], true);
        check(Method::POST, &[ours, ("origin", "http://node.example:5050")], true);
        check(Method::DELETE, &[("sec-fetch-site", "same-origin")], false);
        for foreign in [
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "none"),
            ("origin", "http://node.example:3000"),
            ("origin", "http://evil.example:5050"),
            ("origin", "null"),
            ("origin", "file://"),
        ] {
            check(Method::PUT, &[ours, foreign], false);
        }
        // A second value does not outvote the first.
        check(
            Method::POST,
            &[ours, ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
            false,
        );
    }
}
