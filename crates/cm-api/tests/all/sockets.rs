//! Who may follow a computation over a WebSocket.

use axum::body::Body;
use axum::http::Method;
use cm_kernel::catalog::NewRecord;
use cm_kernel::catalog::kinds::Computation;
use cm_kernel::policy::Create;
use cm_kernel::{Actor, OpContext};
use cm_types::{RequestId, ResourceKind};

use crate::support::Node;

/// What a client sends that wants a socket.
const ASKS: [(&str, &str); 4] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[tokio::test]
async fn a_socket_is_for_whoever_may_read_and_for_no_page_of_a_stranger() {
    let node = Node::start().await;
    let op = OpContext::new(Actor::node(), RequestId::random(), node.tasks.token());
    let permit = node.kernel.authorize::<Create>(&op, ResourceKind::Computation).await.unwrap();
    let spec = Computation { plan: "{}".to_owned(), source: None, description: None, security_policy: None };
    let record = node.kernel.create_record(&op, &permit, NewRecord::of("c", &spec)).await.unwrap();
    let path = format!("/api/v1/computations/{}/progress/socket", record.header.id);
    let ask = async |path: &str, token: Option<&str>, more: &[(&str, &str)]| {
        let headers = [&ASKS[..], more].concat();
        node.ask_with(Method::GET, path, token, &headers, Body::empty()).await
    };
    let admin = Some(node.admin.as_str());
    ask(&path, None, &[]).await.expect(401);
    ask("/api/v1/computations/nothing/progress/socket", admin, &[]).await.expect(404);
    let eve = node.somebody("eve", &["bucket:read"]).await;
    assert!(matches!(ask(&path, Some(&eve), &[]).await.status.as_u16(), 403 | 404));
    let strange = ask(&path, admin, &[("origin", "http://evil.example")]).await.expect(403);
    assert!(strange.code() == "forbidden");
    let own = [("host", "127.0.0.1:8443"), ("origin", "http://127.0.0.1:8443")];
    // No connection can be handed over here: what comes is the refusal of that, behind every other one.
    assert_eq!(ask(&path, admin, &own).await.code(), "malformed");
    node.get(&path).await.expect(400);
}
