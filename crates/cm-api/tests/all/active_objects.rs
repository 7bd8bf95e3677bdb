//! Active objects, seen as a client of the API sees them: as flat JSON.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::Node;

const OBJECTS: &str = "/api/v1/active-objects";
const CODE: &str = "from typing import List\n\nclass Counter:\n    def __init__(self, start: int = 0):\n        self.n = start\n\n    \
                    def add(self, by: List[int], times: int = 1) -> int:\n        return self.n\n\n    \
                    async def read(self):\n        return self.n\n\nclass Other:\n    pass\n";

async fn home(node: &Node) {
    node.post("/api/v1/services", json!({ "id": "s", "name": "shop" })).await.expect(201);
    node.post("/api/v1/microservices", json!({ "id": "m", "service_id": "s" })).await.expect(201);
}

fn counter() -> Value {
    json!({
        "axo_module": "counters", "axo_class_name": "Whatever", "axo_microservice_id": "m",
        "axo_alias": "the counter", "axo_code": CODE,
    })
}

fn parameter(name: &str, kind: &str, default: Value) -> Value {
    json!({
        "name": name, "type": kind, "description": null, "required": default.is_null(), "default": default,
    })
}

#[tokio::test]
async fn an_active_object_shows_what_its_code_declares() {
    let node = Node::start().await;
    home(&node).await;
    let created = node.post(OBJECTS, counter()).await.expect(201);
    let object = created.json();
    let id = object["active_object_id"].as_str().unwrap().to_owned();
    assert_eq!(object["id"], json!(id));
    assert_eq!(created.header("location"), format!("{OBJECTS}/{id}"));
    for (field, expected) in [
        ("name", json!("the counter")),
        ("axo_class_name", json!("Counter")),
        ("axo_key", json!("the counter")),
        ("axo_version", json!(0)),
        ("axo_is_read_only", json!(false)),
        ("axo_dependencies", json!([])),
        ("axo_bucket_id", Value::Null),
        ("axo_uri", Value::Null),
        ("path", json!("/axo/data")),
        ("source_path", json!("/axo/source")),
        ("sink_path", json!("/axo/sink")),
        ("axo_code", json!(CODE)),
    ] {
        assert_eq!(object[field], expected, "{field}");
    }
    let init = json!([parameter("start", "int", json!(0))]);
    let add = json!([parameter("by", "Any", Value::Null), parameter("times", "int", json!(1))]);
    let schema = json!({ "class_name": "Counter", "init": init, "methods": { "add": add, "read": [] } });
    assert_eq!(object["axo_schema"], schema);
    assert_eq!(node.get(&format!("{OBJECTS}/{id}/schema")).await.expect(200).json(), schema);
    assert_eq!(node.get(&format!("{OBJECTS}/nobody/schema")).await.expect(404).code(), "not-found");

    let functions = object["functions"].as_array().unwrap();
    assert_eq!((functions[0]["name"].as_str(), functions[1]["name"].as_str()), (Some("add"), Some("read")));
    assert_eq!((&functions[0]["init_params"], &functions[0]["call_params"]), (&init, &add));
    assert!(functions[0]["created_at"].is_string());
    for _ in 0..2 {
        let again = node.get(&format!("{OBJECTS}/{id}")).await.expect(200).json();
        assert_eq!(again, object, "nothing changes by reading");
    }
    let add = functions[0]["function_id"].as_str().unwrap();
    let function = node.get(&format!("/api/v1/functions/{add}")).await.expect(200).json();
    assert_eq!((&function["name"], &function["active_object_id"]), (&json!("add"), &json!(id)));
    assert_eq!(function["microservice_id"], "m");
    let listed = node.get(&format!("/api/v1/functions?filter=active_object_id%3D{id}")).await.expect(200);
    assert_eq!(listed.json().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_wrong_with_an_object_is_said_before_anything_is_written() {
    let node = Node::start().await;
    home(&node).await;
    let with = |field: &str, value: Value| {
        let mut body = counter();
        body[field] = value;
        body
    };
    let check = async |body: Value, expected: &[&str]| {
        let refused = node.post(OBJECTS, body).await.expect(422);
        let text = refused.json().to_string();
        assert!(expected.iter().all(|part| text.contains(part)), "{text}");
    };
    check(with("axo_code", json!("class A:\n    def f(self:\n")), &["axo_code", "line ", "column "]).await;
    check(with("axo_version", json!(-1)), &["axo_version"]).await;
    check(with("axo_alias", json!("x".repeat(33))), &["axo_alias", "32"]).await;
    check(with("axo_microservice_id", json!("nowhere")), &["axo_microservice_id", "microservice/nowhere"])
        .await;
    check(with("axo_colour", json!("red")), &["axo_colour"]).await;
    for required in ["axo_module", "axo_class_name", "axo_microservice_id"] {
        let mut body = counter();
        body.as_object_mut().unwrap().remove(required);
        check(body, &[required]).await;
    }
    assert_eq!(node.get(OBJECTS).await.expect(200).json(), json!([]));
    assert_eq!(node.get("/api/v1/functions").await.expect(200).json(), json!([]));
}

#[tokio::test]
async fn an_object_is_changed_in_part_and_goes_with_its_functions() {
    let node = Node::start().await;
    home(&node).await;
    let object = node.post(OBJECTS, counter()).await.expect(201).json();
    let path = format!("{OBJECTS}/{}", object["id"].as_str().unwrap());
    let add = object["functions"][0].clone();
    let states = "/api/v1/function-states";
    // What was read can be sent back; what is derived cannot be set.
    let mut forged = object.clone();
    forged["axo_schema"] = json!({ "class_name": "Forged" });
    forged["axo_sink_bucket_id"] = json!("sinks");
    let changed = node.put(&path, forged).await.expect(200).json();
    assert_eq!(
        (&changed["axo_schema"], &changed["functions"]),
        (&object["axo_schema"], &object["functions"])
    );
    assert_eq!(changed["axo_sink_bucket_id"], "sinks");
    let code = "class Counter:\n    def add(self): pass\n    def clear(self): pass\n";
    let changed = node.put(&path, json!({ "axo_code": code })).await.expect(200).json();
    let names: Vec<_> =
        changed["functions"].as_array().unwrap().iter().map(|function| function["name"].clone()).collect();
    assert_eq!(names, ["add", "clear"]);
    assert_eq!(changed["functions"][0]["function_id"], add["function_id"]);
    assert_eq!(changed["functions"][0]["call_params"], json!([]));
    node.put(&path, json!({ "axo_code": "def" })).await.expect(422);
    node.put(&path, json!({ "path": null })).await.expect(200);
    node.get(OBJECTS).await.expect(200);
    let function = format!("/api/v1/functions/{}", add["function_id"].as_str().unwrap());
    assert_eq!(node.delete(&function).await.expect(409).code(), "conflict");
    node.delete(&path).await.expect(204);
    node.get(&function).await.expect(404);
    assert_eq!(node.get(states).await.expect(200).json(), json!([]));
}

#[tokio::test]
async fn code_is_optional_and_a_class_too() {
    let node = Node::start().await;
    home(&node).await;
    let mut bare = counter();
    bare.as_object_mut().unwrap().remove("axo_code");
    let object = node.post(OBJECTS, bare).await.expect(201).json();
    assert_eq!(object["axo_schema"], json!({ "class_name": "Whatever", "init": [], "methods": {} }));
    let mut classless = counter();
    classless["axo_code"] = json!("x = 1\n");
    let object = node.post(OBJECTS, classless).await.expect(201).json();
    assert_eq!(object["axo_class_name"], object["axo_schema"]["class_name"]);
}

#[tokio::test]
async fn clients_of_the_earlier_implementation_get_its_answers() {
    let node = Node::start_open().await;
    let mut body = counter();
    body["axo_microservice_id"] = json!("never-made");
    body["something"] = json!("else");
    let path = format!("{OBJECTS}/");
    let created = node.ask(Method::POST, &path, None, body.to_string()).await.expect(201).json();
    assert_eq!(created["axo_microservice_id"], "never-made");
    let mut bad = counter();
    bad["axo_code"] = json!("class");
    let refused = node.ask(Method::POST, &path, None, bad.to_string()).await.expect(422).json();
    assert_eq!(refused["detail"][0]["loc"], json!(["body", "axo_code"]));
}

#[tokio::test]
async fn the_tree_shows_what_the_caller_may_read() {
    let node = Node::start().await;
    home(&node).await;
    let object = node.post(OBJECTS, counter()).await.expect(201).json();
    node.post("/api/v1/functions", json!({ "id": "f", "microservice_id": "m" })).await.expect(201);
    let tree = node.get("/api/v1/hierarchy").await.expect(200).json();
    let function = |at: usize| {
        let mut function = object["functions"][at].clone();
        function.as_object_mut().unwrap().remove("created_at");
        function
    };
    let expected = json!([{
        "service_id": "s", "service_name": "shop",
        "microservices": [{
            "microservice_id": "m", "microservice_name": "m",
            "active_objects": [{
                "active_object_id": object["id"], "object_name": "Counter", "alias": "the counter", "version": 0,
                "functions": [function(0), function(1)],
                "axo_bucket_id": null, "axo_source_bucket_id": null, "axo_sink_bucket_id": null,
                "axo_endpoint_id": null,
            }],
            "functions": [{ "function_id": "f", "name": "f" }],
        }],
    }]);
    assert_eq!(tree, expected);
    let somebody = node.somebody("somebody", &["service:list", "service:read", "active-object:read"]).await;
    let seen = node.ask(Method::GET, "/api/v1/hierarchy", Some(&somebody), "").await.expect(200).json();
    assert_eq!(seen, json!([{ "service_id": "s", "service_name": "shop", "microservices": [] }]));
    node.post("/api/v1/services", json!({ "id": "t" })).await.expect(201);
    let first = node.get("/api/v1/hierarchy?limit=1").await.expect(200);
    let rest = format!("/api/v1/hierarchy?limit=1&after={}", first.header("next-cursor"));
    let rest = node.get(&rest).await.expect(200);
    assert_eq!(rest.json()[0]["service_id"], "t");
    assert!(!rest.headers.contains_key("next-cursor"));
    node.get("/api/v1/hierarchy?after=nonsense").await.expect(422);
}

#[tokio::test]
async fn a_record_is_read_with_what_it_refers_to() {
    let node = Node::start().await;
    node.post("/api/v1/roles", json!({ "id": "r", "permissions": [] })).await.expect(201);
    node.post("/api/v1/security-policies", json!({ "id": "p", "roles": ["r"] })).await.expect(201);
    node.post("/api/v1/services", json!({ "id": "s", "security_policy": "p" })).await.expect(201);
    for id in ["m1", "m2"] {
        node.post("/api/v1/microservices", json!({ "id": id, "service_id": "s" })).await.expect(201);
    }
    let path = "/api/v1/services/s?expand=microservices,security_policy,security_policy.roles";
    let answer = node.get(path).await.expect(200);
    assert!(!answer.headers.contains_key("etag"));
    let service = answer.json();
    assert_eq!(service["security_policy"], "p", "the field itself stays");
    let expanded = &service["expanded"];
    assert_eq!(expanded["security_policy"]["sp_id"], "p");
    assert_eq!(expanded["security_policy.roles"], json!([]));
    let ids: Vec<_> = expanded["microservices"].as_array().unwrap().iter().map(|m| m["id"].clone()).collect();
    assert_eq!(ids, ["m1", "m2"]);
    let policy = node.get("/api/v1/security-policies/p?expand=roles").await.expect(200).json();
    assert_eq!(policy["expanded"]["roles"][0]["role_id"], "r");
    let home = node.get("/api/v1/microservices/m1?expand=service_id,functions").await.expect(200).json();
    assert_eq!(
        (&home["expanded"]["service_id"]["id"], &home["expanded"]["functions"]),
        (&json!("s"), &json!([]))
    );
    assert_eq!(home["expanded"]["security_policy"], Value::Null);
    let refused = node.get("/api/v1/services/s?expand=colour").await.expect(400);
    assert!(refused.json().to_string().contains("colour"));

    let reader = node.somebody("reader", &["service:read", "microservice:read@env=prod"]).await;
    let seen = node.ask(Method::GET, path, Some(&reader), "").await;
    // The policy in force on the service asks for a role that the reader has not.
    assert_eq!(seen.status.as_u16(), 404);
    node.put("/api/v1/services/s", json!({ "security_policy": null })).await.expect(200);
    let seen = node.ask(Method::GET, path, Some(&reader), "").await.expect(200).json();
    assert_eq!(
        (&seen["expanded"]["microservices"], &seen["expanded"]["security_policy"]),
        (&json!([]), &Value::Null)
    );
}

#[tokio::test]
async fn who_refers_to_a_record_is_listed() {
    let node = Node::start().await;
    home(&node).await;
    node.post(
        OBJECTS,
        json!({ "id": "o", "axo_module": "x", "axo_class_name": "X", "axo_microservice_id": "m" }),
    )
    .await
    .expect(201);
    for id in ["f1", "f2"] {
        node.post("/api/v1/functions", json!({ "id": id, "microservice_id": "m" })).await.expect(201);
    }
    let (mut found, mut path) = (Vec::new(), "/api/v1/microservices/m/referrers?limit=1".to_owned());
    loop {
        let page = node.get(&path).await.expect(200);
        found.extend(page.json().as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()));
        let Some(next) = page.headers.get("next-cursor") else { break };
        path = format!("/api/v1/microservices/m/referrers?limit=1&after={}", next.to_str().unwrap());
    }
    found.sort();
    assert_eq!(found, ["active-object/o", "function/f1", "function/f2"]);
    assert_eq!(node.get("/api/v1/services/s/referrers").await.expect(200).json(), json!(["microservice/m"]));
    assert_eq!(node.get("/api/v1/services/x/referrers").await.expect(404).code(), "not-found");
}
