//! Attribute graphs, as Next Generation Access Control (ANSI INCITS 565) has them.
//!
//! Users and objects are assigned to attributes, attributes to attributes and to policy classes; an association lets a user
//! attribute do some operations on an object attribute. An operation is allowed if it is in **every** policy class that
//! the object is below: there must be an association between a user attribute above the user and an object attribute above
//! the object, both below that class. An object below no class is nobody's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::{Answer, DeclarationError, check_text};

/// What a node of the graph is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// Somebody.
    User,
    /// What somebody has in common with others.
    UserAttribute,
    /// Something.
    Object,
    /// What something has in common with others.
    ObjectAttribute,
    /// What governs all that is below it.
    PolicyClass,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// What people call it.
    pub name: String,
    /// Whatever a client wants to be given back.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// Who made it.
    pub owner: String,
    /// The nodes that it is assigned to.
    #[serde(default)]
    pub parents: BTreeSet<String>,
}

/// An association.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Association {
    /// The user attribute.
    pub user_attribute: String,
    /// The object attribute.
    pub object_attribute: String,
    /// What may be done, in lower case.
    pub operations: BTreeSet<String>,
    /// Who made it.
    pub owner: String,
}

/// A graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// By id.
    pub nodes: BTreeMap<String, Node>,
    /// By id.
    pub associations: BTreeMap<String, Association>,
}

impl Graph {
    /// Adds a node.
    ///
    /// # Errors
    /// A name that is no text, a taken id.
    pub fn create(&mut self, id: &str, node: Node) -> Result<(), DeclarationError> {
        check_text("name", &node.name)?;
        match self.nodes.insert(id.to_owned(), node) {
            None => Ok(()),
            Some(_) => Err(DeclarationError::Exists { what: "node", id: id.to_owned() }),
        }
    }

    /// The node of an id.
    ///
    /// # Errors
    /// [`DeclarationError::NotFound`].
    pub fn get(&self, id: &str) -> Result<&Node, DeclarationError> {
        self.nodes.get(id).ok_or_else(|| DeclarationError::NotFound { what: "node", id: id.to_owned() })
    }

    /// Removes a node with all that leads to it.
    ///
    /// # Errors
    /// An unknown node.
    pub fn remove(&mut self, id: &str) -> Result<(), DeclarationError> {
        self.get(id)?;
        self.nodes.remove(id);
        for node in self.nodes.values_mut() {
            node.parents.remove(id);
        }
        self.associations.retain(|_, one| one.user_attribute != id && one.object_attribute != id);
        Ok(())
    }

    /// Assigns a node to another.
    ///
    /// # Errors
    /// Unknown nodes, kinds that do not go together, a cycle, one that is there already.
    pub fn assign(&mut self, from: &str, to: &str) -> Result<(), DeclarationError> {
        use NodeKind::{Object, ObjectAttribute, PolicyClass, User, UserAttribute};
        let fits = matches!(
            (self.get(from)?.kind, self.get(to)?.kind),
            (User, UserAttribute)
                | (UserAttribute, UserAttribute | PolicyClass)
                | (Object, ObjectAttribute)
                | (ObjectAttribute, ObjectAttribute | PolicyClass)
        );
        if !fits {
            return Err(DeclarationError::Invalid {
                field: "to_id",
                rule: "users go to user attributes, objects to object attributes, attributes to their like and to policy classes",
            });
        }
        if self.above(to).contains(from) {
            return Err(DeclarationError::Cycle { child: from.to_owned(), parent: to.to_owned() });
        }
        let added = self.nodes.get_mut(from).is_some_and(|node| node.parents.insert(to.to_owned()));
        match added {
            true => Ok(()),
            false => Err(DeclarationError::Exists { what: "assignment", id: format!("{from}/{to}") }),
        }
    }

    /// Ends an assignment.
    ///
    /// # Errors
    /// One that is not there.
    pub fn unassign(&mut self, from: &str, to: &str) -> Result<(), DeclarationError> {
        match self.nodes.get_mut(from).is_some_and(|node| node.parents.remove(to)) {
            true => Ok(()),
            false => Err(DeclarationError::NotFound { what: "assignment", id: format!("{from}/{to}") }),
        }
    }

    /// Lets a user attribute do operations on an object attribute; the operations take the place of earlier ones.
    ///
    /// # Errors
    /// Unknown nodes, nodes of other kinds, no operations.
    pub fn associate(&mut self, id: &str, association: Association) -> Result<(), DeclarationError> {
        let kinds =
            (self.get(&association.user_attribute)?.kind, self.get(&association.object_attribute)?.kind);
        if kinds != (NodeKind::UserAttribute, NodeKind::ObjectAttribute) {
            return Err(DeclarationError::Invalid {
                field: "user_attribute_id",
                rule: "an association is between a user attribute and an object attribute",
            });
        }
        if association.operations.is_empty() {
            return Err(DeclarationError::Invalid { field: "operations", rule: "expected at least one" });
        }
        association.operations.iter().try_for_each(|text| check_text("operations", text))?;
        self.associations.retain(|_, one| {
            one.user_attribute != association.user_attribute
                || one.object_attribute != association.object_attribute
        });
        self.associations.insert(id.to_owned(), association);
        Ok(())
    }

    /// Ends an association.
    ///
    /// # Errors
    /// An unknown one.
    pub fn dissociate(&mut self, id: &str) -> Result<(), DeclarationError> {
        match self.associations.remove(id) {
            Some(_) => Ok(()),
            None => Err(DeclarationError::NotFound { what: "association", id: id.to_owned() }),
        }
    }

    /// Whether a user may do something with an object. Either is named by its node's id.
    pub fn check(&self, user: &str, object: &str, operation: &str) -> Answer {
        let operation = operation.to_lowercase();
        let (users, objects) = (self.above(user), self.above(object));
        let kind = |id: &String, kind| self.nodes.get(id).is_some_and(|node| node.kind == kind);
        let classes: Vec<&String> = objects.iter().filter(|id| kind(id, NodeKind::PolicyClass)).collect();
        if classes.is_empty() {
            return Answer::no("no policy class governs the object");
        }
        let mut by = Vec::new();
        for class in classes {
            let below = |id: &String| self.above(id).contains(class);
            let found = self.associations.iter().find(|(_, one)| {
                one.operations.contains(&operation)
                    && users.contains(&one.user_attribute)
                    && objects.contains(&one.object_attribute)
                    && below(&one.user_attribute)
                    && below(&one.object_attribute)
            });
            match found {
                Some((id, _)) => by.push(id.clone()),
                None => {
                    let name = self.nodes.get(class).map_or(class.as_str(), |node| node.name.as_str());
                    return Answer {
                        by: Some(class.clone()),
                        ..Answer::no(format!("denied by policy class `{name}`"))
                    };
                }
            }
        }
        let reason = "allowed in every policy class of the object".to_owned();
        Answer { allowed: true, by: by.first().cloned(), part: None, reason }
    }

    /// A node and all that it is assigned to, directly or not.
    fn above(&self, id: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut next = VecDeque::from([id]);
        while let Some(id) = next.pop_front() {
            let Some(node) = self.nodes.get(id) else { continue };
            if found.insert(id.to_owned()) {
                next.extend(node.parents.iter().map(String::as_str));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        let mut graph = Graph::default();
        for (id, kind) in [
            ("alice", NodeKind::User),
            ("staff", NodeKind::UserAttribute),
            ("cleared", NodeKind::UserAttribute),
            ("file", NodeKind::Object),
            ("reports", NodeKind::ObjectAttribute),
            ("secret", NodeKind::ObjectAttribute),
            ("work", NodeKind::PolicyClass),
            ("clearance", NodeKind::PolicyClass),
        ] {
            let node = Node {
                kind,
                name: id.to_owned(),
                properties: BTreeMap::new(),
                owner: "x".to_owned(),
                parents: BTreeSet::new(),
            };
            graph.create(id, node).unwrap();
        }
        for (from, to) in [
            ("alice", "staff"),
            ("staff", "work"),
            ("file", "reports"),
            ("reports", "work"),
            ("cleared", "clearance"),
            ("secret", "clearance"),
        ] {
            graph.assign(from, to).unwrap();
        }
        graph
    }

    fn associate(graph: &mut Graph, user_attribute: &str, object_attribute: &str) {
        let association = Association {
            user_attribute: user_attribute.to_owned(),
            object_attribute: object_attribute.to_owned(),
            operations: ["read".to_owned()].into(),
            owner: "x".to_owned(),
        };
        graph.associate(&format!("{user_attribute}-{object_attribute}"), association).unwrap();
    }

    #[test]
    fn every_class_that_governs_must_allow() {
        let mut graph = graph();
        assert!(!graph.check("alice", "file", "read").allowed);
        associate(&mut graph, "staff", "reports");
        assert!(graph.check("alice", "file", "READ").allowed);
        assert!(!graph.check("alice", "file", "write").allowed);
        graph.assign("file", "secret").unwrap();
        associate(&mut graph, "cleared", "secret");
        let denied = graph.check("alice", "file", "read");
        assert_eq!((denied.allowed, denied.by.as_deref()), (false, Some("clearance")));
        graph.assign("alice", "cleared").unwrap();
        assert!(graph.check("alice", "file", "read").allowed);
        graph.dissociate("cleared-secret").unwrap();
        assert!(!graph.check("alice", "file", "read").allowed);
        assert!(
            !graph.check("alice", "nothing", "read").allowed && !graph.check("bob", "file", "read").allowed
        );
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let mut graph = graph();
        for (from, to) in
            [("alice", "reports"), ("file", "staff"), ("work", "staff"), ("alice", "work"), ("alice", "x")]
        {
            assert!(graph.assign(from, to).is_err(), "{from} {to}");
        }
        graph.assign("cleared", "staff").unwrap();
        assert!(matches!(graph.assign("staff", "cleared"), Err(DeclarationError::Cycle { .. })));
        graph.remove("staff").unwrap();
        assert!(graph.get("alice").unwrap().parents.is_empty() && graph.remove("staff").is_err());
        assert!(graph.unassign("alice", "staff").is_err());
    }
}
