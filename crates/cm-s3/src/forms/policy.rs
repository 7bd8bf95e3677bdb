//! The policy of a form: until when, and with which fields, its signer lets others send it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cm_types::Timestamp;
use s3s::dto;
use serde_json::Value;

use super::fields::Fields;

/// Longest policy, in bytes of JSON.
const POLICY_BYTES_MAX: usize = 20 * 1024;
/// Most conditions of a policy.
const CONDITIONS_MAX: usize = 1000;
/// Fields of which a policy need not speak: what proves it, and what it cannot know.
const FREE: [&str; 6] = ["awsaccesskeyid", "signature", "x-amz-signature", "policy", "file", "submit"];
/// Begins names of fields that mean nothing.
const IGNORED: &str = "x-ignore-";

/// A policy that was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    expires_at_seconds: i64,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq)]
enum Condition {
    Equals { field: String, value: String },
    StartsWith { field: String, value: String },
    Length { min: u64, max: u64 },
}

/// Why a form is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The policy is not understood.
    #[error("the policy of the form is not understood: {0}")]
    Invalid(&'static str),
    /// It is over.
    #[error("the policy of the form has expired")]
    Expired,
    /// A field is not as the policy demands.
    #[error("the form is not what its policy allows: `{0}`")]
    Unmet(String),
}

impl Policy {
    /// Reads a policy as forms carry it.
    ///
    /// # Errors
    /// [`PolicyError::Invalid`].
    pub fn parse(encoded: &str) -> Result<Self, PolicyError> {
        let text = STANDARD.decode(encoded.trim()).map_err(|_| PolicyError::Invalid("it is no base64"))?;
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::Invalid("it is too long"));
        }
        let value: Value =
            serde_json::from_slice(&text).map_err(|_| PolicyError::Invalid("it is no JSON"))?;
        let expiration = value.get("expiration").and_then(Value::as_str);
        let expiration = expiration.ok_or(PolicyError::Invalid("`expiration` is missing"))?;
        let listed = value.get("conditions").and_then(Value::as_array);
        let listed = listed.ok_or(PolicyError::Invalid("`conditions` are missing"))?;
        if listed.len() > CONDITIONS_MAX {
            return Err(PolicyError::Invalid("it has too many conditions"));
        }
        let mut conditions = Vec::with_capacity(listed.len());
        for condition in listed {
            match condition {
                Value::Object(pairs) if !pairs.is_empty() => {
                    for (field, value) in pairs {
                        let value = value.as_str().ok_or(PolicyError::Invalid("a value is no text"))?;
                        conditions.push(equals(field, value));
                    }
                }
                Value::Array(parts) => conditions.push(matched(parts)?),
                _ => return Err(PolicyError::Invalid("a condition is an object or a list of three")),
            }
        }
        Ok(Self { expires_at_seconds: moment(expiration)?, conditions })
    }

    /// Whether the policy allows the form, as far as it is known before the file.
    ///
    /// # Errors
    /// [`PolicyError::Expired`], [`PolicyError::Unmet`]: a field that is not as demanded, and one that it does not speak of.
    pub fn check(&self, fields: &Fields, now: Timestamp) -> Result<(), PolicyError> {
        if now.as_secs() >= self.expires_at_seconds {
            return Err(PolicyError::Expired);
        }
        for condition in &self.conditions {
            let (field, holds) = match condition {
                Condition::Equals { field, value } => (field, fields.get(field) == Some(value)),
                Condition::StartsWith { field, value } => {
                    (field, starts_with(fields.get(field), field, value))
                }
                Condition::Length { .. } => continue,
            };
            if !holds {
                return Err(PolicyError::Unmet(field.clone()));
            }
        }
        let speaks_of = |name: &str| {
            self.conditions.iter().any(|condition| match condition {
                Condition::Equals { field, .. } | Condition::StartsWith { field, .. } => field == name,
                Condition::Length { .. } => false,
            })
        };
        let free = |name: &str| FREE.contains(&name) || name.starts_with(IGNORED);
        match fields.names().find(|name| !free(name) && !speaks_of(name)) {
            Some(name) => Err(PolicyError::Unmet(name.to_owned())),
            None => Ok(()),
        }
    }

    /// How long the file must be at least, and may be at most.
    pub fn length(&self) -> (u64, u64) {
        let ranges = self.conditions.iter().filter_map(|condition| match condition {
            Condition::Length { min, max } => Some((*min, *max)),
            _ => None,
        });
        ranges.fold((0, u64::MAX), |(low, high), (min, max)| (low.max(min), high.min(max)))
    }
}

/// Several media types may be named, of which each must begin so.
fn starts_with(found: Option<&String>, field: &str, value: &str) -> bool {
    let Some(found) = found else { return false };
    match field {
        "content-type" => found.split(',').all(|part| part.trim_start().starts_with(value)),
        _ => found.starts_with(value),
    }
}

fn equals(field: &str, value: &str) -> Condition {
    Condition::Equals { field: field.to_ascii_lowercase(), value: value.to_owned() }
}

fn matched(parts: &[Value]) -> Result<Condition, PolicyError> {
    let wrong = PolicyError::Invalid("a condition is an object or a list of three");
    let [operator, first, second] = parts else { return Err(wrong) };
    let operator = operator.as_str().ok_or(wrong.clone())?.to_ascii_lowercase();
    if operator == "content-length-range" {
        let number = |value: &Value| {
            let number = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
            number.ok_or(PolicyError::Invalid("a length is a number"))
        };
        let (min, max) = (number(first)?, number(second)?);
        return match min <= max {
            true => Ok(Condition::Length { min, max }),
            false => Err(PolicyError::Invalid("a range of lengths is empty")),
        };
    }
    let field = first.as_str().and_then(|field| field.strip_prefix('$'));
    let field = field.ok_or(PolicyError::Invalid("a field begins with $"))?.to_ascii_lowercase();
    let value = second.as_str().ok_or(PolicyError::Invalid("a value is no text"))?.to_owned();
    match operator.as_str() {
        "eq" => Ok(Condition::Equals { field, value }),
        "starts-with" => Ok(Condition::StartsWith { field, value }),
        _ => Err(PolicyError::Invalid("a condition is `eq`, `starts-with` or `content-length-range`")),
    }
}

/// `2030-01-31T12:00:00Z`, perhaps with fractions of a second.
fn moment(text: &str) -> Result<i64, PolicyError> {
    let wrong = PolicyError::Invalid("`expiration` is a time such as 2030-01-31T12:00:00.000Z");
    if text.as_bytes().get(10) != Some(&b'T') || !text.ends_with('Z') {
        return Err(wrong);
    }
    let parsed = dto::Timestamp::parse(dto::TimestampFormat::DateTime, text).map_err(|_| wrong)?;
    Ok(::time::OffsetDateTime::from(parsed).unix_timestamp())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(conditions: Value) -> Result<Policy, PolicyError> {
        let value = json!({ "expiration": "2030-01-01T00:00:00Z", "conditions": conditions });
        Policy::parse(&STANDARD.encode(value.to_string()))
    }

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().fold(Fields::default(), |mut fields, (name, value)| {
            fields.insert(name, (*value).to_owned());
            fields
        })
    }

    fn check(conditions: Value, pairs: &[(&str, &str)], expected: Result<(), &str>) {
        let found = policy(conditions.clone()).unwrap().check(&fields(pairs), Timestamp::from_micros(0));
        let expected = expected.map_err(|field| PolicyError::Unmet(field.to_owned()));
        assert_eq!(found, expected, "{conditions} {pairs:?}");
    }

    #[test]
    fn every_field_is_as_demanded_and_spoken_of() {
        let all = json!([{ "bUcKeT": "b" }, ["StArTs-WiTh", "$KeY", "foo"], ["eq", "$acl", "private"], ["content-length-range", 0, 5]]);
        let good = [
            ("bucket", "b"),
            ("kEy", "foo.txt"),
            ("acl", "private"),
            ("policy", "x"),
            ("AWSAccessKeyId", "y"),
        ];
        check(all.clone(), &good, Ok(()));
        check(all.clone(), &[("bucket", "b"), ("key", "foo.txt")], Err("acl"));
        check(all.clone(), &[("bucket", "b"), ("key", "bar"), ("acl", "private")], Err("key"));
        check(all.clone(), &[("bucket", "c"), ("key", "foo"), ("acl", "private")], Err("bucket"));
        let more = |name| [("bucket", "b"), ("key", "foo"), ("acl", "private"), (name, "1")];
        check(all.clone(), &more("x-ignore-me"), Ok(()));
        check(all, &more("x-amz-meta-a"), Err("x-amz-meta-a"));
        check(json!([{ "key": "k" }]), &[("bucket", "b"), ("key", "k")], Err("bucket"));
    }

    #[test]
    fn policies_end() {
        let policy = policy(json!([])).unwrap();
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        assert_eq!(policy.check(&Fields::default(), at(1_893_455_999)), Ok(()));
        assert_eq!(policy.check(&Fields::default(), at(1_893_456_000)), Err(PolicyError::Expired));
    }

    #[test]
    fn lengths_narrow_each_other() {
        let both =
            policy(json!([["content-length-range", 5, 100], ["content-length-range", 1, 50]])).unwrap();
        assert_eq!(both.length(), (5, 50));
        assert_eq!(policy(json!([])).unwrap().length(), (0, u64::MAX));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for conditions in [
            json!([{}]),
            json!([["content-length-range", 0]]),
            json!([["content-length-range", -1, 0]]),
            json!([["content-length-range", 5, 1]]),
            json!([["resembles", "$key", "a"]]),
            json!([["eq", "key", "a"]]),
            json!([{ "key": 5 }]),
            json!(["key"]),
            json!({}),
        ] {
            assert!(policy(conditions.clone()).is_err(), "{conditions}");
        }
        let encoded = |value: Value| Policy::parse(&STANDARD.encode(value.to_string()));
        assert!(encoded(json!({ "conditions": [] })).is_err());
        assert!(encoded(json!({ "EXPIRATION": "2030-01-01T00:00:00Z", "conditions": [] })).is_err());
        assert!(encoded(json!({ "expiration": "2030-01-01 00:00:00+00:00", "conditions": [] })).is_err());
        assert!(Policy::parse("***").is_err());
        assert!(Policy::parse(&STANDARD.encode("{")).is_err());
    }
}
