//! What a server on the loopback asks of a request in place of a credential: that no foreign web page sent it.
//!
//! A browser on the same machine reaches the node's address. A page of a foreign site can make it send requests
//! there, and can read the answers once it has rebound its own name to the loopback address. Either shows: in
//! `Origin`, which a page cannot forge, or in `Host`, which is the page's own name then.

use std::net::IpAddr;

use crate::{Failure, FailureClass};
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::Response;

/// Refuses requests to names other than the loopback's, and requests of pages that the node did not serve.
///
/// # Errors
/// 403.
pub fn require_local(request: &Request) -> Result<(), Failure> {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let mut names: Vec<Option<String>> = request.headers().get_all(header::HOST).iter().map(text).collect();
    names.extend(request.uri().authority().map(|authority| Some(authority.to_string())));
    let is_local = |name: &Option<String>| name.as_deref().is_some_and(is_loopback);
    if names.is_empty() || !names.iter().all(is_local) {
        return Err(refused("without credentials, only `localhost` and loopback addresses are answered to"));
    }
    let is_own = |origin: &HeaderValue| {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        origin.is_some_and(|(_, page)| names.iter().flatten().all(|name| name.eq_ignore_ascii_case(page)))
    };
    if !request.headers().get_all(header::ORIGIN).iter().all(is_own) {
        return Err(refused("without credentials, no foreign page is answered to"));
    }
    Ok(())
}

/// [`require_local`] as a layer of a router.
pub async fn local_only(request: Request, next: Next) -> Result<Response, Failure> {
    require_local(&request)?;
    Ok(next.run(request).await)
}

fn refused(reason: &'static str) -> Failure {
    Failure::new(FailureClass::Forbidden, reason)
}

fn is_loopback(name: &str) -> bool {
    let Ok(authority) = name.parse::<Authority>() else { return false };
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn check(hosts: &[&str], origin: Option<&str>, expected: bool) {
        let mut request = Request::builder().uri("/functions");
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        let found = require_local(&request.body(Body::empty()).unwrap());
        assert_eq!(found.is_ok(), expected, "{hosts:?} {origin:?}");
    }

    #[test]
    fn only_the_loopback_is_local() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:8443", "127.9.9.9", "[::1]", "[::1]:8443"] {
            check(&[host], None, true);
        }
        for host in
            ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "", " "]
        {
            check(&[host], None, false);
        }
        check(&[], None, false);
        check(&["localhost", "evil.example"], None, false);
    }

    #[test]
    fn only_an_own_page_is_local() {
        check(&["localhost:8443"], Some("http://localhost:8443"), true);
        check(&["localhost:8443"], Some("http://localhost:3000"), false);
        check(&["localhost:8443"], Some("https://evil.example"), false);
        check(&["localhost:8443"], Some("null"), false);
    }
}
