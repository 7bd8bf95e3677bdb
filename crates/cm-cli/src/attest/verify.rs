//! `attest verify`: evidence against what the arguments demand.

use anyhow::Context;
use cm_attest::{
    Accepted, AttestError, DcapVerifier, Demands, EvidenceKind, NitroVerifier, Presented, ReportBinding,
    SnpTcb, SnpVerifier, SoftwareVerifier, Statement, TcbPolicy, Verifier, detect,
};
use cm_crypto::digest::sha256;
use cm_types::Sha256Digest;
use serde_json::{Map, Value};

use super::{Verdict, VerifyArgs, file, moment};
use crate::UsageError;

/// What the arguments come to.
struct Asked {
    demands: Demands,
    /// Compared with what a node says; hardware binds it into the report data.
    policy_hash: Option<Sha256Digest>,
    /// What was not demanded.
    not_checked: Vec<&'static str>,
}

/// Judges the evidence.
pub(super) fn judge(args: &VerifyArgs) -> anyhow::Result<Verdict> {
    let evidence = file::unwrap(file::read(&args.file)?);
    let kind = args.format.kind().or_else(|| detect(&evidence)).ok_or_else(|| {
        UsageError(format!("{} looks like no evidence; say whose it is with --format", args.file.display()))
    })?;
    let asked = asked(args, kind)?;
    let endorsements = args.collateral.as_deref().map(file::read).transpose()?;
    let presented = Presented { evidence: &evidence, endorsements: endorsements.as_deref() };
    let verifier = verifier(args, kind)?;
    let mut entry = Map::from_iter([("kind".to_owned(), Value::from(kind.as_str()))]);
    let statement = match verifier.authenticate(&presented, moment(args.at)) {
        Ok(statement) => statement,
        Err(error) => return Ok(Verdict::new(Some((error.code(), error.to_string())), entry)),
    };
    let judged = asked.demands.judge(&statement).and_then(|()| judge_policy(&statement, asked.policy_hash));
    describe(&statement, &mut entry);
    if !asked.not_checked.is_empty() {
        entry.insert("not_checked".to_owned(), asked.not_checked.into());
    }
    let refusal = judged.err();
    Ok(Verdict::new(refusal.as_ref().map(|error| (error.code(), error.to_string())), entry))
}

fn verifier(args: &VerifyArgs, kind: EvidenceKind) -> anyhow::Result<Box<dyn Verifier>> {
    Ok(match kind {
        EvidenceKind::InsecureSoftware if args.trust.is_empty() => {
            let problem = "evidence of a node is judged by its public key; give it with --trust";
            return Err(UsageError(problem.to_owned()).into());
        }
        EvidenceKind::InsecureSoftware => Box::new(SoftwareVerifier::new(file::keys(&args.trust)?)),
        EvidenceKind::AwsNitro => Box::new(NitroVerifier::new()),
        EvidenceKind::AmdSevSnp => Box::new(SnpVerifier::new()),
        EvidenceKind::IntelTdx => Box::new(DcapVerifier::tdx()),
        EvidenceKind::IntelSgx => Box::new(DcapVerifier::sgx()),
    })
}

fn asked(args: &VerifyArgs, kind: EvidenceKind) -> anyhow::Result<Asked> {
    let policy_hash = args.policy.as_deref().map(file::read).transpose()?.map(|text| sha256(&text));
    let mut not_checked = Vec::new();
    if args.measurement.is_empty() {
        not_checked.push("measurement");
    }
    let binding = binding(args, kind, policy_hash, &mut not_checked)?;
    let tcb = TcbPolicy::default();
    let demands = Demands {
        binding,
        measurements: match args.measurement.as_slice() {
            [] => Accepted::Any,
            accepted => Accepted::OneOf(accepted.to_vec()),
        },
        allow_insecure: args.allow_insecure,
        tcb: TcbPolicy {
            statuses: if args.tcb_status.is_empty() { tcb.statuses } else { args.tcb_status.clone() },
            snp_least: args.snp_tcb_min.as_deref().map_or(Ok(tcb.snp_least), versions)?,
        },
        require_isolation: Vec::new(),
    };
    Ok(Asked { demands, policy_hash, not_checked })
}

/// What the evidence must be bound to. Where a format cannot be asked for one thing alone, that is said, rather than
/// leaving it out.
fn binding(
    args: &VerifyArgs,
    kind: EvidenceKind,
    policy_hash: Option<Sha256Digest>,
    not_checked: &mut Vec<&'static str>,
) -> anyhow::Result<ReportBinding> {
    if let Some(certificate) = &args.certificate {
        let tls_spki_der = file::certificate_key(certificate)?;
        let (Some(policy_hash), Some(nonce)) = (policy_hash, args.nonce.clone()) else {
            let problem = "--certificate is judged together with --policy and --nonce";
            return Err(UsageError(problem.to_owned()).into());
        };
        return Ok(ReportBinding::Instance { tls_spki_der, policy_hash, nonce });
    }
    let by_node = kind == EvidenceKind::InsecureSoftware;
    if policy_hash.is_some() && !by_node {
        let problem = "evidence of hardware binds key, policy and challenge together: give --certificate, --policy \
                       and --nonce, or --report-data";
        return Err(UsageError(problem.to_owned()).into());
    }
    if args.nonce.is_some() && !by_node && kind != EvidenceKind::AwsNitro {
        let problem = "the format has no place of its own for a challenge: give --certificate, --policy and --nonce, \
                       or --report-data";
        return Err(UsageError(problem.to_owned()).into());
    }
    let report_data = args.report_data.as_deref().map(hex::decode).transpose();
    let report_data = report_data.context("--report-data is written in hexadecimal digits")?;
    for (name, given) in [
        ("nonce", args.nonce.is_some()),
        ("policy", policy_hash.is_some()),
        ("key", false),
        ("report data", report_data.is_some()),
    ] {
        if !given {
            not_checked.push(name);
        }
    }
    let nonce = args.nonce.as_ref().map(|nonce| nonce.as_bytes().to_vec());
    Ok(ReportBinding::Exact { report_data, nonce, public_key: None })
}

/// `BOOTLOADER.TEE.SNP.MICROCODE`.
fn versions(text: &str) -> anyhow::Result<SnpTcb> {
    let parts: Result<Vec<u8>, _> = text.split('.').map(str::parse).collect();
    match parts.as_deref() {
        Ok(&[bootloader, tee, snp, microcode]) => Ok(SnpTcb { bootloader, tee, snp, microcode }),
        _ => {
            let problem = "--snp-tcb-min is four numbers of 0 to 255, such as 3.0.8.115";
            Err(UsageError(problem.to_owned()).into())
        }
    }
}

fn judge_policy(statement: &Statement, expected: Option<Sha256Digest>) -> Result<(), AttestError> {
    match (&statement.claims, expected) {
        (Some(claims), Some(expected)) if claims.policy_hash != expected => {
            Err(AttestError::Policy { expected, found: claims.policy_hash })
        }
        _ => Ok(()),
    }
}

fn describe(statement: &Statement, entry: &mut Map<String, Value>) {
    entry.insert("debug".to_owned(), statement.debug.into());
    let mut say = |name: &str, value: String| entry.insert(name.to_owned(), value.into());
    say("measurement", statement.measurement.to_string());
    say("tcb", statement.tcb.to_string());
    if let Some(at) = statement.issued_at {
        say("issued_at", at.to_string());
    }
    let bound = &statement.bound;
    for (name, bytes) in
        [("report_data", &bound.report_data), ("nonce", &bound.nonce), ("public_key", &bound.public_key)]
    {
        if let Some(bytes) = bytes {
            say(name, hex::encode(bytes));
        }
    }
    if let Some(claims) = &statement.claims {
        say("policy_hash", claims.policy_hash.to_string());
        say("tls_spki_sha256", claims.tls_spki_sha256.to_string());
        say("node", claims.node.clone());
        let inactive = claims.isolation.iter().filter(|layer| !layer.active);
        let inactive: Vec<&str> = inactive.map(|layer| layer.name.as_str()).collect();
        if !inactive.is_empty() {
            entry.insert("inactive_isolation".to_owned(), inactive.into());
        }
    }
    for (name, value) in &statement.registers {
        entry.insert(name.clone(), value.as_str().into());
    }
}
