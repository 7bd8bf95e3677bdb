//! Threat events in the words of the field: STIX 2.1 (OASIS) and MISP's core format. Pure: values in, values out.
//!
//! A signed event becomes an **indicator** (what to look for), an **identity** (who says so) and a **sighting** (that it was seen); see [`threat`].
//! What was signed, the key and the signature travel along in an extension of the indicator, so that whoever gets it third-hand can
//! still verify the original, and a node that reads it back has the very event that was exported.
//!
//! Foreign objects are read as far as they concern us: [`object`] says what every object must be before it is kept, [`pattern`] which addresses
//! an indicator's pattern names. Nothing here judges whether any of it is true.
//!
//! Reading order: [`moment`], [`marking`], [`pattern`], [`threat`], [`object`], [`misp`].

mod error;
pub mod marking;
pub mod misp;
pub mod moment;
pub mod object;
pub mod pattern;
pub mod threat;

pub use error::StixError;
pub use marking::Marking;
pub use object::StixObject;
pub use pattern::{Observable, ObservableKind};
pub use threat::{Circumstances, Foreign, SignedThreat, bundle, foreign, objects, recover};
