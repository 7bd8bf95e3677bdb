//! Calls of a node's native API.

use std::time::Duration;

use cm_crypto::secret::Secret;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::resources::Listing;
use crate::{ClientError, Location, Refusal, open};

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait between two reads of an answer. A whole answer may take longer, as a large object does.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
/// The header that says where the next page of a collection begins, percent-encoded.
const NEXT_CURSOR: &str = "next-cursor";
/// Longest error answer that is read.
const REFUSAL_LEN_MAX: usize = 64 * 1024;

/// A node, as one caller sees it. Cheap to clone; connections are shared.
#[derive(Clone)]
pub struct Api {
    base: String,
    token: Option<std::sync::Arc<Secret<String>>>,
    http: reqwest::Client,
    /// Without a limit on how long an answer may take to begin: for work that grows with what is stored.
    patient: reqwest::Client,
}

/// Characters of a path segment that must be escaped; slashes too, because an id is one segment.
const SEGMENT: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// One path segment, escaped.
pub fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, SEGMENT).to_string()
}

impl Api {
    /// A client of the node at this place. Nothing is sent yet.
    pub fn new(location: Location) -> Result<Api, ClientError> {
        Api::with_read_timeout(location, READ_TIMEOUT)
    }

    fn with_read_timeout(location: Location, read_timeout: Duration) -> Result<Api, ClientError> {
        let unusable = |source| ClientError::Unreachable { url: location.url.clone(), source };
        let http = client().read_timeout(read_timeout).build().map_err(unusable)?;
        let patient = client().build().map_err(unusable)?;
        Ok(Api { base: location.url, token: location.token.map(std::sync::Arc::new), http, patient })
    }

    /// The same node, seen with another token.
    pub fn with_token(&self, token: Secret<String>) -> Api {
        Api { token: Some(std::sync::Arc::new(token)), ..self.clone() }
    }

    /// The base URL.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// A request of `path`, which begins with a slash and is already escaped.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_by(&self.http, method, path)
    }

    fn request_by(&self, client: &reqwest::Client, method: Method, path: &str) -> RequestBuilder {
        let request = client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    /// Sends a request; an answer that is no success becomes [`ClientError::Refused`].
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = self.answer(request).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    /// Sends a request; the answer, whatever it says.
    pub(crate) async fn answer(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let (client, request) = request.build_split();
        let request = request.map_err(|source| self.unreachable(source))?;
        let url = request.url().to_string();
        client.execute(request).await.map_err(|source| ClientError::Unreachable { url, source })
    }

    fn unreachable(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable { url: self.base.clone(), source }
    }

    async fn refusal(&self, mut response: Response) -> ClientError {
        #[derive(serde::Deserialize)]
        struct Body {
            error: Refusal,
        }
        let status = response.status();
        let url = response.url().to_string();
        let mut body = Vec::new();
        while let Ok(Some(part)) = response.chunk().await {
            body.extend_from_slice(&part);
            if body.len() > REFUSAL_LEN_MAX {
                break;
            }
        }
        match serde_json::from_slice::<Body>(&body) {
            Ok(Body { error }) => ClientError::Refused(Refusal { status: status.as_u16(), ..error }),
            Err(_) => match open::refusal(status, &body) {
                Some(refusal) => ClientError::Refused(refusal),
                None => ClientError::Protocol { url, problem: describe(status) },
            },
        }
    }

    /// Reads a JSON answer.
    pub(crate) async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        let url = response.url().to_string();
        let body =
            response.bytes().await.map_err(|source| ClientError::Unreachable { url: url.clone(), source })?;
        serde_json::from_slice(&body)
            .map_err(|error| ClientError::Protocol { url, problem: error.to_string() })
    }

    /// `GET` of a JSON document.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let response = self.send(self.request(Method::GET, path)).await?;
        self.json(response).await
    }

    /// `GET` of a JSON document with a query.
    pub async fn get_query<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        let response = self.send(self.request(Method::GET, path).query(query)).await?;
        self.json(response).await
    }

    /// `GET` of a page of a collection: an array, whose header says where the next page begins.
    pub async fn get_page<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Listing<T>, ClientError> {
        let response = self.send(self.request(Method::GET, path).query(query)).await?;
        let next = next_cursor(&response)?;
        Ok(Listing { items: self.json(response).await?, next })
    }

    /// `GET` of a text, byte for byte.
    pub async fn get_text(&self, path: &str) -> Result<String, ClientError> {
        let response = self.send(self.request(Method::GET, path)).await?;
        let url = response.url().to_string();
        response.text().await.map_err(|source| ClientError::Unreachable { url, source })
    }

    /// `POST` of a JSON document that answers with another.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let response = self.send(self.request(Method::POST, path).json(body)).await?;
        self.json(response).await
    }

    /// `PUT` of a JSON document that answers with another.
    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let response = self.send(self.request(Method::PUT, path).json(body)).await?;
        self.json(response).await
    }

    /// As [`Api::put`], for what may have nothing to answer; `None` then.
    pub(crate) async fn put_for<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Option<T>, ClientError> {
        let response = self.send(self.request(Method::PUT, path).json(body)).await?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(None),
            _ => self.json(response).await.map(Some),
        }
    }

    /// As [`Api::post`], but waits for the answer as long as the connection lasts.
    pub async fn post_patiently<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self.request_by(&self.patient, Method::POST, path).json(body);
        let response = self.send(request).await?;
        self.json(response).await
    }

    /// A request with a JSON body whose answer, if any, is of no interest.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<(), ClientError> {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.send(request).await.map(drop)
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, path, None).await
    }
}

/// Where the next page begins, if there is one.
fn next_cursor(response: &Response) -> Result<Option<String>, ClientError> {
    let Some(value) = response.headers().get(NEXT_CURSOR) else { return Ok(None) };
    let text = percent_encoding::percent_decode(value.as_bytes()).decode_utf8();
    let protocol = |_| ClientError::Protocol {
        url: response.url().to_string(),
        problem: "the cursor of the next page is no UTF-8".into(),
    };
    Ok(Some(text.map_err(protocol)?.into_owned()))
}

fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("cryptomesh/", env!("CARGO_PKG_VERSION")))
        // A node is where it was said to be; a proxy of the environment would see its tokens.
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
}

fn describe(status: StatusCode) -> String {
    format!("status {status} without an explanation; is this a CryptoMesh node?")
}

#[cfg(test)]
mod tests;
