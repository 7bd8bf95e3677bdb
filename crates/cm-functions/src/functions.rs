//! The service that the faces call.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cm_instance::policy::{Certificate, ProgramPolicy};
use cm_kernel::catalog::kinds::Function;
use cm_kernel::catalog::{Dependents, Record};
use cm_kernel::policy::{Delete, Permit};
use cm_kernel::{Kernel, OpContext};
use cm_runtime::Tasks;
use cm_types::{ResourceId, ResourceKind, ResourceRef, Sha256Digest, TenantId};

use crate::files::demand;
use crate::instances::Running;
use crate::launcher::{
    DockerConfig, DockerLauncher, KubernetesConfig, KubernetesLauncher, LaunchError, Launcher, Launches,
    ProcessLauncher,
};
use crate::records::Records;
use crate::{FunctionError, LauncherConfig, MeasuredExecutable, ModuleCache};

/// Settings of confidential functions.
#[derive(Clone, Debug)]
pub struct FunctionsConfig {
    /// Where compiled modules are kept.
    pub module_cache_dir: PathBuf,
    /// Most bytes that they may take.
    pub module_cache_bytes_max: u64,
    /// How instances are started.
    pub launcher: LauncherConfig,
    /// On what they run.
    pub platform: Platform,
    /// The host name or address under which clients reach instances.
    pub public_host: String,
    /// Where evidence is asked for, as it stands in full policies.
    pub attestation_url: String,
    /// Memory of one program, in bytes, where its policy names none.
    pub memory_bytes: u64,
    /// Most bytes of all files of one instance.
    pub storage_bytes: u64,
    /// How long one run may take.
    pub run_timeout: Duration,
    /// Connections to one instance at a time.
    pub connections: u32,
    /// For how long the policy of an instance holds.
    pub lifetime: Duration,
    /// Isolation layers without which no instance may start, by name.
    pub require_isolation: Vec<String>,
}

/// On what instances run.
#[derive(Clone, Debug)]
pub enum Platform {
    /// As processes of the node.
    Process,
    /// As containers.
    Docker(DockerConfig),
    /// As pods.
    Kubernetes(KubernetesConfig),
}

/// Functions and their instances. Clones share everything.
#[derive(Clone)]
pub struct Functions(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) kernel: Kernel,
    pub(crate) records: Records,
    pub(crate) tasks: Tasks,
    pub(crate) config: FunctionsConfig,
    pub(crate) launches: Launches,
    pub(crate) cache: Arc<ModuleCache>,
    pub(crate) node_certificate: Certificate,
    running: Mutex<HashMap<(TenantId, ResourceId), Running>>,
}

impl std::fmt::Debug for Functions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Functions").field("measurement", &self.measurement()).finish_non_exhaustive()
    }
}

impl Functions {
    /// Measures this process's executable, opens the module cache, and marks instances that an earlier
    /// process of the node left behind as failed: their processes died with it.
    pub async fn open(kernel: Kernel, tasks: &Tasks, config: FunctionsConfig) -> Result<Self, FunctionError> {
        let (dir, bytes_max) = (config.module_cache_dir.clone(), config.module_cache_bytes_max);
        let setup = tasks.spawn_blocking("instances-setup", move || {
            let cache = ModuleCache::open(dir, bytes_max)?;
            Ok::<_, std::io::Error>((MeasuredExecutable::of_this_process()?, cache))
        });
        let setup = setup.await.map_err(|_| FunctionError::Draining)?;
        let (executable, cache) = setup.map_err(FunctionError::Setup)?;
        let measurement = executable.measurement();
        let launcher: Arc<dyn Launcher> = match &config.platform {
            Platform::Process => Arc::new(ProcessLauncher::new(&config.launcher, executable, tasks)),
            Platform::Docker(docker) => {
                let launcher = DockerLauncher::new(docker.clone(), measurement, tasks).await;
                Arc::new(launcher.map_err(LaunchError::from)?)
            }
            Platform::Kubernetes(kubernetes) => {
                let launcher = KubernetesLauncher::new(kubernetes.clone(), measurement, tasks).await;
                Arc::new(launcher.map_err(LaunchError::from)?)
            }
        };
        Self::with_launcher(kernel, tasks, config, launcher, cache).await
    }

    /// The same with a launcher and a cache that are there already. What an earlier life of the node left on the
    /// launcher's platform is ended first.
    pub async fn with_launcher(
        kernel: Kernel,
        tasks: &Tasks,
        config: FunctionsConfig,
        launcher: Arc<dyn Launcher>,
        cache: ModuleCache,
    ) -> Result<Self, FunctionError> {
        let swept = launcher.sweep().await?;
        if swept > 0 {
            tracing::warn!(count = swept, "instances of an earlier life ended");
        }
        let LauncherConfig { instances_max, start_timeout, .. } = config.launcher;
        let pem = kernel.keys().ca().certificate_pem();
        let node_certificate = Certificate::parse(pem).map_err(FunctionError::NodeCertificate)?;
        let functions = Self(Arc::new(Inner {
            records: Records::new(kernel.clone()),
            kernel,
            tasks: tasks.clone(),
            launches: Launches::new(launcher, instances_max, start_timeout),
            config,
            cache: Arc::new(cache),
            node_certificate,
            running: Mutex::default(),
        }));
        let op = OpContext::node(tasks.token());
        functions.0.records.prepare(&op).await?;
        functions.0.records.fail_leftovers(&op).await?;
        Ok(functions)
    }

    /// SHA-256 of the executable that every instance of this node runs.
    pub fn measurement(&self) -> Sha256Digest {
        self.0.launches.measurement()
    }

    /// Removes a function and the files that belong to it. The permit is for deleting the function.
    ///
    /// # Errors
    /// Instances stand against it, whether they run or not.
    pub async fn delete_function(
        &self,
        op: &OpContext,
        function: &Record,
        permit: &Permit<Delete>,
    ) -> Result<(), FunctionError> {
        demand(permit.resource(), function)?;
        let id = &function.header.id;
        let gone = self.0.kernel.delete_record(op, permit, id, None, Dependents::Refuse).await?;
        self.forget(op, &gone).await;
        Ok(())
    }

    /// Removes the files of functions that were deleted, among whatever else went with them or took them along. Whoever deletes records
    /// of the caller's tenant says here which went.
    pub async fn forget(&self, op: &OpContext, gone: &[ResourceRef]) {
        for function in gone.iter().filter(|gone| gone.kind == ResourceKind::Function) {
            // Nobody can reach the files any more: what is left of them is space, and no reason to fail.
            if let Err(error) = self.delete_files(op, &op.tenant(), &function.id).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(function = %function.id, error, "files of a deleted function left behind");
            }
        }
    }

    /// How many instances run.
    pub fn running_count(&self) -> usize {
        self.0.running().len()
    }

    /// Asks every instance to end and waits until they have. Call it before the tasks are drained, so
    /// that their ends are still recorded.
    pub async fn drain(&self) {
        self.0.launches.launcher().drain();
        let watched: Vec<_> = self.0.running().drain().map(|(_, running)| running).collect();
        for running in watched {
            running.end().await;
        }
    }
}

impl Inner {
    pub(crate) fn running(&self) -> MutexGuard<'_, HashMap<(TenantId, ResourceId), Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a text is a program policy that instances could be made of. Asked before a function is kept, so that a
/// mistake is found by whoever makes it.
pub fn check_policy(text: &str) -> Result<(), FunctionError> {
    ProgramPolicy::parse(text.as_bytes())?;
    Ok(())
}

/// The program policy of a function.
pub(crate) fn program_policy(function: &Record) -> Result<ProgramPolicy, FunctionError> {
    let spec: Function = function.spec_as().map_err(cm_kernel::KernelError::from)?;
    let confidential = spec.confidential.ok_or(FunctionError::NotConfidential)?;
    Ok(ProgramPolicy::parse(confidential.policy.as_bytes())?)
}
