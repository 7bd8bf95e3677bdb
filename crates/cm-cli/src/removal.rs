//! `delete`: what goes, and what becomes of those that depend on it.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use cm_client::{DeletionPlan, Dependents};
use cm_types::ResourceKind;

use crate::kinds::{has_dependents, kind};
use crate::{Connection, Format, Outcome, UsageError, output};

/// Exit code of a deletion that something stands against.
const CONFLICT: u8 = 5;

/// `cryptomesh delete`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cryptomesh delete role reader
  cryptomesh delete service imaging --dry-run                        what stands against it
  cryptomesh delete service imaging --dependents cascade --dry-run   what would go along
  cryptomesh delete service imaging --dependents cascade --yes

A terminal is asked before anything goes. Without one, --dependents cascade and orphan need --yes.
A dry run ends with 5 if the deletion would be refused.")]
pub struct DeleteArgs {
    /// The kind, such as service or role.
    #[arg(value_parser = kind)]
    pub kind: ResourceKind,
    /// The id.
    pub id: String,
    /// What becomes of what depends on it [default: refuse; on a node in open mode: orphan].
    #[arg(long, value_enum)]
    pub dependents: Option<DependentsChoice>,
    /// Only show what would go.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub yes: bool,
}

/// What becomes of what depends on something that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DependentsChoice {
    /// Nothing goes as long as something refers to it.
    Refuse,
    /// What belongs to it goes along; what merely uses it stands against it.
    Cascade,
    /// What refers to it stays, with a reference that leads nowhere.
    Orphan,
}

impl From<DependentsChoice> for Dependents {
    fn from(choice: DependentsChoice) -> Self {
        match choice {
            DependentsChoice::Refuse => Dependents::Refuse,
            DependentsChoice::Cascade => Dependents::Cascade,
            DependentsChoice::Orphan => Dependents::Orphan,
        }
    }
}

/// Removes an entry.
pub async fn delete(args: DeleteArgs, connection: &Connection) -> Outcome {
    let DeleteArgs { kind, id, dependents, dry_run, yes } = args;
    let dependents = dependents.map(Dependents::from);
    let is_wide = matches!(dependents, Some(Dependents::Cascade | Dependents::Orphan));
    if !has_dependents(kind) && dependents.is_some() {
        return Err(UsageError(format!("nothing depends on a {kind}; leave out --dependents")).into());
    }
    let api = connection.api()?;
    if dry_run {
        let plan = api.plan_removal(kind, &id, dependents).await?;
        let refused = !plan.refusing.is_empty();
        match connection.output {
            Format::Json | Format::Yaml => output::document_of(connection, &plan),
            Format::Table => lines(&plan).iter().for_each(|line| output::line(line)),
        }
        return Ok(if refused { ExitCode::from(CONFLICT) } else { ExitCode::SUCCESS });
    }
    let can_ask = can_ask();
    if is_wide && !yes && !can_ask {
        return Err(UsageError("without a terminal this needs --yes; see --dry-run".to_owned()).into());
    }
    let plan = match is_wide {
        true => Some(api.plan_removal(kind, &id, dependents).await?),
        false => None,
    };
    let others = plan.as_ref().map_or(0, |plan| plan.goes.len().saturating_sub(1));
    let along = if others == 0 { String::new() } else { format!(" and {others} more") };
    if !yes && can_ask {
        // Whatever is asked must be seen, quiet or not.
        plan.iter().flat_map(lines).for_each(|line| output::prompt(&format!("{line}\n")));
        if !agreed(&format!("delete {kind}/{id}{along}?"))? {
            output::note(connection, "nothing was deleted");
            return Ok(ExitCode::FAILURE);
        }
    }
    match dependents {
        Some(dependents) => api.remove_with(kind, &id, dependents).await?,
        None => api.remove(kind, &id).await?,
    }
    // As a dry run says it, so that one reader does for both.
    let resource = format!("{kind}/{id}");
    let plan = plan.unwrap_or_else(|| DeletionPlan { goes: vec![resource], ..DeletionPlan::default() });
    output::done(connection, &format!("{kind}/{id}{along} deleted"), &plan);
    Ok(ExitCode::SUCCESS)
}

/// A plan for people.
fn lines(plan: &DeletionPlan) -> Vec<String> {
    let part = |what: &str, all: &[String]| -> Vec<String> {
        all.iter().map(|resource| format!("{what} {resource}")).collect()
    };
    if plan.refusing.is_empty() {
        [part("deletes", &plan.goes), part("orphans", &plan.orphaned)].concat()
    } else {
        part("refused by", &plan.refusing)
    }
}

/// Asks on the terminal; anything but a yes is a no.
/// Whether something that takes much along may be done: it was said on the command line, or is said when asked.
pub(crate) fn agree(question: &str, yes: bool) -> anyhow::Result<bool> {
    match yes {
        true => Ok(true),
        false if can_ask() => agreed(question),
        false => Err(UsageError("without a terminal this needs --yes".to_owned()).into()),
    }
}

fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn agreed(question: &str) -> anyhow::Result<bool> {
    output::prompt(&format!("{question} [y/N] "));
    std::io::stderr().flush().context("cannot ask")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(goes: &[&str], refusing: &[&str], orphaned: &[&str], expected: &[&str]) {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let plan = DeletionPlan { goes: owned(goes), refusing: owned(refusing), orphaned: owned(orphaned) };
        assert_eq!(lines(&plan), expected);
    }

    #[test]
    fn a_plan_says_what_goes_or_what_stands_against_it() {
        check(&["service/s", "function/f"], &[], &[], &["deletes service/s", "deletes function/f"]);
        check(&["role/r"], &["service/s"], &[], &["refused by service/s"]);
        check(&["service/s"], &[], &["microservice/m"], &["deletes service/s", "orphans microservice/m"]);
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, expected) in
            [("y\n", true), ("Yes\n", true), ("\n", false), ("", false), ("yep\n", false)]
        {
            assert_eq!(is_yes(answer), expected, "{answer:?}");
        }
    }
}
