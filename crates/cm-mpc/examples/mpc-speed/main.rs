//! How fast computations are between processes: real engines, real TLS, one process for each party.
//!
//! Every figure is a slope: the same job with few and with many repetitions, so that what a job costs once (its record, its journal,
//! its proposal, its connections) is not counted, and is told by itself. Processor time is of all parties together, and so are bytes.
//! MPyC does the same in the same run, three local processes as its manual says, over plain TCP: `--python PATH` says which Python has
//! it (otherwise `python3`), `--without-mpyc` does without. `--quick` measures three parties only.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and ends when something is wrong"
)]

mod party;
mod python;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What is measured: name, how many of it one repetition has, inputs and repeated statements.
struct Case {
    name: &'static str,
    unit: &'static str,
    count: f64,
    head: &'static str,
    body: &'static str,
    result: &'static str,
    few: u32,
    many: u32,
}

const CASES: &[Case] = &[
    Case {
        name: "multiply",
        unit: "products/s",
        count: 1e5,
        head: "input x[100000] from ada\ny = x",
        body: "y = y * x",
        result: "y[0]",
        few: 2,
        many: 22,
    },
    Case {
        name: "dependent round",
        unit: "rounds/s",
        count: 1.0,
        head: "input x from ada\ny = x",
        body: "y = y * x",
        result: "y",
        few: 10,
        many: 510,
    },
    Case {
        name: "inner product 1e5",
        unit: "products/s",
        count: 1.0,
        head: "input x[100000] from ada\ns = x[0]",
        body: "s = s + dot(x, x * 1)",
        result: "s",
        few: 1,
        many: 11,
    },
    Case {
        name: "matmul 100^3",
        unit: "products/s",
        count: 1.0,
        head: "input x[100, 100] from ada\ny = x",
        body: "y = y @ x",
        result: "y[0]",
        few: 1,
        many: 11,
    },
    Case {
        name: "less than",
        unit: "comparisons/s",
        count: 1e4,
        head: "input x[10000] from ada\nb = x",
        body: "b = b + (b < x)",
        result: "b[0]",
        few: 1,
        many: 4,
    },
];

pub(crate) struct Node {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Node {
    fn start(name: &str) -> (Self, serde_json::Value) {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["party", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        let mut node = Self { process, to, from };
        let ready = node.hear();
        (node, ready)
    }

    fn hear(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("a party said {line:?}"))
    }

    fn ask(&mut self, question: &serde_json::Value) -> serde_json::Value {
        writeln!(self.to, "{question}").unwrap();
        self.hear()
    }

    /// Processor seconds so far.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        // utime and stime, in the hundredths of a second of every Linux that is in use.
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn cluster(parties: usize) -> Vec<Node> {
    let started: Vec<_> = (1..=parties).map(|at| Node::start(&format!("n{at}"))).collect();
    let peers: Vec<serde_json::Value> = started.iter().map(|(_, ready)| ready.clone()).collect();
    let mut nodes: Vec<Node> = started.into_iter().map(|(node, _)| node).collect();
    for node in &mut nodes {
        node.ask(&serde_json::json!({ "peers": peers }));
    }
    nodes
}

fn source(case: &Case, tier: &str, field: &str, repeat: u32) -> String {
    let (body, result) = (case.body, case.result);
    // Shares of clients cannot be checked robustly, so that inputs of that tier are a party's own.
    let head =
        if tier == "robust" { case.head.replace("from ada", "from party n1") } else { case.head.to_owned() };
    format!("tier {tier}\nfield {field}\n{head}\nrepeat {repeat} {{ {body} }}\nreveal {result} as r to all\n")
}

/// Milliseconds and processor seconds of the best of three runs.
fn best(nodes: &mut [Node], source: &str) -> (f64, f64, f64) {
    let mut best = (f64::INFINITY, f64::INFINITY, 0.0);
    for _ in 0..3 {
        let before: f64 = nodes.iter().map(Node::cpu).sum();
        let answer = nodes[0].ask(&serde_json::json!({ "run": source, "parties": nodes.len() }));
        assert_eq!(answer["state"], "completed", "{answer}");
        let cpu = nodes.iter().map(Node::cpu).sum::<f64>() - before;
        let took = answer["took_ms"].as_f64().unwrap();
        best = (f64::min(best.0, took), f64::min(best.1, cpu), answer["bytes_sent"].as_f64().unwrap());
    }
    best
}

/// One figure: how many in a second of the clock and of a core, and the bytes that each costs.
pub(crate) struct Figure {
    name: &'static str,
    wall: f64,
    core: f64,
    bytes: f64,
}

/// Measures a case as the slope between few repetitions and many, and prints it.
fn measure(nodes: &mut [Node], case: &Case, tier: &str, field: &str) -> Figure {
    let few = best(nodes, &source(case, tier, field, case.few));
    let many = best(nodes, &source(case, tier, field, case.many));
    let repeats = f64::from(case.many - case.few);
    let seconds = (many.0 - few.0).max(1.0) / 1000.0 / repeats;
    let cpu = (many.1 - few.1).max(0.01) / repeats;
    let figure = Figure {
        name: case.name,
        wall: case.count / seconds,
        core: case.count / cpu,
        bytes: (many.2 - few.2) / repeats / case.count,
    };
    println!(
        "n={} {tier:<16} {field:<10} {:<18} {:>12.0} {:<14} {:>9.3} ms each  {:>12.0} per core-second  {:>7.1} B",
        nodes.len(),
        case.name,
        figure.wall,
        case.unit,
        seconds * 1000.0,
        figure.core,
        figure.bytes,
    );
    figure
}

/// How busy the machine is besides.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("load {} on {cores} cores", load.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, name] = arguments.as_slice()
        && mode == "party"
    {
        return party::run(name);
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let python = arguments.iter().position(|argument| argument == "--python");
    let python = python.and_then(|at| arguments.get(at + 1)).map_or("python3", String::as_str);
    let python = (!has("--without-mpyc")).then_some(python);
    if let Some(python) = python {
        match python::demand(python) {
            Ok(version) => println!("{version}"),
            Err(refusal) => {
                eprintln!("{refusal}");
                std::process::exit(2);
            }
        }
    }
    println!("{}", load());
    let mut ours = Vec::new();
    for parties in if has("--quick") { vec![3] } else { vec![3, 4, 5, 7] } {
        let mut nodes = cluster(parties);
        // Robustness needs more than three times as many parties as may cheat.
        let tiers: &[&str] = match parties {
            3 | 5 => &["semi-honest", "malicious-abort"],
            4 => &["robust"],
            _ => &["semi-honest", "malicious-abort", "robust"],
        };
        for tier in tiers {
            for field in ["f61", "secp256k1"] {
                for case in CASES {
                    let is_plain = matches!(case.name, "multiply" | "dependent round");
                    let measures_field = field == "f61" || (case.name == "multiply" && parties == 3);
                    if !measures_field || (parties > 3 && !is_plain) {
                        continue;
                    }
                    let figure = measure(&mut nodes, case, tier, field);
                    if parties == 3 && *tier == "semi-honest" && field == "f61" {
                        ours.push(figure);
                    }
                }
            }
        }
        if parties == 3 {
            let case = &CASES[1];
            let once = best(&mut nodes, &source(case, "malicious-abort", "secp256k1", 1));
            println!("n=3 one product as a job of its own, without HTTP: {:.0} ms", once.0);
        }
    }
    match python {
        Some(python) => python::compare(python, &ours),
        None => println!("MPyC was not measured"),
    }
    println!("{}", load());
}
