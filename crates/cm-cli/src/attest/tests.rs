use std::path::Path;

use clap::Parser;
use cm_attest::{Accepted, SoftwareVerifier, Verifier as _};
use cm_attest::{AttestationResult, Claims, Demands, ReportBinding, ReportData, TcbPolicy};
use cm_crypto::digest::sha256;
use cm_crypto::sign::SigningKey;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: AttestCommand,
}

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../cm-attest/fixtures");

fn judge(arguments: &[&str]) -> anyhow::Result<Verdict> {
    let cli =
        Cli::try_parse_from([&["attest"], arguments].concat()).unwrap_or_else(|error| panic!("{error}"));
    match cli.command {
        AttestCommand::Verify(args) => verify::judge(&args),
        AttestCommand::Result(args) => result(&args),
    }
}

fn check(arguments: &[&str], expected: Result<(), &str>) -> Map<String, Value> {
    let verdict = judge(arguments).unwrap();
    let code = verdict.entry.get("code").and_then(Value::as_str);
    assert_eq!((verdict.accepted, code), (expected.is_ok(), expected.err()), "{:?}", verdict.entry);
    verdict.entry
}

#[test]
fn recorded_evidence_of_hardware_is_judged_offline() {
    let fixture = |name: &str| format!("{FIXTURES}/{name}");
    let quote = fixture("tdx-quote.bin");
    let collateral = fixture("tdx-quote-collateral.json");
    let base = ["verify", &quote, "--collateral", &collateral];
    let at = ["--at", "2025-06-20T07:00:00Z"];
    let entry = check(&[&base[..], &at].concat(), Ok(()));
    assert_eq!(entry["kind"], "intel-tdx");
    assert_eq!(entry["tcb"], "UpToDate");
    assert_eq!(
        entry["not_checked"],
        serde_json::json!(["measurement", "nonce", "policy", "key", "report data"])
    );
    assert_eq!(entry["debug"], false);
    let measurement = entry["measurement"].as_str().unwrap();
    check(&[&base[..], &at, &["--measurement", measurement]].concat(), Ok(()));
    let other = "00".repeat(48);
    check(&[&base[..], &at, &["--measurement", &other]].concat(), Err("other-measurement"));
    let report_data = entry["report_data"].as_str().unwrap();
    check(&[&base[..], &at, &["--report-data", report_data]].concat(), Ok(()));
    check(&[&base[..], &at, &["--report-data", "00"]].concat(), Err("other-report-data"));
    check(&[&base[..], &["--at", "2026-06-20T07:00:00Z"]].concat(), Err("collateral"));
    check(&[&["verify", quote.as_str()][..], &at].concat(), Err("no-endorsements"));
    let report = fixture("snp-report.bin");
    let vcek = fixture("snp-vcek.der");
    let base = ["verify", &report, "--collateral", &vcek, "--at", "2025-01-01T00:00:00Z"];
    let entry = check(&base, Ok(()));
    assert_eq!(entry["product"], "Milan");
    check(&[&base[..], &["--snp-tcb-min", "255.0.0.0"]].concat(), Err("old-platform"));
    let document = fixture("nitro.cbor");
    let base = ["verify", &document, "--at", "2024-11-30T16:23:00Z"];
    check(&base, Ok(()));
    check(&[&base[..], &["--nonce", &"07".repeat(32)]].concat(), Err("other-nonce"));
    check(&["verify", &document], Err("certificates"));
}

#[test]
fn what_cannot_be_asked_is_said() {
    let report = format!("{FIXTURES}/snp-report.bin");
    let policy = format!("{FIXTURES}/README.md");
    for arguments in [
        vec!["verify", &report, "--nonce", "07070707070707070707070707070707"],
        vec!["verify", &report, "--policy", &policy],
        vec!["verify", &report, "--snp-tcb-min", "1.2.3"],
        vec!["verify", &report, "--format", "software"],
        vec!["verify", &policy],
    ] {
        let error = judge(&arguments).err().unwrap_or_else(|| panic!("{arguments:?} was judged"));
        assert_eq!(crate::exit_code(&error), 2, "{arguments:?}: {error}");
    }
}

/// A node's key, its evidence about an instance, and the policy of that instance, in files.
struct Papers {
    dir: tempfile::TempDir,
    key: SigningKey,
}

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn nonce() -> Nonce {
    Nonce::from_bytes([7; 32]).unwrap()
}

fn claims(policy: &[u8]) -> Claims {
    let policy_hash = sha256(policy);
    Claims {
        kind: EvidenceKind::InsecureSoftware,
        measurement: sha256(b"executable"),
        report_data: ReportData::bind(b"key", &policy_hash, &nonce()),
        policy_hash,
        tls_spki_sha256: sha256(b"key"),
        nonce: nonce(),
        isolation: Vec::new(),
        issued_at: now(),
        node: "node".to_owned(),
    }
}

impl Papers {
    fn new() -> Papers {
        let papers = Papers { dir: tempfile::tempdir().unwrap(), key: SigningKey::generate() };
        papers.write("policy.json", b"{}");
        papers.write("node.pub.pem", papers.key.verifying_key().to_spki_pem().as_bytes());
        papers.write("stranger.pem", SigningKey::generate().verifying_key().to_spki_pem().as_bytes());
        papers.write("evidence.jwt", cm_attest::issue(&papers.key, &claims(b"{}")).as_str().as_bytes());
        papers
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(name), bytes).unwrap();
    }

    fn path(&self, name: &str) -> String {
        Path::new(self.dir.path()).join(name).display().to_string()
    }
}

#[test]
fn evidence_of_a_node_is_judged_by_its_key() {
    let papers = Papers::new();
    let (file, key, stranger) =
        (papers.path("evidence.jwt"), papers.path("node.pub.pem"), papers.path("stranger.pem"));
    let (policy, challenge) = (papers.path("policy.json"), nonce().to_string());
    let measurement = sha256(b"executable").to_string();
    let base = ["verify", &file, "--at", "2026-03-01T12:01:00Z", "--trust", &key];
    let demanded = ["--nonce", &challenge, "--policy", &policy, "--measurement", &measurement];
    check(&[&base[..], &demanded].concat(), Err("insecure-software"));
    let base = [&base[..], &["--allow-insecure"]].concat();
    let entry = check(&[&base[..], &demanded].concat(), Ok(()));
    assert_eq!(entry["not_checked"], serde_json::json!(["key", "report data"]));
    check(&[&base[..], &["--nonce", &"08".repeat(32)]].concat(), Err("other-nonce"));
    check(&[&base[..], &["--policy", &key]].concat(), Err("other-policy"));
    check(&[&base[..], &["--measurement", &"00".repeat(32)]].concat(), Err("other-measurement"));
    check(&["verify", &file, "--trust", &stranger, "--allow-insecure"], Err("untrusted-signer"));
    check(
        &["verify", &file, "--trust", &key, "--allow-insecure", "--at", "2026-03-01T13:00:00Z"],
        Err("stale"),
    );
}

#[test]
fn results_about_insecure_software_are_refused_unless_allowed() {
    let papers = Papers::new();
    let demands = Demands {
        binding: ReportBinding::nothing(),
        measurements: Accepted::Any,
        allow_insecure: true,
        tcb: TcbPolicy::default(),
        require_isolation: Vec::new(),
    };
    let evidence = cm_attest::issue(&papers.key, &claims(b"{}"));
    let verifier = SoftwareVerifier::new(vec![papers.key.verifying_key()]);
    let statement = verifier.appraise(&evidence.as_str().as_bytes().into(), &demands, now()).unwrap();
    let result = AttestationResult::of(&statement, &demands, Some(nonce()), "node", now());
    papers.write("result.jwt", result.sign(&papers.key).as_bytes());
    let (file, key) = (papers.path("result.jwt"), papers.path("node.pub.pem"));
    let base = ["result", &file, "--trust", &key, "--at", "2026-03-01T12:01:00Z"];
    let entry = check(&base, Err("contraindicated"));
    assert_eq!(entry["status"], "contraindicated");
    check(&[&base[..], &["--allow-insecure"]].concat(), Ok(()));
    check(&[&base[..], &["--allow-insecure", "--nonce", &"08".repeat(32)]].concat(), Err("other-nonce"));
    check(&["result", &file, "--trust", &papers.path("stranger.pem")], Err("untrusted-signer"));
}
