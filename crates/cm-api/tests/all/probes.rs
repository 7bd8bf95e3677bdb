//! What monitoring asks, and the open mode.

use axum::http::Method;

use crate::support::Node;

#[tokio::test]
async fn probes_answer_without_a_credential() {
    let node = Node::start().await;
    for path in ["/health", "/ready", "/metrics"] {
        node.ask(Method::GET, path, None, "").await.expect(200);
        assert!(!cm_api::openapi_text().contains(&format!("\"{path}\"")));
    }
    assert_eq!(node.ask(Method::GET, "/metrics", None, "").await.body, b"up 1\n");
}

#[tokio::test]
async fn a_node_that_shuts_down_is_healthy_but_not_ready() {
    let node = Node::start().await;
    node.tasks.token().cancel();
    node.ask(Method::GET, "/health", None, "").await.expect(200);
    assert_eq!(node.ask(Method::GET, "/ready", None, "").await.expect(503).code(), "unavailable");
}

#[tokio::test]
async fn an_open_node_asks_nobody_and_minds_no_false_credential() {
    let node = Node::start_open().await;
    node.ask(Method::GET, "/api/v1/functions", None, "").await.expect(200);
    let me = node.ask(Method::GET, "/api/v1/auth/whoami", None, "").await.expect(200).json();
    assert_eq!(me["credential"], "none");
    // As the earlier implementation, whose clients send tokens that nobody made.
    node.ask(Method::GET, "/api/v1/functions", Some("garbage"), "").await.expect(200);
    let me = node.ask(Method::GET, "/api/v1/auth/whoami", Some(&node.admin), "").await.expect(200).json();
    assert_eq!(me["principal"], "admin", "a true one is believed: {me}");
}

#[tokio::test]
async fn an_open_node_answers_to_no_foreign_name_or_page() {
    let node = Node::start_open().await;
    let ask = async |headers: &[(&str, &str)]| {
        node.ask_with(Method::GET, "/api/v1/functions", None, headers, "").await
    };
    ask(&[("host", "localhost:8443"), ("origin", "http://localhost:8443")]).await.expect(200);
    for foreign in [
        &[("host", "evil.example")][..],
        &[("host", "localhost:8443"), ("origin", "http://evil.example")],
        &[("host", "evil.example"), ("origin", "http://evil.example")],
    ] {
        let refused = ask(foreign).await.expect(403).json();
        assert!(refused["detail"]["message"].as_str().unwrap().contains("without credentials"), "{refused}");
    }
    // A node that asks for a credential needs no such fence: no foreign page has one.
    let closed = Node::start().await;
    let headers = [("host", "mesh.example")];
    closed.ask_with(Method::GET, "/api/v1/functions", Some(&closed.admin), &headers, "").await.expect(200);
}

#[tokio::test]
async fn an_instance_is_started_by_json_only() {
    let node = Node::start().await;
    let headers = [("content-type", "text/plain")];
    let admin = Some(node.admin.as_str());
    let body = r#"{"function":"x","identities":[]}"#;
    let refused = node.ask_with(Method::POST, "/api/v1/instances", admin, &headers, body).await.expect(415);
    assert_eq!(refused.code(), "unsupported-media-type");
    node.ask(Method::POST, "/api/v1/instances", admin, body).await.expect(404);
}

#[tokio::test]
async fn the_page_of_the_document_runs_what_it_brings_and_nothing_else() {
    let node = Node::start().await;
    let page = node.ask(Method::GET, "/docs", None, "").await.expect(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && policy.contains("connect-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    let text = String::from_utf8(page.body.clone()).unwrap();
    assert_eq!(text.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
    assert_eq!(text.matches("<script").count() + text.matches("<style").count(), 2);
    for foreign in ["http:", "https:", "{{", "innerHTML"] {
        assert!(!text.contains(foreign), "{foreign}");
    }
    assert!(text.contains("fetch(\"/openapi.json\")"));
    let again = node.ask(Method::GET, "/docs", None, "").await.expect(200);
    assert_ne!(again.header("content-security-policy"), policy);
    assert!(!cm_api::openapi_text().contains("\"/docs\""));
}
