//! A party's part of a computation as a state machine: frames in, frames out, and a result in the end.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::committee::{Party, Terms};
use crate::error::MpcError;
use crate::keys::Keys;
use crate::session::Session;
use crate::wire::{Outbox, Traffic, Wire};

/// How far a machine got.
#[derive(Debug)]
pub enum Progress<T> {
    /// It cannot go on without a frame of this party.
    Waiting(Party),
    /// It has ended; it must not be advanced again.
    Done(Result<T, MpcError>),
}

/// A running part of a computation.
///
/// It does nothing by itself: [`Machine::advance`] computes until a frame is missing, [`Machine::deliver`] and [`Machine::lose`] say what has happened on
/// the links. It reads no clock; deadlines belong to whoever drives it. Dropping it abandons the computation.
pub struct Machine<T> {
    wire: Wire,
    protocol: Pin<Box<dyn Future<Output = Result<T, MpcError>> + Send>>,
}

impl<T: 'static> Machine<T> {
    /// The part of the party whose keys these are. `program` says what is computed; all parties run the same one, on operands of the same lengths.
    ///
    /// # Errors
    ///
    /// [`MpcError::Parameter`] if the keys are for another number of parties.
    pub fn new<P, R>(terms: Terms, keys: &Keys, outbox: Outbox, program: P) -> Result<Self, MpcError>
    where
        P: FnOnce(Session) -> R,
        R: Future<Output = Result<T, MpcError>> + Send + 'static,
    {
        if keys.parties() != terms.committee().parties() {
            return Err(MpcError::Parameter("there must be one key for each party"));
        }
        let wire = Wire::new(&terms, keys, outbox);
        let session = Session::new(terms, keys, wire.clone());
        Ok(Self { wire, protocol: Box::pin(program(session)) })
    }

    /// Computes until a frame is missing or the end is reached. This is where the time goes: it belongs on a thread that may compute.
    ///
    /// # Panics
    ///
    /// When it has ended before.
    pub fn advance(&mut self) -> Progress<T> {
        match self.protocol.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Progress::Done(result),
            Poll::Pending => {
                Progress::Waiting(self.waiting().expect("the protocol waits for nothing but frames").0)
            }
        }
    }

    /// A frame of a party has arrived; frames of one party in the order in which it sent them.
    pub fn deliver(&mut self, from: Party, frame: Vec<u8>) {
        self.wire.deliver(from, frame);
    }

    /// Whose frame it waits for, and of which step; a larger step is later in the run.
    ///
    /// Who waits for a party that itself waits in an earlier step must not blame that party: only the one who waits in the earliest step may give up.
    pub fn waiting(&self) -> Option<(Party, u32)> {
        self.wire.waiting()
    }

    /// Nothing more will arrive of a party. What arrived before still counts. Not for a party that reached its end and then closed its links.
    pub fn lose(&mut self, party: Party) {
        self.wire.lose(party);
    }

    /// What has been sent so far.
    pub fn traffic(&self) -> Traffic {
        self.wire.traffic()
    }

    /// Parties that are known to have deviated from the protocol.
    pub fn cheaters(&self) -> Vec<Party> {
        self.wire.cheaters()
    }
}

impl<T> std::fmt::Debug for Machine<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("waiting", &self.wire.waiting()).finish_non_exhaustive()
    }
}
