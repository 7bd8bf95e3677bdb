use super::*;

struct Client<'w> {
    world: &'w World,
    key: String,
    session: Session,
}

impl<'w> Client<'w> {
    async fn new(world: &'w World, key: &str, user: &str) -> Self {
        world.sign_up("acct", key, user).await;
        let session = world.auth("acct", key, user).await;
        Self { world, key: key.to_owned(), session }
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let [bearer, secret] = self.session.headers();
        let headers = [bearer, secret, ("x-api-key", self.key.as_str())];
        self.world.ask(method, &format!("/api/v4/accounts/acct/{path}"), &headers, body).await
    }
}

fn id(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

#[tokio::test]
async fn roles_with_parents() {
    let world = World::start().await;
    let key = world.account("acct").await;
    let alice = Client::new(&world, &key, "alice").await;
    let role = |name: &str, permission: &str| json!({ "name": name, "description": "d", "permissions": [permission] });
    let reader = alice.ask("POST", "rbac/roles", role("reader", "documents:read")).await.expect(201);
    let writer = alice.ask("POST", "rbac/roles", role("writer", "documents:write")).await.expect(201);
    assert_eq!(fields(&reader), ["description", "name", "parent_role_ids", "permissions", "role_id"]);
    let (reader, writer) = (id(&reader, "role_id"), id(&writer, "role_id"));
    let parent = json!({ "parent_role_id": reader });
    let changed =
        alice.ask("POST", &format!("rbac/roles/{writer}/parents"), parent.clone()).await.expect(200);
    assert_eq!(changed["parent_role_ids"], json!([reader]));
    let cycle = json!({ "parent_role_id": writer });
    let refused = alice.ask("POST", &format!("rbac/roles/{reader}/parents"), cycle).await;
    assert_eq!(refused.code(409), "XOLO.CONFLICT");
    let assignment = json!({ "subject_id": "bob", "role_id": writer });
    let given = alice.ask("POST", "rbac/assignments", assignment.clone()).await.expect(201);
    assert_eq!(fields(&given), ["assignment_id", "role_id", "subject_id"]);
    let has = async |permission: &str| {
        let body = json!({ "subject_id": "bob", "permission": permission });
        alice.ask("POST", "rbac/check", body).await.expect(200)["has_access"].as_bool().unwrap()
    };
    assert!(has("documents:read").await && has("documents:write").await && !has("documents:delete").await);
    let body = json!({ "permission": "reports:*" });
    alice.ask("POST", &format!("rbac/roles/{reader}/permissions"), body.clone()).await.expect(200);
    assert!(has("reports:print").await);
    let all = alice.ask("GET", "rbac/subjects/bob/permissions", Value::Null).await.expect(200);
    assert_eq!(all["permissions"], json!(["documents:read", "documents:write", "reports:*"]));
    alice.ask("DELETE", &format!("rbac/roles/{reader}/permissions"), body).await.expect(200);
    assert!(!has("reports:print").await);
    alice.ask("PATCH", &format!("rbac/roles/{reader}"), json!({ "name": "readers" })).await.expect(200);
    let read = alice.ask("GET", &format!("rbac/roles/{reader}"), Value::Null).await.expect(200);
    assert_eq!(read["name"], "readers");
    assert_eq!(
        alice.ask("GET", "rbac/subjects/bob/roles", Value::Null).await.expect(200)[0]["role_id"],
        writer
    );
    alice.ask("DELETE", &format!("rbac/roles/{writer}/parents"), parent).await.expect(200);
    assert!(!has("documents:read").await);
    alice.ask("DELETE", "rbac/assignments", assignment).await.expect(204);
    assert!(!has("documents:write").await);
    alice.ask("DELETE", &format!("rbac/roles/{reader}"), Value::Null).await.expect(204);
    alice.ask("GET", &format!("rbac/roles/{reader}"), Value::Null).await.expect(404);
    assert_eq!(alice.ask("GET", "rbac/roles", Value::Null).await.expect(200).as_array().unwrap().len(), 1);
    assert!(world.count("acct", "declaration.changed").await > 9);
}

#[tokio::test]
async fn grants_with_owners_and_groups() {
    let world = World::start().await;
    let key = world.account("acct").await;
    let alice = Client::new(&world, &key, "alice").await;
    let bob = Client::new(&world, &key, "bob").await;
    let doc = json!({ "resource_id": "bucket/1" });
    alice.ask("POST", "acl/claim", doc.clone()).await.expect(204);
    bob.ask("POST", "acl/claim", doc).await.expect(403);
    let may = async |who: &Client<'_>, right: &str| {
        let body = json!({ "resource_id": "bucket/1", "permissions": [right] });
        who.ask("POST", "acl/check", body).await.expect(200)["has_permission"].as_bool().unwrap()
    };
    assert!(may(&alice, "sys:manage").await && !may(&bob, "read").await);
    let grant = |to: &str, kind: &str, right: &str| json!({ "resource_id": "bucket/1", "principal_id": to, "principal_type": kind, "permissions": [right] });
    bob.ask("POST", "acl/grant", grant("bob", "USER", "read")).await.expect(403);
    alice.ask("POST", "acl/grant", grant("bob", "USER", "read")).await.expect(204);
    assert!(may(&bob, "read").await && !may(&bob, "write").await);
    alice.ask("DELETE", "acl/revoke", grant("bob", "USER", "read")).await.expect(204);
    assert!(!may(&bob, "read").await);
    let group = alice.ask("POST", "acl/groups", json!({ "name": "g", "description": "" })).await.expect(201);
    let group = id(&group, "group_id");
    let members = json!({ "members": ["bob"] });
    alice.ask("POST", &format!("acl/groups/{group}/members"), members.clone()).await.expect(204);
    bob.ask("DELETE", &format!("acl/groups/{group}"), Value::Null).await.expect(403);
    alice.ask("POST", "acl/grant", grant(&group, "GROUP", "write")).await.expect(204);
    assert!(may(&bob, "write").await);
    let seen = bob.ask("GET", "acl/resources?owned_page=1&shared_page=1", Value::Null).await.expect(200);
    assert_eq!(seen["shared_resources"]["items"][0]["access_source"], "Group: g");
    assert_eq!(seen["owned_resources"]["total_count"], 0);
    alice.ask("DELETE", &format!("acl/groups/{group}/members"), members).await.expect(204);
    assert!(!may(&bob, "write").await);
    let refused = alice.ask("DELETE", "acl/revoke", grant("alice", "USER", "sys:manage")).await;
    assert_eq!(refused.code(409), "XOLO.CONFLICT", "the last owner");
    alice.ask("POST", "acl/grant", grant("bob", "USER", "fly")).await.expect(422);
    alice.ask("DELETE", &format!("acl/groups/{group}"), Value::Null).await.expect(204);
}

#[tokio::test]
async fn rules_about_attributes() {
    let world = World::start().await;
    let key = world.account("acct").await;
    let alice = Client::new(&world, &key, "alice").await;
    let event = json!({
        "subject": "*", "resource": "db", "action": "read",
        "time_mode": "time_of_day", "time_start": "08:00", "time_end": "18:00",
    });
    let policy = json!({ "name": "by day", "effect": "ALLOW", "events": [event] });
    let made = alice.ask("POST", "abac/policies", policy).await.expect(201);
    assert_eq!(made["events"][0]["subject"], json!({ "value": "*" }));
    let allowed = async |subject: &str, time: &str| {
        let body =
            json!({ "subject": subject, "resource": "DB", "location": "*", "time": time, "action": "READ" });
        alice.ask("POST", "abac/evaluate", body).await.expect(200)
    };
    let answer = allowed("x", "2026-03-01T12:00").await;
    assert_eq!((answer["allowed"].as_bool(), &answer["matched_policy"]), (Some(true), &made["policy_id"]));
    assert_eq!(allowed("x", "2026-03-01T19:00").await["allowed"], false);
    let deny = json!({
        "name": "not mallory", "effect": "DENY",
        "events": [{ "subject": "mallory", "resource": "*", "action": "*" }],
    });
    let denial = alice.ask("POST", "abac/policies", deny).await.expect(201);
    assert_eq!(allowed("mallory", "2026-03-01T12:00").await["allowed"], false);
    alice
        .ask("DELETE", &format!("abac/policies/{}", id(&denial, "policy_id")), Value::Null)
        .await
        .expect(204);
    assert_eq!(allowed("mallory", "2026-03-01T12:00").await["allowed"], true);
    assert_eq!(alice.ask("GET", "abac/policies", Value::Null).await.expect(200).as_array().unwrap().len(), 1);
    alice.ask("POST", "abac/policies", json!({ "name": "x", "events": [] })).await.expect(422);
    // As the published client writes events: it tells no mode.
    let event = |start: Value, end: Value| {
        json!({
            "subject": "night", "resource": "DB", "location": "*", "time_start": start, "time_end": end, "action": "READ",
        })
    };
    let ask = async |event: Value| {
        alice.ask("POST", "abac/policies", json!({ "name": "x", "events": [event] })).await
    };
    let made = ask(event(Value::Null, Value::Null)).await.expect(201);
    assert_eq!(made["events"][0]["location"], "*");
    assert_eq!(made["events"][0]["time"]["mode"], "wildcard");
    let made = ask(event(json!("22:00"), json!("06:00"))).await.expect(201);
    assert_eq!(made["events"][0]["time"]["mode"], "time_of_day");
    for (start, end) in [(json!("22:00"), Value::Null), (json!("late"), json!("early"))] {
        ask(event(start, end)).await.expect(422);
    }
    let mut elsewhere = event(Value::Null, Value::Null);
    elsewhere["location"] = json!("somewhere");
    ask(elsewhere).await.expect(422);
    let wide = json!({
        "name": "x",
        "events": [{ "subject": "*", "resource": "*", "action": "*", "location": { "lat": 0, "lng": 0, "radius_km": 6 } }],
    });
    alice.ask("POST", "abac/policies", wide).await.expect(422);
}

#[tokio::test]
async fn policies_of_events() {
    let world = World::start().await;
    let key = world.account("acct").await;
    let alice = Client::new(&world, &key, "alice").await;
    let [bearer, secret] = alice.session.headers();
    let headers = [bearer, secret, ("x-api-key", key.as_str())];
    let ask = async |method: &str, path: &str, body: Value| {
        world.ask(method, &format!("/api/v4/policies{path}"), &headers, body).await
    };
    let part = |attribute: &str, value: &str| json!({ "attribute": attribute, "value": value });
    let request = |role: &str, time: &str| {
        json!({
            "subject": part("role", role), "asset": part("resource", "Chart"), "space": part("location", "Hospital"),
            "time": part("time", time), "action": part("action", "read"),
        })
    };
    let policy = |id: &str, effect: &str, role: &str, time: &str| {
        let mut event = request(role, time);
        event["event_id"] = format!("{id}-event").into();
        json!({ "policy_id": id, "description": "d", "effect": effect, "events": [event] })
    };
    let doctors = policy("p", "permit", "Doctor", "08:00-20:00");
    assert_eq!(ask("POST", "", json!([doctors])).await.expect(201), json!({ "n_added": 1 }));
    assert_eq!(ask("GET", "", Value::Null).await.expect(200), json!([doctors]));
    assert_eq!(ask("GET", "/p", Value::Null).await.expect(200), doctors);
    ask("POST", "", json!([policy("q", "permit", "x", "*"), doctors])).await.expect(409);
    ask("GET", "/q", Value::Null).await.expect(404);
    assert_eq!(ask("POST", "/prepare", Value::Null).await.expect(200)["n_policies"], 1);
    let evaluated = ask("POST", "/evaluate", request("Doctor", "10:00")).await.expect(200);
    assert_eq!((&evaluated["result"], &evaluated["policy_id"]), (&json!("permit"), &json!("p")));
    let denial = policy("zz", "deny", "*", "19:00-20:00");
    assert_eq!(ask("POST", "/inject", denial).await.expect(201)["detail"], "Policy injected");
    let batch = json!([request("Doctor", "10:00"), request("Doctor", "19:30"), request("Cook", "10:00")]);
    let batch = ask("POST", "/evaluate/batch", batch).await.expect(200);
    let results: Vec<&str> =
        batch.as_array().unwrap().iter().map(|one| one["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["permit", "deny", "deny"]);
    let cooks = policy("p", "permit", "Cook", "*");
    ask("PUT", "/p", policy("other", "permit", "Cook", "*")).await.expect(422);
    assert_eq!(ask("PUT", "/p", cooks).await.expect(200)["detail"], "Policy updated");
    assert_eq!(ask("POST", "/evaluate", request("Cook", "10:00")).await.expect(200)["result"], "permit");
    assert_eq!(ask("DELETE", "/p", Value::Null).await.expect(200)["detail"], "Policy deleted");
    assert_eq!(ask("POST", "/evaluate", request("Cook", "10:00")).await.expect(200)["result"], "deny");
    ask("DELETE", "/p", Value::Null).await.expect(404);
    ask("POST", "", json!([policy("p", "maybe", "x", "*")])).await.expect(422);
    // Of another account nothing is seen, and its user is none of this.
    world
        .as_admin("POST", "/api/v4/accounts", json!({ "account_id": "other", "name": "o" }))
        .await
        .expect(201);
    let foreign = world
        .as_admin("POST", "/api/v4/accounts/other/apikeys", json!({ "name": "k", "scopes": ["all"] }))
        .await
        .expect(201);
    let foreign = foreign["key"].as_str().unwrap();
    let narrow = world
        .as_admin("POST", "/api/v4/accounts/acct/apikeys", json!({ "name": "n", "scopes": ["abac"] }))
        .await
        .expect(201);
    let narrow = narrow["key"].as_str().unwrap();
    for (method, path) in [
        ("GET", ""),
        ("POST", ""),
        ("GET", "/zz"),
        ("PUT", "/zz"),
        ("DELETE", "/zz"),
        ("POST", "/prepare"),
        ("POST", "/inject"),
        ("POST", "/evaluate"),
        ("POST", "/evaluate/batch"),
    ] {
        let path = format!("/api/v4/policies{path}");
        let shown: [(&[(&str, &str)], u16); 5] = [
            (&[], 401),
            (&[bearer, secret], 401),
            (&[("x-api-key", &key)], 401),
            (&[bearer, secret, ("x-api-key", foreign)], 401),
            (&[bearer, secret, ("x-api-key", narrow)], 403),
        ];
        for (headers, status) in shown {
            let answer = world.ask(method, &path, headers, json!("garbage")).await;
            assert_eq!(answer.status.as_u16(), status, "{method} {path} {headers:?}");
        }
    }
    assert_eq!(ask("GET", "", Value::Null).await.expect(200).as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_attribute_graph() {
    let world = World::start().await;
    let key = world.account("acct").await;
    let alice = Client::new(&world, &key, "alice").await;
    let node = async |name: &str, kind: &str| {
        let body = json!({ "name": name, "node_type": kind, "properties": { "a": "b" } });
        id(&alice.ask("POST", "ngac/nodes", body).await.expect(201), "node_id")
    };
    let (user, staff) = (node("u", "user").await, node("staff", "user_attribute").await);
    let (file, reports) = (node("f", "object").await, node("reports", "object_attribute").await);
    let class = node("work", "policy_class").await;
    for (from, to) in [(&user, &staff), (&staff, &class), (&file, &reports), (&reports, &class)] {
        alice.ask("POST", "ngac/assign", json!({ "from_id": from, "to_id": to })).await.expect(201);
    }
    let may = async || {
        let body = json!({ "user_id": user, "object_id": file, "operation": "read" });
        alice.ask("POST", "ngac/check", body).await.expect(200)["allowed"].as_bool().unwrap()
    };
    assert!(!may().await);
    let body = json!({ "user_attribute_id": staff, "object_attribute_id": reports, "operations": ["Read"] });
    let association = alice.ask("POST", "ngac/associate", body).await.expect(201);
    assert!(may().await);
    assert_eq!(
        alice.ask("GET", "ngac/assignments", Value::Null).await.expect(200).as_array().unwrap().len(),
        4
    );
    let classes = alice.ask("GET", "ngac/nodes?node_type=policy_class", Value::Null).await.expect(200);
    assert_eq!(classes[0]["node_id"], class);
    alice
        .ask("DELETE", &format!("ngac/associate/{}", id(&association, "association_id")), Value::Null)
        .await
        .expect(204);
    assert!(!may().await);
    alice.ask("POST", "ngac/assign", json!({ "from_id": class, "to_id": staff })).await.expect(422);
    alice.ask("DELETE", &format!("ngac/nodes/{class}"), Value::Null).await.expect(204);
    alice.ask("GET", &format!("ngac/nodes/{class}"), Value::Null).await.expect(404);
}

#[tokio::test]
async fn every_address_refuses_whom_it_does_not_know() {
    let world = World::start().await;
    let key = world.account("acct").await;
    let alice = Client::new(&world, &key, "alice").await;
    let base = "/api/v4/accounts/acct";
    let asked = [
        ("GET", "rbac/roles"),
        ("POST", "rbac/roles"),
        ("GET", "rbac/roles/x"),
        ("PATCH", "rbac/roles/x"),
        ("DELETE", "rbac/roles/x"),
        ("POST", "rbac/roles/x/permissions"),
        ("DELETE", "rbac/roles/x/permissions"),
        ("POST", "rbac/roles/x/parents"),
        ("DELETE", "rbac/roles/x/parents"),
        ("POST", "rbac/assignments"),
        ("DELETE", "rbac/assignments"),
        ("GET", "rbac/subjects/x/roles"),
        ("GET", "rbac/subjects/x/permissions"),
        ("POST", "rbac/check"),
        ("POST", "rbac/has-role"),
        ("GET", "acl/resources"),
        ("POST", "acl/claim"),
        ("POST", "acl/grant"),
        ("DELETE", "acl/revoke"),
        ("POST", "acl/check"),
        ("POST", "acl/groups"),
        ("GET", "acl/groups/list"),
        ("DELETE", "acl/groups/x"),
        ("POST", "acl/groups/x/members"),
        ("DELETE", "acl/groups/x/members"),
        ("GET", "abac/policies"),
        ("POST", "abac/policies"),
        ("GET", "abac/policies/x"),
        ("DELETE", "abac/policies/x"),
        ("POST", "abac/evaluate"),
        ("GET", "ngac/nodes"),
        ("POST", "ngac/nodes"),
        ("GET", "ngac/nodes/x"),
        ("DELETE", "ngac/nodes/x"),
        ("POST", "ngac/assign"),
        ("DELETE", "ngac/assign"),
        ("GET", "ngac/assignments"),
        ("POST", "ngac/associate"),
        ("GET", "ngac/associations"),
        ("DELETE", "ngac/associate/x"),
        ("POST", "ngac/check"),
    ];
    let [bearer, secret] = alice.session.headers();
    for (method, path) in asked {
        let path = format!("{base}/{path}");
        let headers: [&[(&str, &str)]; 4] =
            [&[], &[bearer, secret], &[("x-api-key", &key)], &[bearer, ("x-api-key", &key)]];
        for headers in headers {
            // Whatever the body: nobody looks at it before.
            let answer = world.ask(method, &path, headers, json!("garbage")).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path} {headers:?}");
        }
    }
    let users = [
        ("GET", "users"),
        ("POST", "users"),
        ("GET", "users/all"),
        ("GET", "users/list"),
        ("POST", "users/signup"),
        ("POST", "users/auth"),
        ("POST", "users/refresh"),
        ("POST", "users/logout"),
        ("DELETE", "users/x"),
        ("POST", "users/x/block"),
        ("POST", "users/x/unblock"),
        ("POST", "users/x/enable"),
        ("POST", "users/x/disable"),
        ("GET", "scopes"),
        ("POST", "scopes"),
        ("DELETE", "scopes"),
        ("POST", "scopes/assign"),
        ("DELETE", "scopes/assign"),
        ("GET", "scopes/assignments"),
        ("GET", "licenses"),
        ("POST", "licenses"),
        ("DELETE", "licenses"),
        ("GET", "apikeys"),
        ("POST", "apikeys"),
        ("GET", "apikeys/x"),
        ("DELETE", "apikeys/x"),
        ("POST", "apikeys/x/rotate"),
    ];
    for (method, path) in users {
        let answer = world.ask(method, &format!("{base}/{path}"), &[], json!("garbage")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
    for (method, path) in [("GET", "/api/v4/accounts"), ("POST", "/api/v4/accounts"), ("DELETE", base)] {
        let answer = world.ask(method, path, &[], json!("garbage")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
}
