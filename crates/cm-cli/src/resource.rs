//! `get`, `list`, `create`: the same verbs for every kind.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use cm_client::resources::{Entry, ListQuery};
use cm_types::ResourceKind;
use serde_json::{Map, Value};

use crate::kinds::kind;
use crate::{Connection, Format, Outcome, UsageError, output};

/// Most entries that `list --all` fetches.
const LIST_ALL_MAX: usize = 100_000;

/// `cryptomesh get`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cryptomesh get service imaging
  cryptomesh get roles
  cryptomesh get function filter -o yaml > filter.yaml    as a file declares it")]
pub struct GetArgs {
    /// The kind, such as function or security-policy.
    #[arg(value_parser = kind)]
    pub kind: ResourceKind,
    /// The id; all entries of the kind without it.
    pub id: Option<String>,
}

/// `cryptomesh list`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cryptomesh list function --filter microservice_id=filters
  cryptomesh list service --selector env=test --all -o yaml
  cryptomesh list function-state --filter function_id=filter --newest-first --limit 5")]
pub struct ListArgs {
    /// The kind, such as function or security-policy.
    #[arg(value_parser = kind)]
    pub kind: ResourceKind,
    /// Only entries with these labels.
    #[arg(long, short = 'l', value_name = "NAME=VALUE,...")]
    pub selector: Option<String>,
    /// Only entries whose field has this value: PATH=VALUE, such as executor=confidential, resources.cpu=2 or
    /// status.state=ready. May be repeated.
    #[arg(long, value_name = "PATH=VALUE")]
    pub filter: Vec<String>,
    /// Most entries to show.
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    pub limit: usize,
    /// Begin with what was created last.
    #[arg(long)]
    pub newest_first: bool,
    /// Show all entries, however many pages that takes.
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
}

/// `cryptomesh create`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cryptomesh create role id=reader 'permissions=[\"function:read\"]'
  cryptomesh create service --file service.json")]
pub struct CreateArgs {
    /// The kind, such as service or role.
    #[arg(value_parser = kind)]
    pub kind: ResourceKind,
    /// A JSON document; `-` reads standard input.
    #[arg(long, short)]
    pub file: Option<PathBuf>,
    /// Fields of the document: NAME=VALUE, where the value may be JSON.
    #[arg(value_name = "NAME=VALUE")]
    pub fields: Vec<String>,
}

/// Shows one entry.
pub async fn get(args: GetArgs, connection: &Connection) -> Outcome {
    let Some(id) = args.id else {
        let args = ListArgs {
            kind: args.kind,
            selector: None,
            filter: Vec::new(),
            limit: 100,
            newest_first: false,
            all: false,
        };
        return list(args, connection).await;
    };
    let entry = connection.api()?.read(args.kind, &id).await?;
    match connection.output {
        Format::Yaml => output::line(declaration(args.kind, vec![entry]).trim_end()),
        Format::Json | Format::Table => output::entry(connection, &entry),
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists entries.
pub async fn list(args: ListArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let wanted = if args.all { LIST_ALL_MAX } else { args.limit };
    let filters = args.filter.iter().map(|term| pair(term)).collect::<anyhow::Result<_>>()?;
    let mut query = ListQuery {
        selector: args.selector,
        filters,
        newest_first: args.newest_first,
        ..ListQuery::default()
    };
    let mut entries = Vec::new();
    loop {
        query.limit = Some((wanted - entries.len()).min(1000));
        let page = api.list(args.kind, &query).await?;
        entries.extend(page.items);
        query.after = page.next;
        if query.after.is_none() || entries.len() >= wanted {
            break;
        }
    }
    match connection.output {
        Format::Yaml => output::line(declaration(args.kind, entries).trim_end()),
        Format::Json | Format::Table => output::records(connection, args.kind, &entries),
    }
    if query.after.is_some() {
        output::note(connection, "there are more; use --limit or --all");
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes an entry.
pub async fn create(args: CreateArgs, connection: &Connection) -> Outcome {
    let mut document = match &args.file {
        Some(path) => read_document(path)?,
        None => Map::new(),
    };
    for field in &args.fields {
        let (name, text) = pair(field)?;
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        document.insert(name, value);
    }
    if document.is_empty() {
        return Err(UsageError("nothing to create: give --file or NAME=VALUE pairs".to_owned()).into());
    }
    let entry = connection.api()?.create(args.kind, &Value::Object(document)).await?;
    output::entry(connection, &entry);
    Ok(ExitCode::SUCCESS)
}

/// Entries as a file that declares them, or, of a kind that is not declared, as they are.
fn declaration(kind: ResourceKind, entries: Vec<Entry>) -> String {
    let declared: Option<Vec<_>> =
        entries.iter().map(|entry| cm_manifest::Declared::from_record(kind, entry)).collect();
    match declared {
        Some(declared) if !declared.is_empty() => cm_manifest::to_yaml(&declared),
        _ => output::yaml(&entries),
    }
}

pub(crate) fn pair(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| UsageError(format!("`{text}` must be NAME=VALUE")))?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) fn read_document(path: &std::path::Path) -> anyhow::Result<Map<String, Value>> {
    let mut text = String::new();
    if path == std::path::Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON object", path.display()))
}
