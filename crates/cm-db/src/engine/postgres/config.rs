//! How to reach the server.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::tls::{self, MakeTls};
use crate::{DbError, StorageClass, StorageError};

/// How long connecting may take, name look-up, TLS and log-in included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one statement may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the writers of other processes may keep us waiting.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// After what time without a sign of life the server ends a transaction, so that a process that was cut off from the
/// network, or stopped, does not keep the only write lock.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// When TCP begins to ask whether the peer is still there, how often it asks, and how many times.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);
/// Connections that read. More do not read faster: each is a process of the server.
const READERS: usize = 8;
/// Most connections that anybody may ask for.
const READERS_MAX: usize = 64;

/// What is wrong with an address of a database. The address itself is never shown: it may carry a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// It does not begin as one.
    #[error("expected `postgresql://USER@HOST:PORT/DATABASE`")]
    Scheme,
    /// It does not parse.
    #[error("the address of the database is malformed: {0}")]
    Malformed(String),
    /// A mode of TLS that is none.
    #[error("`sslmode={0}` is none of `disable`, `prefer`, `require`, `verify-ca`, `verify-full`")]
    SslMode(String),
    /// Verification is asked for, but not against what.
    #[error("`sslmode={0}` needs a root certificate: set one beside the address, or `sslrootcert` in it")]
    RootCertificate(&'static str),
}

/// Whether connections are encrypted, and what the server has to prove; the names are those of libpq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    /// Plain.
    Disable,
    /// Encrypted if the server can. Nothing is proven.
    Prefer,
    /// Encrypted. The certificate is verified as by `VerifyCa` if there is a root certificate, as libpq does.
    Require,
    /// Encrypted; the certificate descends from the root.
    VerifyCa,
    /// Encrypted; the certificate descends from the root and is for the host that was named.
    VerifyFull,
}

impl Tls {
    pub(super) fn name(self) -> &'static str {
        match self {
            Tls::Disable => "disable",
            Tls::Prefer => "prefer",
            Tls::Require => "require",
            Tls::VerifyCa => "verify-ca",
            Tls::VerifyFull => "verify-full",
        }
    }
}

impl FromStr for Tls {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let known = [Tls::Disable, Tls::Prefer, Tls::Require, Tls::VerifyCa, Tls::VerifyFull];
        known.into_iter().find(|tls| tls.name() == text).ok_or_else(|| InvalidUrl::SslMode(text.to_owned()))
    }
}

/// Which PostgreSQL database, and how to reach it. Neither `Debug` nor `Display` shows the password.
#[derive(Clone)]
pub struct PostgresConfig {
    pub(super) server: tokio_postgres::Config,
    pub(super) tls: Tls,
    pub(super) root_certificate: Option<PathBuf>,
    pub(super) connect_timeout: Duration,
    pub(super) statement_timeout: Duration,
    pub(super) readers: usize,
}

impl PostgresConfig {
    /// Reads `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full&…` with the parameters of libpq.
    ///
    /// `sslmode` is `prefer` unless it is named. `sslrootcert` in the address, a PEM file, overrules
    /// `root_certificate`. The server must be a primary: a standby is passed over.
    pub fn parse(url: &str, root_certificate: Option<&Path>) -> Result<PostgresConfig, InvalidUrl> {
        if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
            return Err(InvalidUrl::Scheme);
        }
        // What tokio-postgres does not know is ours to read.
        let (address, parameters) = url.split_once('?').unwrap_or((url, ""));
        let mut tls = Tls::Prefer;
        let mut root_certificate = root_certificate.map(Path::to_owned);
        let mut rest = Vec::new();
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", mode)) => tls = mode.parse()?,
                Some(("sslrootcert", path)) => root_certificate = Some(unescape(path)?.into()),
                _ => rest.push(parameter),
            }
        }
        if matches!(tls, Tls::VerifyCa | Tls::VerifyFull) && root_certificate.is_none() {
            return Err(InvalidUrl::RootCertificate(tls.name()));
        }
        let url = if rest.is_empty() { address.to_owned() } else { format!("{address}?{}", rest.join("&")) };
        let server = tokio_postgres::Config::from_str(&url).map_err(malformed)?;
        let config = PostgresConfig {
            server,
            tls,
            root_certificate,
            connect_timeout: CONNECT_TIMEOUT,
            statement_timeout: STATEMENT_TIMEOUT,
            readers: READERS,
        };
        Ok(config.completed())
    }

    /// How long connecting may take, everything included; 5 s unless told.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long one statement may take; 30 s unless told.
    #[must_use]
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// How many connections read, from 1 to 64; 8 unless told.
    #[must_use]
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers.clamp(1, READERS_MAX);
        self
    }

    fn completed(mut self) -> Self {
        let server = &mut self.server;
        server.ssl_mode(match self.tls {
            Tls::Disable => SslMode::Disable,
            Tls::Prefer => SslMode::Prefer,
            Tls::Require | Tls::VerifyCa | Tls::VerifyFull => SslMode::Require,
        });
        server.target_session_attrs(TargetSessionAttrs::ReadWrite);
        server.keepalives(true).keepalives_idle(KEEPALIVE.0).keepalives_interval(KEEPALIVE.1);
        server.keepalives_retries(KEEPALIVE.2);
        if server.get_application_name().is_none() {
            server.application_name("cryptomesh");
        }
        self
    }

    /// The connection's settings, which the server is told at log-in.
    pub(super) fn for_session(&self) -> tokio_postgres::Config {
        let mut server = self.server.clone();
        server.connect_timeout(self.connect_timeout);
        let options = format!(
            "{} -c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={}",
            server.get_options().unwrap_or_default(),
            self.statement_timeout.as_millis(),
            LOCK_TIMEOUT.min(self.statement_timeout).as_millis(),
            IDLE_TIMEOUT.as_millis(),
        );
        server.options(options.trim());
        server
    }

    /// Reads the root certificate, if one is needed.
    pub(super) fn make_tls(&self) -> Result<MakeTls, DbError> {
        tls::make(self.tls, self.root_certificate.as_deref()).map_err(|source| {
            DbError::Storage(StorageError { class: StorageClass::Io, source: Arc::new(source) })
        })
    }
}

/// Host and database, without user and password.
impl std::fmt::Display for PostgresConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ports = self.server.get_ports();
        for (at, host) in self.server.get_hosts().iter().enumerate() {
            let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
            let comma = if at == 0 { "" } else { "," };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}:{port}")?,
                Host::Unix(path) => write!(f, "{comma}{}:{port}", path.display())?,
            }
        }
        write!(f, "/{}", self.server.get_dbname().or(self.server.get_user()).unwrap_or_default())
    }
}

impl std::fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgresConfig({self}, sslmode={})", self.tls.name())
    }
}

/// The parser's reason; its errors name parameters and what it expected, never the password.
fn malformed(error: tokio_postgres::Error) -> InvalidUrl {
    let reason = std::error::Error::source(&error).map(ToString::to_string);
    InvalidUrl::Malformed(reason.unwrap_or_else(|| error.to_string()))
}

/// Undoes `%XX`.
fn unescape(text: &str) -> Result<String, InvalidUrl> {
    let wrong = || InvalidUrl::Malformed("`%` is not followed by two hexadecimal digits".into());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).ok_or_else(wrong);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).map_err(|_| wrong())?);
    }
    String::from_utf8(bytes).map_err(|_| InvalidUrl::Malformed("it is not UTF-8".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Option<&str> = Some("/root.pem");

    fn parse(url: &str, root: Option<&str>) -> Result<PostgresConfig, InvalidUrl> {
        PostgresConfig::parse(url, root.map(Path::new))
    }

    #[test]
    fn addresses_are_read_as_libpq_does() {
        let config = parse("postgresql://ada:s%2Fcret@db.example:5433/mesh", None).unwrap();
        assert_eq!((config.tls, config.to_string().as_str()), (Tls::Prefer, "db.example:5433/mesh"));
        assert_eq!(config.server.get_password(), Some(b"s/cret".as_slice()));
        let modes = [
            ("disable", Tls::Disable),
            ("prefer", Tls::Prefer),
            ("require", Tls::Require),
            ("verify-ca", Tls::VerifyCa),
            ("verify-full", Tls::VerifyFull),
        ];
        for (name, tls) in modes {
            assert_eq!(parse(&format!("postgres://a@h/d?sslmode={name}"), ROOT).unwrap().tls, tls);
        }
        let config = parse("postgres://a@h/d?application_name=x&sslrootcert=/a%20b.pem", ROOT).unwrap();
        assert_eq!(config.root_certificate.as_deref(), Some(Path::new("/a b.pem")));
        assert_eq!(config.server.get_application_name(), Some("x"));
        let config = parse("postgres://a@h/d?options=-c%20work_mem%3D4MB", None).unwrap();
        assert!(
            config.for_session().get_options().unwrap().starts_with("-c work_mem=4MB -c statement_timeout")
        );
    }

    #[test]
    fn wrong_addresses_say_why_and_not_who() {
        let check = |url: &str, expected: &str| {
            let error = parse(url, None).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        };
        check("mysql://a:s3cret@h/d", "postgresql://");
        check("host=h password=s3cret", "postgresql://");
        check("postgresql://a:s3cret@h:port/d", "");
        check("postgresql://a:s3cret@h/d?sslmode=maybe", "maybe");
        check("postgresql://a:s3cret@h/d?sslmode=verify-full", "root certificate");
        check("postgresql://a:s3cret@h/d?colour=blue", "colour");
    }

    #[test]
    fn nothing_shows_the_password() {
        let config = parse("postgresql://ada:s3cret@h1,h2:5433/mesh", None).unwrap();
        let shown = format!("{config} {config:?}");
        assert!(shown.contains("h1:5433,h2:5433/mesh") || shown.contains("h2:5433"), "{shown}");
        assert!(!shown.contains("s3cret") && !shown.contains("ada"), "{shown}");
    }
}
