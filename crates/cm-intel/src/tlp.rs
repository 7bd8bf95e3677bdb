//! With whom an event may be shared (Traffic Light Protocol 2.0, FIRST).

use serde::{Deserialize, Serialize};

/// A marking. Events of version 1 carry none and count as [`Tlp::Clear`]: whoever sent them told everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tlp {
    /// With everybody.
    #[default]
    Clear,
    /// With the community, which the peers of this node are.
    Green,
    /// Within the organisation and its clients: not with peers.
    Amber,
    /// Within the organisation: not with peers.
    AmberStrict,
    /// With nobody else: neither with peers nor in exports.
    Red,
}

impl Tlp {
    /// All of them, the least strict first.
    pub const ALL: [Tlp; 5] = [Tlp::Clear, Tlp::Green, Tlp::Amber, Tlp::AmberStrict, Tlp::Red];

    /// The name, as in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Tlp::Clear => "clear",
            Tlp::Green => "green",
            Tlp::Amber => "amber",
            Tlp::AmberStrict => "amber-strict",
            Tlp::Red => "red",
        }
    }

    /// Whether peers may have it.
    pub fn for_peers(self) -> bool {
        self <= Tlp::Green
    }

    /// Whether it may leave the node in files that its operators make.
    pub fn for_export(self) -> bool {
        self != Tlp::Red
    }
}

/// The text is no marking.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no marking, expected one of clear, green, amber, amber-strict, red")]
pub struct UnknownTlp(pub String);

impl std::str::FromStr for Tlp {
    type Err = UnknownTlp;

    fn from_str(text: &str) -> Result<Self, UnknownTlp> {
        Tlp::ALL.into_iter().find(|tlp| tlp.as_str() == text).ok_or_else(|| UnknownTlp(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markings_read_back_and_say_who_may_know() {
        for tlp in Tlp::ALL {
            assert_eq!(tlp.as_str().parse(), Ok(tlp));
        }
        assert!("white".parse::<Tlp>().is_err());
        let peers: Vec<Tlp> = Tlp::ALL.into_iter().filter(|tlp| tlp.for_peers()).collect();
        assert_eq!(peers, [Tlp::Clear, Tlp::Green]);
        assert!(!Tlp::Red.for_export());
    }
}
