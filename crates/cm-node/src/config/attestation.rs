//! What the attestation service accepts.

use std::time::Duration;

use cm_attest::{Measurement, SnpTcb, TcbPolicy, TcbStatus};
use cm_functions::AttestationConfig;

use super::{AttestationToml, ConfigError, wrong};

/// The longest that a challenge may last, in seconds.
const LIFETIME_SECS_MAX: u64 = 3600;

pub(super) fn settings(written: AttestationToml) -> Result<AttestationConfig, ConfigError> {
    let AttestationToml { allow_insecure, measurements, tcb_statuses, snp_tcb_min, challenge_lifetime } =
        written;
    let AttestationConfig { tcb, challenge_lifetime: lifetime, .. } = AttestationConfig::default();
    let challenge_lifetime = match challenge_lifetime {
        None => lifetime,
        Some(secs @ 1..=LIFETIME_SECS_MAX) => Duration::from_secs(secs),
        Some(_) => {
            let problem = format!("must be 1 to {LIFETIME_SECS_MAX} seconds");
            return Err(wrong("attestation.challenge_lifetime", problem));
        }
    };
    let measurements = measurements.unwrap_or_default();
    let measurements: Result<Vec<Measurement>, _> = measurements.iter().map(|text| text.parse()).collect();
    let statuses: Option<Result<Vec<TcbStatus>, _>> =
        tcb_statuses.map(|names| names.iter().map(|name| name.parse()).collect());
    Ok(AttestationConfig {
        allow_insecure: allow_insecure.unwrap_or(false),
        measurements: measurements.map_err(|error| wrong("attestation.measurements", error))?,
        tcb: TcbPolicy {
            statuses: statuses
                .unwrap_or(Ok(tcb.statuses))
                .map_err(|error| wrong("attestation.tcb_statuses", error))?,
            snp_least: snp_tcb_min.as_deref().map_or(Ok(tcb.snp_least), versions)?,
        },
        challenge_lifetime,
    })
}

/// `BOOTLOADER.TEE.SNP.MICROCODE`.
fn versions(text: &str) -> Result<SnpTcb, ConfigError> {
    let parts: Result<Vec<u8>, _> = text.split('.').map(str::parse).collect();
    match parts.as_deref() {
        Ok(&[bootloader, tee, snp, microcode]) => Ok(SnpTcb { bootloader, tee, snp, microcode }),
        _ => Err(wrong("attestation.snp_tcb_min", "must be four numbers of 0 to 255, such as `3.0.8.115`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_accepted_that_is_not_named() {
        let config = settings(AttestationToml::default()).unwrap();
        assert!(!config.allow_insecure && config.measurements.is_empty());
        assert_eq!(config.tcb, TcbPolicy::default());
    }

    #[test]
    fn what_is_named_is_accepted() {
        let written = AttestationToml {
            measurements: Some(vec!["ab".repeat(48)]),
            tcb_statuses: Some(vec!["UpToDate".into(), "SWHardeningNeeded".into()]),
            snp_tcb_min: Some("3.0.8.115".into()),
            challenge_lifetime: Some(60),
            ..AttestationToml::default()
        };
        let config = settings(written).unwrap();
        assert_eq!(config.measurements[0].to_string(), "ab".repeat(48));
        assert_eq!(config.tcb.statuses, [TcbStatus::UpToDate, TcbStatus::SwHardeningNeeded]);
        let least = SnpTcb { bootloader: 3, tee: 0, snp: 8, microcode: 115 };
        assert_eq!(config.tcb.snp_least, least);
        assert_eq!(config.challenge_lifetime, Duration::from_secs(60));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let check = |change: &dyn Fn(&mut AttestationToml), key: &str| {
            let mut written = AttestationToml::default();
            change(&mut written);
            let error = settings(written).unwrap_err().to_string();
            assert!(error.contains(&format!("`attestation.{key}`")), "{error}");
        };
        check(&|written| written.measurements = Some(vec!["ab".into()]), "measurements");
        check(&|written| written.tcb_statuses = Some(vec!["Fine".into()]), "tcb_statuses");
        for text in ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "a.b.c.d"] {
            check(&|written| written.snp_tcb_min = Some(text.into()), "snp_tcb_min");
        }
        for secs in [0, 3601] {
            check(&|written| written.challenge_lifetime = Some(secs), "challenge_lifetime");
        }
    }
}
