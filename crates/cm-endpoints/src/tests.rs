//! The service over a real kernel in a temporary directory, with a launcher whose servers do as they are told. Servers
//! that are processes are in the end-to-end tests.

mod deploying;
mod ending;
mod launchers;
mod limits;
mod presence;
mod simulated;

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cm_kernel::catalog::kinds::Endpoint;
use cm_kernel::catalog::{Integrity, KindSpec, Limits, NewRecord, Query, Record};
use cm_kernel::policy::{ActionKind, Create, List, Permit, Read, Update};
use cm_kernel::{DeploymentQuota, Kernel, KernelConfig, OpContext};
use cm_runtime::{SystemClock, Tasks};
use cm_types::{PageLimit, RequestId, ResourceId, ResourceKind, ResourceRef};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{EndpointError, Endpoints, EndpointsConfig};
use simulated::Simulated;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bases of ports that no other test of this process uses.
pub(crate) fn free_bases() -> (u16, u16) {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let place = u16::try_from(std::process::id() % 97).unwrap() * 64;
    let base = 12_000 + (place + NEXT.fetch_add(1, Ordering::Relaxed) * 16) % 9_000;
    (base, base + 9_500)
}

/// A kernel, an administrator, and the service.
struct House {
    _dir: tempfile::TempDir,
    kernel: Kernel,
    admin: OpContext,
    endpoints: Endpoints,
    launcher: Arc<Simulated>,
    config: EndpointsConfig,
    tasks: Tasks,
}

fn config() -> EndpointsConfig {
    let (req_res_base_port, pubsub_base_port) = free_bases();
    EndpointsConfig {
        node: "this-node".to_owned(),
        quota: DeploymentQuota { endpoints_max: 10, cpu_max: None, ram_max: None },
        req_res_base_port,
        pubsub_base_port,
        launches_max: 4,
        launch_timeout: PATIENCE,
        drain_timeout: PATIENCE,
    }
}

impl House {
    async fn open() -> House {
        House::open_with(|_| {}).await
    }

    async fn open_with(adjust: impl FnOnce(&mut EndpointsConfig)) -> House {
        let dir = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let kernel_config = KernelConfig {
            data_dir: dir.path().to_owned(),
            limits: Limits::default(),
            integrity: Integrity::Enforced,
            objects: cm_kernel::objects::Config {
                object_bytes_max: 1 << 20,
                ..cm_kernel::objects::Config::default()
            },
            node_name: "test".into(),
        };
        let kept = Arc::new(Mutex::new(String::new()));
        let keep = kept.clone();
        let kernel = Kernel::open(kernel_config, Arc::new(SystemClock), &tasks, move |key| {
            key.expose().clone_into(&mut keep.lock().unwrap());
            Ok(())
        })
        .await
        .unwrap();
        let key = kept.lock().unwrap().clone();
        let actor = kernel.authenticate(&key).await.unwrap();
        let admin = OpContext::new(actor, RequestId::random(), CancellationToken::new());
        let mut config = config();
        adjust(&mut config);
        let launcher = Arc::new(Simulated::default());
        let endpoints =
            Endpoints::open(kernel.clone(), &tasks, config.clone(), launcher.clone()).await.unwrap();
        House { _dir: dir, kernel, admin, endpoints, launcher, config, tasks }
    }

    async fn create<S: KindSpec>(&self, id: &str, spec: &S) -> Record {
        let permit = self.kernel.authorize::<Create>(&self.admin, S::KIND).await.unwrap();
        let new = NewRecord::of(id, spec).with_id(ResourceId::parse(id).unwrap());
        self.kernel.create_record(&self.admin, &permit, new).await.unwrap()
    }

    async fn create_deployed(&self, id: &str, spec: &Endpoint) -> Result<Record, EndpointError> {
        let permit = self.kernel.authorize::<Create>(&self.admin, ResourceKind::Endpoint).await.unwrap();
        let new = NewRecord::of(id, spec).with_id(ResourceId::parse(id).unwrap());
        self.endpoints.create_deployed(&self.admin, &permit, new, None).await
    }

    async fn deploy(&self, id: &str) -> Result<Record, EndpointError> {
        let (record, permit) = self.look_up::<Update>(id).await;
        self.endpoints.deploy(&self.admin, &record, &permit).await
    }

    async fn detach(&self, id: &str) -> Result<Record, EndpointError> {
        let (record, permit) = self.look_up::<Update>(id).await;
        self.endpoints.detach(&self.admin, &record, &permit).await
    }

    async fn look_up<A: ActionKind>(&self, id: &str) -> (Record, Permit<A>) {
        self.kernel.look_up::<A>(&self.admin, ResourceKind::Endpoint, id).await.unwrap()
    }

    async fn status(&self, id: &str) -> Value {
        self.look_up::<Read>(id).await.0.status
    }

    /// The status of the endpoint once its state is this.
    async fn until(&self, id: &str, state: &str) -> Value {
        let mut head = self.kernel.events().head();
        let waiting = async {
            loop {
                head.borrow_and_update();
                let status = self.status(id).await;
                if status["state"] == state {
                    return status;
                }
                head.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(status) => status,
            Err(_) => panic!("`{id}` did not become {state}: {}", self.status(id).await),
        }
    }

    /// The endpoint's states and what is known of each, oldest first.
    async fn states(&self, id: &str) -> Vec<(String, Value)> {
        let permit = self.kernel.authorize::<List>(&self.admin, ResourceKind::EndpointState).await.unwrap();
        let query = Query {
            referencing: Some(ResourceRef::new(ResourceKind::Endpoint, id)),
            limit: PageLimit::MAX,
            ..Query::of(ResourceKind::EndpointState)
        };
        let page = self.kernel.list_records(&self.admin, &permit, query).await.unwrap();
        let state = |record: Record| {
            let state = record.spec["state"].as_str().unwrap().to_owned();
            (state, record.spec["metadata"].clone())
        };
        page.items.into_iter().map(state).collect()
    }

    async fn state_names(&self, id: &str) -> Vec<String> {
        self.states(id).await.into_iter().map(|(state, _)| state).collect()
    }
}

fn endpoint() -> Endpoint {
    asking(json!({}))
}

/// An endpoint with more in its spec.
fn asking(more: Value) -> Endpoint {
    let mut spec = json!({ "image": "example/endpoint:1" });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}
