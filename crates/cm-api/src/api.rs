//! What the handlers are given.

use std::sync::Arc;

use cm_functions::Functions;
use cm_kernel::{Actor, Kernel};

/// Writes the metrics of the process in Prometheus' text format.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// Whether callers must say who they are.
#[derive(Clone, Debug)]
pub enum Access {
    /// Every request needs a credential.
    Credential,
    /// A request without any credential acts as this actor. Only for a node that nobody else can reach. One
    /// with a credential is judged by it, also when it is not valid.
    Open(Actor),
}

/// The engines behind the API. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// Identity, policy, catalogue, objects, events.
    pub kernel: Kernel,
    /// Functions and their instances.
    pub functions: Functions,
    /// Whether callers must say who they are.
    pub access: Access,
    /// For `/metrics`.
    pub metrics: MetricsText,
}
