//! `function`: register functions, run them, and see what became of them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use cm_types::ResourceKind;
use serde_json::{Map, Value};

use crate::{Connection, Format, Outcome, UsageError, function_run, output};

/// `cryptomesh function …`
#[derive(Debug, Subcommand)]
pub enum FunctionCommand {
    /// Register a function by its program policy and upload its programs.
    Register(RegisterArgs),
    /// Start an instance, verify it, send inputs, run a program and fetch results.
    Run(Box<function_run::RunArgs>),
    /// Show the states that a function went through.
    Logs(LogsArgs),
    /// Show a function's latest state and result.
    Status(StatusArgs),
}

/// `cryptomesh function register`
#[derive(Args, Debug)]
pub struct RegisterArgs {
    /// The program policy: a JSON document that names the function, its programs, their digests and rights.
    pub policy: PathBuf,
    /// A program's bytes: NAME=FILE, with the name that the policy gives it. May be repeated.
    #[arg(long, value_name = "NAME=FILE")]
    pub program: Vec<String>,
    /// What the function is for.
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
}

/// `cryptomesh function logs`
#[derive(Args, Debug)]
pub struct LogsArgs {
    /// The function.
    pub function: String,
    /// Most states to show.
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    pub limit: usize,
}

/// `cryptomesh function status`
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The function.
    pub function: String,
}

/// Runs one of them.
pub async fn run(command: FunctionCommand, connection: &Connection) -> Outcome {
    match command {
        FunctionCommand::Register(args) => register(args, connection).await,
        FunctionCommand::Run(args) => function_run::run(*args, connection).await,
        FunctionCommand::Logs(args) => logs(args, connection).await,
        FunctionCommand::Status(args) => status(args, connection).await,
    }
}

async fn register(args: RegisterArgs, connection: &Connection) -> Outcome {
    let policy = std::fs::read_to_string(&args.policy)
        .with_context(|| format!("cannot read {}", args.policy.display()))?;
    let document: Value = serde_json::from_str(&policy)
        .with_context(|| format!("{} is no JSON document", args.policy.display()))?;
    let Some(name) = document.get("function").and_then(Value::as_str) else {
        bail!("{} names no `function`", args.policy.display());
    };
    let mut programs = Vec::new();
    for program in &args.program {
        let (program, file) = crate::resource::pair(program)?;
        check_named(&program, &document)?;
        programs.push((program, std::fs::read(&file).with_context(|| format!("cannot read {file}"))?));
    }
    let api = connection.api()?;
    let entry = api.register_function(name, args.description.as_deref(), &policy).await?;
    for (program, bytes) in programs {
        if let Err(error) = api.put_program(name, &program, bytes).await {
            output::note(connection, &format!("removing {name}: program {program} was refused"));
            api.remove(ResourceKind::Function, name).await?;
            return Err(error.into());
        }
    }
    output::entry(connection, &entry);
    Ok(ExitCode::SUCCESS)
}

/// Whether the policy has a program of this name. A policy that lists no programs is left for the node to refuse.
fn check_named(program: &str, policy: &Value) -> Result<(), UsageError> {
    let listed = policy.get("programs").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> =
        listed.filter_map(|entry| entry.get("program_file_name").and_then(Value::as_str)).collect();
    // The same file with and without the root before it.
    let bare = |name: &str| name.trim_start_matches("./").trim_start_matches('/').to_owned();
    if names.is_empty() || names.iter().any(|name| bare(name) == bare(program)) {
        return Ok(());
    }
    Err(UsageError(format!("the policy has no program `{program}`; it has {}", names.join(", "))))
}

async fn logs(args: LogsArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    // A function that does not exist has no history either; the difference must be seen.
    api.read(ResourceKind::Function, &args.function).await?;
    let states = api.function_history(ResourceKind::FunctionState, &args.function, args.limit).await?;
    match connection.output {
        Format::Json | Format::Yaml => output::records(connection, ResourceKind::FunctionState, &states),
        // Of one function, each row would repeat which, and nobody asks for a state by its id.
        Format::Table => {
            let told = |name: &String| !["id", "state_id", "function_id"].contains(&name.as_str());
            let rows =
                states.into_iter().map(|state| state.into_iter().filter(|(name, _)| told(name)).collect());
            output::records(connection, ResourceKind::FunctionState, &rows.collect::<Vec<_>>());
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn status(args: StatusArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let mut shown = api.read(ResourceKind::Function, &args.function).await?;
    for (name, kind) in
        [("latest_state", ResourceKind::FunctionState), ("latest_result", ResourceKind::FunctionResult)]
    {
        let history = api.function_history(kind, &args.function, 1).await?;
        shown.insert(name.to_owned(), history.into_iter().next().map_or(Value::Null, Value::Object));
    }
    match connection.output {
        Format::Json | Format::Yaml => output::entry(connection, &shown),
        Format::Table => output::entry(connection, &summary(&shown)),
    }
    Ok(ExitCode::SUCCESS)
}

/// How a function is, for people; what it is, `get` shows.
fn summary(shown: &Map<String, Value>) -> Map<String, Value> {
    let mut rows = Map::new();
    for name in ["id", "deployment_status"] {
        rows.extend(shown.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    let reason = shown.get("status").and_then(|status| status.get("deployment_reason"));
    rows.extend(
        reason.filter(|reason| reason.is_string()).map(|reason| ("reason".to_owned(), reason.clone())),
    );
    for name in ["latest_state", "latest_result"] {
        let latest = shown.get(name).and_then(Value::as_object);
        rows.insert(name.to_owned(), latest.map_or("none".to_owned(), output::state).into());
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_function_says_how_it_is_and_why() {
        let shown = serde_json::json!({
            "id": "f", "deployment_status": "failed", "status": { "deployment_reason": "no port is free" },
            "confidential": { "policy": "{}" }, "latest_result": null,
            "latest_state": {
                "state": "failed", "name": "failed", "created_at": "2026-01-01T00:00:00.5Z", "instance_id": "i",
                "metadata": { "exit_code": "1", "reason": "no port is free" },
            },
        });
        let expected = serde_json::json!({
            "id": "f", "deployment_status": "failed", "reason": "no port is free", "latest_result": "none",
            "latest_state": "failed 2026-01-01T00:00:00Z in instance i exit_code=1 reason=\"no port is free\"",
        });
        assert_eq!(Value::Object(summary(shown.as_object().unwrap())), expected);
    }

    #[test]
    fn a_program_that_the_policy_has_not_is_told_with_those_that_it_has() {
        let policy = serde_json::json!({ "programs": [
            { "program_file_name": "/program/a.wasm" }, { "program_file_name": "b.wasm" }] });
        for name in ["/program/a.wasm", "program/a.wasm", "b.wasm", "/b.wasm"] {
            check_named(name, &policy).unwrap();
        }
        let refused = check_named("a.wasm", &policy).unwrap_err().to_string();
        assert!(refused.ends_with("it has /program/a.wasm, b.wasm"), "{refused}");
        check_named("x", &Value::Null).unwrap();
    }
}
