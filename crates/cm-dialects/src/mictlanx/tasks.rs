//! What is announced and not there yet. Bounded, in memory, and forgotten after a while: whoever loses a task announces again.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cm_kernel::{Description, OpContext};
use cm_types::{BucketName, ObjectKey, PrincipalId, Sha256Digest, TenantId};
use uuid::Uuid;

/// Tasks at a time.
pub const TASKS_MAX: usize = 4096;
/// Tasks of one principal at a time.
pub const OWN_TASKS_MAX: usize = 1024;
/// How long a task waits for its bytes.
pub const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long the id of a task is, as clients know them.
const ID_LEN: usize = 21;
/// How long an id may be that a caller chose.
const ID_LEN_MAX: usize = 64;

/// An object that is going to be sent.
#[derive(Debug)]
pub struct Task {
    /// The bucket.
    pub bucket: BucketName,
    /// The bucket as its client calls it.
    pub bucket_id: String,
    /// The key.
    pub key: ObjectKey,
    /// How many peers were asked to have it.
    pub replicas: u8,
    /// Its length, in bytes.
    pub size: u64,
    /// Its digest.
    pub checksum: Sha256Digest,
    /// Its media type.
    pub content_type: String,
    /// What is said of it.
    pub description: Description,
    /// Whether it may replace what is there.
    pub replaces: bool,
}

impl Task {
    /// The bucket, and as its client calls it.
    pub fn bucket(&self) -> (&BucketName, &str) {
        (&self.bucket, &self.bucket_id)
    }
}

/// Why there is no task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTask {
    /// Nobody announced it, or it has ended.
    Unknown,
    /// Somebody is sending its bytes.
    Busy,
    /// There are too many already.
    TooMany,
    /// The caller chose an id that is none.
    BadId,
    /// The caller chose the id of a task that waits for the bytes of another object.
    Taken,
}

/// Whose a task is.
type Owner = (TenantId, Option<PrincipalId>);

fn owner(op: &OpContext) -> Owner {
    (op.tenant(), op.principal().cloned())
}

/// All tasks. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Tasks(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    tasks: HashMap<(Owner, String), Entry>,
    /// When tasks end that nobody is sending, in the order of time: one for each.
    ends: BTreeSet<(Instant, (Owner, String))>,
    counts: HashMap<Owner, usize>,
}

#[derive(Debug)]
struct Entry {
    task: Arc<Task>,
    ends_at: Instant,
    is_busy: bool,
}

impl State {
    fn remove(&mut self, place: &(Owner, String)) {
        let Some(entry) = self.tasks.remove(place) else { return };
        self.ends.remove(&(entry.ends_at, place.clone()));
        if let Some(count) = self.counts.get_mut(&place.0) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&place.0);
            }
        }
    }

    fn forget_ended(&mut self, now: Instant) {
        while let Some((_, place)) = self.ends.first().filter(|(end, _)| *end <= now).cloned() {
            self.remove(&place);
        }
    }
}

impl Tasks {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a task of the actor, and answers its id: the one that the caller chose, whose task so far for the same object it replaces, or
    /// a new one.
    ///
    /// # Errors
    /// [`NoTask::TooMany`], [`NoTask::BadId`], and of a chosen id [`NoTask::Taken`], [`NoTask::Busy`].
    pub fn add(
        &self,
        op: &OpContext,
        chosen: Option<&str>,
        task: Task,
        now: Instant,
    ) -> Result<String, NoTask> {
        let id = match chosen {
            Some(id) if is_id(id) => id.to_owned(),
            Some(_) => return Err(NoTask::BadId),
            None => URL_SAFE_NO_PAD.encode(Uuid::new_v4().as_bytes())[..ID_LEN].to_owned(),
        };
        let mut state = self.state();
        state.forget_ended(now);
        let place = (owner(op), id.clone());
        if let Some(entry) = state.tasks.get(&place) {
            if (&entry.task.bucket, &entry.task.key) != (&task.bucket, &task.key) {
                return Err(NoTask::Taken);
            }
            if entry.is_busy {
                return Err(NoTask::Busy);
            }
        }
        state.remove(&place);
        let own = state.counts.get(&place.0).copied().unwrap_or(0);
        if state.tasks.len() >= TASKS_MAX || own >= OWN_TASKS_MAX {
            return Err(NoTask::TooMany);
        }
        let ends_at = now + LIFETIME;
        *state.counts.entry(place.0.clone()).or_default() += 1;
        state.ends.insert((ends_at, place.clone()));
        state.tasks.insert(place, Entry { task: Arc::new(task), ends_at, is_busy: false });
        Ok(id)
    }

    /// Takes a task of the actor to send its bytes. It is there again when what is returned is dropped, unless it was
    /// [done](Held::done).
    ///
    /// # Errors
    /// [`NoTask::Unknown`], [`NoTask::Busy`].
    pub fn take(&self, op: &OpContext, id: &str, now: Instant) -> Result<Held, NoTask> {
        let mut state = self.state();
        state.forget_ended(now);
        let place = (owner(op), id.to_owned());
        let entry = state.tasks.get_mut(&place).ok_or(NoTask::Unknown)?;
        if entry.is_busy {
            return Err(NoTask::Busy);
        }
        entry.is_busy = true;
        let (task, ends_at) = (entry.task.clone(), entry.ends_at);
        // While it is busy, it does not end.
        state.ends.remove(&(ends_at, place.clone()));
        Ok(Held { tasks: self.clone(), place, task, taken: now, is_done: false })
    }

    /// Forgets the tasks of the actor that nobody is sending, and answers how many there were.
    pub fn flush(&self, op: &OpContext) -> usize {
        let mut state = self.state();
        let own = owner(op);
        let idle = state.tasks.iter().filter(|((owner, _), entry)| *owner == own && !entry.is_busy);
        let idle: Vec<_> = idle.map(|(place, _)| place.clone()).collect();
        for place in &idle {
            state.remove(place);
        }
        idle.len()
    }

    /// The tasks of the actor, by id.
    pub fn list(&self, op: &OpContext, now: Instant) -> Vec<(String, Arc<Task>)> {
        let mut state = self.state();
        state.forget_ended(now);
        let own = owner(op);
        let listed = state.tasks.iter().filter(|((owner, _), _)| *owner == own);
        let mut listed: Vec<_> = listed.map(|((_, id), entry)| (id.clone(), entry.task.clone())).collect();
        listed.sort_by(|(one, _), (other, _)| one.cmp(other));
        listed
    }
}

fn is_id(text: &str) -> bool {
    (1..=ID_LEN_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// A task whose bytes are being sent.
#[derive(Debug)]
pub struct Held {
    tasks: Tasks,
    place: (Owner, String),
    task: Arc<Task>,
    taken: Instant,
    is_done: bool,
}

impl Held {
    /// The task.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// Ends the task: its bytes are there.
    pub fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.tasks.state();
        if self.is_done {
            return state.remove(&self.place);
        }
        // Its time may have run out meanwhile: it gets another one, counted from when it was taken.
        let ends_at = self.taken + LIFETIME;
        if let Some(entry) = state.tasks.get_mut(&self.place) {
            (entry.is_busy, entry.ends_at) = (false, ends_at);
            state.ends.insert((ends_at, self.place.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use cm_kernel::Actor;
    use cm_types::RequestId;
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn op(actor: Actor) -> OpContext {
        OpContext::new(actor, RequestId::random(), CancellationToken::new())
    }

    fn task() -> Task {
        Task {
            bucket: BucketName::parse("scans").unwrap(),
            bucket_id: "scans".to_owned(),
            key: ObjectKey::parse("k").unwrap(),
            replicas: 1,
            size: 1,
            checksum: Sha256Digest::from_bytes([0; 32]),
            content_type: String::new(),
            description: Description::default(),
            replaces: false,
        }
    }

    #[test]
    fn a_task_is_its_owners_and_is_sent_once() {
        let (tasks, now) = (Tasks::default(), Instant::now());
        let (mine, others) = (op(Actor::node()), op(Actor::Anonymous));
        let id = tasks.add(&mine, None, task(), now).unwrap();
        assert_eq!(id.len(), ID_LEN);
        assert_eq!(tasks.take(&others, &id, now).unwrap_err(), NoTask::Unknown);
        let held = tasks.take(&mine, &id, now).unwrap();
        assert_eq!(tasks.take(&mine, &id, now).unwrap_err(), NoTask::Busy);
        drop(held);
        tasks.take(&mine, &id, now).unwrap().done();
        assert_eq!(tasks.take(&mine, &id, now).unwrap_err(), NoTask::Unknown);
        assert_eq!(tasks.add(&mine, Some("group-1_x"), task(), now), Ok("group-1_x".to_owned()));
        assert_eq!(tasks.add(&mine, Some("group-1_x"), task(), now), Ok("group-1_x".to_owned()));
        let other = Task { key: ObjectKey::parse("other").unwrap(), ..task() };
        assert_eq!(tasks.add(&mine, Some("group-1_x"), other, now), Err(NoTask::Taken));
        assert_eq!(tasks.add(&others, Some("group-1_x"), task(), now), Ok("group-1_x".to_owned()));
        assert_eq!(tasks.list(&mine, now).len(), 1);
        assert_eq!(tasks.flush(&mine), 1);
        assert_eq!(tasks.list(&others, now).len(), 1);
        for bad in ["", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(tasks.add(&mine, Some(bad), task(), now), Err(NoTask::BadId), "{bad}");
        }
    }

    #[test]
    fn tasks_end_and_are_bounded() {
        let (tasks, start) = (Tasks::default(), Instant::now());
        let mine = op(Actor::node());
        let first = tasks.add(&mine, None, task(), start).unwrap();
        let sent = tasks.add(&mine, None, task(), start).unwrap();
        let held = tasks.take(&mine, &sent, start + LIFETIME / 2).unwrap();
        assert_eq!(tasks.take(&mine, &first, start + LIFETIME).unwrap_err(), NoTask::Unknown);
        drop(held);
        assert!(
            tasks.take(&mine, &sent, start + LIFETIME).is_ok(),
            "it was being sent when its time ran out"
        );
        let full = (0..OWN_TASKS_MAX).map(|_| tasks.add(&mine, None, task(), start)).filter(Result::is_ok);
        assert_eq!(full.count(), OWN_TASKS_MAX - 1);
        assert_eq!(tasks.add(&mine, None, task(), start), Err(NoTask::TooMany));
        assert!(tasks.add(&mine, None, task(), start + 2 * LIFETIME).is_ok());
        assert_eq!(tasks.list(&mine, start + 2 * LIFETIME).len(), 1);
    }

    /// Whoever breaks off uploads again and again, or announces the same task again and again, takes no place from others.
    #[test]
    fn a_task_that_is_taken_or_replaced_ends_once() {
        let (tasks, start) = (Tasks::default(), Instant::now());
        let (mine, others) = (op(Actor::node()), op(Actor::Anonymous));
        let id = tasks.add(&mine, Some("mine"), task(), start).unwrap();
        for turn in 0..2 * TASKS_MAX {
            let now = start + Duration::from_millis(turn as u64 % 7);
            drop(tasks.take(&mine, &id, now).unwrap());
            tasks.add(&mine, Some("replaced"), task(), now).unwrap();
        }
        assert_eq!(tasks.state().ends.len(), 2);
        tasks.add(&others, None, task(), start).unwrap();
        let held = tasks.take(&mine, &id, start).unwrap();
        assert_eq!(tasks.flush(&mine), 1);
        assert_eq!(tasks.state().ends.len(), 1, "the task of somebody else");
        held.done();
        assert!(tasks.list(&others, start + LIFETIME).is_empty());
        let state = tasks.state();
        assert!(state.ends.is_empty() && state.tasks.is_empty() && state.counts.is_empty());
    }
}
