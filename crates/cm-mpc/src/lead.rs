//! Leading runs: from a job to a record, from inputs to results.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cm_computation::client::{open_output, seal_input};
use cm_computation::{
    Advance, Agreed, Assigned, Opened, Owner, Plan, PlannedParty, Program, Receivers, schedule,
};
use cm_kernel::catalog::kinds::Computation;
use cm_kernel::catalog::{NewRecord, Record};
use cm_kernel::events::{EventVerb, NewEvent, Outcome};
use cm_kernel::policy::{Create, Delete, Invoke, Permit, Read, Update};
use cm_kernel::{KernelError, OpContext};
use cm_net::LinkError;
use cm_types::{Labels, PeerId, ResourceId, ResourceKind, ResourceRef, TenantId};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::computations::Network;
use crate::control::{INPUT, InputHead, Outcome as PartyOutcome, PROPOSE, Proposal, RUN, Reply, RunHead};
use crate::guest::{holders, output_len, sealed_len};
use crate::journal::{RunRow, ShareName};
use crate::party::{Ended, Part};
use crate::{ComputationError, Computations, Failure};

/// How long a party may take to answer a proposal.
const PROPOSE_WITHIN: Duration = Duration::from_secs(30);
/// How long a link that is down may take to come back before its party counts as lost.
const RECONNECT_WITHIN: Duration = Duration::from_secs(4);
/// How long a share may take to a party.
const INPUT_WITHIN: Duration = Duration::from_secs(600);
/// What the answer of a party may need beyond the run itself.
const ANSWER_GRACE: Duration = Duration::from_secs(30);
/// How often the progress of a run is looked at.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

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
        let plan =
            Plan { computation: id.to_string(), program: new.program, parties, receivers: new.receivers };
        let agreed = Agreed::write(&plan)?;
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

    fn running(&self) -> MutexGuard<'_, BTreeMap<(TenantId, ResourceId), Running>> {
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

    /// Starts a run. It goes on by itself; [`Computations::progress`] tells how far it is.
    ///
    /// # Errors
    /// When inputs are missing, it runs already, or too many do.
    pub async fn start(
        &self,
        record: &Record,
        permit: &Permit<Invoke>,
        within: Option<Duration>,
    ) -> Result<watch::Receiver<Progress>, ComputationError> {
        debug_assert_eq!(permit.kind(), ResourceKind::Computation);
        self.network()?;
        let agreed = Arc::new(self.plan(record)?);
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

    /// Ends a run; whether there was one.
    pub fn cancel(&self, record: &Record, permit: &Permit<Invoke>) -> bool {
        debug_assert_eq!(permit.kind(), ResourceKind::Computation);
        match self.running().get(&key(record)) {
            Some(running) => {
                running.cancel.cancel();
                true
            }
            None => false,
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
            if let Err(error) = self.set_status(&(tenant, id.clone()), failed(&Failure::Restarted)).await {
                tracing::warn!(%id, error = &error as &dyn std::error::Error, "state of a computation not written");
            }
        }
        Ok(())
    }

    async fn set_status(
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

fn key(record: &Record) -> (TenantId, ResourceId) {
    (record.header.tenant.clone(), record.header.id.clone())
}

fn place(record: &Record) -> (&TenantId, &ResourceId) {
    (&record.header.tenant, &record.header.id)
}

/// What a record's status says of its computation.
pub fn state_of(record: &Record) -> &str {
    record.status.get("state").and_then(Value::as_str).unwrap_or("waiting")
}

fn demand_completed(record: &Record) -> Result<(), ComputationError> {
    match state_of(record) {
        "completed" => Ok(()),
        state => Err(ComputationError::NoResult(state.to_owned())),
    }
}

fn failed(failure: &Failure) -> Value {
    let state = if *failure == Failure::Cancelled { "cancelled" } else { "failed" };
    json!({ "state": state, "failure": failure, "message": failure.to_string() })
}

/// One run, as its leader sees it.
struct Lead {
    computations: Computations,
    place: (TenantId, ResourceId),
    agreed: Arc<Agreed>,
    run: Uuid,
    within: Duration,
    cancel: CancellationToken,
    advance: Advance,
    sender: watch::Sender<Progress>,
}

impl Lead {
    async fn run(self) {
        let began = Instant::now();
        let row = RunRow { leads: Some(self.place.clone()), plan: *self.agreed.digest(), ended: false };
        let journal = &self.computations.0.journal;
        let status = match journal.begin(self.run, row).await {
            Ok(true) => {
                let running = json!({ "state": "running", "run": self.run });
                if let Err(error) = self.computations.set_status(&self.place, running).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "state of a computation not written"
                    );
                }
                match self.lead().await {
                    Ok(ended) => self.finish(ended, began).await,
                    Err(failure) => failed(&failure),
                }
            }
            Ok(false) => failed(&Failure::Restarted),
            Err(error) => self.internal(&error),
        };
        let state = status.get("state").and_then(Value::as_str).unwrap_or("failed").to_owned();
        tracing::info!(computation = %self.place.1, run = %self.run, %state, message = %status["message"], "run has ended");
        self.tell_of_cheating(&status).await;
        if let Err(error) = self.computations.set_status(&self.place, status).await {
            tracing::error!(error = &error as &dyn std::error::Error, "state of a computation not written");
        }
        if let Err(error) = journal.end(self.run).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "end of a run not noted");
        }
        self.computations.running().remove(&self.place);
        self.sender.send_modify(|progress| {
            progress.layers_done = self.advance.layers();
            progress.state = state;
        });
    }

    /// Cheating is the business of more people than the computation's owner.
    async fn tell_of_cheating(&self, status: &Value) {
        let has_cheaters = status["cheaters"].as_array().is_some_and(|cheaters| !cheaters.is_empty());
        if !has_cheaters && status["failure"]["reason"] != "cheating" {
            return;
        }
        let mut event = NewEvent::new(self.place.0.clone(), EventVerb::fixed("computation.cheating"));
        event.resource = Some(ResourceRef::new(ResourceKind::Computation, self.place.1.as_str()));
        event.outcome = Outcome::Failed;
        event.facts = serde_json::Map::from_iter([
            ("run".to_owned(), self.run.to_string().into()),
            ("cheaters".to_owned(), status["cheaters"].clone()),
            ("failure".to_owned(), status["failure"].clone()),
        ]);
        if let Err(error) = self.computations.0.kernel.record_event(event).await {
            tracing::error!(error = &error as &dyn std::error::Error, "cheating not recorded");
        }
    }

    fn internal(&self, error: &ComputationError) -> Value {
        tracing::error!(error = error as &dyn std::error::Error, "run of a computation failed here");
        failed(&Failure::Internal { party: self.computations.name().to_owned() })
    }

    fn parties(&self) -> impl Iterator<Item = (usize, &str)> {
        self.agreed.plan().parties.iter().enumerate().map(|(at, party)| (at, party.name.as_str()))
    }

    fn is_robust(&self) -> bool {
        self.agreed.plan().program.settings().tier == cm_computation::TierName::Robust
    }

    /// From proposing to the parties' ends, by party. Under the robust tier some may be missing.
    async fn lead(&self) -> Result<BTreeMap<usize, Ended>, Failure> {
        let own = self.computations.name();
        let network = self.computations.0.network.clone().ok_or(Failure::Cancelled)?;
        let me = self.agreed.party(own).ok_or_else(|| Failure::Internal { party: own.to_owned() })?;
        let proposing = self.parties().filter(|(at, _)| *at != me).map(|(at, name)| {
            let network = &network;
            async move { (at, self.prepare(network, at, name).await) }
        });
        let prepared = tokio::select! {
            () = self.cancel.cancelled() => return Err(Failure::Cancelled),
            prepared = join_all(proposing) => prepared,
        };
        let mut ready = Vec::new();
        for (at, outcome) in prepared {
            match outcome {
                Ok(()) => ready.push(at),
                // Who refuses is no better than who is away: one party must not prevent what the tier can do without it.
                Err(failure @ (Failure::Lost { .. } | Failure::Refused { .. })) if self.is_robust() => {
                    tracing::warn!(%failure, "run goes on without a party");
                }
                Err(failure) => return Err(failure),
            }
        }
        let deadline = Instant::now() + self.within;
        let others = ready.iter().map(|at| {
            let (at, name, network) = (*at, self.agreed.plan().parties[*at].name.as_str(), &network);
            async move { (at, self.hear(network, name).await) }
        });
        let part = Part {
            agreed: self.agreed.clone(),
            run: self.run,
            me,
            sealed: self.sealed_for(me).await?,
            deadline,
            within: self.within,
            patience: self.computations.0.config.patience,
            cancel: self.cancel.clone(),
            advance: self.advance.clone(),
        };
        let own_part = self.computations.take_once(part);
        let telling = async {
            loop {
                tokio::time::sleep(PROGRESS_EVERY).await;
                let layers = self.advance.layers();
                self.sender.send_if_modified(|progress| {
                    std::mem::replace(&mut progress.layers_done, layers) != layers
                });
            }
        };
        let (mine, theirs) = tokio::select! {
            () = self.cancel.cancelled() => return Err(Failure::Cancelled),
            both = async { tokio::join!(own_part, join_all(others)) } => both,
            () = telling => return Err(Failure::Cancelled),
        };
        let outcomes = std::iter::once((me, mine)).chain(theirs);
        self.judge(outcomes.collect())
    }

    /// Proposes the run to a party and sends its shares of the inputs.
    async fn prepare(&self, network: &Network, at: usize, name: &str) -> Result<(), Failure> {
        let lost = |why: &LinkError| Failure::Lost { party: name.to_owned(), why: why.to_string() };
        let Ok(peer) = name.parse::<PeerId>() else {
            return Err(Failure::Refused { party: name.to_owned(), why: "it is no name".to_owned() });
        };
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let proposal = Proposal {
            run: self.run,
            plan: self.agreed.text().to_owned(),
            within_ms: ms(self.within),
            patience_ms: ms(self.computations.0.config.patience),
        };
        let body = Bytes::from(serde_json::to_vec(&proposal).expect("plain data"));
        network.links.wait_up(&peer, RECONNECT_WITHIN).await;
        let answer = network.links.request(&peer, PROPOSE, body, PROPOSE_WITHIN).await;
        let answer = answer.map_err(|error| lost(&error))?;
        match serde_json::from_slice(&answer) {
            Ok(Reply::Accepted) => {}
            Ok(Reply::Refused(why)) => return Err(Failure::Refused { party: name.to_owned(), why }),
            Err(_) => return Err(lost(&LinkError::Malformed(peer))),
        }
        for (input, bytes) in self.sealed_for(at).await? {
            let head = InputHead { run: self.run, input };
            let head = Bytes::from(serde_json::to_vec(&head).expect("plain data"));
            let pieces = futures::stream::iter([Bytes::from(bytes)]);
            let sent = network.links.send_stream(&peer, INPUT, head, pieces, INPUT_WITHIN).await;
            sent.map_err(|error| lost(&error))?;
        }
        Ok(())
    }

    async fn sealed_for(&self, party: usize) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
        let journal = &self.computations.0.journal;
        let mut sealed = BTreeMap::new();
        for (input, owner, _) in self.agreed.plan().program.inputs() {
            if !holders(&self.agreed, owner).contains(&party) {
                continue;
            }
            let name = ShareName::Input { input: input.to_owned(), party };
            match journal.share((&self.place.0, &self.place.1), &name).await {
                Ok(Some(bytes)) => drop(sealed.insert(input.to_owned(), bytes)),
                Ok(None) => return Err(Failure::Protocol { what: format!("a share of `{input}` is gone") }),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "share of an input not read");
                    return Err(Failure::Internal { party: self.computations.name().to_owned() });
                }
            }
        }
        Ok(sealed)
    }

    /// Starts a party and hears how it ended.
    async fn hear(&self, network: &Network, name: &str) -> Result<Ended, Failure> {
        let lost = |error: &LinkError| Failure::Lost { party: name.to_owned(), why: error.to_string() };
        let peer: PeerId = name
            .parse()
            .map_err(|_| Failure::Refused { party: name.to_owned(), why: "it is no name".to_owned() })?;
        let head = Bytes::from(serde_json::to_vec(&RunHead { run: self.run }).expect("plain data"));
        let within = self.within + ANSWER_GRACE;
        let opened = network.links.open(&peer, RUN, head, within).await;
        let mut exchange = opened.map_err(|error| lost(&error))?;
        exchange.finish().await.map_err(|error| lost(&error))?;
        let expected = self.results_len();
        let most: usize = expected.values().sum();
        let mut bytes = Vec::new();
        while let Some(piece) = exchange.receive().await.map_err(|error| lost(&error))? {
            if bytes.len() + piece.len() > most {
                return Err(lost(&LinkError::Malformed(peer)));
            }
            bytes.extend_from_slice(&piece);
        }
        let answer = exchange.answer().await.map_err(|error| lost(&error))?;
        let outcome: Option<PartyOutcome> = serde_json::from_slice(&answer).ok();
        let joined = outcome.and_then(|outcome| outcome.joined(&bytes));
        // Exactly the plan's results, each as long as it is: nothing else is kept.
        let is_planned = |ended: &Ended| {
            ended.sealed.len() == expected.len()
                && ended.sealed.iter().all(|(name, bytes)| expected.get(name) == Some(&bytes.len()))
        };
        match joined {
            Some(Err(failure)) => Err(failure),
            Some(Ok(ended)) if is_planned(&ended) => Ok(ended),
            _ => Err(lost(&LinkError::Malformed(peer))),
        }
    }

    /// What the run came to, of what it came to for each party.
    fn judge(
        &self,
        outcomes: Vec<(usize, Result<Ended, Failure>)>,
    ) -> Result<BTreeMap<usize, Ended>, Failure> {
        let threshold = self.agreed.terms("").map_or(0, |terms| terms.committee().threshold());
        let (mut ended, mut failures) = (BTreeMap::new(), Vec::new());
        for (at, outcome) in outcomes {
            match outcome {
                Ok(end) => drop(ended.insert(at, end)),
                Err(failure) => failures.push((at, failure)),
            }
        }
        let absent = self.agreed.plan().parties.len() - ended.len();
        if absent == 0 || (self.is_robust() && absent <= threshold) {
            return Ok(ended);
        }
        // Whoever fails closes its connections, so that the others lose it, too: the one to name is whom most have lost, or who told
        // of something else than a loss.
        let first = failures.iter().find(|(_, failure)| !matches!(failure, Failure::Lost { .. }));
        if let Some((_, failure)) = first {
            return Err(failure.clone());
        }
        let mut votes: BTreeMap<&str, (usize, &Failure)> = BTreeMap::new();
        for (_, failure) in &failures {
            if let Failure::Lost { party, .. } = failure {
                votes.entry(party).or_insert((0, failure)).0 += 1;
            }
        }
        let most = votes.into_values().max_by_key(|(count, _)| *count).map(|(_, failure)| failure.clone());
        Err(most.unwrap_or(Failure::Cancelled))
    }

    /// The parties that more others have found cheating than may themselves be lying about it.
    fn accused(&self, ended: &BTreeMap<usize, Ended>) -> Vec<String> {
        let threshold = self.agreed.terms("").map_or(usize::MAX, |terms| terms.committee().threshold());
        let accusers = |at: usize, name: &str| {
            let by = ended
                .iter()
                .filter(|(other, end)| **other != at && end.told.cheaters.iter().any(|one| one == name));
            by.count()
        };
        let accused = self.parties().filter(|(at, name)| accusers(*at, name) > threshold);
        accused.map(|(_, name)| name.to_owned()).collect()
    }

    /// The length of all sealed shares of results of one party, by result and receiver.
    fn results_len(&self) -> BTreeMap<(String, String), usize> {
        let mut lengths = BTreeMap::new();
        for output in self.agreed.plan().program.outputs() {
            let Receivers::Clients(names) = output.to else { continue };
            for receiver in names {
                let len = output_len(&self.agreed, output.node);
                lengths.insert((output.name.to_owned(), receiver.clone()), len);
            }
        }
        lengths
    }

    /// Keeps the results, and says what the record shows of them.
    async fn finish(&self, ended: BTreeMap<usize, Ended>, began: Instant) -> Value {
        let own = self.agreed.party(self.computations.name()).unwrap_or_default();
        let journal = &self.computations.0.journal;
        for (party, end) in &ended {
            for ((output, receiver), bytes) in &end.sealed {
                let name =
                    ShareName::Output { output: output.clone(), receiver: receiver.clone(), party: *party };
                if let Err(error) = journal.put_share((&self.place.0, &self.place.1), &name, bytes).await {
                    return self.internal(&error);
                }
            }
        }
        let settings = self.agreed.plan().program.settings();
        let mine = ended.get(&own).cloned().unwrap_or_default();
        let cheaters = self.accused(&ended);
        let bytes_sent: u64 = ended.values().map(|end| end.told.bytes_sent).sum();
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        json!({
            "state": "completed",
            "run": self.run,
            "tier": settings.tier.as_str(),
            "field": settings.field.as_str(),
            "plan_sha256": self.agreed.digest().to_string(),
            "rounds": mine.told.rounds,
            "bytes_sent": bytes_sent,
            "took_ms": took_ms,
            "cheaters": cheaters,
            "open": mine.open,
        })
    }
}
