//! What S3 demands of the statements of a bucket's policy, beyond that they are understood: names of their own, actions that exist, and
//! resources that these are about. A mistake in them would otherwise only show in what is not allowed, or not denied.

use std::collections::HashSet;

use cm_kernel::policy::sharing::Use;
use cm_types::TenantId;
use s3s::{S3Error, S3ErrorCode, S3Result};
use serde_json::Value;

/// What resources begin with.
const PREFIX: &str = "arn:aws:s3:::";
/// Longest pattern of an action that is compared with actions, all of which are shorter.
const PATTERN_LEN_MAX: usize = 128;

/// Actions on buckets that nobody can do here.
const OF_BUCKETS: [&str; 20] = [
    "CreateBucket",
    "CreateBucketMetadataTableConfiguration",
    "DeleteBucketMetadataTableConfiguration",
    "DeleteBucketWebsite",
    "GetAnalyticsConfiguration",
    "GetBucketMetadataTableConfiguration",
    "GetIntelligentTieringConfiguration",
    "GetInventoryConfiguration",
    "GetMetricsConfiguration",
    "PutAccelerateConfiguration",
    "PutAnalyticsConfiguration",
    "PutBucketLogging",
    "PutBucketNotification",
    "PutBucketRequestPayment",
    "PutBucketWebsite",
    "PutInventoryConfiguration",
    "PutMetricsConfiguration",
    "PutReplicationConfiguration",
    "UpdateBucketMetadataInventoryTableConfiguration",
    "UpdateBucketMetadataJournalTableConfiguration",
];
/// The same, on objects.
const OF_OBJECTS: [&str; 10] = [
    "GetObjectTorrent",
    "GetObjectVersionForReplication",
    "GetObjectVersionTorrent",
    "InitiateReplication",
    "ObjectOwnerOverrideToBucketOwner",
    "ReplicateDelete",
    "ReplicateObject",
    "ReplicateTags",
    "RestoreObject",
    "UpdateObjectEncryption",
];

/// What an action, or a resource, is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct About {
    buckets: bool,
    objects: bool,
}

impl About {
    /// What the actions are about that a pattern stands for; nothing if there are none.
    fn actions(pattern: &str) -> Self {
        if pattern == "*" {
            return Self { buckets: true, objects: true };
        }
        let pattern = pattern.to_ascii_lowercase();
        let Some(pattern) = pattern.strip_prefix("s3:").filter(|text| text.len() <= PATTERN_LEN_MAX) else {
            return Self::default();
        };
        let named = |name: &str| fits(pattern, &name.to_ascii_lowercase());
        let done = |of_object: bool| {
            Use::ALL.iter().any(|used| used.is_of_object() == of_object && named(used.as_str()))
        };
        Self {
            buckets: OF_BUCKETS.into_iter().any(named) || done(false),
            objects: OF_OBJECTS.into_iter().any(named) || done(true),
        }
    }

    /// What a resource may be. A star stands for slashes, too.
    fn resource(pattern: &str) -> Self {
        let path = pattern.strip_prefix(PREFIX).unwrap_or(pattern);
        let objects = path.contains(['/', '*', '?']);
        Self { buckets: !path.contains('/'), objects }
    }

    fn meets(self, other: Self) -> bool {
        (self.buckets && other.buckets) || (self.objects && other.objects)
    }
}

/// The policy as it is to be read, with the resources of a tenant as those of nobody in particular: a bucket's policy is about no others.
///
/// # Errors
/// `MalformedPolicy` for what S3 does not take. What is no policy at all is left to whoever reads it.
pub(crate) fn checked(text: String, tenant: &TenantId) -> S3Result<String> {
    let Ok(mut policy) = serde_json::from_str::<Value>(&text) else { return Ok(text) };
    let statements = match policy.get_mut("Statement") {
        Some(Value::Array(statements)) => statements.iter_mut().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    };
    let own = format!("arn:aws:s3::{tenant}:");
    let (mut names, mut is_changed) = (HashSet::new(), false);
    for statement in statements {
        for field in ["Resource", "NotResource"] {
            for resource in texts_mut(statement.get_mut(field)) {
                if let Some(path) = resource.strip_prefix(&own) {
                    *resource = format!("{PREFIX}{path}");
                    is_changed = true;
                }
            }
        }
        check(statement)?;
        if let Some(name) = statement.get("Sid").and_then(Value::as_str)
            && !name.is_empty()
            && !names.insert(name.to_owned())
        {
            return Err(malformed("no two statements have the same Sid"));
        }
    }
    Ok(if is_changed { policy.to_string() } else { text })
}

fn check(statement: &Value) -> S3Result<()> {
    let resources: Vec<About> = texts(statement.get("Resource")).map(About::resource).collect();
    for action in texts(statement.get("Action")).chain(texts(statement.get("NotAction"))) {
        let about = About::actions(action);
        if about == About::default() {
            return Err(malformed("the policy has an action that does not exist"));
        }
        let is_named = statement.get("Action").is_some() && !resources.is_empty();
        if is_named && !resources.iter().any(|resource| resource.meets(about)) {
            return Err(malformed("an action does not apply to any resource of its statement"));
        }
    }
    Ok(())
}

/// One text, or several.
fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let several = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    value.into_iter().chain(several).filter_map(Value::as_str)
}

fn texts_mut(value: Option<&mut Value>) -> Vec<&mut String> {
    match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(values)) => values
            .iter_mut()
            .flat_map(|value| if let Value::String(text) = value { Some(text) } else { None })
            .collect(),
        _ => Vec::new(),
    }
}

/// Whether a text fits a pattern with `*` and `?`, in time proportional to the product of their lengths.
fn fits(pattern: &str, text: &str) -> bool {
    // Which beginnings of the text fit what was read of the pattern.
    let mut fitting = vec![false; text.len() + 1];
    fitting[0] = true;
    for wanted in pattern.bytes() {
        if wanted == b'*' {
            for at in 1..fitting.len() {
                fitting[at] |= fitting[at - 1];
            }
            continue;
        }
        for (at, letter) in text.bytes().enumerate().rev() {
            fitting[at + 1] = fitting[at] && (wanted == b'?' || wanted == letter);
        }
        fitting[0] = false;
    }
    fitting[text.len()]
}

fn malformed(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::MalformedPolicy, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(statements: Value) -> Option<String> {
        checked(json!({ "Statement": statements }).to_string(), &"acme".parse().unwrap()).ok()
    }

    #[test]
    fn actions_are_about_resources_of_their_statement() {
        let check = |actions: Value, resources: Value, expected: bool| {
            let found = read(json!({ "Action": actions, "Resource": resources })).is_some();
            assert_eq!(found, expected, "{actions} {resources}");
        };
        let (bucket, objects) = ("arn:aws:s3:::b", "arn:aws:s3:::b/*");
        for resource in [bucket, objects, "*", "arn:aws:s3:::*"] {
            for wild in ["s3:*", "*", "s3:Get*", "S3:get*", "s3:??t*"] {
                check(json!(wild), json!(resource), true);
            }
        }
        check(json!("s3:GetObject"), json!(objects), true);
        check(json!("s3:GetObject"), json!("arn:aws:s3:::b*"), true);
        check(json!("s3:GetObject"), json!(bucket), false);
        check(json!("s3:ListBucket"), json!(bucket), true);
        check(json!("s3:ListBucket"), json!(objects), false);
        check(json!(["s3:GetObject", "s3:ListBucket"]), json!([bucket, objects]), true);
        check(json!(["s3:GetObject", "s3:ListBucket"]), json!(objects), false);
        check(json!("s3:PutBucketLogging"), json!(bucket), true);
        check(json!("s3:RestoreObject"), json!(objects), true);
        for unknown in ["s3:Foo", "s3:Foo*", "s3:", "s3:ListAllMyBuckets"] {
            check(json!(unknown), json!("*"), false);
        }
        // What is excepted need not apply.
        let excepted = json!({ "NotAction": "s3:GetObject", "Resource": bucket });
        assert!(read(excepted).is_some());
        assert!(read(json!({ "NotAction": "s3:Foo", "Resource": bucket })).is_none());
    }

    #[test]
    fn statements_have_names_of_their_own() {
        assert!(read(json!([{ "Sid": "a" }, { "Sid": "b" }, {}])).is_some());
        assert!(read(json!([{ "Sid": "" }, { "Sid": "" }])).is_some());
        assert!(read(json!([{ "Sid": "a" }, { "Sid": "a" }])).is_none());
    }

    #[test]
    fn resources_of_the_own_tenant_are_those_of_nobody_in_particular() {
        let text = |account: &str| {
            let resource = format!("arn:aws:s3::{account}:b/*");
            json!({ "Statement": [{ "Action": "s3:GetObject", "Resource": [resource] }] }).to_string()
        };
        let read = |account: &str| checked(text(account), &"acme".parse().unwrap()).unwrap();
        assert_eq!(read("acme"), text(""));
        for same in ["", "*", "other"] {
            assert_eq!(read(same), text(same));
        }
        assert_eq!(checked("no policy".to_owned(), &"acme".parse().unwrap()).unwrap(), "no policy");
    }
}
