//! What the query of a request may ask for.
//!
//! A name without a value, such as `?acl`, makes another operation of a request. The adapter passes over names that it does not know and
//! does what the request would mean without them: `PUT /b/k?renameObject` would write an empty object, and `DELETE /b?abac` remove the
//! bucket. Hence what is served is listed here; everything else that S3 knows, and whatever looks like it where something is
//! changed, is refused before the adapter sees it. Parameters with values that nobody knows change nothing, and pass, as with S3.

use axum::extract::Request;
use axum::http::{Method, Uri};
use cm_http::{Failure, FailureClass};

use crate::failure::CODE;

/// The headers that make another operation of a request, and are not served.
const HEADERS: [&str; 1] = ["x-amz-rename-source"];

/// How much of an unknown name is said back, in characters.
const NAME_LEN_MAX: usize = 64;

/// All names that make an operation what it is, in S3 and in services that speak its language: those of the operations, those that
/// name a version, an upload or a part, and `append`.
const ALL: [&str; 45] = [
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "append",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataAnnotationTable",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "select-type",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// The names of a query's parameters, decoded as the adapter does it before it looks for them.
pub(crate) fn names(uri: &Uri) -> impl Iterator<Item = String> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| decode(pair.split('=').next().unwrap_or_default()))
}

/// The value of the first parameter of a name, decoded.
pub(crate) fn parameter(uri: &Uri, wanted: &str) -> Option<String> {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    pairs.find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name) == wanted).then(|| decode(value))
    })
}

/// Whether a parameter of this name decides what is done.
pub(crate) fn decides(name: &str) -> bool {
    ALL.contains(&name)
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Service,
    Bucket,
    Object,
}

impl Place {
    /// As the adapter reads paths: it decodes them first.
    fn of(uri: &Uri) -> Self {
        let path = decode(uri.path());
        match path.strip_prefix('/').unwrap_or(&path).split_once('/') {
            None if path.len() <= 1 => Self::Service,
            None | Some((_, "")) => Self::Bucket,
            Some(_) => Self::Object,
        }
    }

    /// The names of [`ALL`] that requests of this method may carry.
    fn served(self, method: &Method) -> &'static [&'static str] {
        match (self, method.as_str()) {
            (Self::Bucket, "GET") => &[
                "accelerate",
                "acl",
                "cors",
                "encryption",
                "lifecycle",
                "location",
                "logging",
                "notification",
                "object-lock",
                "ownershipControls",
                "policy",
                "policyStatus",
                "publicAccessBlock",
                "replication",
                "requestPayment",
                "tagging",
                "uploads",
                "versioning",
                "versions",
                "website",
            ],
            (Self::Bucket, "PUT") => &[
                "acl",
                "cors",
                "encryption",
                "lifecycle",
                "logging",
                "notification",
                "object-lock",
                "ownershipControls",
                "policy",
                "publicAccessBlock",
                "requestPayment",
                "tagging",
                "versioning",
            ],
            (Self::Bucket, "DELETE") => &[
                "cors",
                "encryption",
                "lifecycle",
                "ownershipControls",
                "policy",
                "publicAccessBlock",
                "tagging",
            ],
            (Self::Bucket, "POST") => &["delete"],
            (Self::Object, "GET") => &[
                "acl",
                "attributes",
                "legal-hold",
                "partNumber",
                "retention",
                "tagging",
                "uploadId",
                "versionId",
            ],
            (Self::Object, "HEAD") => &["partNumber", "versionId"],
            (Self::Object, "PUT") => {
                &["acl", "legal-hold", "partNumber", "retention", "tagging", "uploadId", "versionId"]
            }
            (Self::Object, "DELETE") => &["tagging", "uploadId", "versionId"],
            (Self::Object, "POST") => &["uploadId", "uploads"],
            _ => &[],
        }
    }
}

/// What the body of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Something that says what is to be done.
    Document,
    /// The parts that an object is to be made of.
    Completion,
    /// An object, or a part of one; empty where another object is copied.
    Content,
    /// A form, or nothing.
    Other,
}

/// What the body of such a request is.
pub(crate) fn body(method: &Method, uri: &Uri) -> Body {
    let mut names = names(uri);
    let is_document = match (Place::of(uri), method.as_str()) {
        (Place::Bucket, "PUT") => true,
        (Place::Bucket, "POST") => names.any(|name| name == "delete"),
        (Place::Object, "PUT") => {
            let is_said =
                |name: String| ["acl", "legal-hold", "retention", "tagging"].contains(&name.as_str());
            return if names.any(is_said) { Body::Document } else { Body::Content };
        }
        (Place::Object, "POST") if names.any(|name| name == "uploadId") => return Body::Completion,
        _ => false,
    };
    if is_document { Body::Document } else { Body::Other }
}

/// Whether the request reads an object: what is answered is what its writer said.
pub(crate) fn reads_object(method: &Method, uri: &Uri) -> bool {
    let is_read = matches!(*method, Method::GET | Method::HEAD) && Place::of(uri) == Place::Object;
    is_read && !names(uri).any(|name| decides(&name) && !["versionId", "partNumber"].contains(&name.as_str()))
}

/// Refuses a request for what is not to be had here. Preflight requests are of pages, and ask for nothing.
///
/// # Errors
/// 501, and 400 for a part without an upload, or the other way round.
pub(crate) fn refuse_unserved(request: &Request) -> Result<(), Failure> {
    let (method, uri) = (request.method(), request.uri());
    if method == Method::OPTIONS {
        return Ok(());
    }
    if let Some(header) = HEADERS.into_iter().find(|name| request.headers().contains_key(*name)) {
        return Err(unserved(format!("not to be had here: `{header}`")));
    }
    let place = Place::of(uri);
    let served = place.served(method);
    if method == Method::GET
        && place == Place::Bucket
        && parameter(uri, "list-type").is_some_and(|kind| kind != "2")
    {
        let message = "objects are listed in version 2, or in version 1 without `list-type`";
        return Err(Failure::new(FailureClass::Malformed, message).with_detail(CODE, "InvalidArgument"));
    }
    let changes = !method.is_safe();
    let (mut part, mut upload) = (false, false);
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name);
        if served.contains(&name.as_str()) {
            part |= name == "partNumber";
            upload |= name == "uploadId";
            continue;
        }
        // Clients write `?acl=` as well as `?acl`.
        if ALL.contains(&name.as_str()) || (changes && value.is_empty() && !is_passed_over(&name)) {
            let name: String = name.chars().take(NAME_LEN_MAX).collect();
            return Err(unserved(format!("not to be had here: `?{name}`")));
        }
    }
    // The adapter would write an object.
    if method == Method::PUT && place == Place::Object && part != upload {
        let message = "a part is uploaded with its number and the id of its upload";
        return Err(Failure::new(FailureClass::Malformed, message).with_detail(CODE, "InvalidArgument"));
    }
    Ok(())
}

/// What may be empty and means nothing: the name that libraries give an operation, and what belongs to a signature.
fn is_passed_over(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower == "x-id" || lower.starts_with("x-amz-") || lower.starts_with("response-")
}

fn unserved(message: String) -> Failure {
    Failure::new(FailureClass::UnsupportedMediaType, message).with_detail(CODE, "NotImplemented")
}

/// As the adapter decodes names before it looks for them, so that an encoded name means the same.
pub(crate) fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests;
