//! Computations: three nodes that are started one by one, the first system's examples over HTTP, and the commands of owners.

use cm_e2e::{Node, NodeOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

mod objects;
mod signed;
mod stopped;

struct Cluster {
    nodes: Vec<Node>,
    root: TempDir,
}

/// Three nodes with kernels, keys and tokens of their own, that an operator has made known to each other.
async fn cluster() -> Cluster {
    cluster_with(&[]).await
}

/// The same with settings; `{root}` in one stands for a directory.
async fn cluster_with(settings: &[&str]) -> Cluster {
    let root = TempDir::new().unwrap();
    let place = root.path().display().to_string();
    let start = |at: usize| {
        let mut set = vec![format!("mpc.name=n{at}")];
        set.extend(settings.iter().map(|setting| setting.replace("{root}", &place)));
        let options = NodeOptions { set, ..NodeOptions::default() };
        Node::start(&root.path().join(format!("n{at}")), &options)
    };
    let nodes: Vec<Node> = (1..=3).map(start).collect();
    let mut parties = Vec::new();
    for node in &nodes {
        parties.push((node.admin().party().await.unwrap(), node.address("mpc-peers").to_owned()));
    }
    for node in &nodes {
        let own = node.admin().party().await.unwrap().name;
        for (party, address) in parties.iter().filter(|(party, _)| party.name != own) {
            node.admin().put_party_peer(&party.name, address, &party.link_key).await.unwrap();
        }
    }
    Cluster { nodes, root }
}

async fn ask(
    node: &Node,
    token: &str,
    method: reqwest::Method,
    path: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let url = format!("http://{}{path}", node.address("mpc"));
    let mut request = reqwest::Client::new().request(method, url);
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_systems_examples_on_three_nodes() {
    let cluster = cluster().await;
    let node = &cluster.nodes[0];
    let admin = node.admin_token();
    let add = json!({ "name": "add_shards", "steps": [
        { "step_id": "assign_a", "operation": "assign", "destination_node": 1, "variable_name": "a", "variable_type": "shard", "value": 10 },
        { "step_id": "assign_b", "operation": "assign", "destination_node": 1, "variable_name": "b", "variable_type": "shard", "value": 20 },
        { "step_id": "add", "operation": "add", "variable_name": "result", "operand1": "a", "operand2": "b", "dependencies": ["assign_a", "assign_b"] },
    ] });
    let multiply = json!({ "name": "multiply_shards", "steps": [
        { "step_id": "set_x", "operation": "assign", "destination_node": 1, "variable_name": "x", "variable_type": "shard", "value": 4 },
        { "step_id": "set_y", "operation": "assign", "destination_node": 1, "variable_name": "y", "variable_type": "shard", "value": 5 },
        { "step_id": "multiply", "operation": "multiply", "variable_name": "product", "operand1": "x", "operand2": "y", "dependencies": ["set_x", "set_y"] },
    ] });
    let post = reqwest::Method::POST;
    let get = reqwest::Method::GET;
    assert_eq!(ask(node, "", post.clone(), "/execute_job", Some(add.clone())).await.0, 401);
    let (status, answer) = ask(node, &admin, post.clone(), "/execute_job", Some(add)).await;
    assert_eq!((status, &answer["status"]), (200, &json!("completed")), "{answer}");
    assert_eq!((&answer["results"]["result"], &answer["tier"]), (&json!(30), &json!("malicious-abort")));
    assert_eq!(answer["field"], "secp256k1");
    let (status, answer) = ask(node, &admin, post.clone(), "/execute_job", Some(multiply)).await;
    assert_eq!((status, &answer["results"]["product"]), (200, &json!(20)), "{answer}");
    let job = answer["job_id"].as_str().unwrap().to_owned();

    // Another who may read computations sees the job, and not its result.
    let body = json!({ "id": "bob", "display_name": "Bob", "roles": ["operator"] });
    let _: Value = node.admin().post("/api/v1/principals", &body).await.unwrap();
    let bob = node.admin().create_api_key("bob", "test").await.unwrap();
    let bob = bob.key;
    let (status, shown) = ask(node, &bob, get.clone(), &format!("/jobs/{job}"), None).await;
    assert_eq!((status, &shown["status"], shown.get("results")), (200, &json!("completed"), None), "{shown}");
    let (_, own) = ask(node, &admin, get.clone(), &format!("/jobs/{job}"), None).await;
    assert_eq!(own["results"]["product"], 20);

    let (_, nodes) = ask(node, &admin, get.clone(), "/nodes", None).await;
    let names: Vec<_> = nodes["nodes"].as_array().unwrap().iter().map(|node| node["alias"].clone()).collect();
    assert_eq!(names, [json!("n1"), json!("n2"), json!("n3")]);
    let (_, steps) = ask(node, &admin, get.clone(), "/steps?status=completed", None).await;
    assert_eq!(steps["steps"].as_array().unwrap().len(), 6);
    assert_eq!(ask(node, &admin, get, "/steps?status=odd", None).await.0, 422);
    for other in &cluster.nodes {
        for secret in ["\"value\":4", "\"value\":10"] {
            assert!(!other.log().contains(secret), "values are not logged");
        }
    }
    let (status, refused) = ask(
        node,
        &admin,
        post,
        "/execute_job",
        Some(json!({ "steps": [
        { "step_id": "p", "operation": "add", "variable_name": "p", "operand1": "q", "operand2": 1 },
        { "step_id": "q", "operation": "add", "variable_name": "q", "operand1": "p", "operand2": 1 },
    ] })),
    )
    .await;
    assert_eq!(status, 422);
    assert!(refused["detail"].as_str().unwrap().contains("wait for each other"), "{refused}");
}

/// A value that is split among three as the published client does it, each share masked by a number that stands beside it.
fn published_shares(name: &str, value: i64, keys: &[String]) -> Vec<Value> {
    // The order less one: what is masked by it is one less.
    let mask = "115792089237316195423570985008687907852837564279074904382605163141518161494336";
    let masked = |value: i64| {
        format!(
            r#"{{"encrypted_value": {}, "ephemeral_public_key": "{}", "shared_secret": {mask}}}"#,
            value - 1,
            keys[0]
        )
    };
    let step = |(at, key): (usize, &String)| {
        let x = i64::try_from(at).unwrap() + 1;
        let point = json!({ "x": masked(x), "y": masked(value + 7 * x + 3 * x * x) });
        json!({
            "step_type": "init_variable", "variable_name": name, "variable_type": "shard", "status": "waiting",
            "assigned_node_public_key": key, "dest_node_public_key": key, "output_value": point.to_string(),
        })
    };
    keys.iter().enumerate().map(step).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_in_the_published_clients_form() {
    let cluster = cluster().await;
    let node = &cluster.nodes[0];
    let admin = node.admin_token();
    let (post, get) = (reqwest::Method::POST, reqwest::Method::GET);
    // A peer that does not answer yet has no key to show.
    let began = std::time::Instant::now();
    let keys: Vec<String> = loop {
        let (_, nodes) = ask(node, &admin, get.clone(), "/nodes", None).await;
        let nodes = nodes["nodes"].as_array().unwrap();
        let keys: Vec<_> = nodes.iter().map(|node| node["public_key"].as_str().unwrap().to_owned()).collect();
        if keys.iter().all(|key| key.len() == 130 && key.starts_with("04")) {
            break keys;
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(120), "{keys:?}");
    };
    let mut steps = published_shares("x", 4, &keys);
    steps.extend(published_shares("y", 5, &keys));
    for key in &keys {
        steps.push(json!({
            "step_type": "multiply", "variable_name": "(x) * (y)", "variable_type": "shard", "status": "waiting",
            "parameters": r#"{"variable_a": "x", "variable_b": "y"}"#,
            "assigned_node_public_key": key, "dest_node_public_key": key,
        }));
    }
    let job = json!({ "name": "product", "steps": steps, "hash_id": "job-1" });
    assert_eq!(ask(node, "", post.clone(), "/job", Some(job.clone())).await.0, 401);
    assert_eq!(ask(node, "no-token", post.clone(), "/job", Some(job.clone())).await.0, 403);
    let (status, unnamed) = ask(node, &admin, post.clone(), "/job", Some(json!({ "steps": [] }))).await;
    assert_eq!(status, 422, "{unnamed}");
    let (status, stored) = ask(node, &admin, post.clone(), "/job", Some(job)).await;
    assert_eq!((status, &stored["hash_id"]), (200, &json!("job-1")), "{stored}");
    assert!(!stored.to_string().contains("shared_secret"), "{stored}");
    let id = stored["job_id"].as_str().unwrap().to_owned();
    let began = std::time::Instant::now();
    let done = loop {
        let (_, shown) = ask(node, &admin, get.clone(), &format!("/jobs/{id}"), None).await;
        if shown["status"] != "started" && shown["status"] != "waiting" {
            break shown;
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "{shown}");
    };
    assert_eq!((&done["status"], &done["results"]["(x) * (y)"]), (&json!("completed"), &json!(20)), "{done}");
    assert_eq!(done["steps"][8]["output_value"], "20");
    let body = json!({ "id": "bob", "display_name": "Bob", "roles": ["operator"] });
    let _: Value = node.admin().post("/api/v1/principals", &body).await.unwrap();
    let bob = node.admin().create_api_key("bob", "test").await.unwrap().key;
    let (_, foreign) = ask(node, &bob, get.clone(), &format!("/jobs/{id}"), None).await;
    assert_eq!((foreign.get("results"), &foreign["steps"][8]["output_value"]), (None, &Value::Null));
    let page = async |token: &str| {
        let request = reqwest::Client::new().get(format!("http://{}/dashboard", node.address("mpc")));
        let response = request.bearer_auth(token).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(page("no-token").await.0, 403);
    let (status, page) = page(&admin).await;
    assert!(status == 200 && page.contains("(x) * (y)") && !page.contains(">20<"), "{page}");

    // Whole numbers of 256 bits are taken as they are.
    let large = "115792089237316195423570985008687907852837564279074904382605163141518161494335";
    let body = format!(
        r#"{{"steps": [{{"operation": "assign", "variable_name": "a", "value": {large}}},
            {{"operation": "add", "variable_name": "b", "operand1": "a", "operand2": 5}}]}}"#
    );
    let request = reqwest::Client::new().post(format!("http://{}/execute_job", node.address("mpc")));
    let request = request.bearer_auth(&admin).header("content-type", "application/json").body(body);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["results"]["b"], 3, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_split_and_receivers_put_together() {
    let cluster = cluster().await;
    let node = &cluster.nodes[0];
    let dir = TempDir::new().unwrap();
    let job = dir.path().join("score.mpc");
    std::fs::write(&job, "input x[3] from admin as real\ninput w[3] from admin as real\nr = dot(x, w) + 0.5\nreveal r to admin\n").unwrap();
    let says = |arguments: &[&str]| -> (i32, String) {
        let output = node.command(arguments);
        let text = if output.status.success() { &output.stdout } else { &output.stderr };
        (output.status.code().unwrap(), String::from_utf8_lossy(text).into_owned())
    };
    let (code, told) = says(&["mpc", "explain", job.to_str().unwrap()]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("3 numbers of admin") && told.contains("learned by admin"), "{told}");
    let inputs = ["--input", "x=1,2,3", "--input", "w=0.5,0.25,-1"];
    let untrusting = [&["mpc", "run", job.to_str().unwrap()][..], &inputs].concat();
    let (code, told) = says(&untrusting);
    assert_eq!(code, 2, "without keys nothing is sent: {told}");
    let (code, told) = says(&[&untrusting[..], &["--trust-node", "--output", "json"]].concat());
    assert_eq!(code, 0, "{told}");
    let result: Value = serde_json::from_str(&told).unwrap();
    let found = result["r"].as_f64().unwrap();
    assert!((found - -1.5).abs() < 0.01, "{found}");
}

/// A number's decimal digits.
fn decimal(bytes: &[u8]) -> String {
    let mut bytes = bytes.to_vec();
    let mut digits = Vec::new();
    while bytes.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u32;
        for byte in &mut bytes {
            rest = rest * 256 + u32::from(*byte);
            *byte = u8::try_from(rest / 10).unwrap();
            rest %= 10;
        }
        digits.push(char::from_digit(rest, 10).unwrap());
    }
    digits.iter().rev().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_with_keys_of_their_own_log_in_once_a_message() {
    use k256::ecdsa::SigningKey;
    use k256::ecdsa::signature::Signer as _;

    let root = TempDir::new().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    let admin = node.admin_token();
    let (post, get) = (reqwest::Method::POST, reqwest::Method::GET);
    let key = SigningKey::from_slice(&[11; 32]).unwrap();
    let public: String = key
        .verifying_key()
        .to_sec1_point(false)
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let login = |message: &str, signed: &[u8]| {
        let signature: k256::ecdsa::Signature = key.sign(signed);
        let (r, s) = signature.split_bytes();
        // Numbers of 256 bits, as the earlier client writes them.
        let text = format!(
            r#"{{"public_key":"{public}","message":"{message}","signature":{{"r":{},"s":{}}}}}"#,
            decimal(&r),
            decimal(&s)
        );
        text
    };
    let send = async |path: &str, body: String| {
        let request = reqwest::Client::new().post(format!("http://{}{path}", node.address("mpc")));
        let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    // Who is not registered is told so as the published client expects it.
    let (status, answer) = send("/auth/login", login("00ff", &[0, 255])).await;
    assert_eq!((status, &answer["status_code"]), (200, &json!(404)), "{answer}");
    assert_eq!(send("/login", login("00ff", &[0, 255])).await.0, 401);
    let body = json!({ "hostname": "http://localhost:9", "alias": "client", "description": "x", "public_key": public });
    assert_eq!(ask(&node, "", post.clone(), "/register_node", Some(body.clone())).await.0, 401);
    assert_eq!(ask(&node, &admin, post.clone(), "/register_node", Some(body.clone())).await.0, 200);
    let (status, answer) = ask(&node, &admin, post.clone(), "/auth/register", Some(body)).await;
    assert_eq!(
        (status, answer["detail"].as_str()),
        (400, Some("Node with this public key already registered."))
    );
    let (_, challenge) = ask(&node, "", get.clone(), "/login_challenge", None).await;
    let message = challenge["message"].as_str().unwrap().to_owned();
    let (status, answer) = send("/login", login(&message, message.as_bytes())).await;
    assert_eq!(status, 200, "{answer}");
    let token = answer["token"].as_str().unwrap().to_owned();
    assert_eq!(token.split('.').count(), 3);
    let (status, nodes) = ask(&node, &token, get.clone(), "/nodes", None).await;
    assert_eq!((status, nodes["nodes"].as_array().map(Vec::len)), (200, Some(2)), "{nodes}");
    // The same message, and one of the client's own, again.
    assert_eq!(send("/login", login(&message, message.as_bytes())).await.0, 401);
    let (status, answer) = send("/auth/login", login("00ff", &[0, 255])).await;
    assert_eq!(status, 200, "{answer}");
    let (_, nodes) = ask(&node, answer["token"].as_str().unwrap(), get.clone(), "/nodes", None).await;
    assert!(nodes.is_array(), "the published client is given a bare list");
    assert_eq!(send("/auth/login", login("00ff", &[0, 255])).await.0, 401, "a replayed message");
    assert_eq!(send("/login", login("00FF", &[0, 255])).await.0, 401, "in another spelling");
    let spelled = message.to_uppercase();
    assert_eq!(
        send("/login", login(&spelled, spelled.as_bytes())).await.0,
        401,
        "a used challenge, spelled otherwise"
    );
    assert_eq!(send("/login", login("00fe", b"something else")).await.0, 401);
    let forged = format!("{}x", &token[..token.len() - 1]);
    assert_eq!(ask(&node, &forged, get, "/nodes", None).await.0, 403);
}
