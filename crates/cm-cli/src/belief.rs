//! What a caller believes of an instance, and by which certificate it is known there.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use cm_attest::AttestError;
use cm_client::trust::{Distrust, Measurements, Uncertified};
use cm_client::{ClientError, ClientIdentity, Trust};
use cm_crypto::sign::VerifyingKey;
use cm_types::Sha256Digest;

use crate::{Connection, UsageError, output};

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
    /// The node's verifying key, in PEM [default: that of the local data directory]. For evidence: the node must be asked
    /// by naming an instance.
    #[arg(long, value_name = "FILE")]
    pub node_key: Option<PathBuf>,
    /// SHA-256 of an executable that may run the instance [default: of evidence, this executable; of a certificate alone,
    /// those that the policy names]. May be repeated.
    #[arg(long, value_name = "SHA256")]
    pub measurement: Vec<Sha256Digest>,
    /// An isolation layer that must be active. For evidence: the node must be asked by naming an instance. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub require_isolation: Vec<String>,
}

impl TrustArgs {
    /// Which executables a certificate may be about, which the policy has to name too.
    ///
    /// # Errors
    /// [`UsageError`] if something is demanded that no certificate shows: it would be left unchecked.
    pub(crate) fn of_certificate(&self) -> Result<Measurements, UsageError> {
        let unseen = [
            ("--require-isolation", !self.require_isolation.is_empty()),
            ("--node-key", self.node_key.is_some()),
        ];
        if let Some((flag, _)) = unseen.into_iter().find(|(_, given)| *given) {
            return Err(UsageError(format!(
                "{flag} cannot be checked by the certificate alone; add --instance ID, so that the node is asked for evidence"
            )));
        }
        Ok(match self.measurement.as_slice() {
            [] => Measurements::Any,
            accepted => Measurements::OneOf(accepted.to_vec()),
        })
    }

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

/// Says what would help where somebody meant to believe software and did not say so.
pub(crate) fn hint(connection: &Connection, error: &ClientError) {
    let vouched_by_software = matches!(
        error,
        ClientError::Untrusted(
            Distrust::Evidence(AttestError::InsecureRefused)
                | Distrust::Uncertified(Uncertified::InsecureSoftware)
        )
    );
    if vouched_by_software {
        let hint = "--allow-insecure-software accepts what only the node's software vouches for";
        output::note(connection, hint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_certificate_does_not_show_is_not_left_unchecked() {
        let nothing = TrustArgs {
            allow_insecure_software: true,
            node_key: None,
            measurement: Vec::new(),
            require_isolation: Vec::new(),
        };
        assert!(matches!(nothing.of_certificate(), Ok(Measurements::Any)));
        let measured = TrustArgs { measurement: vec![Sha256Digest::from_bytes([1; 32])], ..nothing.clone() };
        assert!(
            matches!(measured.of_certificate(), Ok(Measurements::OneOf(accepted)) if accepted.len() == 1)
        );
        let isolated = TrustArgs { require_isolation: vec!["seccomp".to_owned()], ..nothing.clone() };
        let keyed = TrustArgs { node_key: Some("k".into()), ..nothing };
        for (trust, flag) in [(isolated, "--require-isolation"), (keyed, "--node-key")] {
            assert!(trust.of_certificate().unwrap_err().to_string().starts_with(flag));
        }
    }
}
