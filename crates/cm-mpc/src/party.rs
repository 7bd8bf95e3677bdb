//! One party's part in a run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cm_computation::client::{open_input, seal_output};
use cm_computation::interpret::literals;
use cm_computation::{Advance, Agreed, FieldName, Given, Id, Literal, Owner, Receivers, Released, interpret};
use cm_crypto::exchange::ExchangeKey;
use cm_crypto::seal::RecipientSecretKey;
use cm_net::Direct;
use cm_runtime::Tasks;
use cm_shares::{F61, Field, Keys, Machine, MpcError, Party, Scalar};
use cm_types::PeerId;
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Failure;
use crate::conversation::{Conversation, Limits};
use crate::meeting::Meeting;

/// A run, as one party takes part in it.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) agreed: Arc<Agreed>,
    pub(crate) run: Uuid,
    /// This party's number.
    pub(crate) me: usize,
    /// Its sealed shares of inputs, and its sealed private values.
    pub(crate) sealed: BTreeMap<String, Vec<u8>>,
    /// When the run must be over.
    pub(crate) deadline: Instant,
    /// How long it may take in all.
    pub(crate) within: Duration,
    /// For how long a party may say nothing.
    pub(crate) patience: Duration,
    pub(crate) cancel: CancellationToken,
    pub(crate) advance: Advance,
}

/// What a party has in the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ended {
    /// Its shares of results, sealed: by result and receiver.
    pub(crate) sealed: BTreeMap<(String, String), Vec<u8>>,
    /// What everybody learned.
    pub(crate) open: BTreeMap<String, Vec<Literal>>,
    pub(crate) told: Told,
}

/// What a party tells of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// How often it waited for others.
    pub rounds: u64,
    /// Bytes that it sent to others.
    pub bytes_sent: u64,
    /// Parties that it found cheating.
    pub cheaters: Vec<String>,
}

impl Part {
    fn names(&self) -> Vec<String> {
        self.agreed.plan().parties.iter().map(|party| party.name.clone()).collect()
    }

    /// Meets the other parties and computes with them.
    ///
    /// # Errors
    /// Why there is no result.
    pub(crate) async fn take(
        self,
        meeting: &Meeting,
        key: Arc<RecipientSecretKey>,
        tasks: &Tasks,
    ) -> Result<Ended, Failure> {
        let own = ExchangeKey::generate();
        let (directs, publics) = self.gather(meeting, &own).await?;
        let conversation = Conversation::new(directs);
        let (talk, own_name) = (conversation.clone(), self.names()[self.me].clone());
        let computing = tasks.spawn_blocking("mpc-party", move || {
            let outcome = match self.agreed.plan().program.settings().field {
                FieldName::F61 => self.compute::<F61>(&talk, &own, &publics, &key),
                FieldName::Secp256k1 => self.compute::<Scalar>(&talk, &own, &publics, &key),
            };
            (outcome, self.me)
        });
        let Ok((outcome, me)) = computing.await else {
            return Err(Failure::Internal { party: own_name });
        };
        if outcome.is_ok() {
            for (party, direct) in conversation.into_clean() {
                meeting.keep(direct, me > party);
            }
        }
        outcome
    }

    /// Connections to all others, with their fresh keys. Who does not come is lost, which only the robust tier survives.
    async fn gather(
        &self,
        meeting: &Meeting,
        own: &ExchangeKey,
    ) -> Result<(Vec<Option<Direct>>, Vec<cm_crypto::exchange::PublicExchangeKey>), Failure> {
        let names = self.names();
        let until = self.deadline.min(Instant::now() + self.patience);
        let meetings = names.iter().enumerate().map(|(at, name)| async move {
            if at == self.me {
                return None;
            }
            let peer: PeerId = name.parse().ok()?;
            meeting.meet(self.run, &peer, self.me > at, own.public(), until).await.ok()
        });
        let met = tokio::select! {
            () = self.cancel.cancelled() => return Err(Failure::Cancelled),
            met = join_all(meetings) => met,
        };
        let is_robust = self.agreed.plan().program.settings().tier == cm_computation::TierName::Robust;
        let (mut directs, mut publics) = (Vec::new(), Vec::new());
        for (at, met) in met.into_iter().enumerate() {
            // While the others came, one that calls may have had to call once more.
            let peer = names[at].parse().ok().filter(|_| at > self.me);
            let again = peer.and_then(|peer| meeting.met_again(self.run, &peer, own.public()));
            match again.or(met) {
                Some((direct, key)) => {
                    directs.push(Some(direct));
                    publics.push(key);
                }
                None if at == self.me => {
                    directs.push(None);
                    publics.push(own.public());
                }
                None if is_robust => {
                    directs.push(None);
                    // It says nothing to anybody: any key will do.
                    publics.push(ExchangeKey::generate().public());
                }
                None => {
                    let why = "it did not come".to_owned();
                    return Err(Failure::Lost { party: names[at].clone(), why });
                }
            }
        }
        Ok((directs, publics))
    }

    fn compute<F: Field>(
        &self,
        conversation: &Conversation,
        own: &ExchangeKey,
        publics: &[cm_crypto::exchange::PublicExchangeKey],
        key: &RecipientSecretKey,
    ) -> Result<Ended, Failure> {
        let names = self.names();
        let failed = |error: MpcError| Failure::of(&error, &names);
        let me = Party(u8::try_from(self.me).map_err(|_| Failure::Internal { party: self.me.to_string() })?);
        let run = self.run.to_string();
        let terms = self.agreed.terms(&run).map_err(failed)?;
        let keys = Keys::agree(me, own, publics, 0).map_err(failed)?;
        let given = self.given::<F>(me, &names, key)?;
        let program = Arc::new(self.agreed.plan().program.clone());
        let advance = self.advance.clone();
        let mut machine = Machine::new(terms, &keys, conversation.outbox(), move |session| {
            interpret(session, program, given, advance)
        })
        .map_err(failed)?;
        let limits = Limits {
            deadline: self.deadline.into_std(),
            within: self.within,
            patience: self.patience,
            cancel: self.cancel.clone(),
        };
        let released = conversation.drive(&mut machine, &limits, &names)?;
        let traffic = machine.traffic();
        let cheaters = machine.cheaters().iter().map(|party| names[party.index()].clone()).collect();
        let told = Told { rounds: traffic.rounds, bytes_sent: traffic.bytes_sent, cheaters };
        self.seal(&run, released, told)
    }

    fn given<F: Field>(
        &self,
        me: Party,
        names: &[String],
        key: &RecipientSecretKey,
    ) -> Result<Given<F>, Failure> {
        let mut given =
            Given { me, parties: names.to_vec(), shares: BTreeMap::new(), private: BTreeMap::new() };
        for (input, owner, _) in self.agreed.plan().program.inputs() {
            let is_private = match owner {
                Owner::Client(_) => false,
                Owner::Party(name) if *name == names[self.me] => true,
                Owner::Party(_) => continue,
            };
            let refused = |why: String| Failure::Refused { party: names[self.me].clone(), why };
            let sealed = self.sealed.get(input);
            let sealed = sealed.ok_or_else(|| refused(format!("it has no share of `{input}`")))?;
            let opened = open_input::<F>(&self.agreed, input, self.me, key, sealed);
            let opened = opened.map_err(|error| refused(format!("input `{input}`: {error}")))?;
            let place = if is_private { &mut given.private } else { &mut given.shares };
            place.insert(input.to_owned(), opened);
        }
        Ok(given)
    }

    fn seal<F: Field>(
        &self,
        run: &str,
        released: Vec<(Id, Released<F>)>,
        told: Told,
    ) -> Result<Ended, Failure> {
        let program = &self.agreed.plan().program;
        let mut ended = Ended { told, ..Ended::default() };
        for (id, released) in released {
            let Some(output) = program.outputs().find(|output| output.node == id) else { continue };
            match (released, output.to) {
                (Released::Open(values), _) => {
                    let bits = program.settings().fraction_bits;
                    let values = literals(&values, program.node(id).kind, bits);
                    ended.open.insert(output.name.to_owned(), values);
                }
                (Released::Share(share), Receivers::Clients(receivers)) => {
                    for receiver in receivers {
                        let sealed = seal_output(&self.agreed, run, output.name, self.me, receiver, &share);
                        let sealed = sealed.map_err(|error| Failure::Protocol { what: error.to_string() })?;
                        ended.sealed.insert((output.name.to_owned(), receiver.clone()), sealed);
                    }
                }
                (Released::Share(_), Receivers::Everybody) => {}
            }
        }
        Ok(ended)
    }
}
