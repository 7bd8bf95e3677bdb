//! What the peers of a storage network agree on, in the database that they share.

use cm_db::Row;
use cm_placement::{Domain, Epoch, Layout, LayoutError, Peer, PeerState};
use cm_types::{BucketName, PeerId, Sha256Digest, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::tables::table;

table! {
    /// The current layout and those out of which data still moves, by epoch.
    Layouts, "object_layouts", u64, LayoutRow
}
table! {
    /// Where the rounds of collecting are, and the epochs; one row.
    Rounds, "object_rounds", (), RoundsRow
}
table! {
    /// Chunks that were given up, and in which round. Who promised parts of them before must promise again.
    Condemned, "object_condemned", Sha256Digest, CondemnedRow
}
table! {
    /// The same, in the order of the rounds, for the peers that delete them.
    Condemnations, "object_condemnations", (u64, Sha256Digest), CondemnationRow
}
table! {
    /// Up to which round a peer, by its id, has deleted what was condemned.
    Swept, "object_swept", String, SweptRow
}
table! {
    /// Chunks of which parts are known to be missing, or to lie elsewhere than they should.
    Short, "object_short", Sha256Digest, ShortRow
}
table! {
    /// Who looks after all chunks, and how far that is; one row.
    Survey, "object_survey", (), SurveyRow
}

table! {
    /// Who has copies of a chunk besides those whom placement wants to have it.
    ExtraCopies, "object_extra_copies", Sha256Digest, ExtraRow
}
table! {
    /// Buckets whose copies follow the load.
    BucketElastics, "object_bucket_elastic", (TenantId, BucketName), ElasticRow
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExtraRow {
    /// Where it was read when it first got one.
    pub(crate) tenant: TenantId,
    pub(crate) bucket: BucketName,
    /// How long the chunk is.
    pub(crate) len: u32,
    pub(crate) peers: Vec<PeerId>,
    pub(crate) changed_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ElasticRow {
    pub(crate) copies_max: u8,
    /// As its author wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LayoutRow {
    pub(crate) peers: Vec<MemberRow>,
    pub(crate) created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MemberRow {
    pub(crate) id: PeerId,
    pub(crate) capacity_bytes: u64,
    pub(crate) domain: String,
    pub(crate) state: StateRow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StateRow {
    Active,
    Draining,
    Gone,
}

impl LayoutRow {
    pub(crate) fn of(layout: &Layout, created_at: Timestamp) -> Self {
        let member = |(id, peer): (&PeerId, &Peer)| MemberRow {
            id: id.clone(),
            capacity_bytes: peer.capacity_bytes,
            domain: peer.domain.as_str().to_owned(),
            state: match peer.state {
                PeerState::Active => StateRow::Active,
                PeerState::Draining => StateRow::Draining,
                PeerState::Gone => StateRow::Gone,
            },
        };
        Self { peers: layout.peers().map(member).collect(), created_at }
    }

    pub(crate) fn layout(self, epoch: Epoch) -> Result<Layout, LayoutError> {
        let peer = |member: MemberRow| {
            let state = match member.state {
                StateRow::Active => PeerState::Active,
                StateRow::Draining => PeerState::Draining,
                StateRow::Gone => PeerState::Gone,
            };
            let domain = Domain::parse(member.domain)?;
            Ok((member.id, Peer { capacity_bytes: member.capacity_bytes, domain, state }))
        };
        let peers: Result<Vec<_>, LayoutError> = self.peers.into_iter().map(peer).collect();
        Layout::restore(epoch, peers?)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoundsRow {
    /// Rises whenever chunks are condemned.
    pub(crate) round: u64,
    /// Of rounds before this one nothing is known any more.
    pub(crate) floor: u64,
    /// The current epoch.
    pub(crate) epoch: u64,
    /// The oldest epoch out of which data still moves; the current one if there is none.
    pub(crate) oldest: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CondemnedRow {
    pub(crate) round: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CondemnationRow {
    pub(crate) at: Timestamp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SweptRow {
    pub(crate) round: u64,
    /// How far the peer is with reading all that it has; nothing before it began for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scrub: Option<ScrubRow>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScrubRow {
    /// When this round of reading began.
    pub(crate) begun_at: Timestamp,
    /// The directory that comes next.
    pub(crate) directory: u8,
    pub(crate) is_done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShortRow {
    pub(crate) since: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SurveyRow {
    /// Who looks after all chunks now.
    pub(crate) holder: PeerId,
    /// Until when, unless it says so again.
    pub(crate) until: Timestamp,
    /// When everything was last looked at.
    #[serde(default)]
    pub(crate) finished_at: Option<Timestamp>,
    /// Chunks that could not be mended then.
    #[serde(default)]
    pub(crate) lost: u64,
    /// How often somebody has asked for everything to be looked at.
    #[serde(default)]
    pub(crate) asked: u64,
}

impl Row for ExtraRow {}
impl Row for ElasticRow {}
impl Row for LayoutRow {}
impl Row for RoundsRow {}
impl Row for CondemnedRow {}
impl Row for CondemnationRow {}
impl Row for SweptRow {}
impl Row for ShortRow {}
impl Row for SurveyRow {}
