//! Which statements one request causes, recorded once for all: what the SQL alone issues, and what [`crate::check`]
//! compares with what the node really issues.

use std::collections::{BTreeSet, HashSet};

use cm_e2e::measure::Request;

use crate::place::{Engine, Place, role_id};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Creates a role.
    Post,
    /// Reads a role.
    Get,
    /// Changes a role.
    Put,
    /// Lists the first hundred roles.
    List,
    /// Lists a hundred roles in the middle.
    ListMiddle,
}

/// Records on a page.
const PAGE: u64 = 100;
/// Index rows that the node reads for it: one more than is shown says whether there is a next page.
const INDEX_ROWS: i64 = 101;

impl Operation {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Operation::Post => "POST",
            Operation::Get => "GET",
            Operation::Put => "PUT",
            Operation::List => "list, first page",
            Operation::ListMiddle => "list, middle page",
        }
    }

    /// The n-th request of a run.
    pub(crate) fn request(self, place: &Place, n: u64) -> Request {
        let listed = "/api/v1/roles?limit=100";
        match self {
            Operation::Post => {
                let body = format!(
                    r#"{{"name":"{}","description":"Reads buckets of tests","permissions":["bucket:read@env=test","bucket:list","object:read"]}}"#,
                    place.fresh_name()
                );
                Request {
                    method: "POST",
                    path: "/api/v1/roles".into(),
                    body: Some(body),
                    status: 201,
                    token: None,
                }
            }
            Operation::Get => Request::get(format!("/api/v1/roles/{}", role_id(place.some(n)))),
            Operation::Put => {
                let path = format!("/api/v1/roles/{}", role_id(place.some(n)));
                let body = format!(r#"{{"description":"Reads buckets of tests, {n:012}"}}"#);
                Request { method: "PUT", path, body: Some(body), status: 200, token: None }
            }
            Operation::List => Request::get(listed),
            Operation::ListMiddle => Request::get(format!("{listed}&after={}", place.middle())),
        }
    }

    /// What one request does in the database, when the node remembers nothing of the credential: it was recognised
    /// before somebody committed last. With PostgreSQL, whose other nodes may commit as well, it is recognised whenever it
    /// is needed; in SQLite once per commit, hence not again after a body has arrived.
    pub(crate) fn transactions(self, engine: Engine) -> Vec<Transaction> {
        let listed = || {
            let steps = vec![
                Step::Scan("catalog_by_creation", INDEX_ROWS),
                Step::GetListed("catalog_records", PAGE + 1),
            ];
            vec![sign_in(), Transaction::read(steps)]
        };
        let find = || Transaction::read(vec![Step::Get("catalog_records", Row::Record)]);
        match self {
            Operation::Post if engine == Engine::Postgres => vec![sign_in(), sign_in(), create()],
            Operation::Post => vec![sign_in(), create()],
            Operation::Get => vec![sign_in(), find()],
            Operation::Put if engine == Engine::Postgres => {
                vec![sign_in(), find(), sign_in(), find(), change()]
            }
            Operation::Put => vec![sign_in(), find(), find(), change()],
            Operation::List | Operation::ListMiddle => listed(),
        }
    }
}

/// A row, by what names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Row {
    /// The administrator's API key.
    ApiKey,
    /// The administrator.
    Administrator,
    /// The administrator's role.
    AdministratorRole,
    /// The role that the request is about.
    Record,
    /// A new role.
    NewRecord,
    /// One of a page of roles.
    Listed(u64),
    /// The name of a new role.
    Name,
    /// The place of a new role, or the number of a new event: beyond all others of the table.
    Last,
    /// The only row of its table.
    Only,
}

/// A step of a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Reads a row of a table.
    Get(&'static str, Row),
    /// Reads so many rows of the roles in the order of creation.
    Scan(&'static str, i64),
    /// Reads so many roles of a page.
    GetListed(&'static str, u64),
    /// Adds a row.
    Insert(&'static str, Row),
    /// Writes a row that may be there.
    Put(&'static str, Row),
}

/// A transaction of one request; writing ones of several requests are committed together.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    /// Whether it writes.
    pub(crate) writes: bool,
    /// What it does.
    pub(crate) steps: Vec<Step>,
}

impl Transaction {
    fn read(steps: Vec<Step>) -> Self {
        Self { writes: false, steps }
    }
}

fn sign_in() -> Transaction {
    Transaction::read(vec![
        Step::Get("identity_api_keys", Row::ApiKey),
        Step::Get("identity_principals", Row::Administrator),
        Step::Get("catalog_records", Row::AdministratorRole),
    ])
}

fn create() -> Transaction {
    let steps = vec![
        Step::Get("catalog_sequence", Row::Only),
        Step::Get("catalog_records", Row::NewRecord),
        Step::Get("catalog_by_name", Row::Name),
        Step::Insert("catalog_by_name", Row::Name),
        Step::Insert("catalog_records", Row::NewRecord),
        Step::Insert("catalog_by_creation", Row::Last),
        Step::Insert("catalog_by_owner", Row::Last),
        Step::Put("catalog_sequence", Row::Only),
        Step::Get("event_head", Row::Only),
        Step::Insert("events", Row::Last),
        Step::Put("event_head", Row::Only),
    ];
    Transaction { writes: true, steps }
}

fn change() -> Transaction {
    let steps = vec![
        Step::Get("catalog_records", Row::Record),
        Step::Get("catalog_records", Row::Record),
        Step::Put("catalog_records", Row::Record),
        Step::Get("event_head", Row::Only),
        Step::Insert("events", Row::Last),
        Step::Put("event_head", Row::Only),
    ];
    Transaction { writes: true, steps }
}

/// The statement of a step in SQLite.
pub(crate) fn sqlite(step: Step) -> String {
    match step {
        Step::Get(table, _) | Step::GetListed(table, _) => format!("SELECT v FROM t_{table} WHERE k = ?1"),
        Step::Scan(table, _) => {
            format!("SELECT k, v FROM t_{table} WHERE k >= ?1 AND k < ?2 ORDER BY k ASC LIMIT ?3")
        }
        Step::Insert(table, _) => {
            format!("INSERT INTO t_{table} (k, v) VALUES (?1, ?2) ON CONFLICT (k) DO NOTHING")
        }
        Step::Put(table, _) => {
            format!("INSERT INTO t_{table} (k, v) VALUES (?1, ?2) ON CONFLICT (k) DO UPDATE SET v = ?2")
        }
    }
}

/// All statements of a request in SQLite, in their order.
pub(crate) fn all_sqlite(operation: Operation) -> Vec<String> {
    let mut all = Vec::new();
    for transaction in operation.transactions(Engine::Sqlite) {
        let (begin, end): (&[&str], &[&str]) = match transaction.writes {
            true => (&["BEGIN IMMEDIATE", "SAVEPOINT closure"], &["RELEASE closure", "COMMIT"]),
            false => (&["BEGIN DEFERRED"], &["ROLLBACK"]),
        };
        all.extend(begin.iter().map(|sql| (*sql).to_owned()));
        for step in transaction.steps {
            let times = if let Step::GetListed(_, rows) = step { rows } else { 1 };
            all.extend((0..times).map(|_| sqlite(step)));
        }
        all.extend(end.iter().map(|sql| (*sql).to_owned()));
    }
    all
}

/// How reading transactions open and end in PostgreSQL.
pub(crate) const POSTGRES_READ: (&str, &str) =
    ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "ROLLBACK");
/// How batches of writing ones do. The name tells notifications apart.
pub(crate) const POSTGRES_WRITE: (&str, &str) = (
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;  SELECT pg_advisory_xact_lock(1129149288, 1); \
     SELECT version, compatible_from FROM cryptomesh.meta",
    "SELECT pg_notify('cryptomesh', '0000000000000000'); COMMIT",
);

/// What a batch of writing transactions in PostgreSQL knows and has to write at its end.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Rows that every transaction of the batch asks for, and were read.
    shared: HashSet<(&'static str, Row)>,
    /// Rows of the present transaction that were read.
    own: HashSet<(&'static str, Row)>,
    /// Tables to write.
    written: BTreeSet<&'static str>,
}

impl Batch {
    /// Begins the next transaction.
    pub(crate) fn next(&mut self) {
        self.own.clear();
    }

    /// The question that a step asks of the server, unless the answer is known.
    pub(crate) fn question(&mut self, step: Step) -> Option<String> {
        let (Step::Get(table, row) | Step::Insert(table, row) | Step::Put(table, row)) = step else {
            return None;
        };
        let known = match row {
            Row::Only | Row::Last => &mut self.shared,
            _ => &mut self.own,
        };
        match step {
            Step::Put(..) => {
                self.written.insert(table);
                known.insert((table, row));
                None
            }
            Step::Insert(..) => {
                self.written.insert(table);
                known
                    .insert((table, row))
                    .then(|| format!("SELECT k FROM cryptomesh.t_{table} WHERE k >= $1 ORDER BY k LIMIT 1"))
            }
            _ => known.insert((table, row)).then(|| postgres_get(table)),
        }
    }

    /// The statements at its end, one per table.
    pub(crate) fn writes(&self) -> Vec<(&'static str, String)> {
        let put = |table: &&'static str| {
            let sql = format!(
                "INSERT INTO cryptomesh.t_{table} (k, v) SELECT * FROM unnest($1::bytea[], $2::bytea[]) \
                 ON CONFLICT (k) DO UPDATE SET v = EXCLUDED.v"
            );
            (*table, sql)
        };
        self.written.iter().map(put).collect()
    }
}

/// Reads a row in PostgreSQL.
pub(crate) fn postgres_get(table: &str) -> String {
    format!("SELECT v FROM cryptomesh.t_{table} WHERE k = $1")
}

/// Reads several rows in PostgreSQL.
pub(crate) fn postgres_get_listed(table: &str) -> String {
    format!("SELECT k, v FROM cryptomesh.t_{table} WHERE k = ANY($1::bytea[])")
}

/// Reads rows in order in PostgreSQL.
pub(crate) fn postgres_scan(table: &str) -> String {
    format!("SELECT k, v FROM cryptomesh.t_{table} WHERE k >= $1 AND k < $2 ORDER BY k LIMIT $3")
}

/// All statements of a request in PostgreSQL, in their order.
pub(crate) fn all_postgres(operation: Operation) -> Vec<String> {
    let mut all = Vec::new();
    for transaction in operation.transactions(Engine::Postgres) {
        let (begin, end) = if transaction.writes { POSTGRES_WRITE } else { POSTGRES_READ };
        all.push(begin.to_owned());
        let mut batch = Batch::default();
        for step in transaction.steps {
            match step {
                Step::Get(table, _) if !transaction.writes => all.push(postgres_get(table)),
                Step::Scan(table, _) => all.push(postgres_scan(table)),
                Step::GetListed(table, _) => all.push(postgres_get_listed(table)),
                step => all.extend(batch.question(step)),
            }
        }
        all.extend(batch.writes().into_iter().map(|(_, sql)| sql));
        all.push(end.to_owned());
    }
    all
}
