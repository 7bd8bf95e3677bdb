//! `describe`: one resource with everything around it.

use std::process::ExitCode;

use clap::Args;
use cm_client::resources::{Entry, ListQuery};
use cm_client::{Api, ClientError};
use cm_types::ResourceKind;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::kinds::{self, LINKS, Link, kind};
use crate::{Connection, Format, Outcome, events, output};

/// How many states, results and events are shown.
const NEWEST: usize = 5;
/// Most referring resources that are shown of one kind and field.
const REFERRING_MAX: usize = 20;
/// Most pages that are read for them: a page may be short, for the node looks at a bounded number of records for each.
const PAGES_MAX: usize = 50;

/// `cryptomesh describe`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cryptomesh describe service imaging
  cryptomesh describe function filter -o yaml

Shows all fields, what it refers to and what refers to it, each with its name, and its newest states, results and events.
What you may not list is left out, and said so.")]
pub struct DescribeArgs {
    /// The kind, such as service or function.
    #[arg(value_parser = kind)]
    pub kind: ResourceKind,
    /// The id.
    pub id: String,
}

/// Something that a resource refers to, or that refers to it.
#[derive(Debug, Serialize)]
struct Related {
    /// The field that refers.
    field: String,
    /// The other one, `kind/id`.
    resource: String,
    /// Its name; `null` if it has none, is gone or may not be read.
    name: Option<String>,
    /// Whether it can be read: one that is gone, or hidden from the caller, cannot.
    found: bool,
}

/// A resource with everything around it.
#[derive(Debug, Serialize)]
struct Description {
    record: Entry,
    refers_to: Vec<Related>,
    referred_to_by: Vec<Related>,
    /// States and results by their kind's plural, newest first.
    newest: Map<String, Value>,
    /// Oldest first, as the log has them.
    newest_events: Vec<Entry>,
    /// The kinds of which the caller may not know.
    not_shown: Vec<String>,
}

/// Shows one resource.
pub async fn run(args: DescribeArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let DescribeArgs { kind, id } = args;
    let record = api.read(kind, &id).await?;
    let mut hidden = Hidden::default();
    let refers_to = refers_to(&api, kind, &record).await?;
    let (mut referred_to_by, mut newest) = (Vec::new(), Map::new());
    for link in LINKS.iter().filter(|link| link.to == kind) {
        if kinds::is_history(link.from) {
            let query = query(link, &id, NEWEST);
            if let Some(page) = hidden.unless(link.from, api.list(link.from, &query).await)? {
                let entries = page.items.into_iter().map(Value::Object).collect();
                newest.insert(link.from.plural().to_owned(), entries);
            }
        } else if let Some(referring) = hidden.unless(link.from, referring(&api, link, &id).await)? {
            referred_to_by.extend(referring);
        }
    }
    let about = [("resource", format!("{kind}/{id}"))];
    let events = api.newest_events(NEWEST, &about).await;
    let newest_events = hidden.unless(ResourceKind::Event, events)?.unwrap_or_default();
    let not_shown = hidden.0;
    let described = Description { record, refers_to, referred_to_by, newest, newest_events, not_shown };
    match connection.output {
        Format::Json | Format::Yaml => output::document_of(connection, &described),
        Format::Table => show(&described, connection),
    }
    Ok(ExitCode::SUCCESS)
}

/// The kinds of which the caller may not know.
#[derive(Default)]
struct Hidden(Vec<String>);

impl Hidden {
    /// What was found, unless the caller may not know of the kind.
    fn unless<T>(
        &mut self,
        kind: ResourceKind,
        found: Result<T, ClientError>,
    ) -> Result<Option<T>, ClientError> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_status(&error, 403) => {
                let name = kind.plural().to_owned();
                if !self.0.contains(&name) {
                    self.0.push(name);
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn is_status(error: &ClientError, status: u16) -> bool {
    matches!(error, ClientError::Refused(refusal) if refusal.status == status)
}

fn query(link: &Link, id: &str, limit: usize) -> ListQuery {
    let filters = vec![(link.field.to_owned(), id.to_owned())];
    ListQuery { limit: Some(limit), filters, newest_first: true, ..ListQuery::default() }
}

fn name_of(record: &Entry) -> Option<String> {
    ["name", "display_name"].iter().find_map(|name| record.get(*name)?.as_str().map(str::to_owned))
}

async fn refers_to(api: &Api, kind: ResourceKind, record: &Entry) -> Result<Vec<Related>, ClientError> {
    let mut related = Vec::new();
    let mut relate = async |field: &str, to: ResourceKind, id: &str| {
        let (name, found) = match api.read(to, id).await {
            Ok(record) => (name_of(&record), true),
            Err(error) if is_status(&error, 404) || is_status(&error, 403) => (None, false),
            Err(error) => return Err(error),
        };
        related.push(Related { field: field.to_owned(), resource: format!("{to}/{id}"), name, found });
        Ok(())
    };
    for link in LINKS.iter().filter(|link| link.from == kind) {
        for id in link.ids(record) {
            relate(link.field, link.to, id).await?;
        }
    }
    // What an event is about is said with its kind.
    if kind == ResourceKind::Event
        && let Some((to, id)) =
            record.get("resource").and_then(Value::as_str).and_then(|to| to.split_once('/'))
        && let Ok(to) = kinds::kind(to)
    {
        relate("resource", to, id).await?;
    }
    Ok(related)
}

async fn referring(api: &Api, link: &Link, id: &str) -> Result<Vec<Related>, ClientError> {
    let mut related = Vec::new();
    // Principals cannot be filtered, nor asked for in any order.
    let mut query = match link.from {
        ResourceKind::Principal => ListQuery { limit: Some(1000), ..ListQuery::default() },
        _ => query(link, id, REFERRING_MAX),
    };
    for _ in 0..PAGES_MAX {
        let page = api.list(link.from, &query).await?;
        for record in page.items.iter().filter(|record| link.ids(record).contains(&id)) {
            let resource =
                format!("{}/{}", link.from, record.get("id").and_then(Value::as_str).unwrap_or("?"));
            related.push(Related {
                field: link.field.to_owned(),
                resource,
                name: name_of(record),
                found: true,
            });
        }
        query.after = page.next;
        if query.after.is_none() || related.len() >= REFERRING_MAX {
            break;
        }
    }
    related.truncate(REFERRING_MAX);
    Ok(related)
}

fn show(described: &Description, connection: &Connection) {
    output::entry(connection, &described.record);
    related("REFERS TO", &described.refers_to);
    related("REFERRED TO BY", &described.referred_to_by);
    for (name, entries) in &described.newest {
        let entries: Vec<Entry> =
            entries.as_array().into_iter().flatten().filter_map(|entry| entry.as_object().cloned()).collect();
        section(
            &format!("NEWEST {}", name.to_uppercase()),
            ResourceKind::ALL.iter().find(|kind| kind.plural() == name),
            &entries,
        );
    }
    if !described.newest_events.is_empty() {
        output::line(&format!("\nNEWEST EVENTS\n{}", events::paragraphs(&described.newest_events)));
    }
    if !described.not_shown.is_empty() {
        output::note(
            connection,
            &format!("not shown, for you may not list them: {}", described.not_shown.join(", ")),
        );
    }
}

fn related(title: &str, all: &[Related]) {
    let row = |related: &Related| {
        let name = match (&related.name, related.found) {
            (Some(name), _) => name.clone(),
            (None, true) => String::new(),
            (None, false) => "(not there, or not for you to see)".to_owned(),
        };
        Map::from_iter([
            ("resource".to_owned(), related.resource.clone().into()),
            ("name".to_owned(), name.into()),
            ("field".to_owned(), related.field.clone().into()),
        ])
    };
    section(title, None, &all.iter().map(row).collect::<Vec<_>>());
}

fn section(title: &str, kind: Option<&ResourceKind>, entries: &[Entry]) {
    if !entries.is_empty() {
        output::line(&format!("\n{title}\n{}", output::table(kind.copied(), entries)));
    }
}
