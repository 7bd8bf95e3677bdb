//! The sockets on which a node is reached, from bound to served.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::Router;
use cm_http::ServerLimits;
use cm_runtime::Tasks;
use tokio::net::TcpListener;

use crate::NodeError;
use crate::config::ListenSettings;

/// Bound sockets by the name of their listener. Bound before anything is served: addresses stand in the policies of
/// instances, and a port that is taken must be known before work begins.
pub(crate) struct Listeners(BTreeMap<&'static str, (TcpListener, SocketAddr)>);

impl Listeners {
    /// Binds what is switched on.
    pub(crate) async fn bind(listen: &ListenSettings) -> Result<Listeners, NodeError> {
        let wanted = [
            ("api", listen.api),
            ("s3", listen.s3),
            ("router", listen.router),
            ("mictlanx_peer", listen.mictlanx_peer),
            ("summoner", listen.summoner),
            ("vaas", listen.vaas),
            ("ccfaas", listen.ccfaas),
            ("s3app", listen.s3app),
            ("attestation", listen.attestation),
        ];
        let mut bound = BTreeMap::new();
        for (name, address) in wanted {
            let Some(address) = address else { continue };
            let failed = |source| NodeError::Bind { listener: name, address, source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            bound.insert(name, (listener, address));
        }
        Ok(Listeners(bound))
    }

    /// Where a listener is; `None` if it is switched off.
    pub(crate) fn address(&self, name: &str) -> Option<SocketAddr> {
        self.0.get(name).map(|(_, address)| *address)
    }

    /// All addresses.
    pub(crate) fn addresses(&self) -> BTreeMap<&'static str, SocketAddr> {
        self.0.iter().map(|(name, (_, address))| (*name, *address)).collect()
    }

    /// Serves a router on a listener, if that is switched on. The router is only made then.
    pub(crate) fn serve(
        &mut self,
        name: &'static str,
        limits: &ServerLimits,
        tasks: &Tasks,
        router: impl FnOnce() -> Router,
    ) {
        let Some((listener, _)) = self.0.remove(name) else { return };
        let (router, limits, serving) = (router(), *limits, tasks.clone());
        tasks.spawn(name, async move { cm_http::serve(listener, router, limits, &serving).await });
    }
}
