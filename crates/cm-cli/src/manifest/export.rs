//! `export`: what a node has, as a file that declares it.

use std::process::ExitCode;

use clap::Args;
use cm_client::manifests::DECLARATIONS_MAX;
use cm_client::resources::{Entry, ListQuery};
use cm_client::{Api, ClientError};
use cm_manifest::{Declared, FILE_LEN_MAX};
use cm_types::{PrincipalId, ResourceKind};

use crate::{Connection, Format, Outcome, output};

/// The kinds that files declare.
const DECLARABLE: [ResourceKind; 10] = [
    ResourceKind::Role,
    ResourceKind::SecurityPolicy,
    ResourceKind::PermissionPolicy,
    ResourceKind::Bucket,
    ResourceKind::Storage,
    ResourceKind::Endpoint,
    ResourceKind::Service,
    ResourceKind::Microservice,
    ResourceKind::Function,
    ResourceKind::ActiveObject,
];
/// Most entries of a page.
const PAGE_LEN: usize = 1000;
/// Most entries that are exported of one kind.
const ENTRIES_MAX: usize = 1_000_000;

/// `cryptomesh export`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cryptomesh export > mesh.yml
  cryptomesh export services microservices --selector env=test
  cryptomesh export --all | cryptomesh apply --url https://other.example -f -

Writes what files can declare and you may read, in the form that `apply` reads.")]
pub struct ExportArgs {
    /// The kinds, such as service or security-policies; without any, all that can be declared.
    #[arg(value_parser = declarable)]
    pub kinds: Vec<ResourceKind>,
    /// Only entries with these labels: NAME=VALUE,...
    #[arg(long, short = 'l')]
    pub selector: Option<String>,
    /// Also what nobody declared: what every node has from the start, and functions of active objects.
    #[arg(long)]
    pub all: bool,
}

/// Writes declarations.
pub async fn run(args: ExportArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let wanted = |kind: &ResourceKind| args.kinds.is_empty() || args.kinds.contains(kind);
    let mut declared = Vec::new();
    let mut denied = Vec::new();
    for kind in DECLARABLE.iter().filter(|kind| wanted(kind)) {
        match entries(&api, *kind, args.selector.as_deref()).await {
            Ok(entries) => {
                let exported = entries.iter().filter(|entry| args.all || !is_derived(*kind, entry));
                declared.extend(exported.filter_map(|entry| Declared::from_record(*kind, entry)));
            }
            // What was not asked for by name is left out where it may not be seen, unless that is everything.
            Err(error) if error.exit_code() == 3 && args.kinds.is_empty() => denied.push((*kind, error)),
            Err(error) => return Err(error.into()),
        }
    }
    if denied.len() == DECLARABLE.len()
        && let Some((_, error)) = denied.pop()
    {
        return Err(error.into());
    }
    for (kind, _) in denied {
        output::note(connection, &format!("you may not list {}; they are left out", kind.plural()));
    }
    let yaml = cm_manifest::to_yaml(&declared);
    if declared.len() > DECLARATIONS_MAX || yaml.len() > FILE_LEN_MAX {
        let limits = format!("{DECLARATIONS_MAX} resources and {FILE_LEN_MAX} bytes");
        output::note(
            connection,
            &format!("this is more than one file may declare ({limits}); export its kinds apart"),
        );
    }
    match connection.output {
        Format::Json => output::document_of(connection, &documents(&declared)),
        Format::Table | Format::Yaml => output::line(yaml.strip_suffix('\n').unwrap_or(&yaml)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a kind as an argument, in singular or plural.
fn declarable(text: &str) -> Result<ResourceKind, String> {
    let named = |kind: &&ResourceKind| [kind.as_str(), kind.plural()].contains(&text);
    DECLARABLE.iter().find(named).copied().ok_or_else(|| {
        let known: Vec<_> = DECLARABLE.iter().map(|kind| kind.as_str()).collect();
        format!("files declare {}", known.join(", "))
    })
}

async fn entries(api: &Api, kind: ResourceKind, selector: Option<&str>) -> Result<Vec<Entry>, ClientError> {
    let mut query =
        ListQuery { limit: Some(PAGE_LEN), selector: selector.map(str::to_owned), ..ListQuery::default() };
    let mut entries = Vec::new();
    loop {
        let page = api.list(kind, &query).await?;
        entries.extend(page.items);
        query.after = page.next;
        if query.after.is_none() || entries.len() >= ENTRIES_MAX {
            return Ok(entries);
        }
    }
}

/// Whether nobody declared it. What the node makes when it starts for the first time is its own: roles, and the bucket of
/// programs. A function of an active object follows from its code: under an id of its own on every node.
fn is_derived(kind: ResourceKind, entry: &Entry) -> bool {
    let text = |field: &str| entry.get(field).and_then(serde_json::Value::as_str);
    let of_code = kind == ResourceKind::Function && text("active_object_id").is_some();
    of_code || text("owner") == Some(PrincipalId::node().as_str())
}

/// The declarations as the API takes them.
fn documents(declared: &[Declared]) -> serde_json::Value {
    let resources: Vec<_> = declared
        .iter()
        .map(|one| {
            serde_json::json!({
                "kind": one.kind, "id": one.id, "name": one.name, "labels": one.labels, "spec": one.spec,
            })
        })
        .collect();
    serde_json::json!({ "resources": resources })
}
