//! The same SQL alone, in SQLite: statements through rusqlite, nothing else.
//!
//! Every caller reads through a connection of its own. One connection writes; its thread takes what callers have
//! handed it, each in a savepoint, and commits all of it at once before it answers.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::rows::Rows;
use crate::statements::{Row, Step, Transaction, sqlite};
use crate::{CALLERS, Outcome};

/// Requests committed together at most.
pub(crate) const BATCH_LEN_MAX: usize = 128;
/// How long a connection waits for another to let go of the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements kept prepared by each connection.
const STATEMENTS: usize = 256;

/// A writing transaction on its way, and who waits for it.
pub(crate) struct Job {
    pub(crate) steps: Vec<Step>,
    pub(crate) record: u64,
    pub(crate) answer: SyncSender<()>,
}

/// A caller.
pub(crate) struct Caller {
    connection: Connection,
    rows: Arc<Rows>,
    writer: SyncSender<Job>,
}

impl Caller {
    /// Issues what one request about a record causes.
    pub(crate) fn request(&mut self, transactions: &[Transaction], record: u64) -> Outcome<()> {
        for Transaction { writes, steps } in transactions {
            if *writes {
                let (answer, answered) = mpsc::sync_channel(1);
                self.writer.send(Job { steps: steps.clone(), record, answer })?;
                answered.recv()?;
                continue;
            }
            let transaction = self.connection.transaction()?;
            for step in steps {
                run(&transaction, &self.rows, *step, record, 0)?;
            }
        }
        Ok(())
    }
}

/// All callers and the writer of a copy of a catalogue.
pub(crate) struct Alone {
    callers: Vec<Caller>,
    writer: JoinHandle<Outcome<()>>,
}

impl Alone {
    /// Opens a database that nobody else uses.
    pub(crate) fn open(path: &Path, token: &str) -> Outcome<Alone> {
        let mut connection = connect(path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        let rows = Rows::new(token, |table| {
            let sql = format!("SELECT v FROM t_{table} ORDER BY k DESC LIMIT 1");
            Ok(connection.query_row(&sql, [], |row| row.get(0))?)
        })?;
        let rows = Arc::new(rows);
        let (writer, jobs) = mpsc::sync_channel(1024);
        let mut callers = Vec::with_capacity(CALLERS);
        for _ in 0..CALLERS {
            let reader = connect(path)?;
            reader.pragma_update(None, "query_only", true)?;
            callers.push(Caller { connection: reader, rows: rows.clone(), writer: writer.clone() });
        }
        let writer = std::thread::spawn(move || write(&mut connection, &rows, &jobs));
        Ok(Alone { callers, writer })
    }

    /// The callers.
    pub(crate) fn callers(&mut self) -> &mut [Caller] {
        &mut self.callers
    }

    /// Ends the writer.
    pub(crate) fn close(self) -> Outcome<()> {
        drop(self.callers);
        self.writer.join().map_err(|_| "the writer panicked")?
    }
}

fn connect(path: &Path) -> Outcome<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

fn write(connection: &mut Connection, rows: &Rows, jobs: &Receiver<Job>) -> Outcome<()> {
    let mut number = 0;
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut at = 0;
        loop {
            number += 1;
            transaction.execute_batch("SAVEPOINT closure")?;
            for step in &batch[at].steps {
                run(&transaction, rows, *step, batch[at].record, number)?;
            }
            transaction.execute_batch("RELEASE closure")?;
            at += 1;
            if at == BATCH_LEN_MAX {
                break;
            }
            match jobs.try_recv() {
                Ok(job) => batch.push(job),
                Err(_) => break,
            }
        }
        transaction.commit()?;
        for job in batch {
            // A caller whose time was over has gone.
            let _ = job.answer.send(());
        }
    }
    Ok(())
}

fn run(connection: &Connection, rows: &Rows, step: Step, record: u64, number: u64) -> Outcome<()> {
    let mut statement = connection.prepare_cached(&sqlite(step))?;
    match step {
        Step::Get(table, row) => {
            let key = rows.key(table, row, record, number)?;
            let _: Option<Vec<u8>> = statement.query_row([key], |row| row.get(0)).optional()?;
        }
        Step::GetListed(table, count) => {
            for n in 0..count {
                let key = rows.key(table, Row::Listed(n), record, number)?;
                let _: Option<Vec<u8>> = statement.query_row([key], |row| row.get(0)).optional()?;
            }
        }
        Step::Scan(_, limit) => {
            let (start, end) = &rows.range;
            let pair = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let found = statement.query_map(params![start, end, limit], pair)?;
            let _: Vec<(Vec<u8>, Vec<u8>)> = found.collect::<Result<_, _>>()?;
        }
        Step::Insert(table, row) | Step::Put(table, row) => {
            statement.execute([rows.key(table, row, record, number)?.as_slice(), rows.value(table)])?;
        }
    }
    Ok(())
}
