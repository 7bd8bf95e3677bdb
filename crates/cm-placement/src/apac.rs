//! The language of replication policies of the earlier system (APaC), parsed and evaluated.
//!
//! ```yaml
//! apac: v1
//! available-resources:
//!   edge: [peer-1, peer-2]
//!   core: [peer-3]
//! who: [peer-3]
//! what: [scans, reports.2024/summary.pdf, "logs.app-*"]
//! where: [edge, core.peer-3]
//! how: ACTIVE
//! when:
//!   - popular: $GET_COUNTER > 10 & $ACCESS_FREQUENCY > 60.6%
//!   - new: $GET_COUNTER == 0
//! ```
//!
//! **available-resources** names pools of peers. **what** names the objects: `BUCKET` is all of a bucket, `BUCKET.KEY` one object, and `*` at
//! the end stands for whatever follows. **where** names who is to have copies: all of a pool, or one peer of it. **who** (if it is there)
//! restricts the policy to objects that one of these peers or pools holds. **how** is `ACTIVE`, copies are made as soon as a condition
//! holds; nothing else is supported, and said to be. **when** (if it is there) lists conditions by names of their author's choice, of
//! which one has to hold. A condition compares `$GET_COUNTER`, how often the object was read, or `$ACCESS_FREQUENCY`, its share
//! of all recent reads in percent, by `>`, `<`, `>=`, `<=`, `==` or `!=` with a number; `&` and `|` join comparisons, `&` first, and
//! parentheses group them.

mod condition;
mod policy;
mod tree;

pub use condition::{CONDITION_DEPTH_MAX, Condition, Counter, Readings, Relation};
pub use policy::{Policy, Problem, Reason, TEXT_LEN_MAX};
pub use tree::Position;
