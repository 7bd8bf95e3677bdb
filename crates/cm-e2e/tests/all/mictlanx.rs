//! MictlanX, as its clients of both eras speak it: addresses, fields, codes and headers as they are on the wire.

mod faults;
mod replicas;
mod router;
mod seed;
mod summoner;

use std::path::Path;
use std::time::Duration;

use cm_crypto::digest::sha256;
use cm_e2e::{Node, NodeOptions};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

/// One face of a node, and who speaks to it.
#[derive(Clone)]
struct Face {
    base: String,
    token: Option<String>,
    http: Client,
}

/// An answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: reqwest::header::HeaderMap,
    bytes: Vec<u8>,
}

impl Reply {
    #[track_caller]
    fn demand(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}: {}", self.headers, String::from_utf8_lossy(&self.bytes));
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code in a typed refusal.
    #[track_caller]
    fn code(&self) -> u64 {
        self.json()["detail"]["code"].as_u64().unwrap_or_else(|| panic!("no code: {self:?}"))
    }

    /// The names of the fields of an object.
    #[track_caller]
    fn fields(&self) -> Vec<String> {
        fields(&self.json())
    }
}

fn fields(value: &Value) -> Vec<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

impl Face {
    fn of(node: &Node, listener: &str, token: Option<String>) -> Self {
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        Self { base: format!("http://{}", node.address(listener)), token, http }
    }

    fn as_somebody(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Reply {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Reply { status, headers, bytes: answer.bytes().await.unwrap().to_vec() }
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(self.request("GET", path)).await
    }

    async fn delete(&self, path: &str) -> Reply {
        self.send(self.request("DELETE", path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(self.request("POST", path).json(body)).await
    }

    async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        let request = self.request("POST", path).json(body);
        self.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// Raw bytes in pieces, without a length.
    async fn chunked(&self, task: &str, bytes: &[u8], headers: &[(&str, &str)]) -> Reply {
        let pieces: Vec<_> =
            bytes.chunks(100_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
        let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
        let request = self.request("POST", &format!("/api/v4/buckets/data/{task}/chunked")).body(body);
        let request = request.header("content-type", "application/octet-stream");
        self.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// A form with one file.
    async fn form(&self, path: &str, field: &str, bytes: &[u8]) -> Reply {
        let mut body = format!(
            "--boundary7\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"k\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n--boundary7--\r\n");
        let request = self.request("POST", path).body(body);
        self.send(request.header("content-type", "multipart/form-data; boundary=boundary7")).await
    }

    /// Announces an object as clients of a router do, and sends it.
    async fn put(&self, bucket: &str, key: &str, ball: &str, bytes: &[u8]) -> Reply {
        let body = announcement(bucket, key, ball, bytes);
        let path = format!("/api/v4/buckets/{bucket}/metadata");
        let task =
            self.post(&path, &body).await.demand(200).json()["tasks_ids"][0].as_str().unwrap().to_owned();
        self.chunked(&task, bytes, &[]).await
    }
}

/// What clients of a router say before they send an object.
fn announcement(bucket: &str, key: &str, ball: &str, bytes: &[u8]) -> Value {
    json!({
        "bucket_id": bucket,
        "key": key,
        "ball_id": ball,
        "checksum": sha256(bytes).to_string(),
        "size": bytes.len(),
        "tags": { "kind": "test" },
        "producer_id": "e2e",
        "content_type": "text/plain",
        "is_disabled": false,
        "replication_factor": 1,
    })
}

fn open(root: &Path) -> Node {
    let set = vec!["mictlanx.peer_id=peer-0".to_owned()];
    Node::start(root, &NodeOptions { open: true, set, ..NodeOptions::default() })
}

fn sample(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
