//! Every page of the console of a running mesh, in a real browser: what is there is shown, in both colours and both widths. The pictures are kept in `target/console-live`.

#[path = "../../../cm-console/tests/all/browser.rs"]
#[allow(dead_code, reason = "the console's own tests use all of it")]
pub(crate) mod browser;

use std::path::Path;

use browser::Browser;
use cm_e2e::{Node, NodeOptions, Program, enrol, instance};
use serde_json::{Value, json};

const READ: u32 = 8198;
const WRITE: u32 = 533_572;
const ENDS: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

fn command(node: &Node, arguments: &[&str]) {
    let output = node.command(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What people did on a node before somebody looks at it.
async fn life(node: &Node, peer: &Node) {
    command(node, &["intel", "peer", "add", peer.address("intel"), "--id", "hospital-east"]);
    let threats = [
        ("198.51.100.23", "ssh brute force", "high"),
        ("203.0.113.80", "port scan", "low"),
        ("2001:db8:13::7", "credential stuffing", "critical"),
        ("malware.example", "command and control", "high"),
        ("198.51.100.23", "ssh brute force", "medium"),
    ];
    for (source, kind, severity) in threats {
        command(node, &["intel", "report", source, "--type", kind, "--severity", severity, "--tlp", "clear"]);
    }
    command(
        peer,
        &["intel", "report", "192.0.2.14", "--type", "phishing", "--severity", "medium", "--tlp", "clear"],
    );
    command(node, &["create", "measure", "source=198.51.100.23", "effect=deny", "reason=brute force"]);
    let admin = node.admin();
    for (kind, body) in [
        (cm_types::ResourceKind::Service, json!({ "id": "imaging", "name": "Imaging" })),
        (
            cm_types::ResourceKind::Storage,
            json!({ "name": "scans", "capacity": "1GB", "source_path": "/in", "sink_path": "/out" }),
        ),
        (cm_types::ResourceKind::Bucket, json!({ "id": "x-rays" })),
    ] {
        admin.create(kind, &body).await.unwrap();
    }
    let http = reqwest::Client::new();
    for (name, text) in [
        ("2026/11/chest-0017.txt", "no findings"),
        ("2026/11/hand-0002.txt", "fracture"),
        ("readme.md", "# Scans\n"),
    ] {
        let url = format!("{}/api/v1/buckets/x-rays/objects/{name}", node.url());
        let answer = http.put(url).bearer_auth(node.admin_token()).body(text).send().await.unwrap();
        assert!(answer.status().is_success(), "{name}: {}", answer.text().await.unwrap());
    }
}

/// The pages, by name, with something of the mesh's that each must show.
fn pages(instance: &str) -> Vec<(&'static str, String, &'static str)> {
    let page = |name, place: &str, shows| (name, place.to_owned(), shows);
    vec![
        page("overview", "#/", ""),
        page("catalogue", "#/catalogue", "Imaging"),
        page("service", "#/catalogue/services/imaging", "Imaging"),
        page("functions", "#/functions", "sum"),
        page("function", "#/functions/sum", "sum"),
        page("instances", "#/instances", "sum"),
        ("instance", format!("#/instances/{instance}"), "sum"),
        page("buckets", "#/buckets", "x-rays"),
        page("bucket", "#/buckets/x-rays", "readme.md"),
        page("object", "#/object/x-rays/readme.md", "readme.md"),
        page("threats", "#/threats", "command and control"),
        page("threat", "#/threats/1", "ssh brute force"),
        page("report", "#/threats/report", "Report"),
        page("peers", "#/peers", "hospital-east"),
        page("audit", "#/audit", "threat-event.reported"),
        page("access", "#/access", "party"),
        page("principal", "#/principals/party", "party"),
        page("decisions", "#/decisions", "Decisions"),
        page("missing", "#/nothing/at/all", "No such page"),
    ]
}

async fn log_in(browser: &Browser, node: &Node) {
    browser.open(&format!("http://{}/", node.address("console"))).await;
    browser.wait("document.querySelector('.login form')").await;
    let token = Value::from(node.admin_token());
    let script = format!(
        "const field = document.querySelector('input[name=token]'); field.value = {token}; field.form.requestSubmit()"
    );
    browser.run(&script).await;
    browser.wait("document.querySelector('.shell main h1')").await;
    browser.errors().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_shows_what_a_running_mesh_has() {
    let roots = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (node, peer) = (
        Node::start(roots.0.path(), &NodeOptions::default()),
        Node::start(roots.1.path(), &NodeOptions::default()),
    );
    life(&node, &peer).await;
    let party = enrol(&node, "party", &["developer", "analyst"]).await;
    let wasm = wat::parse_str(ENDS).unwrap();
    let program = Program { name: "sum", strategy: "JIT", wasm, rights: &[("output", WRITE)] };
    let _open = instance(&node, &party, program, &[("output", READ)]).await;
    let instances: Value = node.admin().get("/api/v1/instances").await.unwrap();
    let id = instances[0]["id"].as_str().unwrap().to_owned();
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../console-live");
    std::fs::create_dir_all(&pictures).unwrap();
    let browser = Browser::start().await;
    for (width, scheme) in [(375, "light"), (375, "dark"), (1280, "light"), (1280, "dark")] {
        browser.look(width, scheme).await;
        if width == 375 && scheme == "light" {
            browser.open(&format!("http://{}/", node.address("console"))).await;
            browser.wait("document.querySelector('.login form')").await;
            std::fs::write(pictures.join("login-light-375.png"), browser.picture().await).unwrap();
            log_in(&browser, &node).await;
        }
        for (name, place, shows) in pages(&id) {
            browser.open(&format!("http://{}/console/{place}", node.address("console"))).await;
            browser
                .wait("document.querySelector('main h1') && !document.querySelector('main [aria-busy]')")
                .await;
            browser
                .wait(&format!("document.querySelector('main').innerText.includes({})", Value::from(shows)))
                .await;
            let over = browser.run("return document.documentElement.scrollWidth - innerWidth").await;
            assert!(over.as_i64().unwrap() <= 0, "{name}, {width}, {scheme}: {over} px too wide");
            let errors = browser.errors().await;
            assert!(errors.is_empty(), "{name}, {width}, {scheme}: {errors:?}");
            std::fs::write(pictures.join(format!("{name}-{scheme}-{width}.png")), browser.picture().await)
                .unwrap();
        }
    }
}
