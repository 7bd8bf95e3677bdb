//! What a feed is asked through: implemented by a face, which speaks the protocols.

use std::collections::HashMap;

use cm_crypto::Secret;
use cm_types::Timestamp;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::Entry;
use crate::Tlp;

/// What a feed speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedKind {
    /// A collection of a TAXII 2.1 server.
    Taxii,
    /// A directory with `manifest.json` and an event of MISP a file.
    Misp,
}

impl FeedKind {
    /// The name, as in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            FeedKind::Taxii => "taxii",
            FeedKind::Misp => "misp",
        }
    }
}

/// The text names no kind of feed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of feed, expected taxii or misp")]
pub struct UnknownFeedKind(pub String);

impl std::str::FromStr for FeedKind {
    type Err = UnknownFeedKind;

    fn from_str(text: &str) -> Result<Self, UnknownFeedKind> {
        let known = [FeedKind::Taxii, FeedKind::Misp].into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| UnknownFeedKind(text.to_owned()))
    }
}

/// What a feed is asked with.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A token.
    Bearer(Secret<String>),
    /// A name and a password.
    Basic(String, Secret<String>),
}

/// Where to ask.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it speaks.
    pub kind: FeedKind,
    /// Its address.
    pub url: String,
    /// What it is asked with.
    pub credential: Option<Credential>,
    /// The marking of what bears none.
    pub unmarked: Tlp,
    /// What was said before this moment, and does not say for how long it holds, holds no more: it need not be fetched.
    pub since: Timestamp,
    /// Now: what is said to be of later is not believed yet.
    pub now: Timestamp,
    /// Statements that are known of a feed whose files are asked for one by one, with their versions; of others nothing.
    pub known: HashMap<String, Timestamp>,
}

/// Some of what a feed has.
#[derive(Debug, Default)]
pub struct Batch {
    /// What it says, in its order.
    pub entries: Vec<Entry>,
    /// Where to go on once this is kept; only the source that wrote it can read it. At most [`POSITION_LEN_MAX`] bytes.
    pub position: String,
}

/// Longest position that is kept, in bytes.
pub const POSITION_LEN_MAX: usize = 8192;

/// Why a feed was asked in vain. The texts name nothing that differs from time to time, so that a failure that lasts is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedFailure {
    /// Nobody answers there, or somebody without the certificate of that name.
    #[error("it cannot be reached; check the address, its certificate and that this node may go there")]
    Unreachable,
    /// An answer took too long.
    #[error("it takes too long to answer")]
    Slow,
    /// It has too much to do, or fails by itself.
    #[error("it is overloaded or broken; it is asked again later")]
    Busy,
    /// It does not take the credential.
    #[error("it refuses the credential; remove the feed and add it with one that it takes")]
    Credential,
    /// There is nothing at the address.
    #[error(
        "there is no such feed at its address; give the address of a collection or of the directory of a manifest"
    )]
    Absent,
    /// It wants to be asked elsewhere.
    #[error("it redirects, which is not followed; add the feed under the address that it redirects to")]
    Redirected,
    /// It answers what nobody expects.
    #[error("it answers with a status that the protocol does not have")]
    Odd,
    /// It sends more than is taken.
    #[error("it sends more at a time than is taken")]
    TooLong,
    /// It sends something else than its protocol has.
    #[error("what it sends is not of its protocol")]
    Garbage,
    /// It says that there is more, and never gets on.
    #[error("it says that there is more and sends the same again")]
    Endless,
    /// The secret cannot be opened any more.
    #[error("its secret was sealed under another key of this node; remove the feed and add it again")]
    Sealed,
    /// What it said could not be kept.
    #[error("what it said could not be kept; see the log of this node")]
    NotKept,
}

impl FeedFailure {
    /// Whether trying again at once may help.
    pub fn is_passing(self) -> bool {
        matches!(self, FeedFailure::Unreachable | FeedFailure::Slow | FeedFailure::Busy)
    }
}

/// A way to ask feeds.
pub trait FeedSource: Send + Sync {
    /// Whether a feed can be asked there.
    ///
    /// # Errors
    /// What about the address is wrong, and what would be taken.
    fn check(&self, target: &Target) -> Result<(), &'static str>;

    /// Begins to ask, from a position that an earlier [`Batch`] had; the empty one is the beginning.
    fn begin(&self, target: Target, position: &str) -> Box<dyn Pulling>;
}

/// A feed that is being asked.
pub trait Pulling: Send {
    /// What comes next; `None` at the end, or when it is enough for one time. After an error the same may be asked for again. Bounded in bytes and time.
    /// Dropping the future loses nothing but its answer.
    ///
    /// # Errors
    /// [`FeedFailure`].
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Batch>, FeedFailure>>;
}
