//! Calls on names.

use cm_instance::Rights;

use super::descriptors::put_stat;
use super::{CallResult, Descriptor, Guest, WASI_RIGHTS, Wasi, or_end};
use crate::vfs::{Errno, OpenOptions};

const FOLLOW: u32 = 1;

const CREATE: u32 = 1;
const DIRECTORY: u32 = 2;
const EXCLUSIVE: u32 = 4;
const TRUNCATE: u32 = 8;

const FLAG_APPEND: u32 = 1;

/// What `path_open` was asked for.
#[derive(Clone, Copy, Debug)]
pub struct PathOpen {
    /// The directory.
    pub fd: u32,
    /// How the name is looked up.
    pub lookup: u32,
    /// Where the name is.
    pub at: u32,
    /// How long it is.
    pub len: u32,
    /// How the file is opened.
    pub oflags: u32,
    /// The wanted rights.
    pub rights: u64,
    /// The descriptor's flags.
    pub fdflags: u32,
    /// Where the new descriptor goes.
    pub out: u32,
}

impl Wasi {
    /// `path_open`.
    pub fn path_open(&mut self, guest: &mut Guest<'_>, call: PathOpen) -> CallResult {
        self.view.begin("path_open");
        let name = guest.text(call.at, call.len)?;
        guest.u32(call.out)?;
        if call.oflags & !0b1111 != 0 || call.fdflags & !0b1_1111 != 0 {
            return Err(Errno::Inval.into());
        }
        let options = OpenOptions {
            wanted: Rights::from_bits_truncated(call.rights) & WASI_RIGHTS,
            create: call.oflags & CREATE != 0,
            exclusive: call.oflags & EXCLUSIVE != 0,
            truncate: call.oflags & TRUNCATE != 0,
            directory: call.oflags & DIRECTORY != 0,
            follow: call.lookup & FOLLOW != 0,
            append: call.fdflags & FLAG_APPEND != 0,
        };
        let (view, base) = self.directory(call.fd)?;
        let handle = view.open(Some(base), &name, options).map_err(or_end)?;
        let fd = self.insert(Descriptor::Open(handle))?;
        Ok(guest.put_u32(call.out, fd)?)
    }

    /// `path_create_directory`.
    pub fn path_create_directory(&mut self, guest: &Guest<'_>, fd: u32, at: u32, len: u32) -> CallResult {
        self.view.begin("path_create_directory");
        let name = guest.text(at, len)?;
        let (view, base) = self.directory(fd)?;
        view.create_directory(Some(base), &name).map_err(or_end)
    }

    /// `path_filestat_get`.
    pub fn path_filestat_get(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        lookup: u32,
        at: u32,
        len: u32,
        out: u32,
    ) -> CallResult {
        self.view.begin("path_filestat_get");
        let name = guest.text(at, len)?;
        let (view, base) = self.directory(fd)?;
        let stat = view.stat_name(Some(base), &name, lookup & FOLLOW != 0)?;
        put_stat(guest, out, &stat)
    }

    /// `path_filestat_set_times`.
    #[expect(clippy::too_many_arguments, reason = "the arguments are those of the call")]
    pub fn path_filestat_set_times(
        &mut self,
        guest: &Guest<'_>,
        fd: u32,
        lookup: u32,
        at: u32,
        len: u32,
        accessed: u64,
        modified: u64,
        flags: u32,
    ) -> CallResult {
        self.view.begin("path_filestat_set_times");
        let name = guest.text(at, len)?;
        let change = self.time_change(accessed, modified, flags)?;
        let (view, base) = self.directory(fd)?;
        Ok(view.set_times_of_name(Some(base), &name, lookup & FOLLOW != 0, change)?)
    }

    /// `path_link`.
    pub fn path_link(
        &mut self,
        guest: &Guest<'_>,
        from: (u32, u32, u32, u32),
        to: (u32, u32, u32),
    ) -> CallResult {
        self.view.begin("path_link");
        let (from_fd, lookup, from_at, from_len) = from;
        let (to_fd, to_at, to_len) = to;
        let from_name = guest.text(from_at, from_len)?;
        let to_name = guest.text(to_at, to_len)?;
        let Self { view, descriptors, .. } = self;
        let bases = (base(descriptors, from_fd)?, base(descriptors, to_fd)?);
        let follow = lookup & FOLLOW != 0;
        Ok(view.link((Some(bases.0), &from_name, follow), (Some(bases.1), &to_name))?)
    }

    /// `path_rename`.
    pub fn path_rename(
        &mut self,
        guest: &Guest<'_>,
        from: (u32, u32, u32),
        to: (u32, u32, u32),
    ) -> CallResult {
        self.view.begin("path_rename");
        let from_name = guest.text(from.1, from.2)?;
        let to_name = guest.text(to.1, to.2)?;
        let Self { view, descriptors, .. } = self;
        let bases = (base(descriptors, from.0)?, base(descriptors, to.0)?);
        Ok(view.rename((Some(bases.0), &from_name), (Some(bases.1), &to_name))?)
    }

    /// `path_readlink`.
    pub fn path_readlink(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        name: (u32, u32),
        buffer: (u32, u32),
        out: u32,
    ) -> CallResult {
        self.view.begin("path_readlink");
        let name = guest.text(name.0, name.1)?;
        let (view, base) = self.directory(fd)?;
        let target = view.read_link(Some(base), &name)?;
        let len = target.len().min(buffer.1 as usize);
        guest.put(buffer.0, &target.as_bytes()[..len])?;
        Ok(guest.put_u32(out, len as u32)?)
    }

    /// `path_remove_directory`.
    pub fn path_remove_directory(&mut self, guest: &Guest<'_>, fd: u32, at: u32, len: u32) -> CallResult {
        self.view.begin("path_remove_directory");
        let name = guest.text(at, len)?;
        let (view, base) = self.directory(fd)?;
        Ok(view.remove_directory(Some(base), &name)?)
    }

    /// `path_symlink`.
    pub fn path_symlink(
        &mut self,
        guest: &Guest<'_>,
        target: (u32, u32),
        fd: u32,
        name: (u32, u32),
    ) -> CallResult {
        self.view.begin("path_symlink");
        let target = guest.text(target.0, target.1)?;
        let name = guest.text(name.0, name.1)?;
        let (view, base) = self.directory(fd)?;
        view.symlink(&target, Some(base), &name).map_err(or_end)
    }

    /// `path_unlink_file`.
    pub fn path_unlink_file(&mut self, guest: &Guest<'_>, fd: u32, at: u32, len: u32) -> CallResult {
        self.view.begin("path_unlink_file");
        let name = guest.text(at, len)?;
        let (view, base) = self.directory(fd)?;
        Ok(view.unlink(Some(base), &name)?)
    }
}

fn base(descriptors: &[Option<Descriptor>], fd: u32) -> Result<&crate::vfs::Handle, Errno> {
    match descriptors.get(fd as usize).and_then(Option::as_ref) {
        None => Err(Errno::Badf),
        Some(Descriptor::Open(handle)) if handle.kind() == crate::vfs::NodeKind::Directory => Ok(handle),
        Some(_) => Err(Errno::Notdir),
    }
}
