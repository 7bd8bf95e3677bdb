//! `top`: what runs now, as far as the node knows: instances and endpoints with their state, age and limits.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use cm_client::resources::{Entry, ListQuery};
use cm_client::{Api, ClientError};
use cm_types::{ResourceKind, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Connection, Format, Outcome, output};

/// How often the view is refreshed.
const PACE: Duration = Duration::from_secs(2);
/// Most rows of each kind.
const ROWS_MAX: usize = 1000;
/// Takes the cursor home and clears what is below (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[J";

/// `cryptomesh top`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cryptomesh top                    refreshed every 2 s until Ctrl-C
  cryptomesh top --once -o json     for scripts

Without a terminal, and with --output json or yaml, it shows what there is once. Limits are what was granted, not what is used:
the node does not measure that.")]
pub struct TopArgs {
    /// Show what there is once.
    #[arg(long)]
    pub once: bool,
}

/// Something that runs, or could.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    kind: ResourceKind,
    id: String,
    name: String,
    state: String,
    /// Since it was created.
    age_seconds: u64,
    /// What it runs: an instance its function, an endpoint its image.
    runs: String,
    /// What it was granted.
    limits: Map<String, Value>,
}

/// What there is.
#[derive(Debug, Serialize)]
struct View {
    at: String,
    rows: Vec<Row>,
    /// The kinds that are not shown: some because the caller may not list them.
    not_shown: Vec<&'static str>,
    /// Whether there is more than is shown.
    more: bool,
}

/// Shows what runs.
pub async fn run(args: TopArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let once = args.once || connection.output != Format::Table || !std::io::stdout().is_terminal();
    let view = view(&api).await?;
    if once {
        match connection.output {
            Format::Json | Format::Yaml => output::document_of(connection, &view),
            Format::Table => {
                output::line(&table(&view));
                notes(&view).iter().for_each(|note| output::note(connection, note));
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    tokio::select! {
        // In this order: Ctrl-C is listened for before anything is shown.
        biased;
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        watched = watch(&api, view) => watched?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Refreshes the view until nobody looks. While the node cannot be reached the last view stays, and says so.
async fn watch(api: &Api, first: View) -> Result<(), ClientError> {
    let mut view = first;
    let mut lost = None;
    loop {
        let title = format!("{}  {}", api.url(), view.at);
        let below = notes(&view).into_iter().chain(lost.take()).collect::<Vec<_>>().join("\n");
        if !output::line_is_read(&format!("{CLEAR}{title}\n\n{}\n\n{below}", table(&view))) {
            return Ok(());
        }
        tokio::time::sleep(PACE).await;
        match self::view(api).await {
            Ok(fresh) => view = fresh,
            Err(error @ ClientError::Unreachable { .. }) => lost = Some(error.to_string()),
            Err(error) => return Err(error),
        }
    }
}

async fn view(api: &Api) -> Result<View, ClientError> {
    let now = Timestamp::from(SystemTime::now());
    let mut view = View { at: now.to_string(), rows: Vec::new(), not_shown: Vec::new(), more: false };
    let mut refused = None;
    for kind in [ResourceKind::Instance, ResourceKind::Endpoint] {
        let query = ListQuery { limit: Some(ROWS_MAX), ..ListQuery::default() };
        match api.list(kind, &query).await {
            Ok(page) => {
                view.more |= page.next.is_some();
                view.rows.extend(page.items.iter().map(|record| row(kind, record, now)));
            }
            Err(error @ ClientError::Refused(_)) if error.exit_code() == 3 => {
                view.not_shown.push(kind.plural());
                refused = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match refused {
        Some(error) if view.not_shown.len() == 2 => Err(error),
        _ => Ok(view),
    }
}

fn row(kind: ResourceKind, record: &Entry, now: Timestamp) -> Row {
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let found = record.get("status").and_then(|status| status.get("state")).and_then(Value::as_str);
    let (state, runs, limits) = match kind {
        ResourceKind::Instance => (found.unwrap_or("starting").to_owned(), text("function"), "limits"),
        _ => (text("state"), text("image"), "resources"),
    };
    let mut limits = record.get(limits).and_then(Value::as_object).cloned().unwrap_or_default();
    if let Some(lifetime) = record.get("lifetime_seconds").filter(|lifetime| !lifetime.is_null()) {
        limits.insert("lifetime_seconds".to_owned(), lifetime.clone());
    }
    let created = text("created_at").parse::<Timestamp>().unwrap_or(now);
    let age_seconds = now.since(created).as_secs();
    Row { kind, id: text("id"), name: text("name"), state, age_seconds, runs, limits }
}

fn notes(view: &View) -> Vec<String> {
    let hidden = view.not_shown.iter().map(|kind| format!("not shown, for you may not list them: {kind}"));
    hidden.chain(view.more.then(|| format!("only {ROWS_MAX} of a kind are shown"))).collect()
}

fn table(view: &View) -> String {
    if view.rows.is_empty() {
        return "nothing runs".to_owned();
    }
    let cells = |row: &Row| -> Entry {
        let limits: Vec<String> = row
            .limits
            .iter()
            .map(|(name, value)| {
                format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            })
            .collect();
        let texts = [
            ("id", row.id.clone()),
            ("kind", row.kind.to_string()),
            ("state", row.state.clone()),
            ("age", age(row.age_seconds)),
            ("runs", row.runs.clone()),
            ("limits", limits.join(" ")),
        ];
        texts.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect()
    };
    output::table(None, &view.rows.iter().map(cells).collect::<Vec<_>>())
}

/// The two largest units of a duration.
fn age(seconds: u64) -> String {
    let (minute, hour, day) = (60, 3600, 86_400);
    if seconds < minute {
        format!("{seconds}s")
    } else if seconds < hour {
        format!("{}m{:02}s", seconds / minute, seconds % minute)
    } else if seconds < day {
        format!("{}h{:02}m", seconds / hour, seconds % hour / minute)
    } else {
        format!("{}d{:02}h", seconds / day, seconds % day / hour)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(kind: ResourceKind, record: Value, state: &str, runs: &str, limits: Value) {
        let now = "2026-01-01T00:01:30Z".parse().unwrap();
        let row = row(kind, record.as_object().unwrap(), now);
        assert_eq!((row.state.as_str(), row.runs.as_str()), (state, runs));
        assert_eq!((Value::Object(row.limits), row.age_seconds), (limits, 90));
    }

    #[test]
    fn a_row_says_what_the_record_says() {
        let created = "2026-01-01T00:00:00Z";
        check(
            ResourceKind::Instance,
            json!({"id": "i", "created_at": created, "function": "f", "limits": {"memory": "64MiB"},
                "lifetime_seconds": 60, "status": {"state": "ready"}}),
            "ready",
            "f",
            json!({"memory": "64MiB", "lifetime_seconds": 60}),
        );
        check(
            ResourceKind::Instance,
            json!({"id": "i", "created_at": created, "function": "f", "limits": {}, "status": null}),
            "starting",
            "f",
            json!({}),
        );
        check(
            ResourceKind::Endpoint,
            json!({"id": "e", "created_at": created, "image": "i:1", "state": "cold", "resources": {"cpu": 2, "ram": "1GB"}}),
            "cold",
            "i:1",
            json!({"cpu": 2, "ram": "1GB"}),
        );
    }

    #[test]
    fn an_age_has_two_units() {
        for (seconds, expected) in
            [(0, "0s"), (59, "59s"), (61, "1m01s"), (3600, "1h00m"), (90_000, "1d01h"), (864_000, "10d00h")]
        {
            assert_eq!(age(seconds), expected);
        }
    }
}
