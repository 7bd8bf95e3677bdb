use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::ManualClock;

const HOUR: Duration = Duration::from_secs(3600);

/// A log in a directory of its own, at a time that the test sets; it begins at 2024-01-01T00:00:00Z.
struct Log {
    root: tempfile::TempDir,
    clock: ManualClock,
    when: &'static str,
    interval: u32,
    files_kept: usize,
    writer: RotatingFile,
}

fn open(
    dir: &Path,
    clock: &ManualClock,
    (when, interval): (&str, u32),
    files_kept: usize,
) -> io::Result<RotatingFile> {
    let rotation = Rotation { unit: when.parse().unwrap(), interval: NonZeroU32::new(interval).unwrap() };
    let settings = Settings { dir: dir.to_owned(), name: "node", rotation, files_kept };
    RotatingFile::open(settings, Arc::new(clock.clone()))
}

impl Log {
    fn new(when: &'static str, interval: u32, files_kept: usize) -> Self {
        let (root, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
        let writer = open(&root.path().join("logs"), &clock, (when, interval), files_kept).unwrap();
        Self { root, clock, when, interval, files_kept, writer }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("logs")
    }

    fn path(&self) -> PathBuf {
        self.dir().join("node.log")
    }

    /// Writes a line, at the set time also for the file system.
    fn line(&mut self, text: &str) {
        let line = format!("{text}\n");
        assert_eq!(self.writer.write(line.as_bytes()).unwrap(), line.len());
        self.touch();
    }

    /// Lets the file look as if it had been written at the set time.
    fn touch(&self) {
        if std::fs::symlink_metadata(self.path()).is_ok_and(|metadata| metadata.is_file()) {
            let file = File::options().append(true).open(self.path()).unwrap();
            file.set_modified(self.clock.now()).unwrap();
        }
    }

    fn restart(&mut self) {
        self.writer = open(&self.dir(), &self.clock, (self.when, self.interval), self.files_kept).unwrap();
    }

    /// The files as `name: line line`, the rotated ones first and in order.
    fn files(&self) -> Vec<String> {
        let mut paths = self.writer.settings.rotated().unwrap();
        paths.sort();
        let paths = paths.into_iter().map(|(_, _, path)| path).chain([self.path()]);
        paths
            .map(|path| {
                let lines = std::fs::read_to_string(&path).unwrap().replace('\n', " ");
                let name = path.file_name().unwrap().to_str().unwrap();
                format!("{}: {}", name.trim_start_matches("node.").trim_end_matches(".log"), lines.trim_end())
            })
            .collect()
    }
}

#[test]
fn a_new_file_begins_every_ten_hours() {
    let mut log = Log::new("h", 10, 10);
    // Midnight lies in the period that began at 22:00 the day before.
    for hour in 0..30 {
        log.line(&hour.to_string());
        log.clock.advance(HOUR);
    }
    assert_eq!(
        log.files(),
        [
            "2023-12-31T22-00-00Z: 0 1 2 3 4 5 6 7",
            "2024-01-01T08-00-00Z: 8 9 10 11 12 13 14 15 16 17",
            "2024-01-01T18-00-00Z: 18 19 20 21 22 23 24 25 26 27",
            "log: 28 29",
        ]
    );
}

#[test]
fn a_restart_goes_on_in_the_same_period_and_rotates_in_a_later_one() {
    let mut log = Log::new("d", 1, 10);
    log.line("a");
    log.clock.advance(HOUR);
    log.restart();
    log.line("b");
    log.clock.advance(48 * HOUR);
    log.restart();
    log.line("c");
    assert_eq!(log.files(), ["2024-01-01T00-00-00Z: a b", "log: c"]);
}

#[test]
fn files_of_one_period_replace_nobody() {
    let mut log = Log::new("m", 1, 10);
    let minute = Duration::from_secs(60);
    let midnight = log.clock.now();
    for text in ["a", "b", "c"] {
        log.clock.set_wall(midnight);
        log.restart();
        log.line(text);
        log.clock.set_wall(midnight + 10 * minute);
        log.line(&format!("after-{text}"));
    }
    assert_eq!(
        log.files(),
        [
            "2024-01-01T00-00-00Z: a",
            "2024-01-01T00-00-00Z.1: b",
            "2024-01-01T00-00-00Z.2: c",
            "2024-01-01T00-10-00Z: after-a",
            "2024-01-01T00-10-00Z.1: after-b",
            "log: after-c",
        ]
    );
}

#[test]
fn a_clock_set_back_a_little_ends_no_file() {
    let mut log = Log::new("h", 1, 10);
    log.clock.advance(HOUR);
    log.line("a");
    log.clock.set_wall(log.clock.now() - Duration::from_secs(1));
    log.line("b");
    assert_eq!(log.files(), ["log: a b"]);
    log.clock.set_wall(log.clock.now() - 24 * HOUR);
    log.line("c");
    assert_eq!(log.files(), ["2024-01-01T01-00-00Z: a b", "log: c"]);
}

#[test]
fn the_oldest_files_are_deleted_and_no_others() {
    let mut log = Log::new("h", 1, 2);
    let others =
        ["node-error.2023-01-01T00-00-00Z.log", "node.yesterday.log", "node.2023-01-01T00-00-00Z.log.gz"];
    for other in others {
        std::fs::write(log.dir().join(other), "other").unwrap();
    }
    for hour in 0..6 {
        log.line(&hour.to_string());
        log.clock.advance(HOUR);
    }
    assert_eq!(log.files(), ["2024-01-01T03-00-00Z: 3", "2024-01-01T04-00-00Z: 4", "log: 5"]);
    assert!(others.iter().all(|other| log.dir().join(other).exists()));
    log.files_kept = 1;
    log.restart();
    assert_eq!(log.files(), ["2024-01-01T04-00-00Z: 4", "log: 5"]);
}

#[test]
fn a_file_without_lines_is_not_put_away() {
    let mut log = Log::new("h", 1, 10);
    log.clock.advance(5 * HOUR);
    log.line("a");
    assert_eq!(log.files(), ["log: a"]);
}

#[test]
fn a_removed_directory_is_made_anew() {
    let mut log = Log::new("h", 1, 10);
    log.line("a");
    std::fs::remove_dir_all(log.dir()).unwrap();
    // A file in place of the directory: nothing can be written at all.
    std::fs::write(log.dir(), "").unwrap();
    for _ in 0..3 {
        log.clock.advance(LOOK_EVERY);
        log.line("lost");
    }
    assert_eq!(log.writer.lost, 3);
    std::fs::remove_file(log.dir()).unwrap();
    log.line("not yet tried again");
    log.clock.advance(LOOK_EVERY);
    log.line("b");
    assert_eq!((log.files(), log.writer.lost), (vec!["log: b".to_owned()], 0));
}

#[test]
fn a_full_disk_loses_lines_and_nothing_else() {
    let mut log = Log::new("h", 1, 10);
    log.line("a");
    let aside = log.dir().join("aside");
    std::fs::rename(log.path(), &aside).unwrap();
    std::os::unix::fs::symlink("/dev/full", log.path()).unwrap();
    for _ in 0..3 {
        log.clock.advance(LOOK_EVERY);
        log.line("lost");
    }
    assert_eq!(log.writer.lost, 3);
    // There is room again, after half a line.
    std::fs::rename(&aside, log.path()).unwrap();
    File::options().append(true).open(log.path()).unwrap().write_all(b"half").unwrap();
    log.touch();
    log.clock.advance(LOOK_EVERY);
    log.line("b");
    assert_eq!((log.files(), log.writer.lost), (vec!["log: a half b".to_owned()], 0));
}

#[test]
fn a_disk_that_is_full_at_the_start_gets_its_file_later() {
    let mut log = Log::new("h", 1, 10);
    log.writer.current = None;
    log.writer.looked = None;
    log.line("a");
    assert_eq!((log.files(), log.writer.lost), (vec!["log: a".to_owned()], 0));
}

#[test]
fn a_file_moved_by_somebody_else_is_replaced() {
    let mut log = Log::new("h", 1, 10);
    log.line("a");
    let moved = log.dir().join("moved");
    std::fs::rename(log.path(), &moved).unwrap();
    log.line("b");
    log.clock.advance(LOOK_EVERY);
    log.line("c");
    assert_eq!(log.files(), ["log: c"]);
    assert_eq!(std::fs::read_to_string(moved).unwrap(), "a\nb\n");
}

#[test]
fn an_impossible_rotation_goes_on_in_the_same_file() {
    let mut log = Log::new("h", 1, 10);
    log.line("a");
    for number in 0..SAME_PERIOD_MAX {
        let suffix = if number == 0 { String::new() } else { format!(".{number}") };
        File::create(log.dir().join(format!("node.2024-01-01T00-00-00Z{suffix}.log"))).unwrap();
    }
    log.clock.advance(HOUR);
    log.line("b");
    assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "a\nb\n");
    log.clock.advance(HOUR);
    log.line("c");
    assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "c\n");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens between two lines, each is in exactly one file, and they are in order.
    #[test]
    fn every_line_is_kept_once_and_in_order(
        steps in proptest::collection::vec((0u64..200, proptest::bool::weighted(0.2)), 1..60),
        interval in 1u32..5,
    ) {
        let mut log = Log::new("m", interval, 1000);
        for (number, (seconds, restart)) in steps.iter().enumerate() {
            log.clock.advance(Duration::from_secs(*seconds));
            if *restart {
                log.restart();
            }
            log.line(&number.to_string());
        }
        let lines = log.files().iter().flat_map(|file| {
            file.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
        }).collect::<Vec<_>>();
        let written = (0..steps.len()).map(|number| number.to_string()).collect::<Vec<_>>();
        prop_assert_eq!(lines, written);
    }
}
