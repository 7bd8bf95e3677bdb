//! The attestation service: each challenge counts once, evidence is about one instance, and what is refused is in the log.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cm_attest::{AttestationResult, Claims, EvidenceKind, Nonce, ReportData, TrustTier};
use cm_crypto::digest::sha256;
use cm_crypto::sign::{SigningKey, VerifyingKey};
use cm_crypto::{Secret, cert};
use cm_e2e::{Node, NodeOptions, Party, Program, Service, certificates_at, cryptomesh, enrol, instance};
use cm_types::{Sha256Digest, Timestamp};
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use serde_json::{Value, json};

const READ: u32 = 8198;
const WRITE: u32 = 533_572;
const ENDS: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
const PROBLEM: &str = "application/problem+json";

fn start(root: &tempfile::TempDir, allow_insecure: bool) -> Node {
    let set = vec![format!("attestation.allow_insecure={allow_insecure}")];
    Node::start(root.path(), &NodeOptions { set, ..NodeOptions::default() })
}

/// The key that an instance serves TLS with.
async fn key_of(address: &str) -> Vec<u8> {
    let shown = certificates_at(address).await.unwrap();
    cert::spki_der(&shown[0]).unwrap()
}

/// A running instance, as the attestation service has to hear of it.
struct Running {
    id: String,
    tls_spki: String,
    policy_hash: Sha256Digest,
    _inside: cm_client::InstanceConnection,
}

async fn run(node: &Node, party: &Party, name: &str) -> Running {
    let wasm = wat::parse_str(ENDS).unwrap();
    let program = Program { name, strategy: "Interpretation", wasm, rights: &[("output", WRITE)] };
    let inside = instance(node, party, program, &[("output", READ)]).await;
    let id = format!("{name}-1");
    let record: Value = party.api.get(&format!("/api/v1/instances/{id}")).await.unwrap();
    let address = record["address"].as_str().or(record["status"]["address"].as_str()).unwrap().to_owned();
    let hash = record["policy_hash"].as_str().or(record["status"]["policy_hash"].as_str()).unwrap();
    Running {
        tls_spki: STANDARD.encode(key_of(&address).await),
        policy_hash: hash.parse().unwrap(),
        id,
        _inside: inside,
    }
}

async fn challenge(service: &Service) -> (String, Vec<u8>) {
    let issued = service.post("/attestation/v1/challenges", &json!({})).await.demand(201).json();
    let nonce = issued["nonce"].as_str().unwrap().parse::<Nonce>().unwrap();
    assert_eq!(nonce.as_bytes().len(), 32);
    (issued["id"].as_str().unwrap().to_owned(), nonce.as_bytes().to_vec())
}

fn answer(challenge: &str, evidence: &str, about: &Running) -> Value {
    json!({
        "challenge": challenge, "evidence": evidence,
        "tls_spki": about.tls_spki, "policy_hash": about.policy_hash,
    })
}

async fn appraise(service: &Service, answer: &Value) -> (u16, Value) {
    let reply = service.post("/attestation/v1/appraisals", answer).await;
    if reply.status != 200 {
        assert_eq!(reply.media_type, PROBLEM, "{reply:?}");
    }
    (reply.status, reply.json())
}

/// Why evidence was refused, as the log has it.
async fn refusals(node: &Node) -> Vec<String> {
    let page: Value = node.admin().get("/api/v1/events?verb=attestation.refused&limit=100").await.unwrap();
    let events = page.as_array().or(page["items"].as_array()).expect("a list of events");
    events.iter().map(|event| event["facts"]["reason"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_of_an_instance_becomes_a_result_once() {
    let root = tempfile::tempdir().unwrap();
    let node = start(&root, true);
    let party = enrol(&node, "party", &["developer", "analyst"]).await;
    let service = Service::of(&node, "attestation", Some(party.token.clone()));
    let (one, two) = (run(&node, &party, "one").await, run(&node, &party, "two").await);

    let (id, nonce) = challenge(&service).await;
    let evidence = party.api.instance_evidence(&one.id, &nonce).await.unwrap();
    let (status, concluded) = appraise(&service, &answer(&id, &evidence, &one)).await;
    assert_eq!(status, 200, "{concluded}");
    assert_eq!(
        (&concluded["status"], &concluded["kind"]),
        (&json!("contraindicated"), &json!("insecure-software"))
    );
    let key = std::fs::read_to_string(node.data_dir().join("node.pub.pem")).unwrap();
    let trusted = [VerifyingKey::from_spki_pem(&key).unwrap()];
    let now = Timestamp::from(SystemTime::now());
    let result = AttestationResult::verify(concluded["result"].as_str().unwrap(), &trusted, now).unwrap();
    assert_eq!((result.status(), result.kind), (TrustTier::Contraindicated, EvidenceKind::InsecureSoftware));
    assert_eq!(result.policy_hash, Some(one.policy_hash));
    assert_eq!(result.nonce, Some(Nonce::from_bytes(nonce.clone()).unwrap()));
    let keys = service.with_token(None).get("/attestation/v1/keys").await.demand(200).json();
    assert_eq!(keys["keys"][0]["kid"], trusted[0].key_id(), "what verifies results is for everybody");

    // The same answer again, and the same evidence under another challenge.
    let (status, refused) = appraise(&service, &answer(&id, &evidence, &one)).await;
    assert_eq!((status, &refused["reason"]), (409, &json!("replayed-challenge")));
    let (id, _) = challenge(&service).await;
    let (status, refused) = appraise(&service, &answer(&id, &evidence, &one)).await;
    assert_eq!((status, &refused["reason"]), (403, &json!("other-nonce")));
    let (status, _) = appraise(&service, &answer(&id, &evidence, &one)).await;
    assert_eq!(status, 409, "a refused answer has used its challenge up");

    // Evidence of another instance for this challenge.
    let (id, nonce) = challenge(&service).await;
    let evidence = party.api.instance_evidence(&two.id, &nonce).await.unwrap();
    let (status, refused) = appraise(&service, &answer(&id, &evidence, &one)).await;
    assert_eq!((status, &refused["reason"]), (403, &json!("other-policy")));
    let (id, nonce) = challenge(&service).await;
    let evidence = party.api.instance_evidence(&two.id, &nonce).await.unwrap();
    let mut stolen = answer(&id, &evidence, &two);
    stolen["tls_spki"] = json!(one.tls_spki);
    let (status, refused) = appraise(&service, &stolen).await;
    assert_eq!((status, &refused["reason"]), (403, &json!("other-key")));

    // A challenge that never was, and somebody else's.
    let unknown = "6c1c8a1e-0000-4000-8000-000000000000";
    let (status, refused) = appraise(&service, &answer(unknown, &evidence, &one)).await;
    assert_eq!((status, &refused["reason"]), (404, &json!("unknown-challenge")));
    let (id, nonce) = challenge(&service).await;
    let evidence = party.api.instance_evidence(&one.id, &nonce).await.unwrap();
    let admin = service.with_token(Some(node.admin_token()));
    let (status, _) = appraise(&admin, &answer(&id, &evidence, &one)).await;
    assert_eq!(status, 404, "a challenge is its holder's own");
    let (status, _) = appraise(&service, &answer(&id, &evidence, &one)).await;
    assert_eq!(status, 200, "and nobody else uses it up");
    service.with_token(None).post("/attestation/v1/challenges", &json!({})).await.demand(401);

    let noted = refusals(&node).await;
    for reason in ["replayed-challenge", "other-nonce", "other-policy", "other-key", "unknown-challenge"] {
        assert!(noted.iter().any(|found| found == reason), "{reason} is not in the log: {noted:?}");
    }
}

/// A platform of the earlier project: it asks for a challenge and answers with evidence and a request.
struct Platform {
    base: String,
    token: String,
    http: reqwest::Client,
    node_key: SigningKey,
    key: KeyPair,
    csr: Vec<u8>,
}

impl Platform {
    fn of(node: &Node) -> Platform {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let signing =
            std::fs::read_to_string(node.data_dir().join("keys/signing.key")).map(Secret::new).unwrap();
        Platform {
            base: format!("http://{}/proxy/v1", node.address("attestation")),
            token: node.admin_token(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            node_key: SigningKey::from_pkcs8_pem(signing.expose()).unwrap(),
            csr: CertificateParams::default().serialize_request(&key).unwrap().der().to_vec(),
            key,
        }
    }

    async fn start(&self) -> (String, Vec<u8>) {
        let asked = self.http.post(format!("{}/Start", self.base)).bearer_auth(&self.token);
        let response = asked.send().await.unwrap();
        assert_eq!(response.status(), 201);
        let id = response.headers()["location"].to_str().unwrap().to_owned();
        let nonce = response.bytes().await.unwrap().to_vec();
        assert_eq!(nonce.len(), 32);
        (id, nonce)
    }

    /// What the node would say about an instance that holds this platform's key.
    fn evidence(&self, nonce: &[u8], measurement: Sha256Digest) -> Vec<u8> {
        let (spki, policy_hash) = (self.key.subject_public_key_info(), sha256(b"policy"));
        let nonce = Nonce::from_bytes(nonce).unwrap();
        let claims = Claims {
            kind: EvidenceKind::InsecureSoftware,
            measurement,
            report_data: ReportData::bind(&spki, &policy_hash, &nonce),
            policy_hash,
            tls_spki_sha256: sha256(&spki),
            nonce,
            isolation: Vec::new(),
            issued_at: SystemTime::now().into(),
            node: "node".to_owned(),
        };
        cm_attest::issue(&self.node_key, &claims).as_str().as_bytes().to_vec()
    }

    async fn answer(&self, format: &str, id: &str, token: &[u8], csr: &[u8]) -> (u16, String, Vec<u8>) {
        let mut form = String::new();
        for (name, bytes) in [("token", token), ("csr", csr)] {
            let value = STANDARD.encode(bytes);
            form.push_str(&format!(
                "--b0undary\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            ));
        }
        form.push_str("--b0undary--\r\n");
        let request = self.http.post(format!("{}/{format}/{id}", self.base)).bearer_auth(&self.token);
        let request = request.header("content-type", "multipart/form-data; boundary=b0undary").body(form);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        (status, media_type, response.bytes().await.unwrap().to_vec())
    }

    async fn check_refused(
        &self,
        format: &str,
        id: &str,
        token: &[u8],
        csr: &[u8],
        status: u16,
        reason: &str,
    ) {
        let (found, media_type, body) = self.answer(format, id, token, csr).await;
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((found, media_type.as_str()), (status, PROBLEM), "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["reason"], reason, "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_of_the_earlier_project_gets_its_certificate() {
    let root = tempfile::tempdir().unwrap();
    let node = start(&root, true);
    let platform = Platform::of(&node);
    let own = sha256(&std::fs::read(cryptomesh()).unwrap());
    let format = "insecure-software";

    let (id, nonce) = platform.start().await;
    let evidence = platform.evidence(&nonce, own);
    let (status, _, chain) = platform.answer(format, &id, &evidence, &platform.csr).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&chain));
    let said: Value = node.admin().get("/api/v1/node").await.unwrap();
    let ca = cert::pem_to_der(said["ca_certificate"].as_str().unwrap()).unwrap();
    let leaf = chain.strip_suffix(ca.as_slice()).expect("the authority's certificate comes last");
    assert_eq!(cert::spki_der(leaf).unwrap(), platform.key.subject_public_key_info());
    let measured = cert::extension(leaf, &[2, 5, 30, 1]).unwrap();
    assert_eq!(measured.as_deref(), Some(&own.as_bytes()[..]));

    platform.check_refused(format, &id, &evidence, &platform.csr, 409, "replayed-challenge").await;
    let unknown = "6c1c8a1e-0000-4000-8000-000000000000";
    platform.check_refused(format, unknown, &evidence, &platform.csr, 404, "unknown-challenge").await;
    platform.check_refused(format, "junk", &evidence, &platform.csr, 404, "unknown-challenge").await;

    // A request that is not the one that the evidence is about: nothing is certified.
    let (id, nonce) = platform.start().await;
    let other = Platform::of(&node);
    let evidence = platform.evidence(&nonce, own);
    platform.check_refused(format, &id, &evidence, &other.csr, 403, "other-key").await;
    let (id, nonce) = platform.start().await;
    let evidence = platform.evidence(&nonce, sha256(b"another program"));
    platform.check_refused(format, &id, &evidence, &platform.csr, 403, "other-measurement").await;
    let (id, _) = platform.start().await;
    platform.check_refused("PSA", &id, b"token", &platform.csr, 403, "public-key-token").await;
    let (id, _) = platform.start().await;
    platform.check_refused("Nitro", &id, b"no document", &platform.csr, 403, "malformed").await;
    let (id, nonce) = platform.start().await;
    let evidence = platform.evidence(&nonce, own);
    platform.check_refused(format, &id, &evidence, b"no request", 400, "request").await;

    let (status, media_type, _) = platform.answer("Unknown", &id, b"", b"").await;
    assert_eq!((status, media_type.as_str()), (404, PROBLEM));
    let noted = refusals(&node).await;
    for reason in ["replayed-challenge", "other-key", "other-measurement", "public-key-token", "request"] {
        assert!(noted.iter().any(|found| found == reason), "{reason} is not in the log: {noted:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nodes_own_word_is_refused_unless_allowed() {
    let root = tempfile::tempdir().unwrap();
    let node = start(&root, false);
    let platform = Platform::of(&node);
    let own = sha256(&std::fs::read(cryptomesh()).unwrap());
    let (id, nonce) = platform.start().await;
    let evidence = platform.evidence(&nonce, own);
    platform
        .check_refused("insecure-software", &id, &evidence, &platform.csr, 403, "insecure-software")
        .await;
}
