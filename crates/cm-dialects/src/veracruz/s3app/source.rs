//! An object of an S3 service, as a stream, from an address that may be asked.

use std::error::Error;
use std::time::Duration;

use axum::http::Uri;
use bytes::Bytes;
use cm_crypto::Secret;
use futures::{Stream, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{GetResult, ObjectStoreExt, RetryConfig};

use super::reach::{Connector, Endpoints, RefusedAddress};
use super::request::Source;

/// How often a request is tried again that failed for a reason which may pass.
const RETRIES_MAX: usize = 2;
/// How long it is tried.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
const REGION: &str = "us-east-1";

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

#[cfg(test)]
mod tests {
    use super::*;

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
        // Nothing may arrive here but what was named.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let anywhere = Endpoints::default();
        let named = Endpoints::new(vec![closed.to_string()], None);
        for (endpoints, url, code) in [
            (&anywhere, "http://169.254.169.254/latest".to_owned(), "EndpointNotAllowed"),
            (&anywhere, "ftp://example.org".to_owned(), "InvalidEndpoint"),
            (&anywhere, "nonsense".to_owned(), "InvalidEndpoint"),
            (&anywhere, format!("http://127.0.0.1:{port}"), "EndpointNotAllowed"),
            (&anywhere, format!("http://127.1:{port}"), "EndpointNotAllowed"),
            (&anywhere, format!("http://2130706433:{port}"), "EndpointNotAllowed"),
            (&anywhere, format!("http://0x7f000001:{port}"), "EndpointNotAllowed"),
            (&anywhere, format!("http://localhost:{port}"), "EndpointNotAllowed"),
            (&named, format!("http://127.0.0.1:{port}"), "EndpointNotAllowed"),
            (&named, format!("http://{closed}"), "EndpointConnectionError"),
        ] {
            let refused = Object::open(source(&url), endpoints).await.err();
            assert_eq!(refused.map(|error| error.code()).as_deref(), Some(code), "{url}");
        }
        assert!(futures::FutureExt::now_or_never(listener.accept()).is_none(), "somebody was asked");
    }
}
