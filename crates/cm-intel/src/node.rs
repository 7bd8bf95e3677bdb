//! What the connections share.

use std::collections::BTreeMap;
use std::sync::Arc;

use cm_net::{Identity, PeerKey};
use cm_runtime::Tasks;
use tokio::sync::watch;

use crate::IntelConfig;
use crate::pipeline::Pipeline;
use crate::spread::Spread;
use crate::wire::message::Hello;

/// The peers of version 2 that the operator named, by their key, with what they are called.
pub(crate) type KnownPeers = Arc<BTreeMap<PeerKey, String>>;

/// What the connections share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) pipeline: Pipeline,
    pub(crate) spread: Spread,
    pub(crate) config: Arc<IntelConfig>,
    pub(crate) identity: Identity,
    pub(crate) known: watch::Receiver<KnownPeers>,
    pub(crate) tasks: Tasks,
}

impl Shared {
    /// What this node says when it greets in the clear.
    pub(crate) fn hello(&self) -> Hello {
        match self.config.announced_port {
            // Without a port nobody can come by version 2.
            0 => Hello::default(),
            _ => Hello { versions: vec![1, 2], key: Some(self.identity.key().to_string()) },
        }
    }
}
