//! Clients of the earlier implementation, of each of its three versions, against a node in open mode: plain HTTP, bodies
//! as they sent them, answers as they read them.

use cm_e2e::{Node, NodeOptions};
use serde_json::{Map, Value, json};

/// One family as clients know it.
struct Family {
    path: &'static str,
    /// What answers call the id.
    id: &'static str,
    create: Value,
    change: Value,
    /// Sent, but not shown as sent: what the server derives.
    derived: &'static [&'static str],
}

fn family(path: &'static str, id: &'static str, create: Value, change: Value) -> Family {
    Family { path, id, create, change, derived: &[] }
}

/// What the newest version sends.
fn newest() -> Vec<Family> {
    let resources = json!({ "cpu": 2, "ram": "2GB" });
    let code = "class Cipher:\n    def __init__(self, rounds: int = 3):\n        pass\n\n    def run(self, text):\n        return text\n";
    vec![
        family(
            "roles",
            "role_id",
            json!({ "name": "Analyst", "description": "reads", "permissions": ["read", "nonsense"] }),
            json!({ "permissions": ["read", "write"] }),
        ),
        family(
            "security-policies",
            "sp_id",
            json!({ "name": "Strict", "roles": ["no-such-role"], "requires_authentication": true }),
            json!({ "requires_authentication": false }),
        ),
        family(
            "services",
            "service_id",
            json!({ "name": "Security", "security_policy": "no-such-policy", "resources": resources }),
            json!({ "resources": { "cpu": 4, "ram": "4GB" } }),
        ),
        family(
            "microservices",
            "microservice_id",
            json!({ "name": "Ciphers", "service_id": "no-such-service", "resources": resources }),
            json!({ "name": "Better ciphers" }),
        ),
        family(
            "endpoints",
            "endpoint_id",
            json!({ "name": "One", "image": "axo:endpoint", "resources": resources, "security_policy": "sp" }),
            json!({ "image": "axo:endpoint-2" }),
        ),
        family(
            "endpoint-states",
            "state_id",
            json!({ "endpoint_id": "no-such-endpoint", "state": "warm", "metadata": { "by": "hand" } }),
            json!({ "state": "cold", "metadata": { "why": "done" } }),
        ),
        family(
            "function-states",
            "state_id",
            json!({ "function_id": "no-such-function", "state": "banana" }),
            json!({ "state": "completed" }),
        ),
        family(
            "function-results",
            "result_id",
            json!({ "function_id": "no-such-function", "metadata": { "out": "1" } }),
            json!({ "metadata": { "out": "2" } }),
        ),
        family(
            "functions",
            "function_id",
            json!({
                "name": "encrypt", "microservice_id": "no-such-microservice", "image": "rory:encrypt",
                "resources": resources, "endpoint_id": "no-such-endpoint",
                "storage": { "capacity": "10GB", "source_path": "/in", "sink_path": "/out" },
            }),
            json!({ "image": "rory:encrypt-2" }),
        ),
        family(
            "storages",
            "storage_id",
            json!({ "capacity": "1.5 GiB", "source_path": "/in", "sink_path": "/out" }),
            json!({ "capacity": "20GB" }),
        ),
        family(
            "active-objects",
            "active_object_id",
            json!({
                "axo_module": "ciphers", "axo_class_name": "Cipher", "axo_microservice_id": "no-such-microservice",
                "axo_alias": "cipher", "axo_code": code,
            }),
            json!({ "axo_alias": "better-cipher", "axo_version": 1 }),
        ),
    ]
}

/// What the oldest version sends: policies within what they guard, smaller memories, statuses of its own.
fn oldest() -> Vec<Family> {
    let resources = json!({ "cpu": 1, "ram": "512MB" });
    let policy = json!({ "sp_id": "sp1", "roles": ["analyst"], "requires_authentication": true });
    vec![
        Family {
            derived: &["microservices", "service_id"],
            ..family(
                "services",
                "service_id",
                json!({
                    "service_id": "mine", "security_policy": policy, "resources": resources,
                    "microservices": ["loader"], "policy_id": "policy1",
                }),
                json!({ "policy_id": "policy2" }),
            )
        },
        Family {
            derived: &["functions"],
            ..family(
                "microservices",
                "microservice_id",
                json!({ "service_id": "s", "resources": resources, "functions": ["load"], "policy_id": "policy1" }),
                json!({ "resources": { "cpu": 2 } }),
            )
        },
        family(
            "functions",
            "function_id",
            json!({
                "microservice_id": "loader", "image": "rory:load", "resources": resources, "endpoint_id": "ep1",
                "storage": { "storage_id": "st", "capacity": "1GB", "source_path": "/in", "sink_path": "/out" },
                "deployment_status": "pending", "policy_id": "policy1",
            }),
            json!({ "deployment_status": "deployed" }),
        ),
        family(
            "endpoints",
            "endpoint_id",
            json!({ "name": "A", "image": "axo:endpoint", "resources": resources, "security_policy": policy }),
            json!({ "security_policy": { "roles": ["other"], "requires_authentication": false } }),
        ),
    ]
}

/// A client that knows nothing but HTTP.
struct Client {
    http: reqwest::Client,
    base: String,
    /// What it writes behind every path.
    slash: &'static str,
}

impl Client {
    async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let url = format!("{}/{path}{}", self.base, self.slash);
        let mut request = self.http.request(method.parse().unwrap(), url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.expect("the node answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect(&text) })
    }

    async fn works_on(&self, family: &Family) {
        let what = format!("{}{}", family.path, self.slash);
        let (status, created) = self.call("POST", family.path, Some(&family.create)).await;
        assert_eq!(status, 201, "{what}: {created}");
        shows(&created, family.create.as_object().unwrap(), family.derived, &what);
        let id = created[family.id].as_str().unwrap_or_else(|| panic!("{what}: {created}"));
        let item = format!("{}/{id}", family.path);
        let (status, read) = self.call("GET", &item, None).await;
        assert_eq!((status, &read), (200, &created), "{what}");
        let (status, list) = self.call("GET", family.path, None).await;
        assert_eq!(status, 200, "{what}");
        let listed = list.as_array().unwrap_or_else(|| panic!("{what}: no bare array: {list}"));
        assert!(listed.iter().any(|entry| entry[family.id] == id), "{what}: not in the list");
        let (status, changed) = self.call("PUT", &item, Some(&family.change)).await;
        assert_eq!(status, 200, "{what}: {changed}");
        let mut expected = family.create.as_object().unwrap().clone();
        for (name, value) in family.change.as_object().unwrap() {
            match (expected.get_mut(name), value) {
                (Some(Value::Object(old)), Value::Object(new)) if name == "resources" => {
                    old.extend(new.clone())
                }
                _ => {
                    expected.insert(name.clone(), value.clone());
                }
            }
        }
        shows(&changed, &expected, family.derived, &what);
        assert_eq!(self.call("DELETE", &item, None).await, (204, Value::Null), "{what}");
        let (status, gone) = self.call("GET", &item, None).await;
        assert_eq!(status, 404, "{what}");
        assert_eq!(gone["detail"]["message"], format!("Resource '{id}' not found"), "{what}");
        assert_eq!(gone["detail"]["code"], 404, "{what}");
        assert_eq!(self.call("DELETE", &item, None).await.0, 404, "{what}");
        assert_eq!(self.call("PUT", &item, Some(&family.change)).await.0, 404, "{what}");
    }
}

/// Whether an answer shows what was sent.
fn shows(answer: &Value, sent: &Map<String, Value>, derived: &[&str], what: &str) {
    for (name, value) in sent.iter().filter(|(name, _)| !derived.contains(&name.as_str())) {
        assert_eq!(&answer[name], value, "{what}: {name}");
    }
}

fn client(node: &Node, slash: &'static str) -> Client {
    let http =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    Client { http, base: format!("{}/api/v1", node.url()), slash }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_family_works_with_a_slash_and_without() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions { open: true, ..NodeOptions::default() });
    for slash in ["/", ""] {
        let client = client(&node, slash);
        for family in newest().iter().chain(&oldest()) {
            client.works_on(family).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_worded_as_earlier_clients_read_them() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions { open: true, ..NodeOptions::default() });
    let client = client(&node, "/");
    let endpoint = |resources: Value| json!({ "name": "e", "image": "i", "resources": resources });
    let check = async |path: &str, body: Value, status: u16, part: &str| {
        let (found, answer) = client.call("POST", path, Some(&body)).await;
        assert_eq!(found, status, "{body}: {answer}");
        assert!(answer.to_string().contains(part), "{body}: {answer}");
    };
    check(
        "endpoints",
        endpoint(json!({ "cpu": 5, "ram": "2GB" })),
        400,
        r#"{"detail":"CPU must be between 1 and 4"}"#,
    )
    .await;
    check("endpoints", endpoint(json!({ "cpu": 1, "ram": "9GB" })), 400, r#"{"detail":"RAM must be between"#)
        .await;
    check(
        "endpoints",
        endpoint(json!({ "cpu": 1, "ram": "GB2GB" })),
        422,
        r#""loc":["body","resources","ram"]"#,
    )
    .await;
    check("endpoints", json!({ "name": "e" }), 422, r#""loc":["body","image"]"#).await;
    check("services", json!({ "name": "n".repeat(33) }), 400, r#""message":"Bad request""#).await;
    let policy = json!({ "sp_id": "sp", "name": "n", "roles": ["r"], "requires_authentication": true });
    assert_eq!(client.call("POST", "security-policies", Some(&policy)).await.0, 201);
    check("security-policies", policy, 422, "Validation error: Security policy 'sp' already exists").await;
    assert_eq!(client.call("GET", "no-such-family", None).await.0, 404);
    // What was refused left nothing behind that spoils a list for everybody.
    assert_eq!(client.call("GET", "endpoints", None).await, (200, json!([])));
    // One bad change neither.
    let (_, service) = client.call("POST", "services", Some(&json!({ "name": "s" }))).await;
    let item = format!("services/{}", service["service_id"].as_str().unwrap());
    for bad in [json!({ "resources": { "cpu": null } }), json!({ "resources": 1 }), json!({ "name": 1 })] {
        let (status, answer) = client.call("PUT", &item, Some(&bad)).await;
        assert_eq!(status, 422, "{bad}: {answer}");
        assert_eq!(client.call("GET", &item, None).await, (200, service.clone()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_list_holds_everything_and_pages_are_linked() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions { open: true, ..NodeOptions::default() });
    let client = client(&node, "");
    // More than one page of the largest size.
    let many = 2100;
    for batch in 0..many / 300 {
        let resources: Vec<Value> = (0..300)
            .map(|at| {
                json!({ "kind": "storage", "id": format!("s{}", batch * 300 + at), "spec":
                { "capacity": "1GB", "source_path": "/in", "sink_path": "/out" } })
            })
            .collect();
        let (status, answer) =
            client.call("POST", "manifests", Some(&json!({ "resources": resources }))).await;
        assert_eq!(status, 200, "{answer}");
    }
    let (_, all) = client.call("GET", "storages", None).await;
    let ids: Vec<&str> = all.as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap()).collect();
    let expected: Vec<String> = (0..many).map(|at| format!("s{at}")).collect();
    assert_eq!(ids, expected);
    let (mut next, mut paged) = (Some("/api/v1/storages?limit=1000".to_owned()), Vec::new());
    while let Some(path) = next {
        let answer = client.http.get(format!("{}{path}", node.url())).send().await.unwrap();
        let link = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        next = link.map(|link| link.trim_start_matches('<').split('>').next().unwrap().to_owned());
        let page: Vec<Value> = answer.json().await.unwrap();
        assert!(page.len() <= 1000);
        paged.extend(page);
    }
    assert_eq!(Value::from(paged), all);
}
