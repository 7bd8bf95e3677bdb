//! The page of nodes, jobs and steps. The first system showed it to anybody, with every value; here it takes a credential and shows none.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use cm_door::Caller;
use cm_http::Failure;
use cm_kernel::policy::List;
use cm_mpc::state_of;
use cm_types::ResourceKind;
use serde_json::Value;

use super::jobs::{own_jobs, status, steps_of};
use super::{Shamira, nodes};

pub(super) async fn show(State(shamira): State<Shamira>, caller: Caller) -> Result<Response, Failure> {
    let kernel = shamira.kernel();
    kernel.authorize::<List>(&caller, ResourceKind::Computation).await.map_err(cm_door::refusal)?;
    let nodes = nodes::all(&shamira).await?;
    let mut page = "<!doctype html><title>Shamira</title><h1>Nodes</h1>".to_owned();
    page.push_str(&table(&["id", "alias", "hostname", "health_status"], &nodes));
    page.push_str("<h1>Jobs</h1>");
    for record in own_jobs(&shamira, &caller).await? {
        let (name, state) = (escaped(record.header.name.as_str()), status(state_of(&record)));
        // Nothing that is written to a text of this kind fails.
        let _ = write!(page, "<h2>{name}: {state}</h2>");
        page.push_str(&table(&["id", "operation", "variable_name", "status"], &steps_of(&record)));
    }
    let policy = HeaderValue::from_static("default-src 'none'");
    Ok(([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response())
}

fn table(columns: &[&str], rows: &[Value]) -> String {
    let mut table = "<table><tr>".to_owned();
    for column in columns {
        let _ = write!(table, "<th>{column}</th>");
    }
    for row in rows {
        table.push_str("</tr><tr>");
        for column in columns {
            let text = match &row[*column] {
                Value::String(text) => escaped(text),
                Value::Null => String::new(),
                other => escaped(&other.to_string()),
            };
            let _ = write!(table, "<td>{text}</td>");
        }
    }
    table.push_str("</tr></table>");
    table
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_on_the_page() {
        let rows = [serde_json::json!({ "alias": "<script>alert('&')</script>", "id": 1 })];
        assert_eq!(
            table(&["id", "alias", "gone"], &rows),
            "<table><tr><th>id</th><th>alias</th><th>gone</th></tr>\
             <tr><td>1</td><td>&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;</td><td></td></tr></table>"
        );
    }
}
