//! What an enforced node holds its catalogue to: references, dependents, concurrent changes, and what security policies
//! demand.

use cm_e2e::{Node, NodeOptions, enrol};
use serde_json::{Value, json};

/// Somebody with a token, by plain HTTP.
struct Caller {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Caller {
    fn new(node: &Node, token: String) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { http, base: format!("{}/api/v1", node.url()), token }
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}/{path}", self.base);
        let mut request = self.http.request(method.parse().unwrap(), url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the node answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect(&text) })
    }

    async fn create(&self, path: &str, body: Value) {
        let (status, answer) = self.call("POST", path, Some(body)).await;
        assert_eq!(status, 201, "{path}: {answer}");
    }

    async fn sees(&self, path: &str) -> bool {
        let (status, answer) = self.call("GET", path, None).await;
        assert!(matches!(status, 200 | 403 | 404), "{path}: {answer}");
        status == 200
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dangling_reference_is_refused_by_its_field() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let admin = Caller::new(&node, node.admin_token());
    for (path, body, field) in [
        ("services", json!({ "security_policy": "gone" }), "security_policy"),
        ("services", json!({ "security_policy": { "roles": ["gone"] } }), "security_policy.roles[0]"),
        ("microservices", json!({ "service_id": "gone" }), "service_id"),
        ("functions", json!({ "microservice_id": "gone" }), "microservice_id"),
        ("functions", json!({ "storage": "gone" }), "storage"),
        ("endpoints", json!({ "image": "i", "security_policy": "gone" }), "security_policy"),
        ("security-policies", json!({ "roles": ["gone"] }), "roles[0]"),
    ] {
        let (status, answer) = admin.call("POST", path, Some(body)).await;
        assert_eq!((status, &answer["error"]["details"]["path"]), (422, &json!(field)), "{path}: {answer}");
        assert_eq!(admin.call("GET", path, None).await, (200, json!([])), "{path}: something was left");
    }
    // A misspelt field is refused by its name, a word that permits nothing by its place.
    let (status, answer) = admin.call("POST", "services", Some(json!({ "descripton": "x" }))).await;
    assert_eq!((status, &answer["error"]["details"]["path"]), (422, &json!("descripton")), "{answer}");
    let (status, answer) = admin.call("POST", "roles", Some(json!({ "permissions": ["read", "fly"] }))).await;
    assert_eq!((status, &answer["error"]["details"]["fields"][0]["path"]), (422, &json!("permissions[1]")));
    // Clients write no history here.
    let state = json!({ "endpoint_id": "e", "state": "warm" });
    assert_eq!(admin.call("POST", "endpoint-states", Some(state)).await.0, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_depend_on_is_deleted_as_the_caller_says() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let admin = Caller::new(&node, node.admin_token());
    for service in ["a", "b"] {
        admin.create("services", json!({ "id": service })).await;
        for part in ["1", "2"] {
            let id = format!("{service}{part}");
            admin.create("microservices", json!({ "id": id, "service_id": service })).await;
        }
    }
    let (status, answer) = admin.call("DELETE", "services/a", None).await;
    let by = json!(["microservice/a1", "microservice/a2"]);
    assert_eq!((status, &answer["error"]["details"]["by"]), (409, &by), "{answer}");
    let (status, plan) = admin.call("DELETE", "services/a?dependents=cascade&dry_run=true", None).await;
    let goes = json!(["service/a", "microservice/a1", "microservice/a2"]);
    assert_eq!((status, &plan["goes"]), (200, &goes), "{plan}");
    assert!(admin.sees("services/a").await, "a dry run changes nothing");
    assert_eq!(admin.call("DELETE", "services/a?dependents=cascade", None).await.0, 204);
    assert!(!admin.sees("microservices/a1").await);
    assert_eq!(admin.call("DELETE", "services/b?dependents=orphan", None).await.0, 204);
    let (_, orphan) = admin.call("GET", "microservices/b1", None).await;
    assert_eq!(orphan["service_id"], "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_lose_no_update() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let admin = Caller::new(&node, node.admin_token());
    admin
        .create("storages", json!({ "id": "s", "capacity": "1GB", "source_path": "/", "sink_path": "/" }))
        .await;
    // Ten writers count together, by the generation that each has read.
    let count = async || {
        loop {
            let url = format!("{}/storages/s", admin.base);
            let read = admin.http.get(&url).bearer_auth(&admin.token).send().await.unwrap();
            let tag = read.headers()["etag"].clone();
            let record: Value = read.json().await.unwrap();
            let so_far: u64 = record["description"].as_str().map_or(0, |text| text.parse().unwrap());
            let body = json!({ "description": (so_far + 1).to_string() });
            let written =
                admin.http.put(&url).bearer_auth(&admin.token).header("if-match", tag).json(&body).send();
            match written.await.unwrap().status().as_u16() {
                200 => return,
                412 => {}
                status => panic!("{status}"),
            }
        }
    };
    tokio::join!(count(), count(), count(), count(), count(), count(), count(), count(), count(), count());
    let (_, record) = admin.call("GET", "storages/s", None).await;
    assert_eq!((&record["description"], &record["generation"]), (&json!("10"), &json!(11)));
    // Writers of different fields need not even know of each other.
    let set =
        async |name: &str, value: &str| admin.call("PUT", "storages/s", Some(json!({ name: value }))).await;
    let (one, two, three, four) = tokio::join!(
        set("capacity", "7GB"),
        set("source_path", "/from"),
        set("sink_path", "/to"),
        set("name", "disk")
    );
    assert_eq!([one.0, two.0, three.0, four.0], [200; 4]);
    let (_, record) = admin.call("GET", "storages/s", None).await;
    let found = ["capacity", "source_path", "sink_path", "name"].map(|name| record[name].as_str().unwrap());
    assert_eq!(found, ["7GB", "/from", "/to", "disk"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_policies_decide_about_what_carries_them() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let admin = Caller::new(&node, node.admin_token());
    for (role, permissions) in [("reader", json!(["read"])), ("member", json!([])), ("nobody", json!([]))] {
        admin.create("roles", json!({ "id": role, "permissions": permissions })).await;
    }
    admin.create("security-policies", json!({ "sp_id": "members", "roles": ["member"] })).await;
    let open = json!({ "sp_id": "open", "roles": ["reader"], "requires_authentication": false });
    admin.create("security-policies", open).await;
    let endpoint = |id: &str, policy: Value| json!({ "id": id, "image": "i", "security_policy": policy });
    admin.create("endpoints", endpoint("named", json!("members"))).await;
    admin.create("endpoints", endpoint("own", json!({ "roles": ["member"] }))).await;
    admin.create("endpoints", endpoint("open", json!("open"))).await;
    admin.create("endpoints", json!({ "id": "free", "image": "i" })).await;
    admin.create("services", json!({ "id": "s", "security_policy": "members" })).await;
    admin.create("microservices", json!({ "id": "m", "service_id": "s" })).await;
    let reader = Caller::new(&node, enrol(&node, "reader", &["reader"]).await.token);
    let member = Caller::new(&node, enrol(&node, "member", &["reader", "member"]).await.token);
    let nobody = Caller::new(&node, enrol(&node, "nobody", &["nobody"]).await.token);
    for (path, expected) in [
        ("endpoints/named", [false, true, false]),
        ("endpoints/own", [false, true, false]),
        ("endpoints/open", [true, true, true]),
        ("endpoints/free", [true, true, false]),
        // A part has the policy of the whole.
        ("microservices/m", [false, true, false]),
    ] {
        let found = [reader.sees(path).await, member.sees(path).await, nobody.sees(path).await];
        assert_eq!(found, expected, "{path}: reader, member, nobody");
    }
    // The policy changes, and what it guards with it.
    assert_eq!(
        admin.call("PUT", "security-policies/members", Some(json!({ "roles": ["reader"] }))).await.0,
        200
    );
    assert!(reader.sees("endpoints/named").await);
    assert!(!reader.sees("endpoints/own").await);
}
