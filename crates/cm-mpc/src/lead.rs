//! Computations that this node leads: from a job to a record, from inputs to results. A run itself is in `run`.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use cm_computation::client::{open_output, seal_input};
use cm_computation::{
    Advance, Agreed, Assigned, Opened, Owner, Plan, PlanError, PlannedParty, Program, Receivers, schedule,
};
use cm_kernel::catalog::kinds::Computation;
use cm_kernel::catalog::{NewRecord, Record};
use cm_kernel::policy::{Create, Delete, Invoke, Permit, Read, Update};
use cm_kernel::{KernelError, OpContext};
use cm_types::{Labels, ResourceId, ResourceKind, TenantId};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::group_keys::Sign;
use crate::guest::{holders, sealed_len};
use crate::journal::ShareName;
use crate::run::Lead;
use crate::{ComputationError, Computations, Failure};

/// A run that this node leads.
pub(crate) struct Running {
    pub(crate) cancel: CancellationToken,
    pub(crate) progress: watch::Receiver<Progress>,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Progress {
    /// `waiting`, `running`, `completed`, `failed` or `cancelled`.
    pub state: String,
    /// Layers of the program that are done here.
    pub layers_done: u32,
    /// All layers.
    pub layers: u32,
}

/// A computation that is to be.
#[derive(Clone, Debug)]
pub struct NewComputation {
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// What is computed.
    pub program: Program,
    /// The job that it was made of, as it was written.
    pub source: Option<String>,
    /// The parties, by number; this node among them.
    pub parties: Vec<String>,
    /// The keys of those who learn results.
    pub receivers: BTreeMap<String, String>,
    /// By which key the parties sign the result; without it they do not.
    pub sign: Option<Sign>,
    /// Labels.
    pub labels: Labels,
}

impl Computations {
    /// Makes a computation: asks the parties for their keys, and writes the plan down. It waits for its inputs then.
    ///
    /// # Errors
    /// When a party is unknown or does not answer, or the plan cannot be carried out.
    pub async fn create(
        &self,
        op: &OpContext,
        permit: &Permit<Create>,
        new: NewComputation,
    ) -> Result<Record, ComputationError> {
        let id = ResourceId::random();
        if !new.parties.iter().any(|name| name == self.name()) {
            return Err(ComputationError::NotAParty(self.name().to_owned()));
        }
        let asked = new.parties.iter().map(|name| async move {
            if name == self.name() {
                return Ok(PlannedParty {
                    name: name.clone(),
                    link_key: self.link_key().0,
                    sealing_key: self.sealing_key(),
                });
            }
            let (link_key, about) = self.ask_about(name).await?;
            Ok::<_, ComputationError>(PlannedParty {
                name: name.clone(),
                link_key: link_key.0,
                sealing_key: about.sealing_key,
            })
        });
        let parties = join_all(asked).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut plan = Plan {
            computation: id.to_string(),
            program: new.program,
            parties,
            receivers: new.receivers,
            signature: None,
        };
        let mut agreed = Agreed::write(&plan)?;
        if let Some(sign) = new.sign {
            let threshold = agreed.terms("").map_err(PlanError::from)?.committee().threshold();
            plan.signature = Some(self.choose_key(sign, &plan.parties, threshold).await?);
            agreed = Agreed::write(&plan)?;
            self.signing_for(&agreed).await?;
        }
        let spec = Computation {
            plan: agreed.text().to_owned(),
            source: new.source,
            description: new.description,
            security_policy: None,
        };
        let mut record = NewRecord::of(new.name, &spec).with_id(id);
        record.labels = new.labels;
        record.status = json!({ "state": "waiting" });
        Ok(self.0.kernel.create_record(op, permit, record).await?)
    }

    /// The plan of a record.
    ///
    /// # Errors
    /// [`ComputationError::NoPlan`] for a record that has none.
    pub fn plan(&self, record: &Record) -> Result<Agreed, ComputationError> {
        let spec: Computation = record.spec_as().map_err(KernelError::from)?;
        Agreed::read(spec.plan).map_err(|_| ComputationError::NoPlan)
    }

    /// Takes a sealed share of an input for a party. A later one replaces an earlier one, until the run starts.
    ///
    /// # Errors
    /// When the input is somebody else's, the bytes are too many or too few, or the run has started.
    pub async fn put_input(
        &self,
        op: &OpContext,
        record: &Record,
        permit: &Permit<Invoke>,
        input: &str,
        party: &str,
        bytes: &[u8],
    ) -> Result<(), ComputationError> {
        debug_assert_eq!(permit.kind(), ResourceKind::Computation);
        let agreed = self.plan(record)?;
        let no_input = || cm_computation::ClientError::NoInput(input.to_owned());
        let found = agreed.plan().program.inputs().find(|(name, ..)| *name == input);
        let (_, owner, _) = found.ok_or_else(no_input)?;
        let caller = op.principal().map(|principal| principal.as_str());
        let is_own = match owner {
            Owner::Client(name) => caller == Some(name),
            // A party's own variable comes from whoever owns the computation, sealed to that party.
            Owner::Party(_) => caller == Some(record.header.owner.as_str()),
        };
        if !is_own {
            let (input, owner) = (input.to_owned(), owner.to_string());
            return Err(ComputationError::NotYourInput { input, owner });
        }
        let number = agreed.party(party).filter(|number| holders(&agreed, owner).contains(number));
        let number = number.ok_or_else(|| ComputationError::UnknownParty(party.to_owned()))?;
        let expected = sealed_len(&agreed, input).ok_or_else(no_input)?;
        if bytes.len() != expected {
            let (input, given) = (input.to_owned(), bytes.len());
            return Err(ComputationError::ShareLength { input, expected, given });
        }
        self.demand_waiting(record)?;
        if self.0.journal.begun(agreed.digest()).await?.is_some() {
            return Err(ComputationError::InputsFixed);
        }
        let name = ShareName::Input { input: input.to_owned(), party: number };
        self.0.journal.put_share(place(record), &name, bytes).await
    }

    /// Seals values for their parties here, as the client of whoever sent them to this node in the clear.
    ///
    /// # Errors
    /// When a value is not what its input takes.
    pub async fn put_values(
        &self,
        record: &Record,
        permit: &Permit<Invoke>,
        assigned: &[Assigned],
    ) -> Result<(), ComputationError> {
        debug_assert_eq!(permit.kind(), ResourceKind::Computation);
        let agreed = self.plan(record)?;
        for value in assigned {
            for (party, bytes) in seal_input(&agreed, &value.input, &value.values)? {
                let name = ShareName::Input { input: value.input.clone(), party };
                self.0.journal.put_share(place(record), &name, &bytes).await?;
            }
        }
        Ok(())
    }

    pub(crate) fn running(&self) -> MutexGuard<'_, BTreeMap<(TenantId, ResourceId), Running>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn demand_waiting(&self, record: &Record) -> Result<(), ComputationError> {
        let state = state_of(record);
        let runs = self.running().contains_key(&key(record));
        match (state, runs) {
            (_, true) => Err(ComputationError::NotWaiting("running".to_owned())),
            ("waiting" | "failed" | "cancelled", false) => Ok(()),
            (state, false) => Err(ComputationError::NotWaiting(state.to_owned())),
        }
    }

    /// Starts a run. It goes on by itself; [`Computations::progress`] tells how far it is. That is for whose computation it is, and for
    /// those who have inputs in it: a permit to invoke computations in general is not enough.
    ///
    /// # Errors
    /// When it is somebody else's, inputs are missing, it runs already, or too many do.
    pub async fn start(
        &self,
        op: &OpContext,
        record: &Record,
        permit: &Permit<Invoke>,
        within: Option<Duration>,
    ) -> Result<watch::Receiver<Progress>, ComputationError> {
        debug_assert_eq!(permit.kind(), ResourceKind::Computation);
        self.network()?;
        let agreed = Arc::new(self.plan(record)?);
        demand_concerned(op, record, &agreed)?;
        self.demand_waiting(record)?;
        let mut missing = Vec::new();
        for (input, owner, _) in agreed.plan().program.inputs() {
            for party in holders(&agreed, owner) {
                let name = ShareName::Input { input: input.to_owned(), party };
                if !self.0.journal.has_share(place(record), &name).await {
                    missing.push(format!("`{input}` of {owner}"));
                    break;
                }
            }
        }
        if !missing.is_empty() {
            return Err(ComputationError::InputsMissing(missing));
        }
        let layers = u32::try_from(schedule(&agreed.plan().program).len()).unwrap_or(u32::MAX);
        let (sender, progress) =
            watch::channel(Progress { state: "running".to_owned(), layers_done: 0, layers });
        let cancel = self.0.tasks.token().child_token();
        {
            let mut running = self.running();
            if running.contains_key(&key(record)) {
                return Err(ComputationError::NotWaiting("running".to_owned()));
            }
            if running.len() >= self.0.config.runs_max {
                return Err(ComputationError::TooMany(running.len()));
            }
            let entry = Running { cancel: cancel.clone(), progress: progress.clone() };
            running.insert(key(record), entry);
        }
        let lead = Lead {
            computations: self.clone(),
            place: key(record),
            agreed,
            run: Uuid::now_v7(),
            within: within.unwrap_or(self.0.config.run_within).min(Duration::from_secs(24 * 3600)),
            cancel,
            advance: Advance::default(),
            sender,
        };
        self.0.tasks.spawn("mpc-lead", lead.run());
        Ok(progress)
    }

    /// How far a computation is, now and from now on.
    pub fn progress(&self, record: &Record) -> watch::Receiver<Progress> {
        if let Some(running) = self.running().get(&key(record)) {
            return running.progress.clone();
        }
        let state = state_of(record).to_owned();
        watch::channel(Progress { state, layers_done: 0, layers: 0 }).1
    }

    /// Ends a run; whether there was one. For the same people as [`Computations::start`]; who may delete it can end it, too.
    ///
    /// # Errors
    /// When it is somebody else's.
    pub fn cancel(
        &self,
        op: &OpContext,
        record: &Record,
        permit: &Permit<Invoke>,
    ) -> Result<bool, ComputationError> {
        debug_assert_eq!(permit.kind(), ResourceKind::Computation);
        demand_concerned(op, record, &self.plan(record)?)?;
        match self.running().get(&key(record)) {
            Some(running) => {
                running.cancel.cancel();
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Removes a computation with everything that belongs to it.
    ///
    /// # Errors
    /// As the kernel refuses.
    pub async fn delete(
        &self,
        op: &OpContext,
        record: &Record,
        permit: &Permit<Delete>,
    ) -> Result<(), ComputationError> {
        if let Some(running) = self.running().get(&key(record)) {
            running.cancel.cancel();
        }
        let dependents = self.0.kernel.dependents_default();
        self.0.kernel.delete_record(op, permit, &record.header.id, None, dependents).await?;
        self.0.journal.forget(place(record)).await
    }

    /// A party's sealed share of a result, for its receiver.
    ///
    /// # Errors
    /// [`ComputationError::NoResult`] before there is one; as if there were no such result for everybody whom it is not for.
    pub async fn result_share(
        &self,
        op: &OpContext,
        record: &Record,
        permit: &Permit<Read>,
        output: &str,
        party: &str,
    ) -> Result<Vec<u8>, ComputationError> {
        debug_assert_eq!(permit.kind(), ResourceKind::Computation);
        let agreed = self.plan(record)?;
        let no_output = || cm_computation::ClientError::NoOutput(output.to_owned());
        let receiver = op.principal().map(|principal| principal.as_str().to_owned()).ok_or_else(no_output)?;
        let is_for = agreed.plan().program.outputs().any(|own| {
            own.name == output && matches!(own.to, Receivers::Clients(names) if names.contains(&receiver))
        });
        if !is_for {
            return Err(no_output().into());
        }
        let number = agreed.party(party).ok_or_else(|| ComputationError::UnknownParty(party.to_owned()))?;
        demand_completed(record)?;
        let name = ShareName::Output { output: output.to_owned(), receiver, party: number };
        self.0.journal.share(place(record), &name).await?.ok_or_else(|| no_output().into())
    }

    /// Puts a result together that is sealed to this node, in the name of a receiver that left that to its node.
    ///
    /// # Errors
    /// As [`Computations::result_share`]; when it was sealed to another key.
    pub async fn open_here(
        &self,
        record: &Record,
        permit: &Permit<Read>,
        output: &str,
        receiver: &str,
    ) -> Result<Opened, ComputationError> {
        debug_assert_eq!(permit.kind(), ResourceKind::Computation);
        demand_completed(record)?;
        let agreed = Arc::new(self.plan(record)?);
        let run = record.status.get("run").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut sealed = Vec::new();
        for party in 0..agreed.plan().parties.len() {
            let name = ShareName::Output { output: output.to_owned(), receiver: receiver.to_owned(), party };
            if let Some(bytes) = self.0.journal.share(place(record), &name).await? {
                sealed.push((party, bytes));
            }
        }
        let (key, output, receiver) = (self.0.sealing_key.clone(), output.to_owned(), receiver.to_owned());
        let opening = self.0.tasks.spawn_blocking("mpc-open", move || {
            open_output(&agreed, &run, &output, &receiver, &key, &sealed)
        });
        Ok(opening.await.map_err(|_| KernelError::ShuttingDown)??)
    }

    /// Marks what an earlier process left behind.
    pub(crate) async fn fail_leftovers(&self) -> Result<(), ComputationError> {
        for (tenant, id) in self.0.journal.end_leftovers().await? {
            let op = self.node_op(&tenant);
            let found = self.0.kernel.look_up::<Read>(&op, ResourceKind::Computation, id.as_str()).await;
            // Its end may have been written, and its note not yet.
            if found.is_ok_and(|(record, _)| !matches!(state_of(&record), "running" | "waiting")) {
                continue;
            }
            if let Err(error) = self.set_status(&(tenant, id.clone()), failed(&Failure::Restarted)).await {
                tracing::warn!(%id, error = &error as &dyn std::error::Error, "state of a computation not written");
            }
        }
        Ok(())
    }

    pub(crate) async fn set_status(
        &self,
        place: &(TenantId, ResourceId),
        status: Value,
    ) -> Result<(), ComputationError> {
        let op = self.node_op(&place.0);
        let (_, permit) =
            self.0.kernel.look_up::<Update>(&op, ResourceKind::Computation, place.1.as_str()).await?;
        self.0.kernel.set_record_status(&op, &permit, &place.1, status).await?;
        Ok(())
    }
}

pub(crate) fn key(record: &Record) -> (TenantId, ResourceId) {
    (record.header.tenant.clone(), record.header.id.clone())
}

fn place(record: &Record) -> (&TenantId, &ResourceId) {
    (&record.header.tenant, &record.header.id)
}

/// What a record's status says of its computation.
pub fn state_of(record: &Record) -> &str {
    record.status.get("state").and_then(Value::as_str).unwrap_or("waiting")
}

/// That whoever asks owns the computation, or one of its inputs.
pub(crate) fn demand_concerned(
    op: &OpContext,
    record: &Record,
    agreed: &Agreed,
) -> Result<(), ComputationError> {
    let is_concerned = op.principal().is_some_and(|principal| {
        let has_input = |owner: &Owner| matches!(owner, Owner::Client(name) if name == principal.as_str());
        *principal == record.header.owner
            || agreed.plan().program.inputs().any(|(_, owner, _)| has_input(owner))
    });
    if is_concerned { Ok(()) } else { Err(ComputationError::NotYours) }
}

pub(crate) fn demand_completed(record: &Record) -> Result<(), ComputationError> {
    match state_of(record) {
        "completed" => Ok(()),
        state => Err(ComputationError::NoResult(state.to_owned())),
    }
}

pub(crate) fn failed(failure: &Failure) -> Value {
    let state = if *failure == Failure::Cancelled { "cancelled" } else { "failed" };
    json!({ "state": state, "failure": failure, "message": failure.to_string() })
}
