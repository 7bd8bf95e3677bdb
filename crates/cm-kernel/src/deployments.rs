//! What is deployed: begun, counted and ended in one transaction with the endpoint's record and its history.
//!
//! A row per deployed endpoint says on which node it is, under which ports, and what it was counted as. Limits are sums
//! over those rows, so that their cost grows with what is deployed and not with what is declared, and ten requests at a
//! time get no more than one after another would. The row is there exactly while the record's state is `warming`,
//! `warm` or `draining`: nobody else writes that state, and a record whose endpoint is deployed is not removed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cm_catalog::kinds::{Endpoint, EndpointState};
use cm_catalog::lifecycle::{ENDPOINT_COLD, following};
use cm_catalog::{Catalog, CatalogError, NewRecord, Occasion, Record, guard};
use cm_db::{DbError, KeyPrefix, ReadTx, Row, Table, WriteTx};
use cm_policy::{ActionKind, Create, Invoke, Permit, RoleFacts, Subject, Update, decide};
use cm_types::{PrincipalId, ResourceId, ResourceKind, ResourceRef, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::idempotency::IdempotencyKey;
use crate::records::target_of;
use crate::{Kernel, KernelError, OpContext, leases};

/// The tables of this module, for the schema.
pub(crate) const TABLES: &[&str] = &[Deployments::NAME];
/// When to try again at a limit: somebody has to detach an endpoint first.
pub(crate) const QUOTA_RETRY_AFTER: Duration = Duration::from_secs(10);
/// Rows read at a time.
const BATCH: usize = 256;
/// The state of an endpoint whose deployment has begun.
const WARMING: &str = "warming";

struct Deployments;

impl Table for Deployments {
    const NAME: &'static str = "endpoint_deployments";
    type Key = (TenantId, ResourceId);
    type Row = DeploymentRow;
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DeploymentRow {
    /// Tells this deployment from a later one of the same endpoint.
    run: ResourceId,
    node: String,
    req_res_port: u16,
    pubsub_port: u16,
    cpu: u32,
    ram: u64,
}

impl Row for DeploymentRow {}

/// How much of its endpoints a tenant may have deployed at a time. `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeploymentQuota {
    /// Endpoints.
    pub endpoints_max: u32,
    /// CPU cores, summed over the endpoints that ask for some.
    pub cpu_max: Option<u64>,
    /// Bytes of memory, likewise.
    pub ram_max: Option<u64>,
}

/// What a deployment is begun with.
#[derive(Clone, Debug)]
pub struct DeploymentTerms {
    /// The node that deploys, by what never changes about it.
    pub node: String,
    /// The port for requests and responses.
    pub req_res_port: u16,
    /// The port for published messages.
    pub pubsub_port: u16,
    /// What else the first state says.
    pub facts: BTreeMap<String, String>,
    /// What the tenant may have.
    pub quota: DeploymentQuota,
}

/// One deployment of an endpoint. Whoever has it began it, or is the node that it takes place on, and may say how it goes
/// on: it is the proof that [`Kernel::advance_deployment`] asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    tenant: TenantId,
    endpoint: ResourceId,
    row: DeploymentRow,
}

impl Deployment {
    fn key(&self) -> (TenantId, ResourceId) {
        (self.tenant.clone(), self.endpoint.clone())
    }

    /// The tenant of the endpoint.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &ResourceId {
        &self.endpoint
    }

    /// The node on which it takes place.
    pub fn node(&self) -> &str {
        &self.row.node
    }

    /// The port for requests and responses, and the one for published messages.
    pub fn ports(&self) -> (u16, u16) {
        (self.row.req_res_port, self.row.pubsub_port)
    }
}

/// Where a deployment goes on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeploymentStep {
    /// It serves.
    Warm,
    /// It takes nothing new.
    Draining,
    /// It is over.
    Cold,
}

impl DeploymentStep {
    /// The state of the endpoint from then on.
    pub fn state(self) -> &'static str {
        match self {
            DeploymentStep::Warm => "warm",
            DeploymentStep::Draining => "draining",
            DeploymentStep::Cold => ENDPOINT_COLD,
        }
    }
}

/// A limit of what a tenant may have deployed at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaKind {
    /// Endpoints.
    Endpoints,
    /// CPU cores.
    Cpu,
    /// Bytes of memory.
    Ram,
}

impl QuotaKind {
    /// The setting of the node that says how much.
    pub fn setting(self) -> &'static str {
        match self {
            QuotaKind::Endpoints => "endpoints.deployed_max",
            QuotaKind::Cpu => "endpoints.cpu_max",
            QuotaKind::Ram => "endpoints.ram_max",
        }
    }
}

impl std::fmt::Display for QuotaKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            QuotaKind::Endpoints => "deployed endpoints",
            QuotaKind::Cpu => "CPU cores of deployed endpoints",
            QuotaKind::Ram => "bytes of memory of deployed endpoints",
        })
    }
}

impl Kernel {
    /// Creates an endpoint and begins its deployment, both or neither.
    ///
    /// # Errors
    /// As [`Kernel::create_record`]; [`KernelError::QuotaReached`]; [`CatalogError::Exists`] if something was created
    /// under the key already, see [`Kernel::created_under`].
    pub async fn create_deployed(
        &self,
        op: &OpContext,
        permit: &Permit<Create>,
        new: NewRecord,
        key: Option<IdempotencyKey>,
        terms: DeploymentTerms,
    ) -> Result<(Record, Deployment), KernelError> {
        self.demand_creation(op, permit, &new).await?;
        let (within, permit) = (self.within(op), permit.clone());
        self.db()
            .write(move |tx| {
                if let Some(key) = &key
                    && let Some(found) = key.find(tx, &within, new.kind)?
                {
                    return Err(CatalogError::Exists(found.resource()).into());
                }
                let record = within.create(tx, &permit, new)?;
                if let Some(key) = &key {
                    key.remember(tx, &within, &record)?;
                }
                // One moment: nothing is changed before it was created.
                begin(tx, &within.catalog, record, terms, &within.occasion)
            })
            .await
    }

    /// Begins the deployment of an endpoint that is cold.
    ///
    /// # Errors
    /// [`CatalogError::IllegalTransition`] from any other state; [`KernelError::QuotaReached`].
    pub async fn begin_deployment(
        &self,
        op: &OpContext,
        permit: &Permit<Update>,
        id: &ResourceId,
        terms: DeploymentTerms,
    ) -> Result<(Record, Deployment), KernelError> {
        let (catalog, permit, id) = (self.catalog().clone(), permit.clone(), id.clone());
        let occasion = self.occasion(op);
        self.db()
            .write(move |tx| {
                let wanted = ResourceRef::new(ResourceKind::Endpoint, id.as_str());
                if !permit.covers(permit.tenant(), ResourceKind::Endpoint, id.as_str()) {
                    return Err(CatalogError::PermitMismatch { wanted }.into());
                }
                let record = catalog.get(tx, permit.tenant(), ResourceKind::Endpoint, &id)?;
                let record = record.ok_or(CatalogError::NotFound(wanted))?;
                begin(tx, &catalog, record, terms, &occasion)
            })
            .await
    }

    /// Says how a deployment goes on, in the endpoint's status and in its history. `None` if its record is gone.
    ///
    /// # Errors
    /// [`KernelError::NotDeployed`] if it is over already; [`CatalogError::IllegalTransition`].
    pub async fn advance_deployment(
        &self,
        op: &OpContext,
        deployment: &Deployment,
        step: DeploymentStep,
        facts: BTreeMap<String, String>,
    ) -> Result<Option<Record>, KernelError> {
        let (catalog, deployment, occasion) = (self.catalog().clone(), deployment.clone(), self.occasion(op));
        self.db().write(move |tx| advance(tx, &catalog, &deployment, step, facts, &occasion)).await
    }

    /// Ends in its record what a node deployed that holds this lease no longer; whether it did. A node that took the lease
    /// up to the moment of the change keeps what it has.
    ///
    /// # Errors
    /// As [`Kernel::advance_deployment`].
    pub async fn end_abandoned_deployment(
        &self,
        op: &OpContext,
        deployment: &Deployment,
        lease: &str,
        facts: BTreeMap<String, String>,
    ) -> Result<bool, KernelError> {
        let (catalog, deployment, occasion) = (self.catalog().clone(), deployment.clone(), self.occasion(op));
        let lease = lease.to_owned();
        self.db()
            .write(move |tx| {
                if leases::is_held(tx, &lease, occasion.at)? {
                    return Ok(false);
                }
                advance(tx, &catalog, &deployment, DeploymentStep::Cold, facts, &occasion)?;
                Ok(true)
            })
            .await
    }

    /// What is deployed by a node, whoever's it is.
    pub async fn deployments_on(&self, node: &str) -> Result<Vec<Deployment>, KernelError> {
        let node = node.to_owned();
        self.db()
            .read(move |tx| {
                let mut all = deployments(tx, &KeyPrefix::new())?;
                all.retain(|deployment| deployment.row.node == node);
                Ok(all)
            })
            .await
    }

    /// The nodes that have something deployed.
    pub async fn deploying_nodes(&self) -> Result<BTreeSet<String>, KernelError> {
        let nodes = |all: Vec<Deployment>| all.into_iter().map(|deployment| deployment.row.node).collect();
        self.db().read(move |tx| Ok(nodes(deployments(tx, &KeyPrefix::new())?))).await
    }

    /// The deployment of an endpoint, if it is deployed.
    pub async fn deployment_of(&self, endpoint: &Record) -> Result<Option<Deployment>, KernelError> {
        let (tenant, endpoint) = (endpoint.header.tenant.clone(), endpoint.header.id.clone());
        self.db()
            .read(move |tx| {
                let row = tx.get::<Deployments>(&(tenant.clone(), endpoint.clone()))?;
                Ok(row.map(|row| Deployment { tenant, endpoint, row }))
            })
            .await
    }
}

fn deployments(tx: &ReadTx<'_>, prefix: &KeyPrefix) -> Result<Vec<Deployment>, DbError> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let rows = tx.prefix::<Deployments>(prefix, after.as_ref(), BATCH)?;
        let is_last = rows.len() < BATCH;
        after = rows.last().map(|(key, _)| key.clone());
        let found = rows.into_iter();
        all.extend(found.map(|((tenant, endpoint), row)| Deployment { tenant, endpoint, row }));
        if is_last {
            return Ok(all);
        }
    }
}

fn begin(
    tx: &mut WriteTx<'_>,
    catalog: &Catalog,
    record: Record,
    terms: DeploymentTerms,
    occasion: &Occasion,
) -> Result<(Record, Deployment), KernelError> {
    let from = state_of(&record);
    if from != ENDPOINT_COLD {
        let permitted = following(ResourceKind::Endpoint, &from).unwrap_or_default();
        let (of, to) = (record.resource(), WARMING.to_owned());
        return Err(CatalogError::IllegalTransition { of, from, to, permitted }.into());
    }
    let resources = record.spec_as::<Endpoint>()?.resources;
    let DeploymentTerms { node, req_res_port, pubsub_port, mut facts, quota } = terms;
    let row = DeploymentRow {
        run: ResourceId::random(),
        node,
        req_res_port,
        pubsub_port,
        cpu: resources.as_ref().map_or(0, |resources| resources.cpu),
        ram: resources.as_ref().map_or(0, |resources| resources.ram.bytes()),
    };
    let deployment =
        Deployment { tenant: record.header.tenant.clone(), endpoint: record.header.id.clone(), row };
    check_quota(tx, &deployment, &quota)?;
    tx.insert::<Deployments>(&deployment.key(), &deployment.row)?;
    facts.insert("req_res_port".to_owned(), req_res_port.to_string());
    facts.insert("pubsub_port".to_owned(), pubsub_port.to_string());
    let record = tell(tx, catalog, &record, &deployment, WARMING, facts, occasion)?;
    Ok((record, deployment))
}

fn advance(
    tx: &mut WriteTx<'_>,
    catalog: &Catalog,
    deployment: &Deployment,
    step: DeploymentStep,
    facts: BTreeMap<String, String>,
    occasion: &Occasion,
) -> Result<Option<Record>, KernelError> {
    let of = ResourceRef::new(ResourceKind::Endpoint, deployment.endpoint.as_str());
    let row = tx.get::<Deployments>(&deployment.key())?;
    if row.is_none_or(|row| row.run != deployment.row.run) {
        return Err(KernelError::NotDeployed(of));
    }
    if step == DeploymentStep::Cold {
        tx.delete::<Deployments>(&deployment.key())?;
    }
    let record = catalog.get(tx, &deployment.tenant, ResourceKind::Endpoint, &deployment.endpoint)?;
    let Some(record) = record else { return Ok(None) };
    tell(tx, catalog, &record, deployment, step.state(), facts, occasion).map(Some)
}

/// Writes what became of the endpoint into its status, beside what else stands there, and into its history.
fn tell(
    tx: &mut WriteTx<'_>,
    catalog: &Catalog,
    record: &Record,
    deployment: &Deployment,
    state: &str,
    facts: BTreeMap<String, String>,
    occasion: &Occasion,
) -> Result<Record, KernelError> {
    let id = &record.header.id;
    let status = status_of(record, deployment, state, &facts, occasion);
    let (update, invoke) = (node_permit::<Update>(tx, record)?, node_permit::<Invoke>(tx, record)?);
    let after = catalog.set_status(tx, &update, id, None, status, occasion)?;
    let moment = EndpointState { endpoint_id: id.clone(), state: state.to_owned(), metadata: facts };
    // The platform writes it, and it belongs to whom the endpoint belongs to.
    let new = NewRecord { owner: Some(record.header.owner.clone()), ..NewRecord::of(state, &moment) };
    catalog.append_history(tx, &invoke, new, occasion)?;
    Ok(after)
}

fn status_of(
    record: &Record,
    deployment: &Deployment,
    state: &str,
    facts: &BTreeMap<String, String>,
    occasion: &Occasion,
) -> Value {
    let mut status = record.status.as_object().cloned().unwrap_or_default();
    let mut set = |name: &str, value: Option<Value>| match value {
        Some(value) => drop(status.insert(name.to_owned(), value)),
        None => drop(status.remove(name)),
    };
    let is_deployed = state != ENDPOINT_COLD;
    let (req_res, pubsub) = deployment.ports();
    set("state", Some(state.into()));
    set("since", Some(occasion.at.to_string().into()));
    set("node", Some(deployment.node().into()));
    set("req_res_port", is_deployed.then(|| req_res.into()));
    set("pubsub_port", is_deployed.then(|| pubsub.into()));
    set("reason", facts.get("reason").map(|reason| reason.as_str().into()));
    if let Some(launcher) = facts.get("launcher") {
        set("launcher", Some(launcher.as_str().into()));
    }
    Value::Object(status)
}

fn state_of(record: &Record) -> String {
    let state = record.status.get("state").and_then(Value::as_str);
    state.unwrap_or(ENDPOINT_COLD).to_owned()
}

fn check_quota(tx: &ReadTx<'_>, new: &Deployment, quota: &DeploymentQuota) -> Result<(), KernelError> {
    let deployed = deployments(tx, &KeyPrefix::new().part(&new.tenant))?;
    let sum = |of: fn(&DeploymentRow) -> u64| deployed.iter().map(|deployment| of(&deployment.row)).sum();
    let (cpu, ram) = (|row: &DeploymentRow| u64::from(row.cpu), |row: &DeploymentRow| row.ram);
    let limits = [
        (QuotaKind::Endpoints, Some(u64::from(quota.endpoints_max)), deployed.len() as u64, 1),
        (QuotaKind::Cpu, quota.cpu_max, sum(cpu), cpu(&new.row)),
        (QuotaKind::Ram, quota.ram_max, sum(ram), ram(&new.row)),
    ];
    for (quota, limit, taken, asked) in limits {
        if let Some(limit) = limit
            && asked > 0
            && taken.saturating_add(asked) > limit
        {
            return Err(KernelError::QuotaReached { quota, limit, taken, asked });
        }
    }
    Ok(())
}

/// The node's own permit for an endpoint, decided as every other: what happens to a process is written by the platform,
/// whoever's request it follows from.
fn node_permit<A: ActionKind>(tx: &ReadTx<'_>, record: &Record) -> Result<Permit<A>, KernelError> {
    let guard = guard::guard_of(tx, record)?;
    let (node, roles) = (PrincipalId::node(), [RoleFacts::administrator()]);
    let subject = Subject::principal(&node, &record.header.tenant, &roles);
    decide::<A>(&subject, &target_of(record, guard.as_ref()))
        .map_err(|denied| KernelError::denied(denied, record.resource()))
}

/// Refuses to remove an endpoint that is deployed: its process would be nobody's.
pub(crate) fn refuse_deployed(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    gone: &[ResourceRef],
) -> Result<(), KernelError> {
    for resource in gone.iter().filter(|resource| resource.kind == ResourceKind::Endpoint) {
        let Ok(id) = ResourceId::parse(resource.id.as_str()) else { continue };
        if tx.get::<Deployments>(&(tenant.clone(), id))?.is_some() {
            return Err(KernelError::StillDeployed(resource.clone()));
        }
    }
    Ok(())
}
