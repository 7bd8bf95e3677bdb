//! `audit`: read, follow and verify the event log.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::{Connection, Format, Outcome, events, output};

/// `cryptomesh audit …`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check every record of the log; name the first that was altered, removed or moved.
    Verify(VerifyArgs),
    /// Show records.
    Log(LogArgs),
    /// Print the head of the log, to be kept elsewhere as an anchor.
    Head,
}

/// `cryptomesh audit verify`
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// A head kept from earlier; finds a log that was rolled back as a whole.
    #[arg(long)]
    pub anchor: Option<String>,
    /// Read the data directory itself instead of asking its node. The node must not be running.
    #[arg(long)]
    pub offline: bool,
}

/// `cryptomesh audit log`
#[derive(Args, Debug)]
pub struct LogArgs {
    /// Begin after this sequence number.
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub after: u64,
    /// Most records to show.
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    pub limit: usize,
    /// Only verbs that begin with this, such as `function.`.
    #[arg(long)]
    pub verb: Option<String>,
    /// Only records about this resource.
    #[arg(long, value_name = "KIND/ID")]
    pub resource: Option<String>,
    /// Go on as records are written, one JSON document a line.
    #[arg(long, short)]
    pub follow: bool,
}

/// Runs one of them. `audit verify --offline` does not come here: it needs no node.
pub async fn run(command: AuditCommand, connection: &Connection) -> Outcome {
    match command {
        AuditCommand::Verify(args) => verify(args, connection).await,
        AuditCommand::Log(args) => log(args, connection).await,
        AuditCommand::Head => {
            let head = connection.api()?.events_head().await?;
            output::entry(connection, &head);
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn verify(args: VerifyArgs, connection: &Connection) -> Outcome {
    let outcome = connection.api()?.verify_events(args.anchor.as_deref()).await?;
    report(&serde_json::to_value(&outcome)?, outcome.intact, outcome.records, connection);
    Ok(if outcome.intact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what a verification found.
pub fn report(outcome: &serde_json::Value, intact: bool, records: u64, connection: &Connection) {
    match connection.output {
        Format::Json => output::line(&outcome.to_string()),
        Format::Yaml => output::document_of(connection, outcome),
        Format::Table if intact => output::line(&format!("intact: {records} records")),
        Format::Table => {
            output::line(&format!("NOT INTACT, after {records} records checked"));
            let findings = outcome.get("findings").and_then(serde_json::Value::as_array);
            for finding in findings.into_iter().flatten() {
                let text = |name: &str| finding.get(name).map_or_else(String::new, plain);
                output::line(&format!("  record {}: {}: {}", text("seq"), text("what"), text("detail")));
            }
        }
    }
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

async fn log(args: LogArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let filters = events::filters(&[("verb", &args.verb), ("resource", &args.resource)]);
    if args.follow {
        // Documents, whatever is asked for: the log is what programs read.
        let connection = Connection { output: Format::Json, ..connection.clone() };
        return events::follow(&api, args.after, &filters, &connection).await;
    }
    let page = api.events(args.after, args.limit, &filters).await?;
    events::listing(connection, &page.items);
    Ok(ExitCode::SUCCESS)
}
