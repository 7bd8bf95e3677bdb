//! `intel`: report threats, see what others report, and who they are.

mod events;
mod feed;
mod import;
mod lines;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use cm_client::resources::Entry;
use cm_types::ResourceKind;
use serde_json::{Map, Value, json};

use crate::{Connection, Format, Outcome, UsageError, output};

/// Entries of one page: as many as a node sends.
const PAGE: usize = 1000;

pub use events::EventsArgs;

/// `cryptomesh intel …`
#[derive(Debug, Subcommand)]
pub enum IntelCommand {
    /// Show how threat intelligence is doing.
    Status,
    /// Report a threat: the node signs the report and shares it with its peers.
    Report(ReportArgs),
    /// Show what was reported, the newest last.
    Events(EventsArgs),
    /// Say that an event is false, which is held against its reporter.
    Dismiss(DismissArgs),
    /// Show links to peers, and peers that cannot be reached.
    Peers,
    /// Add peers and remove them.
    #[command(subcommand)]
    Peer(PeerCommand),
    /// Ask feeds of others, by TAXII or of MISP, again and again.
    #[command(subcommand)]
    Feed(feed::FeedCommand),
    /// Show sources of threats and how much of it is to be believed.
    Indicators(IndicatorsArgs),
    /// Show what is held of reporters.
    Reporters(IndicatorsArgs),
    /// Say what is held of a reporter, and why.
    Why(WhyArgs),
    /// Write indicators for other tools, or events as they were signed.
    Export(ExportArgs),
    /// Take in events from a file: signed ones, CSV, or lines of a log.
    Import(import::ImportArgs),
}

/// `cryptomesh intel report`
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  cryptomesh intel report 198.51.100.23 --type 'ssh brute force' --severity high")]
pub struct ReportArgs {
    /// Where the threat comes from: an address as a rule.
    pub source: String,
    /// What it is.
    #[arg(long = "type", value_name = "TEXT")]
    pub threat_type: String,
    /// How grave it is: low, medium, high or critical as a rule.
    #[arg(long, default_value = "medium", value_name = "TEXT")]
    pub severity: String,
    /// With whom it may be shared; peers are given clear and green.
    #[arg(long, value_name = "MARKING", value_parser = ["clear", "green", "amber", "amber-strict", "red"])]
    pub tlp: Option<String>,
}

/// `cryptomesh intel dismiss`
#[derive(Args, Debug)]
pub struct DismissArgs {
    /// The number of the event.
    pub seq: u64,
}

/// `cryptomesh intel peer …`
#[derive(Debug, Subcommand)]
pub enum PeerCommand {
    /// Share reports with a peer from now on.
    Add(PeerAddArgs),
    /// Share with it no more.
    Remove(PeerRemoveArgs),
}

/// `cryptomesh intel peer add`
#[derive(Args, Debug)]
pub struct PeerAddArgs {
    /// Where the peer is, HOST:PORT.
    pub address: String,
    /// The key that it must have, which its `intel status` shows as `link_key`; without one it is spoken to in the clear.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// What the peer is called; made from the address unless told.
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
}

/// `cryptomesh intel peer remove`
#[derive(Args, Debug)]
pub struct PeerRemoveArgs {
    /// What the peer is called.
    pub id: String,
}

/// `cryptomesh intel indicators`, `cryptomesh intel reporters`
#[derive(Args, Debug)]
pub struct IndicatorsArgs {
    /// Most entries to show.
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    pub limit: usize,
}

/// `cryptomesh intel why`
#[derive(Args, Debug)]
pub struct WhyArgs {
    /// The reporter: the SHA-256 of its key, or the beginning of it.
    pub key: String,
}

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// An address a line.
    Plain,
    /// Sets for `nft -f`.
    Nftables,
    /// A Sigma rule.
    Sigma,
    /// Events as they were signed, a JSON document a line; `import` reads them.
    Events,
}

/// `cryptomesh intel export`
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// The form.
    #[arg(long, value_enum, default_value_t = ExportFormat::Plain)]
    pub format: ExportFormat,
    /// Only indicators of at least this confidence, 0 to 100.
    #[arg(long, default_value_t = 50, value_name = "PERCENT")]
    pub confidence: u8,
}

/// Runs one of them.
pub async fn run(command: IntelCommand, connection: &Connection) -> Outcome {
    match command {
        IntelCommand::Status => {
            output::entry(connection, &connection.api()?.intel_status().await?);
        }
        IntelCommand::Report(args) => {
            let ReportArgs { source, threat_type, severity, tlp } = args;
            let api = connection.api()?;
            let stored = api.report_threat(&source, &threat_type, &severity, tlp.as_deref()).await?;
            output::entry(connection, &shown(stored, connection));
        }
        IntelCommand::Events(args) => return events::run(args, connection).await,
        IntelCommand::Dismiss(DismissArgs { seq }) => {
            let held = connection.api()?.dismiss_threat_event(seq).await?;
            output::entry(connection, &explained(held, connection));
        }
        IntelCommand::Peers => output::entries(connection, &connection.api()?.intel_links().await?),
        IntelCommand::Peer(PeerCommand::Add(args)) => add_peer(args, connection).await?,
        IntelCommand::Peer(PeerCommand::Remove(PeerRemoveArgs { id })) => {
            connection.api()?.remove(ResourceKind::IntelPeer, &id).await?;
            output::done(connection, &format!("peer {id} removed"), &json!({ "removed": id }));
        }
        IntelCommand::Feed(command) => return feed::run(command, connection).await,
        IntelCommand::Indicators(IndicatorsArgs { limit }) => {
            let query = [("limit", limit.to_string())];
            let found = connection.api()?.indicators(&query).await?.items;
            let found: Vec<Entry> = found.into_iter().map(|entry| harmless(entry, connection)).collect();
            output::entries(connection, &found);
        }
        IntelCommand::Reporters(IndicatorsArgs { limit }) => reporters(limit, connection).await?,
        IntelCommand::Why(args) => why(args, connection).await?,
        IntelCommand::Export(args) => export(args, connection).await?,
        IntelCommand::Import(args) => return import::run(args, connection).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// An event for people: without what only programs read.
fn shown(mut event: Entry, connection: &Connection) -> Entry {
    if connection.output == Format::Table {
        for name in ["reporter_pubkey", "signature"] {
            event.remove(name);
        }
    }
    harmless(event, connection)
}

/// What strangers wrote must not command the terminal of whoever reads it.
fn harmless(mut entry: Entry, connection: &Connection) -> Entry {
    if connection.output == Format::Table {
        entry.values_mut().for_each(without_controls);
    }
    entry
}

fn without_controls(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(char::is_control) => {
            *text = text.replace(char::is_control, "\u{fffd}");
        }
        Value::Array(items) => items.iter_mut().for_each(without_controls),
        _ => {}
    }
}

async fn add_peer(args: PeerAddArgs, connection: &Connection) -> anyhow::Result<()> {
    let PeerAddArgs { address, key, id } = args;
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
    let id = id
        .unwrap_or_else(|| address.chars().map(plain).collect::<String>().trim_start_matches('_').to_owned());
    let mut body = Map::new();
    body.insert("id".to_owned(), id.into());
    body.insert("address".to_owned(), address.into());
    if let Some(key) = key {
        body.insert("key".to_owned(), key.into());
    }
    let created = connection.api()?.create(ResourceKind::IntelPeer, &Value::Object(body)).await?;
    output::entry(connection, &created);
    Ok(())
}

async fn reporters(limit: usize, connection: &Connection) -> anyhow::Result<()> {
    let found = connection.api()?.reputations(&[("limit", limit.to_string())]).await?.items;
    let brief = |mut entry: Entry| {
        if connection.output == Format::Table {
            for name in ["reasons", "history", "mode", "first_seen"] {
                entry.remove(name);
            }
        }
        entry
    };
    output::entries(connection, &found.into_iter().map(brief).collect::<Vec<_>>());
    Ok(())
}

async fn why(args: WhyArgs, connection: &Connection) -> anyhow::Result<()> {
    let api = connection.api()?;
    let key = if args.key.len() < 64 { whole_key(&api, &args.key).await? } else { args.key };
    output::entry(connection, &explained(api.reputation(&key).await?, connection));
    Ok(())
}

/// The one key that begins so.
async fn whole_key(api: &cm_client::Api, beginning: &str) -> anyhow::Result<String> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let mut query = vec![("limit", PAGE.to_string())];
        query.extend(after.map(|after| ("after", after)));
        let page = api.reputations(&query).await?;
        let keys = page.items.iter().filter_map(|entry| entry.get("key").and_then(Value::as_str));
        found.extend(keys.filter(|key| key.starts_with(&beginning.to_lowercase())).map(str::to_owned));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    match found.as_slice() {
        [key] => Ok(key.clone()),
        [] => Err(UsageError(format!("no reporter's key begins with `{beginning}`")).into()),
        _ => {
            Err(UsageError(format!("{} keys begin with `{beginning}`; give more of it", found.len())).into())
        }
    }
}

/// What is held of a reporter, with a line for each reason.
fn explained(mut held: Entry, connection: &Connection) -> Entry {
    if connection.output != Format::Table {
        return held;
    }
    held.remove("history");
    let reasons = held.remove("reasons").and_then(|reasons| reasons.as_array().cloned()).unwrap_or_default();
    for (number, reason) in reasons.iter().enumerate() {
        let effect = reason.get("effect").and_then(Value::as_f64).unwrap_or(0.0);
        let what = reason.get("what").and_then(Value::as_str).unwrap_or_default();
        held.insert(format!("because_{}", number + 1), format!("{effect:+.2}  {what}").into());
    }
    held
}

async fn export(args: ExportArgs, connection: &Connection) -> anyhow::Result<()> {
    let api = connection.api()?;
    let format = match args.format {
        ExportFormat::Plain => "plain",
        ExportFormat::Nftables => "nftables",
        ExportFormat::Sigma => "sigma",
        ExportFormat::Events => return export_events(&api).await,
    };
    output::line(api.export_indicators(format, args.confidence).await?.trim_end_matches('\n'));
    Ok(())
}

/// Every event that may leave the node, as it was signed.
async fn export_events(api: &cm_client::Api) -> anyhow::Result<()> {
    let mut after = 0;
    loop {
        let query = [("after", after.to_string()), ("limit", PAGE.to_string())];
        let page = api.threat_events(&query).await?;
        for event in &page.items {
            if event.get("tlp").and_then(Value::as_str) == Some("red") {
                continue;
            }
            let signed = [
                "id",
                "source_ip",
                "threat_type",
                "severity",
                "timestamp",
                "reporter_pubkey",
                "signature",
                "tlp",
            ];
            let kept: BTreeMap<&str, &Value> =
                signed.iter().filter_map(|name| Some((*name, event.get(*name)?))).collect();
            if !output::line_is_read(&serde_json::to_string(&kept)?) {
                return Ok(());
            }
        }
        match page.next.and_then(|next| next.parse().ok()).filter(|next| *next > after) {
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_wrote_cannot_command_a_terminal() {
        let mut value = json!(["\u{1b}[2Jgone", "plain — ünïcode", "\u{9b}31m\u{7f}"]);
        without_controls(&mut value);
        assert_eq!(value, json!(["\u{fffd}[2Jgone", "plain — ünïcode", "\u{fffd}31m\u{fffd}"]));
    }
}
