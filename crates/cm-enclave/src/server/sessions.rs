//! TLS sessions whose records arrive in posts, each on a connection of its own or not.
//!
//! A session is found by a number. The number protects nothing that TLS inside does not protect, but whoever knew it could
//! break the session with nonsense; so it is random, and good from the address only that opened the session. Sessions of
//! strangers, whose handshake is not over, have places of their own, where the oldest gives way. The published client leaves its
//! sessions without a word; so among those of one identity the one that was used least recently gives way, and all of them end
//! when they were not used for a while. A message that has begun has the time that it has on any connection, in however many
//! posts it comes; with its session goes what has arrived of it.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use cm_instance::RefusalKind;
use cm_instance::wire::{FRAME_LEN_MAX, RequestDecoder};
use rustls::ServerConnection;

use super::exchange::{Exchange, Progress};
use super::tls::{self, Pinned};
use super::{HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, IDLE_TIMEOUT, READ_LEN, Server};

/// Most bytes of answers to the requests in one post: a client of that era waits for one answer before it asks again.
const ANSWERS_LEN_MAX: usize = 2 * FRAME_LEN_MAX;

/// All sessions.
pub(super) struct Sessions {
    table: Mutex<HashMap<u32, Entry>>,
    /// Most of one identity.
    share: usize,
}

struct Entry {
    session: Arc<tokio::sync::Mutex<Session>>,
    peer: IpAddr,
    used: Instant,
    /// Whose it is, once that is known.
    identity: Option<u64>,
    /// Until when the message must be there in the middle of which the client is.
    message_until: Option<Instant>,
}

impl Entry {
    /// Whether nobody is in it right now, so that it can be given up.
    fn is_idle(&self) -> bool {
        self.session.try_lock().is_ok()
    }

    fn is_stale(&self, now: Instant) -> bool {
        let patience = if self.identity.is_some() { IDLE_TIMEOUT } else { HANDSHAKE_TIMEOUT };
        let is_late = self.message_until.is_some_and(|until| until < now);
        (is_late || now.saturating_duration_since(self.used) > patience) && self.is_idle()
    }
}

impl Sessions {
    /// No sessions yet; at most so many of one identity.
    pub(super) fn new(share: usize) -> Self {
        Self { table: Mutex::default(), share }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session; `None` if there is no room for another stranger, or TLS cannot begin.
    pub(super) fn open(
        &self,
        server: &Server,
        peer: IpAddr,
    ) -> Option<(u32, Arc<tokio::sync::Mutex<Session>>)> {
        let session = Arc::new(tokio::sync::Mutex::new(Session::begin(server)?));
        let now = Instant::now();
        self.forget_stale(now);
        let mut table = self.lock();
        make_room(&mut table, None, HANDSHAKES_MAX, 0)?;
        let number = loop {
            let number = u32::from_be_bytes(cm_crypto::secret::random_bytes());
            if number != 0 && !table.contains_key(&number) {
                break number;
            }
        };
        table.insert(
            number,
            Entry { session: session.clone(), peer, used: now, identity: None, message_until: None },
        );
        Some((number, session))
    }

    /// Forgets what nobody will use any more.
    pub(super) fn forget_stale(&self, now: Instant) {
        self.lock().retain(|_, entry| !entry.is_stale(now));
    }

    /// Says until when the message must be there that a session is in the middle of, if it is.
    pub(super) fn expect(&self, number: u32, message_until: Option<Instant>) {
        if let Some(entry) = self.lock().get_mut(&number) {
            entry.message_until = message_until;
        }
    }

    /// The session of this number, if the client may know of it.
    pub(super) fn find(&self, number: u32, peer: IpAddr) -> Option<Arc<tokio::sync::Mutex<Session>>> {
        let now = Instant::now();
        let mut table = self.lock();
        if table.get(&number).is_some_and(|entry| entry.is_stale(now)) {
            table.remove(&number);
        }
        let entry = table.get_mut(&number).filter(|entry| entry.peer == peer)?;
        entry.used = now;
        Some(entry.session.clone())
    }

    /// Forgets a session.
    pub(super) fn close(&self, number: u32) {
        self.lock().remove(&number);
    }

    /// Tells whose a session is; false if that identity has too many that are busy.
    fn adopt(&self, number: u32, identity: u64) -> bool {
        let mut table = self.lock();
        if make_room(&mut table, Some(identity), self.share, number).is_none() {
            return false;
        }
        if let Some(entry) = table.get_mut(&number) {
            entry.identity = Some(identity);
        }
        true
    }
}

/// Makes room for one more session of an identity, or of a stranger, by giving up the one that was used least recently.
fn make_room(table: &mut HashMap<u32, Entry>, identity: Option<u64>, max: usize, but: u32) -> Option<()> {
    let same = |number: &u32, entry: &Entry| entry.identity == identity && *number != but;
    while table.iter().filter(|(number, entry)| same(number, entry)).count() >= max {
        let idle = table.iter().filter(|(number, entry)| same(number, entry) && entry.is_idle());
        let oldest = *idle.min_by_key(|(_, entry)| entry.used)?.0;
        table.remove(&oldest);
    }
    Some(())
}

/// One session.
pub(super) struct Session {
    tls: ServerConnection,
    exchange: Exchange,
    progress: Progress,
    identity: Option<Arc<Pinned>>,
}

/// What a session has to say.
pub(super) struct Said {
    /// TLS records.
    pub(super) records: Vec<u8>,
    /// Whether nothing can follow.
    pub(super) is_over: bool,
    /// Until when the rest of a message must have come whose beginning has.
    pub(super) message_until: Option<Instant>,
}

impl Session {
    fn begin(server: &Server) -> Option<Self> {
        let mut tls = ServerConnection::new(server.doors.posted.clone()).ok()?;
        // An answer is put in as a whole, and is bounded by the longest message.
        tls.set_buffer_limit(None);
        let decoder = RequestDecoder::of_both_eras(server.file_bytes_max);
        let exchange = Exchange::new(decoder);
        Some(Self { tls, exchange, progress: Progress::begin(), identity: None })
    }

    /// Takes records and says what there is to say to them.
    pub(super) async fn turn(&mut self, server: &Server, number: u32, peer: IpAddr, records: &[u8]) -> Said {
        let ended = self.take(server, number, peer, records).await.is_err();
        let mut said = Vec::new();
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut said).is_err() {
                break;
            }
        }
        let message_until = (!self.exchange.is_at_boundary()).then(|| self.progress.until());
        Said { records: said, is_over: ended, message_until }
    }

    /// Takes records and carries out the requests in them; an error if nothing can follow.
    async fn take(
        &mut self,
        server: &Server,
        number: u32,
        peer: IpAddr,
        mut records: &[u8],
    ) -> io::Result<()> {
        let mut spare = ANSWERS_LEN_MAX;
        while !records.is_empty() {
            if self.tls.read_tls(&mut records)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let state = self.tls.process_new_packets().map_err(|error| {
                if self.identity.is_none() {
                    server.refusals.stranger(tls::kind_of(&error), peer);
                }
                io::Error::new(io::ErrorKind::InvalidData, error)
            })?;
            if !self.tls.is_handshaking() && self.identity.is_none() {
                self.recognise(server, number)?;
            }
            self.converse(server, &mut spare).await?;
            if state.peer_has_closed() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    fn recognise(&mut self, server: &Server, number: u32) -> io::Result<()> {
        let identity = server.identity_of(&self.tls).ok_or(io::ErrorKind::PermissionDenied)?;
        if !server.sessions.adopt(number, identity.id) {
            server.refusals.identity(RefusalKind::TooManyConnections, identity.id, None);
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        self.identity = Some(identity);
        Ok(())
    }

    /// Answers what has been decrypted so far, in at most so many bytes: all answers to one post are held until it has
    /// been read. Done for every few records, so that no requests pile up.
    async fn converse(&mut self, server: &Server, spare: &mut usize) -> io::Result<()> {
        let Some(identity) = &self.identity else { return Ok(()) };
        identity.check(SystemTime::now().into()).map_err(|_| io::ErrorKind::PermissionDenied)?;
        if self.exchange.is_at_boundary() {
            self.progress = Progress::begin();
        } else if self.progress.left().is_zero() {
            server.refusals.identity(RefusalKind::TooSlow, identity.id, None);
            return Err(io::ErrorKind::TimedOut.into());
        }
        loop {
            let buffer = self.exchange.buffer_mut();
            let end = buffer.len();
            buffer.resize(end + READ_LEN, 0);
            let read = self.tls.reader().read(&mut buffer[end..]);
            let arrived = *read.as_ref().unwrap_or(&0);
            buffer.truncate(end + arrived);
            match read {
                Ok(0) => break,
                Ok(arrived) => self.progress.add(arrived),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        loop {
            let answer = self.exchange.answer(&server.service, identity.id).await;
            match answer.map_err(|error| server.broken(identity, &error))? {
                Some(answer) => {
                    *spare = spare.checked_sub(answer.len()).ok_or(io::ErrorKind::QuotaExceeded)?;
                    self.tls.writer().write_all(&answer)?;
                    self.progress = Progress::begin();
                }
                None => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Sessions {
        /// How many there are.
        pub(in crate::server) fn count(&self) -> usize {
            self.lock().len()
        }
    }
}
