//! `intel feed`: what others publish, asked for again and again.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use cm_client::resources::Entry;
use serde_json::{Map, Value, json};

use super::harmless;
use crate::{Connection, Format, Outcome, output, session};

/// How often is asked how far a pull is.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often that is told.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// `cryptomesh intel feed …`
#[derive(Debug, Subcommand)]
pub enum FeedCommand {
    /// Ask a feed from now on.
    Add(FeedAddArgs),
    /// Show feeds and how they are.
    #[command(alias = "list")]
    Ls,
    /// Show how a feed is, with counts.
    Show(FeedArgs),
    /// Remove a feed with everything that it said.
    #[command(alias = "remove")]
    Rm(FeedArgs),
    /// Ask a feed now, and wait until that is over.
    Pull(FeedArgs),
}

/// What a feed speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A collection of a TAXII 2.1 server.
    Taxii,
    /// A directory with a manifest and an event of MISP a file.
    Misp,
}

/// `cryptomesh intel feed add`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cryptomesh intel feed add partners https://taxii.example/root/collections/91a7b528-80eb-42ed-a74d-c6fbd5a26116/ --secret
  cryptomesh intel feed add circl https://www.circl.lu/doc/misp/feed-osint/ --kind misp --weight 30

The node talks to the address that you give, and to no other: redirects are not followed. A secret needs https.")]
pub struct FeedAddArgs {
    /// What it is called.
    pub id: String,
    /// The address of the collection, or of the directory of the manifest.
    // Not `url`: that is the node's.
    #[arg(value_name = "URL")]
    pub address: String,
    /// What it speaks.
    #[arg(long, value_enum, default_value_t = Kind::Taxii)]
    pub kind: Kind,
    /// Ask it with a secret, which is asked for or read from standard input: a bearer token, or the password of --username.
    #[arg(long)]
    pub secret: bool,
    /// The name that goes with the secret.
    #[arg(long, value_name = "NAME", requires = "secret")]
    pub username: Option<String>,
    /// How much its word counts, 0 to 100.
    #[arg(long, value_name = "PERCENT", default_value_t = 20)]
    pub weight: u8,
    /// How often it is asked, in seconds, 60 at least.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub every: u64,
    /// The marking of what bears none.
    #[arg(long, value_name = "MARKING", default_value = "amber", value_parser = ["clear", "green", "amber", "amber-strict", "red"])]
    pub unmarked: String,
}

/// `cryptomesh intel feed show|rm|pull`
#[derive(Args, Debug)]
pub struct FeedArgs {
    /// What it is called.
    pub id: String,
}

pub(super) async fn run(command: FeedCommand, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    match command {
        FeedCommand::Add(args) => {
            let added = api.add_feed(&Value::Object(body(args)?)).await?;
            output::entry(connection, &harmless(added, connection));
        }
        FeedCommand::Ls => {
            let found = api.feeds().await?;
            let found: Vec<Entry> = found.into_iter().map(|entry| brief(entry, connection)).collect();
            output::entries(connection, &found);
        }
        FeedCommand::Show(FeedArgs { id }) => {
            output::entry(connection, &harmless(api.feed(&id).await?, connection));
        }
        FeedCommand::Rm(FeedArgs { id }) => {
            api.remove_feed(&id).await?;
            output::done(connection, &format!("feed {id} removed"), &json!({ "removed": id }));
        }
        FeedCommand::Pull(FeedArgs { id }) => return pull(&id, connection).await,
    }
    Ok(ExitCode::SUCCESS)
}

fn body(args: FeedAddArgs) -> anyhow::Result<Map<String, Value>> {
    let FeedAddArgs { id, address, kind, secret, username, weight, every, unmarked } = args;
    let secret = match secret {
        true => Some(session::ask_secret(&format!("Secret of {id}: "))?),
        false => None,
    };
    let kind = match kind {
        Kind::Taxii => "taxii",
        Kind::Misp => "misp",
    };
    let body = json!({
        "id": id, "url": address, "kind": kind, "username": username, "secret": secret, "weight": weight, "every_secs": every,
        "unmarked": unmarked,
    });
    Ok(body.as_object().cloned().unwrap_or_default())
}

/// A feed on one line.
fn brief(entry: Entry, connection: &Connection) -> Entry {
    if connection.output != Format::Table {
        return entry;
    }
    let shown =
        ["id", "kind", "url", "weight", "activity", "indicators", "last_success", "last_failure_reason"];
    let shown = shown.iter().filter_map(|name| Some(((*name).to_owned(), entry.get(*name)?.clone())));
    harmless(shown.collect(), connection)
}

async fn pull(id: &str, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let mut feed = api.pull_feed(id).await?;
    let failed_before = feed.get("last_failure").cloned();
    let mut told = Instant::now();
    while feed.get("activity").and_then(Value::as_str) != Some("waiting") {
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            let count = |name: &str| feed.get(name).and_then(Value::as_u64).unwrap_or(0);
            output::note(
                connection,
                &format!("{} read, {} indicators hold", count("read"), count("indicators")),
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
        feed = api.feed(id).await?;
    }
    let has_failed = feed.get("last_failure") != failed_before.as_ref();
    output::entry(connection, &harmless(feed, connection));
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
