//! Key release: the key of a sealed object reaches the instance that its owner demands, and nobody else.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::http::header;
use bytes::Bytes;
use cm_e2e::cryptomesh;
use cm_runtime::Tasks;

use crate::tools::{Bench, FUNCTION, INSECURE, PROGRAM, ends, repository};

const OBJECT: &str = "box/points";

/// Stores the input, released to instances of this kind.
fn put(bench: &Bench, object: &str, release_to: &[&str]) {
    let (input, owner) = (repository("examples/data/cars.points"), bench.path("owner.key"));
    if !std::path::Path::new(&owner).exists() {
        bench.ok(&["keys", "seal", &owner]);
    }
    let policy = repository("examples/linear-regression/policy.json");
    let mut arguments = vec!["object", "put", &input, object, "--create-bucket", "--owner-key", &owner];
    arguments.extend(["--function-policy", &policy]);
    arguments.extend(release_to.iter().flat_map(|value| ["--release-to", value]));
    bench.ok(&arguments);
}

fn release(bench: &Bench, object: &str, instance: &str, more: &[&str]) -> std::process::Output {
    release_by(bench, "owner.key", object, instance, more)
}

fn release_by(
    bench: &Bench,
    owner: &str,
    object: &str,
    instance: &str,
    more: &[&str],
) -> std::process::Output {
    let (owner, cert, key) = (bench.path(owner), bench.path("me.cert.pem"), bench.path("me.key.pem"));
    let arguments = [
        "object",
        "release",
        object,
        "--instance",
        instance,
        "--as",
        "input-0",
        "--owner-key",
        &owner,
        "--cert",
        &cert,
        "--key",
        &key,
        INSECURE,
    ];
    bench.run(&[&arguments[..], more].concat())
}

/// The result that the program computes of the object, once it is there.
fn result(bench: &Bench, policy: &str) -> Vec<u8> {
    ends(&bench.inside("run", &["--policy", policy, INSECURE], &[PROGRAM]), 0);
    bench.inside("get", &["--policy", policy, INSECURE], &["output"]).stdout
}

fn known() -> Vec<u8> {
    std::fs::read(repository("examples/data/cars.line")).unwrap()
}

#[test]
fn a_key_is_released_to_what_its_owner_demands_and_a_stolen_disk_tells_nothing() {
    let bench = Bench::new();
    let full = bench.create("i");
    let measurement = cm_crypto::digest::sha256(&std::fs::read(cryptomesh()).unwrap());
    let hash = cm_crypto::digest::sha256(&std::fs::read(&full).unwrap());
    let demands =
        [format!("measurement={measurement}"), format!("policy={hash}"), format!("function={FUNCTION}")];
    put(&bench, OBJECT, &demands.each_ref().map(String::as_str));
    let shown = bench.json(&["object", "describe", OBJECT]);
    assert_eq!(shown["released_to"]["policies"][0], hash.to_string());
    assert_eq!(shown["released_to"]["functions"][0]["id"], FUNCTION);

    ends(&release(&bench, OBJECT, "i", &[]), 0);
    assert_eq!(result(&bench, &full), known());

    // The owner reads it still.
    let (back, owner) = (bench.path("back"), bench.path("owner.key"));
    bench.ok(&["object", "get", OBJECT, &back, "--open-with", &owner]);
    let plaintext = std::fs::read(repository("examples/data/cars.points")).unwrap();
    assert_eq!(std::fs::read(&back).unwrap(), plaintext);

    let secret = std::fs::read_to_string(bench.path("owner.key")).unwrap();
    let secret = secret.lines().last().unwrap().as_bytes().to_vec();
    let canary = &plaintext[plaintext.len() - 64..];
    for file in bench.stored() {
        let bytes = std::fs::read(&file).unwrap_or_default();
        for (what, wanted) in [("plaintext", canary), ("key", &secret[..])] {
            let found = bytes.windows(wanted.len()).any(|window| window == wanted);
            assert!(!found, "the {what} stands in {}", file.display());
        }
    }
}

#[test]
fn whoever_carries_the_object_needs_no_key() {
    let bench = Bench::new();
    let full = bench.create("i");
    put(&bench, OBJECT, &[&format!("function={FUNCTION}")]);
    let sealed = bench.path("sealed");
    bench.ok(&["object", "get", OBJECT, &sealed]);
    let target = ["--policy", full.as_str(), INSECURE];
    let file = format!("input-0={sealed}");
    // Without the key there is nothing to open it with.
    assert_ne!(bench.inside("put", &target, &["--sealed", &file]).status.code(), Some(0));
    ends(&release(&bench, OBJECT, "i", &["--key-only"]), 0);
    ends(&bench.inside("put", &target, &["--sealed", &file]), 0);
    assert_eq!(result(&bench, &full), known());
}

#[test]
fn nobody_else_gets_a_key() {
    let bench = Bench::new();
    let full = bench.create("i");
    let hash = cm_crypto::digest::sha256(&std::fs::read(&full).unwrap()).to_string();
    let zeros = "00".repeat(32);
    let policy = format!("policy={hash}");
    for (number, demand) in [
        vec![format!("measurement={zeros}")],
        vec![format!("policy={zeros}")],
        vec![policy.clone(), format!("measurement={zeros}")],
    ]
    .into_iter()
    .enumerate()
    {
        let object = format!("box/{number}");
        put(&bench, &object, &demand.iter().map(String::as_str).collect::<Vec<_>>());
        ends(&release(&bench, &object, "i", &[]), 3);
    }
    // Another instance of the same function obeys another policy, and is not who the key was meant for.
    put(&bench, "box/pinned", &[&policy]);
    bench.create("j");
    let said = ends(&release(&bench, "box/pinned", "j", &[]), 3).1;
    assert!(said.contains("the key was not released"), "{said}");
    // Another function does something else.
    let other = repository("examples/k-means/policy.json");
    let (input, owner) = (repository("examples/data/cars.points"), bench.path("owner.key"));
    bench.ok(&[
        "object",
        "put",
        &input,
        "box/other",
        "--owner-key",
        &owner,
        "--release-to",
        "function=k-means",
        "--function-policy",
        &other,
    ]);
    let said = ends(&release(&bench, "box/other", "i", &[]), 3).1;
    assert!(said.contains("runs no function"), "{said}");
    // Somebody else's key signs for nobody but itself.
    let stranger = bench.path("stranger.key");
    bench.ok(&["keys", "seal", &stranger]);
    let said = ends(&release_by(&bench, "stranger.key", "box/pinned", "i", &[]), 3).1;
    assert!(said.contains("not signed by the object's owner"), "{said}");
    // An object without a release policy is released to nobody.
    bench.ok(&["object", "put", &input, "box/plain"]);
    ends(&release(&bench, "box/plain", "i", &[]), 3);
    ends(&release(&bench, "box/none", "i", &[]), 4);

    let listed = bench.inside("ls", &["--policy", &full, INSECURE], &[]);
    assert!(!ends(&listed, 0).0.contains("input-0"), "something arrived");
    ends(&release(&bench, "box/pinned", "i", &[]), 0);
}

#[test]
fn the_owner_s_agent_answers_requests_and_the_log_tells_of_them() {
    let bench = Bench::new();
    let full = bench.create("i");
    put(&bench, OBJECT, &[&format!("function={FUNCTION}")]);
    put(&bench, "box/never", &[&format!("policy={}", "00".repeat(32))]);
    let (owner, cert, key) = (bench.path("owner.key"), bench.path("me.cert.pem"), bench.path("me.key.pem"));
    for (object, code) in [(OBJECT, 0), ("box/never", 3)] {
        let asked = Command::new(cryptomesh())
            .arg("--data-dir")
            .arg(bench.node.data_dir())
            .args(["release", "request", object, "--instance", "i", "--as", "input-0", "--output", "json"])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The request may arrive later than a look for it.
        let answered = || {
            let agent = [
                "release",
                "serve",
                "box",
                "--once",
                "--owner-key",
                &owner,
                "--cert",
                &cert,
                "--key",
                &key,
                INSECURE,
            ];
            bench.ok(&agent).1.contains(object)
        };
        let end = std::time::Instant::now() + std::time::Duration::from_secs(50);
        while !answered() {
            assert!(std::time::Instant::now() < end, "the request never came");
        }
        let said = ends(&asked.wait_with_output().unwrap(), code).0;
        let answer: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(answer["released"], code == 0, "{answer}");
    }
    assert_eq!(result(&bench, &full), known());
    let events = bench.ok(&["events", "--output", "json"]).0;
    assert!(events.contains("release-requests/") && events.contains("release-answers/"), "{events}");
}

/// What stands between an owner and a node, and answers every question for evidence as it was answered the first time.
async fn replaying(node: &str, tasks: &Tasks) -> String {
    let (node, first) = (node.to_owned(), Arc::new(Mutex::new(None::<Bytes>)));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let pass_on = move |request: Request| {
        let (node, first, http) = (node.clone(), first.clone(), http.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
            let mut headers = parts.headers;
            headers.remove(header::HOST);
            let asked = http.request(parts.method, format!("{node}{}", parts.uri)).headers(headers);
            let answer = asked.body(body).send().await.unwrap();
            let (status, mut headers) = (answer.status(), answer.headers().clone());
            headers.remove(header::TRANSFER_ENCODING);
            let mut body = answer.bytes().await.unwrap();
            if parts.uri.path().ends_with("/evidence") {
                body = first.lock().unwrap().get_or_insert(body).clone();
                headers.remove(header::CONTENT_LENGTH);
            }
            (status, headers, body)
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (router, serving) = (axum::Router::new().fallback(pass_on), tasks.clone());
    tasks.spawn("replaying", async move {
        cm_http::serve(listener, router, cm_http::ServerLimits::default(), &serving).await;
    });
    url
}

/// Waits until the instances of a node have been given so many keys.
async fn keys_provided(bench: &Bench, expected: usize) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let filters = [("verb", "instance.key-provided".to_owned())];
        let events = bench.node.admin().events(0, 100, &filters).await.unwrap().items;
        assert!(events.len() <= expected, "a key was handed over: {events:?}");
        if events.len() == expected {
            assert!(events.iter().all(|event| event["facts"]["sealed_header"].is_string()), "{events:?}");
            return;
        }
        assert!(std::time::Instant::now() < end, "{} of {expected} keys are in the log", events.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_is_released_on_evidence_that_was_given_before() {
    let bench = Bench::new();
    bench.create("i");
    put(&bench, OBJECT, &[&format!("function={FUNCTION}")]);
    let tasks = Tasks::new();
    let between = replaying(&bench.node.url(), &tasks).await;
    let token = bench.node.admin_token();
    let by_way = ["--key-only", "--url", &between, "--token", &token];
    ends(&release(&bench, OBJECT, "i", &by_way), 0);
    keys_provided(&bench, 1).await;
    let said = ends(&release(&bench, OBJECT, "i", &by_way), 3).1;
    assert!(said.contains("evidence"), "{said}");
    // The same by the straight way: the refusal was for the replay, and handed nothing over.
    ends(&release(&bench, OBJECT, "i", &["--key-only"]), 0);
    keys_provided(&bench, 2).await;
    assert!(bench.node.stop().success());
}
