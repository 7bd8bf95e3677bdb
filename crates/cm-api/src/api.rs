//! What the handlers are given.

use std::ops::Deref;
use std::sync::Arc;

use axum::http::HeaderValue;
use cm_endpoints::Endpoints;
use cm_functions::Functions;
use cm_intel::Intel;
use cm_kernel::{Access, Kernel};
use cm_mpc::Computations;
use tokio::sync::Semaphore;

use crate::bundles::Bundles;
use crate::key_sets::KeySets;
use crate::progress_socket;
use crate::shieldx::ShieldX;

/// Writes the metrics of the process in Prometheus' text format.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// What the handlers are given: the engines behind the API. Cheap to clone, which happens several times per request.
#[derive(Clone)]
pub struct Api {
    engines: Arc<Engines>,
    pub(crate) key_sets: KeySets,
    pub(crate) bundles: Bundles,
    /// Sockets that may still be opened.
    pub(crate) sockets: Arc<Semaphore>,
}

impl From<Engines> for Api {
    fn from(engines: Engines) -> Self {
        Self {
            engines: Arc::new(engines),
            key_sets: KeySets::default(),
            bundles: Bundles::default(),
            sockets: progress_socket::sockets(),
        }
    }
}

impl Deref for Api {
    type Target = Engines;

    fn deref(&self) -> &Engines {
        &self.engines
    }
}

/// The engines behind the API.
pub struct Engines {
    /// Identity, policy, catalogue, objects, events.
    pub kernel: Kernel,
    /// Functions and their instances.
    pub functions: Functions,
    /// Deployed endpoints.
    pub endpoints: Endpoints,
    /// Computations on secret shares.
    pub computations: Computations,
    /// Threat intelligence.
    pub intel: Intel,
    /// Whether callers must say who they are.
    pub access: Access,
    /// For `/metrics`.
    pub metrics: MetricsText,
    /// How the API presents itself.
    pub settings: Arc<Settings>,
    /// Who runs choreographies.
    pub shieldx: ShieldX,
}

/// How the API presents itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it begins, besides `/api/v1`.
    pub prefix: String,
    /// The title of its description.
    pub title: String,
    /// The version in its description.
    pub version: String,
    /// The origins whose pages may use it from a browser, `*` for all; none as a rule.
    pub cors_origins: Vec<HeaderValue>,
}

impl Default for Settings {
    /// `/api/v1`, "CryptoMesh API" 1.0.0, for no foreign page.
    fn default() -> Self {
        Self {
            prefix: crate::document::PREFIX.to_owned(),
            title: "CryptoMesh API".to_owned(),
            version: "1.0.0".to_owned(),
            cors_origins: Vec::new(),
        }
    }
}
