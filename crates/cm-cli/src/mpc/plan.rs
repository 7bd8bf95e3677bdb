//! What owners of inputs consent to, and how they give them.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, bail};
use cm_client::Api;
use cm_client::resources::Entry;
use cm_computation::client::seal_input;
use cm_computation::{Agreed, Literal, Plan, PlannedParty, Program, Receivers, SignatureKey};
use cm_types::ResourceKind;
use serde_json::{Value, json};

use super::objects::read_numbers;
use super::{PlanArgs, ShareArgs, Trust, pairs};
use crate::{Connection, Format, Outcome, UsageError, output};

pub(super) fn agreed_of(entry: &Entry) -> anyhow::Result<Agreed> {
    let text = entry.get("plan").and_then(Value::as_str).context("the computation has no plan")?;
    Ok(Agreed::read(text.to_owned())?)
}

pub(super) async fn plan(args: &PlanArgs, connection: &Connection) -> Outcome {
    let entry = connection.api()?.read(ResourceKind::Computation, &args.id).await?;
    let agreed = agreed_of(&entry)?;
    if connection.output != Format::Table {
        output::document_of(connection, agreed.plan());
        return Ok(ExitCode::SUCCESS);
    }
    output::line(&format!("plan    {}", agreed.digest()));
    output::line(&format!("tier    {}", agreed.plan().program.settings().tier.as_str()));
    for party in &agreed.plan().parties {
        output::line(&format!("party   {} with sealing key {}", party.name, party.sealing_key));
    }
    match &agreed.plan().signature {
        Some(SignatureKey::Group(key)) => output::line(&format!("signed  by the parties' key {key}")),
        Some(SignatureKey::Fresh) => output::line("signed  by a key that the parties make in the run"),
        None => {}
    }
    for (name, owner, id) in agreed.plan().program.inputs() {
        let node = agreed.plan().program.node(id);
        output::line(&format!("input   {name}: {} of {owner}, {}", node.shape, node.kind));
    }
    for result in agreed.plan().program.outputs() {
        let to = match result.to {
            Receivers::Everybody => "everybody".to_owned(),
            Receivers::Clients(names) => {
                let key = |name: &String| agreed.plan().receivers.get(name).cloned().unwrap_or_default();
                let shown: Vec<String> = names.iter().map(|name| format!("{name} ({})", key(name))).collect();
                shown.join(", ")
            }
        };
        output::line(&format!("result  {}: learned by {to}", result.name));
    }
    if let Some(source) = entry.get("source").and_then(Value::as_str) {
        output::line("\nmade of this job, which is not what binds:");
        output::line(source.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses another plan than the one that was read.
pub(super) fn demand_plan(seen: Option<&str>, agreed: &Agreed) -> anyhow::Result<()> {
    if seen.is_some_and(|seen| !seen.eq_ignore_ascii_case(&agreed.digest().to_string())) {
        bail!(
            "the computation has another plan, {}; read it with `cryptomesh mpc plan`; nothing was sent",
            agreed.digest()
        );
    }
    Ok(())
}

/// Refuses a plan that says anything else than what was asked for.
pub(super) fn demand_asked(
    plan: &Plan,
    id: &str,
    program: &Program,
    parties: &[String],
    receivers: &BTreeMap<String, String>,
) -> anyhow::Result<()> {
    let other = if plan.program != *program {
        "program"
    } else if plan.computation != id {
        "computation"
    } else if !plan.parties.iter().map(|party| &party.name).eq(parties) {
        "list of parties"
    } else if plan.receivers != *receivers {
        "list of receivers"
    } else {
        return Ok(());
    };
    bail!("the node has written a plan with another {other} than was asked for; nothing was sent")
}

/// Refuses a plan that is signed otherwise than was asked for.
pub(super) fn demand_signed(plan: &Plan, sign: Option<&str>) -> anyhow::Result<()> {
    let is_asked = match (sign, &plan.signature) {
        (None, None) | (Some("any"), Some(_)) | (Some("fresh"), Some(SignatureKey::Fresh)) => true,
        (Some(asked), Some(SignatureKey::Group(key))) => asked.eq_ignore_ascii_case(key),
        _ => false,
    };
    if !is_asked {
        bail!("the node has written a plan that is signed otherwise than was asked for; nothing was sent");
    }
    Ok(())
}

/// Refuses a plan whose parties' keys nobody vouches for.
pub(super) fn demand_trust(trust: &Trust, parties: &[PlannedParty]) -> anyhow::Result<()> {
    if trust.trust_node {
        return Ok(());
    }
    let pinned = pairs(&trust.keys)?;
    for party in parties {
        match pinned.get(&party.name) {
            Some(key) if *key == party.sealing_key => {}
            Some(_) => {
                bail!("the plan has another key for party `{}` than you gave; nothing was sent", party.name)
            }
            None => {
                let what = format!(
                    "give the key of party `{}` with --party-key {}=cmpub1…, as its own node tells it, or pass --trust-node \
                     to believe the node that leads the computation",
                    party.name, party.name
                );
                return Err(UsageError(what).into());
            }
        }
    }
    Ok(())
}

pub(super) async fn give(
    api: &Api,
    id: &str,
    agreed: &Agreed,
    input: &str,
    values: &[Literal],
) -> anyhow::Result<()> {
    for (party, sealed) in seal_input(agreed, input, values)? {
        api.put_computation_input(id, input, &agreed.plan().parties[party].name, sealed).await?;
    }
    Ok(())
}

pub(super) async fn share(args: &ShareArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let agreed = agreed_of(&api.read(ResourceKind::Computation, &args.id).await?)?;
    demand_plan(args.plan.as_deref(), &agreed)?;
    demand_trust(&args.trust, &agreed.plan().parties)?;
    let values = read_numbers(&api, &args.values, args.open_with.as_deref()).await?;
    give(&api, &args.id, &agreed, &args.input, &values).await?;
    let said = format!("`{}` is split among {} parties", args.input, agreed.plan().parties.len());
    output::done(connection, &said, &json!({ "input": args.input, "plan": agreed.digest().to_string() }));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
