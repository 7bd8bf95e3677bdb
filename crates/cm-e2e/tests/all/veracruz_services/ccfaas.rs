//! CCFaaS, row by row: texts and status codes, those of the earlier service where it did not fail, and what it should
//! have answered where it did.

use cm_crypto::digest::sha256;
use cm_e2e::{Node, NodeOptions, Reply};
use serde_json::{Value, json};

use super::*;

const BYTES: &str = "application/octet-stream";

fn base64(text: &str) -> String {
    // The alphabet by hand: a client of the service has its own.
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for group in text.as_bytes().chunks(3) {
        let bits =
            group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63] as char;
            encoded.push(if at > group.len() { '=' } else { digit });
        }
    }
    encoded
}

/// One of Flask's own pages.
fn is_page(reply: Reply, status: u16, title: &str) {
    let reply = reply.demand(status);
    assert!(reply.text.starts_with("<!doctype html>\n<html lang=en>\n<title>"), "{}", reply.text);
    assert!(reply.text.contains(&format!("<title>{status} {title}</title>")), "{}", reply.text);
    assert_eq!(reply.media_type, "text/html; charset=utf-8");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_are_registered_listed_read_and_deleted() {
    let house = House::open();
    let ccfaas = &house.ccfaas;
    ccfaas.get("/function/f").await.says(404, "function f not found");
    ccfaas.delete("/function/f").await.says(404, "function f not found");
    ccfaas.upload("/function", "text/plain", "{}").await.says(400, "input should a json object!");
    is_page(ccfaas.upload("/function", "application/json", "{").await, 400, "Bad Request");
    let nothing = ccfaas.post("/function", &json!({})).await.demand(400);
    assert!(nothing.text.starts_with("<p>Json object is not correct "), "{}", nothing.text);

    let policy = seed_function("f");
    assert_eq!(ccfaas.post("/function", &policy).await.demand(200).json(), policy);
    ccfaas.post("/function", &policy).await.says(400, "Could not create the function f");
    assert_eq!(ccfaas.get("/function").await.demand(200).json(), json!({ "functions": ["f"] }));
    assert_eq!(ccfaas.get("/function/").await.json(), json!({ "functions": ["f"] }));
    for path in ["/function/f", "/function/f/"] {
        assert_eq!(ccfaas.get(path).await.demand(200).json(), policy);
    }
    // It is a function of the catalogue like any other.
    let api = Service::of(&house.node, "api", None);
    let record = api.get("/api/v1/functions/f").await.demand(200).json();
    assert_eq!(record["deployment_status"], "initiated");

    ccfaas.delete("/function/f").await.says(200, "Function f deleted");
    house.check_empty().await;
    is_page(ccfaas.get("/functions").await, 404, "Not Found");
    is_page(ccfaas.get("/").await, 404, "Not Found");
    is_page(ccfaas.send("PUT", "/function").await, 405, "Method Not Allowed");
    is_page(ccfaas.send("PATCH", "/function/f/").await, 405, "Method Not Allowed");
    assert!(house.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_any_text() {
    let house = House::open();
    let (api, mut names) = (Service::of(&house.node, "api", None), Vec::new());
    let longest = "n".repeat(256);
    for (name, written) in [
        ("object detection", "object%20detection"),
        ("größer/als", "gr%C3%B6%C3%9Fer%2Fals"),
        ("<b>?#&", "%3Cb%3E%3F%23%26"),
        ("-begins-badly", "-begins-badly"),
        (&longest, &longest),
    ] {
        house.ccfaas.post("/function", &seed_function(name)).await.demand(200);
        let found = house.ccfaas.get(&format!("/function/{written}")).await.demand(200).json();
        assert_eq!(found["function"], name);
        house.ccfaas.post("/function", &seed_function(name)).await.demand(400);
        names.push(name);
    }
    assert_eq!(house.ccfaas.get("/function").await.json(), json!({ "functions": names }));
    let records = api.get("/api/v1/functions").await.demand(200).json();
    assert_eq!(records.as_array().unwrap().len(), names.len());
    // An id that was made is no name.
    let made = records[0]["id"].as_str().unwrap();
    house.ccfaas.get(&format!("/function/{made}")).await.demand(404);
    let too_long = "n".repeat(257);
    house.ccfaas.post("/function", &seed_function(&too_long)).await.demand(400);
    let deleted = house.ccfaas.delete("/function/%3Cb%3E%3F%23%26").await;
    deleted.says(200, "Function &lt;b&gt;?#&amp; deleted");
    assert!(house.node.stop().success());
}

/// A function with data files of the later form besides.
fn with_data(name: &str, program: &[u8], data: &[u8]) -> Value {
    let mut policy = seed_function(name);
    policy["programs"][0]["pi_hash"] = json!(sha256(program));
    policy["data_files"] = json!([
        { "data_file": "/tables/a?.csv", "pi_hash": sha256(data), "priority": 2 },
        { "data_file": "plain.csv", "pi_hash": sha256(b"") },
    ]);
    policy["max_memory_mib"] = json!(64);
    policy["debug"] = json!(false);
    policy["enable_clock"] = json!(false);
    policy["file_rights"] = json!(rights(&[("linear-regression.wasm", WRITE)]));
    policy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_uploaded_under_both_sorts_of_names() {
    let house = House::open();
    let ccfaas = &house.ccfaas;
    let (program, data) = (b"\0asm".as_slice(), b"1,2,3".as_slice());
    for (kind, list) in [("program", "programs"), ("data_file", "data_files")] {
        assert_eq!(ccfaas.get(&format!("/function/f/{kind}")).await.demand(200).json(), json!({ list: [] }));
        let reply = ccfaas.upload(&format!("/function/f/{kind}/x"), BYTES, "x").await;
        reply.says(404, "function f not found");
    }
    ccfaas.post("/function", &with_data("f", program, data)).await.demand(200);
    let plain = "/function/f/program/linear-regression.wasm";
    ccfaas.get(plain).await.says(404, "program linear-regression.wasm for function f is not loaded");
    ccfaas.delete(plain).await.says(404, "program linear-regression.wasm for function f is not loaded");
    let unknown = ccfaas.upload("/function/f/program/other.wasm", BYTES, program).await;
    unknown.says(404, "program other.wasm does not exist on function f");
    // A program is no data file.
    ccfaas.upload("/function/f/data_file/linear-regression.wasm", BYTES, program).await.demand(404);

    // What fails leaves nothing, and is repeated under the other sort of name.
    let wrong = ccfaas.upload(plain, BYTES, "other bytes").await.demand(400);
    assert!(wrong.text.contains(&sha256(b"other bytes").to_string()), "{}", wrong.text);
    assert!(wrong.text.contains(&sha256(program).to_string()), "{}", wrong.text);
    ccfaas.get(plain).await.demand(404);
    let encoded = format!("/function/f/program/{}", base64("linear-regression.wasm"));
    ccfaas.upload(&encoded, BYTES, program).await.says(200, "function loaded!");
    for path in [plain, &encoded] {
        ccfaas.get(path).await.says(200, "program linear-regression.wasm is loaded in function f");
        let again = ccfaas.upload(path, BYTES, program).await;
        again.says(400, "program linear-regression.wasm for function f already exists");
    }
    let listed = ccfaas.get("/function/f/program").await.json();
    assert_eq!(listed, json!({ "programs": [base64("linear-regression.wasm")] }));

    let name = "/tables/a?.csv";
    let encoded = base64(name).replace('/', "%2F");
    let ways = ["/function/f/data_file/%2Ftables%2Fa%3F.csv", "/function/f/data_file/tables/a%3F.csv"];
    ccfaas
        .upload(&format!("/function/f/data_file/{encoded}/"), BYTES, data)
        .await
        .says(200, "data_file /tables/a?.csv loaded!");
    for path in ways {
        ccfaas.get(path).await.says(200, "data_file /tables/a?.csv is loaded in function f");
    }
    assert_eq!(ccfaas.get("/function/f/data_file").await.json(), json!({ "data_files": [base64(name)] }));
    ccfaas
        .upload("/function/f/data_file/plain.csv", BYTES, "")
        .await
        .says(200, "data_file plain.csv loaded!");
    ccfaas.delete(ways[0]).await.says(200, "data_file /tables/a?.csv is deleted from function f");
    ccfaas.get(ways[1]).await.demand(404);
    ccfaas.delete(plain).await.says(200, "program linear-regression.wasm is deleted from function f");
    ccfaas.upload(plain, BYTES, program).await.says(200, "function loaded!");

    // Programs and data go with their function.
    ccfaas.delete("/function/f").await.demand(200);
    ccfaas.post("/function", &with_data("f", program, data)).await.demand(200);
    assert_eq!(ccfaas.get("/function/f/program").await.json(), json!({ "programs": [] }));
    assert!(house.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_too_large_are_refused_announced_or_not() {
    let house = House::open();
    let ccfaas = &house.ccfaas;
    let largest = vec![7; 9_999_999];
    ccfaas.post("/function", &with_data("f", &largest, b"")).await.demand(200);
    let path = "/function/f/program/linear-regression.wasm";
    let refused = "program linear-regression.wasm for function f is too large, it must be below 10M";
    ccfaas.upload(path, BYTES, vec![7; 10_000_000]).await.says(400, refused);
    let pieces = std::iter::repeat_with(|| Ok::<_, std::io::Error>(vec![7u8; 1_000_000])).take(10);
    let unannounced = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    ccfaas.upload(path, BYTES, unannounced).await.says(400, refused);
    ccfaas.get(path).await.demand(404);
    ccfaas.upload(path, BYTES, largest).await.says(200, "function loaded!");
    let announced = raw_head(&house.node, "/function/f/data_file/plain.csv", 300_000_000).await;
    assert!(announced.starts_with("HTTP/1.1 400 "), "{announced}");
    assert!(announced.contains("too large, it must be below 300M"), "{announced}");
    assert!(house.node.stop().success());
}

/// What is answered to a head that announces a body which never comes.
async fn raw_head(node: &Node, path: &str, length: u64) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = node.address("ccfaas");
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(std::time::Duration::from_secs(20), socket.read_to_string(&mut answer));
    read.await.expect("it is answered at once, and closed").unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_are_started_listed_read_and_deleted() {
    let house = House::open();
    let ccfaas = &house.ccfaas;
    ccfaas.upload("/instance", "text/plain", "{}").await.says(400, "input should a json object!");
    is_page(ccfaas.upload("/instance", "application/json", "nonsense").await, 400, "Bad Request");
    ccfaas.post("/instance", &seed_instance("f", "i")).await.says(404, "function f not found");
    ccfaas.get("/instance/i").await.says(404, "Veracruz instance 'i' does not exist!");
    ccfaas.delete("/instance/i").await.says(404, "Veracruz instance 'i' does not exist!");
    house.register("f").await;

    let asked = seed_instance("f", "my instance");
    let made = ccfaas.post("/instance", &asked).await.demand(200).json();
    assert_eq!(made["instance"], "my instance");
    let again = ccfaas.post("/instance", &asked).await;
    again.says(400, "Could not create instance already exists my instance");
    assert_eq!(ccfaas.get("/instance/").await.json(), json!({ "instances": ["my instance"] }));
    assert_eq!(ccfaas.get("/instance/my%20instance").await.demand(200).json(), made);
    let busy = ccfaas.delete("/function/f").await.demand(400);
    assert!(busy.text.contains("instance/"), "{}", busy.text);

    let text = made["policy"].as_str().unwrap();
    let policy: Value = serde_json::from_str(text).unwrap();
    check_full_policy(&policy, &asked);
    // As VaaS shows it.
    let listed = house.vaas.get("/veracruz?instance_id=CCFaaS").await.json();
    let address = policy["veracruz_server_url"].as_str().unwrap();
    let hash = &sha256(text.as_bytes()).to_string()[..59];
    let shown = json!({ "instance_id": "CCFaaS", "instance_hash": hash, "status": "OK" });
    assert_eq!(listed, json!({ "veracruz": [{ address: shown }] }));

    ccfaas.delete("/instance/my%20instance/").await.says(200, "instance my instance deleted");
    ccfaas.delete("/instance/my%20instance").await.demand(404);
    ccfaas.delete("/function/f").await.demand(200);
    assert_eq!(house.vaas.get("/veracruz").await.json(), json!({ "veracruz": [] }));
    assert!(house.node.stop().success());
}

/// The full policy, against what the services said of it.
fn check_full_policy(policy: &Value, asked: &Value) {
    assert_eq!(policy["enable_clock"], true, "the service gave programs a clock");
    assert_eq!(policy["identities"][0]["id"], 0);
    assert_eq!(policy["identities"][0]["file_rights"], asked["identities"][0]["file_rights"]);
    let pem = policy["identities"][0]["certificate"].as_str().unwrap();
    let lines: Vec<&str> = pem.split('\n').collect();
    assert_eq!(
        (lines.len(), lines[0], lines[2]),
        (3, "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----")
    );
    let original: String = asked["identities"][0]["certificate"].as_str().unwrap().lines().collect();
    assert_eq!(lines.concat(), original);
    for (field, value) in [("runtime_manager_hash_sgx", ""), ("runtime_manager_hash_tz", "")] {
        assert_eq!(policy[field], value, "{field}");
    }
    let binary = sha256(&std::fs::read(cm_e2e::cryptomesh()).unwrap()).to_string();
    assert_eq!(policy["runtime_manager_hash_linux"], binary);
    assert!(policy["proxy_service_cert"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(policy["proxy_attestation_server_url"].as_str().unwrap().contains(':'));
    assert_eq!(policy["programs"][0]["pi_hash"], json!(sha256(&linear_regression())));
    // 180 days, to the minute.
    let expiry = &policy["enclave_cert_expiry"];
    let number = |field: &str| expiry[field].as_i64().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let then = i64::try_from(now).unwrap() + 180 * 24 * 3600;
    let (minute_of_day, now_minute) = (number("hour") * 60 + number("minute"), then % 86_400 / 60);
    assert!((now_minute - minute_of_day).rem_euclid(1440) <= 2, "{expiry} is not 180 days from now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_cannot_start_leaves_nothing() {
    let house = House::with(NodeOptions {
        open: true,
        set: vec!["instances.max=1".to_owned()],
        ..NodeOptions::default()
    });
    house.ccfaas.post("/function", &seed_function("f")).await.demand(200);
    // Nobody uploaded the program, and nobody may write it.
    let reply = house.ccfaas.post("/instance", &seed_instance("f", "i")).await.demand(400);
    assert!(reply.text.contains("linear-regression.wasm"), "{}", reply.text);
    assert_eq!(house.ccfaas.get("/instance").await.json(), json!({ "instances": [] }));
    let path = "/function/f/program/linear-regression.wasm";
    house.ccfaas.upload(path, BYTES, linear_regression()).await.demand(200);
    house.ccfaas.post("/instance", &seed_instance("f", "i")).await.demand(200);
    let full = house.ccfaas.post("/instance", &seed_instance("f", "second")).await;
    full.says(500, "Error accessing the vaas_server response code was 507");
    assert_eq!(house.ccfaas.get("/instance").await.json(), json!({ "instances": ["i"] }));
    house.ccfaas.delete("/instance/i").await.demand(200);
    house.ccfaas.post("/instance", &seed_instance("f", "second")).await.demand(200);
    assert!(house.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_survive_a_restart_and_instances_say_that_they_did_not() {
    let root = tempfile::tempdir().unwrap();
    let options = NodeOptions { open: true, ..NodeOptions::default() };
    let start = || {
        let node = Node::start(root.path(), &options);
        let (ccfaas, vaas) = (Service::of(&node, "ccfaas", None), Service::of(&node, "vaas", None));
        (node, ccfaas, vaas)
    };
    let (node, ccfaas, _) = start();
    ccfaas.post("/function", &seed_function("f")).await.demand(200);
    let path = "/function/f/program/linear-regression.wasm";
    ccfaas.upload(path, BYTES, linear_regression()).await.demand(200);
    let made = ccfaas.post("/instance", &seed_instance("f", "i")).await.demand(200).json();
    node.kill();

    let (node, ccfaas, vaas) = start();
    assert_eq!(ccfaas.get("/function/f").await.demand(200).json(), seed_function("f"));
    ccfaas.get(path).await.demand(200);
    assert_eq!(vaas.get("/veracruz").await.json(), json!({ "veracruz": [] }));
    assert_eq!(ccfaas.get("/instance/i").await.demand(200).json(), made);
    ccfaas.delete("/instance/i").await.says(200, "instance i deleted");
    ccfaas.post("/instance", &seed_instance("f", "i")).await.demand(200);
    assert!(node.stop().success());
}
