//! The peer in Python, told what to do line by line; and networks to put it in.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The port of discovery, as published nodes have it.
pub(super) const DATAGRAMS: u16 = 9999;

const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until something is so.
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < DEADLINE, "not within a minute: {what}");
        std::thread::yield_now();
    }
}

/// A Python that can sign as the published node does.
///
/// # Panics
/// Without one: nothing is left out in silence.
fn python() -> String {
    let named = std::env::var("CRYPTOMESH_PYTHON").ok();
    let candidates = named.into_iter().chain(["python3".to_owned(), "/usr/bin/python3".to_owned()]);
    let can_sign = |python: &String| {
        let mut line = Command::new(python);
        line.args(["-c", "import cryptography"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        line.status().is_ok_and(|status| status.success())
    };
    let found = candidates.into_iter().find(can_sign);
    found.expect("Python with `cryptography`: apt-get install python3 python3-cryptography, or name one in CRYPTOMESH_PYTHON")
}

/// A running peer. Killed when dropped.
pub(super) struct PythonPeer {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Drop for PythonPeer {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

impl PythonPeer {
    pub(super) fn start(arguments: &[&str]) -> PythonPeer {
        Self::start_within(&[], arguments)
    }

    /// Behind such a line as `ip netns exec NAME`.
    pub(super) fn start_within(within: &[String], arguments: &[&str]) -> PythonPeer {
        let python = python();
        let line: Vec<&str> = within.iter().map(String::as_str).chain([python.as_str()]).collect();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("intel/peer.py");
        let mut process = Command::new(line[0])
            .args(&line[1..])
            .arg(script)
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        PythonPeer { process, orders, answers }
    }

    /// Gives an order; what it answers.
    pub(super) fn ask(&mut self, order: &Value) -> Value {
        writeln!(self.orders, "{order}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("the peer ended: {order}"))
    }

    pub(super) fn state(&mut self) -> Value {
        self.ask(&json!({ "do": "state" }))
    }

    pub(super) fn dial(&mut self, address: &str) {
        let (host, port) = address.rsplit_once(':').unwrap();
        let port: u16 = port.parse().unwrap();
        self.ask(&json!({ "do": "dial", "host": host, "port": port }));
    }

    /// Signs a report and sends it to everybody that it is connected to.
    pub(super) fn report(&mut self, source: &str, kind: &str) -> Value {
        self.ask(&json!({ "do": "report", "source": source, "kind": kind }))
    }

    /// Whether it keeps an event about a source.
    pub(super) fn has(&mut self, source: &str) -> bool {
        self.state()["events"].as_array().unwrap().iter().any(|event| event["source_ip"] == source)
    }
}

/// Two namespaces with a wire between them. Taken down when dropped.
pub(super) struct Network {
    names: [String; 2],
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&["netns", "del", name]);
        }
    }
}

/// Whether `ip` did it.
fn ip(arguments: &[&str]) -> bool {
    let mut line = Command::new("ip");
    line.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    line.status().is_ok_and(|status| status.success())
}

impl Network {
    /// `None` where that is not permitted.
    pub(super) fn between_two_namespaces() -> Option<Network> {
        let names = ["l", "r"].map(|side| format!("cm{}{side}", std::process::id()));
        let network = Network { names };
        let [left, right] = &network.names;
        let mut made = ip(&["netns", "add", left]) && ip(&["netns", "add", right]);
        made = made
            && ip(&[
                "link", "add", left, "netns", left, "type", "veth", "peer", "name", right, "netns", right,
            ]);
        for (name, address) in [(left, "10.77.0.1/24"), (right, "10.77.0.2/24")] {
            made = made
                && ip(&["-n", name, "addr", "add", address, "dev", name])
                && ip(&["-n", name, "link", "set", "lo", "up"])
                && ip(&["-n", name, "link", "set", name, "up"])
                && ip(&["-n", name, "route", "add", "default", "dev", name]);
        }
        made.then_some(network)
    }

    fn within(&self, side: usize) -> Vec<String> {
        ["ip", "netns", "exec", &self.names[side]].map(str::to_owned).into()
    }

    /// What runs a program on one side.
    pub(super) fn left(&self) -> Vec<String> {
        self.within(0)
    }

    /// And on the other.
    pub(super) fn right(&self) -> Vec<String> {
        self.within(1)
    }
}
