//! The sockets on which a node is reached, from bound to served.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::Router;
use cm_http::{Proxies, ServerLimits};
use cm_runtime::Tasks;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::{TcpListener, UdpSocket};

use crate::NodeError;
use crate::config::ListenSettings;

/// Bound sockets by the name of their listener. Bound before anything is served: addresses stand in the policies of
/// instances, and a port that is taken must be known before work begins.
pub(crate) struct Listeners {
    bound: BTreeMap<&'static str, (TcpListener, SocketAddr)>,
    proxies: Proxies,
}

impl Listeners {
    /// Binds what is switched on, to be reached through these proxies or directly.
    pub(crate) async fn bind(listen: &ListenSettings, proxies: Proxies) -> Result<Listeners, NodeError> {
        let wanted = [
            ("api", listen.api),
            ("console", listen.console),
            ("s3", listen.s3),
            ("router", listen.router),
            ("mictlanx_peer", listen.mictlanx_peer),
            ("summoner", listen.summoner),
            ("vaas", listen.vaas),
            ("ccfaas", listen.ccfaas),
            ("s3app", listen.s3app),
            ("attestation", listen.attestation),
            ("xolo", listen.xolo),
            ("mpc", listen.mpc),
            ("mpc-peers", listen.mpc_peers),
            ("intel", listen.intel),
        ];
        let mut bound = BTreeMap::new();
        for (name, address) in wanted {
            let Some(address) = address else { continue };
            let failed = |source| NodeError::Bind { listener: name, address, source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            bound.insert(name, (listener, address));
        }
        Ok(Listeners { bound, proxies })
    }

    /// A socket that somebody else serves, if it is switched on.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<TcpListener> {
        self.bound.remove(name).map(|(listener, _)| listener)
    }

    /// Where a listener is; `None` if it is switched off.
    pub(crate) fn address(&self, name: &str) -> Option<SocketAddr> {
        self.bound.get(name).map(|(_, address)| *address)
    }

    /// All addresses.
    pub(crate) fn addresses(&self) -> BTreeMap<&'static str, SocketAddr> {
        self.bound.iter().map(|(name, (_, address))| (*name, *address)).collect()
    }

    /// Serves a router on a listener, if that is switched on. The router is only made then.
    pub(crate) fn serve(
        &mut self,
        name: &'static str,
        limits: &ServerLimits,
        tasks: &Tasks,
        router: impl FnOnce() -> Router,
    ) {
        let Some((listener, _)) = self.bound.remove(name) else { return };
        let (router, limits, serving) = (self.proxies.before(router()), *limits, tasks.clone());
        tasks.spawn(name, async move { cm_http::serve(listener, router, limits, &serving).await });
    }
}

/// Binds the socket for datagrams by which peers of the threat network find each other. Several nodes of one machine share the port, as
/// the earlier ones do.
pub(crate) fn bind_discovery(address: SocketAddr) -> Result<UdpSocket, NodeError> {
    let failed = |source| NodeError::Bind { listener: "intel-discovery", address, source };
    let domain = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let bound = || {
        let socket = rustix::net::socket_with(domain, SocketType::DGRAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockopt::set_socket_reuseport(&socket, true)?;
        sockopt::set_socket_broadcast(&socket, true)?;
        rustix::net::bind(&socket, &address)?;
        UdpSocket::from_std(std::net::UdpSocket::from(socket))
    };
    bound().map_err(failed)
}
