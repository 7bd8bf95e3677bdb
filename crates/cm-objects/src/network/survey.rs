//! What one peer does for all: it mends chunks that are known to be short, and looks at every chunk after changes.
//!
//! Which peer that is a row says, which it renews; should two believe that they are it, they do the same work twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cm_db::{Direction, KeyRange, ReadTx};
use cm_placement::{Damaged, Epoch, Held, Pull, mend, repair_order};
use cm_runtime::{WorkState, Worker};
use cm_types::{ByteCount, PeerId, Sha256Digest, Timestamp};
use futures::StreamExt;
use futures::future::join_all;
use tokio::time::Instant;

use super::status::SHORT_COUNTED_MAX;
use super::store::keeping_of;
use super::tables::{Condemnations, Condemned, Rounds, RoundsRow, Short, ShortRow, Survey, SurveyRow, Swept};
use super::wire::{HaveItem, PullHead};
use super::{Known, Network, layouts, lock};
use crate::chunks::Part;
use crate::scrub::turn::pause;
use crate::tables::{ChunkRow, Chunks};
use crate::{CHUNK_BYTES, ObjectError};

/// How many chunks are looked at in one step.
const BATCH: usize = 256;
/// How many chunks that are known to be short are mended in one step, the most endangered of them first.
const SHORT_BATCH: usize = 1024;
/// How many pulls are under way at once.
const PULLS_MAX: usize = 4;
/// How many condemnations are forgotten at once.
const FORGOTTEN_AT_ONCE: usize = 1024;

/// Runs the survey while this peer holds it.
pub(super) struct Surveyor {
    network: Arc<Network>,
    /// How far looking at everything has come.
    pass: Option<Pass>,
    /// When a pass is due though nothing has changed.
    due_at: Instant,
    /// Of the last pass that left nothing to do.
    seen: Option<Seen>,
    /// Of the last pass, if it left something to do: it is repeated, but not at once.
    failed: Option<Seen>,
    /// Behind which the next short chunks come; `None` begins with the first.
    short_after: Option<Sha256Digest>,
    /// Short chunks that could not be mended and wait.
    retry_at: Instant,
    /// Whether the last pass missed chunks that peers may have which did not answer. They are short ones, too: once none is, everything is looked at again.
    has_lost: bool,
}

/// What a pass depends on: the epoch, who is away, and how often a pass was asked for.
type Seen = (u64, BTreeSet<PeerId>, u64);

/// One look at everything.
struct Pass {
    of: Seen,
    after: Option<Sha256Digest>,
    /// Chunks that are not yet as they should be, or may be found once everybody answers.
    pending: u64,
    /// Chunks of which too few parts were found.
    lost: u64,
    /// Whether somebody was not asked who may have them.
    may_be_found: bool,
    /// Whether only what would not survive another loss is mended, so that nothing else keeps it waiting.
    only_urgent: bool,
    /// Chunks that wait for the pass after it.
    put_off: u64,
}

impl Pass {
    fn new(of: Seen, only_urgent: bool) -> Self {
        Self { of, after: None, pending: 0, lost: 0, may_be_found: false, only_urgent, put_off: 0 }
    }
}

/// What came of mending some chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mended {
    pulled: u64,
    pending: u64,
    lost: u64,
    may_be_found: bool,
    put_off: u64,
    bytes: u64,
}

impl Surveyor {
    pub(super) fn new(network: Arc<Network>) -> Self {
        let now = Instant::now();
        Self {
            network,
            pass: None,
            due_at: now,
            seen: None,
            failed: None,
            short_after: None,
            retry_at: now,
            has_lost: false,
        }
    }

    fn away(&self, known: &Known) -> BTreeSet<PeerId> {
        let peers = known.current().peers().filter(|(_, peer)| peer.state.serves());
        peers.map(|(id, _)| id).filter(|id| self.network.is_away(id)).cloned().collect()
    }
}

impl Worker for Surveyor {
    type Error = ObjectError;

    fn name(&self) -> &'static str {
        "storage-survey"
    }

    async fn work(&mut self) -> Result<WorkState, ObjectError> {
        let network = self.network.clone();
        network.note_short().await?;
        let known = network.learn().await?;
        let asked = match known.current().serves(&network.own) {
            true => network.hold_survey().await?,
            false => None,
        };
        let Some(asked) = asked else {
            self.pass = None;
            return Ok(WorkState::Idle);
        };
        network.forget_condemnations(&known).await?;
        if Instant::now() >= self.retry_at {
            let mended = network.mend_short(&known, &mut self.short_after).await?;
            match mended {
                // More of them may be waiting.
                Some(mended) if mended.pulled > 0 || self.short_after.is_some() => {
                    return Ok(WorkState::Busy);
                }
                Some(mended) if mended.pending + mended.lost > 0 => {
                    self.retry_at = Instant::now() + network.pace.look_every;
                }
                None if std::mem::take(&mut self.has_lost) => self.due_at = Instant::now(),
                _ => {}
            }
        }
        let of = (known.current().epoch().0, self.away(&known), asked);
        let changed = self.seen.as_ref() != Some(&of);
        if self.pass.as_ref().is_some_and(|pass| (pass.of.0, pass.of.2) != (of.0, of.2)) {
            self.pass = None;
        }
        let retries = self.seen.is_some() || self.failed.as_ref() != Some(&of);
        if self.pass.is_none() && ((changed && retries) || Instant::now() >= self.due_at) {
            self.pass = Some(Pass::new(of, true));
            network.survey_progress.store(0, Ordering::Relaxed);
        }
        let Some(pass) = &mut self.pass else { return Ok(WorkState::Idle) };
        if network.survey_page(&known, pass).await? {
            return Ok(WorkState::Busy);
        }
        let pass = self.pass.take().expect("it was looked at above");
        if pass.put_off > 0 {
            self.pass = Some(Pass::new(pass.of, false));
            return Ok(WorkState::Busy);
        }
        let is_done = network.finish_pass(&pass).await? && pass.pending == 0;
        let soon = if is_done { network.pace.survey_every } else { network.pace.look_every * 2 };
        self.due_at = Instant::now() + soon.min(network.pace.survey_every);
        self.has_lost = pass.may_be_found;
        self.seen = is_done.then(|| pass.of.clone());
        self.failed = (!is_done).then(|| pass.of.clone());
        Ok(WorkState::Idle)
    }

    async fn wait_for_work(&mut self) {
        tokio::select! {
            () = self.network.mending.notified() => {}
            () = tokio::time::sleep(self.network.pace.look_every) => {}
        }
    }
}

impl Network {
    /// Notes what readers of this node found short, for whoever surveys.
    async fn note_short(&self) -> Result<(), ObjectError> {
        let short: Vec<Sha256Digest> = lock(&self.short).drain().collect();
        if short.is_empty() {
            return Ok(());
        }
        let since = self.clock.now().into();
        self.db
            .write(move |tx| {
                for digest in short {
                    // What lies in the cold tier has no copies here that could be too few.
                    let counts = tx.get::<Chunks>(&digest)?.is_some_and(|row| row.cold.is_none());
                    if counts && tx.get::<Short>(&digest)?.is_none() {
                        tx.put::<Short>(&digest, &ShortRow { since })?;
                    }
                }
                Ok::<_, ObjectError>(())
            })
            .await
    }

    /// Takes or keeps the survey. If it is this peer's, answers how often a look at everything was asked for.
    async fn hold_survey(&self) -> Result<Option<u64>, ObjectError> {
        let now: Timestamp = self.clock.now().into();
        let lease = i64::try_from(self.pace.survey_lease.as_micros()).unwrap_or(i64::MAX);
        let (own, until) = (self.own.clone(), Timestamp::from_micros(now.as_micros().saturating_add(lease)));
        let half = Timestamp::from_micros(now.as_micros().saturating_add(lease / 2));
        let row = self.db.look_up(|tx| Ok::<_, ObjectError>(tx.get::<Survey>(&())?)).await?;
        match row {
            Some(row) if row.holder == own && row.until > half => return Ok(Some(row.asked)),
            Some(row) if row.holder != own && row.until > now => {
                // A clock that is far ahead must not stop mending for ever.
                let absurd = Timestamp::from_micros(now.as_micros().saturating_add(lease.saturating_mul(10)));
                if row.until < absurd {
                    return Ok(None);
                }
            }
            _ => {}
        }
        self.db
            .write(move |tx| {
                let old = tx.get::<Survey>(&())?;
                let taken = old.as_ref().is_some_and(|old| old.holder != own && old.until > now);
                let absurd =
                    old.as_ref().is_some_and(|old| old.until.as_micros() - now.as_micros() > lease * 10);
                if taken && !absurd {
                    return Ok(None);
                }
                let (finished_at, lost, asked) =
                    old.map_or((None, 0, 0), |old| (old.finished_at, old.lost, old.asked));
                tx.put::<Survey>(&(), &SurveyRow { holder: own, until, finished_at, lost, asked })?;
                Ok::<_, ObjectError>(Some(asked))
            })
            .await
    }

    /// Mends the next of the chunks that are known to be short; `None` if there are none. Those that cannot be mended now do not keep the
    /// others from it: each page is followed by the next, and the last one by the first.
    async fn mend_short(
        &self,
        known: &Known,
        after: &mut Option<Sha256Digest>,
    ) -> Result<Option<Mended>, ObjectError> {
        let is_first = after.is_none();
        let range = match after.take() {
            Some(after) => KeyRange::all().after(&after),
            None => KeyRange::all(),
        };
        let (short, count) = self
            .db
            .read(move |tx| {
                let rows = tx.range::<Short>(range, Direction::Forward, SHORT_BATCH)?;
                let count = match is_first && rows.len() < SHORT_BATCH {
                    true => rows.len(),
                    false => tx.range::<Short>(KeyRange::all(), Direction::Forward, SHORT_COUNTED_MAX)?.len(),
                };
                let digests: Vec<Sha256Digest> = rows.into_iter().map(|(digest, _)| digest).collect();
                let rows = tx.get_many::<Chunks>(&digests)?;
                Ok::<_, ObjectError>((digests.into_iter().zip(rows).collect::<Vec<_>>(), count))
            })
            .await?;
        metrics::gauge!("cm_storage_short_chunks").set(count as f64);
        if short.is_empty() {
            return Ok(None);
        }
        *after = short.last().map(|(digest, _)| *digest).filter(|_| short.len() == SHORT_BATCH);
        let (gone, there): (Vec<_>, Vec<_>) =
            short.into_iter().partition(|(_, row)| row.as_ref().is_none_or(|row| row.cold.is_some()));
        let gone = gone.into_iter().map(|(digest, _)| digest).collect();
        self.forget_gone(gone).await?;
        let there = there.into_iter().filter_map(|(digest, row)| Some((digest, row?))).collect();
        let (mended, done) = self.mend_batch(known, there, false).await?;
        self.forget_short(done).await?;
        Ok(Some(mended))
    }

    /// Takes the marks of chunks that are not there any more, or lie in the cold tier; not of those that came back meanwhile.
    async fn forget_gone(&self, digests: Vec<Sha256Digest>) -> Result<(), ObjectError> {
        if digests.is_empty() {
            return Ok(());
        }
        self.db
            .write(move |tx| {
                for digest in digests {
                    if tx.get::<Chunks>(&digest)?.is_none_or(|row| row.cold.is_some()) {
                        tx.delete::<Short>(&digest)?;
                    }
                }
                Ok::<_, ObjectError>(())
            })
            .await
    }

    async fn forget_short(&self, digests: Vec<Sha256Digest>) -> Result<(), ObjectError> {
        if digests.is_empty() {
            return Ok(());
        }
        self.db
            .write(move |tx| {
                for digest in digests {
                    tx.delete::<Short>(&digest)?;
                }
                Ok::<_, ObjectError>(())
            })
            .await
    }

    /// Looks at the next chunks of a pass; whether there may be more.
    async fn survey_page(&self, known: &Known, pass: &mut Pass) -> Result<bool, ObjectError> {
        let range = match &pass.after {
            Some(after) => KeyRange::all().after(after),
            None => KeyRange::all(),
        };
        let rows = self
            .db
            .read(move |tx| Ok::<_, ObjectError>(tx.range::<Chunks>(range, Direction::Forward, BATCH)?))
            .await?;
        let Some((last, _)) = rows.last() else { return Ok(false) };
        pass.after = Some(*last);
        let count = rows.len() as u64;
        let counted = rows.into_iter().filter(|(_, row)| row.references > 0 && row.cold.is_none()).collect();
        let (mended, _) = self.mend_batch(known, counted, pass.only_urgent).await?;
        pass.pending += mended.pending;
        pass.lost += mended.lost;
        pass.may_be_found |= mended.may_be_found;
        pass.put_off += mended.put_off;
        self.survey_progress.fetch_add(count, Ordering::Relaxed);
        metrics::counter!("cm_storage_surveyed_chunks_total").increment(count);
        Ok(count as usize == BATCH)
    }

    /// Asks who has what, and has peers get what they lack, the most endangered chunks first. Answers with those of which nothing is left to
    /// do: they are whole, or everybody has answered and too little of them is left. Of urgent ones alone, the others are put off.
    async fn mend_batch(
        &self,
        known: &Known,
        chunks: Vec<(Sha256Digest, ChunkRow)>,
        only_urgent: bool,
    ) -> Result<(Mended, Vec<Sha256Digest>), ObjectError> {
        let mut mended = Mended::default();
        if chunks.is_empty() {
            return Ok((mended, Vec::new()));
        }
        // A row that is older than a deletion would make parts count that are about to go.
        self.db.barrier().await?;
        let digests: Vec<Sha256Digest> = chunks.iter().map(|(digest, _)| *digest).collect();
        let (round, condemned) = self
            .db
            .read(move |tx| {
                let round = tx.get::<Rounds>(&())?.unwrap_or_default().round;
                Ok::<_, ObjectError>((round, tx.get_many::<Condemned>(&digests)?))
            })
            .await?;
        let (held, has_everybody_answered) = self.who_has(known, &chunks, &condemned, round).await;
        let mut plans = BTreeMap::new();
        let mut damaged = Vec::new();
        let mut done = Vec::new();
        for ((digest, row), held) in chunks.iter().zip(held) {
            let redundancy = self.redundancy(row.kept);
            let order = known.order(digest);
            let home: Vec<&PeerId> = order.iter().take(redundancy.width()).collect();
            // Who is away for long is replaced by the next; who is away for a moment is waited for.
            let wanted = order.iter().filter(|peer| !self.is_away(peer));
            let wanted: Vec<PeerId> = wanted.take(redundancy.width()).cloned().collect();
            let mending = mend(redundancy, &wanted, &held);
            let (pulls, put_off): (Vec<Pull>, Vec<Pull>) =
                mending.pulls.into_iter().partition(|pull| self.is_up(&pull.to));
            let is_waited_for = |peer: &&PeerId| !self.is_up(peer) && !self.is_away(peer);
            // What was put off counts, too: a peer may have come or gone since the line before.
            let waits = !put_off.is_empty() || home.iter().any(is_waited_for);
            if !mending.is_readable {
                mended.lost += 1;
                match has_everybody_answered {
                    // What is nowhere keeps nobody from leaving.
                    true => done.push(*digest),
                    false => {
                        mended.pending += 1;
                        mended.may_be_found = true;
                        self.found_short(*digest);
                    }
                }
                continue;
            }
            if pulls.is_empty() {
                // While nobody takes data, nothing that drains has gone anywhere.
                match waits || wanted.is_empty() {
                    true => mended.pending += 1,
                    false => done.push(*digest),
                }
                continue;
            }
            if only_urgent && mending.surviving > redundancy.needed() {
                mended.pending += 1;
                mended.put_off += 1;
                continue;
            }
            damaged.push(Damaged {
                digest: *digest,
                bytes: ByteCount::from_bytes(CHUNK_BYTES as u64),
                redundancy,
                surviving: mending.surviving.min(redundancy.width().saturating_sub(1)),
            });
            plans.insert(*digest, (redundancy, pulls, waits));
        }
        let order = repair_order(damaged).repairs;
        let jobs = order.into_iter().filter_map(|repair| {
            let (redundancy, pulls, waits) = plans.remove(&repair.chunk.digest)?;
            Some(self.pull(repair.chunk.digest, redundancy, pulls, round, waits))
        });
        let mut jobs = futures::stream::iter(jobs).buffer_unordered(PULLS_MAX);
        while let Some((digest, pulled, bytes, is_whole)) = jobs.next().await {
            mended.pulled += pulled;
            mended.bytes += bytes;
            match is_whole {
                true => done.push(digest),
                false => mended.pending += 1,
            }
            pause(bytes, self.pace.repair_bytes_per_second).await;
        }
        metrics::counter!("cm_storage_parts_mended_total").increment(mended.pulled);
        Ok((mended, done))
    }

    async fn pull(
        &self,
        digest: Sha256Digest,
        redundancy: cm_placement::Redundancy,
        pulls: Vec<Pull>,
        round: u64,
        waits: bool,
    ) -> (Sha256Digest, u64, u64, bool) {
        let (mut pulled, mut bytes, mut is_whole) = (0, 0, !waits);
        for Pull { part, to, from } in pulls {
            let head = PullHead { digest, part: Part::of(redundancy, part), round, from };
            match self.ask_pull(&to, &head).await {
                Ok(true) => {
                    pulled += 1;
                    bytes += redundancy.bytes_per_holder(CHUNK_BYTES as u64);
                }
                Ok(false) => is_whole = false,
                Err(error) => {
                    tracing::debug!(peer = %to, %digest, %error, "peer did not get a part");
                    is_whole = false;
                }
            }
        }
        (digest, pulled, bytes, is_whole)
    }

    /// Which parts of each chunk the peers have that can be asked, and whether all of them have answered.
    async fn who_has(
        &self,
        known: &Known,
        chunks: &[(Sha256Digest, ChunkRow)],
        condemned: &[Option<super::tables::CondemnedRow>],
        round: u64,
    ) -> (Vec<Held>, bool) {
        let serving = || known.current().peers().filter(|(_, peer)| peer.state.serves());
        let peers = serving().filter(|(id, _)| self.is_up(id));
        let answers = join_all(peers.map(|(peer, _)| {
            let item = |((digest, row), condemned): (&(Sha256Digest, ChunkRow), &Option<_>)| HaveItem {
                digest: *digest,
                kept: keeping_of(self.redundancy(row.kept)),
                // A deletion may still be on its way to what was given up and counted again.
                round: condemned.as_ref().map(|_| round),
            };
            let items: Vec<HaveItem> = chunks.iter().zip(condemned).map(item).collect();
            async move { Some((peer, self.ask_have(peer, items).await.ok()?)) }
        }));
        let answers: Vec<_> = answers.await.into_iter().flatten().collect();
        let held = |at: usize| -> Held {
            let having = answers.iter().filter_map(|(peer, all)| Some((*peer, all.get(at)?)));
            having
                .filter(|(_, parts)| !parts.is_empty())
                .map(|(peer, parts)| (peer.clone(), parts.iter().map(|part| part.number()).collect()))
                .collect()
        };
        ((0..chunks.len()).map(held).collect(), answers.len() == serving().count())
    }

    /// Notes that everything was looked at; if all of it is at its place, no earlier epoch matters any more. Whether that did not
    /// have to wait for chunks that were counted behind the pass and are to be mended first.
    async fn finish_pass(&self, pass: &Pass) -> Result<bool, ObjectError> {
        let (now, own) = (self.clock.now().into(), self.own.clone());
        let (epoch, settles) = (Epoch(pass.of.0), pass.pending == 0);
        let lost = pass.lost;
        metrics::gauge!("cm_storage_lost_chunks").set(lost as f64);
        if lost > 0 {
            tracing::error!(
                chunks = lost,
                "too little is left of some chunks: `object verify` names the objects"
            );
        }
        let (settled, waits) = self
            .db
            .write(move |tx| {
                if let Some(row) = tx.get::<Survey>(&())?.filter(|row| row.holder == own) {
                    tx.put::<Survey>(&(), &SurveyRow { finished_at: Some(now), lost, ..row })?;
                }
                let rounds = tx.get::<Rounds>(&())?.unwrap_or_default();
                let settles = settles && rounds.epoch == epoch.0 && rounds.oldest < epoch.0;
                let waits = settles && !tx.range::<Short>(KeyRange::all(), Direction::Forward, 1)?.is_empty();
                let settles = settles && !waits;
                if settles {
                    layouts::settle(tx, epoch, now)?;
                }
                Ok::<_, ObjectError>((settles, waits))
            })
            .await?;
        if settled {
            tracing::info!(%epoch, "everything is where the storage layout wants it");
            self.learn().await?;
        }
        Ok(!waits)
    }

    /// Forgets what was condemned once all peers have deleted it.
    async fn forget_condemnations(&self, known: &Known) -> Result<(), ObjectError> {
        let known = known.clone();
        let done = self
            .db
            .read(move |tx| {
                let least = swept_by_all(tx, &known)?;
                let first = tx.range::<Condemnations>(KeyRange::all(), Direction::Forward, 1)?;
                let due = first.first().is_some_and(|((round, _), _)| Some(*round) < least);
                Ok::<_, ObjectError>(least.filter(|_| due))
            })
            .await?;
        // The last round is kept: writers that began before it are the usual ones.
        let Some(done) = done else { return Ok(()) };
        self.db
            .write(move |tx| {
                let end = (done, Sha256Digest::from_bytes([0; 32]));
                let old =
                    tx.range::<Condemnations>(KeyRange::of(..end), Direction::Forward, FORGOTTEN_AT_ONCE)?;
                let Some(floor) = old.last().map(|((round, _), _)| *round) else { return Ok(()) };
                for (key, _) in old {
                    tx.delete::<Condemned>(&key.1)?;
                    tx.delete::<Condemnations>(&key)?;
                }
                let rounds = tx.get::<Rounds>(&())?.unwrap_or_default();
                tx.put::<Rounds>(&(), &RoundsRow { floor: rounds.floor.max(floor), ..rounds })?;
                Ok::<_, ObjectError>(())
            })
            .await
    }
}

/// The last round of deletions that every peer has done; `None` without peers.
pub(super) fn swept_by_all(tx: &ReadTx<'_>, known: &Known) -> Result<Option<u64>, ObjectError> {
    let serving = known.current().peers().filter(|(_, peer)| peer.state.serves());
    let peers: Vec<String> = serving.map(|(id, _)| id.to_string()).collect();
    let swept = tx.get_many::<Swept>(&peers)?;
    Ok(swept.into_iter().map(|row| row.map_or(0, |row| row.round)).min())
}
