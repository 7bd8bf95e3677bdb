//! `events`: what happened, and what happens.

use std::process::ExitCode;

use clap::Args;
use cm_client::resources::Entry;
use cm_client::{Api, ClientError, Followed};
use serde_json::Value;

use crate::{Connection, Format, Outcome, output};

/// Where the lines of an event after its first begin, in characters.
const HANGING: usize = 8;

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
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
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
        listing(connection, &events);
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
    api.follow_events(after, filters, each(connection, |event| show(connection, &event))).await
}

/// Shows what is followed, and tells when the connection is lost and when it is there again.
pub(crate) fn each(connection: &Connection, show: impl Fn(Entry) -> bool) -> impl FnMut(Followed) -> bool {
    move |followed| match followed {
        Followed::Event(event) => show(event),
        Followed::Lost => {
            output::note(connection, "connection lost; resuming");
            true
        }
        Followed::Resumed => {
            output::note(connection, "resumed");
            true
        }
    }
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

/// The number that one goes on after.
pub(crate) fn number(event: &Entry) -> u64 {
    event.get("seq").and_then(Value::as_u64).unwrap_or(0)
}

/// Prints one event of many; whether anybody still reads.
fn show(connection: &Connection, event: &Entry) -> bool {
    show_as(connection, event, |event| paragraph(event, Widths::default(), output::width()))
}

/// Prints one event of many, for people in these words; whether anybody still reads.
pub(crate) fn show_as(connection: &Connection, event: &Entry, words: impl FnOnce(&Entry) -> String) -> bool {
    match connection.output {
        Format::Json => output::line_is_read(&Value::Object(event.clone()).to_string()),
        Format::Yaml => output::line_is_read(&format!("---\n{}", output::yaml(event).trim_end())),
        Format::Table => output::line_is_read(&words(event)),
    }
}

/// Prints events that have happened: one document, or a paragraph each, since what matters of an event is often a sentence
/// that no cell of a table has room for.
pub(crate) fn listing(connection: &Connection, events: &[Entry]) {
    if connection.output != Format::Table || events.is_empty() {
        return output::entries(connection, events);
    }
    output::line(&paragraphs(events));
}

/// Events for people.
pub(crate) fn paragraphs(events: &[Entry]) -> String {
    let (widths, width) = (Widths::of(events), output::width());
    let each: Vec<_> = events.iter().map(|event| paragraph(event, widths, width)).collect();
    each.join("\n")
}

/// How wide the columns are that many events share.
#[derive(Clone, Copy, Default)]
struct Widths {
    actor: usize,
    verb: usize,
}

impl Widths {
    fn of(events: &[Entry]) -> Self {
        let widest = |name| events.iter().map(|event| text(event, name).chars().count()).max().unwrap_or(0);
        Self { actor: widest("actor"), verb: widest("verb") }
    }
}

fn text<'a>(event: &'a Entry, name: &str) -> &'a str {
    event.get(name).and_then(Value::as_str).unwrap_or("-")
}

/// An event in one line, or in several where the terminal is too narrow.
fn paragraph(event: &Entry, widths: Widths, width: Option<usize>) -> String {
    let at = output::to_the_second(text(event, "at"));
    let (actor, verb) = (text(event, "actor"), text(event, "verb"));
    let head = format!("{:>6}  {at}  {actor:<1$}  {verb:<2$}", number(event), widths.actor, widths.verb);
    let outcome = Some(text(event, "outcome")).filter(|outcome| !["allowed", "-"].contains(outcome));
    let resource = text(event, "resource");
    let parts = [resource.to_owned()].into_iter().chain(outcome.map(str::to_owned)).chain(facts(event));
    output::hanging(&head, parts, HANGING, width)
}

/// What is known of an event, the reasons first. Left out is what every record says of itself.
fn facts(event: &Entry) -> Vec<String> {
    let id = text(event, "resource").split_once('/').map(|(_, id)| id);
    let says = |name: &str, value: &Value| match name {
        "generation" => false,
        "name" => value.as_str() != id,
        _ => value != &Value::from(0) && !value.is_null(),
    };
    let facts = event.get("facts").and_then(Value::as_object);
    let mut facts: Vec<_> = facts.into_iter().flatten().filter(|(name, value)| says(name, value)).collect();
    facts.sort_by_key(|(name, _)| !name.starts_with("reason"));
    facts.into_iter().map(|(name, value)| format!("{name}={}", output::fact(value))).collect()
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
        let line = paragraph(event.as_object().unwrap(), Widths::default(), None);
        assert_eq!(line, "     7  2026-01-01T00:00:00Z  -  auth.denied  principal/a  denied");
    }

    #[test]
    fn the_reason_is_shown_whole_however_narrow_the_terminal_is() {
        let reason = "the evidence is of kind `insecure-software`, which must be allowed explicitly";
        let event = serde_json::json!({
            "seq": 7, "at": "2026-01-01T00:00:00.123456Z", "actor": "ada", "verb": "instance.status-changed",
            "resource": "instance/552ae472-9502-48a5-b668-980dcf970d4c", "outcome": "failed",
            "facts": {
                "along": 0, "code": 3, "generation": 2, "name": "552ae472-9502-48a5-b668-980dcf970d4c", "reason": reason,
            },
        });
        let event = event.as_object().unwrap();
        let line = paragraph(event, Widths::of(std::slice::from_ref(event)), None);
        let head = "     7  2026-01-01T00:00:00Z  ada  instance.status-changed  instance/552ae472-9502-48a5-b668-980dcf970d4c";
        assert_eq!(line, format!("{head}  failed  reason=\"{reason}\"  code=3"));
        for width in [60, 80, 120] {
            let shown = paragraph(event, Widths::default(), Some(width));
            assert!(shown.lines().all(|line| line.chars().count() <= width), "{width}: {shown}");
            assert_eq!(
                shown.split_whitespace().collect::<Vec<_>>(),
                line.split_whitespace().collect::<Vec<_>>()
            );
            assert!(shown.lines().skip(1).all(|line| line.starts_with(&" ".repeat(HANGING))), "{shown}");
        }
    }
}
