//! Keeps refusals from flooding the log: one record a second for the same actor, kind and action.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cm_policy::Explanation;
use cm_types::{Action, PrincipalId, ResourceKind};

use crate::OpContext;

/// The least time between two records of the same refusal.
const INTERVAL: Duration = Duration::from_secs(1);
/// Most refusals that are remembered; beyond it, those whose interval has passed are forgotten.
const REMEMBERED_MAX: usize = 4096;

type Refusal = (Option<PrincipalId>, ResourceKind, Action);

/// When each refusal was last recorded.
#[derive(Default)]
pub(crate) struct Denials(Mutex<HashMap<Refusal, Instant>>);

impl Denials {
    /// Whether this refusal is to be recorded now.
    pub(crate) fn should_record(&self, op: &OpContext, explanation: &Explanation, now: Instant) -> bool {
        let refusal = (op.principal().cloned(), explanation.kind, explanation.action);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(&refusal).is_some_and(|last| now.saturating_duration_since(*last) < INTERVAL) {
            return false;
        }
        if last.len() >= REMEMBERED_MAX {
            last.retain(|_, at| now.saturating_duration_since(*at) < INTERVAL);
        }
        if last.len() < REMEMBERED_MAX {
            last.insert(refusal, now);
        }
        true
    }
}
