//! The keys of identity providers: fetched when they are needed, kept for a while, never for long.
//!
//! Providers put new keys in the place of old ones. A key that is not known is a reason to ask again, but not for everybody who makes
//! one up: a provider is asked at most every [`ASKED_EVERY`]. Keys older than [`FRESH_FOR`] are asked for anew, and where the
//! provider cannot be reached, they serve until they are [`KEPT_FOR`] old. Everything that comes from a provider is bounded in size and
//! in time, and nobody is followed elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cm_http::{Failure, FailureClass};
use cm_kernel::identity::{ForeignKeys, KEY_SET_LEN_MAX, Provider, is_safe_url};
use reqwest::redirect::Policy;
use serde::Deserialize;

/// How long keys are taken for the present ones.
const FRESH_FOR: Duration = Duration::from_secs(10 * 60);
/// How long keys serve whose provider cannot be reached.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);
/// The least time between two questions to a provider.
const ASKED_EVERY: Duration = Duration::from_secs(30);
/// How long one answer of a provider may take, connecting included.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Most providers whose keys are remembered; beyond it, all are forgotten.
const REMEMBERED_MAX: usize = 256;
const DESCRIPTION_PATH: &str = "/.well-known/openid-configuration";

/// The keys of providers. Clones share them.
#[derive(Clone)]
pub(crate) struct KeySets {
    all: Arc<Mutex<HashMap<Source, Arc<Entry>>>>,
    asked_every: Duration,
}

impl Default for KeySets {
    fn default() -> Self {
        Self { all: Arc::default(), asked_every: ASKED_EVERY }
    }
}

/// Where keys come from: the issuer, and the URL that somebody gave.
type Source = (String, Option<String>);

/// Those of one provider; whoever asks it holds the lock, so that one asks and the others wait.
type Entry = tokio::sync::Mutex<Known>;

#[derive(Default)]
struct Known {
    keys: Option<(ForeignKeys, Instant)>,
    asked: Option<Instant>,
}

/// What a provider says of itself (OpenID Connect Discovery, section 3); the rest does not matter here.
#[derive(Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

/// What is wrong with a provider, for the log of who keeps the node.
#[derive(Debug, thiserror::Error)]
enum ProviderError {
    #[error("the provider cannot be reached")]
    Unreachable(#[from] reqwest::Error),
    #[error("the provider answers {0}")]
    Status(reqwest::StatusCode),
    #[error("the provider's answer is longer than {KEY_SET_LEN_MAX} bytes")]
    TooLong,
    #[error("the provider's description is not one of this issuer, or names no safe place of its keys")]
    Description,
    #[error("the provider has no usable keys")]
    Keys,
}

impl KeySets {
    /// The keys of a provider; `anew` if one was not among those that were given before. `None` if there is nothing newer.
    ///
    /// # Errors
    /// 503 if the provider cannot be asked and nothing recent is known of it.
    pub(crate) async fn of(&self, provider: &Provider, anew: bool) -> Result<Option<ForeignKeys>, Failure> {
        let entry = self.entry((provider.issuer.clone(), provider.keys_url.clone()));
        let mut known = entry.lock().await;
        let may_ask = known.asked.is_none_or(|asked| asked.elapsed() >= self.asked_every);
        let fresh = known.keys.as_ref().filter(|(_, since)| since.elapsed() < FRESH_FOR);
        match fresh {
            Some((keys, _)) if !anew => return Ok(Some(keys.clone())),
            Some(_) if !may_ask => return Ok(None),
            _ => {}
        }
        if may_ask {
            known.asked = Some(Instant::now());
            match fetch(provider).await {
                Ok(keys) => {
                    known.keys = Some((keys.clone(), Instant::now()));
                    return Ok(Some(keys));
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        issuer = provider.issuer,
                        error,
                        "keys of an identity provider not fetched"
                    );
                }
            }
        }
        let kept = known.keys.as_ref().filter(|(_, since)| since.elapsed() < KEPT_FOR);
        match kept {
            Some(_) if anew => Ok(None),
            Some((keys, _)) => Ok(Some(keys.clone())),
            None => {
                let message = "the identity provider cannot be asked for its keys; try again later";
                Err(Failure::new(FailureClass::Unavailable, message).with_retry_after(ASKED_EVERY))
            }
        }
    }

    fn entry(&self, source: Source) -> Arc<Entry> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED_MAX && !all.contains_key(&source) {
            all.clear();
        }
        Arc::clone(all.entry(source).or_default())
    }
}

async fn fetch(provider: &Provider) -> Result<ForeignKeys, ProviderError> {
    let client = reqwest::Client::builder().redirect(Policy::none()).timeout(ANSWERS_WITHIN).build()?;
    let url = match &provider.keys_url {
        Some(url) => url.clone(),
        None => {
            let base = provider.issuer.trim_end_matches('/');
            let bytes = get(&client, &format!("{base}{DESCRIPTION_PATH}")).await?;
            let found: Description =
                serde_json::from_slice(&bytes).map_err(|_| ProviderError::Description)?;
            if found.issuer != provider.issuer || !may_name(&provider.issuer, &found.jwks_uri) {
                return Err(ProviderError::Description);
            }
            found.jwks_uri
        }
    };
    ForeignKeys::parse(&get(&client, &url).await?).map_err(|_| ProviderError::Keys)
}

/// Whether an issuer may say that its keys are there. Where http is safe is on this very machine, which is nobody's business who is
/// not on it: somebody far away must not have this node ask its neighbours.
fn may_name(issuer: &str, url: &str) -> bool {
    is_safe_url(url) && (url.starts_with("https://") || issuer.starts_with("http://"))
}

async fn get(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, ProviderError> {
    let mut response = client.get(url).header("accept", "application/json").send().await?;
    if !response.status().is_success() {
        return Err(ProviderError::Status(response.status()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > KEY_SET_LEN_MAX {
            return Err(ProviderError::TooLong);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
