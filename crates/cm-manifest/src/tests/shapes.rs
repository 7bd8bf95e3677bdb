use super::*;

#[test]
fn the_flat_shape_is_read_with_its_references() {
    let manifest = parse(FLAT);
    let declared: Vec<String> =
        manifest.resources().iter().map(|resource| format!("{}/{}", resource.kind, resource.id)).collect();
    assert_eq!(
        declared,
        [
            "role/radiologist",
            "security-policy/ward",
            "endpoint/ep1",
            "service/imaging",
            "microservice/filters",
            "function/blur",
            "function/edges",
            "storage/disk",
            "bucket/scans",
            "active-object/viewer",
        ]
    );
    assert_eq!(
        spec(&manifest, ResourceKind::Endpoint, "ep1"),
        json!({
            "image": "registry.example/axo:2",
            "resources": { "cpu": 2, "ram": "2GB" },
            "security_policy": {
                "sp_id": "ep1-policy", "roles": ["radiologist", "porter"], "requires_authentication": true,
            },
        })
    );
    assert_eq!(
        spec(&manifest, ResourceKind::Function, "blur"),
        json!({
            "image": "registry.example/blur:1",
            "resources": { "cpu": 2, "ram": "1GB" },
            "storage": {
                "capacity": "10GB",
                "source": { "path": "/in", "bucket_id": "scans", "key": "today/1.dcm" },
                "sink": { "path": "/out" },
            },
            "endpoint_id": "ep1",
            "microservice_id": "filters",
        })
    );
    assert_eq!(
        spec(&manifest, ResourceKind::Function, "edges"),
        json!({
            "microservice_id": "filters", "storage": "disk", "policy_id": "p-17",
            "description": "Finds edges.\n  Slowly.\n",
        })
    );
    assert_eq!(
        spec(&manifest, ResourceKind::Microservice, "filters"),
        json!({ "service_id": "imaging", "resources": { "cpu": 1, "ram": "1GB" } })
    );
    let service = &manifest.resources()[index_of(&manifest, ResourceKind::Service, "imaging")];
    assert_eq!(service.name.as_deref(), Some("Imaging"));
    assert_eq!(service.labels.iter().collect::<Vec<_>>(), [("tier", "gold"), ("ward", "7")]);
    assert_eq!(spec(&manifest, ResourceKind::Bucket, "scans"), json!({}));
    assert_eq!(
        warnings(&manifest),
        [
            "28:5: `req_res_port` is written by the platform; what stands here is ignored",
            "38:9: microservice/elsewhere is not declared in this file; listing it has no effect",
            "56:5: `deployment_status` is written by the platform; what stands here is ignored",
        ]
    );
}

#[test]
fn the_nested_shape_is_read_with_its_references() {
    let manifest = parse(NESTED);
    let found: Vec<_> = manifest
        .resources()
        .iter()
        .map(|resource| (resource.id.as_str(), resource.at.to_string(), resource.spec.clone().into()))
        .collect();
    let small = json!({ "cpu": 1, "ram": "1GB" });
    let expected: [(&str, &str, serde_json::Value); 8] = [
        ("reports", "3:3", json!({ "resources": small })),
        ("render", "6:7", json!({ "resources": small, "service_id": "reports" })),
        (
            "pdf",
            "9:11",
            json!({
                "image": "registry.example/pdf:4", "microservice_id": "render",
                "resources": { "cpu": 1, "ram": "256MB" },
            }),
        ),
        ("svg", "12:11", json!({ "image": "registry.example/svg:1", "microservice_id": "render" })),
        ("mail", "13:7", json!({ "service_id": "reports" })),
        ("send", "15:11", json!({ "microservice_id": "mail" })),
        ("archive", "23:3", json!({})),
        ("store", "23:31", json!({ "service_id": "archive" })),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(id, at, spec)| (id, at.to_owned(), spec)).collect();
    assert_eq!(found, expected);
    assert_eq!(
        warnings(&manifest),
        ["16:1: connections are not kept by the catalogue; this section is ignored"]
    );
}

#[test]
fn what_a_node_refuses_is_found_in_the_file() {
    let manifest = parse(FLAT);
    let at = |kind, id, path: &str| {
        manifest.locate(index_of(&manifest, kind, id), path).map(|at| at.to_string()).unwrap_or_default()
    };
    let endpoint = |path| at(ResourceKind::Endpoint, "ep1", path);
    assert_eq!(endpoint("spec.resources.cpu"), "20:12");
    assert_eq!(endpoint("resources.cpu"), "20:12");
    assert_eq!(endpoint("spec.security_policy.roles[1]"), "26:11");
    assert_eq!(endpoint("spec.security_policy.roles[1].name"), "26:11");
    assert_eq!(endpoint("spec.security_policy.roles[7]"), "25:9");
    assert_eq!(endpoint("spec.policy_id"), "16:3");
    assert_eq!(endpoint("name"), "17:11");
    assert_eq!(endpoint("id"), "16:3");
    assert_eq!(endpoint("anything"), "16:3");
    assert_eq!(endpoint(""), "16:3");
    assert_eq!(at(ResourceKind::Service, "imaging", "labels.ward"), "33:21");
    assert_eq!(at(ResourceKind::Function, "blur", "spec.storage.source.bucket_id"), "52:39");
    assert_eq!(at(ResourceKind::Microservice, "filters", "spec.service_id"), "37:9");
    assert_eq!(manifest.locate(99, "id"), None);
    let nested = parse(NESTED);
    let send = index_of(&nested, ResourceKind::Function, "send");
    assert_eq!(nested.locate(send, "spec.microservice_id"), Some(Position { line: 15, column: 11 }));
}

#[test]
fn roles_of_embedded_policies_that_nobody_declares_are_listed_once() {
    let text = "\
services:
  b: {security_policy: {roles: [guest, known]}}
  a: {security_policy: {roles: [guest, other]}}
roles: {known: }
";
    let found: Vec<String> =
        parse(text).undeclared_roles().iter().map(|(role, at)| format!("{role} {at}")).collect();
    assert_eq!(found, ["guest 2:33", "other 3:40"]);
    assert_eq!(parse(FLAT).undeclared_roles().len(), 1);
    assert_eq!(parse("security-policies: {a: {roles: [b]}}").undeclared_roles(), []);
}

#[test]
fn sections_may_be_spelled_both_ways_spread_over_documents_and_be_empty() {
    let text = "\
active_objects:
---
active-objects: {a: {axo_module: m, axo_class_name: C}}
...
---
security_policies: {1: , 0x2: ~}
security-policies: {3: {roles: [7]}}
";
    let manifest = parse(text);
    let ids: Vec<_> = manifest.resources().iter().map(|resource| resource.id.as_str()).collect();
    assert_eq!(ids, ["a", "1", "0x2", "3"]);
    assert_eq!(spec(&manifest, ResourceKind::SecurityPolicy, "3"), json!({ "roles": ["7"] }));
    for empty in ["", "# nothing\n", "---\n", "\u{feff}cryptomesh: v1\n", "{}"] {
        assert!(parse(empty).resources().is_empty(), "{empty:?}");
    }
}

#[test]
fn values_are_understood_by_their_field() {
    let text = "\
endpoints:
  a: {image: yes, resources: {cpu: 4, ram: 1000000}, name: 2GB, labels: {v: '1'}}
  b: &b {image: !!str 12, resources: {cpu: '3', ram: 1.5 GiB}}
  c: *b
";
    let manifest = parse(text);
    let found = |id| spec(&manifest, ResourceKind::Endpoint, id);
    assert_eq!(found("a"), json!({ "image": "yes", "resources": { "cpu": 4, "ram": "1000000" } }));
    assert_eq!(found("b"), json!({ "image": "12", "resources": { "cpu": 3, "ram": "1.5 GiB" } }));
    assert_eq!(found("c"), found("b"));
    assert_eq!(manifest.locate(2, "spec").map(|at| at.line), Some(4));
}
