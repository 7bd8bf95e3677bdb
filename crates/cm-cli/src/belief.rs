//! What a caller believes of an instance, and by which certificate it is known there.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use cm_client::trust::Measurements;
use cm_client::{ClientIdentity, Trust};
use cm_crypto::sign::VerifyingKey;
use cm_types::Sha256Digest;

use crate::Connection;

/// By which certificate an instance knows the caller.
#[derive(Args, Clone, Debug)]
pub struct IdentityArgs {
    /// Your certificate, in PEM.
    #[arg(long, short = 'i', alias = "identity", value_name = "FILE")]
    pub cert: PathBuf,
    /// The key of your certificate, in PEM.
    #[arg(long, short = 'k', value_name = "FILE")]
    pub key: PathBuf,
}

impl IdentityArgs {
    /// Reads both.
    pub(crate) fn read(&self) -> anyhow::Result<ClientIdentity> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        };
        Ok(ClientIdentity::from_pem(&read(&self.cert)?, &read(&self.key)?)?)
    }
}

/// What is believed and demanded.
#[derive(Args, Clone, Debug)]
pub struct TrustArgs {
    /// Accept what only the software of the node vouches for.
    #[arg(long)]
    pub allow_insecure_software: bool,
    /// The node's verifying key, in PEM [default: that of the local data directory].
    #[arg(long, value_name = "FILE")]
    pub node_key: Option<PathBuf>,
    /// SHA-256 of an executable that may run the instance [default: this executable]. May be repeated.
    #[arg(long, value_name = "SHA256")]
    pub measurement: Vec<Sha256Digest>,
    /// An isolation layer that must be active. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub require_isolation: Vec<String>,
}

impl TrustArgs {
    /// Reads what evidence is judged by.
    pub(crate) fn read(&self, connection: &Connection) -> anyhow::Result<Trust> {
        let path = self.node_key.clone().unwrap_or_else(|| connection.data_dir().join("node.pub.pem"));
        let key = std::fs::read_to_string(&path).with_context(|| {
            let path = path.display();
            format!("cannot read the node's verifying key {path}; pass the one its operator gave you with --node-key")
        })?;
        let measurements = if self.measurement.is_empty() {
            let executable = std::fs::read("/proc/self/exe").context("cannot read this executable")?;
            vec![cm_crypto::digest::sha256(&executable)]
        } else {
            self.measurement.clone()
        };
        Ok(Trust {
            node_keys: vec![VerifyingKey::from_spki_pem(&key)?],
            measurements: Measurements::OneOf(measurements),
            allow_insecure_software: self.allow_insecure_software,
            require_isolation: self.require_isolation.clone(),
        })
    }
}
