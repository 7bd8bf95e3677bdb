//! People who take part: principals with tokens and certificates.

use std::time::Duration;

use cm_client::{Api, ClientIdentity};
use cm_types::{ResourceKind, Timestamp};
use serde_json::{Value, json};

use crate::Node;

/// Somebody with credentials and a certificate.
pub struct Party {
    /// The API as it sees it.
    pub api: Api,
    /// Its API key.
    pub token: String,
    /// What instances know it by.
    pub identity: ClientIdentity,
    /// Its certificate, as policies name it.
    pub certificate_pem: String,
}

/// Makes a principal with these roles, an API key and a certificate.
///
/// # Panics
/// If the node refuses.
pub async fn enrol(node: &Node, name: &str, roles: &[&str]) -> Party {
    let admin = node.admin();
    let body = json!({ "id": name, "roles": roles });
    admin.create(ResourceKind::Principal, &body).await.expect("the principal is made");
    let token = admin.create_api_key(name, "test").await.expect("the key is made").key;
    let now = Timestamp::from(std::time::SystemTime::now());
    let made =
        cm_crypto::cert::generate_identity(name, now, Duration::from_secs(3600)).expect("a certificate");
    let certificate_pem = made.certificate_pem();
    let identity =
        ClientIdentity::from_pem(&certificate_pem, made.private_key_pem().expose()).expect("an identity");
    Party { api: node.api(Some(token.clone())), token, identity, certificate_pem }
}

/// A user policy: each party with its rights by file.
pub fn policy_for(function: &str, instance: &str, parties: &[(&Party, &[(&str, u32)])]) -> Value {
    let identities: Vec<Value> = parties
        .iter()
        .map(|(party, rights)| {
            let rights: Vec<Value> =
                rights.iter().map(|(file, rights)| json!({ "file_name": file, "rights": rights })).collect();
            json!({ "certificate": party.certificate_pem, "file_rights": rights })
        })
        .collect();
    json!({ "function": function, "instanceid": instance, "identities": identities })
}
