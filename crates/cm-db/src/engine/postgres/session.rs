//! A connection that is made again when it is lost, and the transactions on it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use cm_runtime::Backoff;
use tokio_postgres::{Row, SimpleQueryMessage};

use super::config::PostgresConfig;
use super::link::{Failure, Kind, Link, Params, SCHEMA, bytes};
use super::tls::MakeTls;
use crate::engine::{Pace, Pair};
use crate::{DbError, Direction, KeyRange, Versions};

/// Longest that callers are refused without trying, once the server was not there.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// The first such time.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// Longest that a transaction over all of the data may wait for one answer.
const LONG: Duration = Duration::from_secs(3600);
/// Makes a transaction one over all of the data.
const LONG_SETTINGS: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;";

/// What all connections of one handle share.
pub(super) struct Shared {
    pub(super) config: PostgresConfig,
    pub(super) tls: MakeTls,
    /// The tables that are known to exist. A statement about another one would undo the transaction that it is in.
    tables: RwLock<HashSet<String>>,
    /// When the server may be tried again, and why not before.
    outage: Mutex<Option<Outage>>,
}

struct Outage {
    backoff: Backoff,
    until: Instant,
    error: DbError,
}

impl Shared {
    pub(super) fn new(config: PostgresConfig, tls: MakeTls) -> Self {
        Self { config, tls, tables: RwLock::default(), outage: Mutex::new(None) }
    }

    /// [`DbError::UnknownTable`] unless the table is known to exist.
    pub(super) fn check_table(&self, table: &str) -> Result<(), DbError> {
        match self.tables.read().unwrap_or_else(PoisonError::into_inner).contains(table) {
            true => Ok(()),
            false => Err(DbError::UnknownTable { table: table.to_owned() }),
        }
    }

    /// The table exists.
    pub(super) fn learn_table(&self, table: &str) {
        self.tables.write().unwrap_or_else(PoisonError::into_inner).insert(table.to_owned());
    }

    /// Connects; without trying, if it was tried a moment ago and the server was not there.
    pub(super) fn connect(&self) -> Result<Link, DbError> {
        let outage = || self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outage) = &*outage()
            && Instant::now() < outage.until
        {
            return Err(outage.error.clone());
        }
        match Link::connect(&self.config, &self.tls) {
            Ok(link) => {
                *outage() = None;
                Ok(link)
            }
            Err(failure) => {
                let error = DbError::from(failure);
                let mut outage = outage();
                let mut backoff = match outage.take() {
                    Some(outage) => outage.backoff,
                    None => Backoff::new(BACKOFF_FIRST, BACKOFF_MAX),
                };
                let until = Instant::now() + backoff.next_delay();
                *outage = Some(Outage { backoff, until, error: error.clone() });
                Err(error)
            }
        }
    }
}

/// One thread's connection.
pub(super) struct Session {
    shared: Arc<Shared>,
    link: Option<Link>,
    /// What a new connection is told first.
    greeting: &'static str,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, greeting: &'static str) -> Self {
        Self { shared, link: None, greeting }
    }

    /// The connection, made anew if there is none or it was lost.
    pub(super) fn link(&mut self) -> Result<&mut Link, DbError> {
        self.link = self.link.take().filter(|link| !link.is_broken());
        if self.link.is_none() {
            let mut link = self.shared.connect()?;
            if !self.greeting.is_empty() {
                link.ask(async |client| client.batch_execute(self.greeting).await)?;
            }
            self.link = Some(link);
        }
        let patience = self.shared.config.statement_timeout;
        let link = self.link.as_mut().ok_or(DbError::Closed)?;
        link.set_patience(patience + Duration::from_secs(5));
        Ok(link)
    }

    /// Leaves the connection: what state it is in is not known.
    pub(super) fn leave(&mut self) {
        self.link = None;
    }
}

/// Where a transaction is.
enum State {
    /// Nothing was sent.
    New,
    Open,
    /// The server undid it, or is gone; every further statement fails like the first.
    Failed(DbError),
}

/// A transaction. It opens with its first statement, in the same round trip.
pub(super) struct Exchange<'a> {
    session: &'a mut Session,
    opening: String,
    pace: Pace,
    /// For which schema version it is; 0 for every one.
    version: u32,
    state: State,
}

/// Names in `pg_class`, of a table of ours.
const TABLES: &str = "SELECT substr(relname, 3) FROM pg_catalog.pg_class \
     WHERE relnamespace = 'cryptomesh'::regnamespace AND relkind = 'r' AND relname LIKE 't\\_%' ORDER BY substr(relname, 3) COLLATE \"C\"";

impl<'a> Exchange<'a> {
    /// Reads of one moment.
    pub(super) fn read(session: &'a mut Session, pace: Pace) -> Self {
        let opening = match pace {
            Pace::Short => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned(),
            Pace::Long => format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {LONG_SETTINGS}"),
        };
        Self { session, opening, pace, version: 0, state: State::New }
    }

    /// Reads and writes that exclude all other writers of the database. Each statement sees what was committed before
    /// it, and nobody else can commit once the lock is held. `version` is that of this program.
    pub(super) fn write(session: &'a mut Session, pace: Pace, version: u32) -> Self {
        let settings = if pace == Pace::Long { LONG_SETTINGS } else { "" };
        let opening = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {settings} SELECT pg_advisory_xact_lock({LOCK}); \
             SELECT version, compatible_from FROM {SCHEMA}.meta"
        );
        Self { session, opening, pace, version, state: State::New }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Opens the transaction unless it is open.
    pub(super) fn open(&mut self) -> Result<(), DbError> {
        if self.is_open() { Ok(()) } else { self.begin(async |_, ()| Ok(()), |_| Ok(())) }
    }

    /// Runs the statement of a table.
    pub(super) fn query(&mut self, kind: Kind, table: &str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
        self.session.shared.check_table(table)?;
        if !self.is_open() {
            return self.begin(
                async |client, statement| client.query(&statement, params).await,
                |link| link.statement(kind, table),
            );
        }
        self.settled(|link| {
            let statement = link.statement(kind, table)?;
            link.ask(async |client| client.query(&statement, params).await)
        })
    }

    /// Creates a table unless it is there.
    pub(super) fn create_table(&mut self, table: &str) -> Result<(), DbError> {
        self.command(&format!(
            "CREATE TABLE IF NOT EXISTS {SCHEMA}.t_{table} (k bytea PRIMARY KEY, v bytea NOT NULL)"
        ))?;
        // Should the transaction be undone, nobody gets to ask about the table: opening has failed then.
        self.session.shared.learn_table(table);
        Ok(())
    }

    /// [`DbError::UnknownTable`] unless the table is known to exist.
    pub(super) fn check_table(&self, table: &str) -> Result<(), DbError> {
        self.session.shared.check_table(table)
    }

    /// Runs statements that are not kept prepared, without results.
    pub(super) fn command(&mut self, sql: &str) -> Result<(), DbError> {
        self.open()?;
        self.settled(|link| link.ask(async |client| client.batch_execute(sql).await))
    }

    fn select(&mut self, sql: &str) -> Result<Vec<SimpleQueryMessage>, DbError> {
        self.open()?;
        self.settled(|link| link.ask(async |client| client.simple_query(sql).await))
    }

    /// The names of the tables.
    pub(super) fn tables(&mut self) -> Result<Vec<String>, DbError> {
        let answer = self.select(TABLES)?;
        let name = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        };
        let names: Vec<String> = answer.iter().filter_map(name).collect();
        names.iter().for_each(|name| self.session.shared.learn_table(name));
        Ok(names)
    }

    /// What the data says of its versions.
    pub(super) fn versions(&mut self) -> Result<Versions, DbError> {
        Ok(versions(&self.select(&format!("SELECT version, compatible_from FROM {SCHEMA}.meta"))?))
    }

    /// At most `limit` rows of the range.
    pub(super) fn scan(
        &mut self,
        table: &str,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Pair>, DbError> {
        self.session.shared.check_table(table)?;
        if range.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let (start, limit) = (super::link::Raw(&range.start), i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = match (&range.end, direction) {
            (None, Direction::Forward) => self.query(Kind::Ascending, table, &[&start, &limit]),
            (None, Direction::Backward) => self.query(Kind::Descending, table, &[&start, &limit]),
            (Some(end), direction) => {
                let kind = match direction {
                    Direction::Forward => Kind::AscendingBelow,
                    Direction::Backward => Kind::DescendingBelow,
                };
                self.query(kind, table, &[&start, &super::link::Raw(end), &limit])
            }
        }?;
        let pair = |row: &Row| Ok((bytes(row, 0)?, bytes(row, 1)?));
        rows.iter().map(pair).collect::<Result<_, Failure>>().map_err(DbError::from)
    }

    /// Opens the transaction together with a first question. A connection that died while nobody looked is replaced
    /// once: nothing was done on it.
    fn begin<P, T>(
        &mut self,
        first: impl AsyncFn(&tokio_postgres::Client, P) -> Result<T, tokio_postgres::Error>,
        prepare: impl Fn(&mut Link) -> Result<P, Failure>,
    ) -> Result<T, DbError> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        let mut again = true;
        loop {
            let link = self.session.link().inspect_err(|error| self.state = State::Failed(error.clone()))?;
            if self.pace == Pace::Long {
                link.set_patience(LONG);
            }
            again &= link.is_used();
            let (opening, first) = (&self.opening, &first);
            let asked = prepare(link).and_then(|prepared| {
                link.ask(async move |client| {
                    // Both are sent before either is answered. A refusal of the first is the reason for that of the second.
                    let (opened, answer) =
                        tokio::join!(biased; client.simple_query(opening), first(client, prepared));
                    Ok((opened?, answer?))
                })
            });
            let failed = match asked {
                Ok((opened, answer)) => match self.check(&opened) {
                    Ok(()) => {
                        self.state = State::Open;
                        return Ok(answer);
                    }
                    Err(error) => error,
                },
                Err(failure) if failure.is_lost() && again => {
                    again = false;
                    continue;
                }
                Err(failure) => DbError::from(failure),
            };
            self.session.leave();
            self.state = State::Failed(failed.clone());
            return Err(failed);
        }
    }

    /// Refuses to go on with data that has become too new for this program while it ran.
    fn check(&self, opened: &[SimpleQueryMessage]) -> Result<(), DbError> {
        if self.version == 0 {
            return Ok(());
        }
        let Versions { data, compatible_from } = versions(opened);
        if compatible_from > self.version {
            return Err(DbError::NewerData { found: data, compatible_from, known: self.version });
        }
        Ok(())
    }

    /// Runs something in the open transaction; after a failure there is none any more.
    pub(super) fn settled<T>(
        &mut self,
        run: impl FnOnce(&mut Link) -> Result<T, Failure>,
    ) -> Result<T, DbError> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        // Not `link()`, which might make a new connection that knows nothing of the transaction.
        let run = self.session.link.as_mut().map(run);
        let error = match run {
            Some(Ok(value)) => return Ok(value),
            Some(Err(failure)) => DbError::from(failure),
            None => DbError::Closed,
        };
        self.fail(error.clone());
        Err(error)
    }

    /// Gives the transaction up, and the connection with it: the server undoes what was open there.
    pub(super) fn fail(&mut self, error: DbError) {
        self.session.leave();
        self.state = State::Failed(error);
    }

    /// The failure that ended the transaction.
    pub(super) fn failure(&self) -> Option<DbError> {
        match &self.state {
            State::Failed(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// The connection of the open transaction.
    pub(super) fn link_of_open(&mut self) -> Option<&mut Link> {
        if self.is_open() { self.session.link.as_mut() } else { None }
    }

    /// Ends the transaction without waiting, and without effect.
    pub(super) fn end(self) {
        if self.is_open()
            && let Some(link) = &mut self.session.link
        {
            link.send("ROLLBACK");
        }
    }
}

/// One lock for the writers of all processes, within the database: "CMsh" in ASCII, and the first of its kind.
pub(super) const LOCK: &str = "1129149288, 1";

fn versions(answer: &[SimpleQueryMessage]) -> Versions {
    let row = answer.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let number = |column: &str| {
        row.and_then(|row| row.try_get(column).ok().flatten()).and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    Versions { data: number("version"), compatible_from: number("compatible_from") }
}
