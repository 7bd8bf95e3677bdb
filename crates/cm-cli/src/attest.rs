//! `attest`: judge evidence and attestation results that were handed to you as files.
//!
//! None of these commands speaks to a node, and the clock can be set: whoever keeps evidence can judge it again, anywhere.

mod file;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use cm_attest::{AttestationResult, EvidenceKind, Measurement, Nonce, TcbStatus, TrustTier};
use cm_types::Timestamp;
use serde_json::{Map, Value};

use crate::{Connection, Outcome, output};

/// What a refusal says to the shell.
const EXIT_REFUSED: u8 = 3;

/// `cryptomesh attest …`
#[derive(Debug, Subcommand)]
pub enum AttestCommand {
    /// Judge evidence: who signed it, what it says, and whether that is what you demand. Exit code 3 if it is refused.
    ///
    /// What you do not demand is not checked, and named in the output.
    Verify(Box<VerifyArgs>),
    /// Judge an attestation result (EAR) that a node signed. Exit code 3 if it is refused.
    Result(ResultArgs),
}

/// `cryptomesh attest verify`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cryptomesh attest verify evidence.jwt --trust node.pub.pem --allow-insecure --nonce 3f…
  cryptomesh attest verify quote.bin --collateral collateral.json --measurement 91eb… --at 2026-03-01T12:00:00Z
  cryptomesh attest verify report.bin --collateral vcek.der --certificate instance.pem --policy policy.json --nonce 3f…")]
pub struct VerifyArgs {
    /// The evidence: as it is, in hexadecimal digits, in base64, or as the node's API hands it out; `-` reads standard
    /// input.
    pub file: PathBuf,
    /// Whose evidence it is.
    #[arg(long, value_enum, default_value_t = EvidenceFormat::Auto)]
    pub format: EvidenceFormat,
    /// The challenge that it must answer, in hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    pub nonce: Option<Nonce>,
    /// The policy that the instance must obey: the exact text that you hold.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The instance's certificate, in PEM or DER: its key must be the one that the evidence is about. Evidence of hardware
    /// binds key, policy and challenge together, so that it takes all three.
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// A measurement that may run, in hexadecimal digits; several may be given.
    #[arg(long, value_name = "HEX")]
    pub measurement: Vec<Measurement>,
    /// What the report data must be, in hexadecimal digits; fewer than there are must be followed by zeros.
    #[arg(long, value_name = "HEX", conflicts_with = "certificate")]
    pub report_data: Option<String>,
    /// The public key of a node that you trust (`node.pub.pem`), for `insecure-software`; several may be given.
    #[arg(long, value_name = "FILE")]
    pub trust: Vec<PathBuf>,
    /// Accept `insecure-software`: the node's own word, which proves nothing against whoever controls the node.
    #[arg(long, alias = "allow-insecure-software")]
    pub allow_insecure: bool,
    /// What the maker says about the platform: Intel's collateral as JSON, or AMD's VCEK certificate in DER or PEM.
    #[arg(long, value_name = "FILE")]
    pub collateral: Option<PathBuf>,
    /// A status of Intel's that is good enough [default: UpToDate]; several may be given.
    #[arg(long, value_name = "STATUS")]
    pub tcb_status: Vec<TcbStatus>,
    /// How new each part of AMD's platform must be: BOOTLOADER.TEE.SNP.MICROCODE.
    #[arg(long, value_name = "VERSIONS")]
    pub snp_tcb_min: Option<String>,
    /// The moment at which it is judged [default: now].
    #[arg(long, value_name = "TIME")]
    pub at: Option<Timestamp>,
}

/// Whose evidence it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EvidenceFormat {
    /// Found out by its looks.
    Auto,
    /// AWS Nitro.
    Nitro,
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
    /// Intel SGX.
    Sgx,
    /// A node's own: `insecure-software`.
    Software,
}

impl EvidenceFormat {
    /// `None` if it has to be found out.
    fn kind(self) -> Option<EvidenceKind> {
        match self {
            EvidenceFormat::Auto => None,
            EvidenceFormat::Nitro => Some(EvidenceKind::AwsNitro),
            EvidenceFormat::Snp => Some(EvidenceKind::AmdSevSnp),
            EvidenceFormat::Tdx => Some(EvidenceKind::IntelTdx),
            EvidenceFormat::Sgx => Some(EvidenceKind::IntelSgx),
            EvidenceFormat::Software => Some(EvidenceKind::InsecureSoftware),
        }
    }
}

/// `cryptomesh attest result`
#[derive(Args, Debug)]
pub struct ResultArgs {
    /// The signed result; `-` reads standard input.
    pub file: PathBuf,
    /// The public key of a node that you trust (`node.pub.pem`); several may be given.
    #[arg(long, value_name = "FILE", required = true)]
    pub trust: Vec<PathBuf>,
    /// The challenge that the evidence must have answered, in hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    pub nonce: Option<Nonce>,
    /// Accept results about `insecure-software`, which are always contraindicated.
    #[arg(long, alias = "allow-insecure-software")]
    pub allow_insecure: bool,
    /// The moment at which it is judged [default: now].
    #[arg(long, value_name = "TIME")]
    pub at: Option<Timestamp>,
}

/// Runs one of them.
pub fn run(command: AttestCommand, connection: &Connection) -> Outcome {
    let verdict = match command {
        AttestCommand::Verify(args) => verify::judge(&args)?,
        AttestCommand::Result(args) => result(&args)?,
    };
    output::entry(connection, &verdict.entry);
    Ok(if verdict.accepted { ExitCode::SUCCESS } else { ExitCode::from(EXIT_REFUSED) })
}

/// What is said in the end.
struct Verdict {
    accepted: bool,
    entry: Map<String, Value>,
}

impl Verdict {
    fn new(refusal: Option<(&str, String)>, mut rest: Map<String, Value>) -> Self {
        let accepted = refusal.is_none();
        let verdict = if accepted { "accepted" } else { "refused" };
        let mut entry = Map::from_iter([("verdict".to_owned(), Value::from(verdict))]);
        if let Some((code, reason)) = refusal {
            entry.insert("code".to_owned(), code.into());
            entry.insert("reason".to_owned(), reason.into());
        }
        entry.append(&mut rest);
        Self { accepted, entry }
    }
}

fn moment(at: Option<Timestamp>) -> Timestamp {
    at.unwrap_or_else(|| std::time::SystemTime::now().into())
}

fn result(args: &ResultArgs) -> anyhow::Result<Verdict> {
    let trusted = file::keys(&args.trust)?;
    let token = String::from_utf8(file::read(&args.file)?)?;
    let result = match AttestationResult::verify(token.trim(), &trusted, moment(args.at)) {
        Ok(result) => result,
        Err(error) => return Ok(Verdict::new(Some((error.code(), error.to_string())), Map::new())),
    };
    let insecure = result.kind == EvidenceKind::InsecureSoftware;
    let refusal = match result.status() {
        _ if args.nonce.is_some() && result.nonce != args.nonce => {
            Some(("other-nonce", "the evidence answered another nonce".to_owned()))
        }
        TrustTier::Contraindicated if !(insecure && args.allow_insecure) => {
            Some(("contraindicated", format!("the verifier advises against it: {}", aspects(&result))))
        }
        _ => None,
    };
    let mut entry = Map::new();
    let mut say = |name: &str, value: Value| entry.insert(name.to_owned(), value);
    say("status", result.status().as_str().into());
    say("kind", result.kind.as_str().into());
    say("measurement", result.measurement.to_string().into());
    say(
        "aspects",
        claimed(&result)
            .map(|(name, value)| (name.to_owned(), Value::from(value)))
            .collect::<Map<_, _>>()
            .into(),
    );
    say("tcb", result.tcb.clone().into());
    say("issued_at", result.issued_at.to_string().into());
    say("verifier", result.verifier.clone().into());
    if let Some(nonce) = &result.nonce {
        say("nonce", nonce.to_string().into());
    }
    if let Some(hash) = result.policy_hash {
        say("policy_hash", hash.to_string().into());
    }
    if args.nonce.is_none() {
        say("not_checked", vec!["nonce"].into());
    }
    Ok(Verdict::new(refusal, entry))
}

/// The aspects of which something is claimed.
fn claimed(result: &AttestationResult) -> impl Iterator<Item = (&'static str, i8)> {
    result.vector.entries().into_iter().filter(|(_, value)| *value != 0)
}

/// What is claimed of each aspect, in one line.
fn aspects(result: &AttestationResult) -> String {
    claimed(result).map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
