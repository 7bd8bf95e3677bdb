//! Elastic replication under load: the planners of `cm_placement::elastic` against traces of reads.
//!
//! A [`World`] has peers that serve one thing after the other at a fixed speed, objects placed by their digest, and clients that read
//! them as a [`Trace`] says. Copies go piece by piece through the queues of both peers, so that moving bytes costs what
//! it costs. What differs between runs is the [`Strategy`] alone. Latency is from the arrival of a read to its last byte.

mod peer;
mod plot;
mod report;
mod trace;
mod world;

pub use plot::plot;
pub use report::{Outcome, table};
pub use trace::{Popularity, Trace};
pub use world::{Setting, Strategy, World};

#[cfg(test)]
mod tests;
