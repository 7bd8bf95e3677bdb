//! One connection, driven by the thread that uses it.
//!
//! Each thread has a runtime of its own that runs only while the thread waits for an answer, so several statements can
//! be on their way at once (what tokio-postgres pipelines) without a task beside them. Any failure but a refused
//! statement breaks a connection; it is then left, not mended.

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{AsyncMessage, Client, Connection, Row, Socket, Statement};

use super::config::PostgresConfig;
use super::tls::{MakeTls, TlsStream};
use crate::{Corruption, DbError, StorageClass, StorageError};

/// How much longer than the server's own limit we wait, so that its answer comes first.
const GRACE: Duration = Duration::from_secs(5);

/// A failed statement or connection.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: StorageError,
    /// The server refused and went on; the transaction is undone.
    pub(super) refused: bool,
    /// The server found its own data damaged.
    damaged: bool,
}

impl Failure {
    fn lost(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        let error = StorageError { class: StorageClass::Unreachable, source: Arc::new(source) };
        Self { error, refused: false, damaged: false }
    }

    /// The connection ended before anything was sent.
    pub(super) fn gone() -> Self {
        Self::lost(closed())
    }

    /// Whether the connection is gone.
    pub(super) fn is_lost(&self) -> bool {
        self.error.class == StorageClass::Unreachable && !self.refused
    }
}

impl From<Failure> for DbError {
    fn from(failure: Failure) -> Self {
        match failure.damaged {
            true => DbError::Corrupt(Corruption::Storage(failure.error)),
            false => DbError::Storage(failure.error),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(source: tokio_postgres::Error) -> Self {
        let Some(refusal) = source.as_db_error() else { return Self::lost(source) };
        let code = refusal.code().clone();
        // "FATAL" and "PANIC" end the connection.
        let refused = refusal.parsed_severity() == Some(Severity::Error);
        let damaged = [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(&code);
        Self { error: StorageError { class: class_of(&code), source: Arc::new(source) }, refused, damaged }
    }
}

fn class_of(code: &SqlState) -> StorageClass {
    match code {
        &SqlState::DISK_FULL => StorageClass::Full,
        &SqlState::IO_ERROR => StorageClass::Io,
        &SqlState::LOCK_NOT_AVAILABLE | &SqlState::QUERY_CANCELED => StorageClass::Busy,
        // A primary that has become a standby.
        &SqlState::READ_ONLY_SQL_TRANSACTION => StorageClass::Unreachable,
        code => match code.code().get(..2) {
            // Connection failures, and a server that stops or starts.
            Some("08" | "57") => StorageClass::Unreachable,
            // Too many connections, out of memory; a deadlock or another conflict.
            Some("53" | "40") => StorageClass::Busy,
            _ => match code {
                &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => StorageClass::Unreachable,
                _ => StorageClass::Other,
            },
        },
    }
}

/// The statements about a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Get,
    GetMany,
    /// The first key from a key on.
    Next,
    Ascending,
    AscendingBelow,
    Descending,
    DescendingBelow,
    Put,
    Delete,
}

impl Kind {
    fn sql(self, table: &str) -> String {
        let t = format!("{SCHEMA}.t_{table}");
        match self {
            Kind::Get => format!("SELECT v FROM {t} WHERE k = $1"),
            Kind::GetMany => format!("SELECT k, v FROM {t} WHERE k = ANY($1::bytea[])"),
            Kind::Next => format!("SELECT k FROM {t} WHERE k >= $1 ORDER BY k LIMIT 1"),
            Kind::Ascending => format!("SELECT k, v FROM {t} WHERE k >= $1 ORDER BY k LIMIT $2"),
            Kind::AscendingBelow => {
                format!("SELECT k, v FROM {t} WHERE k >= $1 AND k < $2 ORDER BY k LIMIT $3")
            }
            Kind::Descending => format!("SELECT k, v FROM {t} WHERE k >= $1 ORDER BY k DESC LIMIT $2"),
            Kind::DescendingBelow => {
                format!("SELECT k, v FROM {t} WHERE k >= $1 AND k < $2 ORDER BY k DESC LIMIT $3")
            }
            Kind::Put => format!(
                "INSERT INTO {t} (k, v) SELECT * FROM unnest($1::bytea[], $2::bytea[]) \
                 ON CONFLICT (k) DO UPDATE SET v = EXCLUDED.v"
            ),
            Kind::Delete => format!("DELETE FROM {t} WHERE k = ANY($1::bytea[])"),
        }
    }
}

/// Everything of ours is in this schema of the database.
pub(super) const SCHEMA: &str = "cryptomesh";

/// Bytes as a parameter. Unlike a slice it does not show what it holds: the driver logs parameters.
pub(super) struct Raw<'a>(pub(super) &'a [u8]);

impl std::fmt::Debug for Raw<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl ToSql for Raw<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut tokio_postgres::types::private::BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.0.to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        <&[u8] as ToSql>::accepts(ty)
    }

    to_sql_checked!();
}

/// Parameters of a statement.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection and what was prepared on it.
pub(super) struct Link {
    runtime: Runtime,
    client: Client,
    connection: Connection<Socket, TlsStream>,
    statements: HashMap<Kind, HashMap<String, Statement>>,
    /// How long to wait for one answer.
    patience: Duration,
    broken: bool,
    /// Whether anything was ever answered on it.
    used: bool,
}

impl Link {
    pub(super) fn connect(config: &PostgresConfig, tls: &MakeTls) -> Result<Link, Failure> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::lost)?;
        let server = config.for_session();
        let connecting =
            async { tokio::time::timeout(config.connect_timeout, server.connect(tls.clone())).await };
        let (client, connection) = runtime.block_on(connecting).map_err(Failure::lost)??;
        let patience = config.statement_timeout + GRACE;
        let statements = HashMap::new();
        Ok(Link { runtime, client, connection, statements, patience, broken: false, used: false })
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether it may have died while nobody looked.
    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    /// Waits longer than usual from now on, or as usual again.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask<T>(
        &mut self,
        ask: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Failure> {
        let Link { runtime, client, connection, patience, .. } = self;
        let answer = async {
            let asking = pin!(ask(client));
            tokio::time::timeout(*patience, Driven { asking, connection }).await
        };
        let result = match runtime.block_on(answer) {
            Ok(Ok(answer)) => answer.map_err(Failure::from),
            Ok(Err(error)) => Err(Failure::from(error)),
            Err(elapsed) => Err(Failure::lost(elapsed)),
        };
        match &result {
            Ok(_) => self.used = true,
            Err(failure) if failure.refused => {}
            Err(_) => self.broken = true,
        }
        result
    }

    /// Sends a command and does not wait; whatever it answers is passed over.
    pub(super) fn send(&mut self, sql: &str) {
        let Link { runtime, client, connection, .. } = self;
        let gone = runtime.block_on(async {
            let mut asking = pin!(client.batch_execute(sql));
            std::future::poll_fn(|cx| {
                let _ = asking.as_mut().poll(cx);
                Poll::Ready(poll_messages(connection, cx).is_ready())
            })
            .await
        });
        self.broken |= gone;
    }

    /// Looks whether the connection has died meanwhile, without asking.
    pub(super) fn is_dead(&mut self) -> bool {
        let Link { runtime, connection, .. } = self;
        let gone = runtime.block_on(async {
            // In between the runtime learns what has arrived.
            tokio::task::yield_now().await;
            std::future::poll_fn(|cx| Poll::Ready(poll_messages(connection, cx).is_ready())).await
        });
        self.broken |= gone;
        self.broken
    }

    /// The statement, prepared now unless it was.
    pub(super) fn statement(&mut self, kind: Kind, table: &str) -> Result<Statement, Failure> {
        if let Some(statement) = self.statements.get(&kind).and_then(|tables| tables.get(table)) {
            return Ok(statement.clone());
        }
        let sql = kind.sql(table);
        let statement = self.ask(async |client| client.prepare(&sql).await)?;
        self.statements.entry(kind).or_default().insert(table.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Waits until the server says something by itself, or the time is over.
    pub(super) fn listen(&mut self, patience: Duration, stop: impl Future) -> Result<Heard, Failure> {
        let Link { runtime, connection, .. } = self;
        let heard = runtime.block_on(async {
            let mut stop = pin!(stop);
            let heard = std::future::poll_fn(|cx| {
                if stop.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(Heard::Stop));
                }
                loop {
                    match std::task::ready!(connection.poll_message(cx)) {
                        Some(Ok(AsyncMessage::Notification(told))) => {
                            return Poll::Ready(Ok(Heard::Told(told.payload().to_owned())));
                        }
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Poll::Ready(Err(Failure::from(error))),
                        None => return Poll::Ready(Err(Failure::lost(closed()))),
                    }
                }
            });
            tokio::time::timeout(patience, heard).await.unwrap_or(Ok(Heard::Nothing))
        });
        self.broken |= heard.is_err();
        heard
    }
}

/// What came while listening.
pub(super) enum Heard {
    /// A notification's payload.
    Told(String),
    /// Nothing in the time given.
    Nothing,
    /// We are to stop.
    Stop,
}

fn closed() -> std::io::Error {
    std::io::Error::from(std::io::ErrorKind::ConnectionAborted)
}

/// A question together with the connection that carries it. `Err` if the connection ends before the answer.
struct Driven<'a, F> {
    asking: Pin<&'a mut F>,
    connection: &'a mut Connection<Socket, TlsStream>,
}

impl<F: Future> Future for Driven<'_, F> {
    type Output = Result<F::Output, tokio_postgres::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // First puts the question into the connection's queue, then sends, then looks for the answer.
        if let Poll::Ready(answer) = self.asking.as_mut().poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        let ended = poll_messages(self.connection, cx);
        if let Poll::Ready(answer) = self.asking.as_mut().poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        match ended {
            Poll::Ready(Some(error)) => Poll::Ready(Err(error)),
            // Closed in good order, which nobody asked for: the question ends with an error by itself.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// Moves bytes in both directions; ready if the connection has ended. What the server says by itself is passed over:
/// its notices are for those who type.
fn poll_messages(
    connection: &mut Connection<Socket, TlsStream>,
    cx: &mut Context<'_>,
) -> Poll<Option<tokio_postgres::Error>> {
    loop {
        match std::task::ready!(connection.poll_message(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Some(error)),
            None => return Poll::Ready(None),
        }
    }
}

/// A column of bytes.
pub(super) fn bytes(row: &Row, column: usize) -> Result<Vec<u8>, Failure> {
    Ok(row.try_get::<_, &[u8]>(column)?.to_vec())
}

/// Polls all to their end, always in the same order: that in which they are sent.
pub(super) async fn in_order<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        let mut all = true;
        for (future, output) in pending.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(cx) {
                Poll::Ready(ready) => *output = Some(ready),
                Poll::Pending => all = false,
            }
        }
        if all { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    pending.into_iter().filter_map(|(_, output)| output).collect()
}
