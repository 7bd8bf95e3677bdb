//! A node that joins.

use std::time::Duration;

use bytes::Bytes;
use cm_crypto::Secret;
use cm_identity::NodeKeys;
use cm_kernel::kernel::{DATABASE_FILE, KEYS_DIR};
use cm_kernel::{Database, Invitation, NetworkDoor};
use cm_net::{Contact, Identity, LinkError, Refusal};
use cm_quorum::ClusterId;
use serde::{Deserialize, Serialize};

use super::found::{check, new_member};
use super::state::{CLUSTER_FILE, Phase, State};
use super::{from_text, member_of, peer_of};
use crate::data_dir::DataDir;
use crate::{Config, NodeError, link_key};

/// For one node of the network to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(20);

/// What a newcomer asks, in JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct Question {
    pub(super) version: u32,
    pub(super) invitation: String,
    pub(super) secret: String,
    pub(super) node: String,
    pub(super) address: String,
}

/// What it is answered, in JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct Welcome {
    pub(super) network: String,
    /// The members, each with its contact.
    pub(super) members: Vec<(String, String)>,
    /// [`NodeKeys::bundle`]
    pub(super) keys: String,
}

/// The version of both.
pub(super) const FORMAT: u32 = 1;

/// Asks a network to let the node of a new data directory in, by an invitation, and keeps what it is given. The network's and the
/// node's names. It takes part with its first start.
///
/// # Errors
/// [`NodeError::InNetwork`]; [`NodeError::HasData`] for a directory that has data; [`NodeError::NotInvited`];
/// [`NodeError::NobodyAnswers`].
pub async fn join(config: &Config, invitation: &str, address: &str) -> Result<(String, String), NodeError> {
    if !matches!(config.database, Database::InDataDir) {
        return Err(NodeError::DatabaseServer);
    }
    let invitation = Invitation::parse(invitation).map_err(NodeError::Invitation)?;
    let (path, address) = (config.data_dir.clone(), address.to_owned());
    let prepared = tokio::task::spawn_blocking(move || prepare(&path, address)).await;
    let (held, identity, state) = prepared.map_err(|_| cm_db::DbError::Panicked)??;
    let question = Question {
        version: FORMAT,
        invitation: invitation.id.clone(),
        secret: invitation.secret.expose().clone(),
        node: state.own.to_string(),
        address: state.address.clone(),
    };
    let question =
        serde_json::to_vec(&question).map_err(|_| NodeError::Invitation(cm_kernel::InvalidInvitation))?;
    let welcome = ask(&identity, &invitation.doors, question.into()).await?;
    let keeping = move || keep(&held, state, welcome);
    tokio::task::spawn_blocking(keeping).await.map_err(|_| cm_db::DbError::Panicked)?
}

/// The name is chosen, and kept, before anybody is asked: asked again, the network answers again, to nobody else.
fn prepare(path: &std::path::Path, address: String) -> Result<(DataDir, Identity, State), NodeError> {
    let held = DataDir::hold(path)?;
    if held.path().join(DATABASE_FILE).exists() {
        return Err(NodeError::HasData(held.path().to_owned()));
    }
    let identity = link_key::open_or_create(held.path())?;
    let state = match State::read(held.path())? {
        Some(state) if state.phase == Phase::Asking => State { address, ..state },
        Some(_) => return Err(NodeError::InNetwork(held.path().join(CLUSTER_FILE))),
        None => {
            State { phase: Phase::Asking, cluster: None, own: new_member(), address, members: Vec::new() }
        }
    };
    check(state.own, &Contact { key: identity.key(), address: state.address.clone() })?;
    state.write(held.path())?;
    Ok((held, identity, state))
}

/// Asks one after the other. A refusal is everybody's.
async fn ask(identity: &Identity, doors: &[NetworkDoor], question: Bytes) -> Result<Welcome, NodeError> {
    for door in doors {
        let Ok(key) = door.key.parse() else { continue };
        let contact = Contact { key, address: door.address.clone() };
        match cm_net::visit(identity, &door.id, &contact, question.clone(), ASK_TIMEOUT).await {
            Ok(answer) => {
                let answer = Secret::new(answer.to_vec());
                return serde_json::from_slice(answer.expose())
                    .map_err(|_| NodeError::NobodyAnswers(Some(LinkError::Malformed(door.id.clone()))));
            }
            Err(LinkError::Refused { refusal: Refusal::NotAllowed, .. }) => {
                return Err(NodeError::NotInvited);
            }
            Err(error) => {
                tracing::warn!(node = %door.id, address = door.address, %error, "node of the network does not answer");
            }
        }
    }
    Err(NodeError::NobodyAnswers(None))
}

fn keep(held: &DataDir, state: State, welcome: Welcome) -> Result<(String, String), NodeError> {
    let Welcome { network, members, keys } = welcome;
    let keys = Secret::new(keys);
    let malformed = || NodeError::NobodyAnswers(Some(LinkError::Malformed(peer_of(state.own))));
    let cluster = u128::from_str_radix(&network, 16).map(ClusterId).map_err(|_| malformed())?;
    let member =
        |(id, contact): &(String, String)| Some((member_of(&id.parse().ok()?)?, from_text(contact)?));
    let members = members.iter().map(member).collect::<Option<Vec<_>>>().ok_or_else(malformed)?;
    NodeKeys::install(&held.path().join(KEYS_DIR), &keys)?;
    let own = state.own.to_string();
    State { phase: Phase::Joining, cluster: Some(cluster), members, ..state }.write(held.path())?;
    Ok((cluster.to_string(), own))
}
