//! Where log lines go: always to standard error, and to files if asked.
//!
//! Writing never blocks the caller: each place has a thread and a bounded buffer; when it is full, lines
//! are dropped rather than requests delayed. Files are rotated by time; see [`Rotation`].

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::SystemClock;

mod rotating_file;
mod rotation;
mod sink;

use rotating_file::{RotatingFile, Settings};
pub use rotation::{InvalidRotationUnit, Rotation, RotationUnit};
use sink::{Sink, SinkGuard};

/// The file of all lines, without `.log`.
const ALL: &str = "cryptomesh";
/// The file of errors alone, without `.log`.
const ERRORS: &str = "cryptomesh-error";

/// What to log and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A filter in the syntax of `tracing-subscriber`: `info`, or `info,cm_functions=debug`.
    pub level: String,
    /// Targets of which nothing is logged, whatever the level: libraries that log secrets, or their callers' mistakes as
    /// errors.
    pub muted: &'static [&'static str],
    /// How a line looks, on standard error and in files.
    pub format: LogFormat,
    /// Files besides standard error.
    pub file: Option<LogFile>,
}

impl Default for LogConfig {
    /// `info` as text to standard error.
    fn default() -> Self {
        Self { level: "info".into(), muted: &[], format: LogFormat::Text, file: None }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line, for collectors.
    Json,
}

/// Log files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// The directory; created if missing.
    pub dir: PathBuf,
    /// When a new file begins.
    pub rotation: Rotation,
    /// Whether all lines are written, to `cryptomesh.log`.
    pub all: bool,
    /// Whether errors are written to a file of their own, `cryptomesh-error.log`.
    pub errors: bool,
    /// Rotated files kept of each of the two, besides the one in use; older ones are deleted.
    pub files_kept: usize,
}

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not understood.
    #[error("log level `{level}` is not understood")]
    Level {
        /// What was given.
        level: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The directory cannot be created, or the file in it not be opened.
    #[error("cannot write log files in {}", dir.display())]
    File {
        /// The directory.
        dir: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A thread that writes lines cannot be started.
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] std::io::Error),
    /// The process logs already.
    #[error("logging was set up before")]
    AlreadySet,
}

/// Flushes the log when dropped; hold it until the process ends.
#[derive(Debug)]
#[must_use = "the last lines are lost when the guard is dropped early"]
pub struct LogGuard {
    _sinks: Vec<SinkGuard>,
}

/// Begins logging for the whole process. Call once, from the binary.
pub fn init(config: &LogConfig) -> Result<LogGuard, LogError> {
    let filter = filter(config)?;
    let (layers, sinks) = layers(config)?;
    Registry::default().with(layers.with_filter(filter)).try_init().map_err(|_| LogError::AlreadySet)?;
    Ok(LogGuard { _sinks: sinks })
}

fn filter(config: &LogConfig) -> Result<EnvFilter, LogError> {
    let understood = |text: &str| {
        EnvFilter::try_new(text).map_err(|source| LogError::Level { level: text.to_owned(), source })
    };
    understood(&config.level)?;
    // Among directives of the same target, the last one counts.
    let muted: String = config.muted.iter().map(|target| format!(",{target}=off")).collect();
    understood(&format!("{}{muted}", config.level))
}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

fn layers(config: &LogConfig) -> Result<(Vec<BoxedLayer>, Vec<SinkGuard>), LogError> {
    let (stderr, guard) = sink::open("stderr", std::io::stderr()).map_err(LogError::Thread)?;
    let mut layers = vec![layer(config.format, stderr, std::io::stderr().is_terminal())];
    let mut guards = vec![guard];
    let Some(file) = &config.file else { return Ok((layers, guards)) };
    if file.all {
        let (writer, guard) = open(file, ALL)?;
        layers.push(layer(config.format, writer, false));
        guards.push(guard);
    }
    if file.errors {
        let (writer, guard) = open(file, ERRORS)?;
        layers.push(Box::new(layer(config.format, writer, false).with_filter(LevelFilter::ERROR)));
        guards.push(guard);
    }
    Ok((layers, guards))
}

fn open(file: &LogFile, name: &'static str) -> Result<(Sink, SinkGuard), LogError> {
    let settings =
        Settings { dir: file.dir.clone(), name, rotation: file.rotation, files_kept: file.files_kept };
    let writer = RotatingFile::open(settings, Arc::new(SystemClock))
        .map_err(|source| LogError::File { dir: file.dir.clone(), source })?;
    sink::open(name, writer).map_err(LogError::Thread)
}

fn layer(format: LogFormat, writer: Sink, ansi: bool) -> BoxedLayer {
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(ansi);
    match format {
        LogFormat::Text => Box::new(layer),
        LogFormat::Json => Box::new(layer.json().flatten_event(true)),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::path::Path;

    use super::*;

    fn config(dir: &Path) -> LogConfig {
        LogConfig {
            level: "info".into(),
            muted: &["noisy"],
            format: LogFormat::Json,
            file: Some(LogFile {
                dir: dir.join("logs"),
                rotation: Rotation { unit: RotationUnit::Day, interval: NonZeroU32::MIN },
                all: true,
                errors: true,
                files_kept: 10,
            }),
        }
    }

    /// Logs a line of each kind and returns the files that hold some, by name.
    fn files_of(config: &LogConfig) -> Vec<(String, String)> {
        let (layers, sinks) = layers(config).unwrap();
        let subscriber = Registry::default().with(layers.with_filter(filter(config).unwrap()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("too fine");
            tracing::info!(tenant = "default", "ordinary");
            tracing::error!("broken");
            tracing::error!(target: "noisy::inner", "not ours to tell");
        });
        drop(sinks);
        let entries = std::fs::read_dir(&config.file.as_ref().unwrap().dir).unwrap();
        let mut files: Vec<_> = entries
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
            .map(|(name, path)| (name, std::fs::read_to_string(path).unwrap()))
            .collect();
        files.sort();
        files
    }

    #[test]
    fn files_hold_what_was_logged_and_the_error_file_only_errors() {
        let dir = tempfile::tempdir().unwrap();
        let files = files_of(&config(dir.path()));
        let [(error_name, errors), (name, all)] = &files[..] else { panic!("{files:?}") };
        assert_eq!((error_name.as_str(), name.as_str()), ("cryptomesh-error.log", "cryptomesh.log"));
        assert_eq!(all.lines().count(), 2, "{all}");
        assert!(all.contains(r#""tenant":"default""#), "{all}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.contains("broken"), "{errors}");
    }

    #[test]
    fn either_file_can_be_had_alone() {
        for (all, errors, name) in [(true, false, "cryptomesh.log"), (false, true, "cryptomesh-error.log")] {
            let dir = tempfile::tempdir().unwrap();
            let mut config = config(dir.path());
            let file = config.file.as_mut().unwrap();
            (file.all, file.errors) = (all, errors);
            let files = files_of(&config);
            assert_eq!(files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), [name]);
        }
    }

    #[test]
    fn a_bad_level_and_a_bad_directory_are_named() {
        let bad = LogConfig { level: "a=b=c".into(), ..LogConfig::default() };
        assert!(matches!(init(&bad), Err(LogError::Level { .. })));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(layers(&config(file.path())), Err(LogError::File { .. })));
    }
}
