//! A catalogue of roles, where it is kept, and the node that serves it.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

use cm_e2e::measure::{Request, Server, ask};
use cm_e2e::{Node, NodeOptions};
use cm_testkit::postgres::{Database, Server as PostgresServer};

use crate::{Outcome, fill};

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// A file of the data directory.
    Sqlite,
    /// A PostgreSQL server that answers once a commit is on disk.
    Postgres,
}

impl Engine {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Engine::Sqlite => "SQLite",
            Engine::Postgres => "PostgreSQL",
        }
    }
}

/// A PostgreSQL server as durable as one comes, unlike those of the tests.
pub(crate) fn postgres() -> PostgresServer {
    PostgresServer::start_own(&[
        "fsync = on",
        "full_page_writes = on",
        "shared_buffers = 512MB",
        "max_wal_size = 4GB",
    ])
}

/// The id of the n-th role that was filled in: as random as those that the node chooses.
pub(crate) fn role_id(n: u64) -> String {
    let (a, b) = (mix(2 * n), mix(2 * n + 1));
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xffff,
        b >> 48,
        b & 0xffff_ffff_ffff
    )
}

/// SplitMix64 (Steele, Lea, Flood, 2014): numbers in order become numbers in none.
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One of so many roles, for the n-th request.
pub(crate) fn some_of(records: u64, n: u64) -> u64 {
    mix(n ^ 0x5ca1_ab1e) % records
}

/// A catalogue that is being served.
pub(crate) struct Place {
    /// The records that were filled in.
    pub(crate) records: u64,
    /// The kind of its database.
    pub(crate) engine: Engine,
    root: PathBuf,
    database: Option<Database>,
    node: Option<Node>,
    middle: String,
    names: Cell<u64>,
}

/// What a node logs when nobody says otherwise: one line per request.
pub(crate) const LOG_LEVEL_DEFAULT: &str = "info";

impl Place {
    /// Copies the data directory of a node that was stopped, and serves it.
    pub(crate) fn serve(
        filled: &fill::Filled,
        root: PathBuf,
        engine: Engine,
        server: Option<&PostgresServer>,
        log_level: &str,
    ) -> Outcome<Place> {
        std::fs::create_dir_all(&root)?;
        copy(&filled.data_dir(), &root.join("data"))?;
        let database = match (engine, server) {
            (Engine::Postgres, Some(server)) => Some(filled.copy_to(server)?),
            _ => None,
        };
        let mut place = Place {
            records: filled.records(),
            engine,
            root,
            database,
            node: None,
            middle: String::new(),
            names: Cell::new(0),
        };
        place.start(log_level);
        Ok(place)
    }

    fn start(&mut self, log_level: &str) {
        let mut set = vec![format!("log.level={log_level}")];
        if log_level != LOG_LEVEL_DEFAULT {
            // For those who look something up in it.
            set.push("log.format=json".to_owned());
        }
        set.extend(self.database.iter().map(|database| format!("database.url={}", database.url())));
        self.node = Some(Node::start(&self.root, &NodeOptions { set, ..NodeOptions::default() }));
    }

    fn node(&self) -> &Node {
        self.node.as_ref().expect("it is served until it is dropped")
    }

    /// The node, for its administrator.
    pub(crate) fn server(&self) -> Outcome<Server> {
        let node = self.node();
        Ok(Server { address: node.address("api").parse()?, pid: node.pid(), token: node.admin_token() })
    }

    /// What the node has logged.
    pub(crate) fn log(&self) -> String {
        self.node().log()
    }

    /// One of the roles that were filled in, for the n-th request.
    pub(crate) fn some(&self, n: u64) -> u64 {
        some_of(self.records, n)
    }

    /// A name that no role has.
    pub(crate) fn fresh_name(&self) -> String {
        let n = self.names.replace(self.names.get() + 1);
        format!("made-{:016x}", mix(n))
    }

    /// The cursor of a page in the middle.
    pub(crate) fn middle(&self) -> &str {
        &self.middle
    }

    /// Finds the cursor of a page in the middle, page by page.
    pub(crate) fn find_middle(&mut self) -> Outcome<()> {
        let server = self.server()?;
        let (mut cursor, mut passed) = (String::new(), 0);
        while passed < self.records / 2 {
            let step = (self.records / 2 - passed).min(1000);
            let after = if cursor.is_empty() { String::new() } else { format!("&after={cursor}") };
            let answer = ask(&server, &Request::get(format!("/api/v1/roles?limit={step}{after}")))?;
            cursor = answer.header("next-cursor").ok_or("the middle is not on the last page")?.to_owned();
            passed += step;
        }
        self.middle = cursor;
        Ok(())
    }
}

/// Copies a folder as it is.
pub(crate) fn copy(from: &Path, to: &Path) -> Outcome<()> {
    match Command::new("cp").arg("-a").arg(from).arg(to).status()?.success() {
        true => Ok(()),
        false => Err(format!("{} cannot be copied to {}", from.display(), to.display()).into()),
    }
}
