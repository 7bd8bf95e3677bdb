//! What hostile nodes do.

use cm_intel::gossip::Packet;

use super::{FORGED, World, key};

/// Forgeries that a flooding node sends each time it is told the time.
const FLOOD: usize = 50;
/// How many nodes' links a hostile node makes that pretends to be many.
pub(super) const SYBILS: usize = 5;
/// Of a thousand honest nodes so many are to be eclipsed.
pub(super) const VICTIMS_PERMILLE: u64 = 20;
/// Of so many events one is censored.
const CENSORED_EVERY: u32 = 5;

/// What hostile nodes do, besides keeping to meshes and passing no event on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Forge events, some a second, and announce what they do not have.
    Forge,
    /// Forge two hundred and fifty a second each.
    Flood,
    /// Forge under the names of true events that are just being published, so that those come too late or their reporters are blamed.
    Frame,
    /// Be in five times as many places as others.
    Sybil,
    /// Turn all their links on one honest node of fifty, which has but two of its own.
    Eclipse,
    /// Behave in every way, but for one event of five, which they keep back whenever they are asked for it.
    Censor,
}

impl Attack {
    /// All of them.
    pub const ALL: [Attack; 6] =
        [Attack::Forge, Attack::Flood, Attack::Frame, Attack::Sybil, Attack::Eclipse, Attack::Censor];

    /// The name, for tables.
    pub fn name(self) -> &'static str {
        match self {
            Attack::Forge => "forge",
            Attack::Flood => "flood",
            Attack::Frame => "frame",
            Attack::Sybil => "pretend to be many",
            Attack::Eclipse => "eclipse",
            Attack::Censor => "censor",
        }
    }
}

/// Whether censors keep an event back.
pub(super) fn is_censored(number: u32) -> bool {
    number.is_multiple_of(CENSORED_EVERY)
}

impl World {
    /// Whether a node keeps an event back that it should send.
    pub(super) fn withholds(&self, at: usize, number: u32) -> bool {
        self.hostile[at] && (self.attack != Attack::Censor || is_censored(number))
    }

    /// What a hostile node does of its own accord.
    pub(super) fn harm(&mut self, at: usize) {
        let forged = match self.attack {
            Attack::Censor => 0,
            Attack::Flood => FLOOD,
            Attack::Forge | Attack::Frame | Attack::Sybil | Attack::Eclipse => 1,
        };
        for _ in 0..forged {
            self.forge(at);
        }
    }

    /// Sends a forgery to some neighbour who still listens, and announces what is not there.
    fn forge(&mut self, at: usize) {
        let cut = &self.cut;
        let listens = |to: &usize| !cut.contains(&(at.min(*to), at.max(*to)));
        let others: Vec<usize> =
            self.links.range((at, 0)..(at + 1, 0)).map(|(_, to)| *to).filter(listens).collect();
        if others.is_empty() {
            return;
        }
        let to = others[self.rng.below(others.len() as u64) as usize];
        // Framing forges in the name of events that there are: of what is under way at the moment.
        let announced = match self.published.len() {
            next if self.attack == Attack::Frame => next as u32,
            _ => self.rng.below(1 << 30) as u32 | FORGED,
        };
        self.send(at, to, Packet::Event(announced | FORGED));
        self.send(at, to, Packet::IHave(vec![key(announced)]));
    }
}
