//! The service that the faces call.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cm_kernel::catalog::kinds::Endpoint;
use cm_kernel::catalog::lifecycle::{ENDPOINT_COLD, following};
use cm_kernel::catalog::{CatalogError, Dependents, NewRecord, Record};
use cm_kernel::idempotency::IdempotencyKey;
use cm_kernel::policy::{Create, Delete, Permit, RoleFacts, Update};
use cm_kernel::{
    Actor, ActorFacts, Deployment, DeploymentQuota, DeploymentStep, DeploymentTerms, Kernel, KernelError,
    OpContext,
};
use cm_runtime::Tasks;
use cm_types::{PrincipalId, ResourceId, ResourceKind, TenantId};
use tokio::sync::{Semaphore, watch};

use crate::launcher::LaunchSpec;
use crate::life::{Life, Stop};
use crate::ports::{Place, Ports};
use crate::{EndpointError, Launcher, Moment, presence};

/// Settings of deployments.
#[derive(Clone, Debug)]
pub struct EndpointsConfig {
    /// What this node is known by and never changes: only its own deployments does it end when it starts.
    pub node: String,
    /// What one tenant may have deployed at a time.
    pub quota: DeploymentQuota,
    /// The first port for requests and responses.
    pub req_res_base_port: u16,
    /// The first port for published messages.
    pub pubsub_base_port: u16,
    /// Servers that are being launched at a time; more wait.
    pub launches_max: usize,
    /// From the start of a server until it must serve.
    pub launch_timeout: Duration,
    /// How long a server may take to finish what is open once it is asked to end.
    pub drain_timeout: Duration,
}

/// Deployed endpoints. Clones share everything.
#[derive(Clone)]
pub struct Endpoints(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) kernel: Kernel,
    pub(crate) config: EndpointsConfig,
    pub(crate) launcher: Arc<dyn Launcher>,
    /// Turns to launch.
    pub(crate) launches: Semaphore,
    tasks: Tasks,
    ports: Ports,
    /// Held from the choice of ports to the decision, so that a refused deployment does not move another one's ports.
    pub(crate) deciding: tokio::sync::Mutex<()>,
    live: Mutex<HashMap<(TenantId, ResourceId), Live>>,
    is_draining: AtomicBool,
}

/// A deployment that a task looks after.
pub(crate) struct Live {
    deployment: Deployment,
    stop: watch::Sender<Option<Stop>>,
    /// True once its server is gone and its record says so.
    gone: watch::Receiver<bool>,
}

impl std::fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoints").field("launcher", &self.0.launcher.name()).finish_non_exhaustive()
    }
}

impl Endpoints {
    /// Makes cold what an earlier process of this node left deployed: its servers died with it.
    pub async fn open(
        kernel: Kernel,
        tasks: &Tasks,
        config: EndpointsConfig,
        launcher: Arc<dyn Launcher>,
    ) -> Result<Self, EndpointError> {
        let inner = Inner {
            ports: Ports::new(config.req_res_base_port, config.pubsub_base_port),
            launches: Semaphore::new(config.launches_max),
            kernel,
            config,
            launcher,
            tasks: tasks.clone(),
            deciding: tokio::sync::Mutex::default(),
            live: Mutex::default(),
            is_draining: AtomicBool::new(false),
        };
        let endpoints = Self(Arc::new(inner));
        for deployment in endpoints.0.kernel.deployments_on(&endpoints.0.config.node).await? {
            // One that cannot be ended must not keep the node from starting.
            if let Err(error) = endpoints.0.end_leftover(&deployment, "the node was restarted").await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(endpoint = %deployment.endpoint(), error, "endpoint of an earlier process not ended");
            }
        }
        presence::keep_up(endpoints.clone(), tasks).await?;
        Ok(endpoints)
    }

    /// Creates an endpoint and deploys it, once per key. Returns its record, which says `warming`, before anything is
    /// launched.
    ///
    /// # Errors
    /// Nothing is left of one that is refused: [`KernelError::QuotaReached`], what creating a record can fail with,
    /// [`EndpointError::NoPorts`], [`EndpointError::Draining`].
    pub async fn create_deployed(
        &self,
        op: &OpContext,
        permit: &Permit<Create>,
        new: NewRecord,
        key: Option<IdempotencyKey>,
    ) -> Result<Record, EndpointError> {
        let (kernel, of, permit) = (self.0.kernel.clone(), op.clone(), permit.clone());
        self.begin(op, async move |terms| kernel.create_deployed(&of, &permit, new, key, terms).await).await
    }

    /// Deploys an endpoint that is cold; as [`Endpoints::create_deployed`].
    ///
    /// # Errors
    /// Besides, [`CatalogError::IllegalTransition`] for one that is not cold.
    pub async fn deploy(
        &self,
        op: &OpContext,
        endpoint: &Record,
        permit: &Permit<Update>,
    ) -> Result<Record, EndpointError> {
        let (kernel, of, permit) = (self.0.kernel.clone(), op.clone(), permit.clone());
        let id = endpoint.header.id.clone();
        self.begin(op, async move |terms| kernel.begin_deployment(&of, &permit, &id, terms).await).await
    }

    /// Ends the deployment of an endpoint and waits until it is cold; its record stays. Whoever asks while it is draining
    /// already waits likewise.
    ///
    /// # Errors
    /// [`CatalogError::IllegalTransition`] for one that is cold; [`EndpointError::Elsewhere`].
    pub async fn detach(
        &self,
        op: &OpContext,
        endpoint: &Record,
        permit: &Permit<Update>,
    ) -> Result<Record, EndpointError> {
        demand(
            permit.covers(&endpoint.header.tenant, ResourceKind::Endpoint, endpoint.header.id.as_str()),
            endpoint,
        )?;
        let Some(deployment) = self.0.kernel.deployment_of(endpoint).await? else {
            let from = ENDPOINT_COLD.to_owned();
            let permitted = following(ResourceKind::Endpoint, &from).unwrap_or_default();
            let to = DeploymentStep::Draining.state().to_owned();
            let refused = CatalogError::IllegalTransition { of: endpoint.resource(), from, to, permitted };
            return Err(KernelError::from(refused).into());
        };
        self.end(op, &deployment).await?;
        let (record, _) =
            self.0.kernel.look_up::<Update>(op, ResourceKind::Endpoint, endpoint.header.id.as_str()).await?;
        Ok(record)
    }

    /// Ends the deployment, if there is one, of an endpoint whose record is about to be deleted, and returns the record
    /// as it is then.
    ///
    /// # Errors
    /// [`CatalogError::StillReferenced`], before anything has ended, if something that the caller may see stands against
    /// the deletion; [`EndpointError::Elsewhere`].
    pub async fn end_before_deletion(
        &self,
        op: &OpContext,
        endpoint: &Record,
        permit: &Permit<Delete>,
        dependents: Dependents,
    ) -> Result<Record, EndpointError> {
        let id = &endpoint.header.id;
        demand(permit.covers(&endpoint.header.tenant, ResourceKind::Endpoint, id.as_str()), endpoint)?;
        let Some(deployment) = self.0.kernel.deployment_of(endpoint).await? else {
            return Ok(endpoint.clone());
        };
        let plan = self.0.kernel.plan_deletion(op, permit, id, dependents).await?;
        if !plan.refusing.is_empty() {
            return Err(KernelError::from(CatalogError::StillReferenced { by: plan.refusing }).into());
        }
        self.end(op, &deployment).await?;
        let (record, _) = self.0.kernel.look_up::<Delete>(op, ResourceKind::Endpoint, id.as_str()).await?;
        Ok(record)
    }

    /// How many endpoints this node has deployed.
    pub fn deployed_count(&self) -> usize {
        self.0.live().len()
    }

    /// Takes no more deployments, ends all there are, and waits until they are cold. Their servers may take this long to
    /// finish what is open. Call it before the tasks are drained.
    pub async fn drain(&self, within: Duration) {
        self.0.is_draining.store(true, Ordering::SeqCst);
        // Whoever was being decided on is among the live ones afterwards.
        drop(self.0.deciding.lock().await);
        let waiting: Vec<_> = {
            let live = self.0.live();
            let stop = || Stop { reason: "the node was stopped", by: None, within };
            live.values().map(|live| live.ask(stop())).collect()
        };
        for mut gone in waiting {
            // An error means that the task is gone, and with it the server.
            let _ = gone.wait_for(|gone| *gone).await;
        }
    }

    /// Finds ports, lets the kernel decide, and launches. The work goes on when the caller stops waiting.
    async fn begin<F>(
        &self,
        op: &OpContext,
        decide: impl FnOnce(DeploymentTerms) -> F + Send + 'static,
    ) -> Result<Record, EndpointError>
    where
        F: Future<Output = Result<(Record, Deployment), KernelError>> + Send,
    {
        let (inner, op) = (self.0.clone(), op.clone());
        let work = self.0.tasks.spawn("endpoint-deploy", async move {
            let deciding = inner.deciding.lock().await;
            if inner.is_draining.load(Ordering::SeqCst) {
                return Err(EndpointError::Draining);
            }
            let place = inner.ports.reserve().map_err(EndpointError::Ports)?.ok_or(EndpointError::NoPorts)?;
            let (record, deployment) = decide(inner.terms(&place)).await?;
            inner.clone().launch(&op, &record, deployment, place);
            drop(deciding);
            Ok(record)
        });
        work.await.map_err(|_| EndpointError::Draining)?
    }

    async fn end(&self, op: &OpContext, deployment: &Deployment) -> Result<(), EndpointError> {
        if deployment.node() != self.0.config.node {
            return Err(EndpointError::Elsewhere {
                endpoint: deployment.endpoint().clone(),
                node: deployment.node().to_owned(),
            });
        }
        let within = self.0.config.drain_timeout;
        let stop = Stop { reason: "detached", by: op.principal().cloned(), within };
        let mut gone = self.0.ask(deployment, &stop);
        if gone.is_none() {
            // One that was decided on a moment ago is among the live ones now.
            drop(self.0.deciding.lock().await);
            gone = self.0.ask(deployment, &stop);
        }
        match gone {
            Some(mut gone) => {
                // An error means that the task is gone, and with it the server.
                let _ = gone.wait_for(|gone| *gone).await;
                Ok(())
            }
            None => self.0.end_leftover(deployment, "its server is gone").await,
        }
    }
}

impl Inner {
    pub(crate) fn live(&self) -> MutexGuard<'_, HashMap<(TenantId, ResourceId), Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a deployment to end; what tells of its end. `None` if no task looks after it.
    fn ask(&self, deployment: &Deployment, stop: &Stop) -> Option<watch::Receiver<bool>> {
        let live = self.live();
        let live = live.get(&key(deployment)).filter(|live| live.deployment == *deployment)?;
        Some(live.ask(stop.clone()))
    }

    pub(crate) fn forget(&self, deployment: &Deployment) {
        let (key, mut live) = (key(deployment), self.live());
        // The endpoint may have been deployed anew since its record said that it is cold.
        if live.get(&key).is_some_and(|live| live.deployment == *deployment) {
            live.remove(&key);
        }
    }

    fn terms(&self, place: &Place) -> DeploymentTerms {
        DeploymentTerms {
            node: self.config.node.clone(),
            req_res_port: place.pair.req_res_port,
            pubsub_port: place.pair.pubsub_port,
            facts: self.facts(),
            quota: self.config.quota,
        }
    }

    /// What every state says of how it came about.
    fn facts(&self) -> BTreeMap<String, String> {
        let runs_image = if self.launcher.runs_images() { "true" } else { "false" };
        BTreeMap::from([
            ("launcher".to_owned(), self.launcher.name().to_owned()),
            ("runs_image".to_owned(), runs_image.to_owned()),
            ("node".to_owned(), self.config.node.clone()),
        ])
    }

    pub(crate) fn with_facts(
        &self,
        deployment: &Deployment,
        facts: BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let (req_res, pubsub) = deployment.ports();
        let mut all = self.facts();
        all.insert("req_res_port".to_owned(), req_res.to_string());
        all.insert("pubsub_port".to_owned(), pubsub.to_string());
        all.extend(facts);
        all
    }

    pub(crate) async fn end_leftover(
        &self,
        deployment: &Deployment,
        reason: &str,
    ) -> Result<(), EndpointError> {
        let facts = BTreeMap::from([("reason".to_owned(), reason.to_owned())]);
        let facts = self.with_facts(deployment, facts);
        let op = self.node_op(deployment.tenant());
        match self.kernel.advance_deployment(&op, deployment, DeploymentStep::Cold, facts).await {
            Ok(_) | Err(KernelError::NotDeployed(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The node itself, within a tenant.
    pub(crate) fn node_op(&self, tenant: &TenantId) -> OpContext {
        let facts = ActorFacts {
            principal: PrincipalId::node(),
            tenant: tenant.clone(),
            roles: vec![RoleFacts::administrator()],
            policies: cm_kernel::Policies::none(),
        };
        OpContext { actor: Actor::Node(Arc::new(facts)), ..OpContext::node(self.tasks.token()) }
    }

    fn launch(self: Arc<Self>, op: &OpContext, record: &Record, deployment: Deployment, place: Place) {
        let spec: Endpoint = record.spec_as().expect("the kernel decoded it to begin the deployment");
        let Place { req_res, pubsub, pair } = place;
        let launch = LaunchSpec {
            endpoint: record.header.id.clone(),
            tenant: record.header.tenant.clone(),
            name: record.header.name.clone(),
            image: spec.image,
            cpu: spec.resources.as_ref().map(|resources| resources.cpu),
            ram: spec.resources.as_ref().map(|resources| resources.ram.bytes()),
            slot: pair.offset,
            moment: Moment { state: "warming".to_owned(), since: record.header.updated_at, reason: None },
            req_res,
            pubsub,
        };
        let (stop, stopped) = watch::channel(None);
        let (tell, gone) = watch::channel(false);
        self.live().insert(key(&deployment), Live { deployment: deployment.clone(), stop, gone });
        // What follows from the request bears its name.
        let op = OpContext { request: op.request.clone(), ..self.node_op(deployment.tenant()) };
        let tasks = self.tasks.clone();
        let life = Life { inner: self, deployment, op, stop: stopped, gone: tell, ports: pair };
        tasks.spawn("endpoint", life.run(launch));
    }
}

impl Live {
    /// Asks for the end, unless somebody has already, and returns what tells of it.
    pub(crate) fn ask(&self, stop: Stop) -> watch::Receiver<bool> {
        self.stop.send_if_modified(|asked| {
            let is_first = asked.is_none();
            asked.get_or_insert(stop);
            is_first
        });
        self.gone.clone()
    }
}

fn key(deployment: &Deployment) -> (TenantId, ResourceId) {
    (deployment.tenant().clone(), deployment.endpoint().clone())
}

/// Refuses a permit for something else: a mistake in this program, never the client's.
fn demand(covers: bool, endpoint: &Record) -> Result<(), EndpointError> {
    if covers {
        Ok(())
    } else {
        Err(KernelError::from(CatalogError::PermitMismatch { wanted: endpoint.resource() }).into())
    }
}
