//! The service over a real kernel in a temporary directory. Programs that are no instances stand in for the
//! executable where a start has to fail; instances that run are in the end-to-end tests.

mod creating;
mod taken_over;
mod uploading;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cm_crypto::digest::sha256;
use cm_kernel::catalog::kinds::{Confidential, Function};
use cm_kernel::catalog::{Integrity, KindSpec, Limits, NewRecord, Query, Record};
use cm_kernel::policy::{ActionKind, Create, Invoke, List, Permit, Update};
use cm_kernel::{Kernel, KernelConfig, OpContext};
use cm_runtime::{SystemClock, Tasks};
use cm_types::{PageLimit, RequestId, ResourceId, ResourceKind, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    FunctionError, Functions, FunctionsConfig, LauncherConfig, MeasuredExecutable, ModuleCache,
    ProcessLauncher,
};

const PROGRAM: &[u8] = b"\0asm a program";
const DATA: &[u8] = b"1,2,3";

/// A kernel, an administrator, and the service.
pub(crate) struct House {
    dir: tempfile::TempDir,
    pub(crate) kernel: Kernel,
    pub(crate) admin: OpContext,
    functions: Functions,
    tasks: Tasks,
}

fn config(dir: &Path) -> FunctionsConfig {
    FunctionsConfig {
        module_cache_dir: dir.join("modules"),
        module_cache_bytes_max: 1 << 20,
        launcher: LauncherConfig {
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            ports: None,
            instances_max: 1,
            start_timeout: Duration::from_secs(30),
            pool: 0,
        },
        platform: crate::Platform::Process,
        public_host: "127.0.0.1".to_owned(),
        attestation_url: "http://127.0.0.1:1".to_owned(),
        memory_bytes: 64 << 20,
        storage_bytes: 64 << 20,
        run_timeout: Duration::from_secs(10),
        connections: 4,
        lifetime: Duration::from_secs(3600),
        require_isolation: Vec::new(),
    }
}

/// A program of this machine by its name.
fn program(name: &str) -> PathBuf {
    let places = ["/bin", "/usr/bin"].map(|dir| Path::new(dir).join(name));
    places.into_iter().find(|path| path.exists()).expect("every Linux has it")
}

impl House {
    pub(crate) async fn open(executable: &str) -> House {
        Self::open_with(executable, |_| {}).await
    }

    async fn open_with(executable: &str, adjust: impl FnOnce(&mut FunctionsConfig)) -> House {
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
        let mut config = config(dir.path());
        adjust(&mut config);
        let functions = service(&kernel, &tasks, config, executable).await;
        House { dir, kernel, admin, functions, tasks }
    }

    /// The service as a restarted node would open it.
    async fn reopen(&self) -> Functions {
        service(&self.kernel, &self.tasks, config(self.dir.path()), "false").await
    }

    async fn create<S: KindSpec>(&self, id: &str, spec: &S) -> Record {
        let permit = self.kernel.authorize::<Create>(&self.admin, S::KIND).await.unwrap();
        let new = NewRecord::of(id, spec).with_id(ResourceId::parse(id).unwrap());
        self.kernel.create_record(&self.admin, &permit, new).await.unwrap()
    }

    /// A function with this program policy.
    async fn function(&self, id: &str, policy: &Value) -> Record {
        let confidential = Some(Confidential { policy: policy.to_string() });
        self.create(id, &Function { confidential, ..Function::default() }).await
    }

    async fn permit<A: ActionKind>(&self, record: &Record) -> Permit<A> {
        let id = record.header.id.as_str();
        self.kernel.look_up::<A>(&self.admin, record.header.kind, id).await.unwrap().1
    }

    async fn records(&self, kind: ResourceKind) -> Vec<Record> {
        let permit = self.kernel.authorize::<List>(&self.admin, kind).await.unwrap();
        let query = Query { limit: PageLimit::MAX, ..Query::of(kind) };
        self.kernel.list_records(&self.admin, &permit, query).await.unwrap().items
    }

    async fn put(
        &self,
        function: &Record,
        kind: crate::FileKind,
        name: &str,
        bytes: &'static [u8],
    ) -> Result<cm_kernel::objects::ObjectInfo, FunctionError> {
        let permit = self.permit::<Update>(function).await;
        let body = futures::stream::iter([Ok(bytes::Bytes::from_static(bytes))]);
        self.functions.put_file(&self.admin, function, &permit, kind, name, body).await
    }

    async fn instance(&self, function: &Record, user_policy: &Value) -> Result<(), FunctionError> {
        let permit = self.permit::<Invoke>(function).await;
        let created = self
            .functions
            .create_instance(&self.admin, function, &permit, &user_policy.to_string(), crate::Wording::Native)
            .await;
        created.map(drop)
    }
}

async fn service(kernel: &Kernel, tasks: &Tasks, config: FunctionsConfig, executable: &str) -> Functions {
    let executable = MeasuredExecutable::of(&program(executable)).unwrap();
    let cache = ModuleCache::open(&config.module_cache_dir, config.module_cache_bytes_max).unwrap();
    let launcher = Arc::new(ProcessLauncher::new(&config.launcher, executable, tasks));
    Functions::with_launcher(kernel.clone(), tasks, config, launcher, cache).await.unwrap()
}

/// A program policy of one program and one data file.
fn program_policy(function: &str) -> Value {
    json!({
        "function": function, "execution_strategy": "Interpretation",
        "programs": [{
            "id": 0, "pi_hash": sha256(PROGRAM), "program_file_name": "program.wasm",
            "file_rights": [{ "file_name": "input-0", "rights": 8198 }, { "file_name": "output", "rights": 533_572 }],
        }],
        "data_files": [{ "data_file": "table.csv", "pi_hash": sha256(DATA) }],
    })
}

/// A user policy of one identity with these rights.
fn user_policy(function: &str, instance: &str, rights: &[(&str, u32)]) -> Value {
    let now = Timestamp::from(std::time::SystemTime::now());
    let made = cm_crypto::cert::generate_identity("user", now, Duration::from_secs(3600)).unwrap();
    let rights: Vec<Value> =
        rights.iter().map(|(name, rights)| json!({ "file_name": name, "rights": rights })).collect();
    json!({
        "function": function, "instanceid": instance,
        "identities": [{ "certificate": made.certificate_pem(), "file_rights": rights }],
    })
}
