//! Computations on secret shares: what travels is sealed before it comes here, and opened after it has left.

use cm_types::ResourceKind;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::segment;
use crate::resources::{Entry, item};
use crate::{Api, ClientError};

/// What a node is to other parties.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PartyInfo {
    /// What it is called among parties.
    pub name: String,
    /// The key of its links.
    pub link_key: String,
    /// The key that shares for it are sealed to.
    pub sealing_key: String,
    /// Whether it takes part in computations.
    pub on: bool,
    /// The nodes that may be parties beside it.
    pub peers: Vec<PartyPeerInfo>,
}

/// A node that may be a party beside another.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PartyPeerInfo {
    /// What it is called.
    pub name: String,
    /// Where it listens for parties.
    pub address: String,
    /// The key of its links.
    pub link_key: String,
    /// Whether it answers now.
    pub up: bool,
}

/// A key that parties have together.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct GroupKeyInfo {
    /// Its public part: what results are verified by.
    pub key: String,
    /// The parties that have it, by number.
    pub parties: Vec<String>,
    /// As many of them can neither sign nor learn it together.
    pub threshold: u16,
    /// The run in which they made it.
    pub run: String,
    /// When.
    pub made_at: String,
}

impl Api {
    /// The keys by which the node signs results with others.
    ///
    /// # Errors
    /// As every call.
    pub async fn group_keys(&self) -> Result<Vec<GroupKeyInfo>, ClientError> {
        self.get("/api/v1/mpc/keys").await
    }

    /// The parties' signature of a result, with what they signed.
    ///
    /// # Errors
    /// As every call.
    pub async fn computation_proof(&self, id: &str) -> Result<Value, ClientError> {
        self.get(&format!("{}/proof", item(ResourceKind::Computation, id))).await
    }

    /// Records a signed result where the node records them; where that is.
    ///
    /// # Errors
    /// As every call.
    pub async fn anchor_computation(&self, id: &str) -> Result<Value, ClientError> {
        let nothing = serde_json::json!({});
        self.post_patiently(&format!("{}/anchor", item(ResourceKind::Computation, id)), &nothing).await
    }

    /// What the node is among parties.
    ///
    /// # Errors
    /// As every call.
    pub async fn party(&self) -> Result<PartyInfo, ClientError> {
        self.get("/api/v1/mpc/party").await
    }

    /// Makes a node known that may be a party.
    ///
    /// # Errors
    /// As every call.
    pub async fn put_party_peer(&self, name: &str, address: &str, link_key: &str) -> Result<(), ClientError> {
        let body = serde_json::json!({ "address": address, "link_key": link_key });
        self.call(Method::PUT, &format!("/api/v1/mpc/peers/{}", segment(name)), Some(&body)).await
    }

    /// Forgets such a node.
    ///
    /// # Errors
    /// As every call.
    pub async fn remove_party_peer(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&format!("/api/v1/mpc/peers/{}", segment(name))).await
    }

    /// Makes a computation; the body is as the API describes it.
    ///
    /// # Errors
    /// As every call.
    pub async fn create_computation(&self, body: &Value) -> Result<Entry, ClientError> {
        self.post("/api/v1/computations", body).await
    }

    /// Gives a party's sealed share of an input.
    ///
    /// # Errors
    /// As every call.
    pub async fn put_computation_input(
        &self,
        id: &str,
        input: &str,
        party: &str,
        sealed: Vec<u8>,
    ) -> Result<(), ClientError> {
        let path =
            format!("{}/inputs/{}/{}", item(ResourceKind::Computation, id), segment(input), segment(party));
        let request = self.request(Method::PUT, &path)?;
        let request = request.header("content-type", "application/octet-stream").body(sealed);
        self.send(request).await.map(drop)
    }

    /// Starts a computation whose inputs are there.
    ///
    /// # Errors
    /// As every call.
    pub async fn run_computation(&self, id: &str, within_seconds: Option<u32>) -> Result<(), ClientError> {
        let body = serde_json::json!({ "within_seconds": within_seconds });
        let path = format!("{}/run", item(ResourceKind::Computation, id));
        self.call(Method::POST, &path, Some(&body)).await
    }

    /// Ends a run.
    ///
    /// # Errors
    /// As every call.
    pub async fn cancel_computation(&self, id: &str) -> Result<(), ClientError> {
        let path = format!("{}/cancel", item(ResourceKind::Computation, id));
        self.call(Method::POST, &path, None).await
    }

    /// Waits until a run has ended, or the connection has.
    ///
    /// # Errors
    /// As every call.
    pub async fn await_computation(&self, id: &str) -> Result<(), ClientError> {
        // The messages say how far it is; that they end says that it has ended.
        self.get_text(&format!("{}/progress", item(ResourceKind::Computation, id))).await.map(drop)
    }

    /// A party's sealed share of a result.
    ///
    /// # Errors
    /// As every call.
    pub async fn computation_result(
        &self,
        id: &str,
        output: &str,
        party: &str,
    ) -> Result<Vec<u8>, ClientError> {
        let path =
            format!("{}/results/{}/{}", item(ResourceKind::Computation, id), segment(output), segment(party));
        let response = self.send(self.request(Method::GET, &path)?).await?;
        let url = response.url().to_string();
        let bytes = response.bytes().await.map_err(|source| ClientError::unreachable(&url, source))?;
        Ok(bytes.to_vec())
    }
}
