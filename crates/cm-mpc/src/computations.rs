//! The service that the faces call.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cm_crypto::Secret;
use cm_crypto::seal::RecipientSecretKey;
use cm_crypto::secp256k1::{Secp256k1PublicKey, Secp256k1SecretKey};
use cm_kernel::policy::RoleFacts;
use cm_kernel::{Actor, ActorFacts, Kernel, OpContext};
use cm_net::{Contact, Directory, Identity, Links, PeerKey};
use cm_runtime::Tasks;
use cm_types::{PeerId, PrincipalId, RequestId, ResourceId, TenantId};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::ComputationError;
use crate::anchor::Anchor;
use crate::control::{ABOUT, About};
use crate::guest::Proposed;
use crate::journal::{Journal, PeerRow};
use crate::lead::Running;
use crate::meeting::Meeting;

/// The key that shares for this node are sealed to, within the data directory.
pub const SEALING_KEY_FILE: &str = "mpc.key";
/// The key that clients of the first system know this node by, in the form of their key files, within the data directory.
pub const CLIENT_KEY_FILE: &str = "mpc-client.pem";
/// How long another node may take to say who it is.
const ABOUT_WITHIN: Duration = Duration::from_secs(10);
/// How long it may take to say so for a list of nodes.
const KEY_WITHIN: Duration = Duration::from_secs(2);
/// For how long a node that did not tell its key for such a list is not asked again.
const KEY_MISSING_FOR: Duration = Duration::from_secs(15);

/// How computations behave.
#[derive(Clone, Debug)]
pub struct MpcConfig {
    /// Where the journal and shares are kept.
    pub data_dir: PathBuf,
    /// What this node is called among parties.
    pub name: String,
    /// Peers of the configuration: name, `HOST:PORT`, key of its links. Those that operators add come to them.
    pub peers: Vec<(String, PeerRow)>,
    /// How long a run may take unless it says otherwise.
    pub run_within: Duration,
    /// How long a party may say nothing while it is waited for.
    pub patience: Duration,
    /// Runs at once that this node leads, and that it takes part in for others.
    pub runs_max: usize,
    /// Where signed results are recorded, if anywhere.
    pub anchor: Option<Arc<dyn Anchor>>,
}

/// Computations of this node with others. Clones share everything.
#[derive(Clone)]
pub struct Computations(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) kernel: Kernel,
    pub(crate) config: MpcConfig,
    pub(crate) own: PeerId,
    pub(crate) link_key: PeerKey,
    pub(crate) sealing_key: Arc<RecipientSecretKey>,
    client_key: Secp256k1SecretKey,
    /// The keys of that kind that peers have told of, by name.
    client_keys: Mutex<BTreeMap<String, ClientKey>>,
    pub(crate) journal: Journal,
    pub(crate) tasks: Tasks,
    /// Absent when the listener for parties is off.
    pub(crate) network: Option<Network>,
    pub(crate) proposed: Mutex<BTreeMap<Uuid, Proposed>>,
    /// Runs of others that this node takes part in now.
    pub(crate) taking: AtomicUsize,
    pub(crate) running: Mutex<BTreeMap<(TenantId, ResourceId), Running>>,
    /// Computations whose results are being recorded.
    pub(crate) anchoring: Mutex<BTreeSet<(TenantId, ResourceId)>>,
    peers: Mutex<BTreeMap<String, PeerRow>>,
    directory: watch::Sender<Arc<Directory>>,
}

/// What is known of a peer's key for clients of the first system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientKey {
    Told(String),
    /// It was asked then, and did not tell.
    Missing(Instant),
}

#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) links: Links,
    pub(crate) meeting: Meeting,
}

impl std::fmt::Debug for Computations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Computations").field("name", &self.0.own).finish_non_exhaustive()
    }
}

/// Another node that may be a party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it is called.
    pub name: String,
    /// Where it listens for parties.
    pub address: String,
    /// The key by which its links are known.
    pub link_key: PeerKey,
    /// Whether it answers now.
    pub is_up: bool,
    /// Whether the configuration names it: then it stays.
    pub is_configured: bool,
}

impl Computations {
    /// Opens the journal, ends what an earlier process left behind, and takes the calls of peers on the listener, if there is one.
    ///
    /// # Errors
    /// When the journal or the key cannot be read, or a peer of the configuration cannot be.
    pub async fn open(
        kernel: Kernel,
        tasks: &Tasks,
        config: MpcConfig,
        identity: Identity,
        listener: Option<TcpListener>,
    ) -> Result<Self, ComputationError> {
        let own: PeerId = config.name.parse().map_err(|_| ComputationError::PeerName(config.name.clone()))?;
        let journal = Journal::open(&config.data_dir, tasks).await?;
        let made = || Secret::new(RecipientSecretKey::generate().to_text().as_str().to_owned());
        let sealing_key = open_key(&config.data_dir, SEALING_KEY_FILE, tasks, made).await?;
        let sealing_key: RecipientSecretKey = (sealing_key.expose().trim().parse())
            .map_err(|_| ComputationError::SealingKey(SEALING_KEY_FILE.to_owned()))?;
        let made = || Secp256k1SecretKey::generate().to_file();
        let client_key = open_key(&config.data_dir, CLIENT_KEY_FILE, tasks, made).await?;
        let client_key = Secp256k1SecretKey::read(client_key.expose())
            .map_err(|_| ComputationError::ClientKey(CLIENT_KEY_FILE.to_owned()))?;
        let mut peers: BTreeMap<String, PeerRow> = journal.peers().await?.into_iter().collect();
        peers.extend(config.peers.iter().cloned());
        let (directory, followed) = watch::channel(Arc::new(directory_of(&peers)?));
        let link_key = identity.key();
        let network = match listener {
            Some(listener) => {
                let links_config = cm_net::Config {
                    handler_timeout_max: Duration::from_secs(24 * 3600),
                    ..cm_net::Config::default()
                };
                let links = Links::start(own.clone(), links_config, identity, followed, tasks)?;
                links.listen(listener)?;
                Some(Network { meeting: Meeting::new(links.clone(), tasks), links })
            }
            None => None,
        };
        let computations = Self(Arc::new(Inner {
            kernel,
            config,
            own,
            link_key,
            sealing_key: Arc::new(sealing_key),
            client_key,
            client_keys: Mutex::default(),
            journal,
            tasks: tasks.clone(),
            network,
            proposed: Mutex::default(),
            taking: AtomicUsize::new(0),
            running: Mutex::default(),
            anchoring: Mutex::default(),
            peers: Mutex::new(peers),
            directory,
        }));
        computations.fail_leftovers().await?;
        computations.answer_peers();
        Ok(computations)
    }

    pub(crate) fn network(&self) -> Result<&Network, ComputationError> {
        self.0.network.as_ref().ok_or(ComputationError::SwitchedOff)
    }

    /// What the engine writes of its own accord, within a tenant.
    pub(crate) fn node_op(&self, tenant: &TenantId) -> OpContext {
        let facts = ActorFacts {
            principal: PrincipalId::node(),
            tenant: tenant.clone(),
            roles: vec![RoleFacts::administrator()],
            policies: cm_kernel::Policies::none(),
        };
        OpContext::new(Actor::Node(Arc::new(facts)), RequestId::random(), self.0.tasks.token())
    }

    /// What this node is called among parties.
    pub fn name(&self) -> &str {
        self.0.own.as_str()
    }

    /// The key by which other parties know this node's links.
    pub fn link_key(&self) -> PeerKey {
        self.0.link_key
    }

    /// The key that shares for this node are sealed to.
    pub fn sealing_key(&self) -> String {
        self.0.sealing_key.public_key().to_string()
    }

    /// The key that clients of the first system know this node by: the uncompressed point in hexadecimal digits.
    pub fn client_key(&self) -> String {
        self.0.client_key.public_key().to_hex()
    }

    /// The same of a peer, if it has told or answers within two seconds. One that does not is asked again after a quarter of a minute.
    pub async fn client_key_of(&self, peer: &Peer) -> Option<String> {
        let known = || self.client_keys().get(&peer.name).cloned();
        match known() {
            Some(ClientKey::Told(key)) => return Some(key),
            Some(ClientKey::Missing(since)) if since.elapsed() < KEY_MISSING_FOR => return None,
            _ if !peer.is_up => return None,
            _ => {}
        }
        // Whatever comes of it, the key is known afterwards or it is not.
        let _ = timeout(KEY_WITHIN, self.ask_about(&peer.name)).await;
        if let Some(ClientKey::Told(key)) = known() {
            return Some(key);
        }
        // Of those that are known alone, so that there are no more than of them.
        if self.peers_now().contains_key(&peer.name) {
            self.client_keys().insert(peer.name.clone(), ClientKey::Missing(Instant::now()));
        }
        None
    }

    pub(crate) fn client_keys(&self) -> MutexGuard<'_, BTreeMap<String, ClientKey>> {
        self.0.client_keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a client of the first system masked a number with for this node, of the ephemeral key that came with it.
    pub fn unmask(&self, ephemeral: &str) -> Option<[u8; 32]> {
        let key = Secp256k1PublicKey::parse(ephemeral).ok()?;
        Some(*self.0.client_key.shared_x(&key).expose())
    }

    /// Whether this node takes part in computations.
    pub fn is_on(&self) -> bool {
        self.0.network.is_some()
    }

    fn peers_now(&self) -> MutexGuard<'_, BTreeMap<String, PeerRow>> {
        self.0.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nodes that may be parties beside this one, by name.
    pub fn peers(&self) -> Vec<Peer> {
        let is_up = |name: &str| {
            let status = self.0.network.as_ref().zip(name.parse().ok());
            let status = status.and_then(|(network, id)| network.links.status(&id));
            status.is_some_and(|status| status.state == cm_net::LinkState::Up)
        };
        let is_configured = |name: &str| self.0.config.peers.iter().any(|(own, _)| own == name);
        let peers = self.peers_now().clone();
        let shown = peers.into_iter().map(|(name, row)| Peer {
            is_up: is_up(&name),
            is_configured: is_configured(&name),
            address: row.address,
            link_key: PeerKey(row.link_key),
            name,
        });
        shown.collect()
    }

    /// Adds a node that may be a party, or changes where it is. Whoever calls this has asked the policy.
    ///
    /// # Errors
    /// When the name, the address or the key cannot be.
    pub async fn add_peer(&self, name: &str, row: PeerRow) -> Result<(), ComputationError> {
        let id: PeerId = name.parse().map_err(|_| ComputationError::PeerName(name.to_owned()))?;
        if id == self.0.own {
            return Err(ComputationError::PeerName(name.to_owned()));
        }
        let mut wanted = self.peers_now().clone();
        wanted.insert(name.to_owned(), row.clone());
        let directory = directory_of(&wanted)?;
        self.0.journal.put_peer(name.to_owned(), row.clone()).await?;
        self.peers_now().insert(name.to_owned(), row);
        self.client_keys().remove(name);
        self.0.directory.send_replace(Arc::new(directory));
        Ok(())
    }

    /// Forgets a node; whether there was one. Runs with it fail. One of the configuration stays.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub async fn remove_peer(&self, name: &str) -> Result<bool, ComputationError> {
        if self.0.config.peers.iter().any(|(own, _)| own == name) {
            return Ok(false);
        }
        let was_there = self.0.journal.remove_peer(name.to_owned()).await?;
        self.peers_now().remove(name);
        self.client_keys().remove(name);
        let directory = directory_of(&self.peers_now())?;
        self.0.directory.send_replace(Arc::new(directory));
        Ok(was_there)
    }

    /// What another node says of itself, over its authenticated link.
    pub(crate) async fn ask_about(&self, name: &str) -> Result<(PeerKey, About), ComputationError> {
        let unknown = || ComputationError::UnknownParty(name.to_owned());
        let link_key = self.peers_now().get(name).map(|row| row.link_key).ok_or_else(unknown)?;
        let id: PeerId = name.parse().map_err(|_| unknown())?;
        let links = &self.network()?.links;
        // It may have been made known a moment ago.
        links.wait_up(&id, ABOUT_WITHIN).await;
        let asked = links.request(&id, ABOUT, Bytes::new(), ABOUT_WITHIN).await;
        let answer = asked.map_err(|source| ComputationError::Party { party: name.to_owned(), source })?;
        let malformed = |_| ComputationError::Party {
            party: name.to_owned(),
            source: cm_net::LinkError::Malformed(id.clone()),
        };
        let about: About = serde_json::from_slice(&answer).map_err(malformed)?;
        // Whatever a peer says, only a key is shown on.
        if let Some(Ok(key)) = about.client_key.as_deref().map(Secp256k1PublicKey::parse) {
            self.client_keys().insert(name.to_owned(), ClientKey::Told(key.to_hex()));
        }
        Ok((PeerKey(link_key), about))
    }

    /// Closes the journal, once the tasks have ended.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn close(&self) -> Result<(), ComputationError> {
        self.0.journal.close().await
    }
}

fn directory_of(peers: &BTreeMap<String, PeerRow>) -> Result<Directory, ComputationError> {
    let mut contacts = Vec::with_capacity(peers.len());
    for (name, row) in peers {
        let id: PeerId = name.parse().map_err(|_| ComputationError::PeerName(name.clone()))?;
        contacts.push((id, Contact { key: PeerKey(row.link_key), address: row.address.clone() }));
    }
    Ok(Directory::new(contacts)?)
}

/// Reads a file with a key, or makes it.
async fn open_key(
    data_dir: &Path,
    name: &str,
    tasks: &Tasks,
    make: impl FnOnce() -> Secret<String> + Send + 'static,
) -> Result<Secret<String>, ComputationError> {
    let path = data_dir.join(name);
    let opened = tasks.spawn_blocking("mpc-key-open", move || match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Secret::new(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            use std::io::Write as _;
            use std::os::unix::fs::OpenOptionsExt as _;
            let key = make();
            // A half-written key must not look like one: written aside, then moved.
            let partial = path.with_extension("partial");
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&partial)?;
            file.write_all(key.expose().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&partial, &path)?;
            Ok(key)
        }
        Err(error) => Err(error),
    });
    Ok(opened.await.map_err(|_| cm_db::DbError::Panicked)??)
}
