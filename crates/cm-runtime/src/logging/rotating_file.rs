//! A log file that begins anew after a time, and that never stands in anybody's way.
//!
//! The file in use is `NAME.log`, so that `tail -F` has something to follow. When its period is over it is renamed to
//! `NAME.2024-01-03T10-00-00Z.log`, after the beginning of the period of its lines, or to `NAME.….1.log` and so on where
//! that name is taken; the oldest beyond a number are deleted.
//!
//! Why not a crate: `tracing-appender`, `logroller` (0.1.12), `rolling-file` (0.2.0) and `file-rotate` (0.8.0) know one
//! minute, one hour or one day but no interval of them; they take the time from the machine, so that only sleeping
//! tests it; on the paths of writing they unwrap, or give up on a directory that is removed under them; and all but the
//! first bring a second calendar library and compression along.
//!
//! What goes wrong while the process runs is counted (`log_lines_lost_total`) and reported when it begins and when it
//! ends; it never comes back to who wrote the line:
//!
//! | what happens | what is done |
//! | --- | --- |
//! | disk full, I/O error | the line is lost; the file is opened again after a second |
//! | directory removed, file moved away | found out within a second; directory and file are made anew |
//! | rotation impossible | lines go on into the same file until the next period |
//! | half a line was written | the next one begins on a line of its own |
//! | process killed and restarted | appended to the file, or rotated first if its period is over by then |

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::rotation::{Rotation, is_stamp, stamp};
use crate::Clock;

/// How often is looked whether the file is still there, and tried to open one that is not.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For the owner, and for a group of people who look after logs: a log names people and what they did.
const FILE_MODE: u32 = 0o640;
/// How many files of one period there may be: restarts with a clock that is set back, at worst.
const SAME_PERIOD_MAX: u32 = 1000;

/// Where a log is written, and how it is rotated.
pub(super) struct Settings {
    /// The directory; made if missing.
    pub(super) dir: PathBuf,
    /// The name of the file without `.log`.
    pub(super) name: &'static str,
    /// When a new file begins.
    pub(super) rotation: Rotation,
    /// How many rotated files stay.
    pub(super) files_kept: usize,
}

/// The writer. Expects whole lines in each call of [`Write::write`], which never fails.
pub(super) struct RotatingFile {
    settings: Settings,
    clock: Arc<dyn Clock>,
    current: Option<Current>,
    /// When the path was last looked at; not yet after a start without a file.
    looked: Option<Instant>,
    /// Lines lost since the last report; some are while this is not zero.
    lost: u64,
}

/// The file in use.
struct Current {
    file: File,
    /// Which file it is, whatever its name: device and inode.
    identity: (u64, u64),
    period: i64,
    /// Whether the last line lacks its end.
    torn: bool,
}

impl RotatingFile {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// The directory cannot be made or the file not be opened. A full disk is no error here: it may have room later.
    pub(super) fn open(settings: Settings, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let current = match settings.open(clock.now()) {
            Ok(current) => Some(current),
            Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => None,
            Err(error) => return Err(error),
        };
        settings.prune();
        let looked = current.is_some().then(|| clock.monotonic());
        Ok(Self { settings, clock, current, looked, lost: 0 })
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let (now, monotonic) = (self.clock.now(), self.clock.monotonic());
        if self.looked.is_none_or(|looked| monotonic.saturating_duration_since(looked) >= LOOK_EVERY) {
            self.looked = Some(monotonic);
            self.current = self.current.take().filter(|current| self.settings.holds(current));
            if self.current.is_none() {
                self.current = Some(self.settings.open(now)?);
            }
        }
        let Some(current) = &mut self.current else { return Err(ErrorKind::NotConnected.into()) };
        let period = self.settings.rotation.period(now);
        if self.settings.rotation.is_over(current.period, period) {
            match self.settings.rotate(current, now) {
                Ok(next) => *current = next,
                Err(error) => {
                    current.period = period;
                    let file = self.settings.path();
                    tracing::warn!(file = %file.display(), %error, "log file not rotated");
                }
            }
        }
        let written = current.append(line);
        if written.is_err() {
            self.current = None;
        }
        written
    }

    fn lose(&mut self, lines: u64, error: &io::Error) {
        metrics::counter!("log_lines_lost_total", "file" => self.settings.name).increment(lines);
        let first = self.lost == 0;
        self.lost += lines;
        if first {
            // Goes to standard error, and comes back here to be counted.
            let file = self.settings.path();
            tracing::error!(file = %file.display(), %error, "log file cannot be written, lines are lost");
        }
    }
}

impl Write for RotatingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.append(line) {
            Ok(()) if self.lost > 0 => {
                let (file, lost) = (self.settings.path(), std::mem::take(&mut self.lost));
                tracing::warn!(file = %file.display(), lost, "log file is written again");
            }
            Ok(()) => {}
            Err(error) => {
                let lost = line.iter().filter(|byte| **byte == b'\n').count().max(1);
                self.lose(lost as u64, &error);
            }
        }
        Ok(line.len())
    }

    /// Nothing is held back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Current {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Settings {
    fn path(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.name))
    }

    fn open(&self, now: SystemTime) -> io::Result<Current> {
        std::fs::create_dir_all(&self.dir)?;
        let mut options = OpenOptions::new();
        let mut file = options.create(true).read(true).append(true).mode(FILE_MODE).open(self.path())?;
        let metadata = file.metadata()?;
        // A file that was there belongs to the period in which it was last written.
        let written = if metadata.len() == 0 { now } else { metadata.modified().unwrap_or(now) };
        let torn = metadata.len() > 0 && last_byte(&mut file)? != b'\n';
        Ok(Current { identity: identity(&metadata), period: self.rotation.period(written), torn, file })
    }

    /// Whether the file is still the one that the path names.
    fn holds(&self, current: &Current) -> bool {
        std::fs::metadata(self.path()).is_ok_and(|metadata| identity(&metadata) == current.identity)
    }

    /// Puts the file away and opens the next one.
    fn rotate(&self, current: &Current, now: SystemTime) -> io::Result<Current> {
        // Somebody else has moved it, or it has no lines: an error log may be empty for months.
        if self.holds(current) && current.file.metadata()?.len() > 0 {
            let target = self.reserve(&stamp(current.period))?;
            if let Err(error) = std::fs::rename(self.path(), &target) {
                let _ = std::fs::remove_file(&target);
                return Err(error);
            }
        }
        let mut next = self.open(now)?;
        next.period = self.rotation.period(now);
        self.prune();
        Ok(next)
    }

    /// Makes an empty file of a name that nobody had, to be renamed over: a rename alone would silently replace the lines
    /// of another process in the same directory.
    fn reserve(&self, stamp: &str) -> io::Result<PathBuf> {
        for number in 0..SAME_PERIOD_MAX {
            let suffix = if number == 0 { String::new() } else { format!(".{number}") };
            let path = self.dir.join(format!("{}.{stamp}{suffix}.log", self.name));
            match File::create_new(&path) {
                Ok(_) => return Ok(path),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Deletes the oldest rotated files of this log, and no others.
    fn prune(&self) {
        let pruned = self.rotated().and_then(|mut rotated| {
            rotated.sort();
            let surplus = rotated.len().saturating_sub(self.files_kept);
            rotated.iter().take(surplus).try_for_each(|(_, _, path)| std::fs::remove_file(path))
        });
        if let Err(error) = pruned {
            tracing::warn!(dir = %self.dir.display(), %error, "old log files not deleted");
        }
    }

    /// The rotated files: the time, the number and the path of each.
    fn rotated(&self) -> io::Result<Vec<(String, u32, PathBuf)>> {
        let mut rotated = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if let Some((stamp, number)) = self.parse(&path) {
                rotated.push((stamp, number, path));
            }
        }
        Ok(rotated)
    }

    /// The time and the number in the name of a rotated file; nothing for other files.
    fn parse(&self, path: &Path) -> Option<(String, u32)> {
        let name = path.file_name()?.to_str()?;
        let middle = name.strip_prefix(self.name)?.strip_prefix('.')?.strip_suffix(".log")?;
        let (stamp, number) = middle.split_once('.').unwrap_or((middle, "0"));
        Some((stamp.to_owned(), number.parse().ok()?)).filter(|(stamp, _)| is_stamp(stamp))
    }
}

fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn last_byte(file: &mut File) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests;
