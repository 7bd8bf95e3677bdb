//! What a world has to come to once nothing goes wrong any more.

use std::time::Duration;

use super::World;
use crate::Network;
use crate::quorum::Violation;
use crate::quorum::client::Writer;
use crate::quorum::node::FLUSH_MAX;

/// How long a cluster without faults may take to be as good as new.
const RECOVERY: Duration = Duration::from_secs(30);

impl World {
    pub(super) fn recover(&mut self) -> Result<(), Violation> {
        self.calm = true;
        self.network = Network::default();
        for node in 0..self.nodes.len() {
            self.nodes[node].paused_until = Duration::ZERO;
            self.nodes[node].flush_max = FLUSH_MAX;
            self.nodes[node].copy_max = FLUSH_MAX;
            self.nodes[node].drift = 0;
            if self.nodes[node].replica.is_none() {
                self.start(node)?;
            }
        }
        let reached = self.run_until(self.now + RECOVERY, |world| world.is_idle())?;
        if !reached {
            return Err(Violation::NotAvailable { what: "the answers to all that was asked" });
        }
        // Every member writes once more, and reads what all have written.
        let members: Vec<usize> = self.members();
        for node in &members {
            self.write(*node, 0, None)?;
        }
        let reached = self.run_until(self.now + RECOVERY, |world| world.is_idle())?;
        if !reached {
            return Err(Violation::NotAvailable { what: "the last writes" });
        }
        for node in &members {
            self.read(*node, 0)?;
        }
        let even = |world: &World| world.is_idle() && world.is_even();
        if !self.run_until(self.now + RECOVERY, even)? {
            return Err(Violation::NotAvailable { what: "copies that are the same everywhere" });
        }
        Ok(())
    }

    /// The members as the leader knows them.
    pub(super) fn members(&self) -> Vec<usize> {
        let leader =
            self.nodes.iter().filter_map(|node| node.replica.as_ref()).find(|replica| replica.is_leader());
        let Some(members) = leader.map(|leader| leader.status().members) else { return Vec::new() };
        (0..self.nodes.len()).filter(|node| members.get(self.nodes[*node].id).is_some()).collect()
    }

    /// Nobody waits for anything, and there is a leader.
    pub(super) fn is_idle(&self) -> bool {
        let members = self.members();
        let idle = |node: &usize| {
            let client = &self.nodes[*node].client;
            client.queue.is_empty() && client.reads.is_empty() && matches!(client.writer, Writer::Idle)
        };
        !members.is_empty() && members.iter().all(idle)
    }

    pub(super) fn is_even(&self) -> bool {
        let mut copies = self.members().into_iter().map(|node| &self.nodes[node].copy);
        let Some(first) = copies.next() else { return false };
        copies.all(|copy| copy.applied.at == first.applied.at)
    }
}
