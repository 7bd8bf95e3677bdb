//! Policies of buckets: JSON documents in the language of S3.

use cm_types::{PrincipalId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::conditions::Condition;
use super::pattern::fits;
use super::{Circumstances, Use};

/// Longest document, in bytes: the limit of S3.
pub const POLICY_BYTES_MAX: usize = 20 * 1024;
/// Most statements of one document. Each is looked at for every request.
pub const STATEMENTS_MAX: usize = 100;
/// What names of buckets and objects begin with.
pub const RESOURCE_PREFIX: &str = "arn:aws:s3:::";
/// The same where whose account it is does not matter, as some services write it.
const RESOURCE_OF_ANY_ACCOUNT: &str = "arn:aws:s3::*:";

/// A policy that was understood to its last word. It is kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PolicyDocument {
    text: String,
    statements: Vec<Statement>,
}

/// The text is no policy. What is not understood must not be passed over: it may have been meant to deny.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// No JSON.
    #[error("a policy is a JSON document")]
    Json,
    /// Too much of it.
    #[error("a policy has at most {POLICY_BYTES_MAX} bytes and {STATEMENTS_MAX} statements")]
    TooLong,
    /// Something is missing, misspelt or in the wrong place.
    #[error("the policy is not understood: {what}")]
    NotUnderstood {
        /// The field.
        what: &'static str,
    },
    /// A key of which nothing is ever known here.
    #[error("nothing is known here of the condition key `{key}`; nothing of a policy is passed over")]
    Key {
        /// The key, as written.
        key: String,
    },
    /// An operator that is not known, or a value that it cannot compare with.
    #[error("the condition `{operator}` is not understood; nothing of a policy is passed over")]
    Condition {
        /// The operator, as written.
        operator: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    id: String,
    denies: bool,
    principals: Matched<Vec<Named>>,
    actions: Matched<Vec<String>>,
    resources: Matched<Vec<String>>,
    conditions: Vec<Condition>,
}

/// `Principal` or `NotPrincipal`, and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Matched<T> {
    negated: bool,
    of: T,
}

/// Whom a `Principal` names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    Everybody,
    /// All principals of a tenant.
    Tenant(String),
    /// A principal; an empty tenant is that of the bucket.
    Principal {
        tenant: String,
        id: String,
    },
    /// Something that does not exist here, such as a service.
    Nobody,
}

/// What a request is judged by.
#[derive(Clone, Copy, Debug)]
pub struct PolicyRequest<'a> {
    /// Who asks; `None` did not authenticate.
    pub principal: Option<&'a PrincipalId>,
    /// The tenant of whoever asks.
    pub tenant: Option<&'a TenantId>,
    /// The tenant of the bucket.
    pub bucket_tenant: &'a TenantId,
    /// What is asked for.
    pub used: Use,
    /// `BUCKET`, or `BUCKET/KEY`.
    pub resource: &'a str,
    /// What the request says about itself.
    pub circumstances: &'a Circumstances,
}

/// What a policy says about a request. One statement that denies outweighs all that allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Denied by the statement of this name.
    Denies(String),
    /// Allowed by the statement of this name.
    Allows(String),
    /// The policy does not speak of it.
    Silent,
}

impl PolicyDocument {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`InvalidPolicy`], also for whatever is not known: it may have been meant to deny.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidPolicy> {
        Self::read(text.into(), true)
    }

    fn read(text: String, strictly: bool) -> Result<Self, InvalidPolicy> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(InvalidPolicy::TooLong);
        }
        let value: Value = serde_json::from_str(&text).map_err(|_| InvalidPolicy::Json)?;
        let fields = value.as_object().ok_or(wrong("an object is expected"))?;
        only(fields, &["Version", "Id", "Statement"], "only Version, Id and Statement stand at the top")?;
        match fields.get("Version").map(Value::as_str) {
            None | Some(Some("2012-10-17" | "2008-10-17")) => {}
            Some(_) => return Err(wrong("Version is 2012-10-17 or 2008-10-17")),
        }
        let statements = match fields.get("Statement") {
            Some(Value::Array(statements)) if !statements.is_empty() => statements.iter().collect(),
            Some(one @ Value::Object(_)) => vec![one],
            _ => return Err(wrong("Statement is missing")),
        };
        if statements.len() > STATEMENTS_MAX {
            return Err(InvalidPolicy::TooLong);
        }
        let statements =
            statements.into_iter().enumerate().map(|(at, value)| Statement::parse(at, value, strictly));
        Ok(Self { statements: statements.collect::<Result<_, _>>()?, text })
    }

    /// The policy as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it says about a request.
    pub fn judge(&self, request: &PolicyRequest<'_>) -> Verdict {
        let mut applying = self.statements.iter().filter(|statement| statement.applies(request)).peekable();
        let Some(first) = applying.peek().copied() else { return Verdict::Silent };
        match applying.find(|statement| statement.denies) {
            Some(denying) => Verdict::Denies(denying.id.clone()),
            None => Verdict::Allows(first.id.clone()),
        }
    }

    /// Whether it speaks of this bucket alone, as far as it names resources: a policy that names another does nothing there.
    pub fn is_of(&self, bucket: &str) -> bool {
        let resource = |pattern: &String| {
            let Some(pattern) = pattern.strip_prefix(RESOURCE_PREFIX) else { return true };
            fits(pattern.split('/').next().unwrap_or(pattern), bucket)
        };
        self.statements.iter().all(|statement| statement.resources.of.iter().all(resource))
    }

    /// Whether it allows something to everybody, from everywhere.
    pub fn is_public(&self) -> bool {
        self.statements.iter().any(|statement| {
            !statement.denies
                && !statement.principals.negated
                && statement.principals.of.contains(&Named::Everybody)
                && !statement.conditions.iter().any(Condition::confines)
        })
    }
}

/// A resource without a star for its account: a bucket's policy is about nobody else's.
fn of_any_account(resource: String) -> String {
    match resource.strip_prefix(RESOURCE_OF_ANY_ACCOUNT) {
        Some(path) => format!("{RESOURCE_PREFIX}{path}"),
        None => resource,
    }
}

impl Statement {
    fn parse(at: usize, value: &Value, strictly: bool) -> Result<Self, InvalidPolicy> {
        const FIELDS: [&str; 9] = [
            "Sid",
            "Effect",
            "Principal",
            "NotPrincipal",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
        ];
        let fields = value.as_object().ok_or(wrong("a statement is an object"))?;
        only(fields, &FIELDS, "a statement has a field that is not known")?;
        let id = match fields.get("Sid") {
            None => at.to_string(),
            Some(Value::String(id)) if id.len() <= 256 => id.clone(),
            Some(_) => return Err(wrong("Sid is a short text")),
        };
        let denies = match fields.get("Effect").and_then(Value::as_str) {
            Some("Allow") => false,
            Some("Deny") => true,
            _ => return Err(wrong("Effect is Allow or Deny")),
        };
        let (negated, value) = either(fields, "Principal", "NotPrincipal", "Principal is missing")?;
        // It would allow everybody else, those of whom nobody thought among them.
        if strictly && negated && !denies {
            return Err(wrong("NotPrincipal is for statements that deny"));
        }
        let principals = Matched { negated, of: principals(value)? };
        let (negated, value) = either(fields, "Action", "NotAction", "Action is missing")?;
        let of = texts(value).ok_or(wrong("Action is a text or several"))?;
        if !of.iter().all(|action| action == "*" || action.to_ascii_lowercase().starts_with("s3:")) {
            return Err(wrong("actions begin with s3:"));
        }
        // One that is not known may be named where it gives nothing; elsewhere it would give too much or deny too little.
        if strictly && (denies || negated) && !of.iter().all(|pattern| is_known_action(pattern)) {
            return Err(wrong(
                "an action is not known here, so that it could neither be denied nor excepted",
            ));
        }
        let actions = Matched { negated, of };
        let (negated, value) = either(fields, "Resource", "NotResource", "Resource is missing")?;
        let of = texts(value).ok_or(wrong("Resource is a text or several"))?;
        let of: Vec<String> = of.into_iter().map(of_any_account).collect();
        if !of.iter().all(|resource| resource == "*" || resource.starts_with(RESOURCE_PREFIX)) {
            return Err(wrong("resources begin with arn:aws:s3:::"));
        }
        let resources = Matched { negated, of };
        let conditions = conditions(fields.get("Condition"))?;
        // Of a key that is not known there is never a value: what then holds would allow too much, or deny nothing.
        let unknown =
            |condition: &&Condition| !condition.is_known() && (denies || condition.holds_of_nothing());
        if let Some(condition) = conditions.iter().find(unknown).filter(|_| strictly) {
            return Err(InvalidPolicy::Key { key: condition.key().to_owned() });
        }
        let variables = resources.of.iter().any(|resource| resource.contains("${"));
        if variables {
            return Err(wrong("variables in resources are not known here"));
        }
        Ok(Self { id, denies, principals, actions, resources, conditions })
    }

    fn applies(&self, request: &PolicyRequest<'_>) -> bool {
        let resource = format!("{RESOURCE_PREFIX}{}", request.resource);
        let named = self.principals.of.iter().any(|named| named.is(request));
        let about = self.resources.of.iter().any(|pattern| fits(pattern, &resource));
        // One of old that allows everybody but some would not be taken today, and allows nobody.
        (self.denies || !self.principals.negated)
            && named != self.principals.negated
            && (self.names(request.used) || self.allows_along(request))
            && about != self.resources.negated
            // What cannot be told is taken for the worse.
            && self.conditions.iter().all(|condition| condition.holds(request.circumstances).unwrap_or(self.denies))
    }

    /// Whether it is about this use.
    fn names(&self, used: Use) -> bool {
        let action = format!("s3:{}", used.as_str()).to_ascii_lowercase();
        let is_listed = self.actions.of.iter().any(|pattern| fits(&pattern.to_ascii_lowercase(), &action));
        is_listed != self.actions.negated
    }

    /// Whether it allows to write on the condition of just what is said along with the object: then it means that, too.
    fn allows_along(&self, request: &PolicyRequest<'_>) -> bool {
        let beginnings = request.used.said_along();
        let is_along = |key: &str| beginnings.iter().any(|beginning| key.starts_with(beginning));
        let mut said = request.circumstances.iter().filter(|(key, _)| is_along(key)).peekable();
        let pinned = |key: &str| self.conditions.iter().any(|condition| condition.pins(key));
        !self.denies
            && said.peek().is_some()
            && self.names(Use::PutObject)
            && said.all(|(key, values)| values.len() == 1 && pinned(key))
    }
}

/// Actions of S3 that nobody can do here: to deny them changes nothing, and is no mistake.
const NEVER_DONE: [&str; 21] = [
    "s3:createbucket",
    "s3:deletebucketwebsite",
    "s3:putbucketwebsite",
    "s3:putbucketlogging",
    "s3:putbucketnotification",
    "s3:putbucketrequestpayment",
    "s3:putaccelerateconfiguration",
    "s3:putanalyticsconfiguration",
    "s3:getanalyticsconfiguration",
    "s3:putinventoryconfiguration",
    "s3:getinventoryconfiguration",
    "s3:putmetricsconfiguration",
    "s3:getmetricsconfiguration",
    "s3:putreplicationconfiguration",
    "s3:replicateobject",
    "s3:replicatedelete",
    "s3:replicatetags",
    "s3:restoreobject",
    "s3:getobjecttorrent",
    "s3:getobjectversiontorrent",
    "s3:objectowneroverridetobucketowner",
];

/// Whether there is an action that fits.
fn is_known_action(pattern: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    let mut done = Use::ALL.iter().map(|used| format!("s3:{}", used.as_str()).to_ascii_lowercase());
    done.any(|action| fits(&pattern, &action)) || NEVER_DONE.iter().any(|action| fits(&pattern, action))
}

impl Named {
    fn parse(text: &str) -> Self {
        let Some(rest) = text.strip_prefix("arn:aws:iam::") else {
            return match text {
                "*" => Self::Everybody,
                text if text.starts_with("arn:") => Self::Nobody,
                id => Self::Principal { tenant: String::new(), id: id.to_owned() },
            };
        };
        match rest.split_once(':') {
            Some((tenant, "root")) => Self::Tenant(tenant.to_owned()),
            Some((tenant, name)) => match name.strip_prefix("user/") {
                Some(path) => {
                    let id = path.rsplit('/').next().unwrap_or(path).to_owned();
                    Self::Principal { tenant: tenant.to_owned(), id }
                }
                None => Self::Nobody,
            },
            None => Self::Nobody,
        }
    }

    fn is(&self, request: &PolicyRequest<'_>) -> bool {
        let tenant_is = |named: &str| {
            let named = if named.is_empty() { request.bucket_tenant.as_str() } else { named };
            request.principal.is_some() && request.tenant.is_some_and(|tenant| tenant.as_str() == named)
        };
        match self {
            Self::Everybody => true,
            Self::Tenant(tenant) => tenant_is(tenant),
            Self::Principal { tenant, id } => {
                tenant_is(tenant) && request.principal.is_some_and(|principal| principal.as_str() == id)
            }
            Self::Nobody => false,
        }
    }
}

fn principals(value: &Value) -> Result<Vec<Named>, InvalidPolicy> {
    let Value::Object(kinds) = value else {
        return match value.as_str() {
            Some("*") => Ok(vec![Named::Everybody]),
            _ => Err(wrong("Principal is * or an object")),
        };
    };
    let mut all = Vec::new();
    for (kind, names) in kinds {
        let names = texts(names).ok_or(wrong("Principal names a text or several"))?;
        match kind.as_str() {
            "AWS" => all.extend(names.iter().map(|name| Named::parse(name))),
            "CanonicalUser" => {
                all.extend(names.into_iter().map(|id| Named::Principal { tenant: String::new(), id }));
            }
            "Service" | "Federated" => all.push(Named::Nobody),
            _ => return Err(wrong("Principal is of a kind that is not known")),
        }
    }
    if all.is_empty() { Err(wrong("Principal names nobody")) } else { Ok(all) }
}

fn conditions(value: Option<&Value>) -> Result<Vec<Condition>, InvalidPolicy> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let operators = value.as_object().ok_or(wrong("Condition is an object"))?;
    let mut all = Vec::new();
    for (operator, keys) in operators {
        let keys = keys.as_object().ok_or(wrong("an operator has keys"))?;
        for (key, values) in keys {
            let unknown = || InvalidPolicy::Condition { operator: operator.clone() };
            let values = texts(values).ok_or_else(unknown)?;
            if values.iter().any(|value| value.contains("${")) {
                return Err(wrong("variables in conditions are not known here"));
            }
            all.push(Condition::parse(operator, key, values).ok_or_else(unknown)?);
        }
    }
    Ok(all)
}

/// The one of two fields that is there.
fn either<'a>(
    fields: &'a Map<String, Value>,
    name: &str,
    negation: &str,
    missing: &'static str,
) -> Result<(bool, &'a Value), InvalidPolicy> {
    match (fields.get(name), fields.get(negation)) {
        (Some(value), None) => Ok((false, value)),
        (None, Some(value)) => Ok((true, value)),
        (None, None) => Err(wrong(missing)),
        (Some(_), Some(_)) => Err(wrong("a field and its negation exclude each other")),
    }
}

fn only(fields: &Map<String, Value>, known: &[&str], problem: &'static str) -> Result<(), InvalidPolicy> {
    match fields.keys().all(|name| known.contains(&name.as_str())) {
        true => Ok(()),
        false => Err(wrong(problem)),
    }
}

/// One value or several, which may be numbers and truth values where texts are compared.
fn texts(value: &Value) -> Option<Vec<String>> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match value {
        Value::Array(values) if !values.is_empty() => values.iter().map(one).collect(),
        Value::Array(_) => None,
        value => Some(vec![one(value)?]),
    }
}

fn wrong(what: &'static str) -> InvalidPolicy {
    InvalidPolicy::NotUnderstood { what }
}

impl TryFrom<String> for PolicyDocument {
    type Error = InvalidPolicy;

    /// What was kept is read back, even if it would not be taken today.
    fn try_from(text: String) -> Result<Self, InvalidPolicy> {
        Self::read(text, false)
    }
}

impl From<PolicyDocument> for String {
    fn from(policy: PolicyDocument) -> String {
        policy.text
    }
}

#[cfg(test)]
mod tests;
