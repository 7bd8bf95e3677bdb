//! `pdl apply`: put a document in force.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use cm_client::ClientError;
use cm_client::manifests::DeclaredResource;
use cm_policy::pdl::{self, Document, Finding};
use cm_types::ResourceKind;
use serde_json::{Map, Value, json};

use super::{FOUND, document, show_diff};
use crate::{Connection, Format, Outcome, output};

/// `cryptomesh pdl apply`
#[derive(Args, Debug)]
#[command(
    after_help = "Only administrators may do this. Exit codes: 0 in force, 1 failed or suspicious, 3 refused."
)]
pub struct ApplyArgs {
    /// The document.
    pub file: PathBuf,
    /// The id of the permission policy [default: the name of the file without its ending].
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Keep it on the node without putting it in force.
    #[arg(long)]
    pub not_enforced: bool,
    /// Change nothing; say who would gain and who would lose what.
    #[arg(long)]
    pub dry_run: bool,
    /// Apply it although something about it is hardly ever meant.
    #[arg(long)]
    pub allow_suspicious: bool,
}

pub(super) async fn run(args: ApplyArgs, connection: &Connection) -> Outcome {
    let new = document(&args.file)?;
    let warnings: Vec<Finding> = pdl::check(&new).into_iter().filter(Finding::is_warning).collect();
    for warning in &warnings {
        output::note(connection, &format!("{}:{warning}", args.file.display()));
    }
    if !warnings.is_empty() && !args.allow_suspicious {
        output::error("nothing was applied; --allow-suspicious applies it all the same");
        return Ok(ExitCode::from(FOUND));
    }
    let named = || args.file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let id = args.id.clone().or_else(named).unwrap_or_default();
    let api = connection.api()?;
    let old = match api.read(ResourceKind::PermissionPolicy, &id).await {
        Ok(entry) if entry.get("enforced") == Some(&Value::Bool(true)) => in_force(&entry)?,
        Ok(_) => Document::default(),
        Err(ClientError::Refused(refusal)) if refusal.status == 404 => Document::default(),
        Err(error) => return Err(error.into()),
    };
    let mut spec = Map::new();
    spec.insert("source".to_owned(), pdl::format(&new).into());
    spec.insert("enforced".to_owned(), (!args.not_enforced).into());
    spec.extend(args.description.map(|text| ("description".to_owned(), text.into())));
    let declared = DeclaredResource {
        kind: ResourceKind::PermissionPolicy,
        id: id.clone(),
        name: None,
        labels: None,
        spec,
        if_absent: false,
    };
    let applied = api.apply(&[declared], args.dry_run).await?;
    let nothing = Document::default();
    if args.dry_run || connection.output == Format::Table {
        show_diff(&old, if args.not_enforced { &nothing } else { &new }, connection);
    }
    if !args.dry_run {
        let effect = applied.first().map(|applied| applied.effect);
        let said =
            format!("permission policy {id} is {}", if args.not_enforced { "kept" } else { "in force" });
        output::done(connection, &said, &json!({ "id": id, "effect": effect }));
    }
    Ok(ExitCode::SUCCESS)
}

fn in_force(entry: &Map<String, Value>) -> anyhow::Result<Document> {
    let source = entry.get("source").and_then(Value::as_str).unwrap_or_default();
    Ok(pdl::parse(source)?)
}
