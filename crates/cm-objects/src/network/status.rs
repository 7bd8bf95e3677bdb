//! What the network looks like from here.

use std::collections::BTreeMap;

use cm_db::{Direction, KeyRange, ReadTx};
use cm_placement::PeerState;
use cm_policy::{ActionKind, Permit};
use cm_types::{BucketName, ObjectKey, PeerId, Sha256Digest, Timestamp};
use futures::future::join_all;

use super::elastic::EXTRA_CHUNKS_MAX;
use super::elastic::settings::ELASTIC_BUCKETS_MAX;
use super::layouts::{Member, read_known};
use super::survey::swept_by_all;
use super::tables::{
    BucketElastics, Condemnations, ExtraCopies, ScrubRow, Short, Survey, SurveyRow, Swept, SweptRow,
};
use crate::objects::{bucket_row, require_object};
use crate::scrub::turn::anew;
use crate::{ObjectError, Objects};

/// Short chunks are counted up to so many.
pub const SHORT_COUNTED_MAX: usize = 10_000;

/// Peers whose reading is told of.
const SCRUBS_MAX: usize = 10_000;

/// The state of a storage network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageStatus {
    /// Who says so.
    pub own: PeerId,
    /// The current epoch.
    pub epoch: u64,
    /// The oldest epoch out of which data still moves; the current one when everything is at its place.
    pub oldest_epoch: u64,
    /// How often chunks are kept of which nothing else was said, as text.
    pub redundancy: String,
    /// The members of the layout.
    pub peers: Vec<PeerStatus>,
    /// Chunks of which parts are known to be missing or elsewhere, counted up to [`SHORT_COUNTED_MAX`].
    pub short_chunks: u64,
    /// Chunks of which the last survey could not reach enough.
    pub lost_chunks: u64,
    /// Deletions that some peer has not done yet, counted up to [`SHORT_COUNTED_MAX`].
    pub condemned_chunks: u64,
    /// Copies beyond the promised ones, where there is much reading.
    pub extra: Extra,
    /// Who surveys.
    pub surveyor: Option<PeerId>,
    /// When a survey has last looked at everything.
    pub surveyed_at: Option<Timestamp>,
}

/// Copies that follow the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// Buckets that want them.
    pub buckets: u64,
    /// Chunks that have some.
    pub chunks: u64,
    /// The copies.
    pub copies: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// What the layout says of it.
    pub member: Member,
    /// Whether it answers now.
    pub is_up: bool,
    /// What it keeps, if it has said so.
    pub kept: Option<Kept>,
    /// How far it is with reading all of it; `None` before it began for the first time.
    pub scrub: Option<ScrubProgress>,
}

/// How far a peer is with reading all that it keeps and comparing it with its digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubProgress {
    /// When it began.
    pub begun_at: Timestamp,
    /// 0 to 100; it is done at 100.
    pub percent: u8,
}

impl From<ScrubRow> for ScrubProgress {
    fn from(row: ScrubRow) -> Self {
        let percent = if row.is_done { 100 } else { u16::from(row.directory) * 100 / 256 };
        Self { begun_at: row.begun_at, percent: u8::try_from(percent).unwrap_or(100) }
    }
}

/// A peer that new chunks may be given to, as this node sees it without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub peer: PeerId,
    /// Whether it is this node.
    pub is_own: bool,
    /// Whether it may be expected to answer.
    pub is_up: bool,
}

/// What a peer keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Parts of chunks.
    pub parts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether all of them have been counted since it started.
    pub is_counted: bool,
    /// Parts that it found damaged since it started.
    pub damaged: u64,
    /// Whether it has looked through everything in the current epoch and has nothing that belongs elsewhere.
    pub is_tidy: bool,
}

impl Objects {
    /// The state of the storage network; `None` on a node that belongs to none.
    ///
    /// This concerns the node and not a tenant: the caller decides who may ask for it.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn storage_status(&self) -> Result<Option<StorageStatus>, ObjectError> {
        let Some(network) = self.0.network.get() else { return Ok(None) };
        let (known, short, condemned, survey, extra, scrubs) = network
            .db
            .read(|tx| {
                let short = tx.range::<Short>(KeyRange::all(), Direction::Forward, SHORT_COUNTED_MAX)?.len();
                let known = read_known(tx)?;
                // Those of the last round are kept though all have done them.
                let next = swept_by_all(tx, &known)?.unwrap_or_default() + 1;
                let left = KeyRange::of((next, Sha256Digest::from_bytes([0; 32]))..);
                let condemned = tx.range::<Condemnations>(left, Direction::Forward, SHORT_COUNTED_MAX)?.len();
                let extra = read_extra(tx)?;
                let swept = tx.range::<Swept>(KeyRange::all(), Direction::Forward, SCRUBS_MAX)?;
                let scrubs: BTreeMap<String, ScrubRow> =
                    swept.into_iter().filter_map(|(peer, row)| Some((peer, row.scrub?))).collect();
                Ok::<_, ObjectError>((known, short, condemned, tx.get::<Survey>(&())?, extra, scrubs))
            })
            .await?;
        let (epoch, members) = self.layout().await?;
        let scrubs = &scrubs;
        let peers = join_all(members.into_iter().map(|member| async move {
            let is_up = network.is_up(&member.peer);
            let told = match is_up {
                true => network.ask_statistics(&member.peer).await.ok(),
                false => None,
            };
            let kept = told.map(|told| Kept {
                parts: told.parts,
                bytes: told.bytes,
                is_counted: told.counted,
                damaged: told.damaged,
                is_tidy: told.tidy_in == Some(epoch.0),
            });
            let scrub = scrubs.get(&member.peer.to_string()).copied().map(ScrubProgress::from);
            PeerStatus { member, is_up, kept, scrub }
        }));
        Ok(Some(StorageStatus {
            own: network.own.clone(),
            epoch: epoch.0,
            oldest_epoch: known.rounds.oldest,
            redundancy: known.default_redundancy().to_string(),
            peers: peers.await,
            short_chunks: short as u64,
            lost_chunks: survey.as_ref().map_or(0, |survey| survey.lost),
            condemned_chunks: condemned as u64,
            extra,
            surveyed_at: survey.as_ref().and_then(|survey| survey.finished_at),
            surveyor: survey.map(|survey| survey.holder),
        }))
    }

    /// The peers that new chunks may be given to, this node first; `None` on a node that belongs to no network.
    ///
    /// This concerns the node and not a tenant: the caller decides who may ask for it.
    pub fn holders(&self) -> Option<Vec<Holder>> {
        let network = self.0.network.get()?;
        let known = network.known();
        let active = known.current().peers().filter(|(_, peer)| peer.state == PeerState::Active);
        let mut holders: Vec<Holder> = active
            .map(|(id, _)| Holder { peer: id.clone(), is_own: network.is_own(id), is_up: network.is_up(id) })
            .collect();
        holders.sort_by_key(|holder| !holder.is_own);
        Some(holders)
    }

    /// What this node is called in its storage network; `None` if it belongs to none.
    pub fn own_peer(&self) -> Option<PeerId> {
        self.0.network.get().map(|network| network.own.clone())
    }

    /// How many peers must be lost before a chunk is that is written to the bucket now: as many as there are copies, or one
    /// more than there are shards of parity.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`]; [`ObjectError::NotPermitted`] unless the permit is for the object.
    pub async fn copies<A: ActionKind>(
        &self,
        permit: &Permit<A>,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<usize, ObjectError> {
        require_object(permit, bucket, key)?;
        let Some(network) = self.0.network.get() else { return Ok(1) };
        let (tenant, bucket) = (permit.tenant().clone(), bucket.clone());
        let keeping =
            self.0.db.read(move |tx| Ok::<_, ObjectError>(bucket_row(tx, &tenant, &bucket)?.keeping));
        Ok(network.redundancy(keeping.await?).tolerates() + 1)
    }

    /// Whether this node belongs to a storage network.
    pub fn is_connected(&self) -> bool {
        self.0.network.get().is_some()
    }

    /// Has every chunk looked at now, by whoever surveys.
    ///
    /// This concerns the node and not a tenant: the caller decides who may ask for it.
    ///
    /// # Errors
    /// [`ObjectError::NotConnected`]; those of the tables.
    pub async fn survey_now(&self) -> Result<(), ObjectError> {
        let network = self.0.network.get().ok_or(ObjectError::NotConnected)?;
        self.0
            .write(|tx| {
                // Whoever begins to survey looks at everything anyway.
                if let Some(row) = tx.get::<Survey>(&())? {
                    tx.put::<Survey>(&(), &SurveyRow { asked: row.asked + 1, ..row })?;
                }
                Ok(())
            })
            .await?;
        network.mending.notify_one();
        Ok(())
    }
}

impl Objects {
    /// Has every peer read all that it keeps now, and have made anew what is damaged.
    ///
    /// This concerns the node and not a tenant: the caller decides who may ask for it.
    ///
    /// # Errors
    /// [`ObjectError::NotConnected`]; those of the tables.
    pub async fn scrub_now(&self) -> Result<(), ObjectError> {
        if self.0.network.get().is_none() {
            return Err(ObjectError::NotConnected);
        }
        let now = self.0.now();
        self.0
            .write(move |tx| {
                for (peer, _) in read_known(tx)?.current().peers().filter(|(_, peer)| peer.state.serves()) {
                    let row = tx.get::<Swept>(&peer.to_string())?.unwrap_or_default();
                    tx.put::<Swept>(&peer.to_string(), &SweptRow { scrub: Some(anew(now)), ..row })?;
                }
                Ok(())
            })
            .await
    }
}

fn read_extra(tx: &ReadTx<'_>) -> Result<Extra, ObjectError> {
    // As they are stored: how many there are takes no reading of policies.
    let buckets =
        tx.raw_range::<BucketElastics>(KeyRange::all(), Direction::Forward, ELASTIC_BUCKETS_MAX)?.len();
    let rows = tx.range::<ExtraCopies>(KeyRange::all(), Direction::Forward, EXTRA_CHUNKS_MAX)?;
    let mut extra = Extra { buckets: buckets as u64, chunks: rows.len() as u64, ..Extra::default() };
    for (_, row) in rows {
        extra.copies += row.peers.len() as u64;
        extra.bytes += u64::from(row.len) * row.peers.len() as u64;
    }
    Ok(extra)
}
