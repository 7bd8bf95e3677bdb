//! What an instance makes ready while it waits for its launch message: everything that takes time and that no launch changes.

use std::sync::Arc;

use cm_instance::policy::ExecutionStrategy;
use rustls::crypto::CryptoProvider;

use crate::engine::{Engine, EngineError};
use crate::server::{InstanceKey, TlsError};

/// What is ready. An instance that is launched at once makes what it needs when it needs it.
pub(super) struct Prepared {
    provider: Option<Arc<CryptoProvider>>,
    key: Option<InstanceKey>,
    compiling: Option<Engine>,
    interpreting: Option<Engine>,
}

impl Prepared {
    /// Nothing is ready.
    pub(super) fn nothing() -> Self {
        Self { provider: None, key: None, compiling: None, interpreting: None }
    }

    /// Makes everything. What fails now is tried again when it is needed, and fails then with its reason.
    pub(super) fn everything() -> Self {
        let provider = Some(provider());
        let compiling = Engine::new(ExecutionStrategy::Jit).ok();
        let interpreting = Engine::new(ExecutionStrategy::Interpretation).ok();
        // Also gathers the generator's seed.
        let key = InstanceKey::generate().ok();
        Self { provider, key, compiling, interpreting }
    }

    /// The engine of a strategy; the other one is given back.
    pub(super) fn engine(&mut self, strategy: ExecutionStrategy) -> Result<Engine, EngineError> {
        let (wanted, other) = match strategy {
            ExecutionStrategy::Jit => (self.compiling.take(), self.interpreting.take()),
            ExecutionStrategy::Interpretation => (self.interpreting.take(), self.compiling.take()),
        };
        drop(other);
        wanted.map_or_else(|| Engine::new(strategy), Ok)
    }

    /// The key pair of TLS, made inside.
    pub(super) fn key(&mut self) -> Result<InstanceKey, TlsError> {
        self.key.take().map_or_else(InstanceKey::generate, Ok)
    }

    /// The cryptography of TLS.
    pub(super) fn provider(&mut self) -> Arc<CryptoProvider> {
        self.provider.take().unwrap_or_else(provider)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
