//! Work on several objects at once, and what came of it.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cm_client::{ClientError, Progress};
use indicatif::{HumanBytes, ProgressBar};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::object::is_missing;
use crate::{Connection, Outcome, output};

/// Objects under way at once. Large ones have several parts under way besides.
const AT_ONCE: usize = 4;
/// After so many failures the rest is not tried.
const FAILURES_MAX: usize = 10;

/// What came of one object.
pub(super) enum Done {
    /// It was transferred or removed.
    Changed(u64),
    /// It was so already.
    Same,
}

/// What came of all of them.
#[derive(Debug, Default, Serialize)]
struct Tally {
    changed: u64,
    unchanged: u64,
    /// How much was transferred, or how long what was removed had been.
    bytes: u64,
    failed: Vec<Failure>,
}

#[derive(Debug, Serialize)]
struct Failure {
    name: String,
    reason: String,
}

/// Work on several objects at once.
pub(super) struct Crowd<'a> {
    connection: &'a Connection,
    /// Moves with the bytes of all of them.
    pub(super) bar: ProgressBar,
    jobs: JoinSet<(String, anyhow::Result<Done>)>,
    tally: Tally,
    /// Failures that others may follow: those of a local file that is to be read are its own.
    failures: usize,
    reads_files: bool,
    first_error: Option<anyhow::Error>,
    /// What failed before anything succeeded. If nothing does, one sentence says why.
    held: Vec<String>,
}

impl<'a> Crowd<'a> {
    pub(super) fn new(what: &str, reads_files: bool, connection: &'a Connection) -> Crowd<'a> {
        let (bar, _) = output::progress(connection, None, what);
        let (jobs, tally, held) = (JoinSet::new(), Tally::default(), Vec::new());
        Crowd { connection, bar, jobs, tally, failures: 0, reads_files, first_error: None, held }
    }

    /// Begins with one more as soon as there is room for it; false once too many have failed.
    pub(super) async fn add(
        &mut self,
        name: String,
        job: impl Future<Output = anyhow::Result<Done>> + Send + 'static,
    ) -> bool {
        while self.jobs.len() >= AT_ONCE && self.finish_one().await {}
        if self.failures >= FAILURES_MAX {
            return false;
        }
        self.jobs.spawn(async move { (name, job.await) });
        true
    }

    /// Waits for one; false if there is none.
    async fn finish_one(&mut self) -> bool {
        let Some(joined) = self.jobs.join_next().await else { return false };
        let (name, outcome) = joined.unwrap_or_else(|error| (String::new(), Err(error.into())));
        match outcome {
            Ok(Done::Changed(bytes)) => {
                self.tally.changed += 1;
                self.tally.bytes += bytes;
            }
            Ok(Done::Same) => self.tally.unchanged += 1,
            Err(error) => {
                self.failures += usize::from(!(self.reads_files && is_of_file(&error)));
                self.fail(name, error);
            }
        }
        true
    }

    /// Notes that one failed; the next attempt would fail as well.
    pub(super) fn fail(&mut self, name: String, error: anyhow::Error) {
        let reason = format!("{error:#}");
        // Names are strangers' texts, and may have line breaks and worse.
        self.held.push(format!("{}: {reason}", name.escape_debug()));
        if self.tally.changed + self.tally.unchanged > 0 || !is_missing(&error) {
            self.tell_held();
        }
        self.tally.failed.push(Failure { name, reason });
        self.first_error.get_or_insert(error);
    }

    fn tell_held(&mut self) {
        for line in std::mem::take(&mut self.held) {
            self.bar.suspend(|| output::note(self.connection, &line));
        }
    }

    /// A meter of one object's bytes, which counts for all.
    pub(super) fn meter(&self) -> Progress {
        let (bar, before) = (self.bar.clone(), AtomicU64::new(0));
        Arc::new(move |bytes| bar.inc(bytes.saturating_sub(before.swap(bytes, Ordering::Relaxed))))
    }

    /// Waits for those under way, and says what came of all that was found in a place.
    pub(super) async fn end(mut self, what_was: &str, place: &str) -> Outcome {
        while self.finish_one().await {}
        if self.tally.changed + self.tally.unchanged > 0 {
            self.tell_held();
        }
        self.bar.finish_and_clear();
        let Tally { changed, unchanged, bytes, failed } = &self.tally;
        let mut text = format!("{} {what_was}, {}", objects(*changed), HumanBytes(*bytes));
        if *unchanged > 0 {
            text += &format!("; {unchanged} were so already");
        }
        if changed + unchanged == 0 && failed.is_empty() {
            text = format!("there is nothing in {place}");
        }
        output::done(self.connection, &text, &self.tally);
        let Some(error) = self.first_error else { return Ok(ExitCode::SUCCESS) };
        let gave_up = if self.failures >= FAILURES_MAX { "; the rest was not tried" } else { "" };
        let (count, first) = (objects(failed.len() as u64), failed[0].name.escape_debug());
        Err(error.context(format!("not {what_was}: {count}{gave_up}; the first: {first}")))
    }
}

/// Whether it is a local file that cannot be read, or does not stay what it is.
fn is_of_file(error: &anyhow::Error) -> bool {
    let is_it = |cause: &ClientError| matches!(cause, ClientError::File { .. } | ClientError::FileChanged(_));
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is_it))
}

fn objects(count: u64) -> String {
    if count == 1 { "1 object".to_owned() } else { format!("{count} objects") }
}
