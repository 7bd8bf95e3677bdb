//! The connection that writes.
//!
//! A batch takes the one write lock of the database, reads what its closures ask for, keeps their writes in memory, and
//! sends all of them together with the commit. So a row that every closure needs is read once, a table is written with
//! one statement, and a batch waits for the network a few times, not once per write.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;

use tokio_postgres::{Client, Error, Statement};

use super::known::Known;
use super::link::{Failure, Kind, Raw, SCHEMA, bytes, in_order};

use super::session::{Exchange, Session};
use crate::engine::overlay::{Changes, Overlay};
use crate::engine::{Pace, Pair, ReadStore, WriteStore, Writer};
use crate::{DbError, Direction, Effect, KeyRange, StorageClass, Versions};

/// Writes waiting in memory beyond which they are sent, or a batch ends.
const PENDING_BYTES_MAX: usize = 8 << 20;
/// Rows remembered in memory beyond which they are forgotten.
const KNOWN_BYTES_MAX: usize = 16 << 20;
/// Bytes and rows of one statement at most.
const STATEMENT_BYTES_MAX: usize = 4 << 20;
const STATEMENT_ROWS_MAX: usize = 5000;

/// A channel of notifications: who committed says so there.
pub(super) const CHANNEL: &str = "cryptomesh";

pub(super) struct PostgresWriter {
    session: Session,
    /// This program's schema version, once the data is prepared for it.
    version: u32,
    /// What tells our notifications from others'.
    name: String,
}

impl PostgresWriter {
    pub(super) fn new(session: Session, version: u32, name: String) -> Self {
        Self { session, version, name }
    }
}

impl Writer for PostgresWriter {
    fn transaction(
        &mut self,
        pace: Pace,
        body: &mut dyn FnMut(&dyn WriteStore) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        let exchange = Exchange::write(&mut self.session, pace, self.version);
        let store = PostgresStore(RefCell::new(Batch {
            exchange,
            overlay: Overlay::default(),
            known: Known::default(),
            wrote: false,
        }));
        let result = body(&store);
        let mut batch = store.0.into_inner();
        match result.and_then(|()| batch.commit(&self.name)) {
            Ok(true) => Ok(()),
            Ok(false) => {
                batch.exchange.end();
                Ok(())
            }
            Err(error) => {
                batch.exchange.end();
                Err(error)
            }
        }
    }

    fn check(&mut self) -> Result<(), DbError> {
        let mut exchange = Exchange::read(&mut self.session, Pace::Long);
        for table in exchange.tables()? {
            // Reads every row whole, which finds damaged pages where the server keeps checksums, and finds it again
            // by its key, which finds an index that has lost some.
            exchange.command(&format!(
                "DO $$ DECLARE rows bigint; keys bigint; BEGIN
                   SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off;
                   SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off;
                   SELECT count(md5(v)) INTO rows FROM {SCHEMA}.t_{table};
                   SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on;
                   SELECT count(k) INTO keys FROM (SELECT k FROM {SCHEMA}.t_{table} ORDER BY k OFFSET 0) AS sorted;
                   IF rows <> keys THEN
                     RAISE data_corrupted USING MESSAGE = format('table {table} has %s rows and %s keys', rows, keys);
                   END IF;
                 END $$"
            ))?;
        }
        exchange.end();
        Ok(())
    }

    fn close(&mut self) -> Result<(), DbError> {
        self.session.leave();
        Ok(())
    }
}

struct PostgresStore<'a>(RefCell<Batch<'a>>);

struct Batch<'a> {
    exchange: Exchange<'a>,
    overlay: Overlay,
    known: Known,
    /// Whether anything was sent that a commit would keep.
    wrote: bool,
}

impl Batch<'_> {
    /// Whether the server has the row.
    fn on_server(&mut self, table: &str, key: &[u8]) -> Result<bool, DbError> {
        if let Some(exists) = self.known.exists(table, key) {
            return Ok(exists);
        }
        let rows = self.exchange.query(Kind::Next, table, &[&Raw(key)])?;
        let next = rows.first().map(|row| bytes(row, 0)).transpose().map_err(DbError::from)?;
        let exists = next.as_deref() == Some(key);
        self.known.learn_next(table, key, next);
        Ok(exists)
    }

    fn exists(&mut self, table: &str, key: &[u8]) -> Result<bool, DbError> {
        match self.overlay.get(table, key) {
            Some(value) => Ok(value.is_some()),
            None => self.on_server(table, key),
        }
    }

    fn get(&mut self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        if let Some(value) = self.overlay.get(table, key) {
            return Ok(value.clone());
        }
        if let Some(row) = self.known.get(table, key) {
            return Ok(row.cloned());
        }
        let rows = self.exchange.query(Kind::Get, table, &[&Raw(key)])?;
        let row = rows.first().map(|row| bytes(row, 0)).transpose().map_err(DbError::from)?;
        if self.known.bytes() > KNOWN_BYTES_MAX {
            self.known.clear();
        }
        self.known.learn(table, key, row.as_deref());
        Ok(row)
    }

    fn scan(
        &mut self,
        table: &str,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Pair>, DbError> {
        let wanted = limit.saturating_add(self.overlay.deleted(table, range));
        let wanted = if limit == 0 { 0 } else { wanted };
        let server = self.exchange.scan(table, range, direction, wanted)?;
        Ok(self.overlay.merge(table, range, direction, limit, server))
    }

    fn set(&mut self, table: &str, key: &[u8], value: Option<Vec<u8>>) -> Result<(), DbError> {
        self.exchange.check_table(table)?;
        self.overlay.set(table, key, value);
        self.spill()
    }

    /// Sends what waits if it is much and can no longer be undone alone.
    fn spill(&mut self) -> Result<(), DbError> {
        if self.overlay.is_marked() || self.overlay.bytes() < PENDING_BYTES_MAX {
            return Ok(());
        }
        let changes = self.overlay.take();
        self.wrote = true;
        self.exchange.open()?;
        self.exchange.settled(|link| {
            for statement in statements(&changes, |kind, table| link.statement(kind, table))? {
                link.ask(async |client| statement.run(client).await)?;
            }
            Ok(())
        })?;
        self.known.clear();
        Ok(())
    }

    /// Sends what waits and commits. `false` if there is nothing to commit.
    fn commit(&mut self, name: &str) -> Result<bool, DbError> {
        if let Some(error) = self.exchange.failure() {
            return Err(error);
        }
        let changes = self.overlay.take();
        if changes.is_empty() && !self.wrote {
            return Ok(false);
        }
        self.exchange.open()?;
        let Some(link) = self.exchange.link_of_open() else { return Err(DbError::Closed) };
        let failed = |effect, failure: Failure| DbError::CommitFailed { effect, source: failure.error };
        let prepared = statements(&changes, |kind, table| link.statement(kind, table));
        let outcome = match prepared {
            // Nothing of the commit was sent.
            Err(failure) => Err(failed(Effect::NotDone, failure)),
            Ok(_) if link.is_dead() => Err(failed(Effect::NotDone, Failure::gone())),
            Ok(statements) => {
                let commit = format!("SELECT pg_notify('{CHANNEL}', '{name}'); COMMIT");
                let asked = link.ask(async |client| Ok(send_all(client, &statements, &commit).await));
                match asked {
                    Ok((refused, committed)) => judge(refused, committed),
                    // The connection ended before all was answered. Where it was cut nobody can say.
                    Err(failure) => Err(failed(Effect::Unknown, failure)),
                }
            }
        };
        match outcome {
            Ok(()) => Ok(true),
            Err(error) => {
                self.exchange.fail(error.clone());
                Err(error)
            }
        }
    }
}

/// Sends the statements and the commit one after the other without waiting in between: the first refusal among the
/// statements, and what became of the commit.
async fn send_all(
    client: &Client,
    statements: &[Ready<'_>],
    commit: &str,
) -> (Option<Error>, Result<(), Error>) {
    type Sent<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;
    let mut sent: Vec<Sent<'_>> = Vec::with_capacity(statements.len() + 1);
    for statement in statements {
        sent.push(Box::pin(statement.run(client)));
    }
    sent.push(Box::pin(client.batch_execute(commit)));
    let mut outcomes = in_order(sent).await;
    let committed = outcomes.pop().unwrap_or(Ok(()));
    (outcomes.into_iter().find_map(Result::err), committed)
}

/// What became of a commit that was answered.
fn judge(refused: Option<Error>, committed: Result<(), Error>) -> Result<(), DbError> {
    let failed = |effect, failure: Failure| Err(DbError::CommitFailed { effect, source: failure.error });
    if let Some(error) = refused {
        // A server that answers a statement with an error does not commit after it, whether it goes on or not.
        let answered = error.as_db_error().is_some();
        return failed(if answered { Effect::NotDone } else { Effect::Unknown }, error.into());
    }
    let Err(error) = committed else { return Ok(()) };
    // A server that is told to stop may say so after it has committed.
    let failure = Failure::from(error);
    let certain = failure.refused && failure.error.class != StorageClass::Unreachable;
    failed(if certain { Effect::NotDone } else { Effect::Unknown }, failure)
}

/// A statement that writes rows of one table.
struct Ready<'a> {
    statement: Statement,
    keys: Vec<Raw<'a>>,
    values: Option<Vec<Raw<'a>>>,
}

impl Ready<'_> {
    async fn run(&self, client: &Client) -> Result<(), Error> {
        match &self.values {
            Some(values) => client.execute(&self.statement, &[&self.keys, values]).await,
            None => client.execute(&self.statement, &[&self.keys]).await,
        }
        .map(|_| ())
    }
}

/// The statements that make the changes, none of them too large.
fn statements(
    tables: &BTreeMap<String, Changes>,
    mut prepared: impl FnMut(Kind, &str) -> Result<Statement, Failure>,
) -> Result<Vec<Ready<'_>>, Failure> {
    let mut ready = Vec::new();
    for (table, changes) in tables {
        let deleted: Vec<_> =
            changes.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| Raw(key)).collect();
        if !deleted.is_empty() {
            ready.push(Ready { statement: prepared(Kind::Delete, table)?, keys: deleted, values: None });
        }
        let mut put = changes.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))).peekable();
        while put.peek().is_some() {
            let statement = prepared(Kind::Put, table)?;
            let (mut keys, mut values, mut size) = (Vec::new(), Vec::new(), 0);
            while keys.len() < STATEMENT_ROWS_MAX && size < STATEMENT_BYTES_MAX {
                let Some((key, value)) = put.next() else { break };
                size += key.len() + value.len();
                keys.push(Raw(key));
                values.push(Raw(value));
            }
            ready.push(Ready { statement, keys, values: Some(values) });
        }
    }
    Ok(ready)
}

impl ReadStore for PostgresStore<'_> {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        self.0.borrow_mut().get(table, key)
    }

    fn scan(
        &self,
        table: &str,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Pair>, DbError> {
        self.0.borrow_mut().scan(table, range, direction, limit)
    }

    fn tables(&self) -> Result<Vec<String>, DbError> {
        self.0.borrow_mut().exchange.tables()
    }

    fn versions(&self) -> Result<Versions, DbError> {
        self.0.borrow_mut().exchange.versions()
    }
}

impl WriteStore for PostgresStore<'_> {
    fn insert(&self, table: &str, key: &[u8], value: &[u8]) -> Result<bool, DbError> {
        let mut batch = self.0.borrow_mut();
        if batch.exists(table, key)? {
            return Ok(false);
        }
        batch.set(table, key, Some(value.to_vec()))?;
        Ok(true)
    }

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> Result<(), DbError> {
        self.0.borrow_mut().set(table, key, Some(value.to_vec()))
    }

    fn delete(&self, table: &str, key: &[u8]) -> Result<bool, DbError> {
        let mut batch = self.0.borrow_mut();
        let existed = batch.exists(table, key)?;
        if existed {
            batch.set(table, key, None)?;
        }
        Ok(existed)
    }

    fn savepoint(&self) -> Result<(), DbError> {
        self.0.borrow_mut().overlay.mark();
        Ok(())
    }

    fn release(&self) -> Result<(), DbError> {
        let mut batch = self.0.borrow_mut();
        // A closure that passed over an error of the server shall not be told that all is well.
        if let Some(error) = batch.exchange.failure() {
            return Err(error);
        }
        batch.overlay.keep();
        batch.spill()
    }

    fn rollback(&self) -> Result<(), DbError> {
        let mut batch = self.0.borrow_mut();
        batch.overlay.undo();
        batch.exchange.failure().map_or(Ok(()), Err)
    }

    fn create_table(&self, table: &str) -> Result<(), DbError> {
        let mut batch = self.0.borrow_mut();
        batch.wrote = true;
        batch.exchange.create_table(table)
    }

    fn set_versions(&self, versions: Versions) -> Result<(), DbError> {
        let mut batch = self.0.borrow_mut();
        batch.wrote = true;
        let Versions { data, compatible_from } = versions;
        batch.exchange.command(&format!(
            "UPDATE {SCHEMA}.meta SET version = {data}, compatible_from = {compatible_from}"
        ))
    }

    fn is_full(&self) -> bool {
        self.0.borrow().overlay.bytes() >= PENDING_BYTES_MAX
    }
}
