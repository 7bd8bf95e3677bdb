//! An object of an S3 service, as a stream, from an address that may be asked.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::Uri;
use bytes::Bytes;
use cm_crypto::Secret;
use cm_instance::PolicyText;
use futures::{Stream, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::path::Path;
use object_store::{ClientOptions, GetResult, ObjectStoreExt, RetryConfig};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::request::Source;

/// How long a service may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may be silent.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a request is tried again that failed for a reason which may pass.
const RETRIES_MAX: usize = 2;
/// How long it is tried.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
const REGION: &str = "us-east-1";

/// Which services may be asked.
///
/// Whoever may send a request here makes the node connect to an address of its choice. Among the addresses that a node reaches
/// and its callers do not, those of the link are the worst: there clouds tell a machine its own credentials. They are refused
/// unless an operator names them.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// `HOST` or `HOST:PORT`; any but those of the link if there is none.
    named: Arc<Vec<String>>,
}

impl Endpoints {
    /// Those named, as `HOST` or `HOST:PORT`, and no others; with none, any service that is not on the link.
    pub fn new(named: Vec<String>) -> Self {
        Self { named: Arc::new(named) }
    }

    /// Whether a host may be asked at all.
    fn allows(&self, host: &str, port: Option<u16>) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if self.named.is_empty() {
            return bare.parse().map_or(true, |address| !is_of_the_link(address));
        }
        let with_port = port.map(|port| format!("{host}:{port}"));
        self.named.iter().any(|named| {
            named.eq_ignore_ascii_case(host)
                || named.eq_ignore_ascii_case(bare)
                || with_port.as_ref().is_some_and(|with_port| named.eq_ignore_ascii_case(with_port))
        })
    }

    /// Whether an address that a name led to may be asked. What an operator named is not looked at again.
    fn allows_address(&self, address: IpAddr) -> bool {
        !self.named.is_empty() || !is_of_the_link(address)
    }

    /// Whether the address in a policy may be connected to.
    ///
    /// # Errors
    /// [`SourceError::NotAllowed`]. A policy that cannot be read is not judged here.
    pub(super) fn check_policy(&self, policy: &str) -> Result<(), SourceError> {
        let address = PolicyText::new(policy).parse().map(|policy| policy.veracruz_server_url);
        let host = address.ok().and_then(|address| Some(address.parse::<SocketAddr>().ok()?.ip()));
        match host.is_some_and(is_of_the_link) {
            true => Err(SourceError::NotAllowed),
            false => Ok(()),
        }
    }
}

/// Addresses that are the same on every link, where clouds keep what only the machine itself may know.
fn is_of_the_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_link_local()
                || address.is_unspecified()
                || address.is_broadcast()
                || address == Ipv4Addr::new(168, 63, 129, 16)
                || address == Ipv4Addr::new(100, 100, 100, 200)
        }
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => is_of_the_link(IpAddr::V4(address)),
            None => {
                address.is_unicast_link_local()
                    || address.is_unspecified()
                    || address == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
            }
        },
    }
}

/// Why an object could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    /// The endpoint is none that may be asked.
    #[error("the endpoint may not be asked from here")]
    NotAllowed,
    /// The endpoint is no address.
    #[error("the endpoint is no http or https address")]
    Endpoint,
    /// The transfer took too long.
    #[error("the transfer took too long")]
    Timeout,
    /// The service refused or failed.
    #[error("the service refused or failed")]
    Service(#[source] Box<object_store::Error>),
}

impl From<object_store::Error> for SourceError {
    fn from(error: object_store::Error) -> Self {
        let refused = chain(&error).any(|cause| cause.is::<RefusedAddress>());
        if refused { SourceError::NotAllowed } else { SourceError::Service(Box::new(error)) }
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

impl SourceError {
    /// The code by which clients of S3 know the reason.
    pub(super) fn code(&self) -> String {
        match self {
            SourceError::NotAllowed => "EndpointNotAllowed".to_owned(),
            SourceError::Endpoint => "InvalidEndpoint".to_owned(),
            SourceError::Timeout => "Timeout".to_owned(),
            SourceError::Service(error) => service_code(error),
        }
    }
}

/// The code in the service's answer, which the client library keeps in the text of its error only.
fn service_code(error: &object_store::Error) -> String {
    let said = chain(error).map(ToString::to_string).find_map(|text| {
        let (_, rest) = text.split_once("<Code>")?;
        let (code, _) = rest.split_once("</Code>")?;
        let is_code = (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_code.then(|| code.to_owned())
    });
    said.unwrap_or_else(|| {
        let usual = match error {
            object_store::Error::NotFound { .. } => "NoSuchKey",
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                "AccessDenied"
            }
            object_store::Error::InvalidPath { .. } => "InvalidKey",
            _ => "EndpointConnectionError",
        };
        usual.to_owned()
    })
}

/// An object that is being read.
pub(super) struct Object(GetResult);

impl Object {
    /// Asks for an object.
    pub(super) async fn open(source: Source, endpoints: &Endpoints) -> Result<Self, SourceError> {
        let path = Path::parse(&source.filename).map_err(object_store::Error::from)?;
        let store = store(source, endpoints)?;
        Ok(Self(store.get(&path).await?))
    }

    pub(super) fn size(&self) -> u64 {
        self.0.meta.size
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, SourceError>> + Send {
        self.0.into_stream().map_err(SourceError::from)
    }
}

fn store(source: Source, endpoints: &Endpoints) -> Result<AmazonS3, SourceError> {
    let retry =
        RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(source.bucket)
        .with_region(source.region_name.as_deref().unwrap_or(REGION))
        .with_retry(retry)
        .with_http_connector(Connector { endpoints: endpoints.clone() });
    let path_style = source.path_style.unwrap_or(source.endpoint_url.is_some());
    builder = builder.with_virtual_hosted_style_request(!path_style);
    if let Some(url) = source.endpoint_url {
        let uri: Uri = url.parse().map_err(|_| SourceError::Endpoint)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(SourceError::Endpoint);
        }
        builder = builder.with_allow_http(true).with_endpoint(url.trim_end_matches('/'));
    }
    let expose = |secret: &Option<Secret<String>>| secret.as_ref().map(|secret| secret.expose().clone());
    builder = match (expose(&source.aws_access_key_id), expose(&source.aws_secret_access_key)) {
        (Some(id), Some(secret)) => builder.with_access_key_id(id).with_secret_access_key(secret),
        // Else the library would look for the machine's own credentials, which are not the caller's.
        _ => builder.with_skip_signature(true),
    };
    if let Some(token) = expose(&source.aws_session_token) {
        builder = builder.with_token(token);
    }
    Ok(builder.build()?)
}

/// An address that may not be asked.
#[derive(Debug, thiserror::Error)]
#[error("the address may not be asked from here")]
struct RefusedAddress;

/// Makes clients that ask allowed addresses only: the name is judged before each request, and what it leads to when it is
/// resolved, so that no name can change its mind in between. Redirects are not followed.
#[derive(Clone, Debug)]
struct Connector {
    endpoints: Endpoints,
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
        let uri = request.uri();
        match uri.host().is_some_and(|host| self.endpoints.allows(host, uri.port_u16())) {
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

    fn check(named: &[&str], host: &str, port: Option<u16>, expected: bool) {
        let endpoints = Endpoints::new(named.iter().map(|&named| named.to_owned()).collect());
        assert_eq!(endpoints.allows(host, port), expected, "{host} {port:?} of {named:?}");
    }

    #[test]
    fn what_a_cloud_tells_its_machines_is_not_fetched() {
        for host in [
            "169.254.169.254",
            "[fe80::1]",
            "[::ffff:169.254.169.254]",
            "168.63.129.16",
            "0.0.0.0",
            "[::]",
            "100.100.100.200",
            "[fd00:ec2::254]",
        ] {
            check(&[], host, None, false);
            check(&[host], host, None, true);
        }
        for host in ["s3.eu-west-1.amazonaws.com", "127.0.0.1", "[::1]", "10.0.0.7"] {
            check(&[], host, Some(9000), true);
            check(&["minio.example"], host, Some(9000), false);
        }
        check(&["minio.example:9000"], "MINIO.example", Some(9000), true);
        check(&["minio.example:9000"], "minio.example", Some(9001), false);
    }

    #[tokio::test]
    async fn a_forbidden_address_is_named_before_anything_is_sent() {
        let source = |url: &str| Source {
            bucket: "b".into(),
            filename: "f".into(),
            region_name: None,
            aws_access_key_id: None,
            aws_secret_access_key: None,
            aws_session_token: None,
            endpoint_url: Some(url.into()),
            path_style: None,
        };
        for (url, code) in [
            ("http://169.254.169.254/latest", "EndpointNotAllowed"),
            ("ftp://example.org", "InvalidEndpoint"),
            ("nonsense", "InvalidEndpoint"),
            ("http://127.0.0.1:1", "EndpointConnectionError"),
        ] {
            let refused = Object::open(source(url), &Endpoints::default()).await.err();
            assert_eq!(refused.map(|error| error.code()).as_deref(), Some(code), "{url}");
        }
    }
}
