//! Files that declare resources: from YAML to typed declarations that know where they stand, and back.
//!
//! A file says what there shall be; whoever reads it compares that with what there is. Nothing here reads files or talks
//! to a node. Two shapes are read, also mixed, and in several documents of one file:
//!
//! ```yaml
//! cryptomesh: v1
//! services:
//!   imaging: { name: Imaging, security_policy: clinic }
//! microservices:
//!   filters: { service_id: imaging }            # flat: references are written
//! ---
//! services:
//!   reports:
//!     microservices:
//!       render: { functions: { pdf: {} } }      # nested: references follow from the nesting
//! ```
//!
//! Both become one list of [`Declared`] resources. A file is judged as a whole: all that is wrong with it is reported, each
//! finding with line, column and reason. What a node refuses later it names by path; [`Manifest::locate`] says where
//! in the file that is. [`to_yaml`] writes the flat shape, which reads back as the same declarations.
//!
//! The text may come from anybody: its size, its depth, the expansion of its aliases and the number of findings
//! are bounded. Reading order: [`declared`], [`manifest`], `tree` (YAML as positioned values), `schema` (which
//! fields there are), `reader` (values to declarations), `links`, [`problem`], `export`.

pub mod declared;
mod export;
mod links;
pub mod manifest;
pub mod position;
pub mod problem;
mod reader;
mod schema;
mod tree;

pub use declared::Declared;
pub use export::to_yaml;
pub use manifest::{FILE_LEN_MAX, Manifest};
pub use position::Position;
pub use problem::{PROBLEMS_MAX, Problem, Reason, Refused};

#[cfg(test)]
mod tests;
