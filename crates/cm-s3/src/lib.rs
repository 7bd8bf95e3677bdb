//! The S3 dialect: buckets and objects of the kernel, as clients of S3 know them.
//!
//! What is stored here is what the native API shows, under the same permits, with the same events. The adapter `s3s` turns
//! HTTP into typed operations and back, and checks signatures; what it does not do is done here:
//!
//! - [`gate`] stands before it. It refuses what is signed too little or too old a way, and keeps chunk-signed bodies from
//!   being held in memory ([`framing`]). On a node in open mode it takes signatures off instead, for nobody looks at them.
//! - `subresources` says which operations are served; the adapter would take others for the plain ones.
//! - [`caller`] knows whose key a request was signed with, and asks again at the end of a long body.
//! - `operations` does the work: one file each for buckets, reading, writing, copying, listing and uploads in parts.
//! - `circumstances` says what a request says about itself, for the conditions of bucket policies; `acls` translates lists of
//!   grants, and
//!   `statements` says what S3 demands of policies. Who may what is decided in [`cm_kernel::policy::sharing`].
//! - [`forms`] takes objects from forms, and `cors` answers browsers for pages of other sites; both stand before the adapter.
//! - `tolerance` shows the adapter what S3 takes and it would refuse, or read otherwise: `ranges`, `dates`, and documents in other forms (`markup`).
//! - [`content`] compares bodies with what was announced of them, `documents` those that the adapter reads; [`describe`] translates headers, [`failure`] errors;
//!   `codes` has the codes that the adapter does not, and `xml` knows which letters documents cannot have.
//!
//! Deliberately absent: keys of a key management service. Requests that ask for them are refused, never served without.

mod acls;
pub mod caller;
mod circumstances;
mod codes;
pub mod content;
mod cors;
mod dates;
pub mod describe;
mod documents;
mod expectation;
mod face;
pub mod failure;
pub mod forms;
pub mod framing;
pub mod gate;
mod host;
mod markup;
mod operations;
mod ranges;
mod refused;
mod statements;
mod subresources;
mod tolerance;
mod version_two;
mod xml;

pub use face::router;
pub use host::{Domain, InvalidDomain};
