//! Which addresses the node may be made to connect to.
//!
//! Whoever may use the S3 app chooses where the node connects, twice: to the S3 service, and to the instance of a policy. Among
//! the addresses that a node reaches and its callers do not are its own loopback, the networks behind it and those of the link,
//! where clouds tell a machine its own credentials. None of them is connected to unless an operator named it, it is the
//! node's own S3 listener, or an instance that a node of this catalogue started.
//!
//! Names are judged by what they lead to, at the moment of the connection: no name can change its mind in between.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::TcpStream;

/// How long a service may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may be silent.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Which services may be asked.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// `HOST` or `HOST:PORT`; any public one if there is none.
    named: Arc<Vec<String>>,
    /// The node's own S3 listener.
    own: Option<SocketAddr>,
}

impl Endpoints {
    /// Those named, as `HOST` or `HOST:PORT`, wherever they are, and no others; with none, the node's own S3 listener and any
    /// service at a public address.
    pub fn new(named: Vec<String>, own: Option<SocketAddr>) -> Self {
        Self { named: Arc::new(named), own }
    }

    /// Whether an operator named a host.
    fn names(&self, host: &str, port: u16) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let with_port = format!("{host}:{port}");
        self.named.iter().any(|named| {
            [host, bare, with_port.as_str()].iter().any(|known| named.eq_ignore_ascii_case(known))
        })
    }

    /// Whether a request may be sent. A name passes if it can still be judged when it is resolved.
    fn allows(&self, url: &Url) -> bool {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return false };
        if !self.named.is_empty() {
            return self.names(host, port);
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let Ok(address) = bare.parse::<IpAddr>() else { return true };
        is_public(address) || self.is_own(SocketAddr::new(address, port))
    }

    /// Whether an address that a name led to may be asked. What an operator named is not looked at again.
    fn allows_address(&self, address: IpAddr) -> bool {
        !self.named.is_empty() || is_public(address)
    }

    fn is_own(&self, address: SocketAddr) -> bool {
        self.own.is_some_and(|own| {
            let anywhere = own.ip().is_unspecified() && address.ip().is_loopback();
            own.port() == address.port() && (own.ip() == address.ip() || anywhere)
        })
    }

    /// Connects to the address of an instance, `HOST:PORT`. It must be public or named; `is_known` spares one that a
    /// node wrote itself.
    pub(super) async fn connect(&self, address: &str, is_known: bool) -> Result<TcpStream, ConnectError> {
        let named = address
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse().ok()?)))
            .is_some_and(|(host, port)| self.names(host, port));
        let connecting = async {
            let found: Vec<SocketAddr> = tokio::net::lookup_host(address).await?.collect();
            let may = |found: &SocketAddr| is_known || named || is_public(found.ip());
            let allowed: Vec<SocketAddr> = found.into_iter().filter(may).collect();
            if allowed.is_empty() {
                return Err(ConnectError::NotAllowed);
            }
            Ok(TcpStream::connect(allowed.as_slice()).await?)
        };
        let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(timed_out)?
    }
}

/// Why there is no connection to an instance.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The address in its policy is neither public nor named nor that of an instance of this catalogue.
    #[error(
        "the address in the policy is not public; name it in `s3app.endpoints` if the instance is to be reached"
    )]
    NotAllowed,
    /// Nobody listens there.
    #[error("the instance cannot be reached")]
    Io(#[from] io::Error),
}

/// Whether an address is one of the public network's, by the registries of special-purpose addresses (RFC 6890 and what IANA added).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || matches!((a, b, c), (0 | 224.., _, _) | (100, 64..=127, _) | (192, 0, 0) | (192, 88, 99) | (198, 18 | 19, _))
        // Where one cloud keeps what others keep on the link.
        || address == Ipv4Addr::new(168, 63, 129, 16);
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(address) = address.to_ipv4_mapped() {
        return is_public_v4(address);
    }
    match address.segments() {
        // A translator's: it stands for the address in its last bits.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        // For protocols, documentation, and tunnels to addresses of the older kind.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// An address that may not be asked.
#[derive(Debug, thiserror::Error)]
#[error("the address may not be asked from here")]
pub(super) struct RefusedAddress;

/// Makes clients that ask allowed addresses only. Redirects are not followed.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) endpoints: Endpoints,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Resolver { endpoints: self.endpoints.clone() }))
            .build()
            .map_err(|source| object_store::Error::Generic { store: "S3", source: Box::new(source) })?;
        Ok(HttpClient::new(Guarded { client, endpoints: self.endpoints.clone() }))
    }
}

#[derive(Debug)]
struct Guarded {
    client: reqwest::Client,
    endpoints: Endpoints,
}

#[async_trait]
impl HttpService for Guarded {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // As the client will read it: `127.1` and `0x7f000001` are addresses to it, and never resolved.
        let url = Url::parse(&request.uri().to_string());
        match url.is_ok_and(|url| self.endpoints.allows(&url)) {
            true => HttpService::call(&self.client, request).await,
            false => Err(HttpError::new(HttpErrorKind::Unknown, RefusedAddress)),
        }
    }
}

#[derive(Debug)]
struct Resolver {
    endpoints: Endpoints,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let endpoints = self.endpoints.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> =
                found.into_iter().filter(|address| endpoints.allows_address(address.ip())).collect();
            if allowed.is_empty() {
                return Err(Box::new(RefusedAddress) as Box<dyn Error + Send + Sync>);
            }
            let allowed: Addrs = Box::new(allowed.into_iter());
            Ok(allowed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "127.0.0.1:9000";

    fn check(named: &[&str], url: &str, expected: bool) {
        let named: Vec<String> = named.iter().map(|&named| named.to_owned()).collect();
        let endpoints = Endpoints::new(named.clone(), Some(OWN.parse().unwrap()));
        assert_eq!(endpoints.allows(&Url::parse(url).unwrap()), expected, "{url} of {named:?}");
    }

    #[test]
    fn only_public_addresses_are_asked_unless_they_are_named() {
        for host in [
            "169.254.169.254",
            "168.63.129.16",
            "100.100.100.200",
            "0.0.0.0",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "10.0.0.7",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[fe80::1]",
            "[fd00:ec2::254]",
            "[fc00::1]",
            "[ff02::1]",
            "[::ffff:169.254.169.254]",
            "[::ffff:10.0.0.1]",
            "[64:ff9b::a00:1]",
            "[64:ff9b:1::1]",
            "[2002:a00:1::1]",
            "[2001::1]",
            "[2001:db8::1]",
            "[::7f00:1]",
        ] {
            check(&[], &format!("http://{host}"), false);
            check(&[], &format!("https://{host}:9001/b/f"), false);
        }
        for host in
            ["s3.eu-west-1.amazonaws.com", "93.184.215.14", "[2606:4700::1111]", "[64:ff9b::5db8:d70e]"]
        {
            check(&[], &format!("http://{host}:9000"), true);
            check(&["minio.example"], &format!("http://{host}:9000"), false);
        }
        for host in ["169.254.169.254", "10.0.0.7", "[fd00::1]"] {
            check(&[host], &format!("http://{host}"), true);
        }
        check(&["fd00::1"], "http://[fd00::1]", true);
        check(&["minio.example:9000"], "http://MINIO.example:9000", true);
        check(&["minio.example:9000"], "http://minio.example:9001", false);
        check(&["minio.example:443"], "https://minio.example", true);
    }

    #[test]
    fn the_nodes_own_s3_needs_no_name() {
        check(&[], "http://127.0.0.1:9000/b/f", true);
        check(&[], "http://127.0.0.1:9001/b/f", false);
        check(&[], "http://127.0.0.2:9000/b/f", false);
        check(&["minio.example"], "http://127.0.0.1:9000/b/f", false);
        let everywhere = Endpoints::new(Vec::new(), Some("0.0.0.0:9000".parse().unwrap()));
        assert!(everywhere.allows(&Url::parse("http://127.0.0.1:9000").unwrap()));
        assert!(!everywhere.allows(&Url::parse("http://10.0.0.1:9000").unwrap()));
    }

    #[tokio::test]
    async fn no_policy_leads_to_an_address_behind_the_node() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let name = format!("localhost:{}", address.port());
        let anywhere = Endpoints::default();
        for address in
            [address.to_string(), name.clone(), format!("127.1:{}", address.port()), "[::1]:1".to_owned()]
        {
            let refused = anywhere.connect(&address, false).await;
            assert!(matches!(refused, Err(ConnectError::NotAllowed)), "{address}: {refused:?}");
        }
        assert!(futures::FutureExt::now_or_never(listener.accept()).is_none(), "somebody was asked");
        assert!(anywhere.connect(&address.to_string(), true).await.is_ok());
        let named = Endpoints::new(vec!["localhost".to_owned()], None);
        assert!(named.connect(&name, false).await.is_ok());
        assert!(matches!(named.connect(&address.to_string(), false).await, Err(ConnectError::NotAllowed)));
    }
}
