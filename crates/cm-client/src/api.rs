//! Calls of a node's native API.

use std::time::Duration;

use cm_crypto::secret::Secret;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::resources::Listing;
use crate::waiting::{OnSilence, READ_TIMEOUT, Waiting};
use crate::{ClientError, Location, Refusal, open};

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
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
    /// Without a limit of its own: [`Waiting`] says how long an answer may take to begin.
    patient: reqwest::Client,
    read_timeout: Duration,
    on_silence: OnSilence,
}

/// Characters of a path segment that must be escaped; slashes too, because an id is one segment.
const SEGMENT: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// One path segment, escaped.
pub fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, SEGMENT).to_string()
}

/// Whether a key has parts that URLs take for steps and not for names.
pub(crate) fn has_steps(key: &str) -> bool {
    key.split('/').any(|part| matches!(part, "." | ".."))
}

/// A key of an object, escaped, as the last of a path. Its slashes separate segments, unless one of these were a step: then all
/// of the key is one segment, for nodes decode slashes that are escaped, too.
pub(crate) fn key_path(key: &str) -> String {
    if has_steps(key) {
        return segment(key);
    }
    key.split('/').map(segment).collect::<Vec<_>>().join("/")
}

impl Api {
    /// A client of the node at this place. Nothing is sent yet.
    pub fn new(location: Location) -> Result<Api, ClientError> {
        Api::with_read_timeout(location, READ_TIMEOUT)
    }

    fn with_read_timeout(location: Location, read_timeout: Duration) -> Result<Api, ClientError> {
        let unusable = |source| ClientError::unreachable(&location.url, source);
        let http = client().read_timeout(read_timeout).build().map_err(unusable)?;
        let patient = client().build().map_err(unusable)?;
        let token = location.token.map(std::sync::Arc::new);
        let on_silence: OnSilence = std::sync::Arc::new(|_, _| {});
        Ok(Api { base: location.url, token, http, patient, read_timeout, on_silence })
    }

    /// The same node; `told` is called when it takes its time to answer.
    pub fn on_silence(self, told: OnSilence) -> Api {
        Api { on_silence: told, ..self }
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
    ///
    /// # Errors
    /// [`ClientError::Unaddressable`].
    pub(crate) fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ClientError> {
        self.request_by(&self.http, method, path)
    }

    /// As [`Api::request`], for what [`Waiting`] alone puts an end to.
    pub(crate) fn patient_request(&self, method: Method, path: &str) -> Result<RequestBuilder, ClientError> {
        self.request_by(&self.patient, method, path)
    }

    fn request_by(
        &self,
        client: &reqwest::Client,
        method: Method,
        path: &str,
    ) -> Result<RequestBuilder, ClientError> {
        let request = client.request(method, self.address(path)?);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        })
    }

    /// The URL of a path. One that whoever reads URLs takes for a way to another place is refused: what stands in the path are
    /// names that people choose, and one of them may be `..`.
    fn address(&self, path: &str) -> Result<Url, ClientError> {
        let url =
            Url::parse(&format!("{}{path}", self.base)).map_err(|_| ClientError::Url(self.base.clone()))?;
        let names = path.split('?').next().unwrap_or(path);
        match url.path().ends_with(names) {
            true => Ok(url),
            false => Err(ClientError::Unaddressable(names.to_owned())),
        }
    }

    /// Sends a request; an answer that is no success becomes [`ClientError::Refused`].
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        self.send_waiting(request, Waiting::work()).await
    }

    /// As [`Api::send`], of what changes nothing and is answered at once.
    pub(crate) async fn ask(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        self.send_waiting(request, Waiting::question()).await
    }

    /// As [`Api::send`], and waits as it is told.
    pub(crate) async fn send_waiting(
        &self,
        request: RequestBuilder,
        waiting: Waiting,
    ) -> Result<Response, ClientError> {
        let response = self.answer(request, waiting).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    /// Sends a request; the answer, whatever it says.
    pub(crate) async fn answer(
        &self,
        request: RequestBuilder,
        waiting: Waiting,
    ) -> Result<Response, ClientError> {
        let (client, request) = request.build_split();
        let request = request.map_err(|source| ClientError::unreachable(&self.base, source))?;
        let url = request.url().to_string();
        let answer = waiting.at_most(self.read_timeout).wait(client.execute(request), &self.on_silence).await;
        answer.map_err(|source| ClientError::Unreachable { url, source })
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
        let body = response.bytes().await.map_err(|source| ClientError::unreachable(&url, source))?;
        serde_json::from_slice(&body)
            .map_err(|error| ClientError::Protocol { url, problem: error.to_string() })
    }

    /// `GET` of a JSON document.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let response = self.ask(self.request(Method::GET, path)?).await?;
        self.json(response).await
    }

    /// `GET` of a JSON document with a query.
    pub async fn get_query<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        let response = self.ask(self.request(Method::GET, path)?.query(query)).await?;
        self.json(response).await
    }

    /// `GET` of a page of a collection: an array, whose header says where the next page begins.
    pub async fn get_page<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Listing<T>, ClientError> {
        let response = self.ask(self.request(Method::GET, path)?.query(query)).await?;
        let next = next_cursor(&response)?;
        Ok(Listing { items: self.json(response).await?, next })
    }

    /// `GET` of a text, byte for byte.
    pub async fn get_text(&self, path: &str) -> Result<String, ClientError> {
        let response = self.send(self.request(Method::GET, path)?).await?;
        let url = response.url().to_string();
        response.text().await.map_err(|source| ClientError::unreachable(&url, source))
    }

    /// `POST` of a JSON document that answers with another.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let response = self.send(self.request(Method::POST, path)?.json(body)).await?;
        self.json(response).await
    }

    /// `PUT` of a JSON document that answers with another.
    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let response = self.send(self.request(Method::PUT, path)?.json(body)).await?;
        self.json(response).await
    }

    /// As [`Api::put`], for what may have nothing to answer; `None` then.
    pub(crate) async fn put_for<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Option<T>, ClientError> {
        let response = self.send(self.request(Method::PUT, path)?.json(body)).await?;
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
        let request = self.patient_request(Method::POST, path)?.json(body);
        let response = self.send_waiting(request, Waiting::endless()).await?;
        self.json(response).await
    }

    /// A request with a JSON body whose answer, if any, is of no interest.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<(), ClientError> {
        let request = self.request(method, path)?;
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
