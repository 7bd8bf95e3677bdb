//! The product's nouns: identifiers, names, kinds, actions, quantities.
//!
//! Everything here is a value that is valid once it exists. Nothing here does I/O, reads a clock or
//! knows a wire format beyond the text form of an identifier.
//!
//! Reading order: [`kind`] (what exists), [`action`] (what can be done to it), [`id`] (how it is
//! named), [`label`], [`quantity`], [`spiffe`], [`timestamp`], [`digest`], [`page`].

pub mod action;
pub mod digest;
pub mod id;
pub mod kind;
pub mod label;
pub mod page;
pub mod quantity;
pub mod spiffe;
pub mod timestamp;

pub use action::Action;
pub use digest::Sha256Digest;
pub use id::{
    BucketName, Generation, InvalidId, ObjectKey, PeerId, PrincipalId, RequestId, ResourceId, ResourceRef,
    TenantId,
};
pub use kind::ResourceKind;
pub use label::{InvalidLabel, LabelSelector, Labels};
pub use page::{Cursor, Page, PageLimit};
pub use quantity::{ByteCount, InvalidByteCount};
pub use spiffe::{InvalidSpiffeId, SpiffeId, TrustDomain};
pub use timestamp::Timestamp;
