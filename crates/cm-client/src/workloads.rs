//! Workloads, what they show to each other, and trust domains of others.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use std::collections::BTreeMap;

use crate::api::segment;
use crate::{Api, ClientError};

/// Where a node serves the bundle of its own trust domain.
const BUNDLE_PATH: &str = "/.well-known/spiffe-bundle";

/// A certificate that was issued to a workload.
#[derive(Clone, Debug, Deserialize)]
pub struct IssuedSvid {
    /// The workload's SPIFFE id.
    pub spiffe_id: String,
    /// The certificate in PEM.
    pub certificate: String,
    /// When it ends, RFC 3339.
    pub expires_at: String,
    /// The authorities of each trust domain in PEM.
    pub bundles: BTreeMap<String, String>,
}

/// A token that was issued to a workload.
#[derive(Clone, Deserialize)]
pub struct IssuedWorkloadToken {
    /// The workload's SPIFFE id.
    pub spiffe_id: String,
    /// Its text.
    pub token: String,
    /// When it ends, RFC 3339.
    pub expires_at: String,
}

fn principal(id: &str) -> String {
    format!("/api/v1/principals/{}", segment(id))
}

impl Api {
    /// Makes a principal a workload whose documents live so many seconds at most; its SPIFFE id.
    pub async fn register_workload(&self, id: &str, ttl_max: Option<u64>) -> Result<String, ClientError> {
        let body = ttl_max.map_or_else(|| json!({}), |max| json!({ "ttl_seconds_max": max }));
        let named: Value = self.put(&format!("{}/workload", principal(id)), &body).await?;
        Ok(named.get("spiffe_id").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Makes a principal no workload any more.
    pub async fn remove_workload(&self, id: &str) -> Result<(), ClientError> {
        self.delete(&format!("{}/workload", principal(id))).await
    }

    /// Asks for a certificate for the key of a request (PKCS#10) in PEM.
    pub async fn issue_svid(&self, id: &str, csr: &str, ttl: Option<u64>) -> Result<IssuedSvid, ClientError> {
        let body = json!({ "csr": csr, "ttl_seconds": ttl });
        self.post(&format!("{}/svids/x509", principal(id)), &body).await
    }

    /// Asks for a token for these audiences.
    pub async fn issue_workload_token(
        &self,
        id: &str,
        audience: &[String],
        ttl: Option<u64>,
    ) -> Result<IssuedWorkloadToken, ClientError> {
        let body = json!({ "audience": audience, "ttl_seconds": ttl });
        self.post(&format!("{}/svids/jwt", principal(id)), &body).await
    }

    /// The bundle of the node's own trust domain.
    pub async fn own_bundle(&self) -> Result<Value, ClientError> {
        self.get(BUNDLE_PATH).await
    }

    /// Trusts a trust domain of others.
    pub async fn trust_domain(&self, domain: &str, spec: &Value) -> Result<(), ClientError> {
        let path = format!("/api/v1/trust-domains/{}", segment(domain));
        self.call(Method::PUT, &path, Some(spec)).await
    }

    /// Trusts a trust domain of others no more.
    pub async fn distrust_domain(&self, domain: &str) -> Result<(), ClientError> {
        self.delete(&format!("/api/v1/trust-domains/{}", segment(domain))).await
    }
}
