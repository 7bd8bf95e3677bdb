//! What a node knows of a peer.

use std::collections::BTreeSet;

use super::Moment;
use crate::EventKey;

/// What is known of a peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    pub(super) in_mesh: bool,
    /// It asked this node not to send unasked.
    pub(super) chokes_us: bool,
    /// This node asked it not to.
    pub(super) choked: bool,
    /// Until when it is not grafted.
    pub(super) backoff: Option<Moment>,
    /// What it does not want.
    pub(super) declined: BTreeSet<EventKey>,
    /// How often it was not the first, since the last look.
    pub(super) late: u32,
    pub(super) first: u32,
    /// What it asked for in this second.
    pub(super) asked: u32,
    /// What it was asked for in this second.
    pub(super) asking: usize,
    /// When it last sent an event, whichever.
    pub(super) heard: Option<Moment>,
}
