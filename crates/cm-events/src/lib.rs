//! The one trail: an append-only log, written in the transaction of what it tells about.
//!
//! **Chain.** Record *n* is stored as `hash ‖ version ‖ JSON`, with
//! `hash(n) = SHA-256(domain ‖ hash(n-1) ‖ n ‖ version ‖ JSON)`. Every append signs the newest hash and
//! number (the *head*) with the node's key, and every thousandth is kept (a *checkpoint*). Records are
//! numbered from 1 without gaps.
//!
//! **What verification finds**, and names by number: any altered byte of a record, of the head or of a
//! checkpoint; a record that is missing, also the last ones; records that changed places; records that
//! were rewritten together with all hashes after them; anything signed by another key; records nobody
//! signed for. See [`verify()`].
//!
//! **What it cannot find** without help from outside: that the whole data directory was put back to an
//! earlier state (every signature in it is genuine), that all of the log was removed together with its
//! head, and whatever is done by somebody who holds the node's signing key. Against the first two, an
//! operator keeps a [`Head`] elsewhere now and then (its text form is one line) and gives it to the
//! verification as an anchor: everything up to it must still be there, unchanged.
//!
//! **Appending never launders.** A head is only extended if its signature is good; a node whose log was
//! tampered with at the end refuses to write, with [`EventError::Broken`].
//!
//! Reading order: [`Event`], [`EventVerb`], [`EventLog`], [`verify()`].

mod chain;
mod error;
mod event;
mod log;
mod verb;
pub mod verify;

pub use chain::{CHECKPOINT_EVERY, Head, InvalidHead, TABLES, VerifyingKeys};
pub use error::{EventError, Finding, What};
pub use event::{BODY_LEN_MAX, Event, EventFilter, NewEvent, Outcome};
pub use log::EventLog;
pub use verb::{EventVerb, InvalidVerb, VERB_LEN_MAX};
pub use verify::{Progress, Verified, VerifyOptions, verify};
