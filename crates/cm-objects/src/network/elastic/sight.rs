//! What the planner is to know.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cm_db::{Direction, KeyRange};
use cm_placement::PeerState;
use cm_placement::elastic::{ObjectFacts, PeerFacts};
use cm_types::{PeerId, Sha256Digest};
use futures::future::join_all;

use super::counts::BucketId;
use super::demands::Demands;
use super::settings::ELASTIC_BUCKETS_MAX;
use super::{CLEARED_PERCENT, EXTRA_CHUNKS_MAX, FILLED_PERCENT};
use crate::ObjectError;
use crate::network::keeping::Keeping;
use crate::network::tables::{BucketElastics, ElasticRow, ExtraCopies, ExtraRow};
use crate::network::wire::HaveItem;
use crate::network::{Known, Network};
use crate::tables::Chunks;

/// What one plan goes by.
pub(super) struct Sight {
    pub(super) known: Arc<Known>,
    pub(super) settings: BTreeMap<BucketId, ElasticRow>,
    /// The extra copies.
    pub(super) rows: BTreeMap<Sha256Digest, ExtraRow>,
    /// Who answers and takes part.
    pub(super) peers: BTreeMap<PeerId, PeerFacts>,
    /// Who needs the room of its extra copies.
    cramped: BTreeSet<PeerId>,
    hot: HashMap<Sha256Digest, Hot>,
    /// How often objects are opened, per second.
    pub(super) reads_per_second: f64,
}

/// The reads of a chunk, all nodes taken together.
pub(super) struct Hot {
    per_second: f64,
    /// How much of one peer's time they take.
    demand: f64,
    len: u32,
    bucket: Arc<BucketId>,
}

impl Sight {
    /// In which bucket a chunk has extra copies, is read, or is demanded.
    pub(super) fn bucket_of(&self, demands: &Demands, digest: &Sha256Digest) -> Option<BucketId> {
        let row = self.rows.get(digest).map(|row| (row.tenant.clone(), row.bucket.clone()));
        let hot = || self.hot.get(digest).map(|hot| hot.bucket.as_ref().clone());
        row.or_else(hot).or_else(|| Some(demands.of(digest)?.bucket.as_ref().clone()))
    }
}

impl Network {
    /// Everybody who may be asked now, this node included.
    pub(super) fn everybody(&self) -> Vec<PeerId> {
        let others = self.links.peers().into_iter().map(|(peer, _)| peer);
        let all: BTreeSet<PeerId> =
            others.chain([self.own.clone()]).filter(|peer| self.is_up(peer)).collect();
        all.into_iter().collect()
    }

    /// Who is there, and which extra copies; `None` if nobody wants any and there are none.
    pub(super) async fn look_around(&self) -> Result<Option<Sight>, ObjectError> {
        let (settings, rows) = self
            .db
            .read(|tx| {
                let settings =
                    tx.range::<BucketElastics>(KeyRange::all(), Direction::Forward, ELASTIC_BUCKETS_MAX)?;
                let rows = tx.range::<ExtraCopies>(KeyRange::all(), Direction::Forward, EXTRA_CHUNKS_MAX)?;
                Ok::<_, ObjectError>((settings, rows))
            })
            .await?;
        if settings.is_empty() && rows.is_empty() {
            return Ok(None);
        }
        let known = self.learn().await?;
        let (mut peers, mut cramped) = (BTreeMap::new(), BTreeSet::new());
        let active = known.current().peers().filter(|(_, peer)| peer.state == PeerState::Active);
        let told =
            join_all(active.filter(|(id, _)| self.is_up(id)).map(|(id, peer)| async move {
                Some((id.clone(), peer, self.ask_statistics(id).await.ok()?))
            }));
        for (id, peer, told) in told.await.into_iter().flatten() {
            let offered = peer.capacity_bytes;
            let percent =
                |share: u64| u64::try_from(u128::from(offered) * u128::from(share) / 100).unwrap_or(offered);
            if told.bytes > percent(CLEARED_PERCENT) {
                cramped.insert(id.clone());
            }
            let facts = PeerFacts {
                domain: peer.domain.clone(),
                capacity_bytes: offered,
                free_bytes: percent(FILLED_PERCENT).saturating_sub(told.bytes),
                // Until it has counted all that it has, nobody knows how much is free.
                accepts: told.counted,
            };
            peers.insert(id, facts);
        }
        Ok(Some(Sight {
            known,
            settings: settings.into_iter().collect(),
            rows: rows.into_iter().collect(),
            peers,
            cramped,
            hot: HashMap::new(),
            reads_per_second: 0.0,
        }))
    }

    /// Takes off the rows what is not as they say, or should not be any more.
    pub(super) async fn put_right(&self, sight: &mut Sight) -> Result<(), ObjectError> {
        let digests: Vec<Sha256Digest> = sight.rows.keys().copied().collect();
        if digests.is_empty() {
            return Ok(());
        }
        let named: BTreeSet<PeerId> = sight.rows.values().flat_map(|row| row.peers.iter().cloned()).collect();
        let answers = join_all(named.iter().filter(|peer| self.is_up(peer)).map(|peer| {
            let mine = sight.rows.iter().filter(|(_, row)| row.peers.contains(peer));
            let mine: Vec<Sha256Digest> = mine.map(|(digest, _)| *digest).collect();
            let item =
                |digest: &Sha256Digest| HaveItem { digest: *digest, kept: Keeping::Replicas(1), round: None };
            let items = mine.iter().map(item).collect();
            async move {
                let parts = self.ask_have(peer, items).await.ok()?;
                let lacking = mine.into_iter().zip(parts).filter(|(_, parts)| parts.is_empty());
                Some(lacking.map(|(digest, _)| (digest, peer.clone())).collect::<Vec<_>>())
            }
        }));
        let lacking: HashSet<(Sha256Digest, PeerId)> =
            answers.await.into_iter().flatten().flatten().collect();
        let asked = digests.clone();
        let chunks = self.db.read(move |tx| Ok::<_, ObjectError>(tx.get_many::<Chunks>(&asked)?)).await?;
        let mut removed = Vec::new();
        for (digest, chunk) in digests.into_iter().zip(chunks) {
            let Some(row) = sight.rows.get(&digest) else { continue };
            let chunk = chunk.filter(|chunk| chunk.references > 0);
            let home: Vec<PeerId> = match &chunk {
                Some(chunk) => {
                    let width = self.redundancy(chunk.kept).width();
                    sight.known.order(&digest).into_iter().take(width).collect()
                }
                None => Vec::new(),
            };
            let wanted =
                chunk.is_some() && sight.settings.contains_key(&(row.tenant.clone(), row.bucket.clone()));
            let stays = |peer: &PeerId| {
                let active =
                    sight.known.current().peer(peer).is_some_and(|peer| peer.state == PeerState::Active);
                wanted
                    && active
                    && !home.contains(peer)
                    && !self.is_away(peer)
                    && !sight.cramped.contains(peer)
                    && !lacking.contains(&(digest, peer.clone()))
            };
            removed.extend(row.peers.iter().filter(|peer| !stays(peer)).map(|peer| (digest, peer.clone())));
        }
        self.drop_extra(removed.clone()).await?;
        for (digest, peer) in removed {
            if let Some(row) = sight.rows.get_mut(&digest) {
                row.peers.retain(|other| *other != peer);
            }
        }
        sight.rows.retain(|_, row| !row.peers.is_empty());
        Ok(())
    }

    /// Asks everybody what is read most.
    pub(super) async fn gather_heat(&self, sight: &mut Sight) {
        if sight.settings.is_empty() {
            return;
        }
        let peers = self.everybody();
        let answers = join_all(peers.iter().map(|peer| self.ask_heat(peer))).await;
        for answer in answers.into_iter().flatten() {
            sight.reads_per_second += answer.per_second;
            let buckets: Vec<Arc<BucketId>> = answer.buckets.into_iter().map(Arc::new).collect();
            for item in answer.chunks {
                let Some(bucket) = buckets.get(usize::from(item.bucket)) else { continue };
                let rate = item.per_second;
                let hot = sight.hot.entry(item.digest).or_insert_with(|| Hot {
                    per_second: 0.0,
                    demand: 0.0,
                    len: item.len,
                    bucket: bucket.clone(),
                });
                hot.per_second += rate;
                hot.demand += rate * Duration::from_micros(item.service_micros).as_secs_f64();
            }
        }
    }

    /// What the planner asks for about each chunk that is hot, demanded, or has extra copies.
    pub(super) async fn elastic_facts(
        &self,
        sight: &Sight,
        demands: &Demands,
    ) -> Result<Vec<ObjectFacts<Sha256Digest>>, ObjectError> {
        let mut digests: BTreeSet<Sha256Digest> = sight.rows.keys().copied().collect();
        let mut hottest: Vec<(&Sha256Digest, f64)> =
            sight.hot.iter().map(|(digest, hot)| (digest, hot.per_second)).collect();
        hottest.sort_by(|(a, a_rate), (b, b_rate)| b_rate.total_cmp(a_rate).then_with(|| a.cmp(b)));
        for digest in demands.digests().chain(hottest.into_iter().map(|(digest, _)| digest)) {
            if digests.len() >= EXTRA_CHUNKS_MAX {
                break;
            }
            digests.insert(*digest);
        }
        let digests: Vec<Sha256Digest> = digests.into_iter().collect();
        let asked = digests.clone();
        let chunks = self.db.read(move |tx| Ok::<_, ObjectError>(tx.get_many::<Chunks>(&asked)?)).await?;
        let now = self.clock.now().into();
        let facts = digests.into_iter().zip(chunks).filter_map(|(id, chunk)| {
            let chunk = chunk.filter(|chunk| chunk.references > 0)?;
            let (row, hot, demand) = (sight.rows.get(&id), sight.hot.get(&id), demands.of(&id));
            let settings = sight.settings.get(&sight.bucket_of(demands, &id)?)?;
            let width = self.redundancy(chunk.kept).width();
            let placed: Vec<PeerId> = sight.known.order(&id).into_iter().take(width).collect();
            let len = row.map(|row| row.len).or(hot.map(|hot| hot.len)).or(demand.map(|demand| demand.len))?;
            let rate = hot.map_or(0.0, |hot| hot.per_second);
            let busy = hot.map_or(0.0, |hot| hot.demand);
            let demanded = demand.iter().flat_map(|demand| &demand.peers);
            // What a policy may still demand is not dropped before that is known.
            let may_be_demanded = settings.policy.is_some() && !demands.is_known();
            let changed_at = row.map(|row| if may_be_demanded { now } else { row.changed_at });
            Some(ObjectFacts {
                id,
                bytes: len.into(),
                reads_per_second: rate,
                // Without reads it is no number.
                service_time: Duration::try_from_secs_f64(busy / rate).unwrap_or_default(),
                demanded: demanded.filter(|peer| !placed.contains(peer)).cloned().collect(),
                placed,
                extra: row.map(|row| row.peers.clone()).unwrap_or_default(),
                changed_at,
                replicas_max: Some(settings.copies_max.into()),
            })
        });
        Ok(facts.collect())
    }
}
