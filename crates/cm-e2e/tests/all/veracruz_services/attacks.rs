//! What nobody may do, whatever the earlier services let everybody do.

use std::time::Instant;

use cm_e2e::{NodeOptions, Party, VeracruzClient, enrol};
use serde_json::{Value, json};

use super::*;

/// The events of one verb, as the administrator sees them once there are some.
async fn events(house: &House, verb: &str) -> Vec<Value> {
    let api = Service::of(&house.node, "api", Some(house.node.admin_token()));
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let all = api.get("/api/v1/events?limit=1000").await.demand(200).json();
        let all = all.as_array().or_else(|| all["items"].as_array()).expect("events are a list").clone();
        let found: Vec<Value> = all.into_iter().filter(|event| event["verb"] == verb).collect();
        if !found.is_empty() {
            return found;
        }
        assert!(Instant::now() < end, "no event `{verb}`");
    }
}

async fn register_as(house: &House, party: &Party, name: &str) {
    let ccfaas = house.ccfaas.with_token(Some(party.token.clone()));
    ccfaas.post("/function", &seed_function(name)).await.demand(200);
    let path = format!("/function/{name}/program/linear-regression.wasm");
    ccfaas.upload(&path, "application/octet-stream", linear_regression()).await.demand(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_credential_nothing_is_answered() {
    let house = House::with(NodeOptions::default());
    let file = "/function/f/program/p";
    for (service, method, path) in [
        (&house.ccfaas, "GET", "/function"),
        (&house.ccfaas, "POST", "/function"),
        (&house.ccfaas, "GET", "/function/f"),
        (&house.ccfaas, "DELETE", "/function/f"),
        (&house.ccfaas, "GET", "/function/f/program"),
        (&house.ccfaas, "GET", file),
        (&house.ccfaas, "POST", file),
        (&house.ccfaas, "DELETE", file),
        (&house.ccfaas, "GET", "/function/f/data_file"),
        (&house.ccfaas, "POST", "/function/f/data_file/d"),
        (&house.ccfaas, "GET", "/function/f/data_file/d"),
        (&house.ccfaas, "DELETE", "/function/f/data_file/d"),
        (&house.ccfaas, "GET", "/instance"),
        (&house.ccfaas, "POST", "/instance"),
        (&house.ccfaas, "GET", "/instance/i"),
        (&house.ccfaas, "DELETE", "/instance/i"),
        (&house.vaas, "GET", "/veracruz"),
        (&house.vaas, "POST", "/veracruz"),
        (&house.vaas, "GET", "/veracruz/127.0.0.1:1"),
        (&house.vaas, "DELETE", "/veracruz/127.0.0.1:1"),
    ] {
        for token in [None, Some("cm_nonsense".to_owned())] {
            let reply = service.with_token(token).send(method, path).await;
            assert_eq!(reply.status, 401, "{method} {path}: {}", reply.text);
        }
    }
    assert!(house.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_right_nothing_is_done_and_it_is_recorded() {
    let house = House::with(NodeOptions::default());
    let nobody = enrol(&house.node, "nobody", &[]).await;
    let token = Some(nobody.token.clone());
    let (ccfaas, vaas) = (house.ccfaas.with_token(token.clone()), house.vaas.with_token(token));
    ccfaas.post("/function", &seed_function("f")).await.demand(403);
    ccfaas.get("/function").await.demand(403);
    ccfaas.get("/function/f").await.demand(403);
    ccfaas.post("/instance", &seed_instance("f", "i")).await.demand(403);
    vaas.post("/veracruz", &seed_vaas()).await.demand(403);
    let denied = events(&house, "access.denied").await;
    assert!(denied.iter().all(|event| event["actor"] == "nobody"), "{denied:?}");
    assert!(house.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_is_deleted_by_nobody_but_its_creator_and_administrators() {
    let house = House::with(NodeOptions::default());
    let owner = enrol(&house.node, "owner", &["developer", "analyst"]).await;
    let other = enrol(&house.node, "other", &["developer", "analyst"]).await;
    register_as(&house, &owner, "f").await;
    let of = |service: &Service, party: &Party| service.with_token(Some(party.token.clone()));
    for name in ["first", "second"] {
        of(&house.ccfaas, &owner).post("/instance", &seed_instance("f", name)).await.demand(200);
    }
    let mut policy = seed_vaas();
    policy["instance_id"] = json!("mine");
    let made = of(&house.vaas, &owner).post("/veracruz", &policy).await.demand(200).json();
    let full: Value = serde_json::from_str(made["policy"].as_str().unwrap()).unwrap();
    let address = full["veracruz_server_url"].as_str().unwrap();
    let hash = made["instance_hash"].as_str().unwrap();
    let path = format!("/veracruz/{address}?instance_id=mine&instance_hash={hash}");

    for reply in [
        of(&house.ccfaas, &other).delete("/instance/first").await,
        of(&house.vaas, &other).delete(&path).await,
    ] {
        assert!(matches!(reply.status, 403 | 404), "{reply:?}");
    }
    let denied = events(&house, "access.denied").await;
    assert!(
        denied.iter().any(|event| event["actor"] == "other" && event["facts"]["action"] == "delete"),
        "{denied:?}"
    );
    let running = of(&house.vaas, &owner).get("/veracruz").await.json();
    assert_eq!(running["veracruz"].as_array().unwrap().len(), 3, "one was ended: {running}");

    of(&house.ccfaas, &owner).delete("/instance/first").await.demand(200);
    of(&house.vaas, &owner).delete(&path).await.demand(200);
    let administrator = house.ccfaas.with_token(Some(house.node.admin_token()));
    administrator.delete("/instance/second").await.demand(200);
    assert!(house.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_not_taken_for_principal_0() {
    let house = House::open();
    house.register("f").await;
    let made = house.ccfaas.post("/instance", &seed_instance("f", "i")).await.demand(200).json();
    let full = made["policy"].as_str().unwrap();
    let now = Timestamp::from(std::time::SystemTime::now());
    // The same subject as the one whose certificate stands in the policy, with another key.
    let stranger = cm_crypto::cert::generate_identity("user", now, Duration::from_secs(3600)).unwrap();
    let key = stranger.private_key_pem();
    let outcome = match VeracruzClient::connect(full, &stranger.certificate_pem(), key.expose()).await {
        Ok(mut connection) => connection.write("/input-0", b"x").await.map(|answer| answer.succeeded()),
        Err(error) => Err(error),
    };
    assert!(!matches!(outcome, Ok(true)), "a stranger wrote a file");
    assert!(house.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_open_mode_no_foreign_page_is_answered() {
    let house = House::open();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for listener in ["ccfaas", "vaas"] {
        let address = house.node.address(listener);
        let path = if listener == "ccfaas" { "function" } else { "veracruz" };
        let url = format!("http://{address}/{path}");
        let foreign = [("host", "evil.example"), ("origin", "https://evil.example")];
        for (name, value) in foreign {
            let reply = http.get(&url).header(name, value).send().await.unwrap();
            assert_eq!(reply.status().as_u16(), 403, "{listener} {name}");
        }
        // What earlier clients may send is nothing that anybody looked at.
        let reply = http.get(&url).header("authorization", "Bearer nonsense").send().await.unwrap();
        assert_eq!(reply.status().as_u16(), 200, "{listener}");
    }
    assert!(house.node.stop().success());
}
