//! Where a node listens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use cm_http::Proxies;

use super::{ConfigError, ListenToml, wrong};

/// Port of the native API, as in the earlier implementation.
const API_PORT: u16 = 19000;
/// Port of the console, as the earlier dashboard had it.
const CONSOLE_PORT: u16 = 5050;
/// Port of S3.
const S3_PORT: u16 = 9000;
/// Ports of the earlier services of confidential functions, as they had them.
const VAAS_PORT: u16 = 5000;
const CCFAAS_PORT: u16 = 5010;
const S3APP_PORT: u16 = 5020;
const ROUTER_PORT: u16 = 60666;
const MICTLANX_PEER_PORT: u16 = 60667;
const SUMMONER_PORT: u16 = 15000;
const ATTESTATION_PORT: u16 = 3010;
/// Port of Xolo, as its clients know it.
const XOLO_PORT: u16 = 10000;
/// Port on which the nodes of a network reach each other.
const PEERS_PORT: u16 = 7070;
/// Ports of computations on secret shares, as the earlier node has the first.
const MPC_PORT: u16 = 8000;
const MPC_PEERS_PORT: u16 = 8100;
/// Ports of the threat network, as the earlier node has them.
const INTEL_PORT: u16 = 9001;
const INTEL_DISCOVERY_PORT: u16 = 9999;
/// One port for each confidential instance.
const INSTANCES: &str = "127.0.0.1:3014-3213";

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
pub struct ListenSettings {
    /// The native API; `None` when switched off.
    pub api: Option<SocketAddr>,
    /// The web console.
    pub console: Option<SocketAddr>,
    /// S3.
    pub s3: Option<SocketAddr>,
    /// MictlanX's router, which answers for its peer too.
    pub router: Option<SocketAddr>,
    /// MictlanX's peer.
    pub mictlanx_peer: Option<SocketAddr>,
    /// MictlanX's Summoner.
    pub summoner: Option<SocketAddr>,
    /// VaaS.
    pub vaas: Option<SocketAddr>,
    /// CCFaaS.
    pub ccfaas: Option<SocketAddr>,
    /// The S3 app.
    pub s3app: Option<SocketAddr>,
    /// The attestation service.
    pub attestation: Option<SocketAddr>,
    /// Xolo.
    pub xolo: Option<SocketAddr>,
    /// Where other nodes of its network reach a node that is part of one.
    pub peers: Option<SocketAddr>,
    /// Clients of the earlier system of computations.
    pub mpc: Option<SocketAddr>,
    /// Other parties of computations; without it the node takes no part in any.
    pub mpc_peers: Option<SocketAddr>,
    /// Peers with which reports of threats are shared.
    pub intel: Option<SocketAddr>,
    /// Datagrams by which such peers find each other on one network; `None` unless it is switched on.
    pub intel_discovery: Option<SocketAddr>,
    /// Confidential instances; `None` when there are none.
    pub instances: Option<InstancePorts>,
}

/// The addresses from which instances get their ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstancePorts {
    /// The address to bind.
    pub address: IpAddr,
    /// The first port; 0 lets the system choose.
    pub first: u16,
    /// The last port, inclusive.
    pub last: u16,
}

pub(super) fn settings(listen: ListenToml) -> Result<ListenSettings, ConfigError> {
    let ListenToml {
        api,
        console,
        s3,
        router,
        mictlanx_peer,
        summoner,
        vaas,
        ccfaas,
        s3app,
        attestation,
        xolo,
        peers,
        mpc,
        mpc_peers,
        intel,
        intel_discovery,
        instances,
        trusted_proxies: _,
    } = listen;
    Ok(ListenSettings {
        api: listener("listen.api", api.as_deref(), API_PORT)?,
        console: listener("listen.console", console.as_deref(), CONSOLE_PORT)?,
        s3: listener("listen.s3", s3.as_deref(), S3_PORT)?,
        router: listener("listen.router", router.as_deref(), ROUTER_PORT)?,
        mictlanx_peer: listener("listen.mictlanx_peer", mictlanx_peer.as_deref(), MICTLANX_PEER_PORT)?,
        summoner: listener("listen.summoner", summoner.as_deref(), SUMMONER_PORT)?,
        vaas: listener("listen.vaas", vaas.as_deref(), VAAS_PORT)?,
        ccfaas: listener("listen.ccfaas", ccfaas.as_deref(), CCFAAS_PORT)?,
        s3app: listener("listen.s3app", s3app.as_deref(), S3APP_PORT)?,
        attestation: listener("listen.attestation", attestation.as_deref(), ATTESTATION_PORT)?,
        xolo: listener("listen.xolo", xolo.as_deref(), XOLO_PORT)?,
        peers: listener("listen.peers", peers.as_deref(), PEERS_PORT)?,
        mpc: listener("listen.mpc", mpc.as_deref(), MPC_PORT)?,
        mpc_peers: listener("listen.mpc_peers", mpc_peers.as_deref(), MPC_PEERS_PORT)?,
        intel: listener("listen.intel", intel.as_deref(), INTEL_PORT)?,
        // Unlike the others off unless told: it speaks to everybody on the network.
        intel_discovery: match intel_discovery.as_deref() {
            None => None,
            text => listener("listen.intel_discovery", text, INTEL_DISCOVERY_PORT)?,
        },
        instances: port_range(instances.as_deref().unwrap_or(INSTANCES))?,
    })
}

pub(super) fn proxies(networks: Option<Vec<String>>) -> Result<Proxies, ConfigError> {
    Proxies::parse(&networks.unwrap_or_default()).map_err(|error| wrong("listen.trusted_proxies", error))
}

impl ListenSettings {
    /// Open mode serves whoever comes; only this machine may.
    pub(super) fn check_open(&self) -> Result<(), ConfigError> {
        let ip = |address: Option<SocketAddr>| address.map(|address| address.ip());
        let listeners = [
            ("api", ip(self.api)),
            ("console", ip(self.console)),
            ("s3", ip(self.s3)),
            ("router", ip(self.router)),
            ("mictlanx_peer", ip(self.mictlanx_peer)),
            ("summoner", ip(self.summoner)),
            ("vaas", ip(self.vaas)),
            ("ccfaas", ip(self.ccfaas)),
            ("s3app", ip(self.s3app)),
            ("attestation", ip(self.attestation)),
            ("xolo", ip(self.xolo)),
            ("mpc", ip(self.mpc)),
            ("mpc_peers", ip(self.mpc_peers)),
            ("intel", ip(self.intel)),
            ("intel_discovery", ip(self.intel_discovery)),
            ("instances", self.instances.map(|ports| ports.address)),
        ];
        for (listener, address) in listeners {
            if let Some(address) = address.filter(|address| !address.is_loopback()) {
                return Err(ConfigError::OpenBeyondLoopback { listener, address });
            }
        }
        Ok(())
    }
}

fn listener(key: &str, text: Option<&str>, port: u16) -> Result<Option<SocketAddr>, ConfigError> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let Some(text) = text else { return Ok(Some(SocketAddr::new(loopback, port))) };
    if text == "off" {
        return Ok(None);
    }
    if let Ok(port) = text.parse::<u16>() {
        return Ok(Some(SocketAddr::new(loopback, port)));
    }
    text.parse().map(Some).map_err(|_| wrong(key, format!("`{text}` is no ADDRESS:PORT, PORT or `off`")))
}

fn port_range(text: &str) -> Result<Option<InstancePorts>, ConfigError> {
    if text == "off" {
        return Ok(None);
    }
    let refused = || {
        wrong(
            "listen.instances",
            format!("`{text}` is no ADDRESS:FIRST-LAST, FIRST-LAST, ADDRESS:0 or `off`"),
        )
    };
    let (address, ports) = text.rsplit_once(':').unwrap_or(("127.0.0.1", text));
    let address = address.trim_matches(['[', ']']).parse().map_err(|_| refused())?;
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let first: u16 = first.parse().map_err(|_| refused())?;
    let last: u16 = last.parse().map_err(|_| refused())?;
    if last < first || (first == 0 && last != 0) {
        return Err(refused());
    }
    Ok(Some(InstancePorts { address, first, last }))
}
