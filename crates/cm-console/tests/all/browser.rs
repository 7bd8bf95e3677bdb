//! A browser under test. What is asked of the driver are a dozen requests, half of them Chromium's own (colours, sizes, its log), so that a client library would be
//! as much code.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// A session of Chromium. Killed when dropped.
pub(crate) struct Browser {
    driver: Child,
    client: reqwest::Client,
    session: String,
    _profile: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver takes its browser along.
        let _gone = self.driver.kill();
        let _reaped = self.driver.wait();
    }
}

impl Browser {
    /// Starts a browser.
    pub(crate) async fn start() -> Browser {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let driver = driver.expect("chromedriver is installed: apt-get install chromium chromium-driver");
        let client = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();
        let profile = tempfile::tempdir().unwrap();
        let base = format!("http://127.0.0.1:{port}");
        let mut browser = Browser { driver, client, session: base.clone(), _profile: profile };
        let began = Instant::now();
        while browser.client.get(format!("{base}/status")).send().await.is_err() {
            assert!(began.elapsed() < DEADLINE, "chromedriver does not answer");
            tokio::time::sleep(PAUSE).await;
        }
        let profile = format!("--user-data-dir={}", browser._profile.path().display());
        // Without a sandbox of its own: tests run as root, in containers.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            &profile,
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments }, "goog:loggingPrefs": { "browser": "ALL" }, "unhandledPromptBehavior": "ignore",
        } } });
        let made = browser.post("/session", wanted).await;
        browser.session = format!("{base}/session/{}", made["sessionId"].as_str().unwrap());
        browser
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.client.post(format!("{}{path}", self.session)).json(&body).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].clone()
    }

    /// Runs a function body in the page and waits for what it comes to.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [] })).await
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// Gives the browser a device that keeps passkeys and is ready to use them (WebAuthn, level 3, section 11).
    pub(crate) async fn add_device(&self) -> String {
        let device = json!({ "protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true, "isUserVerified": true });
        let id = self.post("/webauthn/authenticator", device).await;
        id.as_str().unwrap().to_owned()
    }

    /// Says whether the device finds that its owner uses it.
    pub(crate) async fn set_verifies(&self, device: &str, verifies: bool) {
        let path = format!("/webauthn/authenticator/{device}/uv");
        self.post(&path, json!({ "isUserVerified": verifies })).await;
    }

    /// Shows an address, from the beginning.
    pub(crate) async fn open(&self, url: &str) {
        self.post("/url", json!({ "url": "about:blank" })).await;
        self.post("/url", json!({ "url": url })).await;
    }

    /// Sets the size and the colours. As a desk's window of that size: a telephone would widen its view to what is too wide, and hide it.
    pub(crate) async fn look(&self, width: u32, scheme: &str) {
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// Waits until an expression holds in the page.
    pub(crate) async fn wait(&self, expression: &str) {
        let began = Instant::now();
        while self.run(&format!("return Boolean({expression})")).await != true {
            if began.elapsed() > DEADLINE {
                let text = self.run("return location.href + '\\n' + document.body.innerText").await;
                panic!("never came: {expression}\n{text}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The whole page as PNG.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        use base64::Engine as _;
        let taken = self.devtools("Page.captureScreenshot", json!({ "captureBeyondViewport": true })).await;
        base64::engine::general_purpose::STANDARD.decode(taken["data"].as_str().unwrap()).unwrap()
    }

    /// Errors that the browser noted since the last time: scripts that failed, and what the page's policy forbade.
    pub(crate) async fn errors(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({ "type": "browser" })).await;
        let lines = log.as_array().unwrap().iter();
        let severe =
            lines.filter(|line| line["level"] == "SEVERE").filter_map(|line| line["message"].as_str());
        severe.map(str::to_owned).collect()
    }
}
