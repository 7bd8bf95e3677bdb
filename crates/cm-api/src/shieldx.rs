//! ShieldX, which runs choreographies: the one service that this API passes requests on to.

pub use reqwest::Error as HttpClientError;

use std::sync::Arc;
use std::time::Duration;

use cm_http::{Failure, FailureClass};
use serde_json::Value;

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for a whole answer; less than a client of ours waits.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A client of ShieldX. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ShieldX {
    http: reqwest::Client,
    base: Arc<str>,
}

impl ShieldX {
    /// A client of the ShieldX below this base URL, such as `http://localhost:20000/api/v1`. Nothing is sent yet.
    ///
    /// # Errors
    /// The means of TLS are missing on this machine.
    pub fn new(base: &str) -> Result<Self, HttpClientError> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            // It answers where it is configured to be; anything else is a mistake, or an attack.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { http, base: base.trim_end_matches('/').into() })
    }

    /// Has a choreography run. The caller's credential stays here.
    ///
    /// # Errors
    /// 424 when ShieldX cannot be reached, is too slow, refuses, or answers with what is no JSON. The detail `effect`
    /// says whether it may have begun all the same: `none` or `unknown`.
    pub(crate) async fn run(&self, choreography: &Value) -> Result<Value, Failure> {
        let request = self.http.post(format!("{}/choreography/run", self.base)).json(choreography);
        let mut answer = request.send().await.map_err(|error| {
            let effect = if error.is_connect() { "none" } else { "unknown" };
            failed("ShieldX cannot be reached", effect).with_cause(error)
        })?;
        let status = answer.status();
        if !status.is_success() {
            let effect = if status.is_client_error() { "none" } else { "unknown" };
            let message = format!("ShieldX answered with status {}", status.as_u16());
            return Err(failed(message, effect).with_detail("upstream_status", status.as_u16()));
        }
        let mut body = Vec::new();
        while let Some(part) = answer
            .chunk()
            .await
            .map_err(|error| failed("the answer of ShieldX broke off", "unknown").with_cause(error))?
        {
            body.extend_from_slice(&part);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(failed("the answer of ShieldX is too long", "unknown"));
            }
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body)
            .map_err(|error| failed("the answer of ShieldX is no JSON", "unknown").with_cause(error))
    }
}

fn failed(message: impl Into<String>, effect: &str) -> Failure {
    Failure::new(FailureClass::UpstreamFailed, message)
        .with_detail("upstream", "shieldx")
        .with_detail("effect", effect)
}
