//! A node's API in process, and answers taken apart.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::{Router, response::Response};
use bytes::Bytes;
use cm_api::Engines;
use cm_endpoints::{Ended, Endpoints, EndpointsConfig, LaunchError, LaunchSpec, Launched, Launcher, News};
use cm_functions::{Functions, FunctionsConfig, LauncherConfig};
use cm_http::RequestLimits;
use cm_intel::{Intel, IntelConfig};
use cm_kernel::{Access, Actor, DeploymentQuota, Kernel, KernelConfig};
use cm_runtime::{SystemClock, Tasks};
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tower::ServiceExt;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A place where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A node with its API, gone with its directory when dropped.
pub(crate) struct Node {
    router: Router,
    pub(crate) kernel: Kernel,
    pub(crate) admin: String,
    pub(crate) tasks: Tasks,
    pub(crate) launcher: Arc<Servers>,
    _dir: tempfile::TempDir,
}

/// An answer with its whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The entries of a page.
    pub(crate) fn items(&self) -> Vec<Value> {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Where the next page begins, ready for a query.
    pub(crate) fn next(&self) -> Option<&str> {
        self.headers.get("next-cursor").map(|next| next.to_str().unwrap())
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().unwrap()
    }

    /// The error code of a refusal, whose shape is checked on the way.
    pub(crate) fn code(&self) -> String {
        let error = &self.json()["error"];
        assert!(error["message"].is_string() && error["details"].is_object(), "{self:?}");
        assert_eq!(error["request_id"], self.header("x-request-id"));
        error["code"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{text}");
        self
    }
}

impl Node {
    pub(crate) async fn start() -> Node {
        Self::start_with(Access::Credential, NOWHERE).await
    }

    pub(crate) async fn start_open() -> Node {
        Self::start_with(Access::Open(Actor::node()), NOWHERE).await
    }

    /// A node that has choreographies run by this ShieldX.
    pub(crate) async fn start_with_shieldx(url: &str) -> Node {
        Self::start_with(Access::Credential, url).await
    }

    async fn start_with(access: Access, shieldx: &str) -> Node {
        let shieldx = cm_api::ShieldX::new(shieldx).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let config = KernelConfig {
            data_dir: dir.path().to_owned(),
            limits: cm_kernel::catalog::Limits::default(),
            integrity: match access {
                Access::Credential => cm_kernel::catalog::Integrity::Enforced,
                Access::Open(_) => cm_kernel::catalog::Integrity::Open,
            },
            objects: cm_kernel::objects::Config {
                object_bytes_max: 64 << 20,
                ..cm_kernel::objects::Config::default()
            },
            node_name: "test".to_owned(),
        };
        let kept = Arc::new(Mutex::new(String::new()));
        let keep = Arc::clone(&kept);
        let kernel = Kernel::open(config, Arc::new(SystemClock), &tasks, move |key| {
            key.expose().clone_into(&mut keep.lock().unwrap());
            Ok(())
        })
        .await
        .unwrap();
        let functions = functions(&kernel, &tasks, dir.path()).await;
        let (launcher, endpoints) = endpoints(&kernel, &tasks).await;
        let intel = intel(&kernel, &tasks, dir.path()).await;
        let admin = kept.lock().unwrap().clone();
        let (metrics, settings): (cm_api::MetricsText, _) =
            (Arc::new(|| "up 1\n".to_owned()), Arc::new(cm_api::Settings::default()));
        let kept = kernel.clone();
        let computations = computations(&kernel, &tasks, dir.path()).await;
        let api =
            Engines { kernel, functions, endpoints, computations, intel, access, metrics, settings, shieldx };
        let router = cm_api::router(api, RequestLimits::default());
        Node { router, kernel: kept, admin, tasks, launcher, _dir: dir }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: impl Into<Body>,
    ) -> Answer {
        self.ask_with(method, path, token, &[("content-type", "application/json")], body).await
    }

    pub(crate) async fn ask_with(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header(header::HOST, "127.0.0.1:8443");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, body) = self.send(request.body(body.into()).unwrap()).await.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect(path).unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body: body.to_vec() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, Some(&self.admin), Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, Some(&self.admin), body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::PUT, path, Some(&self.admin), body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, Some(&self.admin), Body::empty()).await
    }

    /// Creates a principal with these permissions; returns an API key of it.
    pub(crate) async fn somebody(&self, name: &str, permissions: &[&str]) -> String {
        let role = format!("role-of-{name}");
        let body = json!({ "id": role, "name": role, "permissions": permissions });
        self.post("/api/v1/roles", body).await.expect(201);
        self.post("/api/v1/principals", json!({ "id": name, "roles": [role] })).await.expect(201);
        let path = format!("/api/v1/principals/{name}/api-keys");
        let issued = self.post(&path, json!({ "label": "test" })).await.expect(201);
        issued.json()["key"].as_str().unwrap().to_owned()
    }
}

/// A body that says when it is read, and ends when it is told to. Its reader has passed every check by then that
/// comes before a body.
pub(crate) fn late(text: String) -> (Body, oneshot::Receiver<()>, oneshot::Sender<()>) {
    let (began, has_begun) = oneshot::channel();
    let (finish, may_finish) = oneshot::channel::<()>();
    let chunks = futures::stream::once(async move {
        began.send(()).unwrap();
        may_finish.await.unwrap();
        Ok::<_, std::io::Error>(Bytes::from(text))
    });
    (Body::from_stream(chunks), has_begun, finish)
}

/// A launcher whose servers serve at once and end when they are asked to, unless it is told to fail.
#[derive(Default)]
pub(crate) struct Servers {
    /// Whether servers fail to begin.
    pub(crate) is_failing: AtomicBool,
}

impl Launcher for Servers {
    fn name(&self) -> &'static str {
        "test"
    }

    fn runs_images(&self) -> bool {
        false
    }

    fn launch(&self, spec: LaunchSpec) -> BoxFuture<'_, Result<Box<dyn Launched>, LaunchError>> {
        let failing = self.is_failing.load(Ordering::Relaxed);
        let server = Server { is_asked: watch::Sender::new(false), _spec: spec };
        let launched = if failing {
            Err(LaunchError::Refused("told to fail".to_owned()))
        } else {
            Ok(Box::new(server) as Box<dyn Launched>)
        };
        Box::pin(std::future::ready(launched))
    }
}

/// A server that is no process.
struct Server {
    is_asked: watch::Sender<bool>,
    /// Its ports are taken as long as it is there.
    _spec: LaunchSpec,
}

impl Launched for Server {
    fn tell<'a>(&'a mut self, _: &'a News) -> BoxFuture<'a, Result<(), LaunchError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn drain(&mut self, _: Duration) -> BoxFuture<'_, ()> {
        self.is_asked.send_replace(true);
        Box::pin(std::future::ready(()))
    }

    fn kill(&mut self) {
        self.is_asked.send_replace(true);
    }

    fn ended(&mut self) -> BoxFuture<'_, Ended> {
        let mut asked = self.is_asked.subscribe();
        Box::pin(async move {
            let _ = asked.wait_for(|asked| *asked).await;
            Ended::Exited(0)
        })
    }
}

async fn endpoints(kernel: &Kernel, tasks: &Tasks) -> (Arc<Servers>, Endpoints) {
    let launcher = Arc::new(Servers::default());
    let config = EndpointsConfig {
        node: kernel.node_id().to_string(),
        quota: DeploymentQuota { endpoints_max: 2, cpu_max: None, ram_max: None },
        req_res_base_port: 22_000,
        pubsub_base_port: 27_000,
        launches_max: 2,
        launch_timeout: PATIENCE,
        drain_timeout: PATIENCE,
    };
    (launcher.clone(), Endpoints::open(kernel.clone(), tasks, config, launcher).await.unwrap())
}

async fn computations(kernel: &Kernel, tasks: &Tasks, dir: &Path) -> cm_mpc::Computations {
    let config = cm_mpc::MpcConfig {
        data_dir: dir.to_owned(),
        name: "test".to_owned(),
        peers: Vec::new(),
        run_within: Duration::from_secs(60),
        patience: Duration::from_secs(10),
        runs_max: 4,
        anchor: None,
    };
    let issued = cm_net::Identity::generate(kernel.now()).unwrap();
    let identity = cm_net::Identity::new(&issued).unwrap();
    cm_mpc::Computations::open(kernel.clone(), tasks, config, identity, None).await.unwrap()
}

async fn intel(kernel: &Kernel, tasks: &Tasks, dir: &std::path::Path) -> Intel {
    let issued = cm_intel::Identity::generate(kernel.now()).unwrap();
    let identity = cm_intel::Identity::new(&issued).unwrap();
    let config = IntelConfig { data_dir: dir.to_owned(), own_events: false, ..IntelConfig::default() };
    Intel::open(kernel.clone(), tasks, config, identity).await.unwrap()
}

async fn functions(kernel: &Kernel, tasks: &Tasks, dir: &std::path::Path) -> Functions {
    let launcher = LauncherConfig {
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        ports: None,
        instances_max: 1,
        start_timeout: PATIENCE,
        pool: 0,
    };
    let config = FunctionsConfig {
        module_cache_dir: dir.join("modules"),
        module_cache_bytes_max: 1 << 20,
        launcher,
        platform: cm_functions::Platform::Process,
        public_host: "127.0.0.1".to_owned(),
        attestation_url: "http://127.0.0.1:1".to_owned(),
        memory_bytes: 64 << 20,
        storage_bytes: 64 << 20,
        run_timeout: PATIENCE,
        connections: 4,
        lifetime: Duration::from_secs(3600),
        require_isolation: Vec::new(),
    };
    Functions::open(kernel.clone(), tasks, config).await.unwrap()
}
