//! Proxies that are believed about who asks through them.
//!
//! To a node behind a proxy everybody comes from one address. What it decides by address would then hold for all: whoever guesses
//! passwords would lock everybody out. A proxy that the operator names is asked for whom it asks, in `X-Forwarded-For`; nobody
//! else is, since anybody can write that header.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::map_request;
use ipnet::IpNet;

use crate::Peer;

/// Where each proxy adds the address of whom it was asked by, at the end.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// Most proxies in a row; what is said beyond them is not looked at.
const HOPS_MAX: usize = 16;
/// Most networks of proxies.
const NETWORKS_MAX: usize = 64;

/// The addresses of proxies that are believed. None unless told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Arc<[IpNet]>);

/// Why a list of proxies is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxies {
    /// Neither an address nor a network.
    #[error("`{0}` is neither an address nor a network such as 10.0.0.0/8")]
    Network(String),
    /// Too many.
    #[error("more than {NETWORKS_MAX} networks")]
    TooMany,
}

impl Proxies {
    /// Reads addresses and networks in the notation of CIDR.
    ///
    /// # Errors
    /// [`InvalidProxies`].
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, InvalidProxies> {
        if texts.len() > NETWORKS_MAX {
            return Err(InvalidProxies::TooMany);
        }
        let network = |text: &T| {
            let text = text.as_ref().trim();
            let address = text.parse().map(|address: IpAddr| IpNet::from(address.to_canonical()));
            address.or_else(|_| text.parse()).map_err(|_| InvalidProxies::Network(text.to_owned()))
        };
        texts.iter().map(network).collect::<Result<_, _>>().map(Self)
    }

    /// The router, whose requests say in [`Peer`] who asked the first of the proxies.
    pub fn before(&self, router: Router) -> Router {
        if self.0.is_empty() {
            return router;
        }
        let proxies = self.clone();
        router.layer(map_request(move |mut request: Request| {
            if let Some(Peer(peer)) = request.extensions().get::<Peer>().copied() {
                let origin = proxies.origin(peer, request.headers());
                request.extensions_mut().insert(Peer(origin));
            }
            std::future::ready(request)
        }))
    }

    /// Who asks, when `peer` does: the last address of the header that is no proxy. What cannot be read ends the search, since nobody knows
    /// who wrote what stands before it; then it is the proxy that passed it on. The port is 0 where it is unknown.
    fn origin(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        let mut origin = peer;
        // Of several headers the last one was written last.
        let lines = headers.get_all(FORWARDED_FOR).iter().rev().map(|line| line.to_str().unwrap_or("?"));
        let hops = lines.flat_map(|line| line.rsplit(',')).map(address);
        for hop in hops.take(HOPS_MAX) {
            if !self.believes(origin.ip()) {
                break;
            }
            let Some(hop) = hop else { break };
            origin = hop;
        }
        origin
    }

    fn believes(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address as proxies write it: with a port or without, of version 6 in brackets or without.
fn address(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let found = bare.parse().map(|ip: IpAddr| SocketAddr::new(ip, 0)).or_else(|_| text.parse()).ok()?;
    Some(SocketAddr::new(found.ip().to_canonical(), found.port()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::routing::get;
    use proptest::prelude::*;
    use tower::ServiceExt;

    use super::*;

    fn origin(proxies: &[&str], peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        Proxies::parse(proxies).unwrap().origin(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_named_proxies_are_believed_and_only_about_the_last_hop() {
        let proxy = &["10.0.0.0/8", "::1"];
        assert_eq!(origin(proxy, "192.0.2.1:7", &["203.0.113.9"]), "192.0.2.1:7", "anybody writes headers");
        assert_eq!(origin(&[], "10.0.0.1:7", &["203.0.113.9"]), "10.0.0.1:7");
        assert_eq!(origin(proxy, "10.0.0.1:7", &[]), "10.0.0.1:7");
        assert_eq!(origin(proxy, "10.0.0.1:7", &["198.51.100.1, 203.0.113.9"]), "203.0.113.9:0");
        assert_eq!(origin(proxy, "10.0.0.1:7", &["198.51.100.1", "203.0.113.9"]), "203.0.113.9:0");
        assert_eq!(origin(proxy, "10.0.0.1:7", &["198.51.100.1, 203.0.113.9,10.9.9.9"]), "203.0.113.9:0");
        assert_eq!(origin(proxy, "[::ffff:10.0.0.1]:7", &["203.0.113.9:4711"]), "203.0.113.9:4711");
        assert_eq!(origin(proxy, "[::1]:7", &["[2001:db8::1]:5"]), "[2001:db8::1]:5");
        assert_eq!(origin(proxy, "[::1]:7", &["[2001:db8::1]"]), "[2001:db8::1]:0");
        assert_eq!(origin(proxy, "[::1]:7", &["::ffff:203.0.113.9"]), "203.0.113.9:0");
        // Who wrote what stands before something that no proxy writes?
        for bad in ["203.0.113.9, unknown", "203.0.113.9,", "203.0.113.9, \u{e4}"] {
            assert_eq!(origin(proxy, "10.0.0.1:7", &[bad]), "10.0.0.1:7", "{bad}");
        }
        assert_eq!(origin(proxy, "10.0.0.1:7", &["10.0.0.2, 10.0.0.3"]), "10.0.0.2:0");
        let long = vec!["10.0.0.2"; 100].join(",");
        assert_eq!(origin(proxy, "10.0.0.1:7", &[&format!("203.0.113.9,{long}")]), "10.0.0.2:0");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        assert_eq!(Proxies::parse(&["10.0.0.0/33"]), Err(InvalidProxies::Network("10.0.0.0/33".to_owned())));
        assert!(Proxies::parse(&["proxy.example"]).is_err() && Proxies::parse(&[""]).is_err());
        assert_eq!(Proxies::parse(&["::1"; 65]), Err(InvalidProxies::TooMany));
        assert!(Proxies::parse(&["127.0.0.1", "fd00::/8", "0.0.0.0/0"]).is_ok());
    }

    #[tokio::test]
    async fn requests_say_who_asks() {
        let says = |Peer(address): Peer| address.ip().to_string();
        let handler = move |request: Request| {
            let said = request.extensions().get::<Peer>().copied().map(says);
            std::future::ready(said.unwrap_or_default())
        };
        let router = Proxies::parse(&["10.0.0.1"]).unwrap().before(Router::new().route("/", get(handler)));
        let mut request = Request::new(axum::body::Body::empty());
        request.headers_mut().insert(FORWARDED_FOR, HeaderValue::from_static("203.0.113.9"));
        request.extensions_mut().insert(Peer("10.0.0.1:7".parse().unwrap()));
        let answer = router.oneshot(request).await.unwrap().into_body();
        assert_eq!(axum::body::to_bytes(answer, 100).await.unwrap(), "203.0.113.9");
    }

    proptest! {
        #[test]
        fn whatever_is_said_whoever_is_no_proxy_is_taken_for_nobody_else(lines in prop::collection::vec("[ -~]{0,60}", 0..4)) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            prop_assert_eq!(origin(&["10.0.0.0/8"], "192.0.2.1:7", &lines), "192.0.2.1:7");
        }

        #[test]
        fn what_the_last_proxy_says_holds_whatever_others_wrote_before(line in "[ -~]{0,60}", ip: std::net::Ipv4Addr) {
            prop_assume!(ip.octets()[0] != 10);
            let said = format!("{line}, {ip}");
            prop_assert_eq!(origin(&["10.0.0.0/8"], "10.0.0.1:7", &[&said]), format!("{ip}:0"));
        }
    }
}
