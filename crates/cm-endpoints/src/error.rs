//! What can go wrong with deployments.

use std::io;

use cm_kernel::KernelError;
use cm_types::ResourceId;

/// Why an endpoint could not be deployed, detached or stopped. What goes wrong after a deployment has begun is told in
/// the endpoint's status and states instead.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The kernel refused or failed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// There is no pair of free ports.
    #[error("no ports for another endpoint are free")]
    NoPorts,
    /// The ports cannot be listened on.
    #[error("the ports of an endpoint cannot be listened on")]
    Ports(#[source] io::Error),
    /// Another node has deployed it, and only that one can stop it.
    #[error("endpoint `{endpoint}` is deployed on node `{node}`")]
    Elsewhere {
        /// The endpoint.
        endpoint: ResourceId,
        /// The node that has deployed it.
        node: String,
    },
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Draining,
}
