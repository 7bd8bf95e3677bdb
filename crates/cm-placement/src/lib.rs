//! Which peers of a storage network hold which bytes, and how that follows failures, changes and load.
//!
//! Everything here is a pure function of facts: no clock, no randomness, no I/O. Nodes that know the same [`Layout`]
//! compute the same holders, bit for bit, on every machine; what is decided by load ([`elastic`]) is decided by one
//! node and told to the others.
//!
//! Reading order: [`Peer`] and [`Layout`] (who takes part, in which epoch), [`Redundancy`] (how much may be lost),
//! [`Layout::holders`] (weighted rendezvous hashing with spread over failure domains), [`moves`] (from one epoch to
//! the next), [`History`] (where bytes may still be while they move), [`Placing`] (writing while some peers are down), [`mend`] (what one chunk lacks),
//! [`repair_order`], [`may_delete`] (deleting without locks); then [`elastic`] (copies that follow the load) and
//! [`apac`] (policies of replication).

pub mod apac;
pub mod elastic;
mod error;
mod history;
mod holders;
mod layout;
mod mending;
mod moves;
mod peer;
mod placing;
mod redundancy;
mod repair;
mod rounds;

pub use error::{HistoryError, LayoutError, RedundancyError};
pub use history::{EPOCHS_MAX, History};
pub use layout::{Change, Epoch, Layout, PEERS_MAX};
pub use mending::{Held, Mending, Pull, is_promised, is_surplus, mend};
pub use moves::{Move, Source, moves};
pub use peer::{DOMAIN_LEN_MAX, Domain, Peer, PeerState};
pub use placing::{Placing, Slot};
pub use redundancy::{Redundancy, WIDTH_MAX};
pub use repair::{Damaged, Repair, RepairPlan, repair_order};
pub use rounds::{is_overtaken, may_delete};
