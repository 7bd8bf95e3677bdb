//! Which node it is, among those that share a catalogue and its keys.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;

use cm_types::ResourceId;
use serde::{Deserialize, Serialize};

/// The name of a node. It is made with the data directory and stays with it; a copied data directory is another node
/// only once this file is removed from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(ResourceId);

impl NodeId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Reads the file, or makes it with a new name. Blocking.
    pub(crate) fn open_or_create(path: &Path) -> std::io::Result<NodeId> {
        match std::fs::read_to_string(path) {
            Ok(text) => text.parse().map_err(|_| {
                let reason = format!("{} holds no id of a node", path.display());
                std::io::Error::new(std::io::ErrorKind::InvalidData, reason)
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(path),
            Err(error) => Err(error),
        }
    }
}

/// Whole or not at all, and durable: work is claimed in this name.
fn create(path: &Path) -> std::io::Result<NodeId> {
    let id = NodeId(ResourceId::random());
    let temporary = path.with_extension("tmp");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    if let Some(dir) = path.parent() {
        std::fs::File::open(dir)?.sync_all()?;
    }
    Ok(id)
}

impl FromStr for NodeId {
    type Err = <ResourceId as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.trim().parse().map(NodeId)
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.id");
        let first = NodeId::open_or_create(&path).unwrap();
        assert_eq!(NodeId::open_or_create(&path).unwrap(), first);
        assert_ne!(NodeId::open_or_create(&dir.path().join("other.id")).unwrap(), first);
        std::fs::write(&path, "no id, but words").unwrap();
        assert!(NodeId::open_or_create(&path).is_err());
    }
}
