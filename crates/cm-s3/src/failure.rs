//! Refusals and failures as S3 names them.

use std::error::Error;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use cm_http::render::{Asked, Rendered};
use cm_http::{Failure, FailureClass};
use cm_kernel::catalog::CatalogError;
use cm_kernel::objects::{ObjectError, VersionName};
use cm_kernel::{ErrorClass, KernelError};
use cm_types::ResourceKind;
use s3s::{S3Error, S3ErrorCode};

use crate::codes::Code;
use crate::describe::{http_date, time};

/// The detail of a [`Failure`] that names an S3 code of its own.
pub(crate) const CODE: &str = "s3_code";

/// How failures look that happen before the adapter, or around it.
pub(crate) fn shape(failure: &Failure, asked: &Asked) -> Rendered {
    let (status, usual) = match failure.class() {
        FailureClass::Malformed | FailureClass::Invalid => (StatusCode::BAD_REQUEST, "InvalidRequest"),
        FailureClass::Unauthenticated | FailureClass::Forbidden => (StatusCode::FORBIDDEN, "AccessDenied"),
        FailureClass::NotFound => (StatusCode::NOT_FOUND, "NoSuchKey"),
        FailureClass::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        FailureClass::RequestTimeout => (StatusCode::BAD_REQUEST, "RequestTimeout"),
        FailureClass::UnsupportedMediaType => (StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
        FailureClass::TooMany | FailureClass::Unavailable | FailureClass::DeadlineExceeded => {
            (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable")
        }
        class => (class.status(), "InternalError"),
    };
    let code = failure.details().get(CODE).and_then(|code| code.as_str()).unwrap_or(usual);
    let id = asked.id.as_ref().map_or("", |id| id.as_str());
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{}</Message>\
         <Resource>{}</Resource><RequestId>{id}</RequestId></Error>",
        escaped(failure.message()),
        escaped(&asked.path),
    );
    Rendered { status, media_type: "application/xml", body }
}

/// A refusal that the adapter does not give.
pub(crate) fn answer(error: &S3Error, path: &str, request: &str) -> Response {
    let status = error.status_code().or_else(|| error.code().status_code());
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message>\
         <Resource>{}</Resource><RequestId>{}</RequestId></Error>",
        escaped(error.code().as_str()),
        escaped(error.message().unwrap_or_default()),
        escaped(path),
        escaped(request),
    );
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer
}

pub(crate) fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    crate::xml::referred(&text)
}

/// What the kernel refused.
pub(crate) fn kernel(error: KernelError) -> S3Error {
    let code = match &error {
        KernelError::Unauthenticated | KernelError::Forbidden(_) => S3ErrorCode::AccessDenied,
        // An object is looked up by its bucket: what is not there is that.
        KernelError::NotFound(resource)
            if matches!(resource.kind, ResourceKind::Bucket | ResourceKind::Object) =>
        {
            return S3Error::with_message(S3ErrorCode::NoSuchBucket, "the bucket does not exist");
        }
        KernelError::Catalog(CatalogError::Exists(_)) => S3ErrorCode::BucketAlreadyExists,
        KernelError::Objects(_) => {
            let KernelError::Objects(error) = error else { unreachable!("just matched") };
            return object(error);
        }
        error => return of_class(error.class(), error),
    };
    S3Error::with_message(code, error.to_string())
}

/// What the object store refused.
pub(crate) fn object(error: ObjectError) -> S3Error {
    if error.is_full() {
        log(&error);
        return Code::StorageFull.error("no space left on the node");
    }
    if let ObjectError::QuotaExceeded { .. } = &error {
        return Code::QuotaExceeded.error(error.to_string());
    }
    if let ObjectError::ColdUnavailable { .. } = &error {
        return later(error.to_string());
    }
    let code = match &error {
        ObjectError::NotFound { marker: Some(marker), .. } => {
            return marked(S3ErrorCode::NoSuchKey, &error, *marker);
        }
        ObjectError::NotFound { .. } => S3ErrorCode::NoSuchKey,
        ObjectError::VersionNotFound { .. } => S3ErrorCode::NoSuchVersion,
        ObjectError::IsMarker { version, created_at, .. } => {
            let mut refusal = marked(S3ErrorCode::MethodNotAllowed, &error, *version);
            let mut headers = refusal.headers().cloned().unwrap_or_default();
            headers.insert(header::ALLOW, HeaderValue::from_static("DELETE"));
            let deleted = http_date(&time(*created_at)).and_then(|date| HeaderValue::try_from(date).ok());
            if let Some(deleted) = deleted {
                headers.insert(header::LAST_MODIFIED, deleted);
            }
            refusal.set_headers(headers);
            return refusal;
        }
        ObjectError::Locked { .. } => S3ErrorCode::AccessDenied,
        ObjectError::NotLockable { .. } => S3ErrorCode::InvalidRequest,
        ObjectError::LockingNeedsVersions { .. } => S3ErrorCode::InvalidBucketState,
        ObjectError::TooManyTags { .. } | ObjectError::InvalidTag { .. } => S3ErrorCode::InvalidTag,
        ObjectError::TooManyRules { .. } => S3ErrorCode::InvalidRequest,
        // What is to be as it was known to be must be there.
        ObjectError::PreconditionFailed { found: None, .. } => S3ErrorCode::NoSuchKey,
        ObjectError::BucketNotFound { .. } => S3ErrorCode::NoSuchBucket,
        ObjectError::BucketExists { .. } => S3ErrorCode::BucketAlreadyExists,
        ObjectError::BucketNotEmpty { .. } => S3ErrorCode::BucketNotEmpty,
        ObjectError::AlreadyExists { .. } | ObjectError::PreconditionFailed { .. } => {
            S3ErrorCode::PreconditionFailed
        }
        ObjectError::DigestMismatch { .. } => return Code::ContentSha256Mismatch.error(error.to_string()),
        ObjectError::Md5Mismatch => S3ErrorCode::BadDigest,
        ObjectError::KeyRequired { .. } | ObjectError::WrongKey { .. } => S3ErrorCode::InvalidRequest,
        ObjectError::UploadNotFound { .. } => S3ErrorCode::NoSuchUpload,
        ObjectError::PartNotFound { .. } => S3ErrorCode::InvalidPart,
        ObjectError::PartOrder => S3ErrorCode::InvalidPartOrder,
        ObjectError::PartTooSmall { .. } => S3ErrorCode::EntityTooSmall,
        ObjectError::TooLarge { .. } => S3ErrorCode::EntityTooLarge,
        ObjectError::DescriptionTooLong { .. } => S3ErrorCode::MetadataTooLarge,
        ObjectError::DescriptionCharacter { .. } | ObjectError::InvalidCursor => S3ErrorCode::InvalidArgument,
        ObjectError::Busy | ObjectError::TooManyUploads { .. } => return slow_down(&error),
        ObjectError::RangeNotSatisfiable { size } => return unsatisfiable(*size),
        ObjectError::Body(_) => {
            let ObjectError::Body(error) = error else { unreachable!("just matched") };
            return match error.downcast::<S3Error>() {
                Ok(own) => own,
                Err(error) => S3Error::with_message(S3ErrorCode::IncompleteBody, error.to_string()),
            };
        }
        _ => {
            let error = KernelError::from(error);
            return of_class(error.class(), &error);
        }
    };
    S3Error::with_message(code, error.to_string())
}

/// A refusal because of the mark that a deletion left.
fn marked(code: S3ErrorCode, error: &ObjectError, version: VersionName) -> S3Error {
    let mut refusal = S3Error::with_message(code, error.to_string());
    let version =
        HeaderValue::try_from(version.to_string()).expect("letters, digits and hyphens make a header value");
    let headers = [
        (HeaderName::from_static("x-amz-delete-marker"), HeaderValue::from_static("true")),
        (HeaderName::from_static("x-amz-version-id"), version),
    ];
    refusal.set_headers(headers.into_iter().collect());
    refusal
}

fn unsatisfiable(size: u64) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::InvalidRange, "no byte lies in the range");
    let range = HeaderValue::try_from(format!("bytes */{size}")).expect("digits make a header value");
    error.set_headers([(header::CONTENT_RANGE, range)].into_iter().collect());
    error
}

fn slow_down(error: &dyn Error) -> S3Error {
    let mut slow = S3Error::with_message(S3ErrorCode::SlowDown, error.to_string());
    slow.set_headers([(header::RETRY_AFTER, HeaderValue::from_static("1"))].into_iter().collect());
    slow
}

fn later(message: String) -> S3Error {
    let mut later = S3Error::with_message(S3ErrorCode::ServiceUnavailable, message);
    later.set_headers([(header::RETRY_AFTER, HeaderValue::from_static("2"))].into_iter().collect());
    later
}

fn of_class(class: ErrorClass, error: &(dyn Error + 'static)) -> S3Error {
    let code = match class {
        ErrorClass::Unauthenticated | ErrorClass::Forbidden => S3ErrorCode::AccessDenied,
        ErrorClass::NotFound => S3ErrorCode::NoSuchKey,
        ErrorClass::Conflict => S3ErrorCode::OperationAborted,
        ErrorClass::Stale => S3ErrorCode::PreconditionFailed,
        ErrorClass::Invalid | ErrorClass::Range => S3ErrorCode::InvalidRequest,
        ErrorClass::TooLarge => S3ErrorCode::EntityTooLarge,
        ErrorClass::TooMany { .. } => return slow_down(error),
        ErrorClass::Unavailable => return later("try again later".to_owned()),
        ErrorClass::Internal => {
            log(error);
            return S3Error::with_message(S3ErrorCode::InternalError, "internal error");
        }
    };
    S3Error::with_message(code, error.to_string())
}

fn log(error: &(dyn Error + 'static)) {
    tracing::error!(error, "request failed");
}

#[cfg(test)]
mod tests {
    use cm_kernel::objects::{QuotaScope, QuotaUnit};

    use super::*;

    #[test]
    fn a_quota_is_no_lack_of_room() {
        let scope = QuotaScope::Tenant("acme".parse().unwrap());
        let refused = object(ObjectError::QuotaExceeded { scope, unit: QuotaUnit::Bytes, max: 10 });
        assert_eq!(
            (refused.code().as_str(), refused.status_code()),
            ("QuotaExceeded", Some(StatusCode::FORBIDDEN))
        );
        let message = refused.message().unwrap_or_default();
        assert!(message.starts_with("tenant `acme` may have 10 bytes at most"), "{message}");
    }
}
