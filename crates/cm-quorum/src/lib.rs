//! One log that several nodes agree on, as a machine without a clock, a disk or a network.
//!
//! A [`Replica`] is told what happens (time passes, a message came, an entry was applied) and says what to do about it
//! ([`Effects`]: messages to send, log entries to make durable, entries to apply). So the code that runs in a node is, to
//! the letter, the code that a simulation drives through crashes and partitions.
//!
//! **Agreement** is Raft (Ongaro and Ousterhout, *In Search of an Understandable Consensus Algorithm*, 2014; Ongaro's
//! dissertation for pre-votes, changes of membership one at a time, handing over leadership and reads by index). A
//! leader that cannot reach a majority gives up by itself, and a node that hears of a living leader elects nobody else.
//!
//! **Turns.** The log's entries are write sets that were computed on a state. A node asks the leader for its turn, computes
//! on its own copy once that has all that the log has, and submits. Each entry names the **version** that it was computed
//! on: the index of the last entry that had an effect. Whoever applies it looks whether the version is still that one,
//! and does nothing otherwise ([`Applied::apply`]). So what is computed on an old state has no effect anywhere, an entry
//! that is submitted twice has its effect once, and all that a turn itself is good for is that nobody computes in vain.
//! Hence turns are the leader's memory only: they end after a time, and with the leader.
//!
//! **Reads** that must see everything that was answered before ask for a barrier: the leader makes sure that it still leads and tells
//! how far the reader's copy has to be.
//!
//! Reading order: [`Members`], [`Entry`], [`Message`], [`Applied`], [`Replica`].

mod applied;
mod asker;
mod codec;
mod desk;
mod effects;
mod log;
mod member;
mod message;
mod raft;
mod replica;
mod rng;
mod timing;

pub use applied::{Applied, Verdict};
pub use codec::{InvalidMessage, MESSAGE_LEN_MAX, decode_body, decode_members, encode_body, encode_members};
pub use effects::{Answer, Effects, Envelope, Task, Write};
pub use log::{Base, Batch, Body, CHANGES_LEN_MAX, Entry, Hard, Index, Position, Request, Term, Version};
pub use member::{CONTACT_LEN_MAX, Change, ChangeRefused, MEMBERS_MAX, Member, MemberId, Members};
pub use message::{ClusterId, Frame, Message, PIECE_LEN_MAX, SnapshotMeta};
pub use replica::{Fate, Inconsistent, Replica, Setup, Status, Stored};
pub use rng::Rng;
pub use timing::Timing;
