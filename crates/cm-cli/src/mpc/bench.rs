//! How fast computations are on the nodes that the command speaks to.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use cm_client::Api;
use cm_computation::{Literal, TierName, parse};
use serde_json::{Value, json};

use super::end::finish;
use super::plan::{agreed_of, demand_asked, give};
use super::{BenchArgs, whoami};
use crate::{Connection, Format, Outcome, output};

/// What is measured, as the slope between few and many repetitions of a statement.
struct Case {
    name: &'static str,
    unit: &'static str,
    /// How many of it one repetition has.
    count: f64,
    input: &'static str,
    numbers: usize,
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
        input: "x[100000]",
        numbers: 100_000,
        body: "y = y * x",
        result: "y[0]",
        few: 2,
        many: 12,
    },
    Case {
        name: "dependent round",
        unit: "rounds/s",
        count: 1.0,
        input: "x",
        numbers: 1,
        body: "y = y * x",
        result: "y",
        few: 10,
        many: 510,
    },
    Case {
        name: "less than",
        unit: "comparisons/s",
        count: 1e4,
        input: "x[10000]",
        numbers: 10_000,
        body: "y = y + (y < x)",
        result: "y[0]",
        few: 1,
        many: 3,
    },
];

/// Times that a job is run; the fastest counts.
const RUNS: usize = 3;

pub(super) async fn bench(args: &BenchArgs, connection: &Connection) -> Outcome {
    let tier = TierName::parse(&args.tier)?;
    let api = connection.api()?;
    let who = whoami(&api).await?;
    let info = api.party().await?;
    let mut parties: Vec<String> =
        info.peers.into_iter().filter(|peer| peer.up).map(|peer| peer.name).collect();
    parties.push(info.name);
    parties.sort();
    let bench = Bench { api: &api, parties: &parties };
    let mut told = BTreeMap::new();
    output::note(
        connection,
        &format!("{} parties, {}; every job ten times or less", parties.len(), tier.as_str()),
    );
    let mut job_ms = f64::INFINITY;
    for _ in 0..10 {
        let begun = Instant::now();
        bench
            .run(&format!("tier {}\ninput x from {who}\nreveal x * x as r to all\n", tier.as_str()), 1)
            .await?;
        job_ms = job_ms.min(begun.elapsed().as_secs_f64() * 1e3);
    }
    line(
        connection,
        &format!("{:<18} {job_ms:>12.1} ms from the first request to the result", "one product"),
    );
    told.insert("one product".to_owned(), json!({ "milliseconds": job_ms }));
    for case in CASES {
        let source = |repeat: u32| {
            let (tier, Case { input, body, result, .. }) = (tier.as_str(), case);
            format!(
                "tier {tier}\ninput {input} from {who}\ny = x\nrepeat {repeat} {{ {body} }}\nreveal {result} as r to all\n"
            )
        };
        let few = bench.best(&source(case.few), case.numbers).await?;
        let many = bench.best(&source(case.many), case.numbers).await?;
        let repeats = f64::from(case.many - case.few);
        let seconds = (many.0 - few.0).max(1.0) / 1e3 / repeats;
        let bytes = (many.1 - few.1) / repeats / case.count;
        let rate = case.count / seconds;
        line(
            connection,
            &format!("{:<18} {rate:>12.0} {}, {bytes:.1} bytes each by all parties", case.name, case.unit),
        );
        told.insert(case.name.to_owned(), json!({ "per_second": rate, "bytes": bytes }));
    }
    if connection.output != Format::Table {
        output::document_of(connection, &told);
    }
    Ok(ExitCode::SUCCESS)
}

fn line(connection: &Connection, text: &str) {
    if connection.output == Format::Table {
        output::line(text);
    }
}

struct Bench<'a> {
    api: &'a Api,
    parties: &'a [String],
}

impl Bench<'_> {
    /// Milliseconds and bytes of the fastest of some runs.
    async fn best(&self, source: &str, numbers: usize) -> anyhow::Result<(f64, f64)> {
        let mut best = (f64::INFINITY, 0.0);
        for _ in 0..RUNS {
            let status = self.run(source, numbers).await?;
            let number = |field: &str| {
                status[field].as_f64().with_context(|| format!("the node does not tell {field}"))
            };
            best = (best.0.min(number("took_ms")?), number("bytes_sent")?);
        }
        Ok(best)
    }

    /// Runs a job on ones, and takes it away again; its status in the end.
    async fn run(&self, source: &str, numbers: usize) -> anyhow::Result<Value> {
        let program = parse(source)?;
        let body = json!({
            "name": "bench", "job": source, "program": program, "parties": self.parties, "receivers": {},
        });
        let entry = self.api.create_computation(&body).await?;
        let id = entry.get("id").and_then(Value::as_str).context("the computation has no id")?.to_owned();
        let agreed = agreed_of(&entry)?;
        demand_asked(agreed.plan(), &id, &program, self.parties, &BTreeMap::new())?;
        // The numbers are ones, and nobody's secret: the keys in the plan are taken as they are.
        give(self.api, &id, &agreed, "x", &vec![Literal::integer(1); numbers]).await?;
        let ended = finish(self.api, &id, None).await;
        self.api.delete(&format!("/api/v1/computations/{id}")).await?;
        Ok(ended?.get("status").cloned().unwrap_or_default())
    }
}
