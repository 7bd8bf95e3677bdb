//! One run, from its proposal to its end, as the node sees it that leads it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cm_computation::proof::{SignedParty, Statement, open_text, shared_results, shares_digest};
use cm_computation::{Advance, Agreed, Proof, Receivers};
use cm_kernel::events::{EventVerb, NewEvent, Outcome};
use cm_net::LinkError;
use cm_types::{PeerId, ResourceId, ResourceKind, ResourceRef, Sha256Digest, TenantId};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::computations::Network;
use crate::control::{INPUT, InputHead, Outcome as PartyOutcome, PROPOSE, Proposal, RUN, Reply, RunHead};
use crate::guest::{holders, output_len};
use crate::journal::{RunRow, ShareName};
use crate::lead::{Progress, failed};
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

/// One run, as its leader sees it.
pub(crate) struct Lead {
    pub(crate) computations: Computations,
    pub(crate) place: (TenantId, ResourceId),
    pub(crate) agreed: Arc<Agreed>,
    pub(crate) run: Uuid,
    pub(crate) within: Duration,
    pub(crate) cancel: CancellationToken,
    pub(crate) advance: Advance,
    pub(crate) sender: watch::Sender<Progress>,
}

impl Lead {
    /// From its note in the journal to the status of its record.
    pub(crate) async fn run(self) {
        let began = Instant::now();
        let row = RunRow { leads: Some(self.place.clone()), plan: *self.agreed.digest(), ended: false };
        let journal = &self.computations.0.journal;
        // What does not need another of these: notes of two databases, and the parties' consent.
        let running =
            self.computations.set_status(&self.place, json!({ "state": "running", "run": self.run }));
        let (begun, noted, proposed) = tokio::join!(journal.begin(self.run, row), running, self.propose());
        if let Err(error) = noted {
            tracing::warn!(error = &error as &dyn std::error::Error, "state of a computation not written");
        }
        let status = match begun {
            Ok(true) => {
                let led = match proposed {
                    Ok(ready) => self.lead(ready).await,
                    Err(failure) => Err(failure),
                };
                let led = led.and_then(|ended| self.prove(ended));
                match led {
                    Ok((ended, proof)) => self.finish(ended, proof, began).await,
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
        self.computations.running().remove(&self.place);
        let is_signed = state == "completed" && self.agreed.plan().signature.is_some();
        if is_signed && self.computations.0.config.anchor.is_some() {
            self.computations.anchor_soon(self.place.clone());
        }
        self.sender.send_modify(|progress| {
            progress.layers_done = self.advance.layers();
            progress.state = state;
        });
        // Nobody waits for that: a run that has an end in its record and none here is given one when the node starts again.
        if let Err(error) = journal.end(self.run).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "end of a run not noted");
        }
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

    fn me(&self) -> Result<usize, Failure> {
        let own = self.computations.name();
        self.agreed.party(own).ok_or_else(|| Failure::Internal { party: own.to_owned() })
    }

    /// Proposes the run to the other parties, with their inputs: those that are ready. Under the robust tier some may be missing.
    async fn propose(&self) -> Result<Vec<usize>, Failure> {
        let network = self.computations.0.network.clone().ok_or(Failure::Cancelled)?;
        let me = self.me()?;
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
        Ok(ready)
    }

    /// From the start to the parties' ends, by party.
    async fn lead(&self, ready: Vec<usize>) -> Result<BTreeMap<usize, Ended>, Failure> {
        let network = self.computations.0.network.clone().ok_or(Failure::Cancelled)?;
        let me = self.me()?;
        let deadline = Instant::now() + self.within;
        let own_has_ended = CancellationToken::new();
        let others = ready.iter().map(|at| {
            let (at, name, network) = (*at, self.agreed.plan().parties[*at].name.as_str(), &network);
            let own_has_ended = &own_has_ended;
            async move { (at, self.hear_soon(network, name, own_has_ended).await) }
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
            signing: None,
        };
        let own_part = async {
            let outcome = self.computations.take_once(part, None).await;
            own_has_ended.cancel();
            outcome
        };
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

    /// Starts a party and hears how it ended. One that says nothing for as long as anybody is waited for, once this node's own part has ended, is lost:
    /// its machine may stand still with its links open.
    async fn hear_soon(
        &self,
        network: &Network,
        name: &str,
        own_has_ended: &CancellationToken,
    ) -> Result<Ended, Failure> {
        let is_late = async {
            own_has_ended.cancelled().await;
            tokio::time::sleep(self.computations.0.config.patience).await;
        };
        tokio::select! {
            outcome = self.hear(network, name) => outcome,
            () = is_late => {
                let why = "it did not say how its part ended".to_owned();
                Err(Failure::Lost { party: name.to_owned(), why })
            }
        }
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
        // It says nothing before the run has ended, which may take as long as it may.
        exchange.let_it_work();
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
            // Nobody asked it to end: its node goes away. If this run was cancelled, this node's own part says so.
            Some(Err(Failure::Cancelled)) => {
                Err(Failure::Lost { party: name.to_owned(), why: "its node ended its part".to_owned() })
            }
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

    /// What the parties have signed, if the plan says so, as a proof that needs nobody's word. A party that gave others shares of results than it
    /// signed has cheated; the robust tier goes on without its shares.
    fn prove(
        &self,
        mut ended: BTreeMap<usize, Ended>,
    ) -> Result<(BTreeMap<usize, Ended>, Option<Proof>), Failure> {
        let plan = self.agreed.plan();
        if plan.signature.is_none() {
            return Ok((ended, None));
        }
        let own = self.agreed.party(self.computations.name()).unwrap_or_default();
        // Without its own part the leader has not seen what was signed.
        let mine = ended.get(&own).and_then(|end| Some((end.mark.clone()?, open_text(&end.open))));
        let (mark, open) =
            mine.ok_or_else(|| Failure::Internal { party: self.computations.name().to_owned() })?;
        let mut parties = Vec::with_capacity(plan.parties.len());
        for (at, name) in self.parties() {
            let signed = mark.shares.get(at).copied().flatten().map(Sha256Digest::from_bytes);
            let shares = ended.get(&at).map(|end| shared_results(&end.sealed));
            let fits = shares.as_deref().map(shares_digest) == signed;
            if shares.is_some() && !fits {
                if !self.is_robust() {
                    let what = format!("party `{name}` gave other shares of results than it had signed");
                    return Err(Failure::Cheating { what, party: Some(name.to_owned()) });
                }
                tracing::warn!(party = name, run = %self.run, "shares of results left out, which their party has not signed");
                ended.remove(&at);
            }
            let shares = shares.filter(|_| fits);
            parties.push(SignedParty { name: name.to_owned(), shares_sha256: signed, shares });
        }
        let threshold = self.agreed.terms("").map_or(0, |terms| terms.committee().threshold());
        let left_out = plan.parties.len() - ended.len();
        if left_out > threshold {
            let what = "too many parties gave shares of results that they had not signed".to_owned();
            return Err(Failure::Cheating { what, party: None });
        }
        let statement = Statement {
            computation: plan.computation.clone(),
            run: self.run.to_string(),
            plan_sha256: *self.agreed.digest(),
            open,
            parties,
        };
        let proof = Proof::new(statement, &mark.key, &mark.signature);
        match proof.verify(&mark.key) {
            Ok(()) => Ok((ended, Some(proof))),
            Err(error) => {
                tracing::error!(%error, run = %self.run, "the parties' signature does not hold");
                Err(Failure::Internal { party: self.computations.name().to_owned() })
            }
        }
    }

    /// Keeps the results, and says what the record shows of them.
    async fn finish(&self, ended: BTreeMap<usize, Ended>, proof: Option<Proof>, began: Instant) -> Value {
        let own = self.agreed.party(self.computations.name()).unwrap_or_default();
        let journal = &self.computations.0.journal;
        let shares =
            ended.iter().flat_map(|(party, end)| end.sealed.iter().map(move |share| (*party, share)));
        let kept = shares.map(|(party, ((output, receiver), bytes))| async move {
            let name = ShareName::Output { output: output.clone(), receiver: receiver.clone(), party };
            journal.put_share((&self.place.0, &self.place.1), &name, bytes).await
        });
        if let Some(error) = join_all(kept).await.into_iter().find_map(Result::err) {
            return self.internal(&error);
        }
        let settings = self.agreed.plan().program.settings();
        let mine = ended.get(&own).cloned().unwrap_or_default();
        let cheaters = self.accused(&ended);
        let bytes_sent: u64 = ended.values().map(|end| end.told.bytes_sent).sum();
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut status = json!({
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
        });
        if let Some(proof) = proof {
            status["proof"] = serde_json::to_value(proof).expect("plain data");
        }
        status
    }
}
