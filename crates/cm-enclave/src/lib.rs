//! What runs inside `cryptomesh instance`: the walls, the files, the engine and the door.
//!
//! An instance is a process of its own that computes on data which the node that started it cannot read. It is
//! handed two sockets and a launch message. It shuts itself off from the machine, makes its TLS key, and from then on
//! takes files and requests only from the identities of its policy, through TLS that ends here. Files are in memory
//! and die with the process. Programs are WebAssembly; every access of theirs is asked for by the path that it
//! leads to.
//!
//! Three rules hold everywhere: who is not named in the policy has no right; a check is made on what a name leads to and
//! never on the name; and nothing waits, grows or runs without a limit. The crate knows neither the node's kernel
//! nor its database.
//!
//! Reading order: [`run`] (the process from its first line to its last), `sandbox` (the walls around it), [`vfs`] (files
//! and rights), [`wasi`] (what a program may call), `component` (what a component may), `nn` (inference),
//! [`engine`] (running either), `server` (who may connect and ask).

mod component;
pub mod engine;
mod nn;
pub mod run;
mod sandbox;
mod server;
pub mod vfs;
pub mod wasi;

pub use sandbox::close_inherited;
