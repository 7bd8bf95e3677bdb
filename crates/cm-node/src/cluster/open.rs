//! From the data directory of a member to an open database.

use std::time::Duration;

use bytes::Bytes;
use cm_db::{Db, Quorum, QuorumConfig, QuorumPort, Start};
use cm_kernel::kernel::DATABASE_FILE;
use cm_kernel::schema;
use cm_net::{Contact, Identity, Kind, LinkState, Links, Refusal};
use cm_quorum::{ClusterId, MemberId, Members, Status};
use cm_runtime::Tasks;
use cm_types::PeerId;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::book::{Book, contacts};
use super::state::{LOG_FILE, Phase, State};
use super::{carrier, from_text, member_of, peer_of, to_text};
use crate::data_dir::DataDir;
use crate::{Config, NodeError};

/// Who the members are, by the log of the one that is asked.
const MEMBERS: Kind = Kind::new("cluster.members");
/// How often others are asked for that: while this node hears of no leader, and otherwise.
const ASK_EVERY: Duration = Duration::from_secs(1);
const ASK_EVERY_WHEN_LED: Duration = Duration::from_secs(15);
const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a write waits for its turn, and a read for its barrier: without a majority, whoever asks is told after that.
const TURN_WAIT: Duration = Duration::from_secs(6);
/// How long a write waits until what becomes of it is called unknown.
const COMMIT_WAIT: Duration = Duration::from_secs(10);
/// How long a node that starts waits for others, or for a copy of everything. Until then it says now and then that it waits.
const OPEN_WAIT: Duration = Duration::from_secs(24 * 3600);
const PATIENCE: Duration = Duration::from_secs(10);

/// A member's part, once its database is open.
pub(crate) struct Opened {
    pub(crate) db: Db,
    pub(crate) quorum: Quorum,
    pub(crate) links: Links,
    pub(crate) cluster: ClusterId,
    pub(crate) own: MemberId,
    pub(crate) contact: Contact,
    pub(crate) listens: std::net::SocketAddr,
}

/// Takes part in the network that the data directory names, and opens the database once there is a majority. `None` for a
/// node that is alone.
pub(crate) async fn open(
    config: &Config,
    data_dir: &DataDir,
    identity: Identity,
    tasks: &Tasks,
) -> Result<Option<Opened>, NodeError> {
    let path = data_dir.path().to_owned();
    let reading = path.clone();
    let Some(state) = blocking(move || State::read(&reading)).await? else { return Ok(None) };
    let (Some(cluster), false) = (state.cluster, state.phase == Phase::Asking) else {
        return Err(NodeError::NotYetJoined);
    };
    let address = config.listen.peers.ok_or(NodeError::NoPeersListener)?;
    let failed = |source| NodeError::Bind { listener: "peers", address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let own = state.own;
    let contact = Contact { key: identity.key(), address: state.address.clone() };
    let book = Book::new(&state.members);
    let links =
        Links::start(peer_of(own), cm_net::Config::default(), identity.clone(), book.directory(), tasks)?;
    let port = QuorumPort::new();
    carrier::receive(&links, port.sender())?;
    let posts = carrier::carry(&links, tasks);
    let listens = links.listen(listener)?;
    let started = {
        let (state, contact) = (state.clone(), contact.clone());
        blocking(move || {
            let quorum = begin(&path, state, cluster, &contact)?;
            Ok(cm_db::start_quorum(quorum, port, posts, &schema())?)
        })
        .await?
    };
    let quorum = started.handle();
    answer_members(&links, quorum.status())?;
    tasks.spawn(
        "cluster-book",
        follow(book.clone(), quorum.status(), state, data_dir.path().to_owned(), tasks.clone()),
    );
    tasks.spawn("cluster-ask", ask(book, links.clone(), quorum.status(), tasks.clone()));
    let token = tasks.token();
    let (opening, handle) = (blocking(move || Ok(started.open()?)), quorum.clone());
    let mut opening = std::pin::pin!(opening);
    let mut said = tokio::time::interval(PATIENCE);
    said.tick().await;
    let db = loop {
        tokio::select! {
            opened = &mut opening => break opened?,
            () = token.cancelled() => {
                // The thread that opens is told that there is no more to wait for.
                handle.close();
                let _ = opening.await;
                return Err(NodeError::Stopped);
            }
            _ = said.tick() => {
                let status = handle.status().borrow().clone();
                tracing::warn!(leader = ?status.leader, applied = status.applied, members = status.members.len(),
                    "waiting for a majority of the network's nodes, or for a copy of its data; a node that was removed waits in vain and has to join anew, with an empty data directory");
            }
        }
    };
    Ok(Some(Opened { db, quorum, links, cluster, own, contact, listens }))
}

/// The part's settings. What a node begins with is made first, and noted: it begins only once. Blocking.
fn begin(
    data_dir: &std::path::Path,
    state: State,
    cluster: ClusterId,
    contact: &Contact,
) -> Result<QuorumConfig, NodeError> {
    let start = match state.phase {
        Phase::Founding => {
            Start::Found { cluster, members: Members::new().with_voter(state.own, &to_text(contact)) }
        }
        Phase::Asking | Phase::Joining => Start::Join,
        Phase::Member => Start::Resume,
    };
    let files = (data_dir.join(DATABASE_FILE), data_dir.join(LOG_FILE));
    let mut config = QuorumConfig::new(files.0, files.1, state.own, start);
    (config.turn_wait, config.commit_wait, config.open_wait) = (TURN_WAIT, COMMIT_WAIT, OPEN_WAIT);
    if state.phase != Phase::Member {
        cm_db::begin_quorum(&config)?;
        State { phase: Phase::Member, ..state }.write(data_dir)?;
        config.start = Start::Resume;
    }
    Ok(config)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NodeError> + Send + 'static,
) -> Result<T, NodeError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| cm_db::DbError::Panicked)?
}

#[derive(Serialize, Deserialize)]
struct MembersAnswer {
    term: u64,
    last: u64,
    members: Vec<(String, String)>,
}

fn answer_members(links: &Links, status: watch::Receiver<Status>) -> Result<(), NodeError> {
    links.on_request(MEMBERS, 0, move |_, _| {
        let status = status.borrow().clone();
        async move {
            let members = status.members.iter();
            let members = members.map(|(id, member)| (id.to_string(), member.contact.clone())).collect();
            let answer = MembersAnswer { term: status.term, last: status.last, members };
            serde_json::to_vec(&answer).map(Bytes::from).map_err(|_| Refusal::Unavailable)
        }
    })?;
    Ok(())
}

/// Keeps the book, and what the next start begins with, by what this node's log says.
async fn follow(
    book: Book,
    mut status: watch::Receiver<Status>,
    state: State,
    data_dir: std::path::PathBuf,
    tasks: Tasks,
) {
    let token = tasks.token();
    let mut kept = state.members.clone();
    loop {
        let now = status.borrow_and_update().clone();
        book.learn(&now);
        let members: Vec<_> = contacts(&now.members).into_iter().collect();
        if !members.is_empty() && members != kept {
            let (state, dir) =
                (State { phase: Phase::Member, members: members.clone(), ..state.clone() }, data_dir.clone());
            match blocking(move || state.write(&dir)).await {
                Ok(()) => kept = members,
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "members not noted"),
            }
        }
        tokio::select! {
            () = token.cancelled() => return,
            changed = status.changed() => if changed.is_err() { return },
        }
    }
}

/// Asks others who the members are: a node that was away may not know who leads now.
async fn ask(book: Book, links: Links, status: watch::Receiver<Status>, tasks: Tasks) {
    let token = tasks.token();
    loop {
        let is_led = status.borrow().leader.is_some();
        tokio::select! {
            () = token.cancelled() => return,
            () = tokio::time::sleep(if is_led { ASK_EVERY_WHEN_LED } else { ASK_EVERY }) => {}
        }
        let up = links.peers().into_iter().filter(|(_, status)| status.state == LinkState::Up);
        for (peer, _) in up.collect::<Vec<_>>() {
            if let Some((extent, members)) = ask_one(&links, &peer).await {
                book.hear(extent, members);
            }
        }
    }
}

async fn ask_one(
    links: &Links,
    peer: &PeerId,
) -> Option<((u64, u64), std::collections::BTreeMap<MemberId, Contact>)> {
    let answer = links.request(peer, MEMBERS, Bytes::new(), ASK_TIMEOUT).await.ok()?;
    let MembersAnswer { term, last, members } = serde_json::from_slice(&answer).ok()?;
    let known = |(id, contact): &(String, String)| Some((member_of(&id.parse().ok()?)?, from_text(contact)?));
    Some(((term, last), members.iter().filter_map(known).collect()))
}
