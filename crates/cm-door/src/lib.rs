//! What the faces share at the door: who asks, and how they are told what the kernel refuses.
//!
//! A face is a router of its own with words of its own. What must not differ between faces is here: when a credential is
//! asked for, that it is looked at before the route, the query and the body are, and that it is looked at again before an
//! effect. [`Gate`] and [`authenticate()`] are the layer around the routes of a face, a handler is given the [`Caller`], and
//! [`refusal()`] says which class of failure each error of the kernel is.
//!
//! Reading order: [`gate`], [`caller`], [`refusal`](mod@refusal).

pub mod caller;
pub mod gate;
pub mod refusal;

pub use caller::{Caller, confirmed};
pub use gate::{Gate, authenticate, context, source_of};
pub use refusal::{PLACE_RETRY_AFTER, endpoint_refusal, object_refusal, of_class, refusal};
