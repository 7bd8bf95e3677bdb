//! Why a policy is refused.

use cm_types::Timestamp;

use crate::{FileName, GuestPath, InvalidPath};

/// Why a document is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The text is longer than the limit.
    #[error("the policy has {found} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its length.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// The text is no JSON, or not of the shape that the document has: an unknown or missing key, a value of
    /// the wrong type or out of range.
    #[error("at `{path}`")]
    Json {
        /// Where, as `programs[0].file_rights[1].rights`; `.` is the whole document.
        path: String,
        /// What is wrong there.
        source: serde_json::Error,
    },
    /// The shape is right and the meaning is not.
    #[error("at `{path}`: {problem}")]
    Field {
        /// Where, in the same form.
        path: String,
        /// What is wrong there.
        problem: FieldProblem,
    },
}

impl PolicyError {
    /// Where in the document the mistake is.
    pub fn path(&self) -> &str {
        match self {
            Self::TooLarge { .. } => ".",
            Self::Json { path, .. } | Self::Field { path, .. } => path,
        }
    }

    pub(super) fn field(path: impl Into<String>, problem: FieldProblem) -> Self {
        Self::Field { path: path.into(), problem }
    }
}

/// What is wrong with a field that has the right type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// Nothing was given.
    #[error("must not be empty")]
    Empty,
    /// More elements or bytes than the limit.
    #[error("has a length of {found}, at most {max} is allowed")]
    TooLong {
        /// How many.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A number outside of its range.
    #[error("{found} is not within {min} and {max}")]
    Range {
        /// The number.
        found: u64,
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// The same number, name or certificate stands there twice.
    #[error("`{0}` stands there twice")]
    Duplicate(String),
    /// A name that must mean one file means a directory.
    #[error("`{0}` means a directory, a file is needed")]
    Directory(FileName),
    /// A name that no path can be made of.
    #[error(transparent)]
    Path(#[from] InvalidPath),
    /// The user policy is for another function than the program policy.
    #[error("names the function `{found}`, the program policy is that of `{expected}`")]
    Function {
        /// The function of the program policy.
        expected: String,
        /// The function of the user policy.
        found: String,
    },
    /// An identity is granted a file that the function does not have.
    #[error("`{0}` is no file of the function")]
    UnknownFile(FileName),
    /// A pipeline runs what is no program of the policy.
    #[error("`{0}` is no program of the policy")]
    UnknownProgram(GuestPath),
    /// No hash says which bytes the program has.
    #[error("no hash is given for `{0}`")]
    MissingHash(FileName),
    /// Two hashes are given for the same file.
    #[error("another hash is given for `{0}` elsewhere")]
    ConflictingHash(FileName),
    /// A feature of later systems that is not served.
    #[error("{0} are not supported")]
    Unsupported(&'static str),
    /// A moment that must come is over.
    #[error("is in the past")]
    Past,
    /// A certificate is over since then.
    #[error("has expired at {0}; put a certificate there that still holds")]
    Expired(Timestamp),
    /// The text cannot be written into a policy.
    #[error("contains a character that is not allowed")]
    Character,
}
