//! Runs that are followed over WebSockets, and a party that stands still with its links open.

use std::time::{Duration, Instant};

use cm_e2e::Node;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{cluster, cluster_with};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);
/// Long enough that something can happen in the middle of it.
const CHAIN: &str =
    "tier semi-honest\ninput x[500] from admin\nrepeat 3000 { x = x * x }\nreveal sum(x) as s to all\n";

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// Opens the socket of a computation's progress with these headers more.
async fn socket(node: &Node, id: &str, headers: &[(&'static str, String)]) -> Result<Socket, Error> {
    let url = format!("ws://{}/api/v1/computations/{id}/progress/socket", node.address("api"));
    let mut request = url.into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    timeout(LONG, connect_async(request)).await.expect("an answer comes").map(|(socket, _)| socket)
}

fn refusal(opened: Result<Socket, Error>) -> u16 {
    match opened {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

async fn next(socket: &mut Socket) -> Message {
    timeout(LONG, socket.next()).await.expect("a message comes").unwrap().unwrap()
}

/// A computation of the chain whose inputs are there.
async fn prepared(node: &Node, dir: &std::path::Path) -> String {
    let job = dir.join("chain.mpc");
    std::fs::write(&job, CHAIN).unwrap();
    let receiver = format!("admin={}", node.admin().party().await.unwrap().sealing_key);
    let done = |arguments: &[&str]| -> Value {
        let output = node.command(&[arguments, &["--output", "json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let made = done(&["mpc", "create", job.to_str().unwrap(), "--receiver", &receiver]);
    let id = made["id"].as_str().unwrap().to_owned();
    let ones = vec!["1"; 500].join(",");
    done(&["mpc", "share", &id, "x", &ones, "--trust-node"]);
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_followed_over_a_socket() {
    let cluster = cluster().await;
    let node = &cluster.nodes[0];
    let id = prepared(node, cluster.root.path()).await;
    let token = || ("authorization", format!("Bearer {}", node.admin_token()));
    assert_eq!(refusal(socket(node, &id, &[]).await), 401);
    assert_eq!(refusal(socket(node, "nothing", &[token()]).await), 404);
    let stranger = ("origin", "http://evil.example".to_owned());
    assert_eq!(refusal(socket(node, &id, &[token(), stranger]).await), 403);
    let body = json!({ "id": "eve", "display_name": "Eve", "roles": [] });
    let _: Value = node.admin().post("/api/v1/principals", &body).await.unwrap();
    let eve = node.admin().create_api_key("eve", "test").await.unwrap().key;
    let theirs = || ("authorization", format!("Bearer {eve}"));
    for id in [id.as_str(), "nothing"] {
        assert_eq!(refusal(socket(node, id, &[theirs()]).await), 403, "nobody learns what exists");
    }
    let url = format!("{}/api/v1/computations/{id}/progress/socket", node.url());
    let plain = reqwest::Client::new().get(url).bearer_auth(node.admin_token()).send().await.unwrap();
    assert_eq!(plain.status(), 400);

    node.admin().run_computation(&id, None).await.unwrap();
    let own = ("origin", format!("http://{}", node.address("api")));
    let mut follower = socket(node, &id, &[token(), own]).await.unwrap();
    follower.send(Message::Ping(vec![7].into())).await.unwrap();
    let (mut states, mut ponged, mut done) = (Vec::new(), false, 0);
    let code = loop {
        match next(&mut follower).await {
            Message::Text(text) => {
                let told: Value = serde_json::from_str(&text).unwrap();
                let layers = told["layers_done"].as_u64().unwrap();
                assert!(layers >= done, "it goes forward");
                done = layers;
                states.push(told["state"].as_str().unwrap().to_owned());
            }
            Message::Pong(bytes) => ponged = bytes[..] == [7],
            Message::Close(frame) => break frame.unwrap().code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((code, ponged), (CloseCode::Normal, true));
    assert_eq!((states[0].as_str(), states.last().unwrap().as_str()), ("running", "completed"));

    // Whoever talks is shown out; whoever comes late is told the end.
    let mut late = socket(node, &id, &[token()]).await.unwrap();
    let Message::Text(text) = next(&mut late).await else { panic!("its state comes first") };
    assert!(text.contains("completed"), "{text}");
    let second = prepared(node, cluster.root.path()).await;
    node.admin().run_computation(&second, None).await.unwrap();
    let mut talker = socket(node, &second, &[token()]).await.unwrap();
    talker.send(Message::Text("hello".into())).await.unwrap();
    let code = loop {
        if let Message::Close(frame) = next(&mut talker).await {
            break frame.unwrap().code;
        }
    };
    assert_eq!(code, CloseCode::Unsupported);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_party_that_stands_still_is_named_and_takes_part_again_when_it_goes_on() {
    let patience = Duration::from_secs(3);
    let cluster = cluster_with(&["mpc.patience=3"]).await;
    let node = &cluster.nodes[0];
    for stopped in [2, 1] {
        let still = &cluster.nodes[stopped];
        let id = prepared(node, cluster.root.path()).await;
        node.admin().run_computation(&id, None).await.unwrap();
        let token = ("authorization", format!("Bearer {}", node.admin_token()));
        let mut follower = socket(node, &id, &[token]).await.unwrap();
        let mut told = Value::Null;
        while told["layers_done"].as_u64().unwrap_or_default() < 20 {
            let Message::Text(text) = next(&mut follower).await else { continue };
            told = serde_json::from_str(&text).unwrap();
            assert_eq!(told["state"], "running", "{told}");
        }
        still.signal("STOP");
        let began = Instant::now();
        while told["state"] == "running" {
            let Message::Text(text) = next(&mut follower).await else { continue };
            told = serde_json::from_str(&text).unwrap();
        }
        let took = began.elapsed();
        still.signal("CONT");
        let entry = node.admin().read(cm_types::ResourceKind::Computation, &id).await.unwrap();
        let status = entry.get("status").unwrap();
        assert_eq!(status["failure"]["reason"], "lost", "{status}");
        assert_eq!(status["failure"]["party"], format!("n{}", stopped + 1), "{status}");
        // Patience, once for the computation and once for the answer; the rest is a busy machine.
        assert!(took < patience * 2 + LONG / 2, "{took:?}");
        let until = Instant::now() + LONG;
        while !node.admin().party().await.unwrap().peers.iter().all(|peer| peer.up) {
            assert!(Instant::now() < until, "its links come back");
        }
        let job = cluster.root.path().join("next.mpc");
        std::fs::write(&job, "input x from admin\nreveal x * x as y to all\n").unwrap();
        let run = ["mpc", "run", job.to_str().unwrap(), "--input", "x=6", "--trust-node", "--output", "json"];
        let output = node.command(&run);
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("36"), "{text}");
    }
}
