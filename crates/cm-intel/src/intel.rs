//! The engine: what faces ask of it.

use std::sync::{Arc, Mutex, PoisonError};

use cm_crypto::pss::PssSigningKey;
use cm_db::{Db, Direction};
use cm_kernel::catalog::Record;
use cm_kernel::policy::{Create, List, Permit};
use cm_kernel::{Kernel, OpContext};
use cm_net::{Identity, PeerKey};
use cm_runtime::Tasks;
use cm_types::{Page, PageLimit, ResourceKind, ResourceRef, Timestamp};
use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

use crate::ledger::bucket::Rate;
use crate::ledger::reporter::Terms;
use crate::link::PeerStatus;
use crate::links::Links;
use crate::net::dial::{Dialling, Wanted};
use crate::net::{discovery, listen};
use crate::node::{KnownPeers, Shared};
use crate::pipeline::{Counts, Listener, News, Pipeline};
use crate::spread::Spread;
use crate::store::accept::{Outcome, Rules};
use crate::store::{accept, read};
use crate::{
    Draft, EventFilter, EventKey, Forged, Indicator, IntelConfig, IntelError, KeyId, Mode, Origin,
    Reputation, Stored, ThreatEvent, Tlp, reporter_key, sign, store,
};

/// Longest field of a report that is made here, in bytes.
pub const FIELD_LEN_MAX: usize = 1024;

/// A threat that somebody reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewThreat {
    /// Where it comes from: an address as a rule.
    pub source_ip: String,
    /// What it is.
    pub threat_type: String,
    /// How grave it is, such as `low`, `medium`, `high` or `critical`.
    pub severity: String,
    /// With whom it may be shared.
    pub tlp: Tlp,
}

/// What became of an event that was imported.
#[derive(Clone, Debug, PartialEq)]
pub enum Imported {
    /// It is kept, and shared if it may be.
    Stored(Arc<Stored>),
    /// It was known, under this number.
    Known(u64),
}

/// How the engine is, in figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// How reporters are judged.
    pub mode: Mode,
    /// Who this node is as a reporter.
    pub reporter: KeyId,
    /// Who this node is on links of version 2.
    pub link_key: PeerKey,
    /// The numbers of the oldest and of the newest event that is kept.
    pub events: Option<(u64, u64)>,
    /// How many links are open.
    pub links: usize,
    /// Events that wait to be verified.
    pub waiting: usize,
    /// What came since the node started.
    pub counts: Counts,
}

/// Threat intelligence of one node. Clones share it.
#[derive(Clone)]
pub struct Intel(Arc<Parts>);

struct Parts {
    kernel: Kernel,
    tasks: Tasks,
    db: Db,
    key: PssSigningKey,
    reporter: KeyId,
    identity: Identity,
    config: Arc<IntelConfig>,
    terms: Arc<Terms>,
    rules: watch::Sender<Rules>,
    pipeline: Pipeline,
    spread: Spread,
    known: watch::Sender<KnownPeers>,
    dialling: Arc<Dialling>,
    /// What the connections are given, once there is a port.
    shared: Mutex<Option<Shared>>,
}

impl Intel {
    /// Opens the database and the key of the data directory, and starts taking events in.
    ///
    /// # Errors
    /// A database or key that cannot be opened.
    pub async fn open(
        kernel: Kernel,
        tasks: &Tasks,
        config: IntelConfig,
        identity: Identity,
    ) -> Result<Intel, IntelError> {
        let dir = config.data_dir.clone();
        let opened = tasks.spawn_blocking("intel-open", move || {
            Ok::<_, IntelError>((store::open(&dir)?, reporter_key::open_or_create(&dir)?))
        });
        let (db, key) = opened.await.map_err(|_| IntelError::ShuttingDown)??;
        Self::open_on(db, key, kernel, tasks, config, identity).await
    }

    /// As [`Intel::open`], with a database and a key that are there.
    ///
    /// # Errors
    /// A database that fails.
    pub async fn open_on(
        db: Db,
        key: PssSigningKey,
        kernel: Kernel,
        tasks: &Tasks,
        config: IntelConfig,
        identity: Identity,
    ) -> Result<Intel, IntelError> {
        let public = cm_crypto::pss::PssKey::from_pem(&key.public_pem()).expect("a key of our own is one");
        let reporter = KeyId(public.id());
        let terms = Arc::new(terms(&config, reporter));
        let rules = Rules { terms: terms.clone(), events_max: config.events_max, exempt: Arc::new(()) };
        let rules = watch::Sender::new(rules);
        let head = db.read(read::ends).await?.map_or(0, |(_, last)| last);
        let links = Arc::new(Links::new(kernel.clock().clone()));
        let spread = Spread::start(db.clone(), rules.subscribe(), links.clone(), tasks).await?;
        let (forwarding, spreading) = (links.clone(), spread.clone());
        let listener: Listener = Arc::new(move |news: News<'_>| match news {
            News::Kept(stored, from) if read::shareable(stored) => {
                let from = from.map(|link| link.number);
                forwarding.forward(stored, from);
                spreading.accepted(stored, from);
            }
            News::Kept(stored, _) => spreading.settled(EventKey::of(&stored.event.id, &stored.key)),
            News::NotKept(key) => spreading.settled(key),
            News::Pruned(keys) => spreading.forgotten(keys),
        });
        let clock = kernel.clock().clone();
        let pipeline = Pipeline::start(db.clone(), rules.subscribe(), links, clock, tasks, head, listener);
        let (config, tasks) = (Arc::new(config), tasks.clone());
        let (dialling, shared) = (Arc::new(Dialling::default()), Mutex::new(None));
        let parts = Parts {
            kernel,
            tasks,
            db,
            key,
            reporter,
            identity,
            config,
            terms,
            rules,
            pipeline,
            spread,
            known: watch::Sender::default(),
            dialling,
            shared,
        };
        Ok(Intel(Arc::new(parts)))
    }

    /// Speaks to peers on these sockets, where there are any, and dials those that the operator added.
    ///
    /// # Errors
    /// A socket whose address cannot be told; a kernel that fails.
    pub async fn serve(
        &self,
        listener: Option<TcpListener>,
        discovery: Option<UdpSocket>,
    ) -> Result<(), IntelError> {
        let parts = &self.0;
        let port =
            listener.as_ref().and_then(|listener| listener.local_addr().ok()).map_or(0, |at| at.port());
        let config = IntelConfig { announced_port: port, ..IntelConfig::clone(&parts.config) };
        let shared = Shared {
            pipeline: parts.pipeline.clone(),
            spread: parts.spread.clone(),
            config: Arc::new(config),
            identity: parts.identity.clone(),
            known: parts.known.subscribe(),
            tasks: parts.tasks.clone(),
        };
        *parts.shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(shared.clone());
        if let Some(listener) = listener {
            let serving = listen::run(listener, shared.clone(), parts.tasks.clone());
            parts.tasks.spawn("intel-listen", serving);
        }
        if let Some(socket) = discovery.filter(|_| port != 0) {
            let calling = discovery::run(socket, shared, parts.dialling.clone(), parts.tasks.clone());
            parts.tasks.spawn("intel-discovery", calling);
        }
        crate::operators::follow(self.clone(), &parts.tasks);
        Ok(())
    }

    /// Dials exactly these peers, besides those that discovery found.
    pub(crate) fn dial(&self, wanted: Vec<Wanted>) {
        let with_key = |peer: &Wanted| Some((peer.key?, peer.name.clone()));
        self.0.known.send_replace(Arc::new(wanted.iter().filter_map(with_key).collect()));
        let shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(shared) = shared {
            self.0.dialling.want(wanted, &shared, &self.0.tasks);
        }
    }

    /// Reports a threat: signs it with the node's key, keeps it, and shares it if it may be.
    ///
    /// # Errors
    /// [`IntelError::Field`]; a database that fails.
    pub async fn report(
        &self,
        op: &OpContext,
        _permit: &Permit<Create>,
        new: NewThreat,
    ) -> Result<Arc<Stored>, IntelError> {
        let stored = self.sign_and_keep(new, None).await?;
        self.tell(op, "threat-event.reported", &stored).await?;
        Ok(stored)
    }

    /// As [`Intel::report`], of the node's own accord; `at` is when it happened, now unless told.
    pub(crate) async fn sign_and_keep(
        &self,
        new: NewThreat,
        at: Option<Timestamp>,
    ) -> Result<Arc<Stored>, IntelError> {
        let NewThreat { source_ip, threat_type, severity, tlp } = new;
        for (field, text) in
            [("source_ip", &source_ip), ("threat_type", &threat_type), ("severity", &severity)]
        {
            check_field(field, text)?;
        }
        let timestamp = local_text(at.unwrap_or_else(|| self.0.kernel.now()));
        let draft = Draft { source_ip, threat_type, severity, timestamp };
        let key = self.0.key.clone();
        let signed = self.0.tasks.spawn_blocking("intel-sign", move || sign(&key, draft));
        let verified = signed.await.map_err(|_| IntelError::ShuttingDown)?;
        let event = ThreatEvent::clone(verified.event());
        match self.0.pipeline.submit(event, Some(verified), Origin::Own, tlp).await? {
            Outcome::Kept(stored) => Ok(stored),
            // The same, in the same second: one event.
            Outcome::Known(seq) => {
                self.read_event(seq).await?.map(Arc::new).ok_or(IntelError::NoSuchEvent(seq))
            }
            _ => Err(IntelError::NotKept("the node's own key is not listened to")),
        }
    }

    /// Takes an event that somebody signed elsewhere: verified, kept and shared as if a peer had brought it.
    ///
    /// # Errors
    /// [`IntelError::Invalid`] if it was not signed by whom it names, [`IntelError::NotKept`] if whoever signed it is not listened to.
    pub async fn import(
        &self,
        op: &OpContext,
        _permit: &Permit<Create>,
        event: ThreatEvent,
        from: &str,
        tlp: Tlp,
    ) -> Result<Imported, IntelError> {
        match self.0.pipeline.submit(event, None, Origin::Import(from.to_owned()), tlp).await? {
            Outcome::Kept(stored) => {
                self.tell(op, "threat-event.imported", &stored).await?;
                Ok(Imported::Stored(stored))
            }
            Outcome::Known(seq) => Ok(Imported::Known(seq)),
            Outcome::Banned => Err(IntelError::NotKept("its reporter is not listened to")),
            Outcome::Limited => Err(IntelError::NotKept("its reporter says more than it may")),
            Outcome::NameTooLong => Err(IntelError::NotKept("its id is longer than 256 bytes")),
            Outcome::TooLong => Err(IntelError::NotKept("it takes more than 65536 bytes as it is passed on")),
            Outcome::Evidence => Err(IntelError::Invalid(crate::Invalid::Signature)),
        }
    }

    /// Says that an event is false: held against its reporter.
    ///
    /// # Errors
    /// [`IntelError::NoSuchEvent`].
    pub async fn dismiss(
        &self,
        op: &OpContext,
        _permit: &Permit<Create>,
        seq: u64,
    ) -> Result<KeyId, IntelError> {
        let (terms, now) = (self.0.terms.clone(), self.0.kernel.now());
        let dismissed =
            self.0.db.write(move |tx| Ok::<_, IntelError>(accept::dismiss(tx, &terms, seq, now)?));
        let reporter = dismissed.await?.ok_or(IntelError::NoSuchEvent(seq))?;
        self.record(op, "threat-event.dismissed", seq, json!({ "reporter": reporter.to_string() })).await?;
        Ok(reporter)
    }

    async fn tell(&self, op: &OpContext, verb: &'static str, stored: &Stored) -> Result<(), IntelError> {
        let event = &stored.event;
        let facts =
            json!({ "source": event.source_ip, "type": event.threat_type, "severity": event.severity });
        self.record(op, verb, stored.seq, facts).await
    }

    async fn record(
        &self,
        op: &OpContext,
        verb: &'static str,
        seq: u64,
        facts: serde_json::Value,
    ) -> Result<(), IntelError> {
        use cm_kernel::events::{EventVerb, NewEvent};
        let serde_json::Value::Object(facts) = facts else { unreachable!("facts are written as an object") };
        let event = NewEvent {
            actor: op.principal().cloned(),
            resource: Some(ResourceRef::new(ResourceKind::ThreatEvent, seq.to_string())),
            request: Some(op.request.clone()),
            facts,
            ..NewEvent::new(op.tenant(), EventVerb::fixed(verb))
        };
        self.0.kernel.record_event(event).await?;
        Ok(())
    }

    /// The number of the last event that is kept; changes with every one. What it says can be read at once.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.0.pipeline.head()
    }

    /// The events after a number that pass the filter, the oldest first. A page may be short, even empty, and have a `next`: the number to go on
    /// after. At the end, go on after the last event once [`Intel::head`] has moved.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn event_page(
        &self,
        _permit: &Permit<List>,
        after: u64,
        limit: PageLimit,
        filter: EventFilter,
    ) -> Result<Page<Stored>, IntelError> {
        self.events((Some(after), Direction::Forward), limit, filter).await
    }

    /// The events before a number, or all of them, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn event_page_backwards(
        &self,
        _permit: &Permit<List>,
        before: Option<u64>,
        limit: PageLimit,
        filter: EventFilter,
    ) -> Result<Page<Stored>, IntelError> {
        self.events((before, Direction::Backward), limit, filter).await
    }

    /// The events that were accepted after a moment, strictly, and after a number, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events_since(
        &self,
        _permit: &Permit<List>,
        added_after: Timestamp,
        after: u64,
        limit: PageLimit,
    ) -> Result<Page<Stored>, IntelError> {
        let (terms, now) = (self.0.terms.clone(), self.0.kernel.now());
        let read = self.0.db.read(move |tx| {
            let from = after.max(read::last_until(tx, added_after)?);
            read::events(tx, &terms, now, (Some(from), Direction::Forward), limit, &EventFilter::default())
        });
        Ok(read.await?)
    }

    async fn events(
        &self,
        from: (Option<u64>, Direction),
        limit: PageLimit,
        filter: EventFilter,
    ) -> Result<Page<Stored>, IntelError> {
        let (terms, now) = (self.0.terms.clone(), self.0.kernel.now());
        Ok(self.0.db.read(move |tx| read::events(tx, &terms, now, from, limit, &filter)).await?)
    }

    /// One event by its number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn event(&self, _permit: &Permit<List>, seq: u64) -> Result<Option<Stored>, IntelError> {
        self.read_event(seq).await
    }

    pub(crate) async fn read_event(&self, seq: u64) -> Result<Option<Stored>, IntelError> {
        let (terms, now) = (self.0.terms.clone(), self.0.kernel.now());
        Ok(self.0.db.look_up(move |tx| read::event(tx, &terms, now, seq)).await?)
    }

    /// The events that reporters call so: at most one of each reporter.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events_by_id(&self, _permit: &Permit<List>, id: &str) -> Result<Vec<Stored>, IntelError> {
        let (terms, now, id) = (self.0.terms.clone(), self.0.kernel.now(), id.to_owned());
        Ok(self.0.db.read(move |tx| read::by_name(tx, &terms, now, &id)).await?)
    }

    /// Reporters after a key, in the order of their keys.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reputations(
        &self,
        _permit: &Permit<List>,
        after: Option<KeyId>,
        limit: PageLimit,
    ) -> Result<Page<Reputation>, IntelError> {
        let (terms, now) = (self.0.terms.clone(), self.0.kernel.now());
        Ok(self.0.db.read(move |tx| read::reputations(tx, &terms, now, after, limit)).await?)
    }

    /// What is held of a reporter, and why; `None` if nobody of that key reported anything.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn why(&self, _permit: &Permit<List>, key: KeyId) -> Result<Option<Reputation>, IntelError> {
        let (terms, now) = (self.0.terms.clone(), self.0.kernel.now());
        Ok(self.0.db.read(move |tx| read::reputation(tx, &terms, now, key)).await?)
    }

    /// Sources of threats that hold at present, after a name, in the order of their names.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn indicators(
        &self,
        _permit: &Permit<List>,
        after: Option<String>,
        limit: PageLimit,
    ) -> Result<Page<Indicator>, IntelError> {
        let (terms, config, now) = (self.0.terms.clone(), self.0.config.clone(), self.0.kernel.now());
        Ok(self.0.db.read(move |tx| read::indicators(tx, &config, &terms, now, after, limit)).await?)
    }

    /// What was forged of late, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forged(&self, _permit: &Permit<List>, limit: PageLimit) -> Result<Vec<Forged>, IntelError> {
        Ok(self.0.db.read(move |tx| read::forged(tx, limit)).await?)
    }

    /// All links, and the peers that cannot be reached.
    pub fn peers(&self, _permit: &Permit<List>) -> Vec<PeerStatus> {
        let mut peers = self.0.pipeline.links().statuses();
        peers.extend(self.0.dialling.statuses());
        peers
    }

    /// How the engine is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn status(&self, _permit: &Permit<List>) -> Result<Status, IntelError> {
        let parts = &self.0;
        Ok(Status {
            mode: parts.config.mode,
            reporter: parts.reporter,
            link_key: parts.identity.key(),
            events: parts.db.look_up(read::ends).await?,
            links: parts.pipeline.links().count(),
            waiting: parts.pipeline.waiting(),
            counts: parts.pipeline.counts(),
        })
    }

    /// Finishes what is written and closes the database.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn close(&self) -> Result<(), IntelError> {
        Ok(self.0.db.close().await?)
    }

    pub(crate) fn kernel(&self) -> &Kernel {
        &self.0.kernel
    }

    /// Collections of STIX objects, kept beside the events.
    pub fn shelf(&self) -> crate::Shelf {
        crate::Shelf::new(self.0.db.clone())
    }

    pub(crate) fn db(&self) -> &Db {
        &self.0.db
    }

    pub(crate) fn config(&self) -> &IntelConfig {
        &self.0.config
    }

    /// Changes what taking in needs to know.
    pub(crate) fn set_rules(&self, change: impl FnOnce(&mut Rules)) {
        self.0.rules.send_modify(change);
    }
}

fn terms(config: &IntelConfig, own: KeyId) -> Terms {
    let mut anchors = config.anchors.clone();
    anchors.push(own);
    Terms {
        mode: config.mode,
        anchors,
        organisations: config.organisations.clone(),
        probation: config.probation,
        rate_new: Rate::per_hour(config.new_key_rate),
        rate_known: Rate::per_hour(config.known_key_rate),
    }
}

fn check_field(field: &'static str, text: &str) -> Result<(), IntelError> {
    let problem = if text.trim().is_empty() {
        "is empty"
    } else if text.len() > FIELD_LEN_MAX {
        "is longer than 1024 bytes"
    } else if text.chars().any(char::is_control) {
        "must not contain control characters"
    } else {
        return Ok(());
    };
    Err(IntelError::Field { field, problem })
}

/// The moment as the earlier node writes it. Its times have no zone and are said to be local; those of this node are UTC.
fn local_text(at: Timestamp) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at.as_secs()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    at.format(&format).expect("every moment of a clock can be written so")
}

/// What a record of an added peer says.
pub(crate) fn wanted(record: &Record) -> Option<Wanted> {
    let text = |name: &str| record.spec.get(name).and_then(serde_json::Value::as_str);
    let key = text("key").and_then(|key| key.parse().ok()).map(PeerKey);
    Some(Wanted { name: record.header.id.to_string(), address: text("address")?.to_owned(), key })
}
