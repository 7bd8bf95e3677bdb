//! Roles with parents.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::{Answer, DeclarationError, check_text};

/// Most permissions of one role.
pub const PERMISSIONS_MAX: usize = 1024;
/// Most parents of one role.
pub const PARENTS_MAX: usize = 64;

/// What a role permits, itself and by its parents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// What people call it.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `type:action`, where either may be `*`.
    #[serde(default)]
    pub permissions: BTreeSet<String>,
    /// The ids of the roles whose permissions it has besides.
    #[serde(default)]
    pub parents: BTreeSet<String>,
}

/// The roles of an application, and who holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// By id.
    pub roles: BTreeMap<String, Role>,
    /// The ids of the roles that each subject holds.
    pub held: BTreeMap<String, BTreeSet<String>>,
}

impl Roles {
    /// Adds a role.
    ///
    /// # Errors
    /// A taken id, a text that is none, a permission that is not `type:action`.
    pub fn create(&mut self, id: &str, role: Role) -> Result<(), DeclarationError> {
        check_text("name", &role.name)?;
        role.permissions.iter().try_for_each(|text| check_permission(text))?;
        if self.roles.values().any(|other| other.name == role.name) {
            return Err(DeclarationError::Exists { what: "role", id: role.name });
        }
        match self.roles.insert(id.to_owned(), role) {
            None => Ok(()),
            Some(_) => Err(DeclarationError::Exists { what: "role", id: id.to_owned() }),
        }
    }

    /// The role of an id.
    ///
    /// # Errors
    /// [`DeclarationError::NotFound`].
    pub fn get(&self, id: &str) -> Result<&Role, DeclarationError> {
        self.roles.get(id).ok_or_else(|| not_found(id))
    }

    /// Renames a role, or describes it anew; `None` leaves a thing as it is.
    ///
    /// # Errors
    /// An unknown role, a taken name, a text that is none.
    pub fn describe(
        &mut self,
        id: &str,
        name: Option<String>,
        description: Option<String>,
    ) -> Result<(), DeclarationError> {
        if let Some(name) = &name {
            check_text("name", name)?;
            if self.roles.iter().any(|(other, role)| other != id && role.name == *name) {
                return Err(DeclarationError::Exists { what: "role", id: name.clone() });
            }
        }
        let role = self.get_mut(id)?;
        role.name = name.unwrap_or_else(|| role.name.clone());
        role.description = description.or_else(|| role.description.clone());
        Ok(())
    }

    /// Removes a role, takes it from whoever holds it, and from among the parents of others.
    ///
    /// # Errors
    /// An unknown role.
    pub fn remove(&mut self, id: &str) -> Result<(), DeclarationError> {
        self.roles.remove(id).ok_or_else(|| not_found(id))?;
        for role in self.roles.values_mut() {
            role.parents.remove(id);
        }
        for held in self.held.values_mut() {
            held.remove(id);
        }
        self.held.retain(|_, held| !held.is_empty());
        Ok(())
    }

    /// Adds a permission.
    ///
    /// # Errors
    /// An unknown role, a text that is not `type:action`, too many.
    pub fn permit(&mut self, id: &str, permission: &str) -> Result<(), DeclarationError> {
        check_permission(permission)?;
        let role = self.get_mut(id)?;
        if role.permissions.len() >= PERMISSIONS_MAX {
            return Err(DeclarationError::Invalid {
                field: "permissions",
                rule: "a role may have at most 1024 permissions",
            });
        }
        role.permissions.insert(permission.to_owned());
        Ok(())
    }

    /// Takes a permission away; one that is not there is no error.
    ///
    /// # Errors
    /// An unknown role.
    pub fn forbid(&mut self, id: &str, permission: &str) -> Result<(), DeclarationError> {
        self.get_mut(id)?.permissions.remove(permission);
        Ok(())
    }

    /// Puts a role below another, whose permissions it has from then on.
    ///
    /// # Errors
    /// Unknown roles; a cycle.
    pub fn add_parent(&mut self, id: &str, parent: &str) -> Result<(), DeclarationError> {
        self.get(parent)?;
        self.get(id)?;
        if self.reachable([parent]).contains(id) {
            return Err(DeclarationError::Cycle { child: id.to_owned(), parent: parent.to_owned() });
        }
        let role = self.get_mut(id)?;
        if role.parents.len() >= PARENTS_MAX {
            return Err(DeclarationError::Invalid {
                field: "parent_role_id",
                rule: "a role may have at most 64 parents",
            });
        }
        role.parents.insert(parent.to_owned());
        Ok(())
    }

    /// Takes a parent away; one that is not there is no error.
    ///
    /// # Errors
    /// An unknown role.
    pub fn remove_parent(&mut self, id: &str, parent: &str) -> Result<(), DeclarationError> {
        self.get_mut(id)?.parents.remove(parent);
        Ok(())
    }

    /// Gives a role to a subject.
    ///
    /// # Errors
    /// An unknown role, one that is held already, a subject that is no text.
    pub fn assign(&mut self, subject: &str, id: &str) -> Result<(), DeclarationError> {
        check_text("subject_id", subject)?;
        self.get(id)?;
        match self.held.entry(subject.to_owned()).or_default().insert(id.to_owned()) {
            true => Ok(()),
            false => Err(DeclarationError::Exists { what: "assignment", id: format!("{subject}/{id}") }),
        }
    }

    /// Takes a role from a subject.
    ///
    /// # Errors
    /// One that it does not hold.
    pub fn unassign(&mut self, subject: &str, id: &str) -> Result<(), DeclarationError> {
        let held = self.held.get_mut(subject);
        let taken = held.is_some_and(|held| held.remove(id));
        self.held.retain(|_, held| !held.is_empty());
        match taken {
            true => Ok(()),
            false => Err(DeclarationError::NotFound { what: "assignment", id: format!("{subject}/{id}") }),
        }
    }

    /// The roles that a subject was given.
    pub fn roles_of(&self, subject: &str) -> Vec<(&str, &Role)> {
        let held = self.held.get(subject).into_iter().flatten();
        held.filter_map(|id| self.roles.get_key_value(id)).map(|(id, role)| (id.as_str(), role)).collect()
    }

    /// What a subject's roles and their parents permit.
    pub fn permissions_of(&self, subject: &str) -> BTreeSet<&str> {
        let held = self.held.get(subject).into_iter().flatten().map(String::as_str);
        let roles = self.reachable(held);
        roles
            .iter()
            .filter_map(|id| self.roles.get(id))
            .flat_map(|role| &role.permissions)
            .map(String::as_str)
            .collect()
    }

    /// Whether a subject may do what the permission names.
    ///
    /// # Errors
    /// A text that is not `type:action`.
    pub fn check(&self, subject: &str, permission: &str) -> Result<Answer, DeclarationError> {
        check_permission(permission)?;
        let held = self.held.get(subject).into_iter().flatten().map(String::as_str);
        for id in self.reachable(held) {
            let Some(role) = self.roles.get(&id) else { continue };
            if let Some(own) = role.permissions.iter().find(|own| implies(own, permission)) {
                let reason = format!("role `{}` permits `{own}`", role.name);
                return Ok(Answer { allowed: true, by: Some(id), part: Some(own.clone()), reason });
            }
        }
        Ok(Answer::no("no role of the subject permits it"))
    }

    /// These roles and all above them.
    fn reachable<'a>(&'a self, from: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut next: VecDeque<&str> = from.into_iter().collect();
        while let Some(id) = next.pop_front() {
            let Some(role) = self.roles.get(id) else { continue };
            if found.insert(id.to_owned()) {
                next.extend(role.parents.iter().map(String::as_str));
            }
        }
        found
    }

    fn get_mut(&mut self, id: &str) -> Result<&mut Role, DeclarationError> {
        self.roles.get_mut(id).ok_or_else(|| not_found(id))
    }
}

fn not_found(id: &str) -> DeclarationError {
    DeclarationError::NotFound { what: "role", id: id.to_owned() }
}

fn check_permission(text: &str) -> Result<(), DeclarationError> {
    check_text("permission", text)?;
    match text.split_once(':') {
        Some((kind, action)) if !kind.is_empty() && !action.is_empty() => Ok(()),
        _ => Err(DeclarationError::Invalid { field: "permission", rule: "expected `type:action`" }),
    }
}

/// Whether who holds one permission may do what the other names.
fn implies(held: &str, asked: &str) -> bool {
    let (Some((kind, action)), Some((asked_kind, asked_action))) =
        (held.split_once(':'), asked.split_once(':'))
    else {
        return false;
    };
    (kind == "*" || kind == asked_kind) && (action == "*" || action == asked_action)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, permissions: &[&str]) -> Role {
        let permissions = permissions.iter().map(|text| (*text).to_owned()).collect();
        Role { name: name.to_owned(), permissions, ..Role::default() }
    }

    fn three() -> Roles {
        let mut roles = Roles::default();
        roles.create("r", role("reader", &["documents:read"])).unwrap();
        roles.create("w", role("writer", &["documents:write"])).unwrap();
        roles.create("b", role("boss", &["reports:*"])).unwrap();
        roles.add_parent("w", "r").unwrap();
        roles.add_parent("b", "w").unwrap();
        roles.assign("alice", "b").unwrap();
        roles.assign("bob", "r").unwrap();
        roles
    }

    fn may(roles: &Roles, subject: &str, permission: &str) -> bool {
        roles.check(subject, permission).unwrap().allowed
    }

    #[test]
    fn permissions_come_from_parents_and_not_from_children() {
        let roles = three();
        for (subject, permission, expected) in [
            ("alice", "documents:read", true),
            ("alice", "documents:write", true),
            ("alice", "reports:print", true),
            ("alice", "reports2:print", false),
            ("bob", "documents:read", true),
            ("bob", "documents:write", false),
            ("carol", "documents:read", false),
        ] {
            assert_eq!(may(&roles, subject, permission), expected, "{subject} {permission}");
        }
        let answer = roles.check("alice", "documents:read").unwrap();
        assert_eq!((answer.by.as_deref(), answer.part.as_deref()), (Some("r"), Some("documents:read")));
        let all: Vec<_> = roles.permissions_of("alice").into_iter().collect();
        assert_eq!(all, ["documents:read", "documents:write", "reports:*"]);
    }

    #[test]
    fn cycles_are_refused_however_long() {
        let mut roles = three();
        for (child, parent) in [("r", "b"), ("r", "w"), ("r", "r"), ("w", "b")] {
            let refused = roles.add_parent(child, parent).unwrap_err();
            assert!(matches!(refused, DeclarationError::Cycle { .. }), "{child} {parent}: {refused}");
        }
        roles.add_parent("b", "r").unwrap();
    }

    #[test]
    fn what_is_removed_permits_nothing_any_more() {
        let mut roles = three();
        roles.remove("w").unwrap();
        assert!(!may(&roles, "alice", "documents:read") && may(&roles, "alice", "reports:x"));
        roles.unassign("alice", "b").unwrap();
        assert!(roles.unassign("alice", "b").is_err());
        assert!(roles.roles_of("alice").is_empty());
        roles.forbid("r", "documents:read").unwrap();
        assert!(!may(&roles, "bob", "documents:read"));
    }

    #[test]
    fn what_is_no_permission_or_no_role_is_refused() {
        let mut roles = three();
        for bad in ["", "read", ":read", "documents:", "a\nb:c"] {
            assert!(roles.permit("r", bad).is_err(), "{bad:?}");
            assert!(roles.check("bob", bad).is_err(), "{bad:?}");
        }
        assert!(roles.create("x", role("reader", &[])).is_err(), "a name is taken once");
        assert!(roles.assign("bob", "x").is_err() && roles.assign("bob", "r").is_err());
        assert!(roles.describe("r", Some("boss".to_owned()), None).is_err());
        roles.describe("r", Some("readers".to_owned()), Some("all".to_owned())).unwrap();
        assert_eq!(roles.get("r").unwrap().name, "readers");
    }
}
