//! Buckets that are addressed as hosts: `BUCKET.DOMAIN/KEY` instead of `HOST/BUCKET/KEY`.
//!
//! The signature of a request covers the address as it was sent, so that the adapter is given it unchanged and told how hosts are to be
//! read. Whatever of this crate looks at the address before the adapter does is shown the other form.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// Longest name of a host.
const DOMAIN_LEN_MAX: usize = 253;

/// The domain below which buckets are hosts. All other hosts are addressed by paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain(Arc<str>);

/// The text is no domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no domain; write one such as s3.example.org, without a port")]
pub struct InvalidDomain(String);

impl Domain {
    /// Reads the name of a domain: labels of letters, digits and hyphens.
    ///
    /// # Errors
    /// [`InvalidDomain`].
    pub fn parse(text: &str) -> Result<Domain, InvalidDomain> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let is_label = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(is_letter);
        let is_domain = text.len() <= DOMAIN_LEN_MAX
            && text.split('.').all(is_label)
            && text.parse::<std::net::Ipv4Addr>().is_err();
        match is_domain {
            true => Ok(Domain(text.to_ascii_lowercase().into())),
            false => Err(InvalidDomain(text.chars().take(DOMAIN_LEN_MAX).collect())),
        }
    }

    /// The bucket that a host is, if it is one. The port of the host means nothing.
    fn bucket_of(&self, host: &str) -> Option<String> {
        let name = host.split_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        let bucket = name.strip_suffix(&*self.0)?.strip_suffix('.')?;
        (!bucket.is_empty()).then(|| bucket.to_owned())
    }

    /// Where a request was sent to.
    pub(crate) fn place(domain: Option<&Self>, request: &Request) -> Place {
        let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
        let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
        let host = host.unwrap_or_default();
        let is_bucket = domain.is_some_and(|domain| domain.bucket_of(host).is_some());
        Place { host: host.to_owned(), is_bucket }
    }

    /// The address as it would be with the bucket in the path; `None` if it is.
    pub(crate) fn path_style(&self, request: &Request) -> Option<Uri> {
        let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
        let host = host.or_else(|| request.uri().host())?;
        let bucket = self.bucket_of(host)?;
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("/{bucket}{}{query}", request.uri().path());
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
        Uri::from_parts(parts).ok()
    }
}

/// The host that a client knows the service by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    host: String,
    /// Whether the host is a bucket.
    is_bucket: bool,
}

/// What stands in a path as it is.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

impl Place {
    /// Where the client finds an object. Connections to the listener are in the clear.
    pub(crate) fn address(&self, bucket: &str, key: &str) -> String {
        let bucket = if self.is_bucket { String::new() } else { format!("/{bucket}") };
        format!("http://{}{bucket}/{}", self.host, utf8_percent_encode(key, IN_PATH))
    }
}

impl S3Host for Domain {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        Ok(match self.bucket_of(host) {
            Some(bucket) => VirtualHost::new(&*self.0).with_bucket(bucket),
            None => VirtualHost::new(host),
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn only_hosts_below_the_domain_are_buckets() {
        let domain = Domain::parse("S3.example.org").unwrap();
        for (host, bucket) in [
            ("scans.s3.example.org", Some("scans")),
            ("Scans.S3.Example.org:9000", Some("scans")),
            ("my.scans.s3.example.org", Some("my.scans")),
            ("s3.example.org", None),
            ("s3.example.org:9000", None),
            (".s3.example.org", None),
            ("scanss3.example.org", None),
            ("127.0.0.1:9000", None),
            ("evil.example", None),
        ] {
            assert_eq!(domain.bucket_of(host).as_deref(), bucket, "{host}");
            assert_eq!(domain.parse_host_header(host).unwrap().bucket(), bucket, "{host}");
        }
        for wrong in ["", "a..b", "a_b", "s3.example.org:9000", "127.0.0.1", "a b", "*.example.org"] {
            assert!(Domain::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn objects_are_found_where_they_were_sent_to() {
        let domain = Domain::parse("s3.example.org").unwrap();
        let check = |domain: Option<&Domain>, host: &str, expected: &str| {
            let request = Request::builder().uri("/b/k").header("host", host).body(Body::empty()).unwrap();
            assert_eq!(Domain::place(domain, &request).address("b", "a/b c"), expected);
        };
        check(None, "127.0.0.1:9000", "http://127.0.0.1:9000/b/a/b%20c");
        check(Some(&domain), "s3.example.org", "http://s3.example.org/b/a/b%20c");
        check(Some(&domain), "b.s3.example.org:9000", "http://b.s3.example.org:9000/a/b%20c");
    }

    #[test]
    fn what_looks_at_paths_is_shown_paths() {
        let domain = Domain::parse("s3.example.org").unwrap();
        let seen = |host: &str, uri: &str| {
            let request = Request::builder().uri(uri).header("host", host).body(Body::empty()).unwrap();
            domain.path_style(&request).map(|uri| uri.to_string())
        };
        assert_eq!(seen("b.s3.example.org", "/"), Some("/b/".to_owned()));
        assert_eq!(seen("b.s3.example.org", "/a%2Fb?x=1"), Some("/b/a%2Fb?x=1".to_owned()));
        assert_eq!(seen("s3.example.org", "/b/k"), None);
        assert_eq!(seen("127.0.0.1:1", "/b/k"), None);
    }
}
