//! The environment variables of the earlier implementation and our own, as settings.
//!
//! A variable `CRYPTOMESH_SECTION_KEY` sets `section.key` where such a setting exists. The variables that the
//! earlier implementation documented keep their meaning; those that have no effect in this design are accepted
//! and reported at start with the reason.

use crate::config::{ConfigError, WithoutEffect, parse_value, set};

/// What becomes of one documented variable.
enum Meaning {
    /// It sets this key to its text.
    Text(&'static str),
    /// It sets this key to its number or truth value (`1` and `0` are true and false).
    Number(&'static str),
    /// See [`Meaning::Number`].
    Flag(&'static str),
    /// It sets this key to a number of gigabytes, or to an amount with a unit.
    Gigabytes(&'static str),
    /// It is the host or the port of the API's listener.
    Host,
    /// See [`Meaning::Host`].
    Port,
    /// `1` lowers the log level to `debug`.
    Debug,
    /// It belongs to the command line, not to the node.
    Client,
    /// It changes nothing here, for this reason.
    None(&'static str),
}

const NO_MONGO: &str = "the catalogue is embedded; there is no MongoDB";
const NO_SUMMONER: &str = "endpoints are launched by the node itself";
const NO_ROUTER: &str = "objects are stored by the node itself";
const ONE_LOG: &str = "everything logs to log.dir";

/// The variables of the earlier implementation, and those of the command line.
const DOCUMENTED: &[(&str, Meaning)] = &[
    ("CRYPTOMESH_HOST", Meaning::Host),
    ("CRYPTOMESH_PORT", Meaning::Port),
    ("CRYPTOMESH_MIN_CPU", Meaning::Number("limits.cpu_min")),
    ("CRYPTOMESH_MAX_CPU", Meaning::Number("limits.cpu_max")),
    ("CRYPTOMESH_MIN_RAM", Meaning::Gigabytes("limits.ram_min")),
    ("CRYPTOMESH_MAX_RAM", Meaning::Gigabytes("limits.ram_max")),
    ("CRYPTOMESH_MAX_DEPLOYED_ENDPOINTS", Meaning::Number("endpoints.deployed_max")),
    ("CRYPTOMESH_ENDPOINT_REQ_RES_BASE_PORT", Meaning::Number("endpoints.req_res_base_port")),
    ("CRYPTOMESH_ENDPOINT_PUBSUB_BASE_PORT", Meaning::Number("endpoints.pubsub_base_port")),
    ("CRYPTOMESH_DEBUG", Meaning::Debug),
    ("CRYPTOMESH_TITLE", Meaning::Text("api.title")),
    ("CRYPTOMESH_API_PREFIX", Meaning::Text("api.prefix")),
    ("CRYPTOMESH_VERSION", Meaning::Text("api.version")),
    ("CRYPTOMESH_CORS_ORIGINS", Meaning::Text("api.cors_origins")),
    ("CRYPTOMESH_MONGO_PORT", Meaning::None(NO_MONGO)),
    ("CRYPTOMESH_MONGO_DATABASE_NAME", Meaning::None(NO_MONGO)),
    ("CRYPTOMESH_MONGODB_URI", Meaning::None(NO_MONGO)),
    ("CRYPTOMESH_LOG_PATH", Meaning::Text("log.dir")),
    ("CRYPTOMESH_LOG_LEVEL", Meaning::Text("log.level")),
    ("CRYPTOMESH_LOG_ROTATION_WHEN", Meaning::Text("log.rotation_when")),
    ("CRYPTOMESH_LOG_ROTATION_INTERVAL", Meaning::Number("log.rotation_interval")),
    ("CRYPTOMESH_LOG_TO_FILE", Meaning::Flag("log.to_file")),
    ("CRYPTOMESH_LOG_ERROR_FILE", Meaning::Flag("log.error_file")),
    ("CRYPTOMESH_SUMMONER_IP_ADDR", Meaning::None(NO_SUMMONER)),
    ("CRYPTOMESH_SUMMONER_PORT", Meaning::None(NO_SUMMONER)),
    ("CRYPTOMESH_SUMMONER_API_VERSION", Meaning::None(NO_SUMMONER)),
    ("CRYPTOMESH_SUMMONER_MODE", Meaning::None(NO_SUMMONER)),
    ("CRYPTOMESH_MICTLANX_URI", Meaning::None(NO_ROUTER)),
    ("CRYPTOMESH_MICTLANX_LOG_PATH", Meaning::None(ONE_LOG)),
    ("CRYPTOMESH_AXO_LOG_PATH", Meaning::None(ONE_LOG)),
    // Of the same meaning; the later one wins.
    ("SHIELDX_CLIENT_BASE_URL", Meaning::Text("choreography.shieldx_url")),
    ("CRYPTOMESH_SHIELDX_CLIENT_BASE_URL", Meaning::Text("choreography.shieldx_url")),
    ("CRYPTOMESH_URL", Meaning::Client),
    ("CRYPTOMESH_TOKEN", Meaning::Client),
    ("CRYPTOMESH_DATA_DIR", Meaning::Text("data_dir")),
];

/// Sections whose keys can be set as `CRYPTOMESH_SECTION_KEY`.
const SECTIONS: &[&str] = &[
    "DATABASE",
    "IDENTITY",
    "INTEL",
    "LISTEN",
    "MICTLANX",
    "MPC",
    "API",
    "ATTESTATION",
    "S3",
    "S3APP",
    "SHUTDOWN",
    "LOG",
    "INSTANCES",
    "DOCKER",
    "KUBERNETES",
    "ENDPOINTS",
    "CHOREOGRAPHY",
    "OBJECTS",
    "LIMITS",
];

/// Sections within these, whose keys can be set likewise.
const INNER_SECTIONS: &[&str] = &["identity.passkeys"];

/// The names of the documented variables: those of the earlier implementation, and of the command line.
pub fn variables() -> impl Iterator<Item = &'static str> {
    DOCUMENTED.iter().map(|(name, _)| *name)
}

/// Writes what the variables say into `table`; returns those without effect and why. An empty variable says nothing.
pub(crate) fn apply(
    table: &mut toml::Table,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<WithoutEffect, ConfigError> {
    let place = |name: &str| DOCUMENTED.iter().position(|(documented, _)| *documented == name);
    let mut ours: Vec<_> = variables
        .into_iter()
        .map(|(name, value)| (place(&name), name, value))
        .filter(|(place, name, _)| place.is_some() || name.starts_with("CRYPTOMESH_"))
        .collect();
    ours.sort();
    let mut without_effect = Vec::new();
    let (mut host, mut port) = (None, None);
    for (place, name, value) in ours {
        let meaning = match place {
            Some(place) if !value.trim().is_empty() => &DOCUMENTED[place].1,
            Some(_) => continue,
            None => {
                set_by_section(table, &name, &value)?;
                continue;
            }
        };
        match meaning {
            Meaning::Text(key) => set(table, key, toml::Value::String(value))?,
            Meaning::Number(key) => set(table, key, number(key, &value)?)?,
            Meaning::Flag(key) => set(table, key, flag(key, &value)?)?,
            Meaning::Gigabytes(key) => set(table, key, toml::Value::String(gigabytes(&value)))?,
            Meaning::Host => host = Some(value),
            Meaning::Port => port = Some(value),
            Meaning::Debug => {
                if flag(&name, &value)?.as_bool() == Some(true) {
                    set(table, "log.level", toml::Value::String("debug".to_owned()))?;
                }
            }
            Meaning::Client => {}
            Meaning::None(reason) => without_effect.push((name, *reason)),
        }
    }
    if host.is_some() || port.is_some() {
        let address = merged_address(table, host.as_deref(), port.as_deref());
        set(table, "listen.api", toml::Value::String(address))?;
    }
    Ok(without_effect)
}

/// The API's address with another host, another port, or both; what is not given stays as the file says.
fn merged_address(table: &toml::Table, host: Option<&str>, port: Option<&str>) -> String {
    let written = table.get("listen").and_then(|listen| listen.get("api")).and_then(toml::Value::as_str);
    let (old_host, old_port) = match written {
        Some(text) => text.rsplit_once(':').unwrap_or(("127.0.0.1", text)),
        None => ("127.0.0.1", "19000"),
    };
    let host = match host.unwrap_or(old_host) {
        "localhost" => "127.0.0.1".to_owned(),
        bare if bare.contains(':') && !bare.starts_with('[') => format!("[{bare}]"),
        host => host.to_owned(),
    };
    format!("{host}:{}", port.unwrap_or(old_port))
}

fn set_by_section(table: &mut toml::Table, name: &str, value: &str) -> Result<(), ConfigError> {
    let rest = name.trim_start_matches("CRYPTOMESH_");
    let (section, key) = rest
        .split_once('_')
        .filter(|(section, _)| SECTIONS.contains(section))
        .ok_or_else(|| ConfigError::UnknownVariable(name.to_owned()))?;
    let key = format!("{}.{}", section.to_ascii_lowercase(), key.to_ascii_lowercase());
    let inner = INNER_SECTIONS.iter().find_map(|inner| {
        let rest = key.strip_prefix(inner)?.strip_prefix('_')?;
        Some(format!("{inner}.{rest}"))
    });
    let key = inner.unwrap_or(key);
    if value.trim().is_empty() {
        return Ok(());
    }
    set(table, &key, parse_value(&key, value))
}

/// The earlier implementation counts in gigabytes and writes no unit.
fn gigabytes(value: &str) -> String {
    let value = value.trim();
    if value.ends_with(|last: char| last.is_ascii_digit()) { format!("{value}GB") } else { value.to_owned() }
}

fn number(key: &str, value: &str) -> Result<toml::Value, ConfigError> {
    value
        .trim()
        .parse::<i64>()
        .map(toml::Value::Integer)
        .map_err(|_| ConfigError::Key { key: key.to_owned(), problem: format!("`{value}` is no number") })
}

fn flag(key: &str, value: &str) -> Result<toml::Value, ConfigError> {
    match value.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(toml::Value::Boolean(true)),
        "0" | "false" | "no" | "off" | "" => Ok(toml::Value::Boolean(false)),
        _ => Err(ConfigError::Key { key: key.to_owned(), problem: format!("`{value}` is neither 1 nor 0") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_without_effect_is_reported_with_the_reason() {
        let mut table = toml::Table::new();
        let reported = apply(&mut table, [("CRYPTOMESH_MONGO_PORT".to_owned(), "27018".to_owned())]).unwrap();
        assert_eq!(reported, [("CRYPTOMESH_MONGO_PORT".to_owned(), NO_MONGO)]);
        assert!(table.is_empty());
    }
}
