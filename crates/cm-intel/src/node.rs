//! What the connections share.

use std::sync::Arc;

use crate::IntelConfig;
use crate::pipeline::Pipeline;
use crate::wire::message::Hello;

/// What the connections share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) pipeline: Pipeline,
    pub(crate) config: Arc<IntelConfig>,
    /// The key by which this node is known on links of version 2.
    pub(crate) key: Option<String>,
}

impl Shared {
    /// What this node says when it greets.
    pub(crate) fn hello(&self) -> Hello {
        match &self.key {
            Some(key) => Hello { versions: vec![1, 2], key: Some(key.clone()) },
            None => Hello::default(),
        }
    }
}
