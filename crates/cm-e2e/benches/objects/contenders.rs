//! What is measured and what it is compared with, started with nothing stored.

use std::path::Path;

use cm_e2e::{Network, Node, NodeOptions};
use cm_types::ResourceKind;
use tempfile::TempDir;

use crate::bare::Bare;
use crate::client::{Connection, Credential, Server, ask};
use crate::content::Content;
use crate::garage::{self, Garage};
use crate::options::Options;
use crate::signature::Key;
use crate::{Outcome, disk};

/// The bucket of all objects.
const BUCKET: &str = garage::BUCKET;

/// Who stores and reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// The node, by its own API.
    Native,
    /// The node, by S3 with signatures.
    Signed,
    /// A node in open mode, by S3 without signatures.
    Unsigned,
    /// Three nodes that keep three copies, asked at one of them, by S3 with signatures.
    Network,
    /// Threads of this process.
    Disk,
    /// A handler that does nothing.
    Loopback,
    /// The reference server.
    Garage {
        /// Whether it waits for `fsync`.
        fsync: bool,
    },
}

impl Contender {
    /// Those that there are here.
    pub(crate) fn all(options: &Options) -> Vec<Contender> {
        let mut all = vec![
            Contender::Native,
            Contender::Signed,
            Contender::Unsigned,
            Contender::Network,
            Contender::Disk,
            Contender::Loopback,
        ];
        if options.garage.is_some() {
            all.extend([Contender::Garage { fsync: true }, Contender::Garage { fsync: false }]);
        }
        all
    }

    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::Native => "native API",
            Contender::Signed => "S3, signed",
            Contender::Unsigned => "S3, unsigned, open node",
            Contender::Network => "S3, signed, 3 nodes",
            Contender::Disk => "the disk, hashed, fsync",
            Contender::Loopback => "loopback, bare handler",
            Contender::Garage { fsync: true } => "Garage, fsync",
            Contender::Garage { fsync: false } => "Garage, no fsync",
        }
    }

    /// Whether it is the node, or several.
    pub(crate) fn is_own(self) -> bool {
        matches!(self, Contender::Native | Contender::Signed | Contender::Unsigned | Contender::Network)
    }

    /// Starts it.
    pub(crate) fn start(self, options: &Options) -> Outcome<Running> {
        let dir = tempfile::tempdir_in(&options.dir)?;
        let process = match self {
            Contender::Native | Contender::Signed | Contender::Unsigned => self.node(dir.path())?,
            Contender::Network => network(dir.path())?,
            Contender::Disk => Process::Own,
            Contender::Loopback => Process::Bare(Bare::start()?),
            Contender::Garage { fsync } => {
                let executable = options.garage.as_ref().ok_or("there is no executable of Garage")?;
                Process::Garage(Garage::start(executable, dir.path(), fsync)?)
            }
        };
        Ok(Running { contender: self, process, dir })
    }

    fn node(self, dir: &Path) -> Outcome<Process> {
        let open = self == Contender::Unsigned;
        let node = Node::start(dir, &NodeOptions { open, ..NodeOptions::default() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = if self == Contender::Native { "api" } else { "s3" };
        let credential = match self {
            Contender::Native => Credential::Bearer(node.admin_token()),
            Contender::Signed => {
                let key = runtime.block_on(node.admin().create_s3_key("admin", "bench"))?;
                Credential::Signed(Key { id: key.id, secret: key.key, region: "us-east-1" })
            }
            _ => Credential::None,
        };
        let server = Server { address: node.address(listener).parse()?, pid: node.pid(), credential };
        if self == Contender::Native {
            let bucket = serde_json::json!({ "name": BUCKET });
            runtime.block_on(node.admin().create(ResourceKind::Bucket, &bucket))?;
        } else {
            ask(&server, "PUT", &format!("/{BUCKET}"), "")?;
        }
        Ok(Process::Node(node, server))
    }
}

/// Three nodes of one network, with a bucket.
fn network(dir: &Path) -> Outcome<Process> {
    let mut network = Network::founded(dir, 3);
    network.join_others();
    network.wait(0, "three nodes that have settled", |status| network.is_settled(status));
    let node = network.peers[0].node.as_ref().ok_or("the first node does not run")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let key = runtime.block_on(node.admin().create_s3_key("admin", "bench"))?;
    let credential = Credential::Signed(Key { id: key.id, secret: key.key, region: "us-east-1" });
    let server = Server { address: node.address("s3").parse()?, pid: node.pid(), credential };
    ask(&server, "PUT", &format!("/{BUCKET}"), "")?;
    Ok(Process::Network(network, server))
}

enum Process {
    Network(#[allow(dead_code, reason = "ended when dropped")] Network, Server),
    /// Kept alive for the server that it is.
    Node(#[allow(dead_code, reason = "ended when dropped")] Node, Server),
    Bare(Bare),
    Garage(Garage),
    Own,
}

/// A contender at work. What it stores is removed when it is dropped.
pub(crate) struct Running {
    contender: Contender,
    /// Ended before its directory is removed: fields are dropped in this order.
    process: Process,
    dir: TempDir,
}

impl Running {
    /// Whom to ask, unless it is this process.
    pub(crate) fn server(&self) -> Option<&Server> {
        match &self.process {
            Process::Node(_, server) | Process::Network(_, server) => Some(server),
            Process::Bare(bare) => Some(&bare.server),
            Process::Garage(garage) => Some(&garage.server),
            Process::Own => None,
        }
    }

    /// The process that does the work.
    pub(crate) fn pid(&self) -> u32 {
        self.server().map_or_else(std::process::id, |server| server.pid)
    }

    /// One of the callers.
    pub(crate) fn caller(&self) -> Outcome<Caller<'_>> {
        let connection = self.server().map(|server| Connection::open(server.address)).transpose()?;
        Ok(Caller { running: self, connection, buffer: Vec::new() })
    }

    fn path(&self, name: &str, size: usize) -> String {
        match self.contender {
            Contender::Native => format!("/api/v1/buckets/{BUCKET}/objects/{name}"),
            Contender::Loopback => format!("/{size}"),
            _ => format!("/{BUCKET}/{name}"),
        }
    }
}

/// A caller with a connection of its own.
pub(crate) struct Caller<'a> {
    running: &'a Running,
    connection: Option<Connection>,
    buffer: Vec<u8>,
}

/// What is to be done with an object, ready to be timed.
pub(crate) struct Request {
    name: String,
    head: String,
    content: Content,
    is_put: bool,
}

impl Caller<'_> {
    /// Makes a request; what only the client does is done here.
    pub(crate) fn prepare(&self, is_put: bool, name: String, content: Content) -> Outcome<Request> {
        let head = match self.running.server() {
            None => String::new(),
            Some(server) => {
                let path = self.running.path(&name, content.size);
                let (method, body) = if is_put { ("PUT", Some(content)) } else { ("GET", None) };
                server.head(method, &path, "", body)?
            }
        };
        Ok(Request { name, head, content, is_put })
    }

    /// Does it.
    pub(crate) fn send(&mut self, request: &Request) -> Outcome<()> {
        let Request { name, head, content, is_put } = request;
        let dir = self.running.dir.path();
        let got = match (&mut self.connection, is_put) {
            (Some(connection), true) => connection.ask(head, Some(*content), |_| ()).map(|_| content.size)?,
            (Some(connection), false) => connection.ask(head, None, |_| ())?,
            (None, true) => disk::put(dir, name, *content).map(|()| content.size)?,
            (None, false) => disk::get(dir, name, &mut self.buffer)?,
        };
        match got == content.size {
            true => Ok(()),
            false => Err(format!("{name} has {got} bytes instead of {}", content.size).into()),
        }
    }
}
