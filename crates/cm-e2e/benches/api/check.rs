//! Whether the recorded statements are those that the node really issues: one request at a time, not timed.
//!
//! SQLite's come from the node's own log, where `cm_db::sql=trace` puts them, PostgreSQL's from the server's.

use std::time::{Duration, Instant};

use cm_testkit::postgres::Server as PostgresServer;

use crate::fill::Filled;
use crate::place::{Engine, Place};
use crate::statements::{Operation, all_postgres, all_sqlite};
use cm_e2e::measure::{Outcome, ask};

/// What is checked.
pub(crate) const OPERATIONS: [Operation; 4] =
    [Operation::Post, Operation::Get, Operation::Put, Operation::List];
/// How often a request is sent until nothing else of the node comes in between.
const ATTEMPTS: u64 = 10;
/// How long a log may take to be written.
const DEADLINE: Duration = Duration::from_secs(10);

/// Fails if one of the operations causes other statements than those recorded.
pub(crate) fn check(filled: &Filled, engine: Engine) -> Outcome<()> {
    let server = (engine == Engine::Postgres).then(|| PostgresServer::start_own(&["log_statement = all"]));
    let root = filled.root().join(format!("check-{}", engine.name()));
    let place = Place::serve(filled, root.clone(), engine, server.as_ref(), "info,cm_db::sql=trace")?;
    for operation in OPERATIONS {
        check_operation(&place, server.as_ref(), operation)?;
    }
    drop(place);
    Ok(std::fs::remove_dir_all(root)?)
}

fn check_operation(place: &Place, server: Option<&PostgresServer>, operation: Operation) -> Outcome<()> {
    let expected = match place.engine {
        Engine::Sqlite => all_sqlite(operation),
        Engine::Postgres => all_postgres(operation),
    };
    let mut found = Vec::new();
    for n in 0..ATTEMPTS {
        // A commit, after which no credential is remembered.
        ask(&place.server()?, &Operation::Post.request(place, n))?;
        settled(place, server)?;
        let before = statements(place, server)?.len();
        ask(&place.server()?, &operation.request(place, n))?;
        found = issued(place, server, before, expected.len())?;
        if found == expected {
            return Ok(());
        }
    }
    Err(format!(
        "the record of what {} does in {} is out of date.\nrecorded:\n  {}\nissued:\n  {}",
        operation.name(),
        place.engine.name(),
        expected.join("\n  "),
        found.join("\n  ")
    )
    .into())
}

/// Waits until nothing more is written about earlier requests.
fn settled(place: &Place, server: Option<&PostgresServer>) -> Outcome<()> {
    issued(place, server, 0, 0).map(drop)
}

/// What was issued after the first `before` statements: at least as many as expected, and no more within the time that
/// a log takes.
fn issued(
    place: &Place,
    server: Option<&PostgresServer>,
    before: usize,
    expected: usize,
) -> Outcome<Vec<String>> {
    let began = Instant::now();
    loop {
        // What ends a transaction is written after the answer was sent; a second look finds it.
        let first = statements(place, server)?.split_off(before);
        let again = statements(place, server)?.split_off(before);
        let done = again.len() >= expected && first == again;
        if done || began.elapsed() > DEADLINE {
            return Ok(again);
        }
        std::thread::yield_now();
    }
}

/// All statements so far.
fn statements(place: &Place, server: Option<&PostgresServer>) -> Outcome<Vec<String>> {
    let Some(server) = server else {
        let sql = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            let fields = if line["fields"].is_object() { &line["fields"] } else { &line };
            fields["sql"].as_str().map(str::to_owned)
        };
        return Ok(place.log().lines().filter_map(sql).collect());
    };
    let log = server.directory().ok_or("the server was started here")?.join("log");
    let log = std::fs::read_to_string(log)?;
    Ok(log.lines().filter_map(postgres_statement).collect())
}

fn postgres_statement(line: &str) -> Option<String> {
    let (_, logged) = line.split_once("LOG:  ")?;
    let sql = match logged.strip_prefix("statement: ") {
        Some(sql) => sql,
        None => logged.strip_prefix("execute ")?.split_once(": ")?.1,
    };
    // Every process tells its own notifications by a name.
    let Some(rest) = sql.strip_prefix("SELECT pg_notify('cryptomesh', '") else {
        return Some(sql.to_owned());
    };
    Some(format!("SELECT pg_notify('cryptomesh', '0000000000000000{}", rest.get(16..)?))
}
