//! From what people ask for to an instance that runs.

use std::sync::Arc;

use cm_attest::{EvidenceKind, IsolationLayer};
use cm_instance::policy::ProgramPolicy;
use cm_instance::{FullPolicy, Infrastructure, PolicyError, PolicyText, UserPolicy, VaasPolicy, merge};
use cm_kernel::catalog::kinds::{FunctionState, Instance};
use cm_kernel::catalog::{NewRecord, Record};
use cm_kernel::policy::{Create, Invoke, Permit, RoleFacts};
use cm_kernel::{Actor, ActorFacts, OpContext};
use cm_types::{PrincipalId, ResourceId, ResourceKind, TenantId};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::deployment::Deployment;
use crate::files::demand;
use crate::functions::program_policy;
use crate::instances::Running;
use crate::launcher::{Launched, Reserved};
use crate::names::id_of;
use crate::records::Metadata;
use crate::watch::{History, Subject, Watch};
use crate::{FunctionError, Functions, InstanceView};

/// For whom the full policy of a function's instance is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wording {
    /// For clients of the native API: certificates stay as they were written, and no program may read a clock unless its
    /// policy says so.
    #[default]
    Native,
    /// For clients of the earlier service: certificates without line ends inside, and a clock for programs whose policy says
    /// nothing about one.
    Earlier,
}

/// What an instance is going to be made of.
pub(crate) struct Plan {
    pub(crate) id: ResourceId,
    documents: Documents,
}

/// What people wrote, each with its exact text.
enum Documents {
    /// An instance of a function.
    Function { of: Box<Of>, user: UserPolicy, text: String, wording: Wording },
    /// An instance with programs of its own.
    Own { policy: VaasPolicy, text: String },
}

/// The function that an instance is one of.
pub(crate) struct Of {
    pub(crate) record: Record,
    pub(crate) policy: ProgramPolicy,
    permit: Permit<Invoke>,
}

/// What a launch is made from.
#[derive(Clone, Copy)]
pub(crate) struct Launching<'a> {
    pub(crate) op: &'a OpContext,
    pub(crate) plan: &'a Plan,
    pub(crate) full: &'a FullPolicy,
    pub(crate) text: &'a PolicyText,
}

/// An instance that is ready, how people see it, and the status of its record.
type Begun = (Launched, InstanceView, Value);

impl Plan {
    /// The function, if it is an instance of one.
    pub(crate) fn function(&self) -> Option<&Of> {
        match &self.documents {
            Documents::Function { of, .. } => Some(of),
            Documents::Own { .. } => None,
        }
    }

    fn full(&self, infrastructure: &Infrastructure) -> Result<FullPolicy, PolicyError> {
        match &self.documents {
            Documents::Function { of, user, wording: Wording::Native, .. } => {
                merge(&of.policy, user, infrastructure)
            }
            Documents::Function { of, user, wording: Wording::Earlier, .. } => {
                let infrastructure = Infrastructure { enable_clock: true, ..infrastructure.clone() };
                let mut user = user.clone();
                for identity in &mut user.identities {
                    identity.certificate = identity.certificate.without_line_ends();
                }
                merge(&of.policy, &user, &infrastructure)
            }
            Documents::Own { policy, .. } => policy.complete(infrastructure),
        }
    }

    fn spec(&self, full: &PolicyText) -> Instance {
        let (user_policy, vaas_policy) = match &self.documents {
            Documents::Function { text, .. } => (Some(text.clone()), None),
            Documents::Own { text, .. } => (None, Some(text.clone())),
        };
        Instance {
            function: self.function().map(|of| of.record.header.id.clone()),
            user_policy,
            vaas_policy,
            policy: Some(full.as_str().to_owned()),
            limits: Default::default(),
            lifetime_seconds: None,
            security_policy: None,
        }
    }

    fn state(&self, of: &Of, state: &str, metadata: Metadata) -> FunctionState {
        FunctionState {
            function_id: of.record.header.id.clone(),
            instance_id: Some(self.id.clone()),
            state: state.to_owned(),
            metadata,
        }
    }
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
        wording: Wording,
    ) -> Result<InstanceView, FunctionError> {
        demand(permit.resource(), function)?;
        let user = UserPolicy::parse(user_policy.as_bytes())?;
        let policy = program_policy(function)?;
        let of = Of { record: function.clone(), policy, permit: permit.clone() };
        let id = id_of(&user.instanceid);
        let plan = Plan {
            id,
            documents: Documents::Function { of: Box::new(of), user, text: user_policy.to_owned(), wording },
        };
        self.spawn_creation(op, plan).await
    }

    /// Starts an instance under a VaaS policy (its JSON text), which names programs of its own: whoever has the right
    /// writes them into the instance, with the hashes that the policy demands. Returns when it is ready; the permit is for
    /// creating instances.
    ///
    /// The work goes on when the caller stops waiting. On any failure nothing is left: no process, no port,
    /// no record.
    pub async fn create_instance_alone(
        &self,
        op: &OpContext,
        permit: &Permit<Create>,
        vaas_policy: &str,
    ) -> Result<InstanceView, FunctionError> {
        debug_assert_eq!(permit.kind(), ResourceKind::Instance);
        let policy = VaasPolicy::parse(vaas_policy.as_bytes())?;
        // Names are labels there: many instances may have the same, or none.
        let id = ResourceId::random();
        let plan = Plan { id, documents: Documents::Own { policy, text: vaas_policy.to_owned() } };
        self.spawn_creation(op, plan).await
    }

    async fn spawn_creation(&self, op: &OpContext, plan: Plan) -> Result<InstanceView, FunctionError> {
        let this = self.clone();
        let op = OpContext { cancel: self.0.tasks.token(), ..op.clone() };
        let work = self.0.tasks.spawn("instance-create", async move { this.create(op, plan).await });
        work.await.map_err(|_| FunctionError::Draining)?
    }

    async fn create(&self, op: OpContext, plan: Plan) -> Result<InstanceView, FunctionError> {
        let place = self.0.launches.reserve().await?;
        let full = plan.full(&self.infrastructure(&place))?;
        full.demand_unexpired(self.0.kernel.now())?;
        let text = full.to_text();
        let launching = Launching { op: &op, plan: &plan, full: &full, text: &text };
        let (launched, view, ready) = if place.is_warm() {
            self.launch_and_record(&launching, place).await?
        } else {
            self.record_then_launch(&launching, place).await?
        };
        self.watch(op, &plan, launched, view.clone(), ready);
        Ok(view)
    }

    /// For a launch that takes a while: everybody sees that it has begun, and nothing is started that could not be recorded.
    async fn record_then_launch(
        &self,
        launching: &Launching<'_>,
        place: Reserved,
    ) -> Result<Begun, FunctionError> {
        let Launching { op, plan, .. } = *launching;
        self.record(launching).await?;
        let launched = async {
            self.tell_of_deployment(op, plan, &[Deployment::Deploying]).await?;
            let (_keep, recorded) = watch::channel(true);
            self.launch(launching, place, recorded).await
        };
        self.finish(launching, launched.await).await
    }

    /// For a launch that is over at once: the record is made meanwhile, and the beginning told with the success. The instance is
    /// certified, and hence serves, only when its record is there.
    async fn launch_and_record(
        &self,
        launching: &Launching<'_>,
        place: Reserved,
    ) -> Result<Begun, FunctionError> {
        let (tell, recorded) = watch::channel(false);
        let recording = async move {
            let record = self.record(launching).await;
            if record.is_ok() {
                tell.send_replace(true);
            }
            // Without a record, the launch sees the channel closed.
            record
        };
        // Both to their ends: a record that is dropped on its way may be made or not.
        let (record, launched) = tokio::join!(recording, self.launch(launching, place, recorded));
        record?;
        let launched = match launched {
            Ok(launched) => Ok(launched),
            Err(error) => {
                let Launching { op, plan, .. } = *launching;
                self.tell_of_deployment(op, plan, &[Deployment::Deploying]).await.and(Err(error))
            }
        };
        self.finish(launching, launched).await
    }

    /// Records how a launch ended whose record is there.
    async fn finish(
        &self,
        launching: &Launching<'_>,
        launched: Result<Launched, FunctionError>,
    ) -> Result<Begun, FunctionError> {
        let Launching { op, plan, .. } = *launching;
        let finishing = async {
            let launched = launched?;
            let ready = self.ready_status(launching, &launched);
            let record = self.0.records.set_status(op, &plan.id, ready.clone()).await?;
            let view = self.view(launching, record, &launched);
            self.tell_of_success(op, plan).await?;
            Ok::<_, FunctionError>((launched, view, ready))
        };
        match finishing.await {
            Ok(begun) => Ok(begun),
            Err(error) => Err(self.undone(op, plan, error).await),
        }
    }

    /// Makes the record of an instance, together with what is told of its function, by the launch.
    async fn record(&self, launching: &Launching<'_>) -> Result<Record, FunctionError> {
        let Launching { op, plan, text, .. } = *launching;
        let status = json!({ "state": "starting", "node": self.0.kernel.node_id().as_str() });
        let new = NewRecord { status, ..NewRecord::of("", &plan.spec(text)).with_id(plan.id.clone()) };
        let told = plan.function().map(|of| {
            let states = ["initiated", "deploying"].map(|state| plan.state(of, state, Metadata::new()));
            (&of.permit, Vec::from(states))
        });
        Ok(self.0.records.create(op, new, told).await?)
    }

    /// Records that a launch failed, removes the record, and gives the reason back.
    async fn undone(&self, op: &OpContext, plan: &Plan, error: FunctionError) -> FunctionError {
        let reason = error.to_string();
        let records = &self.0.records;
        let undone = async {
            if let Some(of) = plan.function() {
                let metadata = Metadata::from([("reason".to_owned(), reason.clone())]);
                records.append_end(op, &of.permit, plan.state(of, "failed", metadata)).await?;
            }
            records.delete(op, &plan.id).await?;
            self.tell_of_deployment(op, plan, &[Deployment::Failed { reason: &reason }]).await
        };
        if let Err(undo) = undone.await {
            let undo = &undo as &dyn std::error::Error;
            tracing::error!(instance = %plan.id, error = undo, "failed instance not undone");
        }
        error
    }

    async fn tell_of_success(&self, op: &OpContext, plan: &Plan) -> Result<(), FunctionError> {
        // Another instance may have failed in between.
        self.tell_of_deployment(op, plan, &[Deployment::Deploying, Deployment::Completed]).await
    }

    async fn tell_of_deployment(
        &self,
        op: &OpContext,
        plan: &Plan,
        steps: &[Deployment<'_>],
    ) -> Result<(), FunctionError> {
        let Some(Of { record, .. }) = plan.function() else { return Ok(()) };
        let node = node_within(op, record.header.tenant.clone());
        Ok(self.0.records.set_deployment(&node, &record.header.id, steps).await?)
    }

    fn view(&self, launching: &Launching<'_>, record: Record, launched: &Launched) -> InstanceView {
        InstanceView {
            id: launching.plan.id.clone(),
            record,
            policy_text: launching.text.as_str().to_owned(),
            policy_hash: launching.text.hash(),
            address: launching.full.veracruz_server_url.clone(),
            measurement: self.measurement(),
            isolation: isolation(launched).collect(),
        }
    }

    /// Where the instance is, by whom it runs, and what isolates it.
    fn ready_status(&self, launching: &Launching<'_>, launched: &Launched) -> Value {
        let layers: Vec<Value> = isolation(launched)
            .map(|layer| json!({ "name": layer.name, "active": layer.active, "reason": layer.reason }))
            .collect();
        json!({
            "state": "ready",
            "node": self.0.kernel.node_id().as_str(),
            "address": launching.full.veracruz_server_url,
            "policy_hash": launching.text.hash(),
            "measurement": self.measurement(),
            "evidence": EvidenceKind::InsecureSoftware.as_str(),
            "isolation": layers,
        })
    }

    fn watch(&self, op: OpContext, plan: &Plan, launched: Launched, view: InstanceView, ready: Value) {
        let (tell, gone) = watch::channel(false);
        let stop = self.0.tasks.token().child_token();
        let name = (view.record.header.tenant.clone(), plan.id.clone());
        let running = Running { view, spki_der: launched.ready.tls_spki_der, stop: stop.clone(), gone };
        self.0.running().insert(name.clone(), running);
        let history = plan
            .function()
            .map(|of| History { function: of.record.header.id.clone(), permit: of.permit.clone() });
        let functions = self.clone();
        let subject = Subject { functions, op, history, name, ready };
        let watch = Watch { subject, instance: launched.instance, stop, tell };
        self.0.tasks.spawn("instance-watch", watch.run());
    }
}

/// The node itself, within a tenant: what the platform finds is not written with the caller's rights.
pub(crate) fn node_within(op: &OpContext, tenant: TenantId) -> OpContext {
    let facts = ActorFacts {
        principal: PrincipalId::node(),
        tenant,
        roles: vec![RoleFacts::administrator()],
        policies: cm_kernel::Policies::none(),
    };
    OpContext { actor: Actor::Node(Arc::new(facts)), ..op.clone() }
}

fn isolation(launched: &Launched) -> impl Iterator<Item = IsolationLayer> + '_ {
    launched.ready.isolation.iter().map(|layer| IsolationLayer {
        name: layer.name.clone(),
        active: layer.active,
        reason: layer.reason.clone(),
    })
}
