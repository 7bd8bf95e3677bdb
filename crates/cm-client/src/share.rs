//! URLs that let whoever has them read one object for some time.

use std::time::Duration;

use cm_crypto::secret::Secret;
use cm_types::{BucketName, ObjectKey};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::signer::Signer;
use reqwest::Method;

use crate::ClientError;
use crate::api::{has_steps, segment};

/// The longest time that a URL may be good for, as with every service of S3: a week.
pub const SHARE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Nodes take signatures for any region.
const REGION: &str = "us-east-1";

/// A key of S3.
#[derive(Debug)]
pub struct S3Key {
    /// The access key id.
    pub id: String,
    /// The secret access key.
    pub secret: Secret<String>,
}

/// A URL by which an object can be read as the owner of the key, for so long. `endpoint` is where the node serves S3. Nothing
/// is sent: that the object exists and may be read is found out by whoever uses the URL.
///
/// # Errors
/// [`ClientError::Unsharable`]: the endpoint is no URL, or the key of the object cannot stand in one.
pub async fn share(
    endpoint: &str,
    key: &S3Key,
    bucket: &BucketName,
    object: &ObjectKey,
    time: Duration,
) -> Result<String, ClientError> {
    let unsharable =
        |error: String| ClientError::Unsharable { object: format!("{bucket}/{object}"), reason: error };
    if has_steps(object.as_str()) {
        return Err(unsharable("`.` and `..` between its slashes would lead elsewhere in a URL".to_owned()));
    }
    // The signer leaves out slashes at the ends of a path. As part of the place they stay.
    let whole = format!("{bucket}/{object}");
    let (above, name) = whole.rsplit_once('/').expect("a slash stands before the key");
    let above: String = above.split('/').map(|part| format!("/{}", segment(part))).collect();
    let store = AmazonS3Builder::new()
        .with_endpoint(format!("{}{above}", endpoint.trim_end_matches('/')))
        .with_virtual_hosted_style_request(true)
        .with_allow_http(true)
        .with_region(REGION)
        .with_bucket_name(bucket.as_str())
        .with_access_key_id(&key.id)
        .with_secret_access_key(key.secret.expose())
        .build()
        .map_err(|error| unsharable(error.to_string()))?;
    let path = Path::parse(name).map_err(|error| unsharable(error.to_string()))?;
    let url = store.signed_url(Method::GET, &path, time).await;
    url.map(String::from).map_err(|error| unsharable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_names_the_object_and_ends_and_holds_no_secret() {
        let key = S3Key { id: "CMS3X".into(), secret: Secret::new("very-secret".into()) };
        let (bucket, object) = ("scans".parse().unwrap(), "a b/ä.bin".parse().unwrap());
        let url =
            share("http://127.0.0.1:9000", &key, &bucket, &object, Duration::from_secs(60)).await.unwrap();
        assert!(url.starts_with("http://127.0.0.1:9000/scans/a%20b/%C3%A4.bin?"), "{url}");
        for (object, path) in [("plain", "plain"), ("2026/", "2026/"), ("/a//b", "/a//b")] {
            let object = object.parse().unwrap();
            let url = share("http://h:9000/", &key, &bucket, &object, Duration::from_secs(60)).await.unwrap();
            assert!(url.starts_with(&format!("http://h:9000/scans/{path}?")), "{url}");
        }
        for object in ["..", "a/..", "../b", "a/./b"] {
            let object = object.parse().unwrap();
            let error = share("http://h:9000", &key, &bucket, &object, Duration::from_secs(60)).await;
            assert!(matches!(error, Err(ClientError::Unsharable { .. })), "{error:?}");
        }
        assert!(url.contains("X-Amz-Expires=60") && url.contains("X-Amz-Signature="), "{url}");
        assert!(!url.contains("very-secret"), "{url}");
        let error = share("no url", &key, &bucket, &object, Duration::from_secs(60)).await;
        assert!(matches!(error, Err(ClientError::Unsharable { .. })), "{error:?}");
    }
}
