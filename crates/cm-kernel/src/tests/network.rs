//! Who is let into a network.

use std::time::Duration;

use cm_types::PeerId;
use tokio::sync::watch;

use super::*;
use crate::{Invitation, NetworkDoor, NetworkView, NodePhase};

fn door(at: u8) -> NetworkDoor {
    NetworkDoor {
        id: format!("{at:016x}").parse::<PeerId>().unwrap(),
        key: hex::encode([at; 32]),
        address: format!("host-{at}.example:7070"),
    }
}

/// A network of one node.
async fn network() -> House {
    let house = House::open().await;
    house.kernel.join_network(watch::channel(NetworkView::default()).1);
    house.kernel.note_founder(door(1)).await.unwrap();
    house
}

impl House {
    async fn invite(&self) -> Invitation {
        let permit = self.kernel.authorize_network(&self.admin).await.unwrap();
        self.kernel.invite_node(&self.admin, &permit, Duration::from_secs(600)).await.unwrap().0
    }

    async fn ask(&self, invitation: &Invitation, door: NetworkDoor) -> bool {
        match self.kernel.admit_node(&invitation.id, &invitation.secret, door).await {
            Ok(_) => true,
            Err(KernelError::NotInvited) => false,
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn remove_node(&self, id: &PeerId) {
        let permit = self.kernel.authorize_network(&self.admin).await.unwrap();
        self.kernel.remove_node(&self.admin, &permit, id).await.unwrap();
    }

    async fn phase(&self, id: &PeerId) -> NodePhase {
        let nodes = self.kernel.wanted_nodes().await.unwrap();
        nodes.into_iter().find(|node| node.id == *id).unwrap().phase
    }
}

#[tokio::test]
async fn who_joins_may_ask_again_until_it_takes_part() {
    let house = network().await;
    let (first, second) = (house.invite().await, house.invite().await);
    assert!(house.ask(&first, door(2)).await && house.ask(&first, door(2)).await);
    assert!(!house.ask(&first, door(3)).await, "an invitation is for one node");
    let impostor = NetworkDoor { key: door(3).key, ..door(2) };
    assert!(!house.ask(&second, impostor).await, "an id belongs to a key");
    let elsewhere = NetworkDoor { address: "elsewhere.example:7070".into(), ..door(2) };
    assert!(house.ask(&second, elsewhere.clone()).await, "the answer to the first was lost");
    let nodes = house.kernel.wanted_nodes().await.unwrap();
    assert!(nodes.iter().any(|node| node.id == elsewhere.id && node.address == elsewhere.address));
    house.kernel.node_settled(&elsewhere.id, NodePhase::Joining).await.unwrap();
    assert!(!house.ask(&first, door(2)).await && !house.ask(&second, elsewhere).await, "it takes part");
}

#[tokio::test]
async fn who_is_removed_is_not_answered_again() {
    let house = network().await;
    let (used, id) = (house.invite().await, door(2).id);
    assert!(house.ask(&used, door(2)).await);
    house.remove_node(&id).await;
    assert!(!house.ask(&used, door(2)).await);
    assert!(!house.ask(&used, door(3)).await);
    // What was on its way as it joined does not say that it has left.
    house.kernel.node_settled(&id, NodePhase::Joining).await.unwrap();
    assert_eq!(house.phase(&id).await, NodePhase::Leaving);
    house.kernel.node_settled(&id, NodePhase::Leaving).await.unwrap();
    assert_eq!(house.phase(&id).await, NodePhase::Gone);
    assert!(!house.ask(&house.invite().await, door(2)).await, "an id is a node's for ever");
}

#[tokio::test]
async fn strangers_do_not_fill_the_log() {
    let house = network().await;
    let bogus = Invitation { id: "0a".into(), secret: Secret::new("0b".into()), doors: Vec::new() };
    for at in 2..12 {
        assert!(!house.ask(&bogus, door(at)).await);
    }
    let permit = house.kernel.authorize::<List>(&house.admin, ResourceKind::Event).await.unwrap();
    let filter = EventFilter { verb_prefix: Some("network.node-refused".into()), ..EventFilter::default() };
    let refused = house.kernel.event_page(&permit, 0, PageLimit::default(), filter).await.unwrap();
    assert_eq!(refused.items.len(), 1, "{refused:?}");
}
