//! A node behind a proxy: who guesses passwords there keeps nobody else out, and nobody makes up where they come from.

use cm_e2e::{Node, NodeOptions, enrol};
use reqwest::StatusCode;
use serde_json::json;

const PASSWORD: &str = "correct horse battery staple";
/// Failures in a row that lock an account for a source.
const FAILURES: usize = 5;

/// A login as it arrives from a proxy on this machine, which was asked from there.
async fn login(node: &Node, asked_from: &str, password: &str) -> StatusCode {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request =
        http.post(format!("{}/api/v1/auth/login", node.url())).header("x-forwarded-for", asked_from);
    let body = json!({ "principal": "alice", "password": password });
    request.json(&body).send().await.unwrap().status()
}

async fn node(root: &std::path::Path, proxies: &str) -> Node {
    let set = vec![format!("listen.trusted_proxies={proxies}")];
    let node = Node::start(root, &NodeOptions { set, ..NodeOptions::default() });
    enrol(&node, "alice", &[]).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/api/v1/principals/alice/password", node.url());
    let request = http.put(url).bearer_auth(node.admin_token()).json(&json!({ "password": PASSWORD }));
    assert!(request.send().await.unwrap().status().is_success());
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guesser_behind_the_same_proxy_keeps_nobody_else_out() {
    let root = tempfile::tempdir().unwrap();
    let node = node(root.path(), "127.0.0.1,10.0.0.0/8").await;
    for _ in 0..FAILURES {
        assert_eq!(login(&node, "203.0.113.1", "a guess").await, 401);
    }
    assert_eq!(login(&node, "203.0.113.1", PASSWORD).await, 429);
    // What the guesser writes itself stands before what the proxies add.
    assert_eq!(login(&node, "198.51.100.7, 203.0.113.1, 10.0.0.9", PASSWORD).await, 429);
    assert_eq!(login(&node, "198.51.100.7", PASSWORD).await, 200);
    let filters = [("verb", "login.failed".to_owned())];
    let events = node.admin().events(0, 10, &filters).await.unwrap().items;
    assert!(events.iter().all(|event| format!("{event:?}").contains("203.0.113.1")), "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_proxy_is_not_believed() {
    let root = tempfile::tempdir().unwrap();
    let node = node(root.path(), "10.0.0.0/8").await;
    for n in 0..FAILURES {
        assert_eq!(login(&node, &format!("203.0.113.{n}"), "a guess").await, 401);
    }
    assert_eq!(login(&node, "198.51.100.7", PASSWORD).await, 429);
}
