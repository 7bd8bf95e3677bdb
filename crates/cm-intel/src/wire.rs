//! Version 1 of the protocol, byte for byte that of the published Python node: frames on TCP, wrappers around events and
//! greetings, and datagrams by which nodes on one network find each other. Pure: nothing here reads or writes.
//!
//! Reading order: [`canonical`] (the text that is signed), [`frame`], [`message`], [`discovery`].

pub mod canonical;
pub mod discovery;
pub mod frame;
pub mod message;
