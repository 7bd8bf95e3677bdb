//! Addresses of S3 that are signed with version 2, as the AWS command line makes them.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use cm_crypto::mac::hmac_sha1;
use cm_e2e::{Node, NodeOptions};
use cm_types::ResourceKind;
use reqwest::{Client, Method, Url};
use serde_json::json;

/// Who signs, and where.
struct Signer<'a> {
    base: String,
    key: &'a str,
    secret: &'a str,
}

impl Signer<'_> {
    /// The address of a resource, good for so many seconds.
    fn sign(&self, method: &Method, resource: &str, seconds: u64) -> Url {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let expires = now + seconds;
        let text = format!("{method}\n\n\n{expires}\n{resource}");
        let signature = hmac_sha1(self.secret.as_bytes(), text.as_bytes());
        let signature = base64::engine::general_purpose::STANDARD.encode(signature);
        let mut url = Url::parse(&format!("{}{resource}", self.base)).unwrap();
        url.query_pairs_mut()
            .append_pair("AWSAccessKeyId", self.key)
            .append_pair("Signature", &signature)
            .append_pair("Expires", &expires.to_string());
        url
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_are_good_for_what_was_signed_and_end() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    node.admin().create(ResourceKind::Bucket, &json!({ "name": "scans" })).await.unwrap();
    let key = node.admin().create_s3_key("admin", "test").await.unwrap();
    let signer = Signer { base: format!("http://{}", node.address("s3")), key: &key.id, secret: &key.key };
    let http = Client::builder().no_proxy().build().unwrap();
    let ask = async |method: Method, url: Url, body: &'static str| {
        let answer = http.request(method, url).body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let put = signer.sign(&Method::PUT, "/scans/a%20b", 60);
    let (status, text) = ask(Method::PUT, put.clone(), "content").await;
    assert_eq!(status, 200, "{text}");
    let get = signer.sign(&Method::GET, "/scans/a%20b", 60);
    assert_eq!(ask(Method::GET, get.clone(), "").await, (200, "content".to_owned()));
    // Neither for another method, nor another key, nor what no signature of this version covers.
    assert_eq!(ask(Method::PUT, get.clone(), "other").await.0, 403);
    assert_eq!(ask(Method::GET, get.as_str().replace("a%20b", "c").parse().unwrap(), "").await.0, 403);
    for more in ["&retention", "&attributes", "&versionId=a&versionId=b", "&versionId=a"] {
        let (status, text) = ask(Method::GET, format!("{get}{more}").parse().unwrap(), "").await;
        assert_eq!(status, 403, "{more}: {text}");
    }
    let copying = http.put(put).header("x-amz-copy-source", "scans/a%20b").send().await.unwrap();
    assert_eq!(copying.status(), 403);
    let endless = signer.sign(&Method::GET, "/scans/a%20b", 10 * 24 * 3600);
    assert_eq!(ask(Method::GET, endless, "").await.0, 403);
    let forger = Signer { secret: "another", ..signer };
    let forged = ask(Method::GET, forger.sign(&Method::GET, "/scans/a%20b", 60), "").await;
    assert!(forged.0 == 403 && forged.1.contains("SignatureDoesNotMatch"), "{forged:?}");
    assert!(node.stop().success());
}
