//! The Summoner, as CryptoMesh has its endpoints launched by it.

use std::time::{Duration, Instant};

use cm_e2e::{Node, NodeOptions};
use serde_json::{Value, json};

use super::{Face, open};

/// How long a server may take to start.
const DEADLINE: Duration = Duration::from_secs(60);

/// What CryptoMesh sends.
fn order(id: &str, image: &str) -> Value {
    let port =
        |port: u16| json!({ "ip_addr": null, "host_port": port, "container_port": port, "protocol": null });
    json!({
        "container_id": id,
        "image": image,
        "hostname": id,
        "exposed_ports": [port(16666), port(16667)],
        "envs": { "AXO_ENDPOINT_ID": id, "NODE_ID": id },
        "memory": 1_000_000_000,
        "cpu_count": 1,
        "mounts": [{ "mount_type": 1, "source": format!("{id}-data"), "target": "/data" }],
        "network_id": "axo-net",
        "selected_node": "0",
        "labels": { "crypytomesh": "1", "type": "axo-endpoint", "target": "mictlanx" },
        "force": true,
    })
}

/// Waits until the server that was summoned answers, and says who it is.
async fn serving(face: &Face, summoned: &Value) -> Value {
    let url = format!("http://{}:{}/health", summoned["ip_addr"].as_str().unwrap(), summoned["port"]);
    let began = Instant::now();
    loop {
        if let Ok(answer) = face.http.get(&url).send().await {
            return answer.json().await.unwrap();
        }
        assert!(began.elapsed() < DEADLINE, "nobody serves at {url}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_are_summoned_listed_and_dismissed() {
    let root = tempfile::tempdir().unwrap();
    let node = open(root.path());
    let summoner = Face::of(&node, "summoner", None);
    summoner.get("/api/v3/health").await.demand(200);
    assert_eq!(summoner.get("/api/v3/stats").await.demand(200).json(), json!({ "summons": {} }));
    let summoned = summoner.post("/api/v3/containers", &order("e-0", "registry/axo:1")).await.demand(200);
    let mut fields = summoned.fields();
    fields.sort();
    assert_eq!(fields, ["container_id", "ip_addr", "port", "service_time"]);
    let summoned = summoned.json();
    assert!(summoned["service_time"].is_u64() && summoned["container_id"] == "e-0", "{summoned}");
    assert_eq!(serving(&summoner, &summoned).await["endpoint_id"], "e-0");
    // It is an endpoint like any other.
    let records = node.command(&["-o", "json", "endpoint", "status", "e-0"]);
    let record: Value = serde_json::from_slice(&records.stdout).unwrap();
    assert_eq!(record["image"], "registry/axo:1", "{record}");
    let listed = summoner.get("/api/v3/stats").await.demand(200).json();
    let listed = &listed["summons"]["e-0"];
    assert!(listed["created_at"].is_i64() && listed["container_id"] == "e-0", "{listed}");

    // Again: it is ended first, or not at all.
    let mut gentle = order("e-0", "registry/axo:1");
    gentle["force"] = json!(false);
    summoner.post("/api/v3/services", &gentle).await.demand(409);
    summoner.post("/api/v3/containers", &order("e-0", "registry/other:1")).await.demand(409);
    let again = summoner.post("/api/v3/services", &order("e-0", "registry/axo:1")).await.demand(200).json();
    assert_eq!(serving(&summoner, &again).await["endpoint_id"], "e-0");
    summoner.delete("/api/v3/services/e-0").await.demand(204);
    summoner.delete("/api/v3/containers/e-0").await.demand(404);
    assert_eq!(summoner.get("/api/v3/stats").await.demand(200).json(), json!({ "summons": {} }));
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_endpoint_or_wrong_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let set = vec!["mictlanx.endpoint_images=registry:5000/axo,other/axo".to_owned()];
    let node = Node::start(root.path(), &NodeOptions { set, ..NodeOptions::default() });
    let summoner = Face::of(&node, "summoner", Some(node.admin_token()));
    let bare = |image: &str| json!({ "container_id": "e", "image": image });
    for image in ["nachocode/mictlanx:peer", "registry:5000/axo2:1", "axo", "other/axo/more"] {
        summoner.post("/api/v3/containers", &bare(image)).await.demand(501);
    }
    summoner.post("/api/v3/containers", &bare("registry:5000/axo:1@sha256:00")).await.demand(200);
    summoner.delete("/api/v3/containers/e").await.demand(204);
    let with = |field: &str, value: Value| {
        let mut order = order("f", "i");
        order[field] = value;
        order
    };
    for wrong in [
        with("container_id", json!("a/b")),
        with("image", json!("")),
        with("cpu_count", json!(0)),
        with("memory", json!(-1)),
        with("mounts", json!([{ "mount_type": 0, "source": "/etc", "target": "/etc" }])),
        with("exposed_ports", json!([{ "host_port": 0, "container_port": 1 }])),
        json!({ "image": "i" }),
    ] {
        summoner.post("/api/v3/containers", &wrong).await.demand(422);
    }
    summoner.as_somebody(None).post("/api/v3/containers", &order("g", "i")).await.demand(401);
    assert_eq!(summoner.get("/api/v3/stats").await.demand(200).json(), json!({ "summons": {} }));
    assert!(node.stop().success());
}
