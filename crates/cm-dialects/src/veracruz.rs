//! The services of the earlier confidential functions: VaaS, CCFaaS, the S3 app and the attestation service.

pub mod attestation;
pub mod ccfaas;
mod flask;
mod listing;
pub mod s3app;
pub mod vaas;

use cm_door::Gate;
use cm_functions::Functions;
use cm_kernel::{Access, Kernel};

/// The engines behind the services. Cheap to clone.
#[derive(Clone)]
pub struct Veracruz {
    /// Identity, policy, catalogue, objects, events.
    pub kernel: Kernel,
    /// Functions and their instances.
    pub functions: Functions,
    /// Whether callers must say who they are.
    pub access: Access,
}

impl Veracruz {
    /// What authentication needs to know.
    pub fn gate(&self) -> Gate {
        Gate::new(self.kernel.clone(), self.access.clone())
    }
}
