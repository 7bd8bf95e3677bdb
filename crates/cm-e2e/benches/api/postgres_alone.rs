//! The same SQL alone, in PostgreSQL: statements through tokio-postgres, nothing else.
//!
//! Every caller reads through a connection of its own. One connection writes: its thread takes what callers have handed
//! it, reads what they ask for (rows that all of them ask for once), writes each table with one statement, sends these
//! together with the commit, and then answers.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

use cm_testkit::postgres::Database;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Statement};

use crate::rows::Rows;
use crate::sqlite_alone::{BATCH_LEN_MAX, Job};
use crate::statements::{
    Batch, POSTGRES_READ, POSTGRES_WRITE, Row, Step, Transaction, postgres_get, postgres_get_listed,
    postgres_scan,
};
use crate::{CALLERS, Outcome};

type Driving = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;
type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection that runs while its thread waits for an answer.
struct Link {
    runtime: tokio::runtime::Runtime,
    client: Client,
    driving: Driving,
    statements: HashMap<String, Statement>,
}

impl Link {
    fn open(url: &str) -> Outcome<Link> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let config: Config = url.parse()?;
        let (client, connection) = runtime.block_on(config.connect(NoTls))?;
        Ok(Link { runtime, client, driving: Box::pin(connection), statements: HashMap::new() })
    }

    fn ask<T>(&mut self, ask: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>) -> Outcome<T> {
        let Link { runtime, client, driving, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                answer = ask(client) => Ok(answer?),
                ended = driving => Err(format!("the connection ended: {ended:?}").into()),
            }
        })
    }

    fn statement(&mut self, sql: String) -> Outcome<Statement> {
        if let Some(statement) = self.statements.get(&sql) {
            return Ok(statement.clone());
        }
        let statement = self.ask(async |client| client.prepare(&sql).await)?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// Asks, in the round trip of an opening command if there is one.
    fn query(&mut self, opening: Option<&str>, sql: String, params: Params<'_>) -> Outcome<()> {
        let statement = self.statement(sql)?;
        self.ask(async |client| {
            let opening = async {
                match opening {
                    Some(opening) => client.simple_query(opening).await.map(drop),
                    None => Ok(()),
                }
            };
            let (opened, answer) = tokio::join!(biased; opening, client.query(&statement, params));
            // Taken over, as the node does.
            let _: Vec<Option<Vec<u8>>> = answer?.iter().map(|row| row.try_get(0).ok()).collect();
            opened
        })
    }

    /// Sends a command without waiting for what it answers.
    fn send(&mut self, sql: &str) {
        let Link { runtime, client, driving, .. } = self;
        runtime.block_on(async {
            let mut asking = std::pin::pin!(client.batch_execute(sql));
            std::future::poll_fn(|cx| {
                let _ = asking.as_mut().poll(cx);
                let _ = driving.as_mut().poll(cx);
                std::task::Poll::Ready(())
            })
            .await;
        });
    }
}

/// A caller.
pub(crate) struct Caller {
    link: Link,
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
            let mut opening = Some(POSTGRES_READ.0);
            for step in steps {
                match *step {
                    Step::Scan(table, limit) => {
                        let (start, end) = &self.rows.range;
                        self.link.query(opening, postgres_scan(table), &[start, end, &limit])?;
                    }
                    Step::Get(table, row) => {
                        let key = self.rows.key(table, row, record, 0)?;
                        self.link.query(opening, postgres_get(table), &[&key])?;
                    }
                    Step::GetListed(table, count) => {
                        let keys = (0..count).map(|n| self.rows.key(table, Row::Listed(n), record, 0));
                        let keys = keys.collect::<Outcome<Vec<_>>>()?;
                        self.link.query(opening, postgres_get_listed(table), &[&keys])?;
                    }
                    Step::Insert(..) | Step::Put(..) => return Err("a reading transaction writes".into()),
                }
                opening = None;
            }
            self.link.send(POSTGRES_READ.1);
        }
        Ok(())
    }
}

/// All callers and the writer of a copy of a catalogue.
pub(crate) struct Alone {
    callers: Vec<Caller>,
    writer: JoinHandle<Outcome<()>>,
    /// Dropped last.
    _database: Database,
}

impl Alone {
    /// Opens a database that nobody else uses.
    pub(crate) fn open(database: Database, token: &str) -> Outcome<Alone> {
        let mut link = Link::open(database.url())?;
        let rows = Rows::new(token, |table| {
            let sql = format!("SELECT v FROM cryptomesh.t_{table} ORDER BY k DESC LIMIT 1");
            Ok(link.ask(async |client| client.query_one(&sql, &[]).await)?.try_get(0)?)
        })?;
        let rows = Arc::new(rows);
        let (writer, jobs) = mpsc::sync_channel(1024);
        let mut callers = Vec::with_capacity(CALLERS);
        for _ in 0..CALLERS {
            let link = Link::open(database.url())?;
            callers.push(Caller { link, rows: rows.clone(), writer: writer.clone() });
        }
        let writer = std::thread::spawn(move || write(&mut link, &rows, &jobs));
        Ok(Alone { callers, writer, _database: database })
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

fn write(link: &mut Link, rows: &Rows, jobs: &Receiver<Job>) -> Outcome<()> {
    let mut number = 0;
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        let mut known = Batch::default();
        let mut changes: BTreeMap<&str, BTreeMap<Vec<u8>, &[u8]>> = BTreeMap::new();
        let mut opening = Some(POSTGRES_WRITE.0);
        let mut at = 0;
        loop {
            number += 1;
            known.next();
            for step in &batch[at].steps {
                let (Step::Get(table, row) | Step::Insert(table, row) | Step::Put(table, row)) = *step else {
                    return Err("a writing transaction reads a range".into());
                };
                let key = rows.key(table, row, batch[at].record, number)?;
                if let Some(sql) = known.question(*step) {
                    link.query(opening.take(), sql, &[&key])?;
                }
                if !matches!(step, Step::Get(..)) {
                    changes.entry(table).or_default().insert(key, rows.value(table));
                }
            }
            at += 1;
            if at == BATCH_LEN_MAX {
                break;
            }
            match jobs.try_recv() {
                Ok(job) => batch.push(job),
                Err(_) => break,
            }
        }
        commit(link, &known, &changes)?;
        for job in batch {
            // A caller whose time was over has gone.
            let _ = job.answer.send(());
        }
    }
    Ok(())
}

fn commit(link: &mut Link, known: &Batch, changes: &BTreeMap<&str, BTreeMap<Vec<u8>, &[u8]>>) -> Outcome<()> {
    let mut ready = Vec::new();
    for (table, sql) in known.writes() {
        let rows = changes.get(table).ok_or("a table is written with nothing")?;
        let keys: Vec<&[u8]> = rows.keys().map(Vec::as_slice).collect();
        let values: Vec<&[u8]> = rows.values().copied().collect();
        ready.push((link.statement(sql)?, keys, values));
    }
    link.ask(async |client| {
        let writes = ready.iter().map(|(statement, keys, values)| async move {
            let params: [&(dyn ToSql + Sync); 2] = [keys, values];
            client.execute(statement, &params).await
        });
        let (written, committed) = tokio::join!(
            biased;
            futures::future::try_join_all(writes),
            client.batch_execute(POSTGRES_WRITE.1)
        );
        written?;
        committed
    })
}
