//! `intel events`: what was reported, and what is.

use std::process::ExitCode;

use clap::Args;
use cm_client::resources::Entry;
use cm_client::{Api, ClientError};
use serde_json::Value;

use super::{harmless, shown};
use crate::events::{each, filters, number, show_as, until_interrupted};
use crate::{Connection, Outcome, output};

/// `cryptomesh intel events`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cryptomesh intel events                                    the newest 20
  cryptomesh intel events --text ssh --severity high         of a certain kind
  cryptomesh intel events --follow                           those, and what comes from now on
  cryptomesh intel events --follow --after 0 -o json | jq .  everything, one document a line

Following goes on after a lost connection where it was, and ends with Ctrl-C.")]
pub struct EventsArgs {
    /// Go on as events come. With --output json one document a line, with yaml one document each.
    #[arg(long, short)]
    pub follow: bool,
    /// Begin after this number instead of with the newest.
    #[arg(long, value_name = "NUMBER")]
    pub after: Option<u64>,
    /// Most events to show; when following, of those that are there.
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    pub limit: usize,
    /// Only of this source.
    #[arg(long, value_name = "TEXT")]
    pub source: Option<String>,
    /// Only of this type.
    #[arg(long = "type", value_name = "TEXT")]
    pub threat_type: Option<String>,
    /// Only of this severity.
    #[arg(long, value_name = "TEXT")]
    pub severity: Option<String>,
    /// Only of this reporter, the SHA-256 of its key.
    #[arg(long, value_name = "KEY")]
    pub reporter: Option<String>,
    /// Only with this in source or type.
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
}

/// Shows events.
pub(super) async fn run(args: EventsArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let filters = filters(&[
        ("source", &args.source),
        ("type", &args.threat_type),
        ("severity", &args.severity),
        ("reporter", &args.reporter),
        ("text", &args.text),
    ]);
    if !args.follow {
        let found = there(&api, &args, &filters).await?;
        let found: Vec<Entry> = found.into_iter().map(|event| shown(event, connection)).collect();
        output::entries(connection, &found);
        return Ok(ExitCode::SUCCESS);
    }
    until_interrupted(async {
        let after = match args.after {
            Some(after) => after,
            None => {
                // Asked first: what comes meanwhile is shown with what is there, or followed.
                let newest = newest(&api).await?;
                let found = there(&api, &args, &filters).await?;
                let last = found.iter().map(number).max().unwrap_or(0);
                for event in found {
                    if !show(connection, &event) {
                        return Ok(());
                    }
                }
                newest.max(last)
            }
        };
        follow(&api, after, &filters, connection).await
    })
    .await
}

/// The events that are there, the oldest first.
async fn there(api: &Api, args: &EventsArgs, filters: &[(&str, String)]) -> Result<Vec<Entry>, ClientError> {
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(filters.iter().cloned());
    if let Some(after) = args.after {
        query.push(("after", after.to_string()));
        return Ok(api.threat_events(&query).await?.items);
    }
    query.push(("order", "newest-first".to_owned()));
    let mut newest = api.threat_events(&query).await?.items;
    newest.reverse();
    Ok(newest)
}

/// The number of the newest event.
async fn newest(api: &Api) -> Result<u64, ClientError> {
    let query = [("limit", "1".to_owned()), ("order", "newest-first".to_owned())];
    Ok(api.threat_events(&query).await?.items.first().map_or(0, number))
}

async fn follow(
    api: &Api,
    after: u64,
    filters: &[(&str, String)],
    connection: &Connection,
) -> Result<(), ClientError> {
    api.follow_threats(after, filters, each(connection, |event| show(connection, &event))).await
}

/// Prints one event of many; whether anybody still reads.
fn show(connection: &Connection, event: &Entry) -> bool {
    show_as(connection, event, |event| line(&harmless(event.clone(), connection)))
}

/// An event in one line.
fn line(event: &Entry) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("-");
    let at = output::to_the_second(text("received"));
    let (severity, standing) = (text("severity"), text("standing"));
    let (source, kind) = (text("source_ip"), text("threat_type"));
    format!("{:>6}  {at}  {severity:<8}  {source:<15}  {kind}  ({standing})", number(event))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_takes_one_line() {
        let Value::Object(event) = json!({
            "seq": 17, "received": "2026-11-21T10:00:00.25Z", "severity": "high", "source_ip": "198.51.100.23",
            "threat_type": "ssh brute force", "standing": "probation",
        }) else {
            panic!("an object")
        };
        let expected =
            "    17  2026-11-21T10:00:00Z  high      198.51.100.23    ssh brute force  (probation)";
        assert_eq!(line(&event), expected);
    }
}
