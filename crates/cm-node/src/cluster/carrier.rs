//! Messages of the log over links: for each member one stream, on which they follow each other in order.
//!
//! A message may be lost, and comes again: what cannot be sent now is dropped, and nothing waits without bound. A stream that is not
//! used ends soon, so that nobody is surprised by one that has ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use cm_db::{Carrier, QuorumSender};
use cm_net::{Incoming, Kind, KindTaken, LinkError, LinkState, Links};
use cm_quorum::{MESSAGE_LEN_MAX, MemberId};
use cm_runtime::{CancellationToken, Tasks};
use cm_types::PeerId;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{member_of, peer_of};

/// Messages of the log.
const MESSAGES: Kind = Kind::new("quorum.messages");
/// Messages that wait to be sent, to all members and to one.
const WAITING_MAX: usize = 4096;
const WAITING_PER_MEMBER_MAX: usize = 1024;
/// Bytes of messages that wait to be sent to one member; two of the longest.
const WAITING_BYTES_MAX: usize = 2 * MESSAGE_LEN_MAX;
/// A message that is shorter waits in any case, as one of so many: signs of life are never kept back by data.
const SHORT_LEN: usize = 64 * 1024;
/// How long a stream stays open without messages.
const IDLE: Duration = Duration::from_secs(5);
/// How long a stream is used.
const STREAM_MAX: Duration = Duration::from_secs(240);
/// For the receiver's good-bye.
const END_TIMEOUT: Duration = Duration::from_secs(2);
/// Messages are sent together up to about this many bytes.
const JOINED_LEN: usize = 64 * 1024;

struct Letter {
    to: MemberId,
    message: Vec<u8>,
}

/// The bytes that wait, by member: one that takes nothing is in nobody else's way.
#[derive(Default)]
struct Waiting(Mutex<BTreeMap<MemberId, usize>>);

impl Waiting {
    /// Counts a message, if there is room for it.
    fn enter(&self, to: MemberId, len: usize) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = waiting.get(&to).copied().unwrap_or(0).saturating_add(len);
        let has_room = len < SHORT_LEN || bytes <= WAITING_BYTES_MAX;
        if has_room {
            waiting.insert(to, bytes);
        }
        has_room
    }

    fn leave(&self, to: MemberId, len: usize) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = waiting.get(&to).copied().unwrap_or(0).saturating_sub(len);
        if left == 0 {
            waiting.remove(&to);
        } else {
            waiting.insert(to, left);
        }
    }
}

/// Hands messages to the task that sends them. It never waits.
pub(super) struct Posts {
    letters: mpsc::Sender<Letter>,
    waiting: Arc<Waiting>,
}

impl Carrier for Posts {
    fn send(&self, to: MemberId, message: Vec<u8>) {
        let len = message.len();
        if self.waiting.enter(to, len) && self.letters.try_send(Letter { to, message }).is_err() {
            self.waiting.leave(to, len);
        }
    }
}

/// Begins to carry messages of this node over links.
pub(super) fn carry(links: &Links, tasks: &Tasks) -> Arc<Posts> {
    let (letters, posted) = mpsc::channel(WAITING_MAX);
    let waiting = Arc::new(Waiting::default());
    let (sorter, own) =
        (Sorter { links: links.clone(), tasks: tasks.clone(), waiting: waiting.clone() }, tasks.clone());
    own.spawn("quorum-post", sorter.run(posted));
    Arc::new(Posts { letters, waiting })
}

/// Takes messages that members send. Who sent them was proved by the link.
pub(super) fn receive(links: &Links, sender: QuorumSender) -> Result<(), KindTaken> {
    let streams = Arc::new(Streams::default());
    links.on_stream(MESSAGES, 0, move |_, incoming| {
        let (streams, sender) = (streams.clone(), sender.clone());
        async move { streams.take(incoming, &sender).await }
    })
}

/// The streams that members have open: one each, the newest.
#[derive(Default)]
struct Streams(Mutex<BTreeMap<PeerId, CancellationToken>>);

impl Streams {
    async fn take(&self, mut incoming: Incoming, sender: &QuorumSender) {
        let Some(from) = member_of(incoming.peer()) else { return };
        let newest = CancellationToken::new();
        let earlier = {
            let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            streams.insert(incoming.peer().clone(), newest.clone())
        };
        if let Some(earlier) = earlier {
            earlier.cancel();
        }
        let taking = async {
            let mut bytes = BytesMut::new();
            while let Ok(Some(piece)) = incoming.receive().await {
                bytes.extend_from_slice(&piece);
                while let Some(message) = split(&mut bytes) {
                    match message {
                        Some(message) => sender.deliver(from, message.to_vec()),
                        None => return,
                    }
                }
            }
            // Who is gone needs no good-bye.
            let _ = incoming.answer(Bytes::new()).await;
        };
        tokio::select! {
            () = newest.cancelled() => {}
            () = taking => {}
        }
    }
}

/// The next message, once it is whole; `Some(None)` for one that nobody sends.
fn split(bytes: &mut BytesMut) -> Option<Option<BytesMut>> {
    let len = usize::try_from(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?)).unwrap_or(usize::MAX);
    if len > MESSAGE_LEN_MAX {
        return Some(None);
    }
    if bytes.len() < 4 + len {
        return None;
    }
    bytes.advance(4);
    Some(Some(bytes.split_to(len)))
}

/// Gives each member's messages to the task that sends them.
struct Sorter {
    links: Links,
    tasks: Tasks,
    waiting: Arc<Waiting>,
}

impl Sorter {
    async fn run(self, mut letters: mpsc::Receiver<Letter>) {
        let mut boxes: BTreeMap<MemberId, mpsc::Sender<Vec<u8>>> = BTreeMap::new();
        let token = self.tasks.token();
        loop {
            let letter = tokio::select! {
                () = token.cancelled() => return,
                letter = letters.recv() => letter,
            };
            let Some(letter) = letter else { return };
            let Letter { to, message } = letter;
            let len = message.len();
            boxes.retain(|_, letters| !letters.is_closed());
            let post = boxes.entry(to).or_insert_with(|| self.deliverer(to));
            if post.try_send(message).is_err() {
                self.waiting.leave(to, len);
            }
        }
    }

    fn deliverer(&self, to: MemberId) -> mpsc::Sender<Vec<u8>> {
        let (sender, letters) = mpsc::channel(WAITING_PER_MEMBER_MAX);
        let (links, waiting) = (self.links.clone(), self.waiting.clone());
        let deliverer = Deliverer { member: to, to: peer_of(to), links, waiting, letters };
        self.tasks.spawn("quorum-deliver", deliverer.run());
        sender
    }
}

/// Sends one member's messages.
struct Deliverer {
    member: MemberId,
    to: PeerId,
    links: Links,
    waiting: Arc<Waiting>,
    letters: mpsc::Receiver<Vec<u8>>,
}

impl Deliverer {
    /// Ends when nobody gives it messages any more.
    async fn run(mut self) {
        while let Some(first) = self.next(None).await {
            let is_up = self.links.status(&self.to).is_some_and(|status| status.state == LinkState::Up);
            if is_up && let Err(error) = self.stream(first).await {
                tracing::debug!(peer = %self.to, %error, "messages of the log not sent");
            }
        }
    }

    /// The next message with those behind it, as they travel. `None` if nothing comes in time, or ever.
    async fn next(&mut self, within: Option<Duration>) -> Option<Bytes> {
        let first = match within {
            Some(time) => timeout(time, self.letters.recv()).await.ok()??,
            None => self.letters.recv().await?,
        };
        let mut joined = BytesMut::with_capacity(first.len() + 4);
        let mut message = Some(first);
        while let Some(one) = message {
            self.waiting.leave(self.member, one.len());
            joined.put_u32(u32::try_from(one.len()).unwrap_or(u32::MAX));
            joined.put_slice(&one);
            message = if joined.len() < JOINED_LEN { self.letters.try_recv().ok() } else { None };
        }
        Some(joined.freeze())
    }

    /// Sends on one stream until nothing comes for a while.
    async fn stream(&mut self, first: Bytes) -> Result<(), LinkError> {
        let until = Instant::now() + STREAM_MAX / 2;
        let mut stream = self.links.open(&self.to, MESSAGES, Bytes::new(), STREAM_MAX).await?;
        let mut next = Some(first);
        while let Some(bytes) = next {
            stream.send(bytes).await?;
            if Instant::now() >= until {
                break;
            }
            next = self.next(Some(IDLE)).await;
        }
        stream.finish().await?;
        // So that the last messages arrive before the stream is gone.
        let _ = timeout(END_TIMEOUT, stream.answer()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_takes_nothing_is_in_nobody_elses_way() {
        let (stalled, other) = (MemberId(1), MemberId(2));
        let waiting = Waiting::default();
        assert!(waiting.enter(stalled, WAITING_BYTES_MAX));
        assert!(!waiting.enter(stalled, SHORT_LEN), "as much as one member may have");
        assert!(waiting.enter(stalled, SHORT_LEN - 1), "a sign of life");
        assert!(waiting.enter(other, WAITING_BYTES_MAX));
        for len in [WAITING_BYTES_MAX, SHORT_LEN - 1] {
            waiting.leave(stalled, len);
        }
        waiting.leave(other, WAITING_BYTES_MAX);
        assert!(waiting.0.lock().unwrap().is_empty());
        assert!(waiting.enter(stalled, SHORT_LEN));
    }

    #[test]
    fn messages_are_cut_where_they_end() {
        let mut bytes = BytesMut::new();
        for text in ["one", "", "three"] {
            bytes.put_u32(text.len() as u32);
            bytes.put_slice(text.as_bytes());
        }
        let rest = bytes.split_off(bytes.len() - 2);
        assert_eq!(split(&mut bytes).unwrap().unwrap(), "one");
        assert_eq!(split(&mut bytes).unwrap().unwrap(), "");
        assert!(split(&mut bytes).is_none(), "half a message");
        bytes.unsplit(rest);
        assert_eq!(split(&mut bytes).unwrap().unwrap(), "three");
        assert!(split(&mut bytes).is_none());
        bytes.put_u32(u32::MAX);
        assert_eq!(split(&mut bytes), Some(None));
    }
}
