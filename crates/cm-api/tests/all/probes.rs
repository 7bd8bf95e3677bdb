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
async fn an_open_node_asks_nobody_but_believes_no_false_credential() {
    let node = Node::start_open().await;
    node.ask(Method::GET, "/api/v1/functions", None, "").await.expect(200);
    let me = node.ask(Method::GET, "/api/v1/auth/whoami", None, "").await.expect(200).json();
    assert_eq!(me["credential"], "none");
    node.ask(Method::GET, "/api/v1/functions", Some("garbage"), "").await.expect(401);
}
