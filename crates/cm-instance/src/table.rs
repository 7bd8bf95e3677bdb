//! Who may do what to which file, resolved from a policy.

use std::collections::BTreeMap;

use crate::policy::{FullPolicy, PipelineEntry};
use crate::{FileName, GuestPath, Rights};

#[cfg(test)]
mod tests;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// Whoever holds the certificate that the policy gives this number.
    Identity(u64),
    /// The program stored at this path, whoever started it.
    Program(GuestPath),
    /// The pipeline of this name, whoever started it.
    Pipeline(String),
}

impl std::fmt::Display for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Identity(id) => write!(f, "identity {id}"),
            Self::Program(path) => write!(f, "program {path}"),
            Self::Pipeline(name) => write!(f, "pipeline {name}"),
        }
    }
}

/// What one principal may do to each path.
///
/// The most specific entry decides alone: an exact name before any directory, a nearer directory before a
/// farther one. So an entry with few rights takes rights away from what stands below a generous directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    exact: BTreeMap<GuestPath, Rights>,
    subtrees: BTreeMap<GuestPath, Rights>,
}

impl Grants {
    /// Adds rights; a name that is there already keeps its earlier rights too.
    pub fn add(&mut self, name: &FileName, rights: Rights) {
        let map = if name.is_subtree() { &mut self.subtrees } else { &mut self.exact };
        let entry = map.entry(name.path().clone()).or_default();
        *entry = entry.union(rights);
    }

    /// The rights on a path. The path must be free of symbolic links.
    pub fn rights_on(&self, path: &GuestPath) -> Rights {
        if let Some(&rights) = self.exact.get(path) {
            return rights;
        }
        let mut ancestor = Some(path.clone());
        while let Some(directory) = ancestor {
            if let Some(&rights) = self.subtrees.get(&directory) {
                return rights;
            }
            ancestor = directory.parent();
        }
        Rights::NONE
    }

    /// Whether the principal may know that something of this name exists: it has a right on it, or the path
    /// is a directory that leads to something it has a right on.
    pub fn may_know(&self, path: &GuestPath) -> bool {
        !self.rights_on(path).is_empty() || self.leads_to_grant(path)
    }

    /// Whether a granted path lies below this one, or is the root, so that it must be a directory.
    pub fn leads_to_grant(&self, path: &GuestPath) -> bool {
        let below = |map: &BTreeMap<GuestPath, Rights>| {
            map.iter().any(|(granted, rights)| !rights.is_empty() && granted != path && path.covers(granted))
        };
        path.is_root() || below(&self.exact) || below(&self.subtrees)
    }

    /// Every entry: the path, whether everything below is meant, the rights.
    pub fn iter(&self) -> impl Iterator<Item = (&GuestPath, bool, Rights)> {
        let exact = self.exact.iter().map(|(path, &rights)| (path, false, rights));
        exact.chain(self.subtrees.iter().map(|(path, &rights)| (path, true, rights)))
    }

    /// Whether any entry contains one of these rights.
    pub fn mention(&self, rights: Rights) -> bool {
        self.iter().any(|(_, _, granted)| granted.intersects(rights))
    }
}

impl<'a> FromIterator<(&'a FileName, Rights)> for Grants {
    fn from_iter<I: IntoIterator<Item = (&'a FileName, Rights)>>(entries: I) -> Self {
        let mut grants = Self::default();
        for (name, rights) in entries {
            grants.add(name, rights);
        }
        grants
    }
}

/// The rights of every principal. Whoever is not in the table has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RightsTable {
    entries: BTreeMap<Principal, Grants>,
}

impl RightsTable {
    /// The table that a policy means. The standard streams are granted to every program.
    pub fn from_policy(policy: &FullPolicy) -> Self {
        let mut table = Self::default();
        for identity in &policy.identities {
            let grants = table.entries.entry(Principal::Identity(identity.id)).or_default();
            for right in &identity.file_rights {
                grants.add(&right.file_name, right.rights);
            }
        }
        for program in &policy.programs {
            let principal = Principal::Program(program.program_file_name.path().clone());
            let grants = table.entries.entry(principal).or_default();
            for right in &program.file_rights {
                grants.add(&right.file_name, right.rights);
            }
            for stream in &policy.std_streams_table {
                let right = stream.file_right();
                grants.add(&right.file_name, right.rights);
            }
        }
        for pipeline in &policy.pipelines {
            let grants = table.entries.entry(Principal::Pipeline(pipeline.name.clone())).or_default();
            for right in &pipeline.file_rights {
                grants.add(&right.file_name, right.rights);
            }
        }
        table
    }

    /// Sets the rights of one principal.
    pub fn insert(&mut self, principal: Principal, grants: Grants) {
        self.entries.insert(principal, grants);
    }

    /// The rights of one principal; `None` if it is not in the table.
    pub fn grants(&self, principal: &Principal) -> Option<&Grants> {
        self.entries.get(principal)
    }

    /// Everybody in the table.
    pub fn principals(&self) -> impl Iterator<Item = (&Principal, &Grants)> {
        self.entries.iter()
    }

    /// Every path that anybody is granted, and whether everything below it is meant; possibly repeated.
    pub fn paths(&self) -> impl Iterator<Item = (&GuestPath, bool)> {
        self.entries.values().flat_map(Grants::iter).map(|(path, subtree, _)| (path, subtree))
    }

    /// What the principal may do to a path that is free of symbolic links.
    pub fn rights(&self, principal: &Principal, path: &GuestPath) -> Rights {
        self.grants(principal).map_or(Rights::NONE, |grants| grants.rights_on(path))
    }

    /// Whether an identity may execute a program.
    ///
    /// When the policy uses [`Rights::FILE_EXECUTE`] anywhere, it decides. The published policies predate it;
    /// under those, whoever may read a file that the program may write, hence wants its result, may execute.
    pub fn may_execute(&self, identity: u64, program: &GuestPath) -> bool {
        let caller = self.grants(&Principal::Identity(identity));
        let callee = self.grants(&Principal::Program(program.clone()));
        let (Some(caller), Some(callee)) = (caller, callee) else { return false };
        if self.knows_execute() {
            return caller.rights_on(program).contains(Rights::FILE_EXECUTE);
        }
        let read_and_written = |path: &GuestPath| {
            caller.rights_on(path).contains(Rights::FD_READ)
                && callee.rights_on(path).contains(Rights::FD_WRITE)
        };
        caller.iter().chain(callee.iter()).any(|(path, _, _)| read_and_written(path))
    }

    /// Whether the policy uses [`Rights::FILE_EXECUTE`] anywhere, so that this right decides who executes.
    pub fn knows_execute(&self) -> bool {
        self.entries.values().any(|grants| grants.mention(Rights::FILE_EXECUTE))
    }

    /// Whether an identity may run a pipeline: a pipeline lends nobody a right, so the identity must be allowed to
    /// execute every program that may run. Under policies that know a right to execute, the pipeline must have it on
    /// each program too.
    pub fn may_run(&self, identity: u64, entry: &PipelineEntry) -> bool {
        let own = Principal::Pipeline(entry.name.clone());
        let granted =
            |program| !self.knows_execute() || self.rights(&own, program).contains(Rights::FILE_EXECUTE);
        let may = |program| self.may_execute(identity, program) && granted(program);
        entry.pipeline.programs().into_iter().all(may)
    }

    /// Whether a pipeline may learn whether something of this name exists: it may open it, read it, or learn its size.
    pub fn may_ask(&self, pipeline: &str, path: &GuestPath) -> bool {
        let telling = Rights::PATH_OPEN | Rights::PATH_FILESTAT_GET | Rights::FD_READ;
        self.rights(&Principal::Pipeline(pipeline.to_owned()), path).intersects(telling)
    }
}
