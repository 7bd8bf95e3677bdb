//! Computations on secret shares: the engine that carries plans out between parties.
//!
//! A computation is a record of the catalogue at the node that leads it. Its plan names the parties, and every
//! party is a node with a kernel of its own that knows the others by their keys. The way of a run:
//!
//! 1. Owners of inputs split them and seal each share for its party and for this very plan (`cm_computation::client`); the
//!    leading node keeps the sealed shares, which it cannot open.
//! 2. The leader proposes the run to the other parties over links ([`cm_net::Links`]). A party reads the plan for itself, and refuses
//!    one with strangers or other keys.
//! 3. The parties meet: one connection for each pair ([`cm_net::Direct`]), fresh keys, and a thread at each end that computes
//!    (`cm_shares::Machine`) and moves its frames itself.
//! 4. Each party seals its shares of the results to those who learn them. The leader keeps them; receivers put them together.
//!
//! If the plan says so, the parties sign what they have come to by a key that they have together, in the same conversation (`party`,
//! [`group_keys`]); the leader makes a proof of it that anybody can verify, and records its digest elsewhere ([`anchor`]).
//!
//! A run never repeats: its id is noted in the journal before it starts, and its keys are made for it alone, so that no
//! randomness serves twice. What an earlier process was taken from has failed, and says so.
//!
//! Reading order: [`computations`], [`lead`], `run`, `guest`, `party`, `meeting`, `conversation`, `patience`, `journal`, [`group_keys`], [`anchor`],
//! [`error`].

pub mod anchor;
pub mod computations;
mod control;
mod conversation;
pub mod error;
pub mod group_keys;
mod guest;
mod journal;
pub mod lead;
mod meeting;
mod party;
mod patience;
pub mod registry;
mod run;

pub use anchor::{Anchor, AnchorError, AnchorFile, Anchored};
pub use computations::{CLIENT_KEY_FILE, Computations, MpcConfig, Peer, SEALING_KEY_FILE};
pub use error::{ComputationError, ErrorClass, Failure};
pub use group_keys::{HeldKey, Sign};
pub use journal::{JOURNAL_FILE, PeerRow, SHARES_DIR};
pub use lead::{NewComputation, Progress, state_of};
pub use party::Told;
pub use registry::{Client, MessageUse, Registered};

// What faces need of the pure part. They name no other crate for it.
pub use cm_computation as computation;

#[cfg(test)]
mod tests;
