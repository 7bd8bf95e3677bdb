//! Where log lines go: always to standard error, and to files if asked.
//!
//! Writing never blocks the caller: each sink has a thread and a bounded queue; when it is full, lines
//! are dropped rather than requests delayed.

use std::io::IsTerminal;
use std::path::PathBuf;

use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_appender::rolling::RollingFileAppender;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// What to log and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A filter in the syntax of `tracing-subscriber`: `info`, or `info,cm_functions=debug`.
    pub level: String,
    /// How a line looks, on standard error and in files.
    pub format: LogFormat,
    /// Files besides standard error.
    pub file: Option<LogFile>,
}

impl Default for LogConfig {
    /// `info` as text to standard error.
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text, file: None }
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
    /// Whether errors are written to a second file as well, `cryptomesh-error`.
    pub error_file: bool,
    /// Rotated files kept per log; older ones are deleted.
    pub files_kept: usize,
}

/// When a new log file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// One file for ever.
    Never,
    /// Every minute.
    Minutely,
    /// Every hour, UTC.
    Hourly,
    /// Every day, UTC.
    Daily,
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
    /// The directory cannot be created or written.
    #[error("log directory {} cannot be used", dir.display())]
    Dir {
        /// The directory.
        dir: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The log file cannot be opened.
    #[error("log file in {} cannot be opened", dir.display())]
    File {
        /// The directory.
        dir: PathBuf,
        /// The reason.
        source: tracing_appender::rolling::InitError,
    },
    /// The process logs already.
    #[error("logging was set up before")]
    AlreadySet,
}

/// Flushes the log when dropped; hold it until the process ends.
#[derive(Debug)]
#[must_use = "the last lines are lost when the guard is dropped early"]
pub struct LogGuard {
    _workers: Vec<WorkerGuard>,
}

/// Begins logging for the whole process. Call once, from the binary.
pub fn init(config: &LogConfig) -> Result<LogGuard, LogError> {
    let filter = EnvFilter::try_new(&config.level)
        .map_err(|source| LogError::Level { level: config.level.clone(), source })?;
    let (layers, workers) = layers(config)?;
    Registry::default().with(layers.with_filter(filter)).try_init().map_err(|_| LogError::AlreadySet)?;
    Ok(LogGuard { _workers: workers })
}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

fn layers(config: &LogConfig) -> Result<(Vec<BoxedLayer>, Vec<WorkerGuard>), LogError> {
    let (stderr, worker) = tracing_appender::non_blocking(std::io::stderr());
    let mut layers = vec![layer(config.format, stderr, std::io::stderr().is_terminal())];
    let mut workers = vec![worker];
    if let Some(file) = &config.file {
        std::fs::create_dir_all(&file.dir)
            .map_err(|source| LogError::Dir { dir: file.dir.clone(), source })?;
        let (writer, worker) = open(file, "cryptomesh")?;
        layers.push(layer(config.format, writer, false));
        workers.push(worker);
        if file.error_file {
            let (writer, worker) = open(file, "cryptomesh-error")?;
            layers.push(Box::new(layer(config.format, writer, false).with_filter(LevelFilter::ERROR)));
            workers.push(worker);
        }
    }
    Ok((layers, workers))
}

fn open(file: &LogFile, name: &str) -> Result<(NonBlocking, WorkerGuard), LogError> {
    let rotation = match file.rotation {
        Rotation::Never => tracing_appender::rolling::Rotation::NEVER,
        Rotation::Minutely => tracing_appender::rolling::Rotation::MINUTELY,
        Rotation::Hourly => tracing_appender::rolling::Rotation::HOURLY,
        Rotation::Daily => tracing_appender::rolling::Rotation::DAILY,
    };
    let appender = RollingFileAppender::builder()
        .rotation(rotation)
        .filename_prefix(name)
        .filename_suffix("log")
        .max_log_files(file.files_kept)
        .build(&file.dir)
        .map_err(|source| LogError::File { dir: file.dir.clone(), source })?;
    Ok(tracing_appender::non_blocking(appender))
}

fn layer(format: LogFormat, writer: NonBlocking, ansi: bool) -> BoxedLayer {
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(ansi);
    match format {
        LogFormat::Text => Box::new(layer),
        LogFormat::Json => Box::new(layer.json().flatten_event(true)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(dir: &Path) -> LogConfig {
        LogConfig {
            level: "info".into(),
            format: LogFormat::Json,
            file: Some(LogFile {
                dir: dir.join("logs"),
                rotation: Rotation::Never,
                error_file: true,
                files_kept: 10,
            }),
        }
    }

    #[test]
    fn files_hold_what_was_logged_and_the_error_file_only_errors() {
        let dir = tempfile::tempdir().unwrap();
        let (layers, workers) = layers(&config(dir.path())).unwrap();
        let subscriber = Registry::default().with(layers.with_filter(EnvFilter::new("info")));
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("too fine");
            tracing::info!(tenant = "default", "ordinary");
            tracing::error!("broken");
        });
        drop(workers);
        let read = |name: &str| std::fs::read_to_string(dir.path().join("logs").join(name)).unwrap();
        let (all, errors) = (read("cryptomesh.log"), read("cryptomesh-error.log"));
        assert_eq!(all.lines().count(), 2, "{all}");
        assert!(all.contains(r#""tenant":"default""#), "{all}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.contains("broken"), "{errors}");
    }

    #[test]
    fn a_bad_level_and_a_bad_directory_are_named() {
        let bad = LogConfig { level: "a=b=c".into(), ..LogConfig::default() };
        assert!(matches!(init(&bad), Err(LogError::Level { .. })));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(layers(&config(file.path())), Err(LogError::Dir { .. })));
    }
}
