//! Documents of workloads against real nodes: kept fresh by the command, and believed across two meshes over TLS.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cm_crypto::cert::{CertificateAuthority, CertificateSpec};
use cm_e2e::{Node, NodeOptions, cryptomesh, enrol};
use cm_runtime::Tasks;
use cm_types::Timestamp;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::tools::ends;

const DEADLINE: Duration = Duration::from_secs(60);
const HOST: &str = "127.0.0.1";

async fn mesh(root: &Path, domain: &str) -> Node {
    let set = vec![format!("identity.trust_domain={domain}")];
    let node = Node::start(root, &NodeOptions { set, ..NodeOptions::default() });
    enrol(&node, "web", &[]).await;
    ok(&node, &["svid", "register", "web"]);
    node
}

#[track_caller]
fn ok(node: &Node, arguments: &[&str]) -> String {
    ends(&node.command(arguments), 0).0
}

/// A process that ends with the test.
struct Renewer(Child);

impl Drop for Renewer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for another text in the file.
fn changed(file: &Path, before: &str) -> String {
    let began = Instant::now();
    loop {
        match std::fs::read_to_string(file) {
            Ok(text) if text != before => return text,
            _ => assert!(began.elapsed() < DEADLINE, "{} stays as it is", file.display()),
        }
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_for_as_long_as_its_workload_is_one() {
    let root = tempfile::tempdir().unwrap();
    let node = mesh(root.path(), "one.example").await;
    let documents = root.path().join("svid");
    let log = root.path().join("fetch.log");
    let child = Command::new(cryptomesh())
        .arg("--data-dir")
        .arg(node.data_dir())
        .args(["svid", "fetch", documents.to_str().unwrap(), "--principal", "web", "--ttl", "4", "--renew"])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut renewer = Renewer(child);

    let (certificate, key) = (documents.join("svid.pem"), documents.join("svid.key"));
    let mut before = String::new();
    let mut keys = std::collections::BTreeSet::new();
    for _ in 0..3 {
        before = changed(&certificate, &before);
        keys.insert(std::fs::read_to_string(&key).unwrap());
        let said = ok(&node, &["svid", "verify", "--certificates", certificate.to_str().unwrap()]);
        assert!(said.contains("spiffe://one.example/tenant/default/principal/web"), "{said}");
    }
    assert_eq!(keys.len(), 3, "each certificate has a key of its own");
    assert!(documents.join("bundle.pem").is_file());

    // Whoever is no workload any more gets no further one; the command says so and does not give up.
    ok(&node, &["svid", "unregister", "web"]);
    let began = Instant::now();
    while !std::fs::read_to_string(&log).unwrap().contains("tried again soon") {
        assert!(began.elapsed() < DEADLINE, "the command says nothing of a refusal");
        std::thread::yield_now();
    }
    assert!(renewer.0.try_wait().unwrap().is_none(), "the command ended");
}

/// TLS before a node, as its operator would put it there. Returns where, and the certificate by which it is known.
async fn tls_before(node: &Node, tasks: &Tasks) -> (String, String) {
    let (now, valid_for) = (Timestamp::from(SystemTime::now()), Duration::from_secs(3600));
    let authority = CertificateAuthority::create("front", now, valid_for).unwrap();
    let mut spec = CertificateSpec::new(HOST, now, valid_for);
    spec.ip_addresses.push(HOST.parse().unwrap());
    let issued = authority.issue(&spec).unwrap();
    let key = PrivatePkcs8KeyDer::from(issued.private_key_der.expose().clone());
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.certificate_der.into()], PrivateKeyDer::from(key))
            .unwrap();
    let listener = TcpListener::bind((HOST, 0)).await.unwrap();
    let url = format!("https://{}/.well-known/spiffe-bundle", listener.local_addr().unwrap());
    let (acceptor, behind) = (TlsAcceptor::from(Arc::new(config)), node.address("api").to_owned());
    tasks.spawn("front", async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Who does not believe the certificate hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut node = TcpStream::connect(&behind).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut node).await;
        }
    });
    (url, authority.certificate_pem())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bundles_of_another_mesh_are_fetched_from_whom_its_certificate_names() {
    let root = tempfile::tempdir().unwrap();
    let one = mesh(&root.path().join("one"), "one.example").await;
    let two = mesh(&root.path().join("two"), "two.example").await;
    let tasks = Tasks::new();
    let (url, authority) = tls_before(&two, &tasks).await;
    let file = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let (bundle, certificates, strangers) = (file("two.json"), file("front.pem"), file("strangers.pem"));
    std::fs::write(&bundle, ok(&two, &["trust", "bundle"])).unwrap();
    std::fs::write(&certificates, authority).unwrap();
    let (now, valid_for) = (Timestamp::from(SystemTime::now()), Duration::from_secs(3600));
    let stranger = CertificateAuthority::create("front", now, valid_for).unwrap();
    std::fs::write(&strangers, stranger.certificate_pem()).unwrap();

    // By another certificate the place is nobody's.
    let add = |domain: &str, known_by: &str| {
        let place = ["--endpoint", &url, "--endpoint-certificates", known_by];
        ok(&one, &[&["trust", "add", domain, "--bundle", &bundle], &place[..]].concat());
    };
    add("stranger.example", &strangers);
    let (_, said) = ends(&one.command(&["trust", "refresh", "stranger.example"]), 1);
    assert!(said.contains("is not known by its certificate"), "{said}");

    add("two.example", &certificates);
    let fetch = |directory: &str| ok(&two, &["svid", "fetch", directory, "--principal", "web"]);
    let (documents, later) = (file("documents"), file("later"));
    fetch(&documents);
    let verify = ["svid", "verify", "--certificates"];
    let name = "spiffe://two.example/tenant/default/principal/web";
    let said = ok(&one, &[&verify[..], &[&format!("{documents}/svid.pem")]].concat());
    assert!(said.contains(name), "{said}");

    // A key that the pinned bundle does not have is looked for at once in a newer one, from the place that its certificate names.
    ok(&two, &["keys", "rotate", "workloads", "--now"]);
    fetch(&later);
    let said = ok(&one, &[&verify[..], &[&format!("{later}/svid.pem")]].concat());
    assert!(said.contains(name), "{said}");
    ends(&one.command(&[&verify[..], &[&format!("{documents}/svid.pem")]].concat()), 1);
}
