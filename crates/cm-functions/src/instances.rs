//! Instances: what they are launched with, what runs, evidence about it, and its end.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cm_attest::{Claims, Evidence, EvidenceKind, IsolationLayer, Nonce, ReportData};
use cm_crypto::derive::derive_key;
use cm_crypto::digest::{Sha256, sha256};
use cm_instance::control::{CacheKey, Launch, LaunchFile, LaunchProgram, Limits};
use cm_instance::{FileName, FullPolicy, Infrastructure, Principal, Rights, RightsTable};
use cm_kernel::OpContext;
use cm_kernel::catalog::{Dependents, Record};
use cm_kernel::policy::{Delete, Invoke, Permit};
use cm_types::{ResourceId, Sha256Digest};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::certifier::Certifier;
use crate::creation::{Launching, Of, Plan, node_within};
use crate::files::{demand, files, key};
use crate::functions::Inner;
use crate::launcher::{Artefact, Launched, Order, ProgramFile, Reserved};
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

impl Functions {
    pub(crate) fn infrastructure(&self, place: &Reserved) -> Infrastructure {
        let inner = &self.0;
        let host = place.host().unwrap_or(&inner.config.public_host);
        let port = place.port();
        let server_url = match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            _ => format!("{host}:{port}"),
        };
        Infrastructure {
            server_url,
            measurement: inner.launches.measurement(),
            node_certificate: inner.node_certificate.clone(),
            attestation_url: inner.config.attestation_url.clone(),
            expiry: inner.kernel.now().after(inner.config.lifetime),
            enable_clock: false,
            max_memory_mib: u32::try_from(inner.config.memory_bytes >> 20).unwrap_or(u32::MAX).max(1),
        }
    }

    /// Starts the instance in a place. It serves once `recorded` is true.
    pub(crate) async fn launch(
        &self,
        launching: &Launching<'_>,
        place: Reserved,
        recorded: watch::Receiver<bool>,
    ) -> Result<Launched, FunctionError> {
        let Launching { op, plan, full, text } = *launching;
        let inner = &self.0;
        let node = self.node_op(op);
        let table = RightsTable::from_policy(full);
        let (mut launch_programs, mut programs) = (Vec::new(), Vec::new());
        for (of, name, expected) in files_of(plan, FileKind::Program) {
            let object = key(&of.record, FileKind::Program, name.path());
            let Some(wasm) = inner.records.load_object(&node, &object, expected).await? else {
                self.demand_provider(full, &table, name.path())?;
                continue;
            };
            let artefact = self.cached(full, expected).await?;
            launch_programs.push(LaunchProgram { path: name.path().clone(), artefact: artefact.is_some() });
            programs.push(ProgramFile { wasm, sha256: expected, artefact });
        }
        let (mut launch_files, mut data_files) = (Vec::new(), Vec::new());
        for (of, name, expected) in files_of(plan, FileKind::DataFile) {
            let object = key(&of.record, FileKind::DataFile, name.path());
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
        let order = Order {
            instance: plan.id.to_string(),
            policy_text: text.as_str().to_owned(),
            policy_hash: text.hash(),
            memory_bytes: launch.limits.memory_bytes,
            storage_bytes: launch.limits.storage_bytes,
        };
        let certifier =
            Certifier::new(inner.kernel.clone(), full, text, inner.launches.measurement(), recorded);
        let launching = inner.launches.launch(place, &order, launch, &programs, &data_files, &certifier);
        let mut launched = launching.await?;
        let artefacts = std::mem::take(&mut launched.artefacts);
        self.keep(full, artefacts);
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

    /// A running instance. Whether the caller may know of it was decided when its record was looked up.
    ///
    /// # Errors
    /// [`FunctionError::NotRunning`] if its process is gone.
    pub fn instance(&self, record: &Record) -> Result<InstanceView, FunctionError> {
        self.with_running(record, |running| running.view.clone())
    }

    /// Whether an instance of the caller's tenant runs under exactly the policy text with this hash, on any node of the catalogue. Then
    /// a node wrote the address in it. Asked for the platform, so it tells nothing of whether the caller may see the instance.
    pub async fn is_running_under(
        &self,
        op: &OpContext,
        policy_hash: &Sha256Digest,
    ) -> Result<bool, FunctionError> {
        Ok(self.0.records.is_running_under(&node_within(op, op.tenant()), policy_hash).await?)
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

/// The files of a kind that the node hands to an instance: those of its function.
fn files_of(plan: &Plan, kind: FileKind) -> impl Iterator<Item = (&Of, FileName, Sha256Digest)> {
    plan.function()
        .into_iter()
        .flat_map(move |of| files(&of.policy, kind).into_iter().map(move |(name, hash)| (of, name, hash)))
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
