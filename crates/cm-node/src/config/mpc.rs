//! Computations on secret shares.

use std::path::PathBuf;
use std::time::Duration;

use cm_dialects::evm::is_address;
use cm_dialects::shamira::NodeList;
use cm_mpc::PeerRow;
use cm_types::{PeerId, Sha256Digest};

use super::{AnchorUrl, ConfigError, MpcToml, wrong};

/// How this node takes part in computations.
#[derive(Clone, Debug)]
pub struct MpcSettings {
    /// What it is called among parties; its id unless told.
    pub name: Option<String>,
    /// Other nodes that may be parties.
    pub peers: Vec<(String, PeerRow)>,
    /// Which number each party has in jobs of the earlier system.
    pub nodes: NodeList,
    /// How long a run may take.
    pub run_within: Duration,
    /// For how long a party may say nothing.
    pub patience: Duration,
    /// Most runs at a time.
    pub runs_max: usize,
    /// Where signed results are recorded.
    pub anchor: Option<AnchorSettings>,
}

/// Where signed results are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnchorSettings {
    /// At the end of a file.
    File(PathBuf),
    /// In a ledger of the Ethereum kind.
    Ledger {
        /// The endpoint of its node.
        url: AnchorUrl,
        /// The account there.
        from: String,
        /// The address that transactions go to; the account itself without it.
        to: Option<String>,
    },
}

pub(super) fn settings(written: MpcToml) -> Result<MpcSettings, ConfigError> {
    let MpcToml {
        name,
        peers,
        nodes,
        run_within,
        patience,
        runs_max,
        anchor_file,
        anchor_url,
        anchor_from,
        anchor_to,
    } = written;
    if let Some(name) = name.as_ref().filter(|name| name.parse::<PeerId>().is_err()) {
        return Err(wrong("mpc.name", format!("`{name}` is no name: letters, digits and -_.:@+")));
    }
    let peers = peers.unwrap_or_default().iter().map(|text| peer(text)).collect::<Result<_, _>>()?;
    let seconds = |key, given: Option<u64>, default| match given.unwrap_or(default) {
        0 => Err(wrong(key, "must not be zero")),
        seconds => Ok(Duration::from_secs(seconds)),
    };
    let runs_max = runs_max.unwrap_or(16);
    if runs_max == 0 {
        return Err(wrong("mpc.runs_max", "must not be zero"));
    }
    Ok(MpcSettings {
        name,
        peers,
        nodes: nodes.map_or_else(|| Ok(NodeList::default()), |path| node_list(&path))?,
        run_within: seconds("mpc.run_within", run_within, 3600)?,
        patience: seconds("mpc.patience", patience, 30)?,
        runs_max,
        anchor: anchor(anchor_file, anchor_url, anchor_from, anchor_to)?,
    })
}

fn anchor(
    file: Option<PathBuf>,
    url: Option<AnchorUrl>,
    from: Option<String>,
    to: Option<String>,
) -> Result<Option<AnchorSettings>, ConfigError> {
    for (key, address) in [("mpc.anchor_from", &from), ("mpc.anchor_to", &to)] {
        if let Some(address) = address.as_deref().filter(|address| !is_address(address)) {
            return Err(wrong(key, format!("`{address}` is no address: 0x and 40 hexadecimal digits")));
        }
    }
    match (file, url, from) {
        (None, None, None) if to.is_none() => Ok(None),
        (Some(file), None, None) if to.is_none() => Ok(Some(AnchorSettings::File(file))),
        (Some(_), ..) => {
            Err(wrong("mpc.anchor_file", "results are recorded in a file or in a ledger, not in both"))
        }
        (None, Some(url), Some(from)) => {
            if !url.0.starts_with("https://") && !url.0.starts_with("http://") {
                return Err(wrong("mpc.anchor_url", "must begin with https:// or http://"));
            }
            Ok(Some(AnchorSettings::Ledger { url, from, to }))
        }
        (None, ..) => Err(wrong(
            "mpc.anchor_from",
            "goes together with `mpc.anchor_url`: an account, and where its ledger is",
        )),
    }
}

fn node_list(path: &std::path::Path) -> Result<NodeList, ConfigError> {
    let read = std::fs::read_to_string(path);
    let text = read.map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    NodeList::parse(&text).map_err(|error| wrong("mpc.nodes", format!("{}: {error}", path.display())))
}

/// `NAME=HOST:PORT#KEY`.
fn peer(text: &str) -> Result<(String, PeerRow), ConfigError> {
    let parsed = || {
        let (name, rest) = text.split_once('=')?;
        let (address, key) = rest.rsplit_once('#')?;
        let link_key: Sha256Digest = key.trim().parse().ok()?;
        let name: PeerId = name.trim().parse().ok()?;
        Some((name.to_string(), PeerRow { address: address.trim().to_owned(), link_key }))
    };
    let problem =
        "is not NAME=HOST:PORT#KEY; a node tells its key in its first line and by `cryptomesh mpc party`";
    parsed().ok_or_else(|| wrong("mpc.peers", format!("`{text}` {problem}")))
}
