//! The parts of a platform that everything rests on, and how old they may be.

/// Versions of the parts of an AMD platform. Each counts for itself: newer in one does not make up for older in another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SnpTcb {
    /// Of the secure processor's boot loader.
    pub bootloader: u8,
    /// Of the secure processor's operating system.
    pub tee: u8,
    /// Of the SNP firmware.
    pub snp: u8,
    /// Of the cores' microcode.
    pub microcode: u8,
}

impl SnpTcb {
    /// Whether every part is at least as new as in `least`.
    pub fn reaches(&self, least: &SnpTcb) -> bool {
        self.bootloader >= least.bootloader
            && self.tee >= least.tee
            && self.snp >= least.snp
            && self.microcode >= least.microcode
    }
}

impl std::fmt::Display for SnpTcb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let SnpTcb { bootloader, tee, snp, microcode } = self;
        write!(f, "bootloader={bootloader} tee={tee} snp={snp} microcode={microcode}")
    }
}

/// What Intel's collateral says about a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcbStatus {
    /// Nothing to be done.
    UpToDate,
    /// Software must defend itself against known weaknesses.
    SwHardeningNeeded,
    /// The platform's configuration must be checked.
    ConfigurationNeeded,
    /// Both of the two above.
    ConfigurationAndSwHardeningNeeded,
    /// Launched on an old platform that was brought up to date since.
    RelaunchAdvised,
    /// The same, and its configuration must be checked.
    RelaunchAdvisedConfigurationNeeded,
    /// Known weaknesses are not mended.
    OutOfDate,
    /// The same, and its configuration must be checked.
    OutOfDateConfigurationNeeded,
    /// The platform's keys are worthless.
    Revoked,
}

impl TcbStatus {
    /// All of them, best first.
    pub const ALL: [TcbStatus; 9] = [
        TcbStatus::UpToDate,
        TcbStatus::SwHardeningNeeded,
        TcbStatus::ConfigurationNeeded,
        TcbStatus::ConfigurationAndSwHardeningNeeded,
        TcbStatus::RelaunchAdvised,
        TcbStatus::RelaunchAdvisedConfigurationNeeded,
        TcbStatus::OutOfDate,
        TcbStatus::OutOfDateConfigurationNeeded,
        TcbStatus::Revoked,
    ];

    /// Intel's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            TcbStatus::UpToDate => "UpToDate",
            TcbStatus::SwHardeningNeeded => "SWHardeningNeeded",
            TcbStatus::ConfigurationNeeded => "ConfigurationNeeded",
            TcbStatus::ConfigurationAndSwHardeningNeeded => "ConfigurationAndSWHardeningNeeded",
            TcbStatus::RelaunchAdvised => "TDRelaunchAdvised",
            TcbStatus::RelaunchAdvisedConfigurationNeeded => "TDRelaunchAdvisedConfigurationNeeded",
            TcbStatus::OutOfDate => "OutOfDate",
            TcbStatus::OutOfDateConfigurationNeeded => "OutOfDateConfigurationNeeded",
            TcbStatus::Revoked => "Revoked",
        }
    }
}

impl std::fmt::Display for TcbStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no status of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no TCB status; `UpToDate`, `SWHardeningNeeded` and `ConfigurationNeeded` are some")]
pub struct UnknownTcbStatus(pub String);

impl std::str::FromStr for TcbStatus {
    type Err = UnknownTcbStatus;

    fn from_str(text: &str) -> Result<Self, UnknownTcbStatus> {
        let found = TcbStatus::ALL.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| UnknownTcbStatus(text.to_owned()))
    }
}

/// How old a platform may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcbPolicy {
    /// The statuses of an Intel platform that are good enough.
    pub statuses: Vec<TcbStatus>,
    /// The least versions of an AMD platform.
    pub snp_least: SnpTcb,
}

impl Default for TcbPolicy {
    /// Intel: up to date. AMD publishes no list that could be built in: any version, until a least one is named.
    fn default() -> Self {
        Self { statuses: vec![TcbStatus::UpToDate], snp_least: SnpTcb::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts_for_itself() {
        let found = SnpTcb { bootloader: 3, tee: 0, snp: 8, microcode: 115 };
        assert!(found.reaches(&found) && found.reaches(&SnpTcb::default()));
        for least in [
            SnpTcb { bootloader: 4, ..SnpTcb::default() },
            SnpTcb { tee: 1, ..SnpTcb::default() },
            SnpTcb { snp: 9, ..SnpTcb::default() },
            SnpTcb { microcode: 116, ..SnpTcb::default() },
        ] {
            assert!(!found.reaches(&least), "{least}");
        }
    }

    #[test]
    fn statuses_read_back() {
        for status in TcbStatus::ALL {
            assert_eq!(status.to_string().parse(), Ok(status));
        }
        assert!("uptodate".parse::<TcbStatus>().is_err());
    }
}
