//! Who presented a credential a moment ago.
//!
//! Nearly every request presents a credential that the one before presented, too. Who that is can only change with a
//! commit. So a credential that was recognised is recognised again without a look at the tables, for as long as nobody has
//! committed anything at all. Only where every commit is this process's own, and counted before it is answered
//! ([`Db::commits`]): a credential has no effect from the moment on at which its revocation was acknowledged, and with a
//! database that other nodes write to nothing is remembered.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cm_crypto::digest;
use cm_db::Db;
use cm_identity::Credential;
use cm_types::{Sha256Digest, Timestamp};

use crate::Actor;

/// Most credentials that are remembered; beyond it, all are forgotten.
const REMEMBERED_MAX: usize = 1024;

/// Credentials by their digests, all recognised after the same commit.
#[derive(Default)]
pub(crate) struct Recognised(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    commits: u64,
    actors: HashMap<Shown, Actor>,
}

/// What somebody shows. The two are never taken for each other, whatever text a bearer shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Shown {
    /// What is the credential itself, by its digest.
    Bearer(Sha256Digest),
    /// An S3 key's id, which proves nothing: that its secret is known has to be shown every time.
    S3Key(String),
}

/// A credential at a moment of the database.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    shown: Shown,
    commits: u64,
}

impl Asked {
    /// Of a bearer's text. To be called before the tables are looked at. `None` where nothing can be remembered.
    pub(crate) fn of(bearer: &str, db: &Db) -> Option<Self> {
        let commits = db.commits()?;
        Some(Self { shown: Shown::Bearer(digest::sha256(bearer.as_bytes())), commits })
    }

    /// As [`Asked::of`], of the id of an S3 key.
    pub(crate) fn of_s3_key(id: &str, db: &Db) -> Option<Self> {
        let commits = db.commits()?;
        Some(Self { shown: Shown::S3Key(id.to_owned()), commits })
    }
}

impl Recognised {
    /// Whose credential it is, if it was recognised since the last commit and has not expired.
    pub(crate) fn find(&self, asked: &Asked, now: Timestamp) -> Option<Actor> {
        let remembered = self.lock();
        let actor = remembered.actors.get(&asked.shown).filter(|_| remembered.commits == asked.commits)?;
        (!has_expired(actor, now)).then(|| actor.clone())
    }

    /// Whose credential it was found to be.
    pub(crate) fn keep(&self, asked: Asked, actor: &Actor) {
        let mut remembered = self.lock();
        // What was found out before somebody committed is nothing to those who ask after it.
        if asked.commits < remembered.commits {
            return;
        }
        if asked.commits > remembered.commits || remembered.actors.len() >= REMEMBERED_MAX {
            remembered.actors.clear();
            remembered.commits = asked.commits;
        }
        remembered.actors.insert(asked.shown, actor.clone());
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_expired(actor: &Actor, now: Timestamp) -> bool {
    match actor {
        Actor::Principal(_, authenticated) => match authenticated.credential() {
            Credential::Token { expires_at, .. } => *expires_at <= now,
            Credential::Password
            | Credential::Passkey { .. }
            | Credential::ApiKey { .. }
            | Credential::External { .. } => false,
        },
        Actor::Anonymous | Actor::Node(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str, commits: u64) -> Asked {
        Asked { shown: Shown::Bearer(digest::sha256(text.as_bytes())), commits }
    }

    fn knows(recognised: &Recognised, asked: Asked) -> bool {
        recognised.find(&asked, Timestamp::from_micros(0)).is_some()
    }

    #[test]
    fn who_was_recognised_is_forgotten_with_the_next_commit() {
        let recognised = Recognised::default();
        recognised.keep(asked("a", 1), &Actor::node());
        assert!(knows(&recognised, asked("a", 1)));
        assert!(!knows(&recognised, asked("b", 1)));
        assert!(!knows(&recognised, asked("a", 2)));
        recognised.keep(asked("b", 2), &Actor::node());
        assert!(knows(&recognised, asked("b", 2)));
        assert!(!knows(&recognised, asked("a", 2)), "what was known before is gone");
        recognised.keep(asked("a", 1), &Actor::node());
        assert!(!knows(&recognised, asked("a", 1)), "what was found out too late is not kept");
    }

    #[test]
    fn the_id_of_a_key_is_no_bearer() {
        let recognised = Recognised::default();
        let key = Asked { shown: Shown::S3Key("CMKEY".to_owned()), commits: 1 };
        recognised.keep(key.clone(), &Actor::node());
        assert!(knows(&recognised, key));
        assert!(!knows(&recognised, asked("CMKEY", 1)));
    }

    #[test]
    fn few_are_remembered() {
        let recognised = Recognised::default();
        for n in 0..=REMEMBERED_MAX {
            recognised.keep(asked(&n.to_string(), 1), &Actor::node());
        }
        assert!(!knows(&recognised, asked("0", 1)));
        assert!(knows(&recognised, asked(&REMEMBERED_MAX.to_string(), 1)));
    }
}
