//! What can go wrong, by what the caller should do about it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The node answered and refused.
    #[error("{0}")]
    Refused(Refusal),
    /// No answer: nothing listens, the connection broke, or time ran out. Whether the effect happened is unknown
    /// when the request had been sent.
    #[error("cannot reach {url}; is its node running?")]
    Unreachable {
        /// What was called.
        url: String,
        /// Why not.
        #[source]
        source: Unanswered,
    },
    /// The node began to send an object and did not go on, however often the rest was asked for.
    #[error(
        "the node broke {object} off after {received} bytes; the object may be damaged: `cryptomesh object verify` tells"
    )]
    BrokenOff {
        /// The object.
        object: String,
        /// How many bytes of it, or of the part of it that was asked for, had arrived.
        received: u64,
        /// How it ended.
        #[source]
        source: Unanswered,
    },
    /// A name would lead elsewhere as part of a URL. Nothing was sent.
    #[error("no URL leads to `{0}`: `.` and `..` in place of a name would lead elsewhere; nothing was sent")]
    Unaddressable(String),
    /// The answer is not what the API promises.
    #[error("unexpected answer from {url}: {problem}")]
    Protocol {
        /// What was called.
        url: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// No node was named and no local data directory tells of one.
    #[error(
        "no node given: pass --url and --token, set CRYPTOMESH_URL and CRYPTOMESH_TOKEN, or name a node's --data-dir \
         ({0} is none)"
    )]
    NoNode(String),
    /// The local data directory's node is not running.
    #[error("the node of {0} is not running; start it with `cryptomesh up --data-dir {0}`")]
    NotRunning(String),
    /// A local file cannot be read or written.
    #[error("{path}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The node cannot say what the deletion of an entry of this kind would come to.
    #[error("what deleting a {0} would come to cannot be known beforehand; nothing was deleted")]
    Unplannable(cm_types::ResourceKind),
    /// The URL is not one.
    #[error("`{0}` is no http or https URL")]
    Url(String),
    /// There is no such object.
    #[error("there is no object {0}")]
    NoObject(String),
    /// There is no such bucket, or none that the caller may know of.
    #[error("bucket `{bucket}` does not exist, as far as you may see{remedy}")]
    NoBucket {
        /// Its name.
        bucket: String,
        /// What to do about it, after a semicolon, or nothing.
        remedy: &'static str,
    },
    /// The object has no release policy.
    #[error("{0} has no release policy; its owner stores it with `object put --release-to`")]
    NoReleasePolicy(String),
    /// The release policy of an object is not its owner's.
    #[error("release policy")]
    Release(#[from] cm_instance::release::InvalidRelease),
    /// What arrived of an object is not what was sent.
    #[error("{object} was damaged on the way: its digest was to be {expected} and is {found}; try again")]
    Damaged {
        /// The object.
        object: String,
        /// What its digest was to be.
        expected: cm_types::Sha256Digest,
        /// What it is.
        found: cm_types::Sha256Digest,
    },
    /// Another command writes the same file.
    #[error("another command is downloading to {0}; wait for it or choose another file")]
    AlreadyDownloading(String),
    /// Another command sends the same file to the same place.
    #[error("another command is sending {0} to the same object; wait for it")]
    AlreadyUploading(String),
    /// A file is not what it was when it was begun to be sent. Nothing of it became visible.
    #[error("{0} changed while it was sent; nothing was stored, send it again when it is at rest")]
    FileChanged(String),
    /// No URL can be made for an object.
    #[error("{object} cannot be shared: {reason}")]
    Unsharable {
        /// The object.
        object: String,
        /// Why not.
        reason: String,
    },
    /// The owner's release policy does not admit the instance; nothing was sent to it.
    #[error("the key was not released")]
    NotReleased(#[from] cm_instance::release::NotReleased),
    /// The instance is not what was expected; nothing was sent to it.
    #[error("instance refused before anything was sent")]
    Untrusted(#[from] crate::trust::Distrust),
    /// The connection to an instance failed.
    #[error("instance at {address}")]
    Instance {
        /// Its address.
        address: String,
        /// Why.
        #[source]
        source: crate::instance::InstanceError,
    },
    /// The caller's key and certificate do not belong together; nothing was connected to.
    #[error("the private key does not belong to the certificate; pass the two that were made together")]
    OtherKey,
    /// A sealed object cannot be opened or made.
    #[error("sealed object")]
    Seal(#[from] cm_crypto::seal::SealError),
}

/// Why there was no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// There was no connection, or it broke. Only what lies at the bottom of the error says something: what is above it names the
    /// URL again.
    #[error("{}", bottom(.0))]
    Connection(reqwest::Error),
    /// For so long nothing came.
    #[error("no answer within {} seconds", .0.as_secs())]
    Silent(Duration),
}

fn bottom(error: &reqwest::Error) -> String {
    let chain = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    chain.last().map(ToString::to_string).unwrap_or_default()
}

impl From<reqwest::Error> for Unanswered {
    fn from(error: reqwest::Error) -> Self {
        Unanswered::Connection(error)
    }
}

impl Unanswered {
    /// Whether there was no connection at all, so that nothing can have been sent.
    pub fn is_connect(&self) -> bool {
        matches!(self, Unanswered::Connection(error) if error.is_connect())
    }
}

/// What the node said when it refused.
#[derive(Clone, Debug, Deserialize)]
pub struct Refusal {
    /// The HTTP status.
    #[serde(skip)]
    pub status: u16,
    /// A stable name of the reason, such as `not-found`.
    pub code: String,
    /// What a person should know.
    pub message: String,
    /// The name of the request in the node's log.
    #[serde(default)]
    pub request_id: Option<String>,
    /// More, depending on the code.
    #[serde(default)]
    pub details: Value,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        for explanation in self.explanations() {
            write!(f, "; {explanation}")?;
        }
        Ok(())
    }
}

impl Refusal {
    /// What the details say beyond the message, in words for people: places in a document and what is wrong
    /// there, and reasons. Codes are for programs and are left out.
    fn explanations(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |name: &str| match self.details.get(name) {
            Some(Value::Array(values)) => values.iter().map(text).collect(),
            Some(value) => vec![text(value)],
            None => Vec::new(),
        };
        let mut explanations = Vec::new();
        for field in self.details.get("fields").and_then(Value::as_array).into_iter().flatten() {
            explanations.push(placed(&text(&field["path"]), &text(&field["message"])));
        }
        let reason = list("reason").concat();
        // The document as a whole is no place worth naming.
        match list("path").first().filter(|path| *path != ".") {
            Some(path) => explanations.push(placed(path, &reason)),
            None => explanations.push(reason),
        }
        explanations.extend(list("paths"));
        explanations.extend(list("reasons").into_iter().filter(|reason| !is_code(reason)));
        explanations.retain(|explanation| !explanation.is_empty() && !self.message.contains(explanation));
        explanations
    }
}

fn placed(path: &str, problem: &str) -> String {
    if path.is_empty() || problem.is_empty() {
        format!("{path}{problem}")
    } else {
        format!("{path}: {problem}")
    }
}

fn is_code(reason: &str) -> bool {
    reason.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

impl ClientError {
    pub(crate) fn unreachable(url: &str, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable { url: url.to_owned(), source: source.into() }
    }

    /// The exit code of a command that failed this way: 3 refused, 4 not found, 5 conflict, 6 unreachable, 2 wrong
    /// usage, 1 anything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            ClientError::Refused(refusal) => match refusal.status {
                401 | 403 => 3,
                404 => 4,
                409 | 412 => 5,
                400 | 422 => 2,
                _ => 1,
            },
            ClientError::Unreachable { .. } | ClientError::NotRunning(_) => 6,
            ClientError::NoObject(_) | ClientError::NoBucket { .. } => 4,
            ClientError::Untrusted(_)
            | ClientError::NoReleasePolicy(_)
            | ClientError::Release(_)
            | ClientError::NotReleased(_) => 3,
            ClientError::Instance { source, .. } => source.exit_code(),
            ClientError::NoNode(_)
            | ClientError::Url(_)
            | ClientError::Unaddressable(_)
            | ClientError::Unplannable(_)
            | ClientError::Unsharable { .. }
            | ClientError::OtherKey => 2,
            ClientError::AlreadyDownloading(_) | ClientError::AlreadyUploading(_) => 5,
            ClientError::Damaged { .. }
            | ClientError::BrokenOff { .. }
            | ClientError::Protocol { .. }
            | ClientError::File { .. }
            | ClientError::FileChanged(_)
            | ClientError::Seal(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(message: &str, details: Value, expected: &str) {
        let refusal = Refusal {
            status: 422,
            code: "invalid".into(),
            message: message.into(),
            request_id: None,
            details,
        };
        assert_eq!(refusal.to_string(), expected);
    }

    #[test]
    fn a_refusal_says_why_in_words_and_nothing_twice() {
        check("no", Value::Null, "no");
        check(
            "wrong shape",
            json!({ "path": "action", "reason": "no `fly`" }),
            "wrong shape; action: no `fly`",
        );
        check("wrong shape", json!({ "reason": "it ends early" }), "wrong shape; it ends early");
        check("wrong shape", json!({ "path": ".", "reason": "it ends early" }), "wrong shape; it ends early");
        check(
            "wrong policy",
            json!({ "reasons": ["`x` is no path", "too long"] }),
            "wrong policy; `x` is no path; too long",
        );
        let fields = json!({ "fields": [{ "path": "spec.a", "message": "too long" }, { "path": "spec.b", "message": "empty" }] });
        check("invalid", fields.clone(), "invalid; spec.a: too long; spec.b: empty");
        check("spec.a: too long", fields, "spec.a: too long; spec.b: empty");
        // What a program would read is not shown to people.
        check(
            "denied: nothing grants it",
            json!({ "reasons": ["no-permission"], "kind": "role" }),
            "denied: nothing grants it",
        );
    }
}
