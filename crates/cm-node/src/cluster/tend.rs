//! What a running member does for its network.

use std::time::Duration;

use bytes::Bytes;
use cm_crypto::Secret;
use cm_db::{ChangeFailed, Quorum};
use cm_kernel::{Kernel, KernelError, NetworkDoor, NetworkNode, NetworkView, NodePhase, Standing};
use cm_net::{Contact, Directory, LinkState, Links, PeerKey, Refusal};
use cm_quorum::{Change, ChangeRefused, MemberId, Members, Status};
use cm_runtime::Tasks;
use cm_types::PeerId;
use tokio::sync::{mpsc, oneshot, watch};

use super::join::{FORMAT, Question, Welcome};
use super::{Opened, from_text, member_of, peer_of, to_text};
use crate::NodeError;

/// Members that vote. More would make each write wait for more disks and survive hardly more losses; others have everything, too.
const VOTERS_MAX: usize = 7;
/// How often is looked whether something is to be done, unless something tells.
const ROUND: Duration = Duration::from_millis(500);
/// How long who is refused waits for it: nobody tries many invitations.
const REFUSAL_DELAY: Duration = Duration::from_secs(1);

/// Says that the node is part of a network, lets newcomers in, and brings members into line while this node leads.
pub(crate) async fn tend(opened: &Opened, kernel: &Kernel, tasks: &Tasks) -> Result<(), NodeError> {
    let own = peer_of(opened.own);
    // Also of a later start: the one of the founding may have ended in between.
    if is_alone(&opened.quorum.status().borrow().members, opened.own) {
        kernel.note_founder(door(&own, &opened.contact)).await?;
    }
    let keeper = Keeper {
        own: opened.own,
        name: opened.cluster.to_string(),
        quorum: opened.quorum.clone(),
        links: opened.links.clone(),
        kernel: kernel.clone(),
    };
    let (sender, view) = watch::channel(keeper.view());
    kernel.join_network(view);
    tasks.spawn("cluster-keep", keeper.clone().keep(sender, tasks.clone()));
    // Links outlive the kernel: what they hand over is answered by a task that does not.
    let (visits, waiting) = mpsc::channel(VISITS_MAX);
    opened.links.on_guest(move |key, question| {
        let visits = visits.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            let visit = Visit { key, question, answer };
            visits.try_send(visit).map_err(|_| Refusal::Busy)?;
            answered.await.unwrap_or(Err(Refusal::Unavailable))
        }
    });
    tasks.spawn("cluster-door", keeper.answer(waiting, tasks.clone()));
    Ok(())
}

/// Newcomers that wait to be answered.
const VISITS_MAX: usize = 8;

/// A newcomer at the door.
struct Visit {
    key: PeerKey,
    question: Bytes,
    answer: oneshot::Sender<Result<Bytes, Refusal>>,
}

/// Whether nobody else is a member. Such a node has founded the network, or all others have left.
fn is_alone(members: &Members, own: MemberId) -> bool {
    members.get(own).is_some() && members.iter().count() == 1
}

fn door(id: &PeerId, contact: &Contact) -> NetworkDoor {
    NetworkDoor { id: id.clone(), key: contact.key.to_string(), address: contact.address.clone() }
}

#[derive(Clone)]
struct Keeper {
    own: MemberId,
    name: String,
    quorum: Quorum,
    links: Links,
    kernel: Kernel,
}

impl Keeper {
    fn status(&self) -> Status {
        self.quorum.status().borrow().clone()
    }

    fn view(&self) -> NetworkView {
        let status = self.status();
        let standing = |(id, member): (MemberId, &cm_quorum::Member)| {
            let (peer, contact) = (peer_of(id), from_text(&member.contact)?);
            let is_up = self.links.status(&peer).is_some_and(|status| status.state == LinkState::Up);
            let is_reached = (id != self.own).then_some(is_up);
            Some(Standing { door: door(&peer, &contact), votes: member.voter, is_reached })
        };
        NetworkView {
            name: self.name.clone(),
            own: Some(peer_of(self.own)),
            leader: status.leader.map(peer_of),
            members: status.members.iter().filter_map(standing).collect(),
        }
    }

    async fn keep(self, view: watch::Sender<NetworkView>, tasks: Tasks) {
        let token = tasks.token();
        let mut status = self.quorum.status();
        let mut was_member = true;
        loop {
            let now = self.view();
            view.send_if_modified(|known| {
                let changed = *known != now;
                *known = now;
                changed
            });
            let members = self.status().members;
            let is_member = members.is_empty() || members.get(self.own).is_some();
            if was_member && !is_member {
                tracing::error!("this node was removed from the network; stop it and remove its data");
            }
            was_member = is_member;
            if self.status().leader == Some(self.own)
                && let Err(error) = self.bring_into_line().await
            {
                tracing::debug!(error = &error as &dyn std::error::Error, "members not brought into line");
            }
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(ROUND) => {}
                changed = status.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // What comes together is looked at together.
                    tokio::time::sleep(ROUND / 5).await;
                }
            }
        }
    }

    /// One step for each node that is not yet where it is wanted.
    async fn bring_into_line(&self) -> Result<(), KernelError> {
        // A new leader may not have all yet that was wanted under the one before it.
        self.kernel.freshen().await?;
        for node in self.kernel.wanted_nodes().await? {
            let Some(step) = next_step(&node, &self.status()) else { continue };
            match step {
                Step::Change(change) => match self.quorum.change(change).await {
                    Ok(()) => {}
                    // It is told again soon.
                    Err(ChangeFailed::Refused(ChangeRefused::Busy | ChangeRefused::Behind)) => {}
                    Err(error) => {
                        tracing::warn!(node = %node.id, error = &error as &dyn std::error::Error, "member not changed");
                        return Ok(());
                    }
                },
                Step::Settled => {
                    self.kernel.node_settled(&node.id, node.phase).await?;
                    tracing::info!(node = %node.id, address = node.address, was = ?node.phase, "member is where it was wanted");
                }
            }
        }
        Ok(())
    }

    /// Answers newcomers, each in its own time.
    async fn answer(self, mut visits: mpsc::Receiver<Visit>, tasks: Tasks) {
        let token = tasks.token();
        loop {
            let visit = tokio::select! {
                () = token.cancelled() => return,
                visit = visits.recv() => visit,
            };
            let Some(Visit { key, question, answer }) = visit else { return };
            let (keeper, gone) = (self.clone(), token.clone());
            tasks.spawn("cluster-welcome", async move {
                tokio::select! {
                    () = gone.cancelled() => {}
                    // Whoever is gone by then asks again.
                    said = keeper.welcome(key, question) => drop(answer.send(said)),
                }
            });
        }
    }

    /// Answers a newcomer.
    async fn welcome(&self, key: PeerKey, question: Bytes) -> Result<Bytes, Refusal> {
        let question: Question = serde_json::from_slice(&question).map_err(|_| Refusal::Malformed)?;
        let Question { version, invitation, secret, node, address } = question;
        let secret = Secret::new(secret);
        let id: PeerId = node.parse().map_err(|_| Refusal::Malformed)?;
        let contact = Contact { key, address };
        if version != FORMAT
            || member_of(&id).is_none()
            || to_text(&contact).len() > cm_quorum::CONTACT_LEN_MAX
            || Directory::new([(id.clone(), contact.clone())]).is_err()
        {
            return Err(Refusal::Malformed);
        }
        let keys = match self.kernel.admit_node(&invitation, &secret, door(&id, &contact)).await {
            Ok(keys) => keys,
            Err(KernelError::NotInvited) => {
                tracing::warn!(node = %id, %key, "newcomer without an invitation that holds turned away");
                tokio::time::sleep(REFUSAL_DELAY).await;
                return Err(Refusal::NotAllowed);
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "newcomer cannot be let in now");
                return Err(Refusal::Unavailable);
            }
        };
        let members = self.status().members;
        let members = members.iter().map(|(id, member)| (id.to_string(), member.contact.clone())).collect();
        let welcome = Welcome { network: self.name.clone(), members, keys: keys.expose().clone() };
        serde_json::to_vec(&welcome).map(Bytes::from).map_err(|_| Refusal::Unavailable)
    }
}

/// What brings a node nearer to where it is wanted.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Change(Change),
    Settled,
}

/// `None` if it is there, or is none of the log's members and never will be.
fn next_step(node: &NetworkNode, status: &Status) -> Option<Step> {
    let id = member_of(&node.id)?;
    let member = status.members.get(id);
    let contact = format!("{}@{}", node.key, node.address);
    match (node.phase, member) {
        (NodePhase::Gone | NodePhase::Member, None) => None,
        (NodePhase::Leaving, None) => Some(Step::Settled),
        (NodePhase::Leaving | NodePhase::Gone, Some(_)) => Some(Step::Change(Change::Remove { id })),
        (NodePhase::Joining, None) => Some(Step::Change(Change::Add { id, contact })),
        // It asked again, from elsewhere.
        (NodePhase::Joining, Some(member)) if member.contact != contact => {
            Some(Step::Change(Change::Add { id, contact }))
        }
        (NodePhase::Joining | NodePhase::Member, Some(member)) => {
            let may_vote = status.members.voters().count() < VOTERS_MAX;
            if !member.voter && may_vote {
                return Some(Step::Change(Change::Promote { id }));
            }
            (node.phase == NodePhase::Joining).then_some(Step::Settled)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: MemberId, phase: NodePhase) -> NetworkNode {
        let since = cm_types::Timestamp::from_micros(0);
        NetworkNode { id: peer_of(id), key: "k".into(), address: "a:1".into(), phase, since }
    }

    #[test]
    fn members_come_step_by_step_to_where_they_are_wanted() {
        let (one, other) = (MemberId(1), MemberId(2));
        let mut status = Status {
            leader: Some(one),
            term: 1,
            last: 9,
            commit: 9,
            applied: 9,
            version: 9,
            members: Members::new().with_voter(one, "k@a:1"),
        };
        let step = |status: &Status, phase| next_step(&node(other, phase), status);
        assert_eq!(next_step(&node(one, NodePhase::Member), &status), None);
        let add = || Some(Step::Change(Change::Add { id: other, contact: "k@a:1".into() }));
        assert_eq!(step(&status, NodePhase::Joining), add());
        assert_eq!(step(&status, NodePhase::Member), None, "whoever was taken out is not taken in again");
        let elsewhere = cm_quorum::Member { voter: false, contact: "k@a:2".into() };
        status.members = status.members.with(other, elsewhere);
        assert_eq!(step(&status, NodePhase::Joining), add(), "it asked again from another address");
        let learner = cm_quorum::Member { voter: false, contact: "k@a:1".into() };
        status.members = status.members.with(other, learner);
        assert_eq!(step(&status, NodePhase::Joining), Some(Step::Change(Change::Promote { id: other })));
        status.members = status.members.with_voter(other, "k@a:1");
        assert_eq!(step(&status, NodePhase::Joining), Some(Step::Settled));
        assert_eq!(step(&status, NodePhase::Leaving), Some(Step::Change(Change::Remove { id: other })));
        let remove = Some(Step::Change(Change::Remove { id: other }));
        assert_eq!(step(&status, NodePhase::Gone), remove, "whoever is gone does not vote");
        status.members = Members::new().with_voter(one, "k@a:1");
        assert_eq!(step(&status, NodePhase::Leaving), Some(Step::Settled));
        assert_eq!(step(&status, NodePhase::Gone), None);
        assert!(is_alone(&status.members, one) && !is_alone(&status.members, other));
    }
}
