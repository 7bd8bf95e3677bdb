//! Many declarations through the API.

use serde_json::json;

use crate::support::Node;

#[tokio::test]
async fn declarations_that_could_not_be_so_are_refused_with_their_place() {
    let node = Node::start().await;
    let fine = json!({ "kind": "service", "id": "s", "spec": {} });
    for (wrong, path) in [
        (json!({ "kind": "endpoint", "id": "deploy", "spec": { "image": "i" } }), json!("id")),
        (json!({ "kind": "service", "id": "s", "spec": { "description": "another" } }), json!(null)),
        (json!({ "kind": "instance", "id": "i", "spec": {} }), json!("kind")),
    ] {
        let body = json!({ "resources": [fine, wrong] });
        let answer = node.post("/api/v1/manifests", body).await.expect(422).json();
        let details = &answer["error"]["details"];
        assert_eq!((&details["index"], &details["path"]), (&json!(1), &path), "{answer}");
        node.get("/api/v1/services/s").await.expect(404);
    }
    node.post("/api/v1/manifests", json!({ "resources": [fine] })).await.expect(200);
    node.get("/api/v1/services/s").await.expect(200);
}
