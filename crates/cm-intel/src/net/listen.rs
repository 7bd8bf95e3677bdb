//! Who connects.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cm_runtime::{CancellationToken, Tasks};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{encrypted, legacy};
use crate::link::{Party, told_apart};
use crate::node::Shared;

/// How long somebody may be silent before it is taken for a peer of version 1.
const FIRST_BYTE_WAIT: Duration = Duration::from_secs(2);
/// The first byte of a TLS record that holds a handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// After an accept that failed, for want of descriptors as a rule.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How many connections each address has.
#[derive(Debug, Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

/// One connection of an address; counted for as long as it is there.
struct Counted {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    fn enter(self: &Arc<Self>, address: IpAddr, max: usize) -> Option<Counted> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Counted { addresses: self.clone(), address })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Accepts connections until the tasks are told to end. Whoever is too many is closed at once.
pub(crate) async fn run(listener: TcpListener, shared: Shared, tasks: Tasks) {
    let open = Arc::new(Semaphore::new(shared.config.connections_max));
    let addresses = Arc::new(Addresses::default());
    let token = tasks.token();
    let accepting = async {
        loop {
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let address = told_apart(from.ip());
            let counted = addresses.enter(address, shared.config.connections_per_address_max);
            let permit = open.clone().try_acquire_owned();
            let (Some(counted), Ok(permit)) = (counted, permit) else {
                metrics::counter!("cryptomesh_intel_connections_refused_total").increment(1);
                continue;
            };
            let (shared, cut) = (shared.clone(), token.child_token());
            tasks.spawn("intel-connection", async move {
                serve(stream, from, &shared, cut).await;
                drop((counted, permit));
            });
        }
    };
    token.run_until_cancelled(accepting).await;
}

/// Finds out which version a connection speaks, and speaks it.
async fn serve(stream: TcpStream, from: SocketAddr, shared: &Shared, cut: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, peer = %from, "connection lost at once");
        return;
    }
    let mut first = [0];
    let peeked = timeout(FIRST_BYTE_WAIT, stream.peek(&mut first));
    let peeked = tokio::select! {
        () = cut.cancelled() => return,
        peeked = peeked => peeked,
    };
    match peeked {
        Ok(Ok(0) | Err(_)) => {}
        Ok(Ok(_)) if first[0] == TLS_HANDSHAKE => {
            let (stream, key) = match encrypted::accept(stream, shared).await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::info!(peer = %from, %error, "handshake failed; add the peer with its key if it is one of yours");
                    return;
                }
            };
            let party = Party::Key(key.to_string());
            let links = shared.pipeline.links();
            if links.is_refused(&party) || !encrypted::prevails(shared, key, false) {
                return;
            }
            let name = shared.known.borrow().get(&key).cloned().unwrap_or_else(|| key.to_string());
            let (entered, outgoing) = links.enter(name.clone(), from.to_string(), false, 2, party, cut);
            tracing::info!(peer = %name, "peer connected");
            let ended = encrypted::run(stream, entered, outgoing, shared).await;
            tracing::info!(peer = %name, reason = %ended, "peer gone");
        }
        Ok(Ok(_)) | Err(_) if shared.config.legacy => {
            // By address only here: behind the same one there may be somebody who shows a key.
            let party = Party::at(from.ip());
            if shared.pipeline.links().is_refused(&party) {
                return;
            }
            let name = from.to_string();
            let (entered, outgoing) = shared.pipeline.links().enter(name.clone(), name, false, 1, party, cut);
            tracing::info!(peer = %from, "peer of version 1 connected");
            let ended = legacy::run(stream, entered, outgoing, shared.pipeline.clone(), shared.hello()).await;
            tracing::info!(peer = %from, reason = %ended, "peer of version 1 gone");
        }
        Ok(Ok(_)) | Err(_) => tracing::debug!(peer = %from, "version 1 is switched off"),
    }
}
