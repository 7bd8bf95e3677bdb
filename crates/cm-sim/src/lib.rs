//! Whole clusters in one thread, in virtual time, under faults that a seed chooses.
//!
//! What runs here is the product's own protocol code; only what it touches is simulated: clocks, disks, networks, and
//! the programs on top. The same seed always gives the same run, to the last event. A failure names its seed.
//!
//! [`quorum`] runs the replicated log; [`linear`] checks what its clients saw. [`chunks`] keeps chunks on peers. [`elastic`] runs what decides on copies against loads.
//! [`gossip`] spreads threats among thousands of nodes.

pub mod chunks;
pub mod elastic;
pub mod gossip;
pub mod linear;
mod network;
pub mod quorum;

pub use network::{Network, Weather};
