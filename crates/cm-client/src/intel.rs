//! Threat intelligence.

use serde_json::{Value, json};

use crate::api::segment;
use crate::resources::{Entry, Listing};
use crate::{Api, ClientError};

impl Api {
    /// How threat intelligence is doing on the node.
    pub async fn intel_status(&self) -> Result<Entry, ClientError> {
        self.get("/api/v1/intel/status").await
    }

    /// Reports a threat; `tlp` is the marking.
    pub async fn report_threat(
        &self,
        source_ip: &str,
        threat_type: &str,
        severity: &str,
        tlp: Option<&str>,
    ) -> Result<Entry, ClientError> {
        let body = json!({
            "source_ip": source_ip, "threat_type": threat_type, "severity": severity, "tlp": tlp,
        });
        self.post("/api/v1/intel/events", &body).await
    }

    /// Takes in an event that another node signed.
    pub async fn import_threat_event(&self, event: &Value) -> Result<Entry, ClientError> {
        self.post("/api/v1/intel/events/import", event).await
    }

    /// Events; `query` are parameters of `/api/v1/intel/events`.
    pub async fn threat_events(&self, query: &[(&str, String)]) -> Result<Listing<Entry>, ClientError> {
        self.get_page("/api/v1/intel/events", query).await
    }

    /// Says that an event is false; what is held of its reporter then.
    pub async fn dismiss_threat_event(&self, seq: u64) -> Result<Entry, ClientError> {
        self.post(&format!("/api/v1/intel/events/{seq}/dismiss"), &json!({})).await
    }

    /// What is held of a reporter, and why.
    pub async fn reputation(&self, key: &str) -> Result<Entry, ClientError> {
        self.get(&format!("/api/v1/intel/reputations/{}", segment(key))).await
    }

    /// Reporters with what is held of them.
    pub async fn reputations(&self, query: &[(&str, String)]) -> Result<Listing<Entry>, ClientError> {
        self.get_page("/api/v1/intel/reputations", query).await
    }

    /// Links to peers, and peers that cannot be reached.
    pub async fn intel_links(&self) -> Result<Vec<Entry>, ClientError> {
        self.get("/api/v1/intel/peers").await
    }

    /// Feeds, and how they are.
    pub async fn feeds(&self) -> Result<Vec<Entry>, ClientError> {
        self.get("/api/v1/intel/feeds").await
    }

    /// How a feed is.
    pub async fn feed(&self, id: &str) -> Result<Entry, ClientError> {
        self.get(&format!("/api/v1/intel/feeds/{}", segment(id))).await
    }

    /// Adds a feed; `body` as `POST /api/v1/intel/feeds` takes it.
    pub async fn add_feed(&self, body: &Value) -> Result<Entry, ClientError> {
        self.post("/api/v1/intel/feeds", body).await
    }

    /// Asks a feed now; its `activity` is `waiting` again when that is over.
    pub async fn pull_feed(&self, id: &str) -> Result<Entry, ClientError> {
        self.post(&format!("/api/v1/intel/feeds/{}/pull", segment(id)), &json!({})).await
    }

    /// Removes a feed with everything that it said.
    pub async fn remove_feed(&self, id: &str) -> Result<(), ClientError> {
        self.delete(&format!("/api/v1/intel/feeds/{}", segment(id))).await
    }

    /// Sources of threats.
    pub async fn indicators(&self, query: &[(&str, String)]) -> Result<Listing<Entry>, ClientError> {
        self.get_page("/api/v1/intel/indicators", query).await
    }

    /// Indicators for other tools, in the form `plain`, `nftables` or `sigma`.
    pub async fn export_indicators(&self, format: &str, confidence: u8) -> Result<String, ClientError> {
        let path = format!("/api/v1/intel/export?format={}&confidence={confidence}", segment(format));
        self.get_text(&path).await
    }
}
