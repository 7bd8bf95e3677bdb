//! Five nodes, three copies of each object or five shards, and whatever happens to nodes, while clients write and read: killed, paused, cut off,
//! with a full disk or a slow one, with bits that turned over, with clocks that differ, and while the layout changes. Nothing that was acknowledged is lost or other than it
//! was, and everybody can go on while two nodes are away; when they are back, all becomes whole by itself.

mod load;
mod place;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use cm_e2e::{Peer, succeeded};
use serde_json::{Value, json};

use self::load::{Load, moment, sample};
use self::place::{Places, other_clock};

const NODES: usize = 5;
/// How long anything here may take that is no progress of clients.
const DEADLINE: Duration = Duration::from_secs(120);
/// What a slow disk takes: what is written here takes it seconds.
const SLOW_BYTES_PER_SECOND: u64 = 300_000;
/// The disk of the last node.
const DISK_MEBIBYTES: usize = 96;

/// The files of chunks that a node has.
fn chunks(peer: &Peer) -> Vec<PathBuf> {
    let root = peer.root.join("data/objects/chunks");
    let directories = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let files = directories.flat_map(|directory| std::fs::read_dir(directory).unwrap());
    files.map(|entry| entry.unwrap().path()).collect()
}

fn signal(peer: &Peer, name: &str) {
    peer.node.as_ref().expect("the node runs").signal(name);
}

struct Network {
    peers: Vec<Peer>,
    token: String,
    http: reqwest::Client,
}

impl Network {
    /// One that was founded, and all others joined.
    async fn start(dir: &Path, places: &mut Places) -> Self {
        let peer = |n: usize| Peer {
            set: vec!["objects.capacity=1GiB".to_owned()],
            wrapper: places.wrapper(n),
            ..Peer::at(dir.join(format!("node-{n}")), places.address(n).into())
        };
        let mut peers: Vec<Peer> = (0..NODES).map(peer).collect();
        succeeded(peers[0].found());
        peers[0].start();
        let token = peers[0].node.as_ref().unwrap().admin_token();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut network = Self { peers, token, http };
        for n in 1..NODES {
            let invitation = network.invite().await;
            let peer = &mut network.peers[n];
            succeeded(peer.join(&invitation));
            // Nothing may be in a data directory that joins.
            if n == NODES - 1 && !places.small_disk(&peer.root.join("data/objects"), DISK_MEBIBYTES) {
                eprintln!("no file system can be mounted here: no disk becomes full");
            }
            peer.start();
        }
        let votes = |network: &Value| {
            let nodes = network["nodes"].as_array();
            nodes.map_or(0, |nodes| nodes.iter().filter(|node| node["votes"] == true).count())
        };
        network.until(0, "network", "all vote", |network| votes(network) == NODES).await;
        let all = |status: &Value| {
            let peers = status["peers"].as_array();
            peers.is_some_and(|peers| peers.len() == NODES && peers.iter().all(|peer| peer["up"] == true))
        };
        network.until(0, "storage", "all take part", all).await;
        network
    }

    async fn invite(&self) -> String {
        let url = format!("{}/api/v1/network/invitations", self.peers[0].url());
        let answer = self.http.post(url).bearer_auth(&self.token).json(&json!({})).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        answer.json::<Value>().await.unwrap()["invitation"].as_str().unwrap().to_owned()
    }

    async fn get(&self, n: usize, path: &str) -> Value {
        let request = self.http.get(format!("{}/api/v1/{path}", self.peers[n].url()));
        match request.bearer_auth(&self.token).timeout(Duration::from_secs(20)).send().await {
            Ok(answer) if answer.status() == 200 => answer.json().await.unwrap_or_default(),
            _ => Value::Null,
        }
    }

    async fn until(&self, n: usize, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let seen = self.get(n, path).await;
            if holds(&seen) {
                return seen;
            }
            assert!(began.elapsed() < DEADLINE, "{what}: {seen:#}");
            moment().await;
        }
    }

    /// Nothing is short, nothing moves.
    async fn whole(&self, n: usize, what: &str) -> Value {
        let began = Instant::now();
        let whole = |status: &Value| {
            status["short_chunks"] == 0
                && status["epoch"].is_u64()
                && status["epoch"] == status["oldest_epoch"]
        };
        let status = self.until(n, "storage", what, whole).await;
        eprintln!("{what}: whole after {:?}", began.elapsed());
        status
    }

    /// A command at a node, as its administrator.
    fn at(&self, n: usize, arguments: &[&str]) -> Output {
        let url = self.peers[n].url();
        let mut all = vec!["--url", &url, "--token", &self.token];
        all.extend(arguments);
        self.peers[n].command(&all)
    }

    /// The id of a node.
    async fn id(&self, n: usize) -> String {
        let network = self.get(0, "network").await;
        let node = network["nodes"].as_array().unwrap().iter();
        let node = node.clone().find(|node| node["address"] == self.peers[n].peers.as_str());
        node.unwrap()["id"].as_str().unwrap().to_owned()
    }

    fn urls(&self, without: &[usize]) -> Vec<String> {
        let rest = self.peers.iter().enumerate().filter(|(n, _)| !without.contains(n));
        rest.map(|(_, peer)| peer.url()).collect()
    }

    /// Turns a bit of every second chunk of a node over, as disks do: the file is otherwise as it was.
    fn rot(&self, n: usize) -> usize {
        let mut turned = 0;
        for path in chunks(&self.peers[n]).into_iter().step_by(2) {
            let Ok(mut bytes) = std::fs::read(&path) else { continue };
            let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
            if let Some(byte) = bytes.get_mut(turned * 31 % 1000) {
                *byte ^= 0x10;
                std::fs::write(&path, bytes).unwrap();
                std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
                turned += 1;
            }
        }
        turned
    }
}

/// Fills the disk of a node to the last byte; what to delete to give it back.
fn fill(peer: &Peer) -> PathBuf {
    let path = peer.root.join("data/objects/filling");
    let mut file = std::fs::File::create(&path).unwrap();
    let piece = vec![7; 1 << 16];
    while std::io::Write::write_all(&mut file, &piece).is_ok() {}
    path
}

/// Five nodes are as many as a machine of tests can have at once.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A bucket of copies and one of shards.
fn make_buckets(network: &Network, dir: &Path) {
    let first = dir.join("first");
    std::fs::write(&first, sample(100_000, 1)).unwrap();
    for (bucket, redundancy) in [("copies", "3"), ("shards", "3+2")] {
        let name = format!("{bucket}/first");
        succeeded(network.at(0, &["object", "put", first.to_str().unwrap(), &name, "--create-bucket"]));
        succeeded(network.at(0, &["storage", "redundancy", bucket, redundancy]));
    }
}

/// Who leads the others.
async fn leader(network: &Network) -> usize {
    let leads =
        |seen: &Value| seen["nodes"].as_array().is_some_and(|all| all.iter().any(|n| n["leads"] == true));
    let seen = network.until(0, "network", "somebody leads", leads).await;
    let leader = seen["nodes"].as_array().unwrap().iter().find(|node| node["leads"] == true).unwrap();
    network.peers.iter().position(|peer| leader["address"] == peer.peers.as_str()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_lose_nothing_with_a_slow_disk_and_clocks_that_differ() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let mut places = Places::new(NODES);
    let mut network = Network::start(dir.path(), &mut places).await;
    make_buckets(&network, dir.path());
    let load = Load::new(network.token.clone(), network.urls(&[]));
    let tasks = cm_runtime::Tasks::new();
    load.start(&tasks, &["copies", "shards"]);
    load.goes_on("all are there", 8, 8).await;

    // The disk of one that follows takes a fraction of what is written to it; that of the last node is no disk.
    let slow = if leader(&network).await == 1 { 2 } else { 1 };
    let process = network.peers[slow].node.as_ref().unwrap().pid();
    let root = network.peers[slow].root.clone();
    if places.slow_disk(process, &root, SLOW_BYTES_PER_SECOND) {
        load.goes_on("a disk is slow", 10, 10).await;
        let killed = slow + 1;
        load.talk_to(network.urls(&[killed]));
        network.peers[killed].kill();
        load.goes_on("a disk is slow and one is killed", 4, 4).await;
        network.peers[killed].start();
        load.talk_to(network.urls(&[]));
        places.fast_disks();
        load.goes_on("it is as fast as the others", 4, 4).await;
    } else {
        eprintln!("what a process writes cannot be limited here: no disk is slow");
    }

    // Two that take it for later and earlier than it is, and a third that is killed meanwhile.
    let skewed = [(1, "+10m", 600), (3, "-10m", -600)];
    if other_clock("+0").is_some() {
        for (n, offset, seconds) in skewed {
            load.talk_to(network.urls(&[n]));
            network.peers[n].kill();
            network.peers[n].start_with(other_clock(offset).unwrap());
            let found = skew(&network, n).await;
            assert!((found - seconds).abs() < 60, "its clock differs by {found} s and not by {seconds}");
        }
        load.talk_to(network.urls(&[]));
        load.goes_on("two clocks differ by twenty minutes", 8, 8).await;
        load.talk_to(network.urls(&[4]));
        network.peers[4].kill();
        load.goes_on("two clocks differ and one is killed", 6, 6).await;
        network.peers[4].start();
        load.talk_to(network.urls(&[]));
        load.read_all("two clocks differ", &network.urls(&[])).await;
        // What was written at one time is read at all others.
        for (n, _, _) in skewed {
            load.talk_to(network.urls(&[n]));
            network.peers[n].kill();
            network.peers[n].start();
        }
        load.talk_to(network.urls(&[]));
        load.goes_on("all clocks agree again", 4, 4).await;
    } else {
        eprintln!("libfaketime is not installed: no clock differs");
    }
    load.stop();
    load.check();
    let status = network.whole(0, "after everything").await;
    assert_eq!(status["lost_chunks"].as_u64(), Some(0));
    load.read_all("after everything", &network.urls(&[])).await;
    network.peers.iter_mut().for_each(Peer::kill);
}

/// By how many seconds the clock of a node is ahead, as it dates its answers.
async fn skew(network: &Network, n: usize) -> i64 {
    let object = json!({ "kind": "clock" }).to_string();
    let began = Instant::now();
    loop {
        let url = format!("{}/api/v1/buckets/copies/objects/clock-{n}", network.peers[n].url());
        let request = network.http.put(url).bearer_auth(&network.token).body(object.clone());
        if let Ok(answer) = request.send().await
            && answer.status() == 200
        {
            let written: Value = answer.json().await.unwrap();
            let at: cm_types::Timestamp = serde_json::from_value(written["created_at"].clone()).unwrap();
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            return at.as_secs() - i64::try_from(now.as_secs()).unwrap();
        }
        assert!(began.elapsed() < DEADLINE, "node {n} takes nothing");
        moment().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_lose_nothing_while_two_are_away() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let mut places = Places::new(NODES);
    let began = Instant::now();
    let mut network = Network::start(dir.path(), &mut places).await;
    eprintln!("started in {:?}", began.elapsed());
    make_buckets(&network, dir.path());
    let load = Load::new(network.token.clone(), network.urls(&[]));
    let tasks = cm_runtime::Tasks::new();
    load.start(&tasks, &["copies", "shards"]);
    load.goes_on("all are there", 10, 10).await;

    // Killed as by a power cut, the leader among them.
    let leader = leader(&network).await;
    let killed = [leader, (leader + 2) % NODES];
    load.talk_to(network.urls(&killed));
    killed.iter().for_each(|n| network.peers[*n].kill());
    load.goes_on("two are killed", 8, 8).await;
    killed.iter().for_each(|n| network.peers[*n].start());

    // Paused: they do not know that time has passed when they go on.
    let paused = [(leader + 1) % NODES, (leader + 3) % NODES];
    load.talk_to(network.urls(&paused));
    paused.iter().for_each(|n| signal(&network.peers[*n], "STOP"));
    load.goes_on("two are paused", 8, 8).await;
    paused.iter().for_each(|n| signal(&network.peers[*n], "CONT"));
    load.talk_to(network.urls(&[]));
    load.goes_on("they go on", 4, 4).await;

    // Cut off: two that reach each other and clients, and nobody else.
    let cut = [0, 1];
    load.talk_to(network.urls(&cut));
    if places.cut(&cut, true) {
        load.goes_on("two are cut off", 8, 8).await;
        let alone = load.put(&network.peers[0].url(), "copies/objects/alone", sample(1000, 7)).await;
        assert!(alone.is_none_or(|status| status.is_server_error()), "acknowledged by a minority: {alone:?}");
        places.cut(&cut, false);
        load.talk_to(network.urls(&[]));
        load.goes_on("they meet again", 4, 4).await;
    }

    // A disk that is full, and bits that turn over on two others.
    let filled = fill(&network.peers[NODES - 1]);
    let turned = network.rot(0) + network.rot(1);
    assert!(turned > 0);
    load.goes_on("a disk is full and bits have turned", 8, 8).await;
    load.read_all("a disk is full and bits have turned", &network.urls(&[])).await;
    std::fs::remove_file(filled).unwrap();

    // The layout changes, and one is killed meanwhile.
    let drained = network.id(3).await;
    succeeded(network.at(0, &["storage", "drain", &drained]));
    load.talk_to(network.urls(&[2]));
    network.peers[2].kill();
    load.goes_on("the layout changes and one is killed", 8, 8).await;
    network.peers[2].start();
    load.talk_to(network.urls(&[]));
    load.goes_on("all are there again", 4, 4).await;
    load.stop();
    load.check();

    // All becomes whole by itself, and the node that was drained may leave.
    let status = network.whole(0, "after everything").await;
    let lost = status["lost_chunks"].as_u64();
    assert_eq!(lost, Some(0));
    let began = Instant::now();
    loop {
        let removed = network.at(0, &["cluster", "remove", &drained]);
        if removed.status.success() {
            break;
        }
        let said = String::from_utf8_lossy(&removed.stderr).into_owned();
        assert!(began.elapsed() < DEADLINE, "the node cannot leave: {said}");
        moment().await;
    }
    eprintln!("removed after {:?}", began.elapsed());
    // Shards that turned and were not read are still as they are: one more node may be missed besides, and no two.
    network.peers[3].kill();
    network.whole(0, "with four").await;
    load.read_all("one has left", &network.urls(&[3])).await;
    for n in [0, 1, 2, 4] {
        network.peers[n].kill();
    }
}
