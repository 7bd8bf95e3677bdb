//! Signatures of the parties: written down, and verified without a node.

use std::process::ExitCode;

use anyhow::{Context, bail};
use cm_computation::Proof;
use cm_crypto::threshold::GroupKey;
use serde_json::{Value, json};

use super::{AnchorArgs, ProofArgs, VerifyArgs};
use crate::{Connection, Format, Outcome, UsageError, output};

pub(super) async fn keys(connection: &Connection) -> Outcome {
    let keys = connection.api()?.group_keys().await?;
    if connection.output != Format::Table {
        output::document_of(connection, &keys);
        return Ok(ExitCode::SUCCESS);
    }
    for key in keys {
        let (count, parties) = (key.threshold + 1, key.parties.join(", "));
        output::line(&format!("{}  any {count} of {parties}, made {}", key.key, key.made_at));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn proof(args: &ProofArgs, connection: &Connection) -> Outcome {
    let proof = connection.api()?.computation_proof(&args.id).await?;
    let text = serde_json::to_string_pretty(&proof)?;
    match &args.out {
        Some(path) => {
            std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
            let said = format!("the proof of {} is in {}", args.id, path.display());
            output::done(connection, &said, &json!({ "file": path.display().to_string() }));
        }
        None => output::line(&text),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn verify(args: &VerifyArgs, connection: &Connection) -> Outcome {
    let key: GroupKey = args.key.parse().map_err(|_| {
        UsageError(format!("`{}` is no public key of parties; it has 66 hexadecimal digits", args.key))
    })?;
    let read = |path: &std::path::Path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let proof = Proof::read(&read(&args.proof)?)?;
    proof.verify(&key)?;
    let statement = &proof.statement;
    if let Some(plan) = &args.plan
        && !plan.eq_ignore_ascii_case(&statement.plan_sha256.to_string())
    {
        bail!("the result is that of another plan, {}", statement.plan_sha256);
    }
    if let Some(path) = &args.anchored
        && !stands_in(&read(path)?, &proof)
    {
        bail!("the result does not stand in {}", path.display());
    }
    let signers: Vec<&str> = statement.signers().collect();
    if connection.output != Format::Table {
        let found = json!({
            "valid": true,
            "computation": statement.computation,
            "run": statement.run,
            "plan_sha256": statement.plan_sha256,
            "result_sha256": proof.result_sha256,
            "signers": signers,
            "open": statement.open,
        });
        output::document_of(connection, &found);
        return Ok(ExitCode::SUCCESS);
    }
    output::line(&format!("valid: {} signed together", signers.join(", ")));
    output::line(&format!("computation  {}, run {}", statement.computation, statement.run));
    output::line(&format!("plan         {}", statement.plan_sha256));
    output::line(&format!("result       {}", proof.result_sha256));
    for (name, values) in &statement.open {
        output::line(&format!("{name} = {}", values.join(" ")));
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a line of a file of recorded results is this one's, with its key and signature.
fn stands_in(lines: &str, proof: &Proof) -> bool {
    let is_it = |line: &str| {
        let Ok(line) = serde_json::from_str::<Value>(line) else { return false };
        line["result_sha256"] == proof.result_sha256.to_string()
            && line["group_key"] == proof.group_key
            && line["signature"] == proof.signature
    };
    lines.lines().any(is_it)
}

pub(super) async fn anchor(args: &AnchorArgs, connection: &Connection) -> Outcome {
    let said = connection.api()?.anchor_computation(&args.id).await?;
    if connection.output == Format::Table {
        output::note(connection, &format!("recorded: {}", said["place"]));
    } else {
        output::document_of(connection, &said);
    }
    Ok(ExitCode::SUCCESS)
}
