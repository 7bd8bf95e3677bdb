//! The nodes of a storage network: who is invited, who has joined, who leaves.
//!
//! Nodes that agree on one database by themselves know each other by the keys of their links. A newcomer has a key that nobody knows:
//! an administrator makes an **invitation**, a text with a secret and with the keys of some nodes of the network, so that
//! the newcomer is as sure of them as they are of it. It is good for one node, once, and for a short time.
//!
//! What is wanted is in tables here, on every node alike; whoever leads brings the members of the replicated log into line with it
//! ([`Kernel::wanted_nodes`]). So any node takes an administrator's word, and a leader that dies half-way is no harm.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cm_crypto::{Secret, digest, secret};
use cm_db::{Direction, KeyRange, Row, Table, WriteTx};
use cm_events::{EventVerb, NewEvent, Outcome};
use cm_policy::{List, Permit, Update};
use cm_types::{PeerId, PrincipalId, ResourceKind, ResourceRef, Sha256Digest, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::{Kernel, KernelError, OpContext};

/// The longest that an invitation may last.
pub const INVITATION_LASTS_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Invitations that are open at a time.
pub const INVITATIONS_MAX: usize = 64;
/// Nodes that are remembered, those included that have left.
const NODES_MAX: usize = 4096;
/// Nodes that an invitation names: if those cannot be reached, another invitation helps.
const DOORS_MAX: usize = 5;
/// The least time between two records of newcomers that were refused: strangers decide how many there are.
const REFUSED_INTERVAL: Duration = Duration::from_secs(60);
/// What an invitation begins with; the number is its version.
const PREFIX: &str = "cmjoin1";

/// The tables of this module.
pub(crate) const TABLES: &[&str] = &[Nodes::NAME, Invitations::NAME];

/// By the node's id.
struct Nodes;

impl Table for Nodes {
    const NAME: &'static str = "network_nodes";
    type Key = String;
    type Row = NetworkNode;
}

/// By id.
struct Invitations;

impl Table for Invitations {
    const NAME: &'static str = "network_invitations";
    type Key = String;
    type Row = Invited;
}

/// What is wanted of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodePhase {
    /// It was let in, and is about to get everything.
    Joining,
    /// It takes part.
    Member,
    /// It is to leave.
    Leaving,
    /// It has left, and never comes back under this id.
    Gone,
}

/// A node of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkNode {
    /// Its id.
    pub id: PeerId,
    /// The public key of its links, in hexadecimal digits.
    pub key: String,
    /// Where other nodes reach it, `HOST:PORT`.
    pub address: String,
    /// What is wanted of it.
    pub phase: NodePhase,
    /// Since when it is known.
    pub since: Timestamp,
}

impl Row for NetworkNode {}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Invited {
    secret: Sha256Digest,
    by: Option<PrincipalId>,
    expires_at: Timestamp,
    /// Who has used it: asking again, such a node is answered again, and nobody else is.
    used_by: Option<(PeerId, String)>,
}

impl Row for Invited {}

/// Whether the invitation is the one that is shown, and holds for that node. It is compared also where there is nothing to compare with: an
/// answer says nothing about ids.
fn holds(
    invited: Option<&Invited>,
    shown: &Sha256Digest,
    user: &(PeerId, String),
    now: Timestamp,
) -> Result<(), KernelError> {
    let expected = invited.map_or([0; 32], |row| *row.secret.as_bytes());
    let is_right = secret::constant_time_eq(&expected, shown.as_bytes());
    let is_theirs = |row: &Invited| row.used_by.as_ref().is_none_or(|used| used == user);
    let holds = is_right && invited.is_some_and(|row| row.expires_at > now && is_theirs(row));
    if holds { Ok(()) } else { Err(KernelError::NotInvited) }
}

/// Keeps refused newcomers from flooding the log: when one was recorded last, and how many were not since.
#[derive(Default)]
pub(crate) struct RefusedNodes(Mutex<Option<(Instant, u64)>>);

impl RefusedNodes {
    /// How many refusals a record about this one stands for; `None` if it is not to be recorded now.
    fn count(&self, now: Instant) -> Option<u64> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_mut() {
            Some((at, unrecorded)) if now.saturating_duration_since(*at) < REFUSED_INTERVAL => {
                *unrecorded += 1;
                None
            }
            recorded => {
                let unrecorded = recorded.map_or(0, |(_, unrecorded)| *unrecorded);
                *last = Some((now, 0));
                Some(unrecorded + 1)
            }
        }
    }
}

/// How a node is known and reached by one that joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkDoor {
    /// Its id.
    pub id: PeerId,
    /// The public key of its links, in hexadecimal digits.
    pub key: String,
    /// `HOST:PORT`.
    pub address: String,
}

/// An invitation as it is handed to whoever runs the newcomer. Its text is a secret.
#[derive(Debug)]
pub struct Invitation {
    /// Its id, which is no secret.
    pub id: String,
    /// What proves it.
    pub secret: Secret<String>,
    /// Whom to ask.
    pub doors: Vec<NetworkDoor>,
}

/// The text is no invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the text is no invitation; `cryptomesh cluster invite` prints one, a single line that begins with `cmjoin1.`"
)]
pub struct InvalidInvitation;

impl Invitation {
    /// The text that [`Invitation::parse`] reads.
    pub fn to_text(&self) -> Secret<String> {
        let doors: Vec<String> =
            self.doors.iter().map(|door| format!("{}@{}@{}", door.id, door.key, door.address)).collect();
        Secret::new(format!("{PREFIX}.{}.{}.{}", self.id, self.secret.expose(), doors.join(",")))
    }

    /// Reads an invitation; white space around it is passed over.
    ///
    /// # Errors
    /// [`InvalidInvitation`]
    pub fn parse(text: &str) -> Result<Self, InvalidInvitation> {
        let mut parts = text.trim().splitn(4, '.');
        let mut part = || parts.next().filter(|part| !part.is_empty()).ok_or(InvalidInvitation);
        let (prefix, id, secret, doors) = (part()?, part()?, part()?, part()?);
        let is_hex = |text: &str| text.len() <= 128 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if prefix != PREFIX || !is_hex(id) || !is_hex(secret) {
            return Err(InvalidInvitation);
        }
        let door = |text: &str| {
            let mut parts = text.splitn(3, '@');
            let mut part = || parts.next().ok_or(InvalidInvitation);
            let (id, key, address) = (part()?, part()?, part()?);
            let key: Sha256Digest = key.parse().map_err(|_| InvalidInvitation)?;
            let id = id.parse().map_err(|_| InvalidInvitation)?;
            Ok(NetworkDoor { id, key: key.to_string(), address: address.to_owned() })
        };
        let doors = doors.split(',').take(DOORS_MAX).map(door).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { id: id.to_owned(), secret: Secret::new(secret.to_owned()), doors })
    }
}

/// How a member stands at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Who.
    pub door: NetworkDoor,
    /// Whether it counts in majorities.
    pub votes: bool,
    /// Whether this node reaches it; `None` for itself.
    pub is_reached: Option<bool>,
}

/// The network as one of its nodes sees it at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkView {
    /// What the network is called.
    pub name: String,
    /// This node.
    pub own: Option<PeerId>,
    /// Who leads; `None` while nobody does, and nothing can be written.
    pub leader: Option<PeerId>,
    /// All members.
    pub members: Vec<Standing>,
}

impl Kernel {
    /// Says that this node is part of a network, and from where its present state is heard. Once; a second call changes nothing.
    pub fn join_network(&self, view: watch::Receiver<NetworkView>) {
        let _ = self.network_cell().set(view);
    }

    /// The network as this node sees it, without asking anybody; `None` for a node that is not part of one. No barrier is behind it:
    /// it is answered also without a majority.
    pub fn network(&self) -> Option<NetworkView> {
        self.network_cell().get().map(|view| view.borrow().clone())
    }

    /// May the actor change the network? It belongs to the first tenant: `tenant:update` there.
    pub async fn authorize_network(&self, op: &OpContext) -> Result<Permit<Update>, KernelError> {
        let permit = self.authorize::<Update>(op, ResourceKind::Tenant).await?;
        self.first_tenant_only(permit.tenant())?;
        Ok(permit)
    }

    /// May the actor see the network? `tenant:list` in the first tenant.
    pub async fn authorize_network_view(&self, op: &OpContext) -> Result<Permit<List>, KernelError> {
        let permit = self.authorize::<List>(op, ResourceKind::Tenant).await?;
        self.first_tenant_only(permit.tenant())?;
        Ok(permit)
    }

    fn first_tenant_only(&self, tenant: &TenantId) -> Result<(), KernelError> {
        match *tenant == TenantId::default_tenant() {
            true => Ok(()),
            false => Err(KernelError::NotFound(ResourceRef::new(ResourceKind::Tenant, "network"))),
        }
    }

    /// Makes an invitation for one node, which lasts so long, at most [`INVITATION_LASTS_MAX`].
    ///
    /// # Errors
    /// [`KernelError::NoNetwork`]; [`KernelError::TooManyInvitations`].
    pub async fn invite_node(
        &self,
        op: &OpContext,
        permit: &Permit<Update>,
        lasts: Duration,
    ) -> Result<(Invitation, Timestamp), KernelError> {
        let view = self.network().ok_or(KernelError::NoNetwork)?;
        let doors = view.members.into_iter().filter(|member| member.is_reached != Some(false));
        let doors = doors.map(|member| member.door).take(DOORS_MAX).collect();
        let invitation = Invitation {
            id: hex::encode(secret::random_bytes::<8>()),
            secret: Secret::new(hex::encode(secret::random_bytes::<32>())),
            doors,
        };
        let row = Invited {
            secret: digest::sha256(invitation.secret.expose().as_bytes()),
            by: permit.principal().cloned(),
            expires_at: Timestamp::from(self.clock().now() + lasts.min(INVITATION_LASTS_MAX)),
            used_by: None,
        };
        let event = self.network_event(
            Some(op),
            "network.node-invited",
            Outcome::Allowed,
            [
                ("invitation", Value::from(invitation.id.clone())),
                ("expires_at", Value::from(row.expires_at.to_string())),
            ],
        );
        let (id, expires_at) = (invitation.id.clone(), row.expires_at);
        let (events, now) = (self.events().clone(), self.now());
        self.db()
            .write(move |tx| {
                if sweep(tx, now)? >= INVITATIONS_MAX {
                    return Err(KernelError::TooManyInvitations);
                }
                tx.insert::<Invitations>(&id, &row)?;
                events.append(tx, event)?;
                Ok(())
            })
            .await?;
        Ok((invitation, expires_at))
    }

    /// Lets a node in that presents an invitation and has proved the key of its links. What comes back are the keys that all nodes of
    /// the catalogue share; they are for that node alone. Until it takes part it may ask again, by the same invitation or another, and say
    /// another address: an answer may have been lost.
    ///
    /// # Errors
    /// [`KernelError::NotInvited`], whatever is wrong with the invitation: who has none is not told more.
    pub async fn admit_node(
        &self,
        invitation: &str,
        presented: &Secret<String>,
        door: NetworkDoor,
    ) -> Result<Secret<String>, KernelError> {
        let facts =
            [("node", Value::from(door.id.to_string())), ("address", Value::from(door.address.clone()))];
        let outcome = self.let_in(invitation, presented, door, facts.clone()).await;
        if matches!(outcome, Err(KernelError::NotInvited))
            && let Some(count) = self.refused_nodes().count(self.clock().monotonic())
        {
            let [node, address] = facts;
            let facts = [node, address, ("count", Value::from(count))];
            let refused = self.network_event(None, "network.node-refused", Outcome::Denied, facts);
            if let Err(error) = self.record_event(refused).await {
                tracing::error!(error = &error as &dyn std::error::Error, "refusal not recorded");
            }
        }
        outcome.map(|()| self.keys().bundle())
    }

    async fn let_in(
        &self,
        invitation: &str,
        presented: &Secret<String>,
        door: NetworkDoor,
        facts: [(&'static str, Value); 2],
    ) -> Result<(), KernelError> {
        let shown = digest::sha256(presented.expose().as_bytes());
        let user = (door.id.clone(), door.key.clone());
        // Read first: strangers take no turns of the writer from those who have something to write. It may have been made elsewhere
        // a moment ago.
        self.freshen().await?;
        let (id, asks, now) = (invitation.to_owned(), user.clone(), self.now());
        self.db().read(move |tx| holds(tx.get::<Invitations>(&id)?.as_ref(), &shown, &asks, now)).await?;

        let admitted = self.network_event(None, "network.node-admitted", Outcome::Allowed, facts);
        let (invitation, events, clock) =
            (invitation.to_owned(), self.events().clone(), self.clock().clone());
        self.db()
            .write(move |tx| {
                let now = Timestamp::from(clock.now());
                let row = tx.get::<Invitations>(&invitation)?;
                holds(row.as_ref(), &shown, &user, now)?;
                let Some(row) = row else { return Err(KernelError::NotInvited) };
                // An id is a node's for ever, and a key is one node's.
                let is_same = |node: &NetworkNode| {
                    node.id == door.id && node.key == door.key && node.phase == NodePhase::Joining
                };
                let takes = |node: &NetworkNode| {
                    node.id == door.id || node.key == door.key && node.phase != NodePhase::Gone
                };
                let known: Vec<_> = all(tx)?.into_iter().filter(takes).collect();
                if !known.iter().all(is_same) {
                    return Err(KernelError::NotInvited);
                }
                let same = known.into_iter().next();
                if row.used_by.is_some() && same.as_ref().is_some_and(|node| node.address == door.address) {
                    return Ok(());
                }
                tx.put::<Invitations>(&invitation, &Invited { used_by: Some(user), ..row })?;
                let NetworkDoor { id, key, address } = door;
                let since = same.map_or(now, |node| node.since);
                let node = NetworkNode { id, key, address, phase: NodePhase::Joining, since };
                tx.put::<Nodes>(&node.id.to_string(), &node)?;
                events.append(tx, admitted)?;
                Ok(())
            })
            .await
    }

    /// Notes the first node of a new network, which nobody has invited.
    pub async fn note_founder(&self, door: NetworkDoor) -> Result<(), KernelError> {
        let now = self.now();
        self.db()
            .write(move |tx| {
                if !all(tx)?.is_empty() {
                    return Ok(());
                }
                let NetworkDoor { id, key, address } = door;
                let node = NetworkNode { id, key, address, phase: NodePhase::Member, since: now };
                Ok(tx.put::<Nodes>(&node.id.to_string(), &node)?)
            })
            .await
    }

    /// Says that a node is to leave. It does once whoever leads has taken it out; what it stores has to be elsewhere before.
    ///
    /// # Errors
    /// [`KernelError::NoSuchNode`]; [`KernelError::LastNode`]; [`KernelError::NodeStores`] as long as it may have the only copy of something.
    pub async fn remove_node(
        &self,
        op: &OpContext,
        _permit: &Permit<Update>,
        id: &PeerId,
    ) -> Result<NetworkNode, KernelError> {
        if !self.may_leave_storage(id).await? {
            return Err(KernelError::NodeStores(id.clone()));
        }
        let (events, objects, id) = (self.events().clone(), self.objects().clone(), id.clone());
        let event = self.network_event(
            Some(op),
            "network.node-removed",
            Outcome::Allowed,
            [("node", Value::from(id.to_string()))],
        );
        self.db()
            .write(move |tx| {
                let stays = |node: &NetworkNode| node.phase == NodePhase::Member && node.id != id;
                let node = tx.get::<Nodes>(&id.to_string())?.filter(|node| node.phase != NodePhase::Gone);
                let mut node = node.ok_or_else(|| KernelError::NoSuchNode(id.clone()))?;
                if !all(tx)?.iter().any(stays) {
                    return Err(KernelError::LastNode);
                }
                if node.phase != NodePhase::Leaving {
                    objects.forget_peer(tx, &id)?;
                    node.phase = NodePhase::Leaving;
                    tx.put::<Nodes>(&id.to_string(), &node)?;
                    forget_invitations(tx, &id)?;
                    events.append(tx, event)?;
                }
                Ok(node)
            })
            .await
    }

    /// All nodes that are wanted, or were: for whoever brings the members into line.
    pub async fn wanted_nodes(&self) -> Result<Vec<NetworkNode>, KernelError> {
        self.db()
            .read(|tx| {
                let rows = tx.range::<Nodes>(KeyRange::all(), Direction::Forward, NODES_MAX)?;
                Ok(rows.into_iter().map(|(_, node)| node).collect())
            })
            .await
    }

    /// Notes that a node has come to where it was wanted: one that joined takes part, one that was to leave is gone. Nothing happens if
    /// something else is wanted of it by now than `was`.
    pub async fn node_settled(&self, id: &PeerId, was: NodePhase) -> Result<(), KernelError> {
        let id = id.clone();
        let phase = match was {
            NodePhase::Joining => NodePhase::Member,
            NodePhase::Leaving => NodePhase::Gone,
            NodePhase::Member | NodePhase::Gone => return Ok(()),
        };
        self.db()
            .write(move |tx| {
                let node = tx.get::<Nodes>(&id.to_string())?.filter(|node| node.phase == was);
                let Some(node) = node else { return Ok(()) };
                Ok(tx.put::<Nodes>(&id.to_string(), &NetworkNode { phase, ..node })?)
            })
            .await
    }

    fn network_event<const N: usize>(
        &self,
        op: Option<&OpContext>,
        verb: &'static str,
        outcome: Outcome,
        facts: [(&str, Value); N],
    ) -> NewEvent {
        NewEvent {
            tenant: TenantId::default_tenant(),
            actor: op.and_then(|op| op.principal().cloned()),
            verb: EventVerb::fixed(verb),
            resource: None,
            request: op.map(|op| op.request.clone()),
            outcome,
            facts: facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>(),
        }
    }
}

fn all(tx: &WriteTx<'_>) -> Result<Vec<NetworkNode>, cm_db::DbError> {
    let rows = tx.range::<Nodes>(KeyRange::all(), Direction::Forward, NODES_MAX)?;
    Ok(rows.into_iter().map(|(_, node)| node).collect())
}

/// Removes the invitations that have ended; how many are left.
fn sweep(tx: &mut WriteTx<'_>, now: Timestamp) -> Result<usize, cm_db::DbError> {
    let rows = tx.range::<Invitations>(KeyRange::all(), Direction::Forward, INVITATIONS_MAX * 2)?;
    let mut left = 0;
    for (id, row) in rows {
        if row.expires_at <= now {
            tx.delete::<Invitations>(&id)?;
        } else {
            left += 1;
        }
    }
    Ok(left)
}

/// Removes the invitations that a node has used: once it is to leave it is not answered again.
fn forget_invitations(tx: &mut WriteTx<'_>, id: &PeerId) -> Result<(), cm_db::DbError> {
    let rows = tx.range::<Invitations>(KeyRange::all(), Direction::Forward, INVITATIONS_MAX * 2)?;
    for (invitation, row) in rows {
        if row.used_by.is_some_and(|(user, _)| user == *id) {
            tx.delete::<Invitations>(&invitation)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
