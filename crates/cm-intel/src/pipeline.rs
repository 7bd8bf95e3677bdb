//! The way of an event: length cap, memory of what came, verification on the pool for blocking work, one writer.
//!
//! Every step is bounded, and waits rather than loses: a link that floods fills its own credit and is not read from until its events are
//! through, whoever else comes gets its turn. What is not looked at is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cm_db::Db;
use cm_runtime::{Clock, Tasks};
use cm_types::Timestamp;
use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc, oneshot, watch};

use crate::ledger::link::Deed;
use crate::link::{Link, one};
use crate::links::Links;
use crate::seen::{Seen, Trace};
use crate::store::accept::{Accepted, Arrival, Outcome, Rules, accept};
use crate::store::tables::Origin;
use crate::{EventKey, IntelError, Invalid, NoEvent, ThreatEvent, Tlp, Verified, Verifier};

/// Events that wait for verification, and for the writer.
const WAITING_MAX: usize = 4096;
/// Events verified in one go: some milliseconds of work.
const VERIFIED_AT_ONCE: usize = 64;
/// Events written in one transaction at most.
const WRITTEN_AT_ONCE: usize = 512;

/// How much came, and what became of it, since the node started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that came, from wherever.
    pub received: u64,
    /// New ones that were kept.
    pub accepted: u64,
    /// Known ones.
    pub duplicates: u64,
    /// Forged ones, and what was no event.
    pub invalid: u64,
    /// Valid ones that were not kept: their reporter is not listened to, or says too much.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct Tally {
    received: AtomicU64,
    accepted: AtomicU64,
    duplicates: AtomicU64,
    invalid: AtomicU64,
    refused: AtomicU64,
}

/// What became of something that a link brought, so far as is known at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is being looked at.
    New,
    /// It came before.
    Known,
    /// It is not looked at.
    Refused,
}

/// An event on its way.
struct Job {
    event: ThreatEvent,
    /// Verified already: this node signed it.
    own: Option<Verified>,
    tlp: Tlp,
    origin: Origin,
    from: Option<Arc<Link>>,
    /// Under which its payload is remembered.
    trace: Option<Trace>,
    /// Nodes of version 1 may hold it for valid: who brings it is not charged.
    excused: bool,
    answer: Option<oneshot::Sender<Result<Outcome, IntelError>>>,
    /// The link's credit, given back at the end.
    _credit: Option<OwnedSemaphorePermit>,
}

/// A job that was looked at.
struct Looked {
    arrival: Arrival,
    job: Job,
}

/// Where events go in. Clones share it.
#[derive(Clone)]
pub(crate) struct Pipeline(Arc<Parts>);

struct Parts {
    clock: Arc<dyn Clock>,
    seen: Seen,
    verifier: Verifier,
    jobs: mpsc::Sender<Job>,
    tally: Tally,
    links: Arc<Links>,
    head: watch::Sender<u64>,
}

/// What became of an event, as soon as it is certain.
#[derive(Debug)]
pub(crate) enum News<'a> {
    /// It is kept, and on the disk; the link brought it.
    Kept(&'a Arc<crate::Stored>, Option<&'a Arc<Link>>),
    /// It was verified, and is not kept anew.
    NotKept(EventKey),
    /// These had to go.
    Pruned(Vec<EventKey>),
}

/// Who is told of events: it must be quick and must not wait.
pub(crate) type Listener = Arc<dyn Fn(News<'_>) + Send + Sync>;

impl Pipeline {
    /// Starts the tasks. `head` is the number of the last event that is kept.
    pub(crate) fn start(
        db: Db,
        rules: watch::Receiver<Rules>,
        links: Arc<Links>,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
        head: u64,
        listener: Listener,
    ) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let (looked, to_write) = mpsc::channel(WAITING_MAX);
        let pipeline = Self(Arc::new(Parts {
            clock,
            seen: Seen::default(),
            verifier: Verifier::default(),
            jobs,
            tally: Tally::default(),
            links,
            head: watch::Sender::new(head),
        }));
        let waiting = Arc::new(Mutex::new(waiting));
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..workers {
            let verifying = verify(pipeline.clone(), waiting.clone(), looked.clone(), tasks.clone());
            let token = tasks.token();
            tasks.spawn("intel-verify", async move {
                token.run_until_cancelled(verifying).await;
            });
        }
        let writer = Writer { db, rules, pipeline: pipeline.clone(), listener };
        let token = tasks.token();
        tasks.spawn("intel-write", async move {
            token.run_until_cancelled(writer.run(to_write)).await;
        });
        pipeline
    }

    /// The number of the last event that is kept.
    pub(crate) fn head(&self) -> watch::Receiver<u64> {
        self.0.head.subscribe()
    }

    pub(crate) fn counts(&self) -> Counts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tally = &self.0.tally;
        Counts {
            received: count(&tally.received),
            accepted: count(&tally.accepted),
            duplicates: count(&tally.duplicates),
            invalid: count(&tally.invalid),
            refused: count(&tally.refused),
        }
    }

    /// Events that wait to be verified.
    pub(crate) fn waiting(&self) -> usize {
        WAITING_MAX - self.0.jobs.capacity()
    }

    /// Takes what a link brought. Waits while the link has used up its credit, which is how a flood is held back.
    ///
    /// Cancel-safe: an event is taken, or not.
    pub(crate) async fn take(&self, link: &Arc<Link>, payload: &str, tlp: Tlp) -> Taken {
        let (tally, now) = (&self.0.tally, self.now());
        one(&tally.received);
        one(&link.tally.received);
        if link.is_ignored(now) {
            one(&tally.refused);
            one(&link.tally.refused);
            return Taken::Refused;
        }
        let trace = Trace::of(payload);
        if !self.0.seen.enter(trace) {
            one(&tally.duplicates);
            one(&link.tally.duplicates);
            return Taken::Known;
        }
        let forgotten = Forgotten { seen: &self.0.seen, trace: Some(trace) };
        let event = match ThreatEvent::from_payload(payload) {
            Ok(event) => event,
            Err(error) => {
                tracing::debug!(from = %link.address, %error, "not an event");
                one(&tally.invalid);
                one(&link.tally.invalid);
                // Nodes of version 1 pass on in good faith what is too long or too odd for this one.
                if link.version != 1 || matches!(error, NoEvent::Shape(_)) {
                    link.record(Deed::Malformed, now);
                }
                forgotten.keep();
                return Taken::Refused;
            }
        };
        let credit = link.credit.clone().acquire_owned().await.ok();
        let origin = Origin::Link(link.party.text());
        let from = Some(link.clone());
        let job = Job {
            event,
            own: None,
            tlp,
            origin,
            from,
            trace: Some(trace),
            excused: false,
            answer: None,
            _credit: credit,
        };
        if self.0.jobs.send(job).await.is_err() {
            return Taken::Refused;
        }
        forgotten.keep();
        Taken::New
    }

    /// Takes an event that did not come from a link, and says what became of it.
    pub(crate) async fn submit(
        &self,
        event: ThreatEvent,
        own: Option<Verified>,
        origin: Origin,
        tlp: Tlp,
    ) -> Result<Outcome, IntelError> {
        one(&self.0.tally.received);
        let (answer, answered) = oneshot::channel();
        let job = Job {
            event,
            own,
            tlp,
            origin,
            from: None,
            trace: None,
            excused: false,
            answer: Some(answer),
            _credit: None,
        };
        self.0.jobs.send(job).await.map_err(|_| IntelError::ShuttingDown)?;
        answered.await.map_err(|_| IntelError::ShuttingDown)?
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now().into()
    }

    fn look(&self, mut job: Job) -> Looked {
        let (tlp, origin) = (job.tlp, job.origin.clone());
        if let Some(verified) = job.own.take() {
            return Looked { arrival: Arrival::Valid { verified, origin, tlp }, job };
        }
        let event = std::mem::replace(&mut job.event, blank());
        let arrival = match self.0.verifier.verify(event) {
            Ok(verified) => Arrival::Valid { verified, origin, tlp },
            Err(refused) => {
                let (event, invalid) = *refused;
                // Published nodes take keys of other sizes and most of them other salts, and pass on what was signed so.
                job.excused =
                    invalid != Invalid::Signature && job.from.as_ref().is_some_and(|link| link.version == 1);
                Arrival::Forged {
                    // Whose key did sign it is charged for nothing.
                    claimed: self.0.verifier.claimed(&event).filter(|_| invalid != Invalid::Salt),
                    event: Box::new(event),
                    link: job.from.as_ref().map_or_else(|| origin.to_string(), |link| link.party.text()),
                    reason: invalid.to_string(),
                }
            }
        };
        Looked { arrival, job }
    }
}

/// What stands in a job whose event went on.
fn blank() -> ThreatEvent {
    let text = String::new;
    ThreatEvent {
        id: text(),
        source_ip: text(),
        threat_type: text(),
        severity: text(),
        timestamp: text(),
        reporter_pubkey: text(),
        signature: text(),
    }
}

/// Forgets a payload unless it is taken.
struct Forgotten<'a> {
    seen: &'a Seen,
    trace: Option<Trace>,
}

impl Forgotten<'_> {
    fn keep(mut self) {
        self.trace = None;
    }
}

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        if let Some(trace) = self.trace {
            self.seen.forget(trace);
        }
    }
}

/// Verifies what waits, some at a time, off the runtime.
async fn verify(
    pipeline: Pipeline,
    waiting: Arc<Mutex<mpsc::Receiver<Job>>>,
    looked: mpsc::Sender<Looked>,
    tasks: Tasks,
) {
    loop {
        let mut jobs = Vec::with_capacity(VERIFIED_AT_ONCE);
        if waiting.lock().await.recv_many(&mut jobs, VERIFIED_AT_ONCE).await == 0 {
            return;
        }
        let own = pipeline.clone();
        let traces: Vec<Trace> = jobs.iter().filter_map(|job| job.trace).collect();
        let verified = tasks.spawn_blocking("intel-verify-signatures", move || {
            jobs.into_iter().map(|job| own.look(job)).collect::<Vec<_>>()
        });
        let Ok(verified) = verified.await else {
            traces.into_iter().for_each(|trace| pipeline.0.seen.forget(trace));
            continue;
        };
        for job in verified {
            if looked.send(job).await.is_err() {
                return;
            }
        }
    }
}

/// The one who writes.
struct Writer {
    db: Db,
    rules: watch::Receiver<Rules>,
    pipeline: Pipeline,
    listener: Listener,
}

impl Writer {
    async fn run(self, mut looked: mpsc::Receiver<Looked>) {
        loop {
            let mut batch = Vec::with_capacity(WRITTEN_AT_ONCE);
            if looked.recv_many(&mut batch, WRITTEN_AT_ONCE).await == 0 {
                return;
            }
            self.write(batch).await;
        }
    }

    async fn write(&self, batch: Vec<Looked>) {
        let rules = self.rules.borrow().clone();
        let now = self.pipeline.now();
        let (arrivals, jobs): (Vec<Arrival>, Vec<Job>) =
            batch.into_iter().map(|looked| (looked.arrival, looked.job)).unzip();
        let froms: Vec<Option<Arc<Link>>> = jobs.iter().map(|job| job.from.clone()).collect();
        let keys: Vec<Option<EventKey>> = arrivals.iter().map(Arrival::key).collect();
        let (listener, pipeline) = (self.listener.clone(), self.pipeline.clone());
        let written = self.db.write(move |tx| {
            let Accepted { outcomes, pruned } = accept(tx, &rules, arrivals, now)?;
            let told: Vec<(Outcome, Option<EventKey>, Option<Arc<Link>>)> = outcomes
                .iter()
                .zip(keys)
                .zip(froms)
                .map(|((outcome, key), from)| (outcome.clone(), key, from))
                .collect();
            // What is undone after all was never heard of.
            tx.on_commit(Box::new(move || {
                let mut last = None;
                for (outcome, key, from) in &told {
                    match (outcome, key) {
                        (Outcome::Kept(stored), _) => {
                            listener(News::Kept(stored, from.as_ref()));
                            last = Some(stored.seq);
                        }
                        (_, Some(key)) => listener(News::NotKept(*key)),
                        _ => {}
                    }
                }
                if !pruned.is_empty() {
                    listener(News::Pruned(pruned));
                }
                if let Some(last) = last {
                    pipeline.0.head.send_replace(last);
                }
            }));
            Ok::<_, IntelError>(outcomes)
        });
        match written.await {
            Ok(outcomes) => {
                for (outcome, job) in outcomes.into_iter().zip(jobs) {
                    self.settle(outcome, job, now);
                }
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, events = jobs.len(), "events lost");
                metrics::counter!("cryptomesh_intel_lost_total").increment(jobs.len() as u64);
                for job in jobs {
                    if let Some(trace) = job.trace {
                        self.pipeline.0.seen.forget(trace);
                    }
                    if let Some(answer) = job.answer {
                        // Who asked may have gone.
                        let _ = answer.send(Err(IntelError::Busy));
                    }
                }
            }
        }
    }

    /// Counts what became of a job, holds it against its link or in its favour, and answers.
    fn settle(&self, outcome: Outcome, job: Job, now: Timestamp) {
        let parts = &self.pipeline.0;
        let link = job.from.as_ref();
        let count = |all: &AtomicU64, of_link: fn(&crate::link::Tally) -> &AtomicU64| {
            one(all);
            if let Some(link) = link {
                one(of_link(&link.tally));
            }
        };
        // What was right and is not kept may be another time; and whoever is asked for it meanwhile is told of again.
        if !matches!(outcome, Outcome::Kept(_) | Outcome::Evidence)
            && let Some(trace) = job.trace
        {
            parts.seen.forget(trace);
        }
        let label = match &outcome {
            Outcome::Kept(_) => {
                count(&parts.tally.accepted, |tally| &tally.accepted);
                link.map(|link| link.record(Deed::Delivered, now));
                "accepted"
            }
            Outcome::Known(_) => {
                count(&parts.tally.duplicates, |tally| &tally.duplicates);
                "duplicate"
            }
            Outcome::Banned | Outcome::Limited | Outcome::NameTooLong | Outcome::TooLong => {
                count(&parts.tally.refused, |tally| &tally.refused);
                if let Some(link) = link.filter(|_| outcome == Outcome::Limited) {
                    link.flood(now);
                }
                "refused"
            }
            Outcome::Evidence => {
                count(&parts.tally.invalid, |tally| &tally.invalid);
                let hardened = self.rules.borrow().terms.mode == crate::Mode::Hardened;
                // The earlier node charges the key that is named, and keeps every connection.
                if let Some(link) = link.filter(|_| hardened && !job.excused)
                    && link.record(Deed::Invalid, now)
                {
                    tracing::warn!(peer = %link.address, "link cut: too many forged events");
                }
                "invalid"
            }
        };
        metrics::counter!("cryptomesh_intel_events_total", "outcome" => label).increment(1);
        if let Some(answer) = job.answer {
            // Who asked may have gone.
            let _ = answer.send(Ok(outcome));
        }
    }
}

impl Pipeline {
    /// All links.
    pub(crate) fn links(&self) -> &Arc<Links> {
        &self.0.links
    }
}
