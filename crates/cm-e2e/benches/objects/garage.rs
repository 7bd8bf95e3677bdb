//! The reference server: Garage, which can be had from crates.io, keeps metadata in LMDB and data in files, as one node
//! without replicas. Contents are not compressed, as ours are not. `cargo install garage --version VERSION --locked
//! --no-default-features --features bundled-libs,lmdb` makes it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{Credential, Server, ask};
use crate::signature::Key;
use cm_e2e::measure::Outcome;

/// The version that figures were made with.
pub(crate) const VERSION: &str = "2.5.0";
/// The bucket that it is started with.
pub(crate) const BUCKET: &str = "bench";
/// The region that its signatures have to be for.
const REGION: &str = "garage";
const KEY_ID: &str = "GK0123456789abcdef01234567";
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// How long it may take to serve.
const DEADLINE: Duration = Duration::from_secs(60);

/// Its executable: that of `GARAGE`, or one that `PATH` leads to, or that cargo installed.
pub(crate) fn find() -> Option<PathBuf> {
    let named = std::env::var_os("GARAGE").map(PathBuf::from);
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&paths).map(|dir| dir.join("garage")).find(|file| file.is_file());
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo/bin/garage"));
    named.or(on_path).or(home.filter(|file| file.is_file()))
}

/// Such a server, ended when dropped.
pub(crate) struct Garage {
    process: Child,
    /// Whom to ask.
    pub(crate) server: Server,
}

impl Garage {
    /// Starts one that keeps everything in a directory, and waits until it serves.
    pub(crate) fn start(executable: &Path, dir: &Path, fsync: bool) -> Outcome<Garage> {
        std::fs::create_dir_all(dir)?;
        let (first, last) = cm_testkit::ports::free(3);
        let config = format!(
            "metadata_dir = \"{dir}/meta\"\ndata_dir = \"{dir}/data\"\ndb_engine = \"lmdb\"\n\
             metadata_fsync = {fsync}\ndata_fsync = {fsync}\ncompression_level = \"none\"\nreplication_factor = 1\n\
             rpc_bind_addr = \"127.0.0.1:{last}\"\nrpc_public_addr = \"127.0.0.1:{last}\"\nrpc_secret = \"{SECRET}\"\n\
             [s3_api]\ns3_region = \"{REGION}\"\napi_bind_addr = \"127.0.0.1:{first}\"\n\
             [admin]\napi_bind_addr = \"127.0.0.1:{admin}\"\n",
            dir = dir.display(),
            admin = first + 1,
        );
        let file = dir.join("garage.toml");
        std::fs::write(&file, config)?;
        let log = std::fs::File::create(dir.join("garage.log"))?;
        let process = Command::new(executable)
            .arg("-c")
            .arg(&file)
            .args(["server", "--single-node", "--default-bucket"])
            .envs([
                ("GARAGE_DEFAULT_ACCESS_KEY", KEY_ID),
                ("GARAGE_DEFAULT_SECRET_KEY", SECRET),
                ("GARAGE_DEFAULT_BUCKET", BUCKET),
            ])
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", executable.display()))?;
        let key = Key { id: KEY_ID.to_owned(), secret: SECRET.to_owned(), region: REGION };
        let address = (std::net::Ipv4Addr::LOCALHOST, first).into();
        let server = Server { address, pid: process.id(), credential: Credential::Signed(key) };
        let garage = Garage { process, server };
        garage.wait(dir)?;
        Ok(garage)
    }

    /// Waits until the bucket that it makes last is there.
    fn wait(&self, dir: &Path) -> Outcome<()> {
        let end = Instant::now() + DEADLINE;
        loop {
            let Err(error) = ask(&self.server, "GET", &format!("/{BUCKET}"), "list-type=2") else {
                return Ok(());
            };
            if Instant::now() > end {
                let log = std::fs::read_to_string(dir.join("garage.log")).unwrap_or_default();
                return Err(format!("Garage does not serve: {error}\n{log}").into());
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Garage {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
