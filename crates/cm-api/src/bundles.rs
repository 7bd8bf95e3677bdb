//! Newer bundles of trust domains of others: fetched from the place that who pinned the first one named.
//!
//! A bundle that is older than it says it may be is asked for in the background, when somebody needs it; one in which a key is missing
//! is asked for at once. A place is asked at most every [`ASKED_EVERY`], whatever happens. What it says is bounded in size and time, nobody is
//! followed elsewhere, and where it cannot be reached or says something unusable, the bundle that is there stays.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cm_kernel::identity::TrustedDomain;
use cm_kernel::identity::svid::BUNDLE_LEN_MAX;
use cm_kernel::{Kernel, KernelError, OpContext};
use cm_types::TrustDomain;
use reqwest::redirect::Policy;

/// How old a bundle may become that says nothing of it: what the standard recommends (SPIFFE Trust Domain and Bundle, section 4.1.2).
const REFRESH_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// The least time between two questions to a place.
const ASKED_EVERY: Duration = Duration::from_secs(30);
/// How long one answer may take, connecting included.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// When which place was asked last. Clones share it. There are as many as trust domains may be trusted, and those that were.
#[derive(Clone, Default)]
pub(crate) struct Bundles(Arc<Mutex<HashMap<TrustDomain, Instant>>>);

/// Why there is no newer bundle.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleError {
    /// Nobody said where.
    #[error("the trust domain has no endpoint; pin its bundle anew, or say where bundles are")]
    NoEndpoint,
    /// Asked a moment ago.
    #[error("the endpoint was asked a moment ago; try again in {} seconds", ASKED_EVERY.as_secs())]
    TooSoon,
    /// Neither connected nor answered, or by somebody else.
    #[error("the endpoint cannot be reached, or is not known by its certificate")]
    Unreachable(#[from] reqwest::Error),
    /// Another answer than a document.
    #[error("the endpoint answers {0}")]
    Status(reqwest::StatusCode),
    /// Far too much, or no text.
    #[error("the endpoint's answer is no text of at most {BUNDLE_LEN_MAX} bytes")]
    Answer,
    /// What the kernel says of it.
    #[error("the bundle is not taken over")]
    Kernel(#[from] KernelError),
}

impl Bundles {
    /// Asks for a newer bundle now; whether there was one.
    pub(crate) async fn refresh(
        &self,
        kernel: &Kernel,
        op: &OpContext,
        trusted: TrustedDomain,
    ) -> Result<bool, BundleError> {
        if trusted.endpoint.is_none() {
            return Err(BundleError::NoEndpoint);
        }
        if !self.may_ask(&trusted.domain) {
            return Err(BundleError::TooSoon);
        }
        let document = fetch(&trusted).await?;
        Ok(kernel.refresh_domain(op, trusted, document).await?)
    }

    /// Asks in the background, if the bundle is older than it may be.
    pub(crate) fn keep_recent(&self, kernel: &Kernel, trusted: &TrustedDomain) {
        let hint = trusted.bundle().ok().and_then(|bundle| bundle.refresh_secs()).map(Duration::from_secs);
        let age = kernel.now().since(trusted.refreshed_at);
        if trusted.endpoint.is_none() || age < hint.unwrap_or(REFRESH_DEFAULT) {
            return;
        }
        let (bundles, kernel, trusted) = (self.clone(), kernel.clone(), trusted.clone());
        let op = OpContext::node(kernel.tasks().token());
        kernel.tasks().clone().spawn("trust-bundle", async move {
            let domain = trusted.domain.clone();
            match bundles.refresh(&kernel, &op, trusted).await {
                Ok(_) | Err(BundleError::TooSoon) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%domain, error, "bundle of a trust domain not refreshed");
                }
            }
        });
    }

    fn may_ask(&self, domain: &TrustDomain) -> bool {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those whose time has passed say nothing any more.
        asked.retain(|_, at| at.elapsed() < ASKED_EVERY);
        let may = !asked.contains_key(domain);
        if may {
            asked.insert(domain.clone(), Instant::now());
        }
        may
    }
}

async fn fetch(trusted: &TrustedDomain) -> Result<String, BundleError> {
    let mut client = reqwest::Client::builder().redirect(Policy::none()).timeout(ANSWERS_WITHIN);
    if let Some(text) = &trusted.endpoint_certificates {
        client = client.tls_certs_only(reqwest::Certificate::from_pem_bundle(text.as_bytes())?);
    }
    let endpoint = trusted.endpoint.as_deref().ok_or(BundleError::NoEndpoint)?;
    let mut response = client.build()?.get(endpoint).header("accept", "application/json").send().await?;
    if !response.status().is_success() {
        return Err(BundleError::Status(response.status()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > BUNDLE_LEN_MAX {
            return Err(BundleError::Answer);
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| BundleError::Answer)
}
