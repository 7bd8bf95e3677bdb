//! The earlier services, as a plain HTTP client sees them: it knows addresses, texts and status codes, and nothing of this
//! project.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::Node;

/// How long an answer may take: programs may have to be compiled by an unoptimised build.
const PATIENCE: Duration = Duration::from_secs(120);

/// One service of a node.
#[derive(Clone, Debug)]
pub struct Service {
    base: String,
    token: Option<String>,
    http: reqwest::Client,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The content type as it was sent.
    pub media_type: String,
    /// The body.
    pub text: String,
}

impl Reply {
    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("no JSON: {error}: {self:?}"))
    }

    /// Demands a status.
    ///
    /// # Panics
    /// If there is another one.
    #[track_caller]
    pub fn demand(self, status: u16) -> Reply {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Demands an answer of one sentence.
    ///
    /// # Panics
    /// If there is another one.
    #[track_caller]
    pub fn says(self, status: u16, sentence: &str) {
        assert_eq!((self.status, self.text.as_str()), (status, format!("<p>{sentence}</p>").as_str()));
        assert_eq!(self.media_type, "text/html; charset=utf-8");
    }
}

impl Service {
    /// The service that listens under this name, as whoever has the token sees it.
    pub fn of(node: &Node, listener: &str, token: Option<String>) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
        let http = http.expect("a client can be made");
        Self { base: format!("http://{}", node.address(listener)), token, http }
    }

    /// The same service for somebody else.
    #[must_use]
    pub fn with_token(&self, token: Option<String>) -> Self {
        Self { token, ..self.clone() }
    }

    /// Asks.
    pub async fn get(&self, path: &str) -> Reply {
        answer(self.request(Method::GET, path)).await
    }

    /// Deletes.
    pub async fn delete(&self, path: &str) -> Reply {
        answer(self.request(Method::DELETE, path)).await
    }

    /// Sends a JSON document.
    pub async fn post(&self, path: &str, document: &Value) -> Reply {
        answer(self.request(Method::POST, path).json(document)).await
    }

    /// Sends bytes.
    pub async fn upload(&self, path: &str, media_type: &str, bytes: impl Into<reqwest::Body>) -> Reply {
        let request = self.request(Method::POST, path).header(CONTENT_TYPE, media_type);
        answer(request.body(bytes)).await
    }

    /// Sends a request of any method, without a body.
    pub async fn send(&self, method: &str, path: &str) -> Reply {
        let method = Method::from_bytes(method.as_bytes()).expect("a method has letters");
        answer(self.request(method, path)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

async fn answer(request: RequestBuilder) -> Reply {
    let response = request.send().await.expect("the service answers");
    let status = response.status().as_u16();
    let media_type =
        response.headers().get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?").to_owned());
    let text = response.text().await.expect("the answer arrives");
    Reply { status, media_type: media_type.unwrap_or_default(), text }
}
