//! `trust`: trust domains of workloads, one's own and those of others.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::{Connection, Outcome, output};

/// `cryptomesh trust …`
#[derive(Debug, Subcommand)]
pub enum TrustCommand {
    /// Print the bundle of the node's own trust domain, for others to pin.
    Bundle,
    /// List the trust domains of others that are trusted.
    List,
    /// Trust a trust domain of others by its bundle, or say anew how.
    Add(AddArgs),
    /// Trust a trust domain no more.
    Remove {
        /// The trust domain.
        domain: String,
    },
    /// Ask for a newer bundle now. Nodes do so by themselves.
    Refresh {
        /// The trust domain.
        domain: String,
    },
}

/// `cryptomesh trust add`
#[derive(Args, Debug)]
pub struct AddArgs {
    /// The trust domain.
    pub domain: String,
    /// A file with its bundle, which you got from somebody whom you believe: what `cryptomesh trust bundle` prints there.
    #[arg(long, value_name = "FILE")]
    pub bundle: PathBuf,
    /// Where newer bundles are: an https URL, such as https://NODE/.well-known/spiffe-bundle.
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// A file with certificates in PEM by which that place is known; those that the Web goes by unless told.
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    pub endpoint_certificates: Option<PathBuf>,
}

/// Runs one of them.
pub async fn run(command: TrustCommand, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    match command {
        TrustCommand::Bundle => output::line(&serde_json::to_string_pretty(&api.own_bundle().await?)?),
        TrustCommand::List => {
            let mut all: Vec<Map<String, Value>> = api.get("/api/v1/trust-domains").await?;
            // Keys are for programs.
            all.iter_mut().for_each(|domain| {
                domain.remove("bundle");
                domain.remove("endpoint_certificates");
            });
            output::entries(connection, &all);
        }
        TrustCommand::Add(AddArgs { domain, bundle, endpoint, endpoint_certificates }) => {
            let bundle: Value = serde_json::from_str(&read(&bundle)?)
                .with_context(|| format!("{} holds no JSON", bundle.display()))?;
            let certificates = endpoint_certificates.map(|file| read(&file)).transpose()?;
            let spec =
                json!({ "bundle": bundle, "endpoint": endpoint, "endpoint_certificates": certificates });
            api.trust_domain(&domain, &spec).await?;
            output::done(
                connection,
                &format!("workloads of {domain} are trusted"),
                &json!({ "domain": domain }),
            );
        }
        TrustCommand::Remove { domain } => {
            api.distrust_domain(&domain).await?;
            let said = format!("workloads of {domain} are trusted no more");
            output::done(connection, &said, &json!({ "domain": domain }));
        }
        TrustCommand::Refresh { domain } => {
            let path = format!("/api/v1/trust-domains/{}/refresh", cm_client::segment(&domain));
            let answer: Value = api.post(&path, &json!({})).await?;
            let said = match answer.get("changed").and_then(Value::as_bool) {
                Some(true) => "a newer bundle is in force",
                _ => "the bundle is the newest",
            };
            output::done(connection, said, &answer);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
