//! What a data directory says of its node's part in a network.

use std::path::{Path, PathBuf};

use cm_net::Contact;
use cm_quorum::{ClusterId, MemberId};
use serde::{Deserialize, Serialize};

use super::{from_text, to_text};
use crate::NodeError;
use crate::data_dir::write_private;

/// The file, within the data directory.
pub(crate) const CLUSTER_FILE: &str = "cluster.json";
/// The log that the nodes agree on, within the data directory.
pub(super) const LOG_FILE: &str = "cluster.log";
/// Far more than a thousand members take.
const LEN_MAX: u64 = 1 << 20;
/// The version of the file.
const FORMAT: u32 = 1;

/// How far a node has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    /// It has asked to be let in, or is about to: again it asks in the same name.
    Asking,
    /// It was let in, and has nothing yet.
    Joining,
    /// It is the first, and has not begun.
    Founding,
    /// It has begun. From here on, a missing log or database is a loss.
    Member,
}

/// The file's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// Unknown until it was let in.
    pub(super) cluster: Option<ClusterId>,
    pub(super) own: MemberId,
    /// Where others reach it.
    pub(super) address: String,
    /// The members that were known last, to begin with.
    pub(super) members: Vec<(MemberId, Contact)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    phase: Phase,
    network: Option<String>,
    node: String,
    address: String,
    members: Vec<WrittenMember>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMember {
    node: String,
    contact: String,
}

/// Whether the data directory is a node's of a network.
pub(crate) fn is_member(data_dir: &Path) -> bool {
    data_dir.join(CLUSTER_FILE).exists()
}

impl State {
    /// What the data directory says; `None` if its node is alone. Blocking.
    pub(super) fn read(data_dir: &Path) -> Result<Option<Self>, NodeError> {
        let path = data_dir.join(CLUSTER_FILE);
        let damaged = || NodeError::ClusterFile(path.clone());
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() > LEN_MAX => return Err(damaged()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(NodeError::DataDir { path, source }),
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|source| NodeError::DataDir { path: path.clone(), source })?;
        let written: Written = serde_json::from_str(&text).map_err(|_| damaged())?;
        State::parse(written).map(Some).ok_or_else(damaged)
    }

    fn parse(written: Written) -> Option<Self> {
        let Written { version, phase, network, node, address, members } = written;
        let member = |text: &str| u64::from_str_radix(text, 16).ok().map(MemberId);
        let network = match network {
            Some(text) => Some(ClusterId(u128::from_str_radix(&text, 16).ok()?)),
            None => None,
        };
        let members = members
            .iter()
            .map(|written| Some((member(&written.node)?, from_text(&written.contact)?)))
            .collect::<Option<Vec<_>>>()?;
        (version == FORMAT).then_some(State {
            phase,
            cluster: network,
            own: member(&node)?,
            address,
            members,
        })
    }

    /// Writes the file, whole or not at all. Blocking.
    pub(super) fn write(&self, data_dir: &Path) -> Result<(), NodeError> {
        let State { phase, cluster, own, address, members } = self;
        let members = members
            .iter()
            .map(|(id, contact)| WrittenMember { node: id.to_string(), contact: to_text(contact) });
        let written = Written {
            version: FORMAT,
            phase: *phase,
            network: cluster.map(|cluster| cluster.to_string()),
            node: own.to_string(),
            address: address.clone(),
            members: members.collect(),
        };
        let path: PathBuf = data_dir.join(CLUSTER_FILE);
        let text =
            serde_json::to_string_pretty(&written).map_err(|_| NodeError::ClusterFile(path.clone()))?;
        write_private(&path, &text).map_err(|source| NodeError::DataDir { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(State::read(dir.path()).unwrap(), None);
        let key = cm_net::PeerKey(cm_types::Sha256Digest::from_bytes([1; 32]));
        let state = State {
            phase: Phase::Joining,
            cluster: Some(ClusterId(u128::MAX)),
            own: MemberId(7),
            address: "a.example:7070".into(),
            members: vec![(MemberId(u64::MAX), Contact { key, address: "b.example:1".into() })],
        };
        state.write(dir.path()).unwrap();
        assert_eq!(State::read(dir.path()).unwrap(), Some(state));
        std::fs::write(dir.path().join(CLUSTER_FILE), "{}").unwrap();
        assert!(matches!(State::read(dir.path()), Err(NodeError::ClusterFile(_))));
    }
}
