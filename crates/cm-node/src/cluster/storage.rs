//! The part of a node in the storage network.

use cm_kernel::Kernel;
use cm_kernel::objects::{Offer, Pace, Peering};
use cm_kernel::storage::Domain;

use super::{Opened, peer_of};
use crate::NodeError;
use crate::config::Config;
use crate::data_dir::DataDir;

/// What share of the room that is free at first a node offers unless told, in percent: other files grow, too.
const OFFERED_PERCENT: u64 = 90;

/// Lets other nodes keep chunks here, and this one keep them there. Before anybody is served.
pub(crate) async fn connect_storage(
    opened: &Opened,
    config: &Config,
    data_dir: &DataDir,
    kernel: &Kernel,
) -> Result<(), NodeError> {
    let own = peer_of(opened.own);
    let domain = match &config.object_zone {
        Some(zone) => zone.clone(),
        // A node of which nothing else is known fails alone.
        None => Domain::parse(own.as_str()).expect("an id is a short name without control characters"),
    };
    let capacity_bytes = match config.object_capacity {
        Some(capacity) => capacity,
        None => free_bytes(data_dir)? / 100 * OFFERED_PERCENT,
    };
    let offer = Offer { capacity_bytes: capacity_bytes.max(1), domain };
    let peering = Peering { own, links: opened.links.clone(), offer: Some(offer), pace: Pace::default() };
    Ok(kernel.connect_storage(peering).await?)
}

fn free_bytes(data_dir: &DataDir) -> Result<u64, NodeError> {
    let path = data_dir.path();
    let found = rustix::fs::statvfs(path)
        .map_err(|error| NodeError::DataDir { path: path.to_owned(), source: error.into() })?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}
