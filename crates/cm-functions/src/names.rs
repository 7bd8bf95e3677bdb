//! Ids of what people named freely.
//!
//! Functions and instances of the earlier services have any text for a name. A name that can be an id is its id; for any
//! other one an id is made that only this name leads to. A name that looks like an id of the second sort gets one made for itself,
//! so that nobody can take the id of somebody else's name beforehand. Whoever looks something up by name compares the name
//! that its policy gives it besides: the native interface lets everybody choose ids.

use cm_crypto::digest::sha256;
use cm_types::ResourceId;

/// What the ids of names begin with that cannot be ids themselves.
const PREFIX: &str = "named-";
/// Bytes of the name's digest in its id: what no two names share by chance, nor by design in less than 2^80 attempts.
const DIGEST_LEN: usize = 20;

/// The id of whatever has this name.
pub fn id_of(name: &str) -> ResourceId {
    let own = ResourceId::parse(name).ok().filter(|_| !looks_made(name));
    own.unwrap_or_else(|| {
        let digest = sha256(name.as_bytes()).to_string();
        let id = format!("{PREFIX}{}", &digest[..2 * DIGEST_LEN]);
        ResourceId::parse(id).expect("a short text of letters, digits and a hyphen is an id")
    })
}

fn looks_made(name: &str) -> bool {
    let is_digest = |text: &str| text.len() == 2 * DIGEST_LEN && text.bytes().all(|b| b.is_ascii_hexdigit());
    name.strip_prefix(PREFIX).is_some_and(is_digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_ids_stay_as_they_are_and_others_get_their_own() {
        for name in ["linear-regression", "test1", "a@b"] {
            assert_eq!(id_of(name).as_str(), name);
        }
        let others =
            ["", "object detection", "-a", "a/b", "größe", "grösse", &"x".repeat(129), &"x".repeat(256)];
        let ids: std::collections::BTreeSet<_> = others.iter().map(|name| id_of(name)).collect();
        assert_eq!(ids.len(), others.len());
        assert!(ids.iter().all(|id| id.as_str().len() == PREFIX.len() + 2 * DIGEST_LEN));
    }

    #[test]
    fn the_id_that_is_made_for_a_name_is_no_other_names() {
        let taken = id_of("object detection");
        assert_ne!(id_of(taken.as_str()), taken);
        assert_eq!(id_of("named-something").as_str(), "named-something");
    }
}
