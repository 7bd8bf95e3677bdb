//! The programs and data files that belong to a function.
//!
//! Their bytes are objects in a bucket of the node's own. A file is accepted only if the function's policy
//! names it, and only with the hash that stands there; the bytes are hashed while they arrive, and what does
//! not match leaves nothing behind. Storing the same file again is harmless.

use std::io;

use bytes::Bytes;
use cm_instance::policy::ProgramPolicy;
use cm_instance::{FileName, GuestPath};
use cm_kernel::OpContext;
use cm_kernel::catalog::Record;
use cm_kernel::objects::{ObjectInfo, ObjectRead};
use cm_kernel::policy::{Permit, Read, Update};
use cm_types::{ObjectKey, ResourceKind, ResourceRef, Sha256Digest, TenantId};
use futures::Stream;

use crate::functions::program_policy;
use crate::{FunctionError, Functions};

/// The two kinds of files of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A WebAssembly module.
    Program,
    /// Data that the function's owner provides.
    DataFile,
}

/// A file that a function's policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileView {
    /// Its name, as the policy writes it.
    pub name: String,
    /// The hash that it must have.
    pub expected: Sha256Digest,
    /// Its length in bytes, if it has been uploaded as the policy now demands it.
    pub size: Option<u64>,
}

impl Functions {
    /// Stores a file, streaming. The permit is for updating the function.
    ///
    /// # Errors
    /// [`FunctionError::UnknownFile`]; a wrong hash is the object store's `DigestMismatch`.
    pub async fn put_file(
        &self,
        op: &OpContext,
        function: &Record,
        permit: &Permit<Update>,
        kind: FileKind,
        name: &str,
        body: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<ObjectInfo, FunctionError> {
        demand(permit.resource(), function)?;
        let (path, expected) = named(&program_policy(function)?, kind, name)?;
        let node = self.node_op(op);
        self.0.records.put_object(&node, &key(function, kind, &path), expected, body).await
    }

    /// Opens a stored file for reading. The permit is for reading the function.
    pub async fn get_file(
        &self,
        op: &OpContext,
        function: &Record,
        permit: &Permit<Read>,
        kind: FileKind,
        name: &str,
    ) -> Result<ObjectRead, FunctionError> {
        demand(permit.resource(), function)?;
        let (path, _) = named(&program_policy(function)?, kind, name)?;
        self.0.records.get_object(&self.node_op(op), &key(function, kind, &path)).await
    }

    /// The files that the policy names, uploaded or not. The permit is for reading the function.
    pub async fn list_files(
        &self,
        op: &OpContext,
        function: &Record,
        permit: &Permit<Read>,
        kind: FileKind,
    ) -> Result<Vec<FileView>, FunctionError> {
        demand(permit.resource(), function)?;
        let mut views = Vec::new();
        for (name, expected) in files(&program_policy(function)?, kind) {
            let found =
                self.0.records.head_object(&self.node_op(op), &key(function, kind, name.path())).await?;
            let size = found.filter(|info| info.sha256 == expected).map(|info| info.size);
            views.push(FileView { name: name.to_string(), expected, size });
        }
        Ok(views)
    }

    /// Removes a stored file; whether there was one. The permit is for updating the function.
    pub async fn delete_file(
        &self,
        op: &OpContext,
        function: &Record,
        permit: &Permit<Update>,
        kind: FileKind,
        name: &str,
    ) -> Result<bool, FunctionError> {
        demand(permit.resource(), function)?;
        let (path, _) = named(&program_policy(function)?, kind, name)?;
        self.0.records.delete_object(&self.node_op(op), &key(function, kind, &path)).await
    }

    /// Removes all files of a function, whichever policy named them.
    pub(crate) async fn delete_files(
        &self,
        op: &OpContext,
        tenant: &TenantId,
        function: &str,
    ) -> Result<(), FunctionError> {
        let node = self.node_op(op);
        loop {
            let keys = self.0.records.list_objects(&node, &prefix(tenant, function)).await?;
            if keys.is_empty() {
                return Ok(());
            }
            for key in keys {
                self.0.records.delete_object(&node, &key).await?;
            }
        }
    }

    /// The files are the node's own; the right to touch them was decided on the function.
    pub(crate) fn node_op(&self, op: &OpContext) -> OpContext {
        OpContext { actor: cm_kernel::Actor::node(), ..op.clone() }
    }
}

/// Refuses a permit for something else than this function.
pub(crate) fn demand(permitted: Option<ResourceRef>, function: &Record) -> Result<(), FunctionError> {
    match permitted {
        Some(resource) if resource == function.resource() => Ok(()),
        _ => Err(FunctionError::UnknownFile(function.header.id.to_string())),
    }
}

/// The files of a kind that a policy names, with their hashes; data files in the order of their loading.
pub(crate) fn files(policy: &ProgramPolicy, kind: FileKind) -> Vec<(FileName, Sha256Digest)> {
    match kind {
        FileKind::Program => {
            let named = |program: &cm_instance::policy::Program| {
                program.pi_hash.map(|hash| (program.program_file_name.clone(), hash))
            };
            policy.programs.iter().filter_map(named).collect()
        }
        FileKind::DataFile => {
            let mut files: Vec<_> = policy.data_files.iter().collect();
            files.sort_by_key(|file| file.priority.unwrap_or(cm_instance::policy::PRIORITY_DEFAULT));
            files.into_iter().map(|file| (file.data_file.clone(), file.pi_hash)).collect()
        }
    }
}

fn named(
    policy: &ProgramPolicy,
    kind: FileKind,
    name: &str,
) -> Result<(GuestPath, Sha256Digest), FunctionError> {
    let path = GuestPath::parse(name)?;
    let found = files(policy, kind).into_iter().find(|(file, _)| *file.path() == path);
    found.map(|(_, expected)| (path, expected)).ok_or_else(|| FunctionError::UnknownFile(name.to_owned()))
}

/// Where a file's bytes are. Identifiers contain no slash, so no two files share a key.
pub(crate) fn key(function: &Record, kind: FileKind, path: &GuestPath) -> ObjectKey {
    let folder = match kind {
        FileKind::Program => "programs",
        FileKind::DataFile => "data-files",
    };
    debug_assert_eq!(function.header.kind, ResourceKind::Function);
    let prefix = prefix(&function.header.tenant, function.header.id.as_str());
    ObjectKey::parse(format!("{prefix}{folder}{path}")).unwrap_or_else(|_| {
        // The longest tenant, id and path together are longer than a key may be: such a file goes by its digest.
        let digest = cm_crypto::digest::sha256(path.as_str().as_bytes());
        ObjectKey::parse(format!("{prefix}{folder}/{digest}")).expect("two ids and a digest fit into a key")
    })
}

/// What the keys of all files of a function begin with.
pub(crate) fn prefix(tenant: &TenantId, function: &str) -> String {
    format!("{tenant}/{function}/")
}
