//! Following one object by a watch.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use cm_runtime::Backoff;
use futures::StreamExt as _;
use kube::api::{WatchEvent, WatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::timed;

/// For how long the cluster shall keep one watch, in seconds; less than what it allows.
const WATCH_SECS: u32 = 240;
/// After which a watch that says nothing, not even that it ends, is begun anew.
const WATCH_TIMEOUT: Duration = Duration::from_secs(WATCH_SECS as u64 + 15);
/// Between a watch that ended and the next.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Looks at an object whenever it changes, `None` when there is none, until `see` has seen enough.
///
/// Goes on for ever while the cluster does not answer; the caller bounds the time.
pub(super) async fn until<K, R>(api: &Api<K>, name: &str, mut see: impl FnMut(Option<&K>) -> Option<R>) -> R
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
    loop {
        if let Ok(found) = timed(api.get_opt(name)).await {
            backoff.reset();
            if let Some(enough) = see(found.as_ref()) {
                return enough;
            }
            let version = found.and_then(|found| found.meta().resource_version.clone());
            if let Some(enough) = watch(api, name, &version.unwrap_or_default(), &mut see).await {
                return enough;
            }
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// One watch, until it ends.
async fn watch<K, R>(
    api: &Api<K>,
    name: &str,
    version: &str,
    see: &mut impl FnMut(Option<&K>) -> Option<R>,
) -> Option<R>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let params = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(WATCH_SECS);
    let mut events = pin!(timed(api.watch(&params, version)).await.ok()?);
    loop {
        let event = tokio::time::timeout(WATCH_TIMEOUT, events.next()).await.ok()??;
        let enough = match event.ok()? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => see(Some(&object)),
            WatchEvent::Deleted(_) => see(None),
            WatchEvent::Bookmark(_) => None,
            // As when the version is too old: a look at the present state comes next.
            WatchEvent::Error(_) => return None,
        };
        if enough.is_some() {
            return enough;
        }
    }
}
