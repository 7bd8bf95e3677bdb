//! One party's part in a run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cm_computation::client::{open_input, seal_output};
use cm_computation::interpret::literals;
use cm_computation::proof::{open_digest, open_text, shared_results, shares_digest, statement_digest};
use cm_computation::{Advance, Agreed, FieldName, Given, Id, Literal, Owner, Receivers, Released, carry_out};
use cm_crypto::exchange::ExchangeKey;
use cm_crypto::seal::RecipientSecretKey;
use cm_crypto::threshold::{GroupKey, KeyShare};
use cm_net::Direct;
use cm_runtime::Tasks;
use cm_shares::{F61, Field, Keys, Machine, MpcError, Party, Scalar, Session};
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
    /// How it signs the result, if the plan says so.
    pub(crate) signing: Option<Signing>,
}

/// By which key a party signs with the others.
#[derive(Clone, Debug)]
pub(crate) enum Signing {
    /// One that they make first.
    Fresh,
    /// One of which it has a share.
    Held(Box<KeyShare>),
}

/// The parties' signature of a result.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) key: GroupKey,
    /// The digest of each signer's shares of results.
    pub(crate) shares: Vec<Option<[u8; 32]>>,
    pub(crate) signature: Vec<u8>,
    /// This party's share of the key, if it was made in this run.
    pub(crate) made: Option<KeyShare>,
}

/// What a party has in the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ended {
    /// Its shares of results, sealed: by result and receiver.
    pub(crate) sealed: BTreeMap<(String, String), Vec<u8>>,
    /// What everybody learned.
    pub(crate) open: BTreeMap<String, Vec<Literal>>,
    pub(crate) told: Told,
    /// What it signed with the others, if the plan says so. It stays with this party.
    pub(crate) mark: Option<Mark>,
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
            match met {
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
        let part = self.clone();
        let mut machine =
            Machine::new(terms, &keys, conversation.outbox(), move |session| part.carry_out(session, given))
                .map_err(failed)?;
        let limits = Limits {
            deadline: self.deadline.into_std(),
            within: self.within,
            patience: self.patience,
            cancel: self.cancel.clone(),
        };
        let mut ended = conversation.drive(&mut machine, &limits, &names)??;
        let traffic = machine.traffic();
        let cheaters = machine.cheaters().iter().map(|party| names[party.index()].clone()).collect();
        ended.told = Told { rounds: traffic.rounds, bytes_sent: traffic.bytes_sent, cheaters };
        Ok(ended)
    }

    /// What happens between the parties: they compute, and sign what they have come to.
    async fn carry_out<F: Field>(
        self,
        mut session: Session,
        given: Given<F>,
    ) -> Result<Result<Ended, Failure>, MpcError> {
        let released = carry_out(&mut session, &self.agreed.plan().program, &given, &self.advance).await?;
        let mut ended = match self.seal(released) {
            Ok(ended) => ended,
            Err(failure) => return Ok(Err(failure)),
        };
        if let Some(signing) = &self.signing {
            ended.mark = Some(self.sign(&mut session, signing, &ended).await?);
        }
        Ok(Ok(ended))
    }

    /// Signs with the others what everybody learned, and which sealed shares each party gives.
    async fn sign(&self, session: &mut Session, signing: &Signing, ended: &Ended) -> Result<Mark, MpcError> {
        let (key, made) = match signing {
            Signing::Held(key) => (KeyShare::clone(key), None),
            Signing::Fresh => {
                let key = session.make_key().await?;
                (key.clone(), Some(key))
            }
        };
        let (plan, run) = (self.agreed.plan(), self.run.to_string());
        let open = open_digest(&open_text(&ended.open));
        let own = shares_digest(&shared_results(&ended.sealed));
        let message = |shares: &[Option<[u8; 32]>]| {
            let parties =
                plan.parties.iter().zip(shares).map(|(party, shares)| (party.name.as_str(), *shares));
            *statement_digest(&plan.computation, &run, self.agreed.digest(), &open, parties).as_bytes()
        };
        let signed = session.sign(&key, *open.as_bytes(), *own.as_bytes(), message).await?;
        Ok(Mark { key: key.group_key(), shares: signed.own, signature: signed.signature, made })
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

    fn seal<F: Field>(&self, released: Vec<(Id, Released<F>)>) -> Result<Ended, Failure> {
        let (program, run) = (&self.agreed.plan().program, self.run.to_string());
        let mut ended = Ended::default();
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
                        let sealed = seal_output(&self.agreed, &run, output.name, self.me, receiver, &share);
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
