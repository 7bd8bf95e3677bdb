//! Encryption by the server, which is not to be had here: what asks for it is refused, after what asks for it wrongly.

use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cm_crypto::digest::Md5;
use cm_kernel::policy::sharing::Use;
use cm_kernel::policy::{Read, Update};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::{Store, bucket_name};
use crate::caller::Caller;

const ENCRYPTION: &str = "x-amz-server-side-encryption";
const KMS_KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const ALGORITHM: &str = "x-amz-server-side-encryption-customer-algorithm";
const KEY: &str = "x-amz-server-side-encryption-customer-key";
const KEY_MD5: &str = "x-amz-server-side-encryption-customer-key-md5";

impl Store {
    pub(super) async fn encryption(
        &self,
        caller: Caller,
        request: S3Request<GetBucketEncryptionInput>,
    ) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
        let bucket = bucket_name(request.input.bucket)?;
        self.permit_bucket::<Read>(&caller, Use::GetEncryptionConfiguration, &bucket).await?;
        let code = S3ErrorCode::ServerSideEncryptionConfigurationNotFoundError;
        let mut missing = S3Error::with_message(code, "objects are not encrypted by the server");
        missing.set_status_code(StatusCode::NOT_FOUND);
        Err(missing)
    }

    pub(super) async fn remove_encryption(
        &self,
        caller: Caller,
        request: S3Request<DeleteBucketEncryptionInput>,
    ) -> S3Result<S3Response<DeleteBucketEncryptionOutput>> {
        let bucket = bucket_name(request.input.bucket)?;
        self.permit_bucket::<Update>(&caller, Use::PutEncryptionConfiguration, &bucket).await?;
        Ok(S3Response::new(DeleteBucketEncryptionOutput::default()))
    }
}

/// Refuses to write what is to be encrypted.
///
/// # Errors
/// `InvalidArgument` for what makes no sense anywhere, `NotImplemented` for what would.
pub(super) fn refuse_encryption(headers: &HeaderMap) -> S3Result<()> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let asked = text(ENCRYPTION);
    if [ALGORITHM, KEY, KEY_MD5].into_iter().any(|name| headers.contains_key(name)) {
        if asked.is_some() {
            return Err(argument("an object is encrypted with one key"));
        }
        check_customer_key(text(ALGORITHM), text(KEY), text(KEY_MD5))?;
        return Err(not_to_be_had());
    }
    match (asked, headers.contains_key(KMS_KEY)) {
        (None, false) => Ok(()),
        (Some("aws:kms" | "aws:kms:dsse"), _) | (Some("AES256"), false) => Err(not_to_be_had()),
        (Some("AES256") | None, true) => Err(argument("a key of KMS is for encryption with `aws:kms`")),
        (Some(_), _) => Err(argument("the encryption is not known")),
    }
}

/// Whether a customer's key is one.
fn check_customer_key(algorithm: Option<&str>, key: Option<&str>, md5: Option<&str>) -> S3Result<()> {
    if algorithm != Some("AES256") {
        return Err(argument("a customer's key is for AES256"));
    }
    let key = key.and_then(|text| STANDARD.decode(text).ok()).filter(|key| key.len() == 32);
    let key = key.ok_or_else(|| argument("a customer's key has 32 bytes, in base64"))?;
    let mut digest = Md5::new();
    digest.update(&key);
    match md5 == Some(STANDARD.encode(digest.finish()).as_str()) {
        true => Ok(()),
        false => Err(argument("the MD5 of the customer's key is another")),
    }
}

/// Refuses to decrypt: no object here is encrypted by the server.
///
/// # Errors
/// `InvalidRequest` if a key comes with the request.
pub(super) fn refuse_key(headers: &HeaderMap) -> S3Result<()> {
    match headers.contains_key(ALGORITHM) || headers.contains_key(KEY) {
        true => Err(crate::content::invalid("the object is not encrypted with a customer's key")),
        false => Ok(()),
    }
}

fn not_to_be_had() -> S3Error {
    let message = "nothing is encrypted by the server here; seal objects before they are stored";
    S3Error::with_message(S3ErrorCode::NotImplemented, message)
}

fn argument(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn check(pairs: &[(&str, &str)], expected: Option<&str>) {
        let headers = pairs.iter().map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        });
        let found = refuse_encryption(&headers.collect()).err();
        assert_eq!(found.as_ref().map(|error| error.code().as_str()), expected, "{pairs:?}");
    }

    #[test]
    fn encryption_is_refused_and_never_passed_over() {
        let key = STANDARD.encode([7; 32]);
        let mut digest = Md5::new();
        digest.update(&[7; 32]);
        let md5 = STANDARD.encode(digest.finish());
        let (algorithm, key, md5) = ((ALGORITHM, "AES256"), (KEY, key.as_str()), (KEY_MD5, md5.as_str()));
        check(&[], None);
        check(&[(ENCRYPTION, "AES256")], Some("NotImplemented"));
        check(&[(ENCRYPTION, "aws:kms"), (KMS_KEY, "k")], Some("NotImplemented"));
        check(&[(ENCRYPTION, "aes:kms")], Some("InvalidArgument"));
        check(&[(ENCRYPTION, "AES256"), (KMS_KEY, "k")], Some("InvalidArgument"));
        check(&[(KMS_KEY, "k")], Some("InvalidArgument"));
        check(&[algorithm, key, md5], Some("NotImplemented"));
        check(&[algorithm, key, md5, (ENCRYPTION, "AES256")], Some("InvalidArgument"));
        check(&[algorithm, key], Some("InvalidArgument"));
        check(&[algorithm], Some("InvalidArgument"));
        check(&[key, md5], Some("InvalidArgument"));
        check(&[algorithm, key, (KEY_MD5, "AAAAAAAAAAAAAAAAAAAAAA==")], Some("InvalidArgument"));
        check(&[algorithm, (KEY, "AAAA"), md5], Some("InvalidArgument"));
    }
}
