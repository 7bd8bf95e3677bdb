//! The two walk-throughs of the first published version: registering a function, and running the example.

use cm_crypto::digest::sha256;
use cm_e2e::VeracruzClient;
use serde_json::{Value, json};

use super::*;

fn points() -> Vec<u8> {
    std::fs::read(repository("examples/data/cars.points")).unwrap()
}

fn line() -> Vec<u8> {
    std::fs::read(repository("examples/data/cars.line")).unwrap()
}

/// Somebody with a certificate and its key.
struct Holder {
    certificate: String,
    key: String,
}

impl Holder {
    fn new(name: &str) -> Self {
        let now = Timestamp::from(std::time::SystemTime::now());
        let made = cm_crypto::cert::generate_identity(name, now, Duration::from_secs(3600)).unwrap();
        Self { certificate: made.certificate_pem(), key: made.private_key_pem().expose().to_owned() }
    }

    async fn connect(&self, policy: &str) -> VeracruzClient {
        VeracruzClient::connect(policy, &self.certificate, &self.key).await.expect("the instance is reached")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_is_registered_and_the_example_runs() {
    let house = House::open();
    let ccfaas = &house.ccfaas;
    // The first walk-through, in its own order.
    ccfaas.get("/function/linear-regression").await.demand(404);
    house.register("linear-regression").await;

    // The second one: one certificate for the result, one for whoever brings the input.
    let (user, s3) = (Holder::new("user"), Holder::new("s3"));
    let policy = json!({
        "function": "linear-regression", "instanceid": "test1",
        "identities": [
            { "certificate": user.certificate,
              "file_rights": rights(&[("linear-regression.wasm", READ | 1 << 29), ("output", READ)]) },
            { "certificate": s3.certificate, "file_rights": rights(&[("input-0", WRITE)]) },
        ],
    });
    let made = ccfaas.post("/instance", &policy).await.demand(200).json();
    let full = made["policy"].as_str().unwrap();
    let numbers: Vec<Value> = serde_json::from_str::<Value>(full).unwrap()["identities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|identity| identity["id"].clone())
        .collect();
    assert_eq!(numbers, [0, 1]);

    let mut input = s3.connect(full).await;
    assert!(input.write("/input-0", &points()).await.unwrap().succeeded());
    let mut result = user.connect(full).await;
    let hash = result.policy_hash().await.unwrap().policy_hash;
    assert_eq!(hash.as_deref(), Some(sha256(full.as_bytes()).to_string().as_str()));
    let ran = result.compute("/linear-regression.wasm").await.unwrap();
    assert_eq!((ran.status, ran.result.as_deref()), (1, Some([0; 4].as_slice())), "{ran:?}");
    assert_eq!(result.read("/output").await.unwrap().result, Some(line()));
    assert_eq!(ccfaas.get("/instance").await.json(), json!({ "instances": ["test1"] }));
    assert!(result.shut_down().await.unwrap().succeeded());
    // Once it has ended it is not listed, and has its name until it is deleted.
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while ccfaas.get("/instance").await.json() != json!({ "instances": [] }) {
        assert!(std::time::Instant::now() < end, "an instance that has ended is listed");
    }
    ccfaas.get("/instance/test1").await.demand(200);
    ccfaas.delete("/instance/test1").await.says(200, "instance test1 deleted");

    // The catalogue has seen all of it.
    let api = Service::of(&house.node, "api", None);
    let states = api.get("/api/v1/functions/linear-regression/states").await.demand(200).json();
    let named: Vec<&str> =
        states.as_array().unwrap().iter().map(|state| state["state"].as_str().unwrap()).collect();
    for state in ["initiated", "deploying", "running", "completed"] {
        assert!(named.contains(&state), "{state} is missing in {named:?}");
    }
    let function = api.get("/api/v1/functions/linear-regression").await.demand(200).json();
    assert_eq!(function["deployment_status"], "completed");
    ccfaas.delete("/function/linear-regression").await.says(200, "Function linear-regression deleted");
    house.check_empty().await;
    assert!(house.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_of_vaas_is_given_its_program_by_whoever_may_write_it() {
    let house = House::open();
    let (author, owner, reader) = (Holder::new("author"), Holder::new("owner"), Holder::new("reader"));
    let mut policy = seed_vaas();
    for (at, holder) in [&author, &owner, &reader].into_iter().enumerate() {
        policy["identities"][at]["certificate"] = json!(holder.certificate);
    }
    let program = ("linear-regression.wasm", READ | 1 << 29);
    policy["identities"][2]["file_rights"] = json!(rights(&[program, ("output", READ)]));
    let made = house.vaas.post("/veracruz", &policy).await.demand(200).json();
    let full = made["policy"].as_str().unwrap();

    let mut uploads = author.connect(full).await;
    // The policy says which bytes the program has, and who may write what.
    assert!(!uploads.write("/linear-regression.wasm", b"\0asm other").await.unwrap().succeeded());
    assert!(!uploads.write("/input-0", &points()).await.unwrap().succeeded());
    assert!(uploads.write("/linear-regression.wasm", &linear_regression()).await.unwrap().succeeded());
    let mut input = owner.connect(full).await;
    assert!(!input.write("/linear-regression.wasm", &linear_regression()).await.unwrap().succeeded());
    assert!(input.write("/input-0", &points()).await.unwrap().succeeded());
    assert!(!input.read("/output").await.unwrap().succeeded());
    let mut result = reader.connect(full).await;
    assert!(result.compute("/linear-regression.wasm").await.unwrap().succeeded());
    assert_eq!(result.read("/output").await.unwrap().result, Some(line()));

    // Without a function, the last run stands in the status of the instance.
    let api = Service::of(&house.node, "api", None);
    let end = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let instances = api.get("/api/v1/instances").await.demand(200).json();
        if instances[0]["status"]["last_run"]["state"] == "completed" {
            break;
        }
        assert!(std::time::Instant::now() < end, "the run is not recorded: {instances}");
    }

    // Once it has ended it is not there for whoever reads, nor for whoever deletes.
    assert!(result.shut_down().await.unwrap().succeeded());
    let address = serde_json::from_str::<Value>(full).unwrap()["veracruz_server_url"].clone();
    let path = format!(
        "/veracruz/{}?instance_hash={}",
        address.as_str().unwrap(),
        made["instance_hash"].as_str().unwrap()
    );
    while house.vaas.get(&path).await.status != 404 {
        assert!(std::time::Instant::now() < end, "the instance has not ended");
    }
    house.vaas.delete(&path).await.demand(404);
    assert!(house.node.stop().success());
}
