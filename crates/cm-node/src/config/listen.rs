//! Where a node listens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{ConfigError, ListenToml, WithoutEffect, wrong};

/// Port of the native API, as in the earlier implementation.
const API_PORT: u16 = 19000;
/// One port for each confidential instance.
const INSTANCES: &str = "127.0.0.1:3014-3213";

/// Listeners of subsystems that this build does not have.
const ABSENT: &[&str] = &[
    "console",
    "s3",
    "router",
    "xolo",
    "summoner",
    "vaas",
    "ccfaas",
    "s3app",
    "attestation",
    "mpc",
    "mpc-peers",
    "intel",
    "intel-discovery",
    "peers",
];

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
pub struct ListenSettings {
    /// The native API; `None` when switched off.
    pub api: Option<SocketAddr>,
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
    let ListenToml { api, instances } = listen;
    Ok(ListenSettings {
        api: listener("listen.api", api.as_deref(), API_PORT)?,
        instances: port_range(instances.as_deref().unwrap_or(INSTANCES))?,
    })
}

impl ListenSettings {
    /// Open mode serves whoever comes; only this machine may.
    pub(super) fn check_open(&self) -> Result<(), ConfigError> {
        let listeners =
            [("api", self.api.map(|api| api.ip())), ("instances", self.instances.map(|ports| ports.address))];
        for (listener, address) in listeners {
            if let Some(address) = address.filter(|address| !address.is_loopback()) {
                return Err(ConfigError::OpenBeyondLoopback { listener, address });
            }
        }
        Ok(())
    }
}

/// Takes out the settings of listeners whose subsystem this build does not have. They are no mistake: the same file may
/// serve other builds.
pub(super) fn take_absent(table: &mut toml::Table) -> WithoutEffect {
    let Some(listen) = table.get_mut("listen").and_then(toml::Value::as_table_mut) else { return Vec::new() };
    let given = ABSENT.iter().filter_map(|name| Some((*name, listen.remove(*name)?)));
    let switched_on = given.filter(|(_, value)| value.as_str() != Some("off"));
    switched_on.map(|(name, _)| (format!("listen.{name}"), "this build has no such subsystem")).collect()
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
