//! Lists of grants: who owns a resource, and whom an owner let do what.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Answer, DeclarationError, check_text};

/// Most grants on one resource, and most members of one group.
pub const ENTRIES_MAX: usize = 4096;

/// What somebody may do with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Right {
    /// Read it.
    #[serde(rename = "read")]
    Read,
    /// Write it.
    #[serde(rename = "write")]
    Write,
    /// Delete it.
    #[serde(rename = "delete")]
    Delete,
    /// Say who may.
    #[serde(rename = "sys:manage")]
    Manage,
}

impl Right {
    /// All of them: what an owner may.
    pub const ALL: [Right; 4] = [Right::Read, Right::Write, Right::Delete, Right::Manage];

    /// The name, as the models' clients have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Write => "write",
            Right::Delete => "delete",
            Right::Manage => "sys:manage",
        }
    }

    /// The right of a name.
    ///
    /// # Errors
    /// A name that is none.
    pub fn parse(text: &str) -> Result<Self, DeclarationError> {
        let named = Right::ALL.into_iter().find(|right| right.as_str().eq_ignore_ascii_case(text.trim()));
        named.ok_or(DeclarationError::Invalid {
            field: "permissions",
            rule: "expected read, write, delete or sys:manage",
        })
    }
}

/// Somebody, or a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Grantee {
    /// A user, by id.
    User(String),
    /// A group, by id.
    Group(String),
}

impl Grantee {
    /// The id.
    pub fn id(&self) -> &str {
        match self {
            Grantee::User(id) | Grantee::Group(id) => id,
        }
    }
}

/// What is granted on one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// Who owns it; never empty once it was claimed.
    pub owners: BTreeSet<String>,
    /// What others may.
    pub granted: Vec<(Grantee, BTreeSet<Right>)>,
}

/// A group of users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// What people call it.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Who may change it.
    pub owner: String,
    /// Who is in it, besides the owner.
    #[serde(default)]
    pub members: BTreeSet<String>,
}

impl Group {
    /// Whether a user is in it.
    pub fn has(&self, user: &str) -> bool {
        self.owner == user || self.members.contains(user)
    }
}

/// The resources and groups of an application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// By resource.
    pub resources: BTreeMap<String, Grants>,
    /// By id.
    pub groups: BTreeMap<String, Group>,
}

impl Lists {
    /// Makes somebody the owner of a resource that nobody owns. The first who claims it, owns it.
    ///
    /// # Errors
    /// Somebody else owns it.
    pub fn claim(&mut self, user: &str, resource: &str) -> Result<(), DeclarationError> {
        check_text("resource_id", resource)?;
        let grants = self.resources.entry(resource.to_owned()).or_default();
        if grants.owners.is_empty() || grants.owners.contains(user) {
            grants.owners.insert(user.to_owned());
            return Ok(());
        }
        Err(DeclarationError::Denied("the resource is owned by somebody else"))
    }

    /// Lets somebody do more. `by` must own the resource or hold `sys:manage`.
    ///
    /// # Errors
    /// An unclaimed resource, an unknown group, no right to grant.
    pub fn grant(
        &mut self,
        by: &str,
        resource: &str,
        grantee: Grantee,
        rights: &BTreeSet<Right>,
    ) -> Result<(), DeclarationError> {
        self.demand_manage(by, resource)?;
        if let Grantee::Group(id) = &grantee
            && !self.groups.contains_key(id)
        {
            return Err(DeclarationError::NotFound { what: "group", id: id.clone() });
        }
        check_text("principal_id", grantee.id())?;
        let grants = self.resources.entry(resource.to_owned()).or_default();
        if let Some((_, held)) = grants.granted.iter_mut().find(|(other, _)| *other == grantee) {
            held.extend(rights);
            return Ok(());
        }
        if grants.granted.len() >= ENTRIES_MAX {
            return Err(DeclarationError::Invalid {
                field: "principal_id",
                rule: "a resource may have at most 4096 grants",
            });
        }
        grants.granted.push((grantee, rights.clone()));
        Ok(())
    }

    /// Lets somebody do less. Who loses `sys:manage` stops to own the resource.
    ///
    /// # Errors
    /// An unclaimed resource, no right to revoke, the last owner.
    pub fn revoke(
        &mut self,
        by: &str,
        resource: &str,
        grantee: &str,
        rights: &BTreeSet<Right>,
    ) -> Result<(), DeclarationError> {
        self.demand_manage(by, resource)?;
        let grants = self.resources.entry(resource.to_owned()).or_default();
        if grants.owners.contains(grantee) {
            if grants.owners.len() == 1 {
                return Err(DeclarationError::LastOwner(resource.to_owned()));
            }
            grants.owners.remove(grantee);
            let left: BTreeSet<Right> =
                Right::ALL.into_iter().filter(|right| !rights.contains(right)).collect();
            grants.granted.push((Grantee::User(grantee.to_owned()), left));
        }
        for (other, held) in &mut grants.granted {
            if other.id() == grantee {
                held.retain(|right| !rights.contains(right));
            }
        }
        grants.granted.retain(|(_, held)| !held.is_empty());
        Ok(())
    }

    /// Whether a user may do all of this with a resource.
    pub fn check(&self, user: &str, resource: &str, rights: &BTreeSet<Right>) -> Answer {
        if rights.is_empty() {
            return Answer::no("nothing was asked for");
        }
        let held = self.rights_of(user, resource);
        match rights.iter().find(|right| !held.contains(right)) {
            None => Answer {
                allowed: true,
                by: Some(resource.to_owned()),
                part: None,
                reason: "owned or granted".to_owned(),
            },
            Some(missing) => Answer::no(format!("`{}` was not granted", missing.as_str())),
        }
    }

    /// What a user may do with a resource, itself and as a member of groups.
    pub fn rights_of(&self, user: &str, resource: &str) -> BTreeSet<Right> {
        let Some(grants) = self.resources.get(resource) else { return BTreeSet::new() };
        if grants.owners.contains(user) {
            return Right::ALL.into();
        }
        let is_meant = |grantee: &Grantee| match grantee {
            Grantee::User(id) => id == user,
            Grantee::Group(id) => self.groups.get(id).is_some_and(|group| group.has(user)),
        };
        let granted = grants.granted.iter().filter(|(grantee, _)| is_meant(grantee));
        granted.flat_map(|(_, rights)| rights.iter().copied()).collect()
    }

    /// Adds a group.
    ///
    /// # Errors
    /// A name that is no text.
    pub fn create_group(&mut self, id: &str, group: Group) -> Result<(), DeclarationError> {
        check_text("name", &group.name)?;
        self.groups.insert(id.to_owned(), group);
        Ok(())
    }

    /// Removes a group and what it was granted.
    ///
    /// # Errors
    /// An unknown group, or another's.
    pub fn delete_group(&mut self, by: &str, id: &str) -> Result<(), DeclarationError> {
        self.own_group(by, id)?;
        self.groups.remove(id);
        let of_the_group = Grantee::Group(id.to_owned());
        for grants in self.resources.values_mut() {
            grants.granted.retain(|(grantee, _)| *grantee != of_the_group);
        }
        Ok(())
    }

    /// Adds members to a group.
    ///
    /// # Errors
    /// An unknown group, or another's; too many members.
    pub fn add_members(&mut self, by: &str, id: &str, members: &[String]) -> Result<(), DeclarationError> {
        members.iter().try_for_each(|member| check_text("members", member))?;
        let group = self.own_group(by, id)?;
        if group.members.len() + members.len() > ENTRIES_MAX {
            return Err(DeclarationError::Invalid {
                field: "members",
                rule: "a group may have at most 4096 members",
            });
        }
        group.members.extend(members.iter().cloned());
        Ok(())
    }

    /// Takes members out of a group.
    ///
    /// # Errors
    /// An unknown group, or another's.
    pub fn remove_members(&mut self, by: &str, id: &str, members: &[String]) -> Result<(), DeclarationError> {
        let group = self.own_group(by, id)?;
        for member in members {
            group.members.remove(member);
        }
        Ok(())
    }

    /// Forgets a user: what it was granted, where it was a member, and what it alone owned.
    pub fn forget(&mut self, user: &str) {
        for grants in self.resources.values_mut() {
            grants.owners.remove(user);
            grants.granted.retain(|(grantee, _)| *grantee != Grantee::User(user.to_owned()));
        }
        self.resources.retain(|_, grants| !grants.owners.is_empty());
        self.groups.retain(|_, group| group.owner != user);
        for group in self.groups.values_mut() {
            group.members.remove(user);
        }
    }

    fn own_group(&mut self, by: &str, id: &str) -> Result<&mut Group, DeclarationError> {
        let group = self.groups.get_mut(id);
        let group = group.ok_or_else(|| DeclarationError::NotFound { what: "group", id: id.to_owned() })?;
        match group.owner == by {
            true => Ok(group),
            false => Err(DeclarationError::Denied("only its owner changes a group")),
        }
    }

    fn demand_manage(&self, by: &str, resource: &str) -> Result<(), DeclarationError> {
        if !self.resources.contains_key(resource) {
            return Err(DeclarationError::NotFound { what: "resource", id: resource.to_owned() });
        }
        match self.rights_of(by, resource).contains(&Right::Manage) {
            true => Ok(()),
            false => Err(DeclarationError::Denied("only owners and holders of sys:manage say who may")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(rights: &[Right]) -> BTreeSet<Right> {
        rights.iter().copied().collect()
    }

    fn may(lists: &Lists, user: &str, rights: &[Right]) -> bool {
        lists.check(user, "doc", &set(rights)).allowed
    }

    fn claimed() -> Lists {
        let mut lists = Lists::default();
        lists.claim("alice", "doc").unwrap();
        lists
    }

    #[test]
    fn the_first_who_claims_owns() {
        let mut lists = claimed();
        assert!(lists.claim("bob", "doc").is_err());
        lists.claim("alice", "doc").unwrap();
        assert!(may(&lists, "alice", &Right::ALL));
        assert!(!may(&lists, "bob", &[Right::Read]) && !may(&lists, "alice", &[]));
        assert!(!lists.check("alice", "other", &set(&[Right::Read])).allowed);
    }

    #[test]
    fn rights_come_from_users_and_groups_and_go() {
        let mut lists = claimed();
        let group = Group {
            name: "g".to_owned(),
            description: String::new(),
            owner: "alice".to_owned(),
            members: BTreeSet::new(),
        };
        lists.create_group("g1", group).unwrap();
        lists.add_members("alice", "g1", &["carol".to_owned()]).unwrap();
        assert!(lists.add_members("carol", "g1", &["dave".to_owned()]).is_err());
        lists.grant("alice", "doc", Grantee::User("bob".into()), &set(&[Right::Read])).unwrap();
        lists.grant("alice", "doc", Grantee::Group("g1".into()), &set(&[Right::Read, Right::Write])).unwrap();
        assert!(may(&lists, "bob", &[Right::Read]) && !may(&lists, "bob", &[Right::Read, Right::Write]));
        assert!(may(&lists, "carol", &[Right::Read, Right::Write]));
        assert!(lists.grant("bob", "doc", Grantee::User("eve".into()), &set(&[Right::Read])).is_err());
        assert!(lists.grant("alice", "doc", Grantee::Group("g9".into()), &set(&[Right::Read])).is_err());
        lists.revoke("alice", "doc", "g1", &set(&[Right::Write])).unwrap();
        assert!(may(&lists, "carol", &[Right::Read]) && !may(&lists, "carol", &[Right::Write]));
        lists.remove_members("alice", "g1", &["carol".to_owned()]).unwrap();
        assert!(!may(&lists, "carol", &[Right::Read]));
        lists.delete_group("alice", "g1").unwrap();
        assert!(lists.groups.is_empty() && lists.resources["doc"].granted.len() == 1);
    }

    #[test]
    fn the_last_owner_stays() {
        let mut lists = claimed();
        let all = set(&Right::ALL);
        assert!(matches!(lists.revoke("alice", "doc", "alice", &all), Err(DeclarationError::LastOwner(_))));
        lists.grant("alice", "doc", Grantee::User("bob".into()), &set(&[Right::Manage])).unwrap();
        lists.revoke("bob", "doc", "bob", &all).unwrap();
        assert!(lists.revoke("bob", "doc", "alice", &all).is_err());
        lists.forget("alice");
        assert!(lists.resources.is_empty());
    }

    #[test]
    fn rights_read_back() {
        for right in Right::ALL {
            assert_eq!(Right::parse(right.as_str()).unwrap(), right);
        }
        assert!(Right::parse("fly").is_err());
    }
}
