//! What is refused, each tried for real with the client that would otherwise succeed.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use cm_client::instance::InstanceError;
use cm_client::{ClientError, ClientIdentity, InstanceConnection, Terms, Trust};
use cm_types::Sha256Digest;

use super::Narrator;
use super::story::{FUNCTION, INPUT, INSTANCE, PROGRAM, PROGRAM_NAME, Party, RESULT, program_policy};

/// What the parties agreed on and believe.
pub(super) struct Attempts<'a> {
    pub(super) policy: &'a str,
    pub(super) trust: &'a Trust,
    pub(super) terms: &'a Terms,
}

/// Demands that something failed, and returns why.
fn refused<T>(what: &str, outcome: Result<T, ClientError>) -> anyhow::Result<String> {
    match outcome {
        Ok(_) => bail!("{what} was NOT refused"),
        Err(ClientError::Unreachable { url, source }) => {
            Err(source).with_context(|| format!("{what}: {url} did not answer, which proves nothing"))
        }
        Err(error) => {
            // What is below a refused certificate is the name of an alert of TLS, which says less.
            let levels = match &error {
                ClientError::Instance { source: InstanceError::CertificateRefused(_), .. } => 2,
                _ => usize::MAX,
            };
            let chain: Vec<String> =
                std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
                    .take(levels)
                    .map(ToString::to_string)
                    .collect();
            Ok(chain.join(": "))
        }
    }
}

/// A program whose bytes are not those of the registered digest.
pub(super) async fn tampered_program(
    author: &Party,
    digest: Sha256Digest,
    narrator: &mut Narrator<'_>,
) -> anyhow::Result<()> {
    let mut tampered = PROGRAM.to_vec();
    *tampered.last_mut().context("the program is empty")? ^= 1;
    author.api.register_function(FUNCTION, None, &program_policy(digest).to_string()).await?;
    let why = refused("a tampered program", author.api.put_program(FUNCTION, PROGRAM_NAME, tampered).await)?;
    author.api.remove(cm_types::ResourceKind::Function, FUNCTION).await?;
    narrator.step(&format!("refused, a tampered program: {why}"));
    Ok(())
}

/// Instances that are not what was agreed: nothing is sent to them.
pub(super) async fn before_trust(
    receiver: &Party,
    attempts: &Attempts<'_>,
    narrator: &mut Narrator<'_>,
) -> anyhow::Result<()> {
    let Attempts { policy, trust, terms } = attempts;
    // A byte that no term forbids: only the hash of the text, which the evidence names, shows the change.
    let attestation = "\"proxy_attestation_server_url\": \"";
    let changed = policy.replacen(attestation, &format!("{attestation}x"), 1);
    ensure!(changed != **policy, "the policy has no `proxy_attestation_server_url` to change");
    let outcome = receiver.api.open_instance(INSTANCE, &changed, terms, trust, &receiver.identity).await;
    narrator.step(&format!("refused, a changed policy: {}", refused("a changed policy", outcome)?));

    let strict = Trust { allow_insecure_software: false, ..(*trust).clone() };
    let outcome = receiver.api.open_instance(INSTANCE, policy, terms, &strict, &receiver.identity).await;
    let why = refused("software-only evidence without consent", outcome)?;
    narrator.step(&format!("refused, software-only evidence without consent: {why}"));

    let now = std::time::SystemTime::now().into();
    let impostor = cm_crypto::cert::generate_identity("receiver", now, Duration::from_secs(3600))?;
    let impostor =
        ClientIdentity::from_pem(&impostor.certificate_pem(), impostor.private_key_pem().expose())?;
    let outcome = receiver.api.open_instance(INSTANCE, policy, terms, trust, &impostor).await;
    let why = refused("a wrong certificate", outcome)?;
    narrator.step(&format!("refused, a certificate of the same name that the policy does not hold: {why}"));
    Ok(())
}

/// What parties may not do inside an instance that they trust.
pub(super) async fn within_instance(
    owner: &mut InstanceConnection,
    author: &Party,
    attempts: &Attempts<'_>,
    narrator: &mut Narrator<'_>,
) -> anyhow::Result<()> {
    let Attempts { policy, trust, terms } = attempts;
    let outcome = author.api.open_instance(INSTANCE, policy, terms, trust, &author.identity).await;
    let why = refused("the algorithm owner's entry", outcome)?;
    narrator.step(&format!("refused, the algorithm owner who wants to read the data: {why}"));
    let why = refused("reading the input back", owner.read_file(INPUT).await)?;
    narrator.step(&format!("refused, reading the data back, even for its owner: {why}"));
    Ok(())
}

/// The result, for anybody but the receiver.
pub(super) async fn result_for_others(
    owner: &mut InstanceConnection,
    narrator: &mut Narrator<'_>,
) -> anyhow::Result<()> {
    let why = refused("the data owner's reading of the result", owner.read_file(RESULT).await)?;
    narrator.step(&format!("refused, the data owner who wants to read the result: {why}"));
    Ok(())
}
