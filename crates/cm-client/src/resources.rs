//! Catalogue entries, as the API shows them.
//!
//! Entries of any kind are read as [`Entry`]: flat JSON, the header and the kind's own fields side by side. The few
//! answers that the client acts on have types of their own.

use cm_types::{ResourceKind, Sha256Digest};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::segment;
use crate::{Api, ClientError};

/// A catalogue entry of any kind.
pub type Entry = serde_json::Map<String, Value>;

/// One page of a collection.
#[derive(Debug)]
pub struct Listing<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// Which entries to list.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Most entries.
    pub limit: Option<usize>,
    /// Where to begin: `next` of the page before.
    pub after: Option<String>,
    /// Labels that entries must have.
    pub selector: Option<String>,
    /// Fields that entries must have with these values: paths such as `executor`, `resources.cpu` and
    /// `status.state`, or what the event log can be asked for besides.
    pub filters: Vec<(String, String)>,
    /// Whether what was created last comes first. The event log has no such order.
    pub newest_first: bool,
}

/// What a node says of itself.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeInfo {
    /// Its version.
    pub version: String,
    /// The key that signs its evidence, as PEM.
    pub verifying_key: String,
    /// SHA-256 of the executable that its instances run.
    pub measurement: Sha256Digest,
}

/// What became of passkeys when their owner changed the password.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct EndedPasskeys {
    /// How many were removed, because a factor was shown.
    pub passkeys_removed: usize,
    /// How many log in no more, because none was shown.
    pub passkeys_closed: usize,
}

/// The network of nodes as one of them sees it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NetworkInfo {
    /// What it is called.
    pub name: String,
    /// The node that was asked.
    pub node: String,
    /// Who leads.
    pub leader: Option<String>,
    /// All nodes.
    pub nodes: Vec<NetworkNodeInfo>,
}

/// One node of a network.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NetworkNodeInfo {
    /// Its id.
    pub id: String,
    /// Where others reach it.
    pub address: String,
    /// The public key of its links.
    pub link_key: String,
    /// Whether it counts in majorities.
    pub votes: bool,
    /// Whether it leads.
    pub leads: bool,
    /// Whether the node that was asked reaches it; `None` for itself.
    pub reached: Option<bool>,
}

/// An invitation for one node. Its text is a secret.
#[derive(Deserialize)]
pub struct NodeInvitation {
    /// Its id.
    pub id: String,
    /// The text.
    pub invitation: String,
    /// When it ends.
    pub expires_at: String,
}

/// A running instance.
#[derive(Clone, Debug, Deserialize)]
pub struct InstanceInfo {
    /// Its id.
    pub id: String,
    /// Where it listens.
    pub address: String,
    /// SHA-256 of the policy's exact bytes.
    pub policy_hash: Sha256Digest,
    /// The policy's exact bytes, in the answer to a creation.
    #[serde(default)]
    pub policy: Option<String>,
}

/// A token that was just issued.
#[derive(Debug, Deserialize)]
pub struct IssuedToken {
    /// The bearer token.
    pub token: String,
    /// When it ends, as RFC 3339.
    pub expires_at: String,
}

/// An API key that was just made; its text is never shown again.
#[derive(Debug, Deserialize)]
pub struct IssuedApiKey {
    /// Its id; for S3, the access key id.
    pub id: String,
    /// The key's text; for S3, the secret access key.
    pub key: String,
}

/// An API key without its secret.
#[derive(Debug, Deserialize, Serialize)]
pub struct ApiKey {
    /// Its id; for S3, the access key id.
    pub id: String,
    /// What it opens: `bearer` or `s3`.
    pub kind: String,
    /// What it is for.
    pub label: String,
    /// When it was made, as RFC 3339.
    pub created_at: String,
}

/// Whether somebody may do something, and why.
#[derive(Debug, Deserialize, Serialize)]
pub struct Decision {
    /// The outcome.
    pub allowed: bool,
    /// The reasons, in the order in which they were considered.
    pub reasons: Vec<String>,
}

fn collection(kind: ResourceKind) -> String {
    format!("/api/v1/{}", kind.plural())
}

pub(crate) fn item(kind: ResourceKind, id: &str) -> String {
    format!("/api/v1/{}/{}", kind.plural(), segment(id))
}

/// The query parameter by which a kind is filtered: one of its own, or the general `filter=PATH=VALUE`.
fn filter<'a>(kind: ResourceKind, name: &'a str, value: &str) -> (&'a str, String) {
    let own: &[&str] = match kind {
        ResourceKind::Event => &["verb", "resource", "actor", "outcome"],
        _ => &[],
    };
    if own.contains(&name) { (name, value.to_owned()) } else { ("filter", format!("{name}={value}")) }
}

impl Api {
    /// One page of a kind's entries.
    pub async fn list(&self, kind: ResourceKind, query: &ListQuery) -> Result<Listing<Entry>, ClientError> {
        let mut pairs: Vec<(&str, String)> = Vec::new();
        pairs.extend(query.limit.map(|limit| ("limit", limit.to_string())));
        pairs.extend(query.after.clone().map(|after| ("after", after)));
        pairs.extend(query.selector.clone().map(|selector| ("selector", selector)));
        pairs.extend(query.filters.iter().map(|(name, value)| filter(kind, name, value)));
        if query.newest_first {
            pairs.push(("order", "newest-first".to_owned()));
        }
        self.get_page(&collection(kind), &pairs).await
    }

    /// One entry.
    pub async fn read(&self, kind: ResourceKind, id: &str) -> Result<Entry, ClientError> {
        self.get(&item(kind, id)).await
    }

    /// Makes an entry.
    pub async fn create(&self, kind: ResourceKind, body: &Value) -> Result<Entry, ClientError> {
        self.post(&collection(kind), body).await
    }

    /// Changes the named fields of one resource; the others stay.
    pub async fn change(&self, kind: ResourceKind, id: &str, fields: &Value) -> Result<(), ClientError> {
        self.call(Method::PATCH, &item(kind, id), Some(fields)).await
    }

    /// Removes an entry.
    pub async fn remove(&self, kind: ResourceKind, id: &str) -> Result<(), ClientError> {
        self.delete(&item(kind, id)).await
    }

    /// What the node says of itself.
    pub async fn node(&self) -> Result<NodeInfo, ClientError> {
        self.get("/api/v1/node").await
    }

    /// The network of nodes, as the node sees it.
    pub async fn network(&self) -> Result<NetworkInfo, ClientError> {
        self.get("/api/v1/network").await
    }

    /// Makes an invitation for one node, which lasts so many seconds.
    pub async fn invite_node(&self, lasts_secs: u64) -> Result<NodeInvitation, ClientError> {
        self.post("/api/v1/network/invitations", &serde_json::json!({ "lasts_secs": lasts_secs })).await
    }

    /// Takes a node out of the network.
    pub async fn remove_node(&self, id: &str) -> Result<(), ClientError> {
        self.delete(&format!("/api/v1/network/nodes/{}", segment(id))).await
    }

    /// Exchanges a password for a token.
    pub async fn login(
        &self,
        tenant: &str,
        principal: &str,
        password: &str,
    ) -> Result<IssuedToken, ClientError> {
        let body = serde_json::json!({ "tenant": tenant, "principal": principal, "password": password });
        self.post("/api/v1/auth/login", &body).await
    }

    /// As [`Api::login`], with a code of the second factor besides.
    pub async fn login_with_code(
        &self,
        (tenant, principal): (&str, &str),
        password: &str,
        code: Option<&str>,
    ) -> Result<IssuedToken, ClientError> {
        let body = serde_json::json!({
            "tenant": tenant, "principal": principal, "password": password, "code": code,
        });
        self.post("/api/v1/auth/login", &body).await
    }

    /// Takes one's own second factor away, by a code.
    pub async fn remove_second_factor(&self, code: &str) -> Result<(), ClientError> {
        let body = serde_json::json!({ "code": code });
        self.call(Method::POST, "/api/v1/auth/mfa/remove", Some(&body)).await
    }

    /// Takes the second factor of somebody away who lost it.
    pub async fn reset_second_factor(&self, principal: &str) -> Result<(), ClientError> {
        self.delete(&format!("{}/mfa", item(ResourceKind::Principal, principal))).await
    }

    /// Takes a passkey of one's own away.
    pub async fn remove_passkey(&self, id: &str) -> Result<(), ClientError> {
        self.delete(&format!("/api/v1/auth/passkeys/{}", segment(id))).await
    }

    /// Takes all passkeys of somebody away who lost them.
    pub async fn reset_passkeys(&self, principal: &str) -> Result<(), ClientError> {
        self.delete(&format!("{}/passkeys", item(ResourceKind::Principal, principal))).await
    }

    /// Revokes the token in use.
    pub async fn logout(&self) -> Result<(), ClientError> {
        self.call(Method::POST, "/api/v1/auth/logout", None).await
    }

    /// Who the node takes the caller for.
    pub async fn whoami(&self) -> Result<Entry, ClientError> {
        self.get("/api/v1/auth/whoami").await
    }

    /// Sets the password of a principal.
    pub async fn set_password(&self, principal: &str, password: &str) -> Result<(), ClientError> {
        let path = format!("{}/password", item(ResourceKind::Principal, principal));
        self.call(Method::PUT, &path, Some(&serde_json::json!({ "password": password }))).await
    }

    /// Changes one's own password by the old one, and a code of the second factor if there is one. Says what became of passkeys.
    pub async fn change_password(
        &self,
        principal: &str,
        (old, code): (&str, Option<&str>),
        password: &str,
    ) -> Result<EndedPasskeys, ClientError> {
        let path = format!("{}/password", item(ResourceKind::Principal, principal));
        let body = serde_json::json!({ "password": password, "old_password": old, "code": code });
        Ok(self.put_for(&path, &body).await?.unwrap_or_default())
    }

    /// Makes an API key for a principal.
    pub async fn create_api_key(&self, principal: &str, label: &str) -> Result<IssuedApiKey, ClientError> {
        let path = format!("{}/api-keys", item(ResourceKind::Principal, principal));
        self.post(&path, &serde_json::json!({ "label": label })).await
    }

    /// Makes a key for a principal to sign requests of S3 with.
    pub async fn create_s3_key(&self, principal: &str, label: &str) -> Result<IssuedApiKey, ClientError> {
        let path = format!("{}/api-keys", item(ResourceKind::Principal, principal));
        self.post(&path, &serde_json::json!({ "label": label, "kind": "s3" })).await
    }

    /// The API keys of a principal, without their secrets.
    pub async fn api_keys(&self, principal: &str) -> Result<Vec<ApiKey>, ClientError> {
        self.get(&format!("{}/api-keys", item(ResourceKind::Principal, principal))).await
    }

    /// Revokes an API key, of either kind.
    pub async fn revoke_api_key(&self, principal: &str, key: &str) -> Result<(), ClientError> {
        let path = format!("{}/api-keys/{}", item(ResourceKind::Principal, principal), segment(key));
        self.delete(&path).await
    }

    /// Whether `principal` may do `action` to `resource`, and why.
    pub async fn decide(
        &self,
        principal: &str,
        action: &str,
        resource: &str,
    ) -> Result<Decision, ClientError> {
        let body = serde_json::json!({ "principal": principal, "action": action, "resource": resource });
        self.post("/api/v1/decisions", &body).await
    }

    /// Registers a confidential function by the text of its program policy.
    pub async fn register_function(
        &self,
        name: &str,
        description: Option<&str>,
        policy: &str,
    ) -> Result<Entry, ClientError> {
        let body = serde_json::json!({
            "id": name,
            "name": name,
            "description": description,
            "executor": "confidential",
            "confidential": { "policy": policy },
        });
        self.create(ResourceKind::Function, &body).await
    }

    /// The newest states or results of a function, newest first.
    pub async fn function_history(
        &self,
        kind: ResourceKind,
        function: &str,
        limit: usize,
    ) -> Result<Vec<Entry>, ClientError> {
        let filters = vec![("function_id".to_owned(), function.to_owned())];
        let query =
            ListQuery { limit: Some(limit.min(1000)), filters, newest_first: true, ..ListQuery::default() };
        Ok(self.list(kind, &query).await?.items)
    }

    /// Uploads a program of a function. Refused unless its digest is the one that the function names.
    pub async fn put_program(&self, function: &str, name: &str, bytes: Vec<u8>) -> Result<(), ClientError> {
        let path = format!("{}/programs/{}", item(ResourceKind::Function, function), segment(name));
        let request =
            self.request(Method::PUT, &path)?.header("content-type", "application/wasm").body(bytes);
        self.send(request).await.map(drop)
    }

    /// Starts an instance of a function under a user policy.
    pub async fn create_instance(&self, user_policy: &Value) -> Result<InstanceInfo, ClientError> {
        self.post("/api/v1/instances", user_policy).await
    }

    /// The exact policy that an instance runs under.
    pub async fn instance_policy(&self, id: &str) -> Result<String, ClientError> {
        self.get_text(&format!("{}/policy", item(ResourceKind::Instance, id))).await
    }

    /// Fresh evidence of what an instance is, bound to the caller's nonce.
    pub async fn instance_evidence(&self, id: &str, nonce: &[u8]) -> Result<String, ClientError> {
        #[derive(Deserialize)]
        struct Answer {
            evidence: String,
        }
        let nonce: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = format!("{}/evidence", item(ResourceKind::Instance, id));
        let answer: Answer = self.post(&path, &serde_json::json!({ "nonce": nonce })).await?;
        Ok(answer.evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_parameters_of_their_own_only_where_a_kind_has_them() {
        let check = |kind, name, value, expected: (&str, &str)| {
            assert_eq!(filter(kind, name, value), (expected.0, expected.1.to_owned()));
        };
        check(ResourceKind::Function, "executor", "plain", ("filter", "executor=plain"));
        check(ResourceKind::Function, "order", "x", ("filter", "order=x"));
        check(ResourceKind::FunctionState, "function_id", "f", ("filter", "function_id=f"));
        check(ResourceKind::FunctionResult, "state", "a=b", ("filter", "state=a=b"));
        check(ResourceKind::Event, "verb", "function.", ("verb", "function."));
    }
}
