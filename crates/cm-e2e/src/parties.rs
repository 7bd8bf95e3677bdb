//! People who take part: principals with tokens and certificates.

use std::time::Duration;

use cm_client::trust::Measurements;
use cm_client::{Api, ClientIdentity, InstanceConnection, Terms, Trust};
use cm_crypto::sign::VerifyingKey;
use cm_types::{ResourceKind, Timestamp};
use serde_json::{Value, json};

use crate::{Node, cryptomesh};

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

/// A program and what it may do to which file.
pub struct Program<'a> {
    /// The function, and with a suffix the instance, that it is registered as.
    pub name: &'a str,
    /// `JIT` or `Interpretation`.
    pub strategy: &'a str,
    /// The module.
    pub wasm: Vec<u8>,
    /// Rights by file.
    pub rights: &'a [(&'a str, u32)],
}

/// The file that the only program of [`instance`] is stored as.
pub const PROGRAM_FILE: &str = "program.wasm";

/// Registers a function of one program, starts an instance for one party, verifies it and connects to it.
///
/// # Panics
/// If anything of this is refused.
pub async fn instance(
    node: &Node,
    party: &Party,
    program: Program<'_>,
    rights: &[(&str, u32)],
) -> InstanceConnection {
    let file_rights: Vec<Value> =
        program.rights.iter().map(|(file, rights)| json!({ "file_name": file, "rights": rights })).collect();
    let policy = json!({
        "function": program.name, "execution_strategy": program.strategy, "programs": [{
            "id": 0, "pi_hash": cm_crypto::digest::sha256(&program.wasm), "program_file_name": PROGRAM_FILE,
            "file_rights": file_rights }],
    })
    .to_string();
    party.api.register_function(program.name, None, &policy).await.expect("the function is registered");
    party.api.put_program(program.name, PROGRAM_FILE, program.wasm).await.expect("the program is accepted");
    let user_policy = policy_for(program.name, &format!("{}-1", program.name), &[(party, rights)]);
    let made = party.api.create_instance(&user_policy).await.expect("the instance starts");
    let terms = Terms::of_policies(&policy, &user_policy).expect("both policies are readable");
    let full = made.policy.expect("a new instance comes with its policy");
    party
        .api
        .open_instance(&made.id, &full, &terms, &trust(node), &party.identity)
        .await
        .expect("it is trusted")
}

/// Belief in this node's key and in the binary under test.
fn trust(node: &Node) -> Trust {
    let key =
        std::fs::read_to_string(node.data_dir().join("node.pub.pem")).expect("the node has a public key");
    let binary = std::fs::read(cryptomesh()).expect("the binary can be read");
    Trust {
        node_keys: vec![VerifyingKey::from_spki_pem(&key).expect("the key is a key")],
        measurements: Measurements::OneOf(vec![cm_crypto::digest::sha256(&binary)]),
        allow_insecure_software: true,
        require_isolation: Vec::new(),
    }
}
