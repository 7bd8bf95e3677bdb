//! Deployed endpoints, and who is told of choreographies.

use std::time::Duration;

use super::api::is_authority;
use super::{ChoreographyToml, ConfigError, EndpointsToml, wrong};

/// Default of the earlier implementation's documents.
const DEPLOYED_MAX: u32 = 2;
const START_TIMEOUT_SECS: u64 = 30;
const DRAIN_TIMEOUT_SECS: u64 = 5;
const REQ_RES_BASE_PORT: u16 = 40000;
const PUBSUB_BASE_PORT: u16 = 50000;
const SHIELDX_URL: &str = "http://localhost:20000/api/v1";

/// Deployed endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Most endpoints that a tenant may have deployed at a time; with 0 none can be.
    pub deployed_max: u32,
    /// Most CPU cores that a tenant's deployed endpoints may ask for together.
    pub cpu_max: Option<u32>,
    /// Most bytes of memory that a tenant's deployed endpoints may ask for together.
    pub ram_max: Option<u64>,
    /// From the start of an endpoint's server until it must serve.
    pub start_timeout: Duration,
    /// How long a detached endpoint may take to finish what is open.
    pub drain_timeout: Duration,
    /// The first port for requests and responses; each deployed endpoint has one from here on.
    pub req_res_base_port: u16,
    /// The first port for published messages; each deployed endpoint has one from here on.
    pub pubsub_base_port: u16,
}

/// Who is told of choreographies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChoreographySettings {
    /// The base URL of ShieldX, without a slash at the end.
    pub shieldx_url: String,
}

pub(super) fn settings(endpoints: EndpointsToml) -> Result<EndpointSettings, ConfigError> {
    let EndpointsToml {
        deployed_max,
        cpu_max,
        ram_max,
        start_timeout,
        drain_timeout,
        req_res_base_port,
        pubsub_base_port,
    } = endpoints;
    let settings = EndpointSettings {
        deployed_max: deployed_max.unwrap_or(DEPLOYED_MAX),
        cpu_max,
        ram_max: ram_max.map(|ram| ram.bytes()),
        start_timeout: Duration::from_secs(start_timeout.unwrap_or(START_TIMEOUT_SECS)),
        drain_timeout: Duration::from_secs(drain_timeout.unwrap_or(DRAIN_TIMEOUT_SECS)),
        req_res_base_port: req_res_base_port.unwrap_or(REQ_RES_BASE_PORT),
        pubsub_base_port: pubsub_base_port.unwrap_or(PUBSUB_BASE_PORT),
    };
    let (first, second) = (settings.req_res_base_port, settings.pubsub_base_port);
    for (key, port) in [("endpoints.req_res_base_port", first), ("endpoints.pubsub_base_port", second)] {
        if port == 0 {
            return Err(wrong(key, "must be at least 1"));
        }
    }
    // Each range of ports ends before the other begins and before there are no more.
    let room = u32::from(first.abs_diff(second)).min(65536 - u32::from(first.max(second)));
    if settings.deployed_max > room {
        let problem = format!(
            "{} endpoints have no room between the ports {first} (`endpoints.req_res_base_port`) and {second} \
             (`endpoints.pubsub_base_port`) and up to 65535; {room} have",
            settings.deployed_max
        );
        return Err(wrong("endpoints.deployed_max", problem));
    }
    Ok(settings)
}

pub(super) fn choreography(choreography: ChoreographyToml) -> Result<ChoreographySettings, ConfigError> {
    let ChoreographyToml { shieldx_url } = choreography;
    let url = shieldx_url.unwrap_or_else(|| SHIELDX_URL.to_owned());
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let (authority, path) = rest.map_or(("", ""), |rest| rest.split_once('/').unwrap_or((rest, "")));
    if !is_authority(authority) || !path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte))
    {
        let problem = format!("`{url}` is no http(s)://HOST[:PORT][/PATH]");
        return Err(wrong("choreography.shieldx_url", problem));
    }
    Ok(ChoreographySettings { shieldx_url: url.trim_end_matches('/').to_owned() })
}
