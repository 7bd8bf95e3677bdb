//! What S3 takes, and the adapter refuses or reads otherwise: ranges and dates that are none, `Expires` of any text, and documents in
//! forms that it does not understand ([`ranges`], [`dates`], [`markup`]).
//!
//! Headers may be signed, so that they cannot simply be changed before: the adapter checks the signature, gives the request to a route, and
//! the route to an adapter behind it, as that is to see it and without what was signed.

use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use http_body_util::LengthLimitError;
use s3s::route::S3Route;
use s3s::service::S3Service;
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use crate::caller::Door;
use crate::gate::{self, without_signature};
use crate::ranges::{Understood, understood};
use crate::{dates, markup, subresources};

/// The parameter that says what `Expires` of an answer is to be.
const RESPONSE_EXPIRES: &str = "response-expires";
/// Longest document: as the adapter has it.
const DOCUMENT_BYTES_MAX: usize = 20 << 20;

/// Texts that S3 keeps and gives as they were said, where the adapter has dates only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AsSaid {
    /// `Expires` of a new object.
    pub(crate) expires: Option<String>,
    /// What `Expires` of an answer is to be.
    pub(crate) response_expires: Option<String>,
}

impl AsSaid {
    /// What was said of a request.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }
}

/// The headers that are to be others to the adapter, or none.
fn changed(method: &Method, headers: &HeaderMap) -> Vec<(HeaderName, Option<HeaderValue>)> {
    let text =
        |name: &HeaderName| headers.get(name).filter(|value| !value.is_empty()).map(HeaderValue::to_str);
    let mut changed = Vec::new();
    if !matches!(*method, Method::GET | Method::HEAD) {
        if let Some(Ok(expires)) = text(&header::EXPIRES)
            && !dates::is_plain(expires)
        {
            changed.push((header::EXPIRES, None));
        }
        return changed;
    }
    match text(&header::RANGE).map(|range| range.map_or(Understood::Not, understood)) {
        None | Some(Understood::AsSaid) => {}
        Some(Understood::Not) => changed.push((header::RANGE, None)),
        Some(Understood::Shorter(range)) => changed.push((header::RANGE, HeaderValue::try_from(range).ok())),
    }
    for name in [header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE] {
        let Some(date) = text(&name).map(Result::unwrap_or_default) else { continue };
        if !dates::is_plain(date) {
            changed.push((name, dates::of_old(date).and_then(|date| HeaderValue::try_from(date).ok())));
        }
    }
    changed
}

/// What an answer is to say that is no date.
fn response_expires(method: &Method, uri: &Uri) -> Option<String> {
    let asked = subresources::parameter(uri, RESPONSE_EXPIRES)
        .filter(|_| matches!(*method, Method::GET | Method::HEAD));
    asked.filter(|text| !dates::is_plain(text))
}

/// Whether the body is a document in XML that the adapter takes in. Framed ones are its own to refuse.
fn is_document(extensions: &Extensions, uri: &Uri, headers: &HeaderMap) -> bool {
    let body = extensions.get::<subresources::Body>();
    let is_taken_in = body
        .is_some_and(|body| matches!(body, subresources::Body::Document | subresources::Body::Completion));
    is_taken_in && !subresources::names(uri).any(|name| name == "policy") && !gate::is_framed(headers)
}

/// The address without a parameter.
fn without(uri: &Uri, name: &str) -> Option<Uri> {
    let is_other = |pair: &&str| subresources::decode(pair.split('=').next().unwrap_or_default()) != name;
    let kept: Vec<&str> = uri.query().unwrap_or_default().split('&').filter(is_other).collect();
    format!("{}?{}", uri.path(), kept.join("&")).parse().ok()
}

/// The route for requests that the adapter is to see otherwise.
pub(crate) struct Tolerance {
    /// `None` where nobody signs, and everybody is known.
    door: Option<Door>,
    behind: S3Service,
}

impl Tolerance {
    pub(crate) fn new(door: Option<Door>, behind: S3Service) -> Self {
        Self { door, behind }
    }
}

#[async_trait::async_trait]
impl S3Route for Tolerance {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, extensions: &mut Extensions) -> bool {
        !changed(method, headers).is_empty()
            || response_expires(method, uri).is_some()
            || is_document(extensions, uri, headers)
    }

    /// As in front of the operations: whoever did not sign may do what owners let everybody do, and each operation asks.
    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        let Some(door) = &self.door else { return Ok(()) };
        let signer = request.credentials.clone();
        door.admit(signer, &mut request.extensions).await
    }

    async fn call(&self, mut request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let mut said = AsSaid::default();
        for (name, value) in changed(&request.method, &request.headers) {
            let before = request.headers.remove(&name);
            if name == header::EXPIRES {
                said.expires = before.and_then(|text| text.to_str().ok().map(str::to_owned));
            }
            if let Some(value) = value {
                request.headers.insert(name, value);
            }
        }
        said.response_expires = response_expires(&request.method, &request.uri);
        if said.response_expires.is_some() {
            request.uri = without(&request.uri, RESPONSE_EXPIRES).unwrap_or(request.uri);
        }
        if is_document(&request.extensions, &request.uri, &request.headers) {
            let document = request.input.store_all_limited(DOCUMENT_BYTES_MAX).await;
            let document = document.map_err(|error| {
                let is_long = error.is::<LengthLimitError>();
                let code =
                    if is_long { S3ErrorCode::MaxMessageLengthExceeded } else { S3ErrorCode::InternalError };
                S3Error::with_source(code, error)
            })?;
            let document = markup::plain(&document)?.into_owned();
            if request.headers.contains_key(header::CONTENT_LENGTH) {
                request.headers.insert(header::CONTENT_LENGTH, document.len().into());
            }
            request.input = Body::from(document);
        }
        let mut seen = Request::new(request.input);
        *seen.method_mut() = request.method;
        *seen.uri_mut() = without_signature(&request.uri).unwrap_or(request.uri);
        *seen.headers_mut() = request.headers;
        *seen.extensions_mut() = request.extensions;
        seen.headers_mut().remove(header::AUTHORIZATION);
        seen.extensions_mut().insert(said);
        if let Some(trailers) = request.trailing_headers {
            seen.extensions_mut().insert(trailers);
        }
        let failed = |error| S3Error::with_message(S3ErrorCode::InternalError, format!("{error:?}"));
        let (parts, body) = self.behind.call(seen).await.map_err(failed)?.into_parts();
        let mut answer = S3Response::new(body);
        answer.status = Some(parts.status);
        answer.headers = parts.headers;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_adapter_does_not_read_is_changed_or_passed_over() {
        let check = |method: Method, name: HeaderName, value: &str, expected: Option<Option<&str>>| {
            let headers: HeaderMap = [(name.clone(), value.parse().unwrap())].into_iter().collect();
            let found = changed(&method, &headers);
            let found = found.first().map(|(_, value)| value.as_ref().map(|value| value.to_str().unwrap()));
            assert_eq!(found, expected, "{method} {name} {value}");
        };
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for method in [Method::GET, Method::HEAD] {
            check(method.clone(), header::RANGE, "bytes=x", Some(None));
            check(method.clone(), header::RANGE, "bytes=0-1", None);
            check(
                method.clone(),
                header::RANGE,
                "bytes=0-99999999999999999999",
                Some(Some("bytes=0-9223372036854775807")),
            );
            for name in [header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE] {
                check(method.clone(), name.clone(), "garbage", Some(None));
                check(method.clone(), name.clone(), "Sunday, 06-Nov-94 08:49:37 GMT", Some(Some(date)));
                check(method.clone(), name, date, None);
            }
            check(method, header::EXPIRES, "0", None);
        }
        for method in [Method::PUT, Method::POST] {
            check(method.clone(), header::RANGE, "bytes=x", None);
            check(method.clone(), header::EXPIRES, "0", Some(None));
            check(method.clone(), header::EXPIRES, date, None);
            check(method, header::EXPIRES, "", None);
        }
    }

    /// Whose address is a host's path cannot tell what its body is: that was found out before.
    #[test]
    fn contents_are_no_documents() {
        let check = |body: Option<subresources::Body>, uri: &str, framed: bool, expected: bool| {
            let mut extensions = Extensions::new();
            if let Some(body) = body {
                extensions.insert(body);
            }
            let word = if framed { "STREAMING-UNSIGNED-PAYLOAD-TRAILER" } else { "UNSIGNED-PAYLOAD" };
            let name = HeaderName::from_static("x-amz-content-sha256");
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(word))]);
            let found = is_document(&extensions, &uri.parse().unwrap(), &headers);
            assert_eq!(found, expected, "{body:?} {uri} {framed}");
        };
        use subresources::Body::{Completion, Content, Document};
        check(Some(Document), "/b?tagging", false, true);
        check(Some(Completion), "/b/k?uploadId=1", false, true);
        check(Some(Document), "/b?tagging", true, false);
        check(Some(Document), "/b?policy", false, false);
        check(Some(Content), "/k", false, false);
        check(None, "/k", false, false);
    }

    #[test]
    fn what_an_answer_is_to_say_is_taken_out_of_its_address() {
        let check = |uri: &str, expected: Option<(&str, &str)>| {
            let uri: Uri = uri.parse().unwrap();
            let found = response_expires(&Method::GET, &uri);
            let left = without(&uri, RESPONSE_EXPIRES).unwrap().to_string();
            assert_eq!(found.as_deref().map(|text| (text, left.as_str())), expected, "{uri}");
        };
        check("/b/k?response-expires=never%21&versionId=1", Some(("never!", "/b/k?versionId=1")));
        check("/b/k?response-expires=Sun,%2006%20Nov%201994%2008:49:37%20GMT", None);
        check("/b/k?versionId=1", None);
    }
}
