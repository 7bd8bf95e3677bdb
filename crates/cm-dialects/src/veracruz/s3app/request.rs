//! What is to be copied, and where to.

use cm_crypto::Secret;
use cm_http::Failure;
use serde::Deserialize;
use serde_json::error::Category;

use super::super::flask::refused;

/// One transfer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Transfer {
    pub(super) s3: Source,
    pub(super) veracruz: Destination,
}

/// An object, and how to get at it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) bucket: String,
    pub(super) filename: String,
    pub(super) region_name: Option<String>,
    pub(super) aws_access_key_id: Option<Secret<String>>,
    pub(super) aws_secret_access_key: Option<Secret<String>>,
    pub(super) aws_session_token: Option<Secret<String>>,
    /// Where the service is; Amazon's unless told.
    pub(super) endpoint_url: Option<String>,
    /// Whether the bucket stands in the path. Services other than Amazon's are asked so unless told.
    pub(super) path_style: Option<bool>,
}

/// A file of an instance, and how to get at it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Destination {
    pub(super) filename: String,
    /// The exact text of the instance's policy.
    pub(super) policy: String,
    pub(super) certificate: String,
    pub(super) key: Secret<String>,
}

impl Transfer {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// 400 that names the field.
    pub(super) fn decode(body: &[u8]) -> Result<Self, Failure> {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let decoded: Result<Transfer, _> = serde_path_to_error::deserialize(&mut deserializer);
        let transfer = decoded.map_err(|error| match error.inner().classify() {
            Category::Syntax | Category::Eof | Category::Io => refused("input should a json object!"),
            // The error would quote what stands in a field, and so perhaps a key: only the field is named.
            Category::Data => {
                refused(format!("Json object is not correct at {}: {}", error.path(), kind(error.inner())))
            }
        })?;
        deserializer.end().map_err(|_| refused("input should a json object!"))?;
        transfer.check()?;
        Ok(transfer)
    }

    fn check(&self) -> Result<(), Failure> {
        let s3 = &self.s3;
        if s3.aws_access_key_id.is_some() != s3.aws_secret_access_key.is_some() {
            return Err(refused(
                "Json object is not correct at s3: aws_access_key_id and aws_secret_access_key go together",
            ));
        }
        if s3.aws_session_token.is_some() && s3.aws_access_key_id.is_none() {
            return Err(refused(
                "Json object is not correct at s3.aws_session_token: there are no keys to it",
            ));
        }
        for (field, text) in [
            ("s3.bucket", &s3.bucket),
            ("s3.filename", &s3.filename),
            ("veracruz.filename", &self.veracruz.filename),
        ] {
            if text.is_empty() {
                return Err(refused(format!("Json object is not correct at {field}: it is empty")));
            }
        }
        Ok(())
    }
}

/// What is wrong with a field, without its value.
fn kind(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let known =
        ["missing field", "unknown field", "duplicate field"].iter().any(|kind| text.starts_with(kind));
    let text = text.split(" at line ").next().unwrap_or_default();
    if known { text.to_owned() } else { "it is of another type".to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request() -> Value {
        json!({
            "s3": { "bucket": "b", "filename": "f" },
            "veracruz": { "filename": "in", "policy": "{}", "certificate": "c", "key": "k" },
        })
    }

    fn check(change: impl FnOnce(&mut Value), expected: Option<&str>) {
        let mut request = request();
        change(&mut request);
        let found = Transfer::decode(request.to_string().as_bytes()).err();
        let found = found.as_ref().map(Failure::message);
        match expected {
            None => assert_eq!(found, None),
            Some(expected) => assert!(found.is_some_and(|found| found.contains(expected)), "{found:?}"),
        }
    }

    #[test]
    fn whatever_is_wrong_is_named() {
        check(|_| {}, None);
        check(|request| request["s3"]["aws_access_key_id"] = "id".into(), Some("go together"));
        check(|request| request["s3"]["aws_secret_access_key"] = "s".into(), Some("go together"));
        check(|request| request["s3"]["aws_session_token"] = "t".into(), Some("s3.aws_session_token"));
        check(
            |request| {
                for field in
                    ["aws_access_key_id", "aws_secret_access_key", "aws_session_token", "region_name"]
                {
                    request["s3"][field] = "x".into();
                }
            },
            None,
        );
        check(|request| request["s3"]["bucket"] = 5.into(), Some("s3.bucket: it is of another type"));
        check(|request| request["s3"]["bucket"] = "".into(), Some("s3.bucket: it is empty"));
        check(|request| request["s3"]["other"] = 5.into(), Some("unknown field `other`"));
        check(|request| drop(request.as_object_mut().unwrap().remove("s3")), Some("missing field `s3`"));
        check(|request| drop(request["veracruz"].as_object_mut().unwrap().remove("key")), Some("`key`"));
    }

    #[test]
    fn no_secret_is_quoted() {
        let mut wrong = request();
        wrong["s3"]["aws_secret_access_key"] = json!(["hunter2"]);
        let failure = Transfer::decode(wrong.to_string().as_bytes()).unwrap_err();
        assert!(!failure.message().contains("hunter2"), "{failure}");
        let decoded = Transfer::decode(request().to_string().as_bytes()).unwrap();
        assert!(!format!("{decoded:?}").contains("\"k\""));
        assert_eq!(Transfer::decode(b"text").unwrap_err().message(), "input should a json object!");
        assert_eq!(Transfer::decode(b"{} x").err().map(|_| ()), Some(()));
    }
}
