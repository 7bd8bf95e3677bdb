//! Threat intelligence.

use std::path::Path;
use std::time::Duration;

use cm_intel::{Automatic, IntelConfig, Mode};
use cm_kernel::catalog::kinds::Effect;

use super::{ConfigError, IntelToml, wrong};

/// Fewest events that are kept: a page of them.
const EVENTS_MIN: u64 = 1000;
/// How sure a node must be of an indicator before it acts by itself, unless told, and at least.
const CONFIDENCE: u8 = 80;
const CONFIDENCE_MIN: u8 = 50;

/// What the engine is told; the directory follows.
pub(super) fn settings(written: IntelToml) -> Result<IntelConfig, ConfigError> {
    let IntelToml {
        mode,
        legacy,
        anchors,
        organisations,
        probation_hours,
        new_key_rate,
        known_key_rate,
        events_max,
        indicator_days,
        own_events,
        measure_effect,
        measure_confidence,
    } = written;
    let default = IntelConfig::default();
    let mode = match mode.as_deref() {
        None => default.mode,
        Some("hardened") => Mode::Hardened,
        Some("seed") => Mode::Seed,
        Some(other) => {
            return Err(wrong("intel.mode", format!("`{other}` is neither `hardened` nor `seed`")));
        }
    };
    let key = |setting: &str, text: &str| text.trim().parse().map_err(|error| wrong(setting, error));
    let anchors = anchors.unwrap_or_default();
    let anchors = anchors.iter().map(|text| key("intel.anchors", text)).collect::<Result<_, _>>()?;
    let mut assigned = std::collections::BTreeMap::new();
    for text in organisations.unwrap_or_default() {
        let parts = text.split_once('=').filter(|(_, organisation)| !organisation.trim().is_empty());
        let (text, organisation) =
            parts.ok_or_else(|| wrong("intel.organisations", format!("`{text}` is not KEY=ORGANISATION")))?;
        assigned.insert(key("intel.organisations", text)?, organisation.trim().to_owned());
    }
    let days = |days: u64| Duration::from_secs(days.saturating_mul(24 * 3600));
    let hours = |hours: u64| Duration::from_secs(hours.saturating_mul(3600));
    let events_max = events_max.unwrap_or(default.events_max);
    if events_max < EVENTS_MIN {
        return Err(wrong("intel.events_max", format!("must be at least {EVENTS_MIN}")));
    }
    let automatic = automatic(measure_effect.as_deref(), measure_confidence)?;
    Ok(IntelConfig {
        mode,
        legacy: legacy.unwrap_or(default.legacy),
        anchors,
        organisations: assigned,
        probation: probation_hours.map_or(default.probation, hours),
        new_key_rate: new_key_rate.unwrap_or(default.new_key_rate),
        known_key_rate: known_key_rate.unwrap_or(default.known_key_rate),
        events_max,
        indicator_lifetime: indicator_days.map_or(default.indicator_lifetime, days),
        own_events: own_events.unwrap_or(default.own_events),
        automatic,
        ..default
    })
}

/// What follows from indicators by itself.
fn automatic(effect: Option<&str>, confidence: Option<u8>) -> Result<Option<Automatic>, ConfigError> {
    let confidence_min = confidence.unwrap_or(CONFIDENCE);
    // Reporters without weight come to ten together: whoever asks for less could be told by anybody whom to refuse.
    if !(CONFIDENCE_MIN..=100).contains(&confidence_min) {
        return Err(wrong("intel.measure_confidence", format!("must be {CONFIDENCE_MIN} to 100")));
    }
    let effect = match effect {
        None | Some("off") => return Ok(None),
        Some("deny") => Effect::Deny,
        Some("challenge") => Effect::Challenge,
        Some(other) => {
            let problem = format!("`{other}` is none of `off`, `deny` and `challenge`");
            return Err(wrong("intel.measure_effect", problem));
        }
    };
    Ok(Some(Automatic { effect, confidence_min }))
}

/// The settings for a data directory.
pub(crate) fn of(settings: &IntelConfig, data_dir: &Path) -> IntelConfig {
    IntelConfig { data_dir: data_dir.to_owned(), ..settings.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_or_refused() {
        let key = "ab".repeat(32);
        let read = settings(IntelToml {
            mode: Some("seed".into()),
            anchors: Some(vec![key.clone()]),
            organisations: Some(vec![format!("{key}=bank")]),
            probation_hours: Some(2),
            ..IntelToml::default()
        })
        .unwrap();
        assert_eq!(
            (read.mode, read.anchors.len(), read.probation),
            (Mode::Seed, 1, Duration::from_secs(7200))
        );
        assert_eq!(read.organisations.values().next().map(String::as_str), Some("bank"));
        for bad in [
            IntelToml { mode: Some("soft".into()), ..IntelToml::default() },
            IntelToml { anchors: Some(vec!["x".into()]), ..IntelToml::default() },
            IntelToml { organisations: Some(vec![key.clone()]), ..IntelToml::default() },
            IntelToml { organisations: Some(vec![format!("{key}= ")]), ..IntelToml::default() },
            IntelToml { events_max: Some(1), ..IntelToml::default() },
            IntelToml { measure_confidence: Some(49), ..IntelToml::default() },
            IntelToml { measure_effect: Some("allow".into()), ..IntelToml::default() },
        ] {
            assert!(settings(bad).is_err());
        }
    }
}
