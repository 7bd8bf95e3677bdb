//! Codes of S3 that the adapter has no name for.
//!
//! To the adapter such a code has no status, and what has none is answered with 500, which tells clients to try again what will never
//! do. Hence they are made here and nowhere else, each with its status.

use std::borrow::Cow;

use axum::http::StatusCode;
use s3s::{S3Error, S3ErrorCode};

/// One of these codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    ContentSha256Mismatch,
    InvalidRetentionPeriod,
    MalformedTrailer,
    NoSuchPublicAccessBlock,
    QuotaExceeded,
    StorageFull,
}

impl Code {
    /// As clients know it.
    fn name(self) -> &'static str {
        match self {
            Self::ContentSha256Mismatch => "XAmzContentSHA256Mismatch",
            Self::InvalidRetentionPeriod => "InvalidRetentionPeriod",
            Self::MalformedTrailer => "MalformedTrailerError",
            Self::NoSuchPublicAccessBlock => "NoSuchPublicAccessBlockConfiguration",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::StorageFull => "StorageFull",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::ContentSha256Mismatch | Self::InvalidRetentionPeriod | Self::MalformedTrailer => {
                StatusCode::BAD_REQUEST
            }
            Self::NoSuchPublicAccessBlock => StatusCode::NOT_FOUND,
            Self::QuotaExceeded => StatusCode::FORBIDDEN,
            Self::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        }
    }

    /// The refusal.
    pub(crate) fn error(self, message: impl Into<Cow<'static, str>>) -> S3Error {
        let mut error = S3Error::with_message(S3ErrorCode::Custom(self.name().into()), message);
        error.set_status_code(self.status());
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status() {
        for (code, name, status) in [
            (Code::ContentSha256Mismatch, "XAmzContentSHA256Mismatch", 400),
            (Code::InvalidRetentionPeriod, "InvalidRetentionPeriod", 400),
            (Code::MalformedTrailer, "MalformedTrailerError", 400),
            (Code::NoSuchPublicAccessBlock, "NoSuchPublicAccessBlockConfiguration", 404),
            (Code::QuotaExceeded, "QuotaExceeded", 403),
            (Code::StorageFull, "StorageFull", 507),
        ] {
            let error = code.error("why");
            // What the adapter asks for; without one it answers 500.
            let found = error.status_code().map(|status| status.as_u16());
            assert_eq!((error.code().as_str(), found), (name, Some(status)));
            assert!(matches!(error.code(), S3ErrorCode::Custom(_)), "the adapter knows {name} by now");
        }
    }

    /// A code that is made elsewhere is one without a status.
    #[test]
    fn codes_are_made_here_only() {
        let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("codes.rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    assert!(!text.contains("S3ErrorCode::Custom("), "{}", path.display());
                }
            }
        }
    }
}
