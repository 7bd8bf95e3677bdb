//! Files and directories.

use cm_instance::Rights;
use wasmtime::component::Resource;

use super::bindings::wasi::filesystem::{preopens, types};
use super::failure::{FileFailure, code};
use super::process::{datetime, nanoseconds};
use super::streams::{InputStream, IoError, OutputStream};
use super::{CALL_LEN_MAX, World};
use crate::vfs::{DirectoryEntry, Errno, Handle, NodeKind, NodeStat, OpenOptions, TimeChange};
use crate::wasi::{WASI_RIGHTS, or_end};
use types::{DescriptorFlags, DescriptorType, OpenFlags, PathFlags};

/// Rights that need `write` among the descriptor's flags.
const WRITES: Rights = Rights::FD_WRITE.union(Rights::FD_ALLOCATE).union(Rights::FD_FILESTAT_SET_SIZE);

/// An open file or directory, and the flags it was opened with.
#[derive(Debug)]
pub struct Descriptor {
    handle: Handle,
    flags: DescriptorFlags,
}

/// The entries of a directory that were not told yet.
#[derive(Debug)]
pub struct Entries(std::vec::IntoIter<DirectoryEntry>);

type FileResult<T> = Result<T, FileFailure>;
type This = Resource<Descriptor>;

fn kind(kind: NodeKind) -> DescriptorType {
    match kind {
        NodeKind::Directory => DescriptorType::Directory,
        NodeKind::File => DescriptorType::RegularFile,
        NodeKind::Symlink => DescriptorType::SymbolicLink,
    }
}

/// A time that nobody set is none.
fn time(ns: u64) -> Option<types::Datetime> {
    (ns != 0).then(|| datetime(ns))
}

fn described(stat: &NodeStat) -> types::DescriptorStat {
    types::DescriptorStat {
        type_: kind(stat.kind),
        link_count: stat.links,
        size: stat.len,
        data_access_timestamp: time(stat.accessed_ns),
        data_modification_timestamp: time(stat.modified_ns),
        status_change_timestamp: time(stat.modified_ns),
    }
}

/// Two values that are equal for the same thing. Libraries ask for them while they list a directory, in place of the
/// numbers that come with its entries in preview 1; so they tell that number and nothing else.
fn hashed(inode: u64) -> types::MetadataHashValue {
    types::MetadataHashValue { lower: inode, upper: 0 }
}

fn follows(flags: PathFlags) -> bool {
    flags.contains(PathFlags::SYMLINK_FOLLOW)
}

/// What a program asks for with the flags of a descriptor.
fn wanted(flags: DescriptorFlags) -> Rights {
    let mut wanted = WASI_RIGHTS;
    if !flags.contains(DescriptorFlags::READ) {
        wanted = wanted.difference(Rights::FD_READ);
    }
    if !flags.contains(DescriptorFlags::WRITE) {
        wanted = wanted.difference(WRITES);
    }
    wanted
}

impl World {
    fn time_change(
        &self,
        accessed: types::NewTimestamp,
        modified: types::NewTimestamp,
    ) -> Result<TimeChange, Errno> {
        let pick = |new| match new {
            types::NewTimestamp::NoChange => Ok(None),
            types::NewTimestamp::Now => self.time.realtime_ns().map(Some),
            types::NewTimestamp::Timestamp(time) => nanoseconds(time).map(Some),
        };
        Ok(TimeChange { accessed_ns: pick(accessed)?, modified_ns: pick(modified)? })
    }

    /// Demands a right of an open file for a call that changes nothing in memory.
    fn demand(&mut self, this: &This, call: &'static str, needed: Rights) -> FileResult<()> {
        self.view.begin(call);
        let descriptor = self.table.get_mut(this)?;
        Ok(self.view.check_open(&mut descriptor.handle, needed)?)
    }

    /// A handle of its own for a stream that begins at a place of a file.
    fn stream_handle(&mut self, this: &This, call: &'static str, at: u64) -> FileResult<Handle> {
        self.view.begin(call);
        let descriptor = self.table.get_mut(this)?;
        if descriptor.handle.kind() == NodeKind::Directory {
            return Err(Errno::Isdir.into());
        }
        if at != 0 {
            self.view.check_open(&mut descriptor.handle, Rights::FD_SEEK)?;
        }
        Ok(self.view.duplicate(&descriptor.handle, at)?)
    }

    fn stat(&mut self, this: &This, call: &'static str) -> FileResult<NodeStat> {
        self.view.begin(call);
        let descriptor = self.table.get_mut(this)?;
        Ok(self.view.stat(&mut descriptor.handle)?)
    }

    fn stat_at(
        &mut self,
        this: &This,
        call: &'static str,
        flags: PathFlags,
        name: &str,
    ) -> FileResult<NodeStat> {
        self.view.begin(call);
        let base = directory(self.table.get(this)?)?;
        Ok(self.view.stat_name(Some(base), name, follows(flags))?)
    }
}

/// The handle of a directory, which names begin at.
fn directory(descriptor: &Descriptor) -> Result<&Handle, Errno> {
    if descriptor.handle.kind() == NodeKind::Directory { Ok(&descriptor.handle) } else { Err(Errno::Notdir) }
}

impl types::Host for World {
    fn convert_error_code(&mut self, failure: FileFailure) -> wasmtime::Result<types::ErrorCode> {
        match failure {
            FileFailure::Code(errno) => Ok(code(errno)),
            FileFailure::End(end) => Err(end),
        }
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<IoError>,
    ) -> wasmtime::Result<Option<types::ErrorCode>> {
        Ok(Some(code(self.table.get(&error)?.0)))
    }
}

impl types::HostDescriptor for World {
    fn read_via_stream(&mut self, this: This, at: u64) -> FileResult<Resource<InputStream>> {
        let handle = self.stream_handle(&this, "descriptor.read-via-stream", at)?;
        Ok(self.table.push(InputStream::File(handle))?)
    }

    fn write_via_stream(&mut self, this: This, at: u64) -> FileResult<Resource<OutputStream>> {
        let handle = self.stream_handle(&this, "descriptor.write-via-stream", at)?;
        Ok(self.table.push(OutputStream(Some(handle)))?)
    }

    fn append_via_stream(&mut self, this: This) -> FileResult<Resource<OutputStream>> {
        let handle = self.stream_handle(&this, "descriptor.append-via-stream", 0)?;
        Ok(self.table.push(OutputStream(Some(handle.append_only())))?)
    }

    fn advise(&mut self, this: This, _at: u64, _len: u64, _advice: types::Advice) -> FileResult<()> {
        self.demand(&this, "descriptor.advise", Rights::FD_ADVISE)
    }

    fn sync_data(&mut self, this: This) -> FileResult<()> {
        self.demand(&this, "descriptor.sync-data", Rights::FD_DATASYNC)
    }

    fn sync(&mut self, this: This) -> FileResult<()> {
        self.demand(&this, "descriptor.sync", Rights::FD_SYNC)
    }

    fn get_flags(&mut self, this: This) -> FileResult<DescriptorFlags> {
        Ok(self.table.get(&this)?.flags)
    }

    fn get_type(&mut self, this: This) -> FileResult<DescriptorType> {
        Ok(kind(self.table.get(&this)?.handle.kind()))
    }

    fn set_size(&mut self, this: This, len: u64) -> FileResult<()> {
        self.view.begin("descriptor.set-size");
        let descriptor = self.table.get_mut(&this)?;
        Ok(self.view.set_len(&mut descriptor.handle, len)?)
    }

    fn set_times(
        &mut self,
        this: This,
        accessed: types::NewTimestamp,
        modified: types::NewTimestamp,
    ) -> FileResult<()> {
        self.demand(&this, "descriptor.set-times", Rights::FD_FILESTAT_SET_TIMES)?;
        let change = self.time_change(accessed, modified)?;
        let descriptor = self.table.get_mut(&this)?;
        Ok(self.view.set_times(&mut descriptor.handle, change)?)
    }

    fn read(&mut self, this: This, len: u64, at: u64) -> FileResult<(Vec<u8>, bool)> {
        self.view.begin("descriptor.read");
        let descriptor = self.table.get_mut(&this)?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(CALL_LEN_MAX).min(CALL_LEN_MAX)];
        let count = self.view.read_at(&mut descriptor.handle, at, &mut bytes)?;
        let ended = count < bytes.len();
        bytes.truncate(count);
        Ok((bytes, ended))
    }

    fn write(&mut self, this: This, bytes: Vec<u8>, at: u64) -> FileResult<u64> {
        self.view.begin("descriptor.write");
        let descriptor = self.table.get_mut(&this)?;
        Ok(self.view.write_at(&mut descriptor.handle, at, &bytes).map_err(or_end)? as u64)
    }

    fn read_directory(&mut self, this: This) -> FileResult<Resource<Entries>> {
        self.view.begin("descriptor.read-directory");
        let descriptor = self.table.get_mut(&this)?;
        directory(descriptor)?;
        let entries = self.view.read_directory(&mut descriptor.handle)?;
        Ok(self.table.push(Entries(entries.into_iter()))?)
    }

    fn create_directory_at(&mut self, this: This, name: String) -> FileResult<()> {
        self.view.begin("descriptor.create-directory-at");
        let base = directory(self.table.get(&this)?)?;
        Ok(self.view.create_directory(Some(base), &name).map_err(or_end)?)
    }

    fn stat(&mut self, this: This) -> FileResult<types::DescriptorStat> {
        Ok(described(&World::stat(self, &this, "descriptor.stat")?))
    }

    fn stat_at(&mut self, this: This, flags: PathFlags, name: String) -> FileResult<types::DescriptorStat> {
        Ok(described(&World::stat_at(self, &this, "descriptor.stat-at", flags, &name)?))
    }

    fn set_times_at(
        &mut self,
        this: This,
        flags: PathFlags,
        name: String,
        accessed: types::NewTimestamp,
        modified: types::NewTimestamp,
    ) -> FileResult<()> {
        self.view.begin("descriptor.set-times-at");
        let change = self.time_change(accessed, modified)?;
        let base = directory(self.table.get(&this)?)?;
        Ok(self.view.set_times_of_name(Some(base), &name, follows(flags), change)?)
    }

    fn link_at(
        &mut self,
        this: This,
        flags: PathFlags,
        from: String,
        directory_to: This,
        to: String,
    ) -> FileResult<()> {
        self.view.begin("descriptor.link-at");
        let bases = (directory(self.table.get(&this)?)?, directory(self.table.get(&directory_to)?)?);
        Ok(self.view.link((Some(bases.0), &from, follows(flags)), (Some(bases.1), &to)).map_err(or_end)?)
    }

    fn open_at(
        &mut self,
        this: This,
        path_flags: PathFlags,
        name: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FileResult<This> {
        self.view.begin("descriptor.open-at");
        let options = OpenOptions {
            wanted: wanted(flags),
            create: open_flags.contains(OpenFlags::CREATE),
            exclusive: open_flags.contains(OpenFlags::EXCLUSIVE),
            truncate: open_flags.contains(OpenFlags::TRUNCATE),
            directory: open_flags.contains(OpenFlags::DIRECTORY),
            follow: follows(path_flags),
            append: false,
        };
        let base = directory(self.table.get(&this)?)?;
        let handle = self.view.open(Some(base), &name, options).map_err(or_end)?;
        Ok(self.table.push(Descriptor { handle, flags })?)
    }

    fn readlink_at(&mut self, this: This, name: String) -> FileResult<String> {
        self.view.begin("descriptor.readlink-at");
        let base = directory(self.table.get(&this)?)?;
        Ok(self.view.read_link(Some(base), &name)?)
    }

    fn remove_directory_at(&mut self, this: This, name: String) -> FileResult<()> {
        self.view.begin("descriptor.remove-directory-at");
        let base = directory(self.table.get(&this)?)?;
        Ok(self.view.remove_directory(Some(base), &name)?)
    }

    fn rename_at(&mut self, this: This, from: String, directory_to: This, to: String) -> FileResult<()> {
        self.view.begin("descriptor.rename-at");
        let bases = (directory(self.table.get(&this)?)?, directory(self.table.get(&directory_to)?)?);
        Ok(self.view.rename((Some(bases.0), &from), (Some(bases.1), &to))?)
    }

    fn symlink_at(&mut self, this: This, target: String, name: String) -> FileResult<()> {
        self.view.begin("descriptor.symlink-at");
        let base = directory(self.table.get(&this)?)?;
        Ok(self.view.symlink(&target, Some(base), &name).map_err(or_end)?)
    }

    fn unlink_file_at(&mut self, this: This, name: String) -> FileResult<()> {
        self.view.begin("descriptor.unlink-file-at");
        let base = directory(self.table.get(&this)?)?;
        Ok(self.view.unlink(Some(base), &name)?)
    }

    fn is_same_object(&mut self, this: This, other: This) -> wasmtime::Result<bool> {
        Ok(self.table.get(&this)?.handle.inode() == self.table.get(&other)?.handle.inode())
    }

    fn metadata_hash(&mut self, this: This) -> FileResult<types::MetadataHashValue> {
        self.view.begin("descriptor.metadata-hash");
        let descriptor = self.table.get_mut(&this)?;
        Ok(hashed(self.view.inode(&mut descriptor.handle)?))
    }

    fn metadata_hash_at(
        &mut self,
        this: This,
        flags: PathFlags,
        name: String,
    ) -> FileResult<types::MetadataHashValue> {
        self.view.begin("descriptor.metadata-hash-at");
        let descriptor = self.table.get_mut(&this)?;
        directory(descriptor)?;
        // Who may list the directory learns the same from its entries.
        if descriptor.handle.rights().contains(Rights::FD_READDIR) {
            let entries = self.view.read_directory(&mut descriptor.handle)?;
            let found = entries.iter().find(|entry| entry.name == name);
            if let Some(entry) = found.filter(|entry| entry.kind != NodeKind::Symlink || !follows(flags)) {
                return Ok(hashed(entry.inode));
            }
        }
        Ok(hashed(World::stat_at(self, &this, "descriptor.metadata-hash-at", flags, &name)?.inode))
    }

    fn drop(&mut self, this: This) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl types::HostDirectoryEntryStream for World {
    fn read_directory_entry(&mut self, this: Resource<Entries>) -> FileResult<Option<types::DirectoryEntry>> {
        let next = self.table.get_mut(&this)?.0.next();
        Ok(next.map(|entry| types::DirectoryEntry { type_: kind(entry.kind), name: entry.name }))
    }

    fn drop(&mut self, this: Resource<Entries>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl preopens::Host for World {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(This, String)>> {
        let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
        let root = Descriptor { handle: self.view.open_root(), flags };
        Ok(vec![(self.table.push(root)?, "/".to_owned())])
    }
}
