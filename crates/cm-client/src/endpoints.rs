//! Deploying endpoints.

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::segment;
use crate::resources::Entry;
use crate::{Api, ClientError};

impl Api {
    /// Creates an endpoint and deploys it. The answer comes before it serves: its `state` is `warming`.
    pub async fn create_deployed_endpoint(&self, body: &Value) -> Result<Entry, ClientError> {
        self.post("/api/v1/endpoints/deploy", body).await
    }

    /// Deploys an endpoint that is cold; as [`Api::create_deployed_endpoint`].
    pub async fn deploy_endpoint(&self, id: &str) -> Result<Entry, ClientError> {
        self.post(&format!("/api/v1/endpoints/{}/deploy", segment(id)), &json!({})).await
    }

    /// Ends the deployment of an endpoint, keeps its record, and returns it once it is cold.
    pub async fn detach_endpoint(&self, id: &str) -> Result<Entry, ClientError> {
        self.post(&format!("/api/v1/endpoints/{}/detach", segment(id)), &json!({})).await
    }

    /// Ends the deployment of an endpoint, if it is deployed, and deletes its record.
    pub async fn detach_and_delete_endpoint(&self, id: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, &format!("/api/v1/endpoints/detach/{}", segment(id)), None).await
    }
}
