//! Clients that write and read all the time, and do not accept that anything acknowledged is gone or other than it was.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cm_crypto::digest::sha256;
use cm_runtime::Tasks;
use cm_types::Sha256Digest;
use reqwest::StatusCode;

/// How long a client waits for one answer.
const ANSWER: Duration = Duration::from_secs(15);
/// How long any progress may take: more than a failure takes to be noticed, on a machine with other things to do.
const PROGRESS: Duration = Duration::from_secs(60);

/// How many of the objects that were acknowledged are read when all are to be looked at: as many as fit into the time of a test.
const READ_MAX: usize = 80;

/// What was acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) name: String,
    pub(super) digest: Sha256Digest,
}

/// What all clients share.
pub(super) struct Load {
    http: reqwest::Client,
    token: String,
    /// Whom clients talk to now.
    urls: Mutex<Vec<String>>,
    written: Mutex<Vec<Written>>,
    reads: AtomicU64,
    stop: AtomicBool,
    violation: Mutex<Option<String>>,
}

pub(super) fn sample(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(len).collect()
}

/// Until the next look: whoever looks all the time takes the time of what is looked at.
pub(super) async fn moment() {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    ticks.tick().await;
    ticks.tick().await;
}

impl Load {
    pub(super) fn new(token: String, urls: Vec<String>) -> Arc<Self> {
        Arc::new(Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            token,
            urls: Mutex::new(urls),
            written: Mutex::default(),
            reads: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            violation: Mutex::default(),
        })
    }

    /// From now on clients talk to these.
    pub(super) fn talk_to(&self, urls: Vec<String>) {
        *self.urls.lock().unwrap() = urls;
    }

    fn url(&self, turn: u64) -> String {
        let urls = self.urls.lock().unwrap();
        urls[usize::try_from(turn % urls.len() as u64).unwrap()].clone()
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    pub(super) fn written(&self) -> Vec<Written> {
        self.written.lock().unwrap().clone()
    }

    pub(super) fn start(self: &Arc<Self>, tasks: &Tasks, buckets: &'static [&'static str]) {
        for writer in 0..2_u64 {
            let load = self.clone();
            tasks.spawn("write", async move {
                for number in 0.. {
                    if load.stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let turn = number * 2 + writer;
                    let bucket = buckets[usize::try_from(number).unwrap() % buckets.len()];
                    let len = usize::try_from(turn * 7919 % 300_000).unwrap();
                    load.write(turn, &format!("{bucket}/objects/w{writer}-{number}"), len).await;
                }
            });
        }
        let load = self.clone();
        tasks.spawn("read", async move {
            for turn in 0_u64.. {
                if load.stop.load(Ordering::SeqCst) {
                    return;
                }
                let chosen = {
                    let written = load.written.lock().unwrap();
                    let at = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7;
                    (!written.is_empty())
                        .then(|| written[usize::try_from(at).unwrap() % written.len()].clone())
                };
                match chosen {
                    Some(written) => {
                        let url = load.url(turn);
                        match load.read(&url, &written).await {
                            Ok(true) => _ = load.reads.fetch_add(1, Ordering::SeqCst),
                            Ok(false) => moment().await,
                            Err(violation) => *load.violation.lock().unwrap() = Some(violation),
                        }
                    }
                    None => moment().await,
                }
            }
        });
    }

    async fn write(&self, turn: u64, name: &str, len: usize) {
        let bytes = sample(len, turn + 1);
        let digest = sha256(&bytes);
        match self.put(&self.url(turn), name, bytes).await {
            Some(status) if status.is_success() => {
                self.written.lock().unwrap().push(Written { name: name.to_owned(), digest });
            }
            // Nothing was promised.
            _ => moment().await,
        }
    }

    pub(super) async fn put(&self, url: &str, name: &str, bytes: Vec<u8>) -> Option<StatusCode> {
        let request = self.http.put(format!("{url}/api/v1/buckets/{name}")).bearer_auth(&self.token);
        let answer = request.timeout(ANSWER).body(bytes).send().await.ok()?;
        let status = answer.status();
        // A connection that breaks before the answer is complete has acknowledged nothing.
        answer.bytes().await.ok().map(|_| status)
    }

    /// Whether the object could be read; an error if it is gone or other than it was.
    pub(super) async fn read(&self, url: &str, written: &Written) -> Result<bool, String> {
        let Written { name, digest } = written;
        let request = self.http.get(format!("{url}/api/v1/buckets/{name}")).bearer_auth(&self.token);
        let Ok(answer) = request.timeout(ANSWER).send().await else { return Ok(false) };
        match answer.status() {
            StatusCode::OK => {
                let Ok(bytes) = answer.bytes().await else { return Ok(false) };
                let found = sha256(&bytes);
                match found == *digest {
                    true => Ok(true),
                    false => {
                        Err(format!("{name} at {url} is {found} of {} bytes, not {digest}", bytes.len()))
                    }
                }
            }
            status if status.is_server_error() => Ok(false),
            status => Err(format!("{name}, which was acknowledged: {status} at {url}")),
        }
    }

    pub(super) fn check(&self) {
        if let Some(violation) = &*self.violation.lock().unwrap() {
            panic!("{violation}");
        }
    }

    /// Waits until so many more objects were written and read.
    pub(super) async fn goes_on(&self, what: &str, writes: usize, reads: u64) {
        let began = Instant::now();
        let count = || (self.written.lock().unwrap().len(), self.reads.load(Ordering::SeqCst));
        let (written, read) = count();
        loop {
            self.check();
            let now = count();
            if now.0 >= written + writes && now.1 >= read + reads {
                eprintln!("{what}: {writes} writes and {reads} reads after {:?}", began.elapsed());
                return;
            }
            let (more, again) = (now.0 - written, now.1 - read);
            assert!(began.elapsed() < PROGRESS, "{what}: {more} writes and {again} reads in {PROGRESS:?}");
            moment().await;
        }
    }

    /// What was acknowledged is read at one of these nodes each, every so many of them.
    pub(super) async fn read_all(&self, what: &str, urls: &[String]) {
        let began = Instant::now();
        let mut all = self.written();
        // The latest ones would all be of the time after the faults.
        let step = all.len().div_ceil(READ_MAX).max(1);
        all = all.into_iter().step_by(step).collect();
        for (at, written) in all.iter().enumerate() {
            for attempt in at.. {
                match self.read(&urls[attempt % urls.len()], written).await {
                    Ok(true) => break,
                    Ok(false) => moment().await,
                    Err(violation) => panic!("{what}: {violation}"),
                }
                assert!(began.elapsed() < PROGRESS, "{what}: {} cannot be read", written.name);
            }
        }
        eprintln!("{what}: {} objects read in {:?}", all.len(), began.elapsed());
    }
}
