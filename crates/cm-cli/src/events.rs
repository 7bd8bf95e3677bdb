//! `events`: what happened, and what happens.

use std::process::ExitCode;

use clap::Args;
use cm_client::resources::Entry;
use cm_client::{Api, ClientError, Followed};
use serde_json::Value;

use crate::{Connection, Format, Outcome, output};

/// `cryptomesh events`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cryptomesh events                                    the newest 20
  cryptomesh events --resource service/imaging         what happened to one resource
  cryptomesh events --follow --verb function.          functions, from now on
  cryptomesh events --follow --after 0 -o json | jq .  everything, one document a line

Following goes on after a lost connection where it was, and ends with Ctrl-C.")]
pub struct EventsArgs {
    /// Go on as things happen. With --output json one document a line, with yaml one document each.
    #[arg(long, short)]
    pub follow: bool,
    /// Begin after this number instead of with the newest.
    #[arg(long, value_name = "NUMBER")]
    pub after: Option<u64>,
    /// Most events to show; when following, of those that have happened.
    #[arg(long, default_value_t = 20)]
    pub limit: usize,
    /// Only what happened so, or all that begins so, such as `function.`.
    #[arg(long)]
    pub verb: Option<String>,
    /// Only what happened to this resource.
    #[arg(long, value_name = "KIND/ID")]
    pub resource: Option<String>,
    /// Only what this principal did.
    #[arg(long, value_name = "PRINCIPAL")]
    pub actor: Option<String>,
    /// Only what ended so: allowed, denied or failed.
    #[arg(long)]
    pub outcome: Option<String>,
}

/// Shows events.
pub async fn run(args: EventsArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let filters = filters(&[
        ("verb", &args.verb),
        ("resource", &args.resource),
        ("actor", &args.actor),
        ("outcome", &args.outcome),
    ]);
    if !args.follow {
        let events = match args.after {
            Some(after) => api.events(after, args.limit, &filters).await?.items,
            None => api.newest_events(args.limit, &filters).await?,
        };
        output::entries(connection, &events);
        return Ok(ExitCode::SUCCESS);
    }
    until_interrupted(async {
        let after = match args.after {
            Some(after) => after,
            None => {
                // Taken first: what happens meanwhile is followed, and not shown twice.
                let head = api.events_head().await?.get("seq").and_then(Value::as_u64).unwrap_or(0);
                let newest = api.newest_events(args.limit, &filters).await?;
                let newest: Vec<_> = newest.into_iter().filter(|event| number(event) <= head).collect();
                newest.iter().for_each(|event| {
                    show(connection, event);
                });
                head
            }
        };
        show_what_follows(&api, after, &filters, connection).await
    })
    .await
}

/// The parameters of a query that were given.
pub(crate) fn filters<'a>(given: &[(&'a str, &Option<String>)]) -> Vec<(&'a str, String)> {
    given.iter().filter_map(|(name, value)| Some((*name, (*value).clone()?))).collect()
}

/// Shows what happens until the caller has enough.
pub(crate) async fn follow(
    api: &Api,
    after: u64,
    filters: &[(&str, String)],
    connection: &Connection,
) -> Outcome {
    until_interrupted(show_what_follows(api, after, filters, connection)).await
}

async fn show_what_follows(
    api: &Api,
    after: u64,
    filters: &[(&str, String)],
    connection: &Connection,
) -> Result<(), ClientError> {
    api.follow_events(after, filters, |followed| match followed {
        Followed::Event(event) => show(connection, &event),
        Followed::Lost => {
            output::note(connection, "connection lost; resuming");
            true
        }
        Followed::Resumed => {
            output::note(connection, "resumed");
            true
        }
    })
    .await
}

/// Works until it ends or somebody presses Ctrl-C, which is how one says that one has enough, hence no failure.
pub(crate) async fn until_interrupted(work: impl Future<Output = Result<(), ClientError>>) -> Outcome {
    tokio::select! {
        // In this order: work that gets far at once must not show anything before Ctrl-C is listened for.
        biased;
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        done = work => done?,
    }
    Ok(ExitCode::SUCCESS)
}

fn number(event: &Entry) -> u64 {
    event.get("seq").and_then(Value::as_u64).unwrap_or(0)
}

/// Prints one event of many; whether anybody still reads.
fn show(connection: &Connection, event: &Entry) -> bool {
    match connection.output {
        Format::Json => output::line_is_read(&Value::Object(event.clone()).to_string()),
        Format::Yaml => output::line_is_read(&format!("---\n{}", output::yaml(event).trim_end())),
        Format::Table => output::line_is_read(&sentence(event)),
    }
}

/// An event in one line.
fn sentence(event: &Entry) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    let outcome = match text("outcome") {
        outcome if outcome == "allowed" => String::new(),
        outcome => format!("  {outcome}"),
    };
    let (number, at, actor) = (number(event), text("at"), text("actor"));
    format!("{number:>6}  {at}  {actor}  {}  {}{outcome}", text("verb"), text("resource"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let event = serde_json::json!({
            "seq": 7, "at": "2026-01-01T00:00:00Z", "actor": null, "verb": "auth.denied",
            "resource": "principal/a", "outcome": "denied",
        });
        let line = sentence(event.as_object().unwrap());
        assert_eq!(line, "     7  2026-01-01T00:00:00Z  -  auth.denied  principal/a  denied");
    }
}
