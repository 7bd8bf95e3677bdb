//! The instance protocol of both eras against the real binary, and what is refused there.

use std::io::Write as _;
use std::process::{Command, Stdio};

use cm_client::{CertifiedConnection, ClientError, ClientIdentity};
use cm_crypto::cert;
use cm_crypto::digest::sha256;
use cm_e2e::{PostingClient, VeracruzClient};
use serde_json::{Value, json};

use super::*;

/// Somebody with a certificate and its key.
struct Holder {
    certificate: String,
    key: String,
}

impl Holder {
    fn new(name: &str) -> Self {
        Self::valid(name, Timestamp::from(std::time::SystemTime::now()))
    }

    /// One whose certificate was made at some time, for an hour.
    fn valid(name: &str, from: Timestamp) -> Self {
        let made = cert::generate_identity(name, from, Duration::from_secs(3600)).unwrap();
        Self { certificate: made.certificate_pem(), key: made.private_key_pem().expose().to_owned() }
    }

    fn identity(&self) -> ClientIdentity {
        ClientIdentity::from_pem(&self.certificate, &self.key).unwrap()
    }

    async fn connect(&self, policy: &str) -> Result<VeracruzClient, String> {
        VeracruzClient::connect(policy, &self.certificate, &self.key).await
    }
}

/// An instance of the seed's example for three people, by VaaS, and its policy.
async fn instance(house: &House, people: [&Holder; 3]) -> String {
    let mut policy = seed_vaas();
    for (at, holder) in people.into_iter().enumerate() {
        policy["identities"][at]["certificate"] = json!(holder.certificate);
    }
    let made = house.vaas.post("/veracruz", &policy).await.demand(200).json();
    made["policy"].as_str().unwrap().to_owned()
}

fn points() -> Vec<u8> {
    std::fs::read(repository("examples/data/cars.points")).unwrap()
}

fn line() -> Vec<u8> {
    std::fs::read(repository("examples/data/cars.line")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_the_first_era_posts_its_way_through_the_example() {
    let house = House::open();
    let (author, owner, reader) = (Holder::new("author"), Holder::new("owner"), Holder::new("reader"));
    let full = instance(&house, [&author, &owner, &reader]).await;
    let hash = sha256(full.as_bytes()).to_string();
    // Each invocation of that client is a session of its own.
    let session = |holder: &Holder| PostingClient::new(&full, &holder.certificate, &holder.key).unwrap();
    let mut program = session(&author);
    program.check(&hash).await.unwrap();
    assert!(program.write("linear-regression.wasm", &linear_regression()).await.unwrap().succeeded());
    let mut input = session(&owner);
    input.check(&hash).await.unwrap();
    assert!(!input.results("linear-regression.wasm").await.unwrap().succeeded());
    assert!(input.write("input-0", &points()).await.unwrap().succeeded());
    let mut result = session(&reader);
    result.check(&hash).await.unwrap();
    // The result is the file `output`, and the program runs once until something changes.
    for _ in 0..2 {
        assert_eq!(result.results("linear-regression.wasm").await.unwrap().result, Some(line()));
    }
    let mut last = session(&reader);
    assert_eq!(last.results("/linear-regression.wasm").await.unwrap().result, Some(line()));
    let instances = Service::of(&house.node, "api", None).get("/api/v1/instances").await.json();
    assert_eq!(instances[0]["status"]["last_run"]["metadata"]["run"], "1", "{instances}");
    assert!(last.shut_down().await.unwrap().succeeded());
    assert!(house.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_text_of_a_policy_is_enough_to_know_its_instance() {
    let house = House::open();
    let (author, owner, reader) = (Holder::new("author"), Holder::new("owner"), Holder::new("reader"));
    let full = instance(&house, [&author, &owner, &reader]).await;
    let mut connection = CertifiedConnection::open(&full, &owner.identity(), true).await.unwrap();
    assert_eq!(connection.claims().policy_hash, sha256(full.as_bytes()));
    let binary = sha256(&std::fs::read(cm_e2e::cryptomesh()).unwrap());
    assert_eq!(connection.claims().measurement, binary);
    connection.write_file("input-0", &points()).await.unwrap();
    drop(connection);

    let untrusted =
        async |policy: &str, allowed| match CertifiedConnection::open(policy, &owner.identity(), allowed)
            .await
        {
            Err(ClientError::Untrusted(distrust)) => format!("{distrust:?}"),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("believed"),
        };
    assert!(untrusted(&full, false).await.contains("InsecureSoftware"));
    // One blank more in the text, another measurement, another authority.
    assert!(untrusted(&format!("{full} "), true).await.contains("OtherPolicy"));
    let mut policy: Value = serde_json::from_str(&full).unwrap();
    policy["enable_clock"] = json!(false);
    assert!(untrusted(&policy.to_string(), true).await.contains("OtherPolicy"));
    policy["proxy_service_cert"] = json!(author.certificate);
    assert!(untrusted(&policy.to_string(), true).await.contains("Chain"));
    assert!(house.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_follows_the_chain_to_the_authority_of_the_policy() {
    let house = House::open();
    let (author, owner, reader) = (Holder::new("author"), Holder::new("owner"), Holder::new("reader"));
    let full = instance(&house, [&author, &owner, &reader]).await;
    let policy: Value = serde_json::from_str(&full).unwrap();
    let root = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = root.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let authority = file("proxy.pem", policy["proxy_service_cert"].as_str().unwrap());
    let certificate = file("client.pem", &owner.certificate);
    let key = file("client.key", &owner.key);
    let client = Command::new("openssl")
        .args(["s_client", "-connect", policy["veracruz_server_url"].as_str().unwrap(), "-tls1_3", "-quiet"])
        .args(["-verify_return_error", "-verify_hostname", "ComputeEnclave.dev"])
        .arg("-CAfile")
        .arg(authority)
        .arg("-cert")
        .arg(certificate)
        .arg("-key")
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    // Not every machine that runs the tests has it.
    let Ok(mut client) = client else { return };
    let mut to_instance = client.stdin.take().unwrap();
    // The messages that the published client sends: shut down, framed.
    to_instance.write_all(&[0, 0, 0, 0, 0, 0, 0, 2, 0x42, 0x00]).unwrap();
    let output = client.wait_with_output().unwrap();
    drop(to_instance);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.stdout, [0, 0, 0, 0, 0, 0, 0, 2, 0x08, 0x01], "{said}");
    assert!(house.node.stop().success());
}

/// The refusals of instances in the log, by kind.
async fn refused(house: &House, kind: &str) -> Value {
    let api = Service::of(&house.node, "api", None);
    let end = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let events = api.get("/api/v1/events?limit=1000").await.demand(200).json();
        let events = events.as_array().or_else(|| events["items"].as_array()).unwrap().clone();
        let of_kind = |event: &&Value| event["verb"] == "instance.refused" && event["facts"]["kind"] == kind;
        if let Some(event) = events.iter().find(of_kind) {
            return event.clone();
        }
        assert!(std::time::Instant::now() < end, "{kind} is not in the log: {events:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_on_an_instance_are_refused_and_stand_in_the_log() {
    let house = House::open();
    let author = Holder::new("author");
    let day = Duration::from_secs(24 * 3600);
    let (yesterday, tomorrow) = (std::time::SystemTime::now() - day, std::time::SystemTime::now() + day);
    let (owner, early) = (Holder::new("owner"), Holder::valid("reader", Timestamp::from(tomorrow)));
    let mut over = seed_vaas();
    for (at, holder) in
        [&author, &owner, &Holder::valid("reader", Timestamp::from(yesterday))].iter().enumerate()
    {
        over["identities"][at]["certificate"] = json!(holder.certificate);
    }
    let refusal = house.vaas.post("/veracruz", &over).await.demand(400);
    assert!(refusal.text.contains("identities[2].certificate"), "{}", refusal.text);
    let full = instance(&house, [&author, &owner, &early]).await;
    let policy: Value = serde_json::from_str(&full).unwrap();
    let address = policy["veracruz_server_url"].as_str().unwrap();
    let turned_away = async |holder: &Holder| match holder.connect(&full).await {
        Ok(mut connection) => connection.policy_hash().await.is_err(),
        Err(_) => true,
    };
    assert!(turned_away(&Holder::new("owner")).await, "the same subject with another key was let in");
    let event = refused(&house, "unknown-certificate").await;
    assert_eq!((&event["facts"]["peer"], &event["outcome"]), (&json!("127.0.0.1"), &json!("denied")));
    assert!(turned_away(&early).await, "a certificate that does not hold was let in");
    refused(&house, "certificate-not-valid").await;

    let mut connection = owner.connect(&full).await.unwrap();
    assert!(!connection.read("output").await.unwrap().succeeded());
    let event = refused(&house, "right").await;
    assert_eq!((&event["facts"]["identity"], &event["facts"]["file"]), (&json!(1), &json!("/output")));
    assert!(!connection.read("input-0/../output").await.unwrap().succeeded());
    refused(&house, "path").await;
    let mut program = author.connect(&full).await.unwrap();
    assert!(!program.write("linear-regression.wasm", b"\0asm other").await.unwrap().succeeded());
    let event = refused(&house, "hash").await;
    assert_eq!(event["facts"]["file"], "/linear-regression.wasm");

    // No TLS at all, no session, and far too much.
    let post = |body: &str| {
        let length = body.len();
        format!("POST /runtime_manager HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    };
    for (bytes, kind) in [
        (vec![0; 16], "handshake"),
        (post("4711 FgMBAAA="), "unknown-session"),
        (post("nonsense"), "malformed-message"),
        (b"POST /runtime_manager HTTP/1.1\r\ncontent-length: 999999999\r\n\r\n".to_vec(), "oversize-message"),
    ] {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(&bytes).unwrap();
        refused(&house, kind).await;
    }
    assert!(house.node.stop().success());
}
