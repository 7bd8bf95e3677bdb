//! Declaring many resources at once, and asking what that would change.

use cm_types::{Labels, ResourceKind};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Api, ClientError, Refusal};

/// Most resources that a node applies at once.
pub const DECLARATIONS_MAX: usize = 5000;

/// A resource that shall be so.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeclaredResource {
    /// The kind.
    pub kind: ResourceKind,
    /// The id.
    pub id: String,
    /// The name; without one, a new resource is called by its id and an old one keeps its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// All labels; without any, an old resource keeps its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// The kind's own fields, all of them: those that are not named get their defaults.
    pub spec: Map<String, Value>,
    /// Whether a resource that exists is left as it is.
    pub if_absent: bool,
}

/// What becomes of a declared resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// There was none.
    Created,
    /// It was different.
    Changed,
    /// It is so already.
    Unchanged,
}

/// What became, or would become, of one declared resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// The kind.
    pub kind: ResourceKind,
    /// The id.
    pub id: String,
    /// What became of it.
    pub effect: Effect,
    /// The fields that change; of what is created none.
    pub changes: Vec<FieldDifference>,
}

/// A field that changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldDifference {
    /// Where: `name`, `labels.env`, `resources.cpu`.
    pub path: String,
    /// What it was; `null` if it was absent.
    pub before: Value,
    /// What it becomes; `null` if it goes.
    pub after: Value,
}

impl Api {
    /// Makes everything so that is declared, in one transaction, or says what that would change. The answer has the order of
    /// the declarations. On a refusal nothing has changed; [`Refusal::place`] says what it is about.
    pub async fn apply(
        &self,
        resources: &[DeclaredResource],
        dry_run: bool,
    ) -> Result<Vec<Applied>, ClientError> {
        #[derive(Serialize)]
        struct Body<'a> {
            resources: &'a [DeclaredResource],
        }
        #[derive(Deserialize)]
        struct Answer {
            resources: Vec<Applied>,
        }
        let mut request = self.request(Method::POST, "/api/v1/manifests")?.json(&Body { resources });
        if dry_run {
            request = request.query(&[("dry_run", "true")]);
        }
        let answer: Answer = self.json(self.send(request).await?).await?;
        Ok(answer.resources)
    }
}

/// Where in a manifest a refusal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The index of the resource in what was sent.
    pub index: usize,
    /// What is wrong there: the path of a field, or nothing for the resource itself, and the reason.
    pub findings: Vec<(String, String)>,
}

impl Refusal {
    /// What a refused manifest is refused for; `None` if that is no resource of it.
    pub fn place(&self) -> Option<Place> {
        let index = usize::try_from(self.details.get("index")?.as_u64()?).ok()?;
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let fields = self.details.get("fields").and_then(Value::as_array);
        let mut findings: Vec<_> = fields
            .into_iter()
            .flatten()
            .map(|field| (text(field.get("path")), text(field.get("message"))))
            .collect();
        if findings.is_empty() {
            let reason = text(self.details.get("reason"));
            let path = text(self.details.get("path"));
            let path = if path == "." { String::new() } else { path };
            // The message of a wrong shape says no more than that.
            let reason = if reason.is_empty() { self.message.clone() } else { reason };
            findings.push((path, reason));
        }
        Some(Place { index, findings })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(details: Value, expected: Option<(usize, &[(&str, &str)])>) {
        let refusal =
            Refusal { status: 422, code: "invalid".into(), message: "no".into(), request_id: None, details };
        let own = |(path, reason): &(&str, &str)| ((*path).to_owned(), (*reason).to_owned());
        let expected =
            expected.map(|(index, findings)| Place { index, findings: findings.iter().map(own).collect() });
        assert_eq!(refusal.place(), expected);
    }

    #[test]
    fn a_refusal_is_about_a_resource_and_its_fields() {
        check(json!({}), None);
        check(json!({ "index": "1" }), None);
        check(json!({ "index": 3 }), Some((3, &[("", "no")])));
        check(json!({ "index": 3, "path": ".", "reason": "so" }), Some((3, &[("", "so")])));
        check(json!({ "index": 0, "path": "a.b", "reason": "why" }), Some((0, &[("a.b", "why")])));
        check(json!({ "index": 0, "path": "a.b" }), Some((0, &[("a.b", "no")])));
        let fields = json!([{ "path": "a", "message": "x" }, { "path": "b[1]", "message": "y" }]);
        check(json!({ "index": 2, "fields": fields }), Some((2, &[("a", "x"), ("b[1]", "y")])));
    }
}
