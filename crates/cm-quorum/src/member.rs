//! Who takes part.

use std::collections::BTreeMap;

/// Most members of one log, learners included.
pub const MEMBERS_MAX: usize = 64;
/// Longest text that says how to reach a member, in bytes.
pub const CONTACT_LEN_MAX: usize = 1024;

/// Names a member. Never used again for another one, nor for the same one after it has lost its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

impl std::fmt::Display for MemberId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What is known of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Whether it counts in majorities. A learner gets everything and counts for nothing.
    pub voter: bool,
    /// How to reach it, in the words of whoever carries the messages; at most [`CONTACT_LEN_MAX`] bytes.
    pub contact: String,
}

/// All members as of an entry of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members(BTreeMap<MemberId, Member>);

impl Members {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more, or another in its place.
    pub fn with(mut self, id: MemberId, member: Member) -> Self {
        self.0.insert(id, member);
        self
    }

    /// With one more that votes.
    pub fn with_voter(self, id: MemberId, contact: &str) -> Self {
        self.with(id, Member { voter: true, contact: contact.to_owned() })
    }

    /// The member of that name.
    pub fn get(&self, id: MemberId) -> Option<&Member> {
        self.0.get(&id)
    }

    /// Whether it counts in majorities.
    pub fn is_voter(&self, id: MemberId) -> bool {
        self.get(id).is_some_and(|member| member.voter)
    }

    /// All, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (MemberId, &Member)> {
        self.0.iter().map(|(id, member)| (*id, member))
    }

    /// Those who count.
    pub fn voters(&self) -> impl Iterator<Item = MemberId> {
        self.iter().filter(|(_, member)| member.voter).map(|(id, _)| id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether more than half of the voters agree; never if there are none.
    pub fn has_majority(&self, agrees: impl Fn(MemberId) -> bool) -> bool {
        let (voters, agreeing) =
            self.voters().fold((0, 0), |(all, yes), id| (all + 1, yes + usize::from(agrees(id))));
        agreeing * 2 > voters
    }

    /// The members after a change.
    pub(crate) fn changed(&self, change: &Change) -> Result<Members, ChangeRefused> {
        let mut members = self.clone();
        match change {
            Change::Add { contact, .. } if contact.len() > CONTACT_LEN_MAX => {
                return Err(ChangeRefused::ContactTooLong);
            }
            Change::Add { id, .. } if members.get(*id).is_none() && members.len() >= MEMBERS_MAX => {
                return Err(ChangeRefused::TooMany);
            }
            Change::Add { id, contact } => {
                let voter = members.is_voter(*id);
                members.0.insert(*id, Member { voter, contact: contact.clone() });
            }
            Change::Promote { id } => match members.0.get_mut(id) {
                Some(member) => member.voter = true,
                None => return Err(ChangeRefused::Unknown),
            },
            Change::Remove { id } => {
                if members.0.remove(id).is_none() {
                    return Err(ChangeRefused::Unknown);
                }
                if members.voters().next().is_none() {
                    return Err(ChangeRefused::Last);
                }
            }
        }
        Ok(members)
    }
}

/// A change of membership. Each changes one member, so that majorities before and after it always overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// One more learner, or another contact of a member.
    Add {
        /// Who.
        id: MemberId,
        /// How to reach it.
        contact: String,
    },
    /// A learner that has caught up becomes a voter.
    Promote {
        /// Who.
        id: MemberId,
    },
    /// A member that leaves.
    Remove {
        /// Who.
        id: MemberId,
    },
}

/// Why a change of membership was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefused {
    /// Only the leader changes members.
    #[error("this node does not lead; ask the one that does")]
    NotLeader,
    /// The leader has not yet finished the change before, or its own election.
    #[error("an earlier change is not finished; try again soon")]
    Busy,
    /// There is no such member.
    #[error("there is no such member")]
    Unknown,
    /// It would be a voter that has nothing.
    #[error("the learner has not caught up yet; try again soon")]
    Behind,
    /// Nobody would be left who votes.
    #[error("the last voter cannot be removed")]
    Last,
    /// More members than [`MEMBERS_MAX`].
    #[error("there are {} members already", MEMBERS_MAX)]
    TooMany,
    /// A contact of more than [`CONTACT_LEN_MAX`] bytes.
    #[error("the contact is longer than {} bytes", CONTACT_LEN_MAX)]
    ContactTooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(voters: &[u64]) -> Members {
        voters.iter().fold(Members::new(), |members, id| members.with_voter(MemberId(*id), ""))
    }

    #[test]
    fn majorities_are_more_than_half_of_the_voters() {
        let learner = Member { voter: false, contact: String::new() };
        for (voters, agreeing, expected) in [
            (&[1, 2, 3][..], &[1, 2][..], true),
            (&[1, 2, 3], &[1, 9], false),
            (&[1, 2, 3, 4], &[1, 2], false),
            (&[1], &[1], true),
            (&[], &[], false),
        ] {
            let members = members(voters).with(MemberId(9), learner.clone());
            assert_eq!(
                members.has_majority(|id| agreeing.contains(&id.0)),
                expected,
                "{agreeing:?} of {voters:?}"
            );
        }
    }

    #[test]
    fn changes_concern_one_member() {
        let id = MemberId(7);
        let add = Change::Add { id, contact: "there".into() };
        let more = members(&[1]).changed(&add).unwrap();
        assert!(!more.is_voter(id) && more.get(id).unwrap().contact == "there");
        let promoted = more.changed(&Change::Promote { id }).unwrap();
        assert!(promoted.is_voter(id) && promoted.changed(&add).unwrap().is_voter(id));
        assert_eq!(promoted.changed(&Change::Remove { id }).unwrap(), members(&[1]));
        assert_eq!(members(&[1]).changed(&Change::Promote { id }), Err(ChangeRefused::Unknown));
        assert_eq!(more.changed(&Change::Remove { id: MemberId(1) }), Err(ChangeRefused::Last));
        let long = Change::Add { id, contact: "x".repeat(CONTACT_LEN_MAX + 1) };
        assert_eq!(members(&[1]).changed(&long), Err(ChangeRefused::ContactTooLong));
    }
}
