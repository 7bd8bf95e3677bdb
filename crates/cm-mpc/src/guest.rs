//! Taking part in runs that other nodes lead.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cm_computation::{Advance, Agreed, FieldName, Id, Owner};
use cm_crypto::seal::MESSAGE_OVERHEAD;
use cm_net::{Incoming, LinkError, Refusal};
use cm_types::PeerId;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use uuid::Uuid;

use crate::control::{
    ABOUT, About, HEAD_LEN_MAX, INPUT, InputHead, Outcome, PROPOSAL_LEN_MAX, PROPOSE, Proposal, RUN, Reply,
    RunHead,
};
use crate::journal::{Binding, digest_of};
use crate::party::{Ended, Part};
use crate::{ComputationError, Computations, ErrorClass, Failure};

/// How long a proposal waits for its start.
const PROPOSAL_FOR: Duration = Duration::from_secs(120);
/// Longest patience that a leader may ask for.
const PATIENCE_MAX: Duration = Duration::from_secs(600);
/// Sealed bytes of all inputs of one run that one party takes.
const INPUT_BYTES_MAX: usize = 1 << 30;

/// A run that was proposed and has not started.
pub(crate) struct Proposed {
    leader: PeerId,
    agreed: Arc<Agreed>,
    me: usize,
    within: Duration,
    patience: Duration,
    sealed: BTreeMap<String, Vec<u8>>,
    /// Bytes of the inputs that have come or are on their way, by input.
    reserved: BTreeMap<String, usize>,
    since: Instant,
}

impl Proposed {
    /// Takes room for an input, which comes once: how many bytes it has.
    fn reserve(&mut self, input: &str) -> Option<usize> {
        let number = self.agreed.plan().program.inputs().find(|(name, ..)| *name == input);
        number.filter(|(_, owner, _)| holders(&self.agreed, owner).contains(&self.me))?;
        let len = sealed_len(&self.agreed, input)?;
        let taken: usize = self.reserved.values().sum();
        if self.reserved.contains_key(input) || len > INPUT_BYTES_MAX.saturating_sub(taken) {
            return None;
        }
        self.reserved.insert(input.to_owned(), len);
        Some(len)
    }
}

impl Computations {
    /// Answers what other nodes ask about runs.
    pub(crate) fn answer_peers(&self) {
        let Some(network) = &self.0.network else { return };
        let links = &network.links;
        let about = About {
            name: self.name().to_owned(),
            sealing_key: self.sealing_key(),
            client_key: Some(self.client_key()),
        };
        let about = Bytes::from(serde_json::to_vec(&about).expect("plain data"));
        let taken = "each kind is registered once";
        links
            .on_request(ABOUT, 0, move |_, _| {
                let about = about.clone();
                async move { Ok(about) }
            })
            .expect(taken);
        // The links belong to the engine: if their handlers held it, neither would ever go.
        let own = Arc::downgrade(&self.0);
        links
            .on_request(PROPOSE, PROPOSAL_LEN_MAX, move |from, body| {
                let own = own.upgrade().map(Computations);
                async move {
                    let Some(own) = own else { return Err(Refusal::Unavailable) };
                    let reply = match serde_json::from_slice(&body) {
                        Ok(proposal) => own.consider(from, proposal).await,
                        Err(_) => return Err(Refusal::Malformed),
                    };
                    Ok(Bytes::from(serde_json::to_vec(&reply).expect("plain data")))
                }
            })
            .expect(taken);
        let own = Arc::downgrade(&self.0);
        links
            .on_stream(INPUT, HEAD_LEN_MAX, move |head, incoming| {
                let own = own.upgrade().map(Computations);
                async move {
                    if let Some(own) = own {
                        own.take_input(&head, incoming).await;
                    }
                }
            })
            .expect(taken);
        let own = Arc::downgrade(&self.0);
        links
            .on_stream(RUN, HEAD_LEN_MAX, move |head, incoming| {
                let own = own.upgrade().map(Computations);
                async move {
                    if let Some(own) = own {
                        own.take_part(&head, incoming).await;
                    }
                }
            })
            .expect(taken);
    }

    async fn consider(&self, leader: PeerId, proposal: Proposal) -> Reply {
        let refused = |why: &str| Reply::Refused(why.to_owned());
        // Checking a plan walks all of it.
        let reading =
            self.0.tasks.spawn_blocking("mpc-plan", move || (Agreed::read(proposal.plan), proposal.run));
        let (agreed, run) = match reading.await {
            Ok((Ok(agreed), run)) => (agreed, run),
            Ok((Err(error), _)) => return Reply::Refused(error.to_string()),
            Err(_) => return refused("the plan cannot be read"),
        };
        let Some(me) = agreed.party(self.name()) else {
            return refused("this node is not one of the parties");
        };
        let own = &agreed.plan().parties[me];
        if own.sealing_key != self.sealing_key() || own.link_key != self.link_key().0 {
            return refused("the plan has other keys for this node than it has");
        }
        if agreed.party(leader.as_str()).is_none() {
            return refused("whoever proposes a run must be one of its parties");
        }
        let known = self.peers();
        let stranger = agreed.plan().parties.iter().find(|party| {
            party.name != self.name()
                && !known.iter().any(|peer| peer.name == party.name && peer.link_key.0 == party.link_key)
        });
        if let Some(party) = stranger {
            return Reply::Refused(format!("party `{}` is not known here, or by another key", party.name));
        }
        // Told at once; when the run starts, it is looked at again.
        if let Ok(Some(true)) = self.0.journal.begun(agreed.digest()).await {
            return refused(Binding::Spent.refusal().unwrap_or_default());
        }
        if let Err(error) = self.signing_for(&agreed).await {
            return Reply::Refused(error.to_string());
        }
        // It is noted when it starts, with its inputs.
        match self.0.journal.has_run(run).await {
            Ok(false) => {}
            Ok(true) => return refused(Binding::Again.refusal().unwrap_or_default()),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "journal of computations not read");
                return refused("its journal cannot be read");
            }
        }
        let mut proposed = self.0.proposed.lock().unwrap_or_else(PoisonError::into_inner);
        proposed.retain(|_, proposed| proposed.since.elapsed() < PROPOSAL_FOR);
        // Everybody who takes part knows the run: nobody else may put a plan of their own in its place.
        if proposed.get(&run).is_some_and(|known| known.leader != leader) {
            return refused(Binding::Again.refusal().unwrap_or_default());
        }
        if proposed.len() + self.0.taking.load(Ordering::Relaxed) >= self.0.config.runs_max {
            return refused("too many runs of others are under way here");
        }
        let (within, patience) =
            (Duration::from_millis(proposal.within_ms), Duration::from_millis(proposal.patience_ms));
        let agreed = Arc::new(agreed);
        tracing::info!(%leader, %run, plan = %agreed.digest(), "run of a computation accepted");
        proposed.insert(
            run,
            Proposed {
                leader,
                agreed,
                me,
                within: within.min(Duration::from_secs(24 * 3600)),
                patience: patience.min(PATIENCE_MAX),
                sealed: BTreeMap::new(),
                reserved: BTreeMap::new(),
                since: Instant::now(),
            },
        );
        Reply::Accepted
    }

    async fn take_input(&self, head: &[u8], mut incoming: Incoming) {
        let Some(head) = decoded::<InputHead>(head) else {
            return drop(incoming.refuse(Refusal::Malformed).await);
        };
        let expected = {
            let mut proposed = self.0.proposed.lock().unwrap_or_else(PoisonError::into_inner);
            let run = proposed.get_mut(&head.run).filter(|proposed| proposed.leader == *incoming.peer());
            run.and_then(|run| run.reserve(&head.input))
        };
        let Some(expected) = expected else { return drop(incoming.refuse(Refusal::NotAllowed).await) };
        let mut bytes = Vec::new();
        loop {
            match incoming.receive().await {
                Ok(Some(piece)) if bytes.len() + piece.len() <= expected => bytes.extend_from_slice(&piece),
                Ok(None) if bytes.len() == expected => break,
                Ok(_) => return drop(incoming.refuse(Refusal::TooLong).await),
                Err(_) => return,
            }
        }
        {
            let mut proposed = self.0.proposed.lock().unwrap_or_else(PoisonError::into_inner);
            // The run may be another leader's by now.
            let run = proposed.get_mut(&head.run).filter(|proposed| proposed.leader == *incoming.peer());
            if let Some(run) = run {
                run.sealed.insert(head.input, bytes);
            }
        }
        // Whether the leader hears it shows when it starts the run.
        drop(incoming.answer(Bytes::new()).await);
    }

    async fn take_part(&self, head: &[u8], incoming: Incoming) {
        let Some(head) = decoded::<RunHead>(head) else {
            return drop(incoming.refuse(Refusal::Malformed).await);
        };
        let proposed = {
            let mut all = self.0.proposed.lock().unwrap_or_else(PoisonError::into_inner);
            match all.get(&head.run) {
                Some(proposed) if proposed.leader == *incoming.peer() => {
                    self.0.taking.fetch_add(1, Ordering::Relaxed);
                    all.remove(&head.run)
                }
                _ => None,
            }
        };
        let Some(proposed) = proposed else { return drop(incoming.refuse(Refusal::NotAllowed).await) };
        // When the leader is gone, this future is dropped, and the run with it.
        let cancel = self.0.tasks.token().child_token();
        let _over = cancel.clone().drop_guard();
        let _ended = RunEnds { computations: self.clone(), run: head.run };
        let part = Part {
            agreed: proposed.agreed,
            run: head.run,
            me: proposed.me,
            sealed: proposed.sealed,
            deadline: Instant::now() + proposed.within,
            within: proposed.within,
            patience: proposed.patience,
            cancel,
            advance: Advance::default(),
            signing: None,
        };
        let outcome = self.take_once(part, Some(head.run)).await;
        if let Err(failure) = &outcome {
            tracing::warn!(run = %head.run, %failure, "run of a computation failed");
        }
        let (outcome, bodies) = Outcome::of(outcome);
        if let Err(error) = answer(incoming, &outcome, bodies).await {
            tracing::warn!(run = %head.run, %error, "results of a run not delivered");
        }
    }

    /// Takes part in a run of a plan that has come to no results here and was begun with no other inputs. `begins` is the run if it has not been noted yet.
    pub(crate) async fn take_once(&self, mut part: Part, begins: Option<Uuid>) -> Result<Ended, Failure> {
        let Some(network) = &self.0.network else { return Err(Failure::Cancelled) };
        let journal = &self.0.journal;
        let internal = |error: ComputationError| {
            tracing::error!(error = &error as &dyn std::error::Error, "journal of computations not written");
            Failure::Internal { party: self.name().to_owned() }
        };
        let refused = |why: &str| Failure::Refused { party: self.name().to_owned(), why: why.to_owned() };
        let plan = *part.agreed.digest();
        let bound = journal.bind(&plan, digest_of(&part.sealed), begins).await.map_err(internal)?;
        if let Some(why) = bound.refusal() {
            return Err(refused(why));
        }
        part.signing = self.signing_for(&part.agreed).await.map_err(|error| match error.class() {
            ErrorClass::Internal => internal(error),
            _ => refused(&error.to_string()),
        })?;
        let (agreed, run) = (part.agreed.clone(), part.run);
        let mut ended = part.take(&network.meeting, self.0.sealing_key.clone(), &self.0.tasks).await?;
        // A key that signed without being kept would be lost with the others' shares of it.
        if let Some(made) = ended.mark.as_mut().and_then(|mark| mark.made.take()) {
            self.keep_group_key(&agreed, run, &made).await.map_err(internal)?;
        }
        if !journal.spend(&plan).await.map_err(internal)? {
            return Err(refused("another run of this plan has come to results meanwhile"));
        }
        Ok(ended)
    }
}

async fn answer(mut incoming: Incoming, outcome: &Outcome, bodies: Vec<Vec<u8>>) -> Result<(), LinkError> {
    for body in bodies {
        incoming.send(Bytes::from(body)).await?;
    }
    incoming.answer(Bytes::from(serde_json::to_vec(outcome).expect("plain data"))).await
}

/// Notes the end of a run, however it ends.
struct RunEnds {
    computations: Computations,
    run: Uuid,
}

impl Drop for RunEnds {
    fn drop(&mut self) {
        self.computations.0.taking.fetch_sub(1, Ordering::Relaxed);
        let (computations, run) = (self.computations.clone(), self.run);
        self.computations.0.tasks.spawn("mpc-run-ends", async move {
            if let Err(error) = computations.0.journal.end(run).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "end of a run not noted");
            }
        });
    }
}

/// The length of a party's sealed share of an input.
pub(crate) fn sealed_len(agreed: &Agreed, input: &str) -> Option<usize> {
    let program = &agreed.plan().program;
    let (_, _, id) = program.inputs().find(|(name, ..)| *name == input)?;
    Some(output_len(agreed, id))
}

/// The length of a party's sealed share of a value.
pub(crate) fn output_len(agreed: &Agreed, id: Id) -> usize {
    let program = &agreed.plan().program;
    let width = match program.settings().field {
        FieldName::F61 => 8,
        FieldName::Secp256k1 => 32,
    };
    program.node(id).shape.len() * width + MESSAGE_OVERHEAD
}

/// The parties that have a part of an input, by number.
pub(crate) fn holders(agreed: &Agreed, owner: &Owner) -> Vec<usize> {
    match owner {
        Owner::Client(_) => (0..agreed.plan().parties.len()).collect(),
        Owner::Party(name) => agreed.party(name).into_iter().collect(),
    }
}

fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}
