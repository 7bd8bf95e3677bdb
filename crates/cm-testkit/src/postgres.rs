//! A PostgreSQL server for tests.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Names a server to use instead of starting one: the address of a database whose user may create databases.
pub const VARIABLE: &str = "CRYPTOMESH_TEST_POSTGRES";
/// How long a server may take to start on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long one command to the server may take.
const COMMAND_DEADLINE: Duration = Duration::from_secs(30);
/// The name and password of the only user.
const USER: &str = "cryptomesh";
const PASSWORD: &str = "for tests";

/// The processes of tests die, the machine does not: what was handed to the kernel is there after a crash.
const FAST: &str = "fsync = off\nfull_page_writes = off\n";

/// Runs the server until standard input ends, which it does when the process that holds its other end dies, however it
/// dies; then stops it and removes its directory.
const KEEPER: &str = r#"
    directory=$1; shift
    "$@" >"$directory/log" 2>&1 </dev/null &
    server=$!
    read -r _
    kill -INT "$server" 2>/dev/null
    wait "$server"
    rm -rf "$directory"
"#;

/// A running server, stopped when this is dropped or the process ends.
#[derive(Debug)]
pub struct Server {
    url: String,
    own: Option<Own>,
}

/// A server that we started.
#[derive(Debug)]
struct Own {
    keeper: Child,
    /// Its end stops the server.
    stdin: Option<ChildStdin>,
    /// `None` once the keeper has removed it.
    directory: Option<TempDir>,
    bin: PathBuf,
    account: Option<(u32, u32)>,
}

impl Server {
    /// The server that [`VARIABLE`] names, or a new one.
    ///
    /// # Panics
    /// If PostgreSQL is not installed, naming the package, or the server does not start.
    pub fn start() -> Server {
        match std::env::var(VARIABLE) {
            Ok(url) if !url.is_empty() => Server { url, own: None },
            _ => Server::start_own(&[]),
        }
    }

    /// One server for all tests of this process.
    ///
    /// # Panics
    /// As [`Server::start`].
    pub fn shared() -> &'static Server {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Server::start)
    }

    /// A new server in any case, for tests that stop it or set it up themselves: `settings` are lines of its
    /// configuration, such as `wal_level = minimal`.
    ///
    /// # Panics
    /// As [`Server::start`].
    pub fn start_own(settings: &[&str]) -> Server {
        Server::start_with(settings, &[])
    }

    /// As [`Server::start_own`], a server that also speaks TLS with the certificate and key, in PEM.
    ///
    /// # Panics
    /// As [`Server::start`].
    pub fn start_own_with_tls(certificate: &str, key: &str) -> Server {
        let settings = ["ssl = on", "ssl_cert_file = 'server.crt'", "ssl_key_file = 'server.key'"];
        Server::start_with(&settings, &[("server.crt", certificate), ("server.key", key)])
    }

    fn start_with(settings: &[&str], files: &[(&str, &str)]) -> Server {
        let bin = find_binaries();
        let account = unprivileged_account();
        let directory = tempfile::Builder::new().prefix("cm-postgres-").tempdir();
        let directory = directory.expect("a temporary directory can be made");
        if let Some((user, group)) = account {
            chown(directory.path(), Some(user), Some(group)).expect("root may give a directory away");
        }
        let password = directory.path().join("password");
        write_for(&password, PASSWORD, account);
        let data = directory.path().join("data");
        let mut initdb = command(&bin.join("initdb"), account, directory.path());
        initdb.arg("-D").arg(&data).args([
            "-U",
            USER,
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
        ]);
        initdb.arg("--pwfile").arg(&password);
        let made = initdb.output().expect("initdb can be started");
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        let settings: String = settings.iter().map(|line| format!("{line}\n")).collect();
        let (port, _) = crate::ports::free(1);
        let configuration = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nmax_connections = 300\n\
             shared_buffers = 32MB\nlog_min_messages = warning\n{FAST}{settings}"
        );
        write_for(&data.join("cryptomesh.conf"), &configuration, account);
        write_for(&data.join("postgresql.conf"), "include 'cryptomesh.conf'\n", account);
        for (name, text) in files {
            write_for(&data.join(name), text, account);
        }
        let mut keeper = keep(&bin, directory.path(), account);
        let stdin = keeper.stdin.take();
        let password = PASSWORD.replace(' ', "%20");
        let url = format!("postgresql://{USER}:{password}@127.0.0.1:{port}/postgres");
        let own = Some(Own { keeper, stdin, directory: Some(directory), bin, account });
        let server = Server { url, own };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&self) {
        let began = Instant::now();
        while let Err(error) = try_execute(&self.url, "SELECT 1") {
            if began.elapsed() > START_DEADLINE {
                panic!("PostgreSQL does not start: {error}\n{}", self.log());
            }
            wait_a_little();
        }
    }

    /// The address of its first database, as a user who may create others.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the server's own files are; `None` for a server that was named.
    pub fn directory(&self) -> Option<&Path> {
        self.own.as_ref()?.directory.as_ref().map(TempDir::path)
    }

    /// An empty database, removed when the value is dropped.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn create_database(&self) -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{count}", std::process::id());
        self.execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        self.execute(&format!("CREATE DATABASE {name} TEMPLATE template0"));
        Database { server_url: self.url.clone(), url: with_database(&self.url, &name), name }
    }

    /// Runs commands in the server's first database.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn execute(&self, sql: &str) {
        if let Err(error) = try_execute(&self.url, sql) {
            panic!("{sql}: {error}");
        }
    }

    /// Stops a server that was started here as a crash does, and keeps its data.
    ///
    /// # Panics
    /// If the server was not started here.
    pub fn crash(&self) {
        self.control(&["stop", "-m", "immediate", "-w"]);
    }

    /// Starts a server again that was stopped by [`Server::crash`], at the same address.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        let own = self.own.as_mut().expect("the server was started here");
        let directory = own.directory.as_ref().expect("a running server has a directory");
        // The old keeper waits for its input to end, and would remove the directory.
        own.keeper.kill().expect("a child can be killed");
        own.keeper.wait().expect("a child can be waited for");
        own.keeper = keep(&own.bin, directory.path(), own.account);
        own.stdin = own.keeper.stdin.take();
        self.wait_until_ready();
    }

    fn control(&self, arguments: &[&str]) {
        let own = self.own.as_ref().expect("the server was started here");
        let directory = self.directory().expect("a running server has a directory");
        let mut control = command(&own.bin.join("pg_ctl"), own.account, directory);
        let done = control.arg("-D").arg(directory.join("data")).args(arguments).output();
        let done = done.expect("pg_ctl can be started");
        assert!(done.status.success(), "pg_ctl failed: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn log(&self) -> String {
        let log = self.directory().and_then(|directory| std::fs::read_to_string(directory.join("log")).ok());
        log.unwrap_or_default()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.keeper.wait();
        // The keeper has removed it, also what is not ours to remove.
        if let Some(directory) = self.directory.take() {
            let _ = directory.keep();
        }
    }
}

/// A database of its own for one test.
#[derive(Debug)]
pub struct Database {
    server_url: String,
    url: String,
    name: String,
}

impl Database {
    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs commands in it.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn execute(&self, sql: &str) {
        if let Err(error) = try_execute(&self.url, sql) {
            panic!("{sql}: {error}");
        }
    }

    /// The first column of the first row that a query answers, as text.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn query(&self, sql: &str) -> Option<String> {
        match try_execute(&self.url, sql) {
            Ok(first) => first,
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    /// Ends all other connections to it, as an administrator or a failover does.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn terminate_connections(&self) {
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server that a test has stopped takes its databases along.
        let _ = try_execute(&self.server_url, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

/// Runs the commands on a connection of its own; the first column of the first row.
fn try_execute(url: &str, sql: &str) -> Result<Option<String>, String> {
    let config = tokio_postgres::Config::from_str(url).map_err(|error| error.to_string())?;
    let run = async {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
        let answered = async {
            let answer = client.simple_query(sql).await;
            drop(client);
            answer
        };
        let (answer, _) = tokio::join!(answered, connection);
        answer
    };
    let on_thread = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let answer = runtime.block_on(async { tokio::time::timeout(COMMAND_DEADLINE, run).await });
        let answer = answer.map_err(|error| error.to_string())?;
        answer.map_err(|error| {
            let reason = std::error::Error::source(&error).map(ToString::to_string);
            reason.unwrap_or_else(|| error.to_string())
        })
    };
    // Tests that have a runtime of their own may call this, too.
    let answer = std::thread::scope(|scope| scope.spawn(on_thread).join());
    let answer = answer.map_err(|_| "the command panicked".to_owned())??;
    Ok(answer.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0)?.to_owned()),
        _ => None,
    }))
}

/// The same address with another database.
fn with_database(url: &str, name: &str) -> String {
    let (address, parameters) = match url.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (url, String::new()),
    };
    let authority_at = address.find("://").map_or(0, |at| at + 3);
    let end = address[authority_at..].find('/').map_or(address.len(), |at| authority_at + at);
    format!("{}/{name}{parameters}", &address[..end])
}

/// The folder with `initdb` and `postgres`, the newest if there are several.
fn find_binaries() -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        let version = entry.file_name().to_str().and_then(|name| name.parse().ok());
        versions.extend(version.map(|version| (version, entry.path().join("bin"))));
    }
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = versions.into_iter().rev().map(|(_, bin)| bin).chain(std::env::split_paths(&path));
    let complete =
        |bin: &PathBuf| ["initdb", "postgres", "pg_ctl"].iter().all(|name| bin.join(name).is_file());
    installed.into_iter().find(complete).unwrap_or_else(|| {
        panic!(
            "PostgreSQL is not installed: install its server (Debian: apt-get install postgresql), or set {VARIABLE} to \
             the address of a database whose user may create databases"
        )
    })
}

/// The user and group to run the server as: it refuses root.
fn unprivileged_account() -> Option<(u32, u32)> {
    let me = std::fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).ok();
    if me != Some(0) {
        return None;
    }
    let file = std::fs::File::open("/etc/passwd").expect("a machine has accounts");
    let accounts: Vec<_> = BufReader::new(file).lines().map_while(Result::ok).collect();
    let account = |name: &str| {
        let line = accounts.iter().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let found = account("postgres").or_else(|| account("nobody"));
    Some(found.expect("a machine has an account `postgres` or `nobody`"))
}

fn command(program: &Path, account: Option<(u32, u32)>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    // The current folder may be one that the other account cannot enter.
    command.current_dir(directory).stdin(Stdio::null()).env("LC_ALL", "C");
    if let Some((user, group)) = account {
        command.uid(user).gid(group);
    }
    command
}

fn keep(bin: &Path, directory: &Path, account: Option<(u32, u32)>) -> Child {
    let mut keeper = command(Path::new("/bin/sh"), account, directory);
    // A process group of its own: an interrupt from the terminal is for the tests, which then end the server.
    keeper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    keeper.args(["-c", KEEPER, "keeper"]).arg(directory).arg(bin.join("postgres"));
    keeper.arg("-D").arg(directory.join("data")).spawn().expect("a shell can be started")
}

/// Writes a file that only the server's account reads: what holds a password, or a key, is refused otherwise.
fn write_for(path: &Path, text: &str, account: Option<(u32, u32)>) {
    std::fs::write(path, text).expect("a file can be written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .expect("our file's mode can be set");
    if let Some((user, group)) = account {
        chown(path, Some(user), Some(group)).expect("root may give a file away");
    }
}

/// A condition is looked at again after this. Nothing tells when a foreign process is ready.
fn wait_a_little() {
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    let _ = receiver.recv_timeout(Duration::from_millis(20));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_is_exchanged() {
        let check = |url: &str, expected: &str| assert_eq!(with_database(url, "x"), expected);
        check("postgresql://a:b@h:1/postgres", "postgresql://a:b@h:1/x");
        check("postgresql://a@h", "postgresql://a@h/x");
        check("postgresql://a@h/d?sslmode=disable", "postgresql://a@h/x?sslmode=disable");
    }

    #[test]
    fn a_server_survives_a_crash_and_ends_with_its_owner() {
        let mut server = Server::start_own(&[]);
        let directory = server.directory().unwrap().to_owned();
        let database = server.create_database();
        database.execute("CREATE TABLE a (b int); INSERT INTO a VALUES (7)");
        server.crash();
        assert!(try_execute(database.url(), "SELECT 1").is_err());
        server.restart();
        assert_eq!(database.query("SELECT b FROM a").as_deref(), Some("7"));
        drop(database);
        drop(server);
        assert!(!directory.exists());
    }
}
