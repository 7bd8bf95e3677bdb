//! Runs and their results.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, bail};
use cm_client::Api;
use cm_client::resources::Entry;
use cm_computation::client::open_output;
use cm_computation::{Agreed, Literal, Proof, Shape, TierName};
use cm_crypto::seal::RecipientSecretKey;
use cm_crypto::threshold::GroupKey;
use cm_types::ResourceKind;
use serde_json::{Value, json};

use super::objects;
use super::plan::agreed_of;
use super::{RevealArgs, StartArgs, whoami};
use crate::object::read_secret;
use crate::{Connection, Format, Outcome, output};

pub(super) fn status<'a>(entry: &'a Entry, field: &str) -> Option<&'a str> {
    entry.get("status").and_then(|status| status.get(field)).and_then(Value::as_str)
}

/// Starts it and waits for its end; the entry as it is then.
pub(super) async fn finish(api: &Api, id: &str, within: Option<u32>) -> anyhow::Result<Entry> {
    api.run_computation(id, within).await?;
    loop {
        // A connection may end before the run.
        let waited = api.await_computation(id).await;
        let entry = api.read(ResourceKind::Computation, id).await?;
        match status(&entry, "state") {
            Some("completed") => return Ok(entry),
            Some("running") => waited?,
            _ => bail!("{}", status(&entry, "message").unwrap_or("the run has failed")),
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

pub(super) async fn start(args: &StartArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let entry = finish(&api, &args.id, args.within).await?;
    tell_end(connection, &entry);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn tell_end(connection: &Connection, entry: &Entry) {
    let status = entry.get("status").cloned().unwrap_or_default();
    let tier = status["tier"].as_str().unwrap_or_default().to_owned();
    let (rounds, bytes) = (&status["rounds"], &status["bytes_sent"]);
    let said = format!("completed ({tier}): {rounds} rounds, {bytes} bytes, {} ms", status["took_ms"]);
    if connection.output == Format::Table {
        output::note(connection, &said);
        if let Some(key) = status["proof"]["group_key"].as_str() {
            output::note(connection, &format!("signed by the parties' key {key}"));
        }
        if let Some(cheaters) = status["cheaters"].as_array().filter(|cheaters| !cheaters.is_empty()) {
            output::note(connection, &format!("parties that cheated: {}", Value::from(cheaters.clone())));
        }
    } else {
        output::document_of(connection, &status);
    }
}

/// What the parties have signed, if the plan says that they do: shares are theirs then, and not of the node that brings them. By a key that
/// they made in this run, that is the node's own word.
fn proof_of(entry: &Entry, agreed: &Agreed, run: &str) -> anyhow::Result<Option<Proof>> {
    if agreed.plan().signature.is_none() {
        return Ok(None);
    }
    let proof = entry.get("status").and_then(|status| status.get("proof")).cloned();
    let proof =
        Proof::read(&proof.context("the result is not signed, and its plan says that it is")?.to_string())?;
    let key: GroupKey = proof.group_key.parse().context("the key of the parties")?;
    proof.verify(&key)?;
    proof.verify_plan(agreed)?;
    if proof.statement.run != run {
        bail!("the parties have signed the result of another run; nothing was shown");
    }
    Ok(Some(proof))
}

pub(super) async fn put_together(
    api: &Api,
    entry: &Entry,
    agreed: &Agreed,
    result: &str,
    receiver: &str,
    key: &RecipientSecretKey,
) -> anyhow::Result<(Vec<Literal>, Shape, Vec<String>)> {
    let id = entry.get("id").and_then(Value::as_str).unwrap_or_default();
    let run = status(entry, "run").context("the computation has no run")?;
    let is_robust = agreed.plan().program.settings().tier == TierName::Robust;
    let proof = proof_of(entry, agreed, run)?;
    let mut sealed = Vec::new();
    for (at, party) in agreed.plan().parties.iter().enumerate() {
        // Of the robust tier, shares of some parties may be missing: how many, is looked at when the result is put together.
        match api.computation_result(id, result, &party.name).await {
            Ok(bytes) => match &proof {
                Some(proof) if !proof.covers(at, result, receiver, &bytes) => {
                    if !is_robust {
                        bail!(
                            "party `{}` has not signed this share of the result; nothing was shown",
                            party.name
                        );
                    }
                }
                _ => sealed.push((at, bytes)),
            },
            Err(error) if !is_robust => return Err(error.into()),
            Err(_) => {}
        }
    }
    let opened = open_output(agreed, run, result, receiver, key, &sealed)?;
    Ok((opened.values, opened.shape, opened.wrong))
}

pub(super) async fn reveal(args: &RevealArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let entry = api.read(ResourceKind::Computation, &args.id).await?;
    let agreed = agreed_of(&entry)?;
    let who = whoami(&api).await?;
    let key = read_secret(&args.key)?;
    let mut recipients = objects::recipients(&args.seal_to)?;
    let (values, shape, wrong) = put_together(&api, &entry, &agreed, &args.result, &who, &key).await?;
    for party in wrong {
        output::note(
            connection,
            &format!(
                "party `{party}` sent wrong shares, or such as do not open; the result is right without them"
            ),
        );
    }
    if let Some(target) = &args.to {
        recipients.insert(0, key.public_key());
        return objects::store(&api, target, (&values, &shape), recipients, connection).await;
    }
    show(connection, &BTreeMap::from([(args.result.clone(), (values, shape))]));
    Ok(ExitCode::SUCCESS)
}

/// The numbers of a result, row by row.
pub(super) fn rows(values: &[Literal], shape: &Shape) -> impl Iterator<Item = Vec<String>> {
    let width = match shape.dimensions() {
        [_, columns] => *columns,
        _ => values.len(),
    };
    values.chunks(width.max(1)).map(|row| row.iter().map(ToString::to_string).collect())
}

pub(super) fn show(connection: &Connection, results: &BTreeMap<String, (Vec<Literal>, Shape)>) {
    if connection.output != Format::Table {
        let document: BTreeMap<&String, Value> = results
            .iter()
            .map(|(name, (values, shape))| {
                let value = match shape.dimensions() {
                    [] => json!(values[0]),
                    [_, columns] => json!(values.chunks(*columns).collect::<Vec<_>>()),
                    _ => json!(values),
                };
                (name, value)
            })
            .collect();
        output::document_of(connection, &document);
        return;
    }
    for (name, (values, shape)) in results {
        for row in rows(values, shape) {
            output::line(&format!("{name} = {}", row.join(" ")));
        }
    }
}
