//! The engine: what faces ask of it.

mod reading;
mod reporting;

use std::sync::{Arc, Mutex, PoisonError};

use cm_crypto::pss::PssSigningKey;
use cm_db::Db;
use cm_kernel::Kernel;
use cm_kernel::catalog::Record;
use cm_kernel::policy::{List, Permit};
use cm_net::{Identity, PeerKey};
use cm_runtime::Tasks;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

use crate::feeds::Desk;
use crate::ledger::bucket::Rate;
use crate::ledger::reporter::Terms;
use crate::link::PeerStatus;
use crate::links::Links;
use crate::net::dial::{Dialling, Wanted};
use crate::net::{discovery, listen};
use crate::node::{KnownPeers, Shared};
use crate::pipeline::{Counts, Listener, News, Pipeline};
use crate::spread::Spread;
use crate::store::accept::Rules;
use crate::store::read;
use crate::{EventKey, IntelConfig, IntelError, KeyId, Mode, reporter_key, store};

pub use reporting::{FIELD_LEN_MAX, Imported, NewThreat};

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
    desk: Desk,
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
        store::sweep::follow(db.clone(), links.clone(), config.indicator_lifetime, tasks);
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
            desk: Desk::default(),
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
        if let Some(automatic) = parts.config.automatic {
            crate::automatic::follow(self.clone(), automatic, &parts.tasks);
        }
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

    /// The number of the last event that is kept; changes with every one. What it says can be read at once.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.0.pipeline.head()
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

    /// Who this node is as a reporter.
    pub(crate) fn reporter(&self) -> KeyId {
        self.0.reporter
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

    pub(crate) fn desk(&self) -> &Desk {
        &self.0.desk
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0.tasks
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

/// What a record of an added peer says.
pub(crate) fn wanted(record: &Record) -> Option<Wanted> {
    let text = |name: &str| record.spec.get(name).and_then(serde_json::Value::as_str);
    let key = text("key").and_then(|key| key.parse().ok()).map(PeerKey);
    Some(Wanted { name: record.header.id.to_string(), address: text("address")?.to_owned(), key })
}
