//! What each aspect of an instance is worth.

use serde::{Deserialize, Serialize};

use crate::{Accepted, Demands, EvidenceKind, Statement, Tcb, TcbStatus};

/// What a claim is worth, from least to most worrying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrustTier {
    /// Nothing is claimed.
    None,
    /// It is as it should be.
    Affirming,
    /// It may do, for somebody who accepts the risk.
    Warning,
    /// It will not do.
    Contraindicated,
}

impl TrustTier {
    /// Of a claim's value (draft-ietf-rats-ar4si section 2.3.2).
    fn of(value: i8) -> Self {
        match value {
            -1..=1 => TrustTier::None,
            2..=31 | -32..=-2 => TrustTier::Affirming,
            32..=95 | -96..=-33 => TrustTier::Warning,
            96..=127 | -128..=-97 => TrustTier::Contraindicated,
        }
    }

    /// Its name in results.
    pub fn as_str(self) -> &'static str {
        match self {
            TrustTier::None => "none",
            TrustTier::Affirming => "affirming",
            TrustTier::Warning => "warning",
            TrustTier::Contraindicated => "contraindicated",
        }
    }
}

impl std::fmt::Display for TrustTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The trustworthiness claims of draft-ietf-rats-ar4si section 2.3.4, by their registered values; 0 claims nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct TrustVector {
    /// Whether the signer is known. 2: it is.
    #[serde(skip_serializing_if = "is_silent")]
    pub instance_identity: i8,
    /// Whether it is set up as it should be. 2: it is; 32: known weaknesses; 96: it can be looked into.
    #[serde(skip_serializing_if = "is_silent")]
    pub configuration: i8,
    /// Whether the program is known. 2: everything that runs; 3: what was booted; 33: it is not.
    #[serde(skip_serializing_if = "is_silent")]
    pub executables: i8,
    /// Of files; nothing is claimed.
    #[serde(skip_serializing_if = "is_silent")]
    pub file_system: i8,
    /// Whether the hardware is genuine and kept up. 2: it is; 32: known weaknesses; 96: its keys are revoked; 97: none is
    /// there that could vouch.
    #[serde(skip_serializing_if = "is_silent")]
    pub hardware: i8,
    /// Who can read the memory. 2: nobody, it is encrypted; 32: no neighbour; 96: whoever runs the host.
    #[serde(skip_serializing_if = "is_silent")]
    pub runtime_opaque: i8,
    /// Of what is stored; nothing is claimed.
    #[serde(skip_serializing_if = "is_silent")]
    pub storage_opaque: i8,
    /// Of data from elsewhere; nothing is claimed.
    #[serde(skip_serializing_if = "is_silent")]
    pub sourced_data: i8,
}

fn is_silent(value: &i8) -> bool {
    *value == 0
}

impl TrustVector {
    /// The claims about authentic evidence. They speak of what *is*, even where a demand would have been fulfilled.
    pub fn of(statement: &Statement, demands: &Demands) -> Self {
        Self {
            instance_identity: 2,
            configuration: configuration(statement),
            executables: executables(statement, &demands.measurements),
            hardware: hardware(statement, demands),
            runtime_opaque: match statement.kind {
                EvidenceKind::InsecureSoftware => 96,
                // Set apart from its parent by the hypervisor; the format says nothing of encryption.
                EvidenceKind::AwsNitro => 32,
                EvidenceKind::AmdSevSnp | EvidenceKind::IntelTdx | EvidenceKind::IntelSgx => 2,
            },
            ..Self::default()
        }
    }

    /// The worst of them.
    pub fn status(&self) -> TrustTier {
        self.entries().into_iter().map(|(_, value)| TrustTier::of(value)).max().unwrap_or(TrustTier::None)
    }

    /// The claims by name.
    pub fn entries(&self) -> [(&'static str, i8); 8] {
        [
            ("instance-identity", self.instance_identity),
            ("configuration", self.configuration),
            ("executables", self.executables),
            ("file-system", self.file_system),
            ("hardware", self.hardware),
            ("runtime-opaque", self.runtime_opaque),
            ("storage-opaque", self.storage_opaque),
            ("sourced-data", self.sourced_data),
        ]
    }
}

fn configuration(statement: &Statement) -> i8 {
    let layers = statement.claims.iter().flat_map(|claims| &claims.isolation);
    match statement.debug {
        true => 96,
        false if layers.into_iter().any(|layer| !layer.active) => 32,
        false => 2,
    }
}

fn executables(statement: &Statement, accepted: &Accepted) -> i8 {
    match accepted {
        Accepted::Any => 0,
        Accepted::OneOf(known) if !known.contains(&statement.measurement) => 33,
        // A virtual machine goes on loading what its measured part tells it to.
        Accepted::OneOf(_) => match statement.kind {
            EvidenceKind::AmdSevSnp | EvidenceKind::IntelTdx => 3,
            EvidenceKind::InsecureSoftware | EvidenceKind::AwsNitro | EvidenceKind::IntelSgx => 2,
        },
    }
}

fn hardware(statement: &Statement, demands: &Demands) -> i8 {
    match &statement.tcb {
        Tcb::Unrated if statement.kind == EvidenceKind::InsecureSoftware => 97,
        Tcb::Unrated => 2,
        Tcb::Versions(versions) if versions.reaches(&demands.tcb.snp_least) => 2,
        Tcb::Rated { status: TcbStatus::UpToDate, .. } => 2,
        Tcb::Rated { status: TcbStatus::Revoked, .. } => 96,
        Tcb::Versions(_) | Tcb::Rated { .. } => 32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_the_worst_claim() {
        let check = |vector: TrustVector, expected| assert_eq!(vector.status(), expected, "{vector:?}");
        check(TrustVector::default(), TrustTier::None);
        check(TrustVector { hardware: 2, ..Default::default() }, TrustTier::Affirming);
        check(TrustVector { hardware: 2, executables: 33, ..Default::default() }, TrustTier::Warning);
        check(
            TrustVector { runtime_opaque: 96, hardware: 2, ..Default::default() },
            TrustTier::Contraindicated,
        );
        check(TrustVector { hardware: -100, ..Default::default() }, TrustTier::Contraindicated);
    }
}
