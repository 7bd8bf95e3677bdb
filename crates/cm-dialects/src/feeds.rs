//! Feeds of threat intelligence, asked over HTTP: collections of TAXII 2.1 servers and directories of MISP ([`cm_intel::feeds`], ADR 0060).
//!
//! In this module, as in [`evm`](crate::evm), the node is the client. Who adds a feed chooses whom this node talks to, hence only administrators do. Only `http` and
//! `https` are spoken; redirects are not followed and proxies of the environment not used, so that nobody but them chooses an
//! address; a secret goes over `https` or to this machine only. What comes back is foreign: bounded in bytes and time, never decompressed, and
//! parsed off the runtime.

mod misp;
mod taxii;

#[cfg(test)]
mod tests;

use std::time::Duration;

use cm_intel::feeds::{Credential, FeedFailure, FeedKind, FeedSource, Pulling, Target};
use cm_kernel::Kernel;
use reqwest::header::{ACCEPT, HeaderMap};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};

/// What is taken of a feed at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedLimits {
    /// How long an answer may take, from the first byte asked to the last that comes.
    pub answers_within: Duration,
    /// Longest page of objects, event or manifest, in bytes.
    pub answer_len_max: usize,
    /// Objects that are asked for at a time.
    pub page_len: usize,
    /// Pages, or events, that are asked for in one pull; the next one goes on behind them.
    pub pages_max: usize,
}

impl Default for FeedLimits {
    fn default() -> Self {
        Self {
            answers_within: Duration::from_secs(60),
            answer_len_max: 16 << 20,
            page_len: 500,
            pages_max: 2000,
        }
    }
}

/// No client can be made.
#[derive(Debug, thiserror::Error)]
#[error("the client that asks feeds of threat intelligence cannot be made")]
pub struct NoClient(#[from] reqwest::Error);

/// Asks feeds over HTTP. Cheap to clone.
#[derive(Clone)]
pub struct HttpFeeds {
    client: reqwest::Client,
    kernel: Kernel,
    limits: FeedLimits,
}

impl HttpFeeds {
    /// With these limits.
    ///
    /// # Errors
    /// When a client cannot be made.
    pub fn new(kernel: Kernel, limits: FeedLimits) -> Result<Self, NoClient> {
        let client = reqwest::Client::builder().redirect(Policy::none()).timeout(limits.answers_within);
        Ok(Self { client: client.no_proxy().build()?, kernel, limits })
    }

    /// Asks for a document.
    async fn get(
        &self,
        url: Url,
        accept: &'static str,
        credential: Option<&Credential>,
    ) -> Result<(HeaderMap, Vec<u8>), FeedFailure> {
        let request = self.client.get(url).header(ACCEPT, accept);
        let request = match credential {
            None => request,
            Some(Credential::Bearer(token)) => request.bearer_auth(token.expose()),
            Some(Credential::Basic(name, password)) => request.basic_auth(name, Some(password.expose())),
        };
        let mut response = request.send().await.map_err(failure)?;
        refused(response.status())?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failure)? {
            if bytes.len() + chunk.len() > self.limits.answer_len_max {
                return Err(FeedFailure::TooLong);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((std::mem::take(response.headers_mut()), bytes))
    }

    /// Reads what came, off the runtime: it may be mebibytes.
    async fn parse<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, FeedFailure> + Send + 'static,
    ) -> Result<T, FeedFailure> {
        // A reader that panicked read something that it should have refused.
        let parsed = self.kernel.tasks().spawn_blocking("feed-parse", read).await;
        parsed.unwrap_or(Err(FeedFailure::Garbage))
    }
}

/// What the library says of an error has the address in it, and whatever is in that.
fn failure(error: reqwest::Error) -> FeedFailure {
    if error.is_timeout() { FeedFailure::Slow } else { FeedFailure::Unreachable }
}

fn refused(status: StatusCode) -> Result<(), FeedFailure> {
    Err(match status {
        StatusCode::OK => return Ok(()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => FeedFailure::Credential,
        StatusCode::NOT_FOUND | StatusCode::GONE => FeedFailure::Absent,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => FeedFailure::Busy,
        status if status.is_redirection() => FeedFailure::Redirected,
        status if status.is_server_error() => FeedFailure::Busy,
        _ => FeedFailure::Odd,
    })
}

/// The address of a feed, if it is one that can be asked.
fn address(target: &Target) -> Result<Url, &'static str> {
    let url = Url::parse(&target.url).map_err(|_| "is no address; it begins with https://")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with https:// or http://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not carry a credential; give it as username and secret");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must have neither a query nor a fragment");
    }
    if target.credential.is_some() && url.scheme() == "http" && !is_own_machine(&url) {
        return Err("must begin with https:// where there is a secret, which would be sent in the clear");
    }
    Ok(url)
}

fn is_own_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// An address below another one.
fn below(base: &Url, names: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(names);
    }
    url
}

impl FeedSource for HttpFeeds {
    fn check(&self, target: &Target) -> Result<(), &'static str> {
        address(target).map(drop)
    }

    fn begin(&self, target: Target, position: &str) -> Box<dyn Pulling> {
        match target.kind {
            FeedKind::Taxii => Box::new(taxii::Taxii::new(self.clone(), target, position)),
            FeedKind::Misp => Box::new(misp::Misp::new(self.clone(), target, position)),
        }
    }
}
