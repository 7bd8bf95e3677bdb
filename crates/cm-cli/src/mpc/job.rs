//! Jobs as files: read, explained, made into computations, and run as a whole.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use cm_computation::{Job, Literal, Owner, Program, Receivers, Settings, explain, parse};
use cm_crypto::seal::RecipientSecretKey;
use serde_json::{Value, json};

use super::end::{finish, put_together, show, tell_end};
use super::objects::read_numbers;
use super::plan::{agreed_of, demand_asked, demand_signed, demand_trust, give};
use super::{CreateArgs, ExplainArgs, RunArgs, pairs, whoami};
use crate::{Connection, Format, Outcome, UsageError, output};

/// A job as a program, with the values that came with it.
struct Read {
    program: Program,
    source: String,
    values: BTreeMap<String, Vec<Literal>>,
    name: String,
}

fn read_job(path: &Path, owner: &str, parties: &[String]) -> anyhow::Result<Read> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let stem = path.file_stem().map_or_else(|| "job".to_owned(), |stem| stem.to_string_lossy().into_owned());
    if path.extension().is_some_and(|extension| extension == "json") {
        let job: Job = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let party = |node: u32| parties.get(usize::try_from(node).ok()?.checked_sub(1)?).cloned();
        let lowered = job.lower(owner, &Settings::default(), party)?;
        let values = lowered.assigned.into_iter().map(|assigned| (assigned.input, assigned.values)).collect();
        let name = if job.name.is_empty() { stem } else { job.name.clone() };
        let mut kept = job;
        for step in &mut kept.steps {
            if step.variable_type.as_deref() != Some("public") {
                step.value = None;
            }
        }
        return Ok(Read { program: lowered.program, source: serde_json::to_string(&kept)?, values, name });
    }
    let program = parse(&text).with_context(|| path.display().to_string())?;
    Ok(Read { program, source: text, values: BTreeMap::new(), name: stem })
}

pub(super) fn explained(args: &ExplainArgs, connection: &Connection) -> Outcome {
    let parties: Vec<String> = (1..=args.parties).map(|at| format!("party-{at}")).collect();
    let read = read_job(&args.job, "you", &parties)?;
    let told = explain(&read.program, args.parties)?;
    if connection.output != Format::Table {
        output::document_of(connection, &told);
        return Ok(ExitCode::SUCCESS);
    }
    let (n, t) = (told.parties, told.threshold);
    output::line(&format!(
        "{} in {}, {n} parties any {t} of which learn nothing together",
        told.tier, told.field
    ));
    output::line(&format!("{} operations in {} layers", told.operations, told.layers));
    match (told.rounds, &told.bytes_per_party) {
        (Some(rounds), Some(bytes)) => {
            let most = bytes.iter().max().copied().unwrap_or_default();
            output::line(&format!("about {rounds} rounds; each party sends up to {most} bytes"));
        }
        _ => output::line("too large for its costs to be told"),
    }
    for (name, owner, len) in &told.inputs {
        output::line(&format!("input   {name}: {} of {owner}, which nobody else learns", numbers_of(*len)));
    }
    for (name, to, len) in &told.outputs {
        output::line(&format!("result  {name}: {}, learned by {to}", numbers_of(*len)));
    }
    Ok(ExitCode::SUCCESS)
}

fn numbers_of(len: usize) -> String {
    if len == 1 { "one number".to_owned() } else { format!("{len} numbers") }
}

pub(super) async fn create(args: CreateArgs, connection: &Connection) -> Outcome {
    let read = read_job(&args.job, "you", &[])?;
    if !read.values.is_empty() {
        let what = "a job whose values stand in it has one owner: run it with `cryptomesh mpc run`";
        return Err(UsageError(what.to_owned()).into());
    }
    let mut body = json!({
        "name": args.name.unwrap_or(read.name),
        "job": read.source,
        "receivers": pairs(&args.receivers)?,
    });
    if !args.parties.is_empty() {
        body["parties"] = args.parties.into();
    }
    if let Some(sign) = args.sign {
        body["sign"] = sign.into();
    }
    let entry = connection.api()?.create_computation(&body).await?;
    let id = entry.get("id").and_then(Value::as_str).unwrap_or_default();
    output::done(connection, &format!("computation {id} waits for its inputs"), &json!({ "id": id }));
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn run_job(args: &RunArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let who = whoami(&api).await?;
    let parties = if args.parties.is_empty() {
        let info = api.party().await?;
        let mut names: Vec<String> = info.peers.into_iter().map(|peer| peer.name).collect();
        names.push(info.name);
        names.sort();
        names
    } else {
        args.parties.clone()
    };
    let mut read = read_job(&args.job, &who, &parties)?;
    for (name, values) in pairs(&args.inputs)? {
        read.values.insert(name, read_numbers(&api, &values, args.open_with.as_deref()).await?);
    }
    for (input, owner, _) in read.program.inputs() {
        if let Owner::Client(name) = owner
            && *name != who
        {
            let what = format!(
                "`{input}` is an input of {name}, and you are {who}: make the computation with `cryptomesh mpc create`, so that each \
                 owner can give their own with `cryptomesh mpc share`"
            );
            return Err(UsageError(what).into());
        }
        if !read.values.contains_key(input) {
            return Err(UsageError(format!("`{input}` has no values: pass --input {input}=…")).into());
        }
    }
    // A key for this run alone: the results are shown at its end, and nobody needs them later.
    let key = RecipientSecretKey::generate();
    let receivers = BTreeMap::from([(who.clone(), key.public_key().to_string())]);
    let mut body = json!({
        "name": read.name,
        "job": read.source,
        "program": read.program,
        "parties": parties,
        "receivers": receivers,
    });
    if let Some(sign) = &args.sign {
        body["sign"] = sign.as_str().into();
    }
    let entry = api.create_computation(&body).await?;
    let id = entry.get("id").and_then(Value::as_str).context("the computation has no id")?.to_owned();
    let agreed = agreed_of(&entry)?;
    demand_asked(agreed.plan(), &id, &read.program, &parties, &receivers)?;
    demand_signed(agreed.plan(), args.sign.as_deref())?;
    demand_trust(&args.trust, &agreed.plan().parties)?;
    for (input, values) in &read.values {
        give(&api, &id, &agreed, input, values).await?;
    }
    let entry = finish(&api, &id, args.within).await?;
    let mut results = BTreeMap::new();
    for result in agreed.plan().program.outputs() {
        let shape = agreed.plan().program.node(result.node).shape.clone();
        match result.to {
            Receivers::Everybody => {
                let open = entry.get("status").map(|status| status["open"][result.name].clone());
                let values: Vec<Literal> = serde_json::from_value(open.unwrap_or_default())?;
                results.insert(result.name.to_owned(), (values, shape));
            }
            Receivers::Clients(names) if names.contains(&who) => {
                let (values, shape, _) = put_together(&api, &entry, &agreed, result.name, &who, &key).await?;
                results.insert(result.name.to_owned(), (values, shape));
            }
            Receivers::Clients(_) => {}
        }
    }
    if connection.output == Format::Table {
        tell_end(connection, &entry);
    }
    show(connection, &results);
    Ok(ExitCode::SUCCESS)
}
