//! Which of the four documents a text is.

use serde_json::{Map, Value};

use super::document::from_json;
use super::{FullPolicy, PolicyError, ProgramPolicy, UserPolicy, VaasPolicy};

/// One of the four documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyDocument {
    /// Registers a function.
    Program(ProgramPolicy),
    /// Asks for an instance of a function.
    User(UserPolicy),
    /// Asks for an instance and brings its programs.
    Vaas(Box<VaasPolicy>),
    /// What an instance obeys.
    Full(Box<FullPolicy>),
}

impl PolicyDocument {
    /// Reads and checks a document, whichever it is.
    ///
    /// A key that only one of them has decides; so mistakes are told about the document that was meant.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        let keys: Map<String, Value> = from_json(text)?;
        let has = |names: &[&str]| names.iter().any(|name| keys.contains_key(*name));
        if has(&["veracruz_server_url", "proxy_service_cert", "proxy_attestation_server_url"]) {
            return FullPolicy::parse(text).map(|policy| Self::Full(Box::new(policy)));
        }
        if has(&["ciphersuite"]) || (has(&["identities"]) && has(&["programs"])) {
            return VaasPolicy::parse(text).map(|policy| Self::Vaas(Box::new(policy)));
        }
        if has(&["identities", "instanceid", "instance_id"]) {
            return UserPolicy::parse(text).map(Self::User);
        }
        ProgramPolicy::parse(text).map(Self::Program)
    }

    /// What the document is called.
    pub fn form(&self) -> &'static str {
        match self {
            Self::Program(_) => "program policy",
            Self::User(_) => "user policy",
            Self::Vaas(_) => "VaaS policy",
            Self::Full(_) => "full policy",
        }
    }
}
