//! Expected decisions, one a line.
//!
//! ```text
//! allow read object ct-scans/1.dcm by user:alice role:analyst with mfa time:2027-01-04T09:00:00Z -> 3
//! deny  delete object ct-scans/1.dcm by role:analyst
//! deny  list bucket * by anonymous -> default
//! ```
//!
//! `*` is the collection of the kind. Behind `by` stand `anonymous`, `user:`, `tenant:`, `role:`, `group:` and
//! `subject:NAME=VALUE`; behind `with` stand `mfa`, `no-mfa`, `tls`, `no-tls`, `owner`, `time:`, `address:`,
//! `label:NAME=VALUE` and `request:NAME=VALUE`. What is not said is not known, but for ownership, which is not then.
//! Behind `->` stands the line of the statement that decides, or `default` if none does. What has blanks stands in quotes.

use std::collections::BTreeMap;

use cm_types::{Action, Labels, ResourceId, ResourceKind};

use super::{Circumstances, Request, Requester, Verdict};
use crate::RoleFacts;

/// Expected decisions.
#[derive(Clone, Debug, Default)]
pub struct CaseFile {
    /// In the order of the file.
    pub cases: Vec<Case>,
}

/// An expected decision.
#[derive(Clone, Debug)]
pub struct Case {
    /// Where it stands.
    pub line: u32,
    /// As it is written.
    pub text: String,
    /// Whether it is to be allowed.
    pub allowed: bool,
    /// The statement that is to decide, if that is said: its line, or `None` for no statement.
    pub decided_at: Option<Option<u32>>,
    action: Action,
    kind: ResourceKind,
    id: Option<String>,
    principal: Option<String>,
    tenant: Option<String>,
    roles: Vec<RoleFacts>,
    groups: Vec<String>,
    attributes: Option<BTreeMap<String, String>>,
    is_owner: bool,
    labels: Labels,
    circumstances: Circumstances,
}

/// A line that is no expected decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct CaseError {
    /// The line.
    pub line: u32,
    /// What is wrong.
    pub problem: CaseProblem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaseProblem {
    /// It does not begin as it must.
    #[error("expected `allow` or `deny`, an action, a kind and an id, as in `allow read object bucket/key`")]
    Shape,
    /// There is no such action.
    #[error(transparent)]
    Action(#[from] cm_types::action::UnknownAction),
    /// There is no such kind.
    #[error(transparent)]
    Kind(#[from] cm_types::kind::UnknownKind),
    /// A word that says nothing.
    #[error("`{0}` says nothing here")]
    Word(String),
    /// A quote without an end.
    #[error("a `\"` is not closed")]
    Unterminated,
}

impl CaseFile {
    /// Reads expected decisions; empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// The first line that is none.
    pub fn parse(text: &str) -> Result<Self, CaseError> {
        let mut cases = Vec::new();
        for (place, line) in text.lines().enumerate() {
            let line_number = u32::try_from(place + 1).unwrap_or(u32::MAX);
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            let case = Case::parse(trimmed, line_number);
            cases.push(case.map_err(|problem| CaseError { line: line_number, problem })?);
        }
        Ok(Self { cases })
    }
}

impl Case {
    fn parse(text: &str, line: u32) -> Result<Self, CaseProblem> {
        let words = words(text)?;
        let mut words = words.iter().map(String::as_str);
        let mut next = || words.next().ok_or(CaseProblem::Shape);
        let allowed = match next()? {
            "allow" => true,
            "deny" => false,
            _ => return Err(CaseProblem::Shape),
        };
        let (action, kind) = (next()?.parse()?, next()?.parse()?);
        let id = Some(next()?.to_owned()).filter(|id| id != "*");
        let mut case = Self {
            line,
            text: text.to_owned(),
            allowed,
            decided_at: None,
            action,
            kind,
            id,
            principal: None,
            tenant: None,
            roles: Vec::new(),
            groups: Vec::new(),
            attributes: None,
            is_owner: false,
            labels: Labels::new(),
            circumstances: Circumstances::default(),
        };
        let (mut part, mut labels, mut anonymous) = ("", BTreeMap::new(), false);
        for word in words {
            let says = match (part, word) {
                (_, "by" | "with" | "->") => {
                    part = word;
                    true
                }
                ("by", "anonymous") => {
                    anonymous = true;
                    true
                }
                ("by", word) => case.by(word).is_some(),
                ("with", word) => case.with(word, &mut labels).is_some(),
                ("->", "default") => {
                    case.decided_at = Some(None);
                    true
                }
                ("->", line) => {
                    case.decided_at = line.parse().ok().map(Some);
                    case.decided_at.is_some()
                }
                _ => false,
            };
            if !says {
                return Err(CaseProblem::Word(word.to_owned()));
            }
        }
        case.labels = Labels::try_from(labels).map_err(|error| CaseProblem::Word(error.to_string()))?;
        if !anonymous {
            case.principal.get_or_insert_with(|| "somebody".to_owned());
            case.tenant.get_or_insert_with(|| "default".to_owned());
        }
        Ok(case)
    }

    fn by(&mut self, word: &str) -> Option<()> {
        let (what, name) = word.split_once(':')?;
        match what {
            "user" => self.principal = Some(name.to_owned()),
            "tenant" => self.tenant = Some(name.to_owned()),
            "role" => {
                let id = ResourceId::parse(name).ok()?;
                self.roles.push(RoleFacts { id, name: name.to_owned(), permissions: Vec::new() });
            }
            "group" => self.groups.push(name.to_owned()),
            "subject" => {
                let (name, value) = name.split_once('=')?;
                self.attributes.get_or_insert_default().insert(name.to_owned(), value.to_owned());
            }
            _ => return None,
        }
        Some(())
    }

    fn with(&mut self, word: &str, labels: &mut BTreeMap<String, String>) -> Option<()> {
        let said = &mut self.circumstances;
        match word {
            "mfa" => said.mfa = Some(true),
            "no-mfa" => said.mfa = Some(false),
            "tls" => said.tls = Some(true),
            "no-tls" => said.tls = Some(false),
            "owner" => self.is_owner = true,
            word => {
                let (what, value) = word.split_once(':')?;
                match what {
                    "time" => said.now = Some(value.parse().ok()?),
                    "address" => said.address = Some(value.parse().ok()?),
                    "label" | "request" => {
                        let (name, value) = value.split_once('=')?;
                        let map = if what == "label" { labels } else { &mut said.attributes };
                        map.insert(name.to_owned(), value.to_owned());
                    }
                    _ => return None,
                }
            }
        }
        Some(())
    }

    /// What is asked.
    pub fn request(&self) -> Request<'_> {
        Request {
            who: Requester {
                principal: self.principal.as_deref(),
                tenant: self.tenant.as_deref(),
                roles: &self.roles,
                groups: &self.groups,
                attributes: self.attributes.as_ref(),
            },
            action: self.action,
            kind: self.kind,
            id: self.id.as_deref(),
            labels: &self.labels,
            is_owner: self.is_owner,
            circumstances: &self.circumstances,
        }
    }

    /// Whether the verdict is the expected one.
    pub fn expects(&self, verdict: &Verdict<'_>) -> bool {
        let (allowed, line) = match verdict {
            Verdict::Silent => (false, None),
            Verdict::Allows(place) => (true, Some(place.line)),
            Verdict::Denies(place) => (false, Some(place.line)),
        };
        allowed == self.allowed && self.decided_at.is_none_or(|expected| expected == line)
    }
}

/// Words between blanks; a part in quotes may have blanks.
fn words(text: &str) -> Result<Vec<String>, CaseProblem> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            character if character.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            character => word.push(character),
        }
    }
    if quoted {
        return Err(CaseProblem::Unterminated);
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}
