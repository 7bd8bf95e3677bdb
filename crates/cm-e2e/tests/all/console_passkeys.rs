//! Passkeys in a real browser with a device of its own: registered in the console, and logged in with.

use std::path::Path;

use crate::console::browser::Browser;
use cm_e2e::{Node, NodeOptions};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";

/// A node on which Ada has a password, and may list functions by what needs `mfa` only.
async fn node_with_ada(root: &Path) -> Node {
    let node = Node::start(root, &NodeOptions::default());
    let http = reqwest::Client::new();
    let policy = json!({ "id": "mfa", "name": "mfa", "source": "pdl 1\nallow user ada to list on function when mfa\n" });
    for (method, path, body) in [
        (reqwest::Method::POST, "principals", json!({ "id": "ada" })),
        (reqwest::Method::PUT, "principals/ada/password", json!({ "password": PASSWORD })),
        (reqwest::Method::POST, "permission-policies", policy),
    ] {
        let url = format!("{}/api/v1/{path}", node.url());
        let asked = http.request(method, url).bearer_auth(node.admin_token()).json(&body);
        let answer = asked.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    }
    node
}

/// The page of the console under the name by which browsers have passkeys.
fn page(node: &Node, place: &str) -> String {
    let (_, port) = node.address("console").rsplit_once(':').unwrap();
    format!("http://localhost:{port}/console/{place}")
}

async fn log_in_with_password(browser: &Browser, node: &Node) {
    browser.open(&page(node, "")).await;
    browser.wait("document.querySelector('.login form')").await;
    let script = format!(
        "const form = document.querySelector('.login form'); form.principal.value = 'ada'; form.password.value = {}; form.requestSubmit()",
        Value::from(PASSWORD)
    );
    browser.run(&script).await;
    browser.wait("document.querySelector('.shell main h1')").await;
}

/// What the node answers to the session of the page when it asks for what needs `mfa`.
async fn status_of_functions(browser: &Browser) -> Value {
    let asked = "fetch('/console/api/v1/functions', { headers: { 'X-CryptoMesh-Console': '1' } })";
    browser.run(&format!("return {asked}.then((answer) => answer.status)")).await
}

async fn log_out(browser: &Browser) {
    browser.run("document.querySelector('[aria-label=\"Log out\"]').click()").await;
    browser.wait("document.querySelector('.login form')").await;
}

async fn sign_in_with_passkey(browser: &Browser) {
    browser.wait("document.querySelector('.login-passkey:not([hidden]) button')").await;
    browser.run("document.querySelector('.login-passkey button').click()").await;
}

async fn add(browser: &Browser, label: &str) {
    let label = Value::from(label);
    browser.run(&format!("const field = document.querySelector('main [name=label]'); field.value = {label}; field.form.requestSubmit()")).await;
    browser
        .wait(&format!(
            "[...document.querySelectorAll('main tbody th')].some((cell) => cell.innerText.includes({label}))"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passkey_is_registered_in_the_console_and_signs_in() {
    let root = tempfile::tempdir().unwrap();
    let node = node_with_ada(root.path()).await;
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../console-live");
    std::fs::create_dir_all(&pictures).unwrap();
    let browser = Browser::start().await;
    let device = browser.add_device().await;
    browser.look(1280, "light").await;
    log_in_with_password(&browser, &node).await;
    assert_eq!(status_of_functions(&browser).await, 403, "a password alone is no second factor");

    browser.wait("document.querySelector('a[href=\"#/passkeys\"]:not([hidden])')").await;
    browser.run("document.querySelector('a[href=\"#/passkeys\"]').click()").await;
    browser.wait("document.querySelector('main [name=label]')").await;
    add(&browser, "laptop").await;
    // From now on the password alone changes nothing of passkeys: what there is was not shown.
    browser.run("document.querySelector('main [aria-label=\"Remove laptop\"]').click()").await;
    browser.run("document.querySelector('dialog .danger').click()").await;
    browser.wait("document.querySelector('.toast.bad')").await;
    log_out(&browser).await;

    browser.wait("document.querySelector('.login-passkey:not([hidden])')").await;
    std::fs::write(pictures.join("passkey-login-light-1280.png"), browser.picture().await).unwrap();
    // A device that does not make sure who uses it lets nobody in.
    browser.set_verifies(&device, false).await;
    sign_in_with_passkey(&browser).await;
    browser.wait("document.querySelector('.login-passkey .failure')").await;
    browser.set_verifies(&device, true).await;
    sign_in_with_passkey(&browser).await;
    browser.wait("document.querySelector('.shell main h1')").await;
    assert_eq!(status_of_functions(&browser).await, 200, "a passkey is two factors");

    for (width, scheme) in [(375, "dark"), (1280, "light")] {
        browser.look(width, scheme).await;
        browser.open(&page(&node, "#/passkeys")).await;
        browser.wait("document.querySelector('main tbody th')").await;
        let over = browser.run("return document.documentElement.scrollWidth - innerWidth").await;
        assert!(over.as_i64().unwrap() <= 0, "{width}: {over} px too wide");
        std::fs::write(pictures.join(format!("passkeys-{scheme}-{width}.png")), browser.picture().await)
            .unwrap();
    }
    // The device says that it has one already.
    let label = "document.querySelector('main [name=label]')";
    browser.run(&format!("{label}.value = 'again'; {label}.form.requestSubmit()")).await;
    browser.wait("document.querySelector('main .failure')?.innerText.includes('already')").await;
    browser.run("document.querySelector('main [aria-label=\"Rename laptop\"]').click()").await;
    browser.run("const form = document.querySelector('dialog form'); form.label.value = 'blue laptop'; form.requestSubmit()").await;
    browser.wait("document.querySelector('main [aria-label=\"Remove blue laptop\"]')").await;
    browser.run("document.querySelector('main [aria-label=\"Remove blue laptop\"]').click()").await;
    browser.run("document.querySelector('dialog .danger').click()").await;
    // The session was the passkey's, and ends with it.
    browser.wait("document.querySelector('.login form')").await;
    sign_in_with_passkey(&browser).await;
    browser.wait("document.querySelector('.login-passkey .failure')").await;

    // A page at an address that the node does not know as its own offers none.
    browser.open(&format!("http://{}/console/", node.address("console"))).await;
    browser.wait("document.querySelector('.login form')").await;
    let asked = "import('/console/assets/passkeys.js').then((passkeys) => passkeys.loginChallenge())";
    assert_eq!(browser.run(&format!("return {asked}")).await, Value::Null);
    assert_eq!(browser.run("return document.querySelector('.login-passkey').hidden").await, true);
    let forbidden: Vec<_> = browser
        .errors()
        .await
        .into_iter()
        .filter(|error| error.contains("Content Security Policy"))
        .collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
}
