//! What becomes of a running instance: every state of its runs is recorded, and its end.

use std::collections::BTreeMap;

use cm_instance::control::{RunPhase, RunState};
use cm_instance::{ExecutionReport, Outcome};
use cm_kernel::catalog::kinds::FunctionState;
use cm_kernel::policy::{Invoke, Permit};
use cm_kernel::{KernelError, OpContext};
use cm_types::{ResourceId, TenantId};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Functions;
use crate::launcher::{Ended, RunningInstance, Told};
use crate::records::Metadata;
use crate::refusals::Allowance;

/// Watches one instance until its process is gone. The process dies with this, at the latest.
pub(crate) struct Watch {
    pub(crate) subject: Subject,
    pub(crate) instance: RunningInstance,
    pub(crate) stop: CancellationToken,
    pub(crate) tell: watch::Sender<bool>,
}

/// Whose states are recorded, and where.
pub(crate) struct Subject {
    pub(crate) functions: Functions,
    /// The creator's operation: what is observed is recorded in its name.
    pub(crate) op: OpContext,
    /// Where its runs are recorded, if it is an instance of a function.
    pub(crate) history: Option<History>,
    pub(crate) name: (TenantId, ResourceId),
    /// The status that it has as long as it runs.
    pub(crate) ready: Value,
}

/// The function whose states and results the runs of an instance are.
pub(crate) struct History {
    pub(crate) function: ResourceId,
    pub(crate) permit: Permit<Invoke>,
}

impl Watch {
    pub(crate) async fn run(mut self) {
        let mut asked = false;
        let now = self.subject.functions.0.kernel.clock().monotonic();
        let (mut refusals, mut keys) = (Allowance::new(now), Allowance::new(now));
        let mut unfinished: BTreeMap<u64, RunState> = BTreeMap::new();
        loop {
            let told = tokio::select! {
                () = self.stop.cancelled(), if !asked => {
                    self.instance.ask_to_end().await;
                    asked = true;
                    continue;
                }
                told = self.instance.told() => told,
            };
            match told {
                Told::Run(run) => {
                    match run.report {
                        None => drop(unfinished.insert(run.run_id, run.clone())),
                        Some(_) => drop(unfinished.remove(&run.run_id)),
                    }
                    if let Err(error) = self.subject.record(run).await {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(instance = %self.subject.name.1, error, "state of a run not recorded");
                    }
                }
                Told::Refused(refused) => self.subject.note(&refused, &mut refusals).await,
                Told::KeyProvided(provided) => self.subject.note_key(&provided, &mut keys).await,
                Told::Ended => break,
            }
        }
        let Self { subject, instance, tell, .. } = self;
        let how = instance.ended().await;
        for run in unfinished.into_values().filter(|run| run.state != RunPhase::Starting) {
            // Its instance can no longer say how it ended.
            let report = Some(ExecutionReport::before_start(Outcome::Cancelled));
            if let Err(error) = subject.record(RunState { state: RunPhase::Failed, report, ..run }).await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(instance = %subject.name.1, error, "end of a run not recorded");
            }
        }
        let Subject { functions, op, name, ready, .. } = subject;
        let end = match how {
            Ended::Exited(0) => json!({ "state": "exited", "code": 0 }),
            Ended::Exited(code) => {
                json!({ "state": "failed", "code": code, "reason": "the process broke off" })
            }
            Ended::Killed => json!({ "state": "failed", "reason": "the process was killed" }),
            Ended::Removed(ref reason) => json!({ "state": "failed", "reason": reason }),
        };
        let status = ended(&ready, end);
        tracing::info!(instance = %name.1, ?how, "instance ended");
        functions.0.running().remove(&name);
        match functions.0.records.set_status(&op, &name.1, status).await {
            Ok(_) | Err(KernelError::NotFound(_)) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(instance = %name.1, error, "end of an instance not recorded");
            }
        }
        // Nobody may be waiting.
        let _ = tell.send(true);
    }
}

impl Subject {
    async fn record(&self, run: RunState) -> Result<(), KernelError> {
        let name = match run.state {
            // Waiting for its turn is no state of the function: others may be running it.
            RunPhase::Starting => return Ok(()),
            RunPhase::Running => "running",
            RunPhase::Completed => "completed",
            RunPhase::Failed => "failed",
        };
        let records = &self.functions.0.records;
        let Some(History { function, permit }) = &self.history else {
            // Without a function whose history it is, the last run stands in the status of the instance.
            let mut status = self.ready.clone();
            status["last_run"] = json!({ "state": name, "metadata": metadata(&run) });
            return records.set_status(&self.op, &self.name.1, status).await.map(drop);
        };
        let state = FunctionState {
            function_id: function.clone(),
            instance_id: Some(self.name.1.clone()),
            state: name.to_owned(),
            metadata: metadata(&run),
        };
        if run.report.is_some() {
            records.append_end(&self.op, permit, state).await
        } else {
            records.append_state(&self.op, permit, state).await.map(drop)
        }
    }
}

/// The status of an instance that has ended: how, and by what it is still known.
pub(crate) fn ended(before: &Value, end: Value) -> Value {
    let mut status = end;
    for known in ["node", "address", "policy_hash", "measurement"] {
        if let Some(value) = before.get(known) {
            status[known] = value.clone();
        }
    }
    status
}

/// What is known of a run, without anything that the program wrote: not even the engine's message of a
/// trap, in which names from the module could stand.
fn metadata(run: &RunState) -> Metadata {
    let mut metadata = Metadata::from([
        ("run".to_owned(), run.run_id.to_string()),
        ("program".to_owned(), run.program.to_string()),
        ("identity".to_owned(), run.identity.to_string()),
    ]);
    let Some(report) = &run.report else { return metadata };
    metadata.insert("outcome".to_owned(), outcome_name(&report.outcome).to_owned());
    metadata.insert("wall_ms".to_owned(), report.wall_ms.to_string());
    match &report.outcome {
        Outcome::Completed => {
            metadata.insert("exit_code".to_owned(), "0".to_owned());
        }
        Outcome::Exit { code } => {
            metadata.insert("exit_code".to_owned(), code.to_string());
        }
        Outcome::LimitExceeded { which } => {
            metadata.insert("limit".to_owned(), which.to_string());
        }
        _ => {}
    }
    metadata
}

fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => "completed",
        Outcome::Exit { .. } => "exit",
        Outcome::Trap { .. } => "trap",
        Outcome::MissingRight { .. } => "missing-right",
        Outcome::HashMismatch { .. } => "hash-mismatch",
        Outcome::LimitExceeded { .. } => "limit-exceeded",
        Outcome::Cancelled => "cancelled",
        Outcome::NotFound => "not-found",
        Outcome::InvalidModule { .. } => "invalid-module",
    }
}
