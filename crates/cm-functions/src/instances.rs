//! From a function and a user policy to a running instance, and evidence about it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use cm_attest::{Claims, Evidence, EvidenceKind, IsolationLayer, Nonce, ReportData};
use cm_crypto::derive::derive_key;
use cm_crypto::digest::{Sha256, sha256};
use cm_instance::control::{CacheKey, Launch, LaunchFile, LaunchProgram, Limits};
use cm_instance::policy::ProgramPolicy;
use cm_instance::{
    FullPolicy, Infrastructure, PolicyText, Principal, Rights, RightsTable, UserPolicy, merge,
};
use cm_kernel::catalog::kinds::{FunctionState, Instance};
use cm_kernel::catalog::{Dependents, NewRecord, Record};
use cm_kernel::policy::{Delete, Invoke, Permit, RoleFacts};
use cm_kernel::{Actor, ActorFacts, OpContext};
use cm_types::{PrincipalId, ResourceId, Sha256Digest};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::deployment::Deployment;
use crate::files::{demand, files, key};
use crate::functions::{Inner, program_policy};
use crate::launcher::{Artefact, Launched, Place, ProgramFile};
use crate::records::Metadata;
use crate::watch::Watch;
use crate::{FileKind, FunctionError, Functions};

/// Part of the name of a compiled module in the cache: another engine or layout must not find it.
const CACHE_DOMAIN: &[u8] = b"cryptomesh module cache 2";
/// The purpose of the keys that compiled modules are sealed under.
const MODULE_KEY: &str = "cryptomesh/instance-modules/v1";

/// A running instance, as its creator sees it.
#[derive(Clone, Debug)]
pub struct InstanceView {
    /// The instance.
    pub id: ResourceId,
    /// Its record.
    pub record: Record,
    /// The exact text of the full policy that it obeys.
    pub policy_text: String,
    /// SHA-256 of that text.
    pub policy_hash: Sha256Digest,
    /// Where it listens, as `host:port`.
    pub address: String,
    /// SHA-256 of the executable that it runs.
    pub measurement: Sha256Digest,
    /// The layers of isolation around it, and why some do not stand.
    pub isolation: Vec<IsolationLayer>,
}

/// What the node knows about a process that runs.
pub(crate) struct Running {
    pub(crate) view: InstanceView,
    pub(crate) spki_der: Vec<u8>,
    /// Cancelled to end the instance.
    pub(crate) stop: CancellationToken,
    /// True once its process is gone and its record says so.
    pub(crate) gone: watch::Receiver<bool>,
}

impl Running {
    /// Asks the instance to end and waits until it has.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        // An error means that the watch itself is gone, and with it the process.
        let _ = self.gone.wait_for(|gone| *gone).await;
    }
}

/// What an instance is going to be made of.
struct Plan {
    function: Record,
    policy: ProgramPolicy,
    user: UserPolicy,
    user_text: String,
    id: ResourceId,
}

impl Functions {
    /// Starts an instance of a function under a user policy (its JSON text). Returns when it is ready.
    ///
    /// The work goes on when the caller stops waiting. On any failure nothing is left: no process, no port,
    /// no record.
    pub async fn create_instance(
        &self,
        op: &OpContext,
        function: &Record,
        permit: &Permit<Invoke>,
        user_policy: &str,
    ) -> Result<InstanceView, FunctionError> {
        demand(permit.resource(), function)?;
        let user = UserPolicy::parse(user_policy.as_bytes())?;
        let plan = Plan {
            policy: program_policy(function)?,
            function: function.clone(),
            id: ResourceId::parse(user.instanceid.clone())?,
            user,
            user_text: user_policy.to_owned(),
        };
        let (this, permit) = (self.clone(), permit.clone());
        let op = OpContext { cancel: self.0.tasks.token(), ..op.clone() };
        let work = self.0.tasks.spawn("instance-create", async move { this.create(op, plan, permit).await });
        work.await.map_err(|_| FunctionError::Draining)?
    }

    async fn create(
        &self,
        op: OpContext,
        plan: Plan,
        permit: Permit<Invoke>,
    ) -> Result<InstanceView, FunctionError> {
        let inner = &self.0;
        let node = node_beside(&op, &plan.function);
        let place = inner.launcher.reserve()?;
        let full = merge(&plan.policy, &plan.user, &self.infrastructure(&place))?;
        let text = full.to_text();
        let spec = Instance {
            function: plan.function.header.id.clone(),
            user_policy: Some(plan.user_text.clone()),
            limits: Default::default(),
            lifetime_seconds: None,
            security_policy: None,
        };
        let status = json!({ "state": "starting", "node": inner.kernel.node_id().as_str() });
        let new = NewRecord { status, ..NewRecord::of(plan.id.as_str(), &spec).with_id(plan.id.clone()) };
        let record = inner.records.create(&op, new).await?;
        let state = |state: &str, metadata: Metadata| FunctionState {
            function_id: plan.function.header.id.clone(),
            instance_id: Some(plan.id.clone()),
            state: state.to_owned(),
            metadata,
        };
        let started = async {
            inner.records.append_state(&op, &permit, state("initiated", Metadata::new())).await?;
            inner.records.append_state(&op, &permit, state("deploying", Metadata::new())).await?;
            inner.records.set_deployment(&node, &plan.function.header.id, &[Deployment::Deploying]).await?;
            let launched = self.launch(&op, &plan, place, &full, &text).await?;
            let view = self.view(&plan, record, &text, &full, &launched);
            inner
                .records
                .set_status(&op, &plan.id, ready_status(&view, inner.kernel.node_id().as_str()))
                .await?;
            // Another instance may have failed in between.
            let steps = [Deployment::Deploying, Deployment::Completed];
            inner.records.set_deployment(&node, &plan.function.header.id, &steps).await?;
            Ok::<_, FunctionError>((launched, view))
        };
        match started.await {
            Ok((launched, view)) => {
                self.watch(op, permit, &plan, launched, view.clone());
                Ok(view)
            }
            Err(error) => {
                let reason = error.to_string();
                let metadata = Metadata::from([("reason".to_owned(), reason.clone())]);
                let undone = async {
                    inner.records.append_end(&op, &permit, state("failed", metadata)).await?;
                    inner.records.delete(&op, &plan.id).await?;
                    let failed = [Deployment::Failed { reason: &reason }];
                    inner.records.set_deployment(&node, &plan.function.header.id, &failed).await
                };
                if let Err(undo) = undone.await {
                    let undo = &undo as &dyn std::error::Error;
                    tracing::error!(instance = %plan.id, error = undo, "failed instance not undone");
                }
                Err(error)
            }
        }
    }

    fn infrastructure(&self, place: &Place) -> Infrastructure {
        let inner = &self.0;
        let host = &inner.config.public_host;
        let port = place.address().port();
        let server_url = match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            _ => format!("{host}:{port}"),
        };
        Infrastructure {
            server_url,
            measurement: inner.launcher.measurement(),
            node_certificate: inner.node_certificate.clone(),
            attestation_url: inner.config.attestation_url.clone(),
            expiry: inner.kernel.now().after(inner.config.lifetime),
            enable_clock: false,
            max_memory_mib: u32::try_from(inner.config.memory_bytes >> 20).unwrap_or(u32::MAX).max(1),
        }
    }

    async fn launch(
        &self,
        op: &OpContext,
        plan: &Plan,
        place: Place,
        full: &FullPolicy,
        text: &PolicyText,
    ) -> Result<Launched, FunctionError> {
        let inner = &self.0;
        let node = self.node_op(op);
        let table = RightsTable::from_policy(full);
        let (mut launch_programs, mut programs) = (Vec::new(), Vec::new());
        for (name, expected) in files(&plan.policy, FileKind::Program) {
            let object = key(&plan.function, FileKind::Program, name.path());
            let Some(wasm) = inner.records.load_object(&node, &object, expected).await? else {
                self.demand_provider(full, &table, name.path())?;
                continue;
            };
            let artefact = self.cached(full, expected).await?;
            launch_programs.push(LaunchProgram { path: name.path().clone(), artefact: artefact.is_some() });
            programs.push(ProgramFile { wasm, artefact });
        }
        let (mut launch_files, mut data_files) = (Vec::new(), Vec::new());
        for (name, expected) in files(&plan.policy, FileKind::DataFile) {
            let object = key(&plan.function, FileKind::DataFile, name.path());
            let Some(bytes) = inner.records.load_object(&node, &object, expected).await? else {
                self.demand_provider(full, &table, name.path())?;
                continue;
            };
            launch_files.push(LaunchFile { path: name.path().clone() });
            data_files.push(bytes);
        }
        let launch = Launch {
            policy_text: text.clone(),
            limits: inner.limits(full),
            module_cache_key: self.module_key(full),
            programs: launch_programs,
            data_files: launch_files,
            require_isolation: inner.config.require_isolation.clone(),
        };
        let mut launched = inner.launcher.launch(place, launch, &programs, &data_files).await?;
        let artefacts = std::mem::take(&mut launched.artefacts);
        let sent: Vec<Sha256Digest> = programs.iter().map(|program| sha256(&program.wasm)).collect();
        self.keep(full, artefacts.into_iter().filter(|kept| sent.contains(&kept.wasm_sha256)).collect());
        Ok(launched)
    }

    /// A file that was not uploaded must be in reach of somebody who can provide it.
    fn demand_provider(
        &self,
        full: &FullPolicy,
        table: &RightsTable,
        path: &cm_instance::GuestPath,
    ) -> Result<(), FunctionError> {
        let writes = |identity: &cm_instance::policy::Identity| {
            table.rights(&Principal::Identity(identity.id), path).contains(Rights::FD_WRITE)
        };
        if full.identities.iter().any(writes) {
            Ok(())
        } else {
            Err(FunctionError::MissingFile(path.to_string()))
        }
    }

    /// What the cache has of a program, under everything that decides what its compilation yields.
    async fn cached(
        &self,
        full: &FullPolicy,
        program: Sha256Digest,
    ) -> Result<Option<Vec<u8>>, FunctionError> {
        let (cache, name) = (self.0.cache.clone(), self.cache_name(full, program));
        let reading = self.0.tasks.spawn_blocking("module-cache-read", move || cache.get(&name));
        reading.await.map_err(|_| FunctionError::Draining)
    }

    fn keep(&self, full: &FullPolicy, artefacts: Vec<Artefact>) {
        if artefacts.is_empty() {
            return;
        }
        let named: Vec<_> =
            artefacts.into_iter().map(|a| (self.cache_name(full, a.wasm_sha256), a.sealed)).collect();
        let cache = self.0.cache.clone();
        self.0.tasks.spawn_blocking("module-cache-write", move || {
            for (name, sealed) in named {
                if let Err(error) = cache.put(&name, &sealed) {
                    tracing::warn!(module = %name, %error, "compiled module not cached");
                }
            }
        });
    }

    pub(crate) fn cache_name(&self, full: &FullPolicy, program: Sha256Digest) -> Sha256Digest {
        let mut name = Sha256::new();
        name.update_field(CACHE_DOMAIN);
        name.update_field(self.measurement().as_bytes());
        name.update_field(full.execution_strategy.as_str().as_bytes());
        name.update_field(company(full).as_bytes());
        name.update_field(program.as_bytes());
        name.finish()
    }

    /// The key of an instance's compiled modules. Instances get the same key only if they run the same programs: one
    /// that a program broke out of could forge modules for its like, and for nobody else.
    pub(crate) fn module_key(&self, full: &FullPolicy) -> CacheKey {
        let sealing = self.0.kernel.keys().sealing_key();
        let key = derive_key(sealing.expose(), &format!("{MODULE_KEY}/{}", company(full)));
        CacheKey::from_bytes(*key.expose())
    }

    fn view(
        &self,
        plan: &Plan,
        record: Record,
        text: &PolicyText,
        full: &FullPolicy,
        launched: &Launched,
    ) -> InstanceView {
        let layers = launched.ready.isolation.iter().map(|layer| IsolationLayer {
            name: layer.name.clone(),
            active: layer.active,
            reason: layer.reason.clone(),
        });
        InstanceView {
            id: plan.id.clone(),
            record,
            policy_text: text.as_str().to_owned(),
            policy_hash: text.hash(),
            address: full.veracruz_server_url.clone(),
            measurement: self.measurement(),
            isolation: layers.collect(),
        }
    }

    fn watch(
        &self,
        op: OpContext,
        permit: Permit<Invoke>,
        plan: &Plan,
        launched: Launched,
        view: InstanceView,
    ) {
        let (tell, gone) = watch::channel(false);
        let stop = self.0.tasks.token().child_token();
        let running = Running { view, spki_der: launched.ready.tls_spki_der, stop: stop.clone(), gone };
        let name = (plan.function.header.tenant.clone(), plan.id.clone());
        self.0.running().insert(name.clone(), running);
        let watch = Watch {
            functions: self.clone(),
            op,
            permit,
            function: plan.function.header.id.clone(),
            name,
            instance: launched.instance,
            stop,
            tell,
        };
        self.0.tasks.spawn("instance-watch", watch.run());
    }

    /// A running instance. Whether the caller may know of it was decided when its record was looked up.
    ///
    /// # Errors
    /// [`FunctionError::NotRunning`] if its process is gone.
    pub fn instance(&self, record: &Record) -> Result<InstanceView, FunctionError> {
        self.with_running(record, |running| running.view.clone())
    }

    /// Signs evidence about a running instance for a client's nonce. The permit is for using the instance.
    pub fn evidence(
        &self,
        record: &Record,
        permit: &Permit<Invoke>,
        nonce: &Nonce,
    ) -> Result<Evidence, FunctionError> {
        demand(permit.resource(), record)?;
        let inner = &self.0;
        let claims = self.with_running(record, |running| Claims {
            kind: EvidenceKind::InsecureSoftware,
            measurement: running.view.measurement,
            report_data: ReportData::bind(&running.spki_der, &running.view.policy_hash, nonce),
            policy_hash: running.view.policy_hash,
            tls_spki_sha256: sha256(&running.spki_der),
            nonce: nonce.clone(),
            isolation: running.view.isolation.clone(),
            issued_at: inner.kernel.now(),
            node: inner.kernel.config().node_name.clone(),
        })?;
        Ok(cm_attest::issue(inner.kernel.keys().signing(), &claims))
    }

    /// Ends an instance and removes its record. The permit is for deleting the instance.
    pub async fn delete_instance(
        &self,
        op: &OpContext,
        record: &Record,
        permit: &Permit<Delete>,
    ) -> Result<(), FunctionError> {
        demand(permit.resource(), record)?;
        let name = (record.header.tenant.clone(), record.header.id.clone());
        let running = self.0.running().remove(&name);
        if let Some(running) = running {
            running.end().await;
        }
        self.0.kernel.delete_record(op, permit, &record.header.id, None, Dependents::Refuse).await?;
        Ok(())
    }

    fn with_running<T>(&self, record: &Record, read: impl FnOnce(&Running) -> T) -> Result<T, FunctionError> {
        let name = (record.header.tenant.clone(), record.header.id.clone());
        let running = self.0.running();
        running.get(&name).map(read).ok_or(FunctionError::NotRunning(name.1))
    }
}

/// The node itself, within the tenant of the function: what the platform finds is not written with the caller's rights.
fn node_beside(op: &OpContext, function: &Record) -> OpContext {
    let facts = ActorFacts {
        principal: PrincipalId::node(),
        tenant: function.header.tenant.clone(),
        roles: vec![RoleFacts::administrator()],
    };
    OpContext { actor: Actor::Node(Arc::new(facts)), ..op.clone() }
}

/// Which programs run together, as one digest.
fn company(full: &FullPolicy) -> Sha256Digest {
    let programs = full.programs.iter();
    let hashes: BTreeSet<Sha256Digest> =
        programs.filter_map(|program| full.expected_hash(program.program_file_name.path())).collect();
    let mut company = Sha256::new();
    for hash in hashes {
        company.update_field(hash.as_bytes());
    }
    company.finish()
}

impl Inner {
    fn limits(&self, full: &FullPolicy) -> Limits {
        Limits {
            memory_bytes: full.memory_bytes(),
            wall_ms: u64::try_from(self.config.run_timeout.as_millis()).unwrap_or(u64::MAX),
            storage_bytes: self.config.storage_bytes,
            file_bytes: self.config.storage_bytes,
            connections: self.config.connections,
        }
    }
}

/// Where the instance is, by whom it runs, and what isolates it.
fn ready_status(view: &InstanceView, node: &str) -> Value {
    let layers: Vec<Value> = view
        .isolation
        .iter()
        .map(|layer| json!({ "name": layer.name, "active": layer.active, "reason": layer.reason }))
        .collect();
    json!({
        "state": "ready",
        "node": node,
        "address": view.address,
        "policy_hash": view.policy_hash,
        "measurement": view.measurement,
        "evidence": EvidenceKind::InsecureSoftware.as_str(),
        "isolation": layers,
    })
}
