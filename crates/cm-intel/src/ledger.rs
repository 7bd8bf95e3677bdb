//! What is held of whom. Two ledgers, because two may be at fault for one bad event: [`reporter`] for those who sign events, known by
//! their key, and [`link`] for those who deliver them. Nobody is charged for what others say in their name, unless the node is told to
//! judge as the earlier one does ([`Mode::Seed`]).
//!
//! Pure: every function is told the time.

pub mod bucket;
pub mod link;
pub mod reporter;

use serde::{Deserialize, Serialize};

/// How reporters are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// As the earlier node does: the key that an event names gains 1 for a valid signature and loses 3 for another, and is
    /// ignored below -10. Whoever forges events in somebody's name has them ignored.
    Seed,
    /// By what others confirm, beginning with those whom the operator trusts.
    #[default]
    Hardened,
}

impl Mode {
    /// The name, as in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Seed => "seed",
            Mode::Hardened => "hardened",
        }
    }
}
