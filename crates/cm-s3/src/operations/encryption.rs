//! Encryption by the server: with keys of the node (SSE-S3), with keys that customers bring (SSE-C), and as a bucket's default. Keys
//! of KMS are not to be had.

use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cm_crypto::Secret;
use cm_crypto::digest::Md5;
use cm_kernel::objects::{BucketEncryption, CustomerKey, EncryptedBy, NewEncryption, ObjectInfo, Setting};
use cm_kernel::policy::sharing::Use;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::Store;
use crate::caller::Caller;

const ENCRYPTION: &str = "x-amz-server-side-encryption";
const KMS_KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
/// The only algorithm, as S3 calls it.
pub(crate) const AES256: &str = "AES256";

/// Under which names a customer's key comes.
struct KeyHeaders {
    algorithm: &'static str,
    key: &'static str,
    md5: &'static str,
}

const OWN: KeyHeaders = KeyHeaders {
    algorithm: "x-amz-server-side-encryption-customer-algorithm",
    key: "x-amz-server-side-encryption-customer-key",
    md5: "x-amz-server-side-encryption-customer-key-md5",
};

const OF_SOURCE: KeyHeaders = KeyHeaders {
    algorithm: "x-amz-copy-source-server-side-encryption-customer-algorithm",
    key: "x-amz-copy-source-server-side-encryption-customer-key",
    md5: "x-amz-copy-source-server-side-encryption-customer-key-md5",
};

impl Store {
    pub(super) async fn encryption(
        &self,
        caller: Caller,
        request: S3Request<GetBucketEncryptionInput>,
    ) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
        let (used, setting) = (Use::GetEncryptionConfiguration, Setting::Encryption);
        if self.kept(&caller, used, request.input.bucket, setting).await?.is_none() {
            let code = S3ErrorCode::ServerSideEncryptionConfigurationNotFoundError;
            let mut missing = S3Error::with_message(code, "nothing was said about how objects are encrypted");
            missing.set_status_code(StatusCode::NOT_FOUND);
            return Err(missing);
        }
        let by_default = ServerSideEncryptionByDefault {
            sse_algorithm: ServerSideEncryption::from_static(AES256),
            kms_master_key_id: None,
        };
        let rule = ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(by_default),
            bucket_key_enabled: Some(false),
        };
        let configuration = ServerSideEncryptionConfiguration { rules: vec![rule] };
        let server_side_encryption_configuration = Some(configuration);
        Ok(S3Response::new(GetBucketEncryptionOutput { server_side_encryption_configuration }))
    }

    pub(super) async fn set_encryption(
        &self,
        caller: Caller,
        request: S3Request<PutBucketEncryptionInput>,
    ) -> S3Result<S3Response<PutBucketEncryptionOutput>> {
        let rules = request.input.server_side_encryption_configuration.rules;
        let [rule] = rules.as_slice() else {
            return Err(S3Error::with_message(S3ErrorCode::MalformedXML, "there is one rule"));
        };
        let by_default = rule.apply_server_side_encryption_by_default.as_ref();
        let by_default = by_default.ok_or_else(|| {
            S3Error::with_message(S3ErrorCode::MalformedXML, "the rule says how objects are encrypted")
        })?;
        match (by_default.sse_algorithm.as_str(), &by_default.kms_master_key_id) {
            (AES256, None) => {}
            ("aws:kms" | "aws:kms:dsse", _) => return Err(no_kms()),
            (AES256, Some(_)) => return Err(argument("a key of KMS is for encryption with `aws:kms`")),
            _ => return Err(S3Error::with_message(S3ErrorCode::MalformedXML, "the encryption is not known")),
        }
        let value = Some(BucketEncryption::Node.to_text().to_owned());
        let (used, setting) = (Use::PutEncryptionConfiguration, Setting::Encryption);
        self.keep(&caller, used, request.input.bucket, setting, value).await?;
        Ok(S3Response::new(PutBucketEncryptionOutput::default()))
    }

    pub(super) async fn remove_encryption(
        &self,
        caller: Caller,
        request: S3Request<DeleteBucketEncryptionInput>,
    ) -> S3Result<S3Response<DeleteBucketEncryptionOutput>> {
        let (used, setting) = (Use::PutEncryptionConfiguration, Setting::Encryption);
        self.keep(&caller, used, request.input.bucket, setting, None).await?;
        Ok(S3Response::new(DeleteBucketEncryptionOutput::default()))
    }
}

/// How what is to be written is to be encrypted, as its request says.
///
/// # Errors
/// `InvalidArgument` for what makes no sense anywhere, `NotImplemented` for KMS.
pub(super) fn new_encryption(headers: &HeaderMap) -> S3Result<Option<NewEncryption>> {
    let asked = text(headers, ENCRYPTION);
    let key = customer_key(headers)?;
    match (asked, headers.contains_key(KMS_KEY), key) {
        (Some(_), _, Some(_)) => Err(argument("an object is encrypted with one key")),
        (None, false, key) => Ok(key.map(NewEncryption::Customer)),
        (Some(AES256), false, None) => Ok(Some(NewEncryption::Node)),
        (Some("aws:kms" | "aws:kms:dsse"), _, None) => Err(no_kms()),
        (Some(AES256) | None, true, _) => Err(argument("a key of KMS is for encryption with `aws:kms`")),
        (Some(_), _, None) => Err(argument("the encryption is not known")),
    }
}

/// Whoever reads an object cannot say how it is encrypted: only a customer's key comes with a read.
///
/// # Errors
/// `InvalidArgument`.
pub(super) fn refuse_encryption(headers: &HeaderMap) -> S3Result<()> {
    match headers.contains_key(ENCRYPTION) || headers.contains_key(KMS_KEY) {
        true => Err(argument("what is read is encrypted as it was written")),
        false => Ok(()),
    }
}

/// The key that came for an object.
///
/// # Errors
/// `InvalidArgument` if it is none.
pub(super) fn customer_key(headers: &HeaderMap) -> S3Result<Option<CustomerKey>> {
    key_of(headers, &OWN)
}

/// The key that came for the source of a copy.
///
/// # Errors
/// `InvalidArgument` if it is none.
pub(super) fn source_key(headers: &HeaderMap) -> S3Result<Option<CustomerKey>> {
    key_of(headers, &OF_SOURCE)
}

/// The digest by which clients know the key that they sent.
pub(super) fn customer_key_md5(headers: &HeaderMap) -> Option<String> {
    text(headers, OWN.md5).map(str::to_owned)
}

/// Whether an object, of which no byte is read, is shown to whoever sent these headers.
///
/// # Errors
/// `InvalidRequest` unless they bring the key that it is encrypted with, if it is with one.
pub(super) fn check_key(
    objects: &cm_kernel::objects::Objects,
    info: &ObjectInfo,
    headers: &HeaderMap,
) -> S3Result<()> {
    objects.check_key(info, customer_key(headers)?.as_ref()).map_err(crate::failure::object)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn key_of(headers: &HeaderMap, names: &KeyHeaders) -> S3Result<Option<CustomerKey>> {
    if ![names.algorithm, names.key, names.md5].into_iter().any(|name| headers.contains_key(name)) {
        return Ok(None);
    }
    if text(headers, names.algorithm) != Some(AES256) {
        return Err(argument("a customer's key is for AES256"));
    }
    let key = text(headers, names.key).and_then(|text| STANDARD.decode(text).ok());
    let key = key.and_then(|key| <[u8; 32]>::try_from(key).ok()).map(Secret::new);
    let key = key.ok_or_else(|| argument("a customer's key has 32 bytes, in base64"))?;
    let mut digest = Md5::new();
    digest.update(key.expose());
    match text(headers, names.md5) == Some(STANDARD.encode(digest.finish()).as_str()) {
        true => Ok(Some(CustomerKey::new(key))),
        false => Err(argument("the MD5 of the customer's key is another")),
    }
}

fn no_kms() -> S3Error {
    let message = "there are no keys of KMS here; encrypt with AES256 or with a key of your own";
    S3Error::with_message(S3ErrorCode::NotImplemented, message)
}

fn argument(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, message)
}

/// Fills in the fields that say how an object is encrypted.
macro_rules! encrypted {
    ($output:expr, $by:expr, $headers:expr) => {{
        let output = &mut $output;
        match $by {
            Some(cm_kernel::objects::EncryptedBy::Node) => {
                output.server_side_encryption =
                    Some(s3s::dto::ServerSideEncryption::from_static($crate::operations::encryption::AES256));
            }
            Some(cm_kernel::objects::EncryptedBy::Customer) => {
                output.sse_customer_algorithm = Some($crate::operations::encryption::AES256.to_owned());
                output.sse_customer_key_md5 = $crate::operations::encryption::customer_key_md5($headers);
            }
            None => {}
        }
    }};
}

pub(super) use encrypted;

/// Whose key an object is encrypted with.
pub(super) fn encrypted_by(info: &ObjectInfo) -> Option<EncryptedBy> {
    info.encryption.as_ref().map(cm_kernel::objects::Encryption::by)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn check(pairs: &[(&str, &str)], expected: Result<&str, &str>) {
        let headers = pairs.iter().map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        });
        let found = match new_encryption(&headers.collect()) {
            Ok(None) => Ok("none".to_owned()),
            Ok(Some(NewEncryption::Node)) => Ok("node".to_owned()),
            Ok(Some(NewEncryption::Customer(_))) => Ok("customer".to_owned()),
            Err(error) => Err(error.code().as_str().to_owned()),
        };
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{pairs:?}");
    }

    #[test]
    fn encryption_is_what_was_asked_for_or_refused() {
        let key = STANDARD.encode([7; 32]);
        let mut digest = Md5::new();
        digest.update(&[7; 32]);
        let md5 = STANDARD.encode(digest.finish());
        let algorithm = (OWN.algorithm, "AES256");
        let (key, md5) = ((OWN.key, key.as_str()), (OWN.md5, md5.as_str()));
        check(&[], Ok("none"));
        check(&[(ENCRYPTION, "AES256")], Ok("node"));
        check(&[(ENCRYPTION, "aws:kms"), (KMS_KEY, "k")], Err("NotImplemented"));
        check(&[(ENCRYPTION, "aes:kms")], Err("InvalidArgument"));
        check(&[(ENCRYPTION, "AES256"), (KMS_KEY, "k")], Err("InvalidArgument"));
        check(&[(KMS_KEY, "k")], Err("InvalidArgument"));
        check(&[algorithm, key, md5], Ok("customer"));
        check(&[algorithm, key, md5, (ENCRYPTION, "AES256")], Err("InvalidArgument"));
        check(&[algorithm, key], Err("InvalidArgument"));
        check(&[algorithm], Err("InvalidArgument"));
        check(&[key, md5], Err("InvalidArgument"));
        check(&[algorithm, key, (OWN.md5, "AAAAAAAAAAAAAAAAAAAAAA==")], Err("InvalidArgument"));
        check(&[algorithm, (OWN.key, "AAAA"), md5], Err("InvalidArgument"));
    }
}
