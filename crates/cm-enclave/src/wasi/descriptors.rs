//! Calls on descriptors.

use cm_instance::Rights;

use super::memory::offset;
use super::{CallResult, Descriptor, Guest, ROOT_FD, Stop, WASI_RIGHTS, Wasi, or_end};
use crate::vfs::{Errno, Handle, NodeKind, NodeStat, TimeChange, View, Whence};

/// Most buffers in one call: what Linux takes (`IOV_MAX`).
const BUFFERS_MAX: u32 = 1024;

const FLAG_APPEND: u16 = 1;
const FLAGS_KNOWN: u16 = 0b1_1111;

const FILETYPE_CHARACTER_DEVICE: u8 = 2;
const FILETYPE_DIRECTORY: u8 = 3;
const FILETYPE_REGULAR_FILE: u8 = 4;
const FILETYPE_SYMBOLIC_LINK: u8 = 7;

const SET_ACCESSED: u16 = 1;
const SET_ACCESSED_NOW: u16 = 2;
const SET_MODIFIED: u16 = 4;
const SET_MODIFIED_NOW: u16 = 8;

pub(super) fn filetype(kind: NodeKind) -> u8 {
    match kind {
        NodeKind::Directory => FILETYPE_DIRECTORY,
        NodeKind::File => FILETYPE_REGULAR_FILE,
        NodeKind::Symlink => FILETYPE_SYMBOLIC_LINK,
    }
}

pub(super) fn put_stat(guest: &mut Guest<'_>, at: u32, stat: &NodeStat) -> CallResult {
    let mut bytes = [0; 64];
    bytes[8..16].copy_from_slice(&stat.inode.to_le_bytes());
    bytes[16] = filetype(stat.kind);
    bytes[24..32].copy_from_slice(&stat.links.to_le_bytes());
    bytes[32..40].copy_from_slice(&stat.len.to_le_bytes());
    bytes[40..48].copy_from_slice(&stat.accessed_ns.to_le_bytes());
    bytes[48..56].copy_from_slice(&stat.modified_ns.to_le_bytes());
    bytes[56..64].copy_from_slice(&stat.modified_ns.to_le_bytes());
    Ok(guest.put(at, &bytes)?)
}

/// The file behind a descriptor, for calls that a null stream does not know.
fn real<'a>(
    (view, handle): (&'a mut View, Option<&'a mut Handle>),
) -> Result<(&'a mut View, &'a mut Handle), Errno> {
    handle.map(|handle| (view, handle)).ok_or(Errno::Spipe)
}

impl Wasi {
    /// `fd_advise`.
    pub fn fd_advise(&mut self, fd: u32, advice: u32) -> CallResult {
        self.view.begin("fd_advise");
        let (view, handle) = real(self.file(fd)?)?;
        view.check_open(handle, Rights::FD_ADVISE)?;
        if advice > 5 { Err(Errno::Inval.into()) } else { Ok(()) }
    }

    /// `fd_allocate`.
    pub fn fd_allocate(&mut self, fd: u32, at: u64, len: u64) -> CallResult {
        self.view.begin("fd_allocate");
        let (view, handle) = real(self.file(fd)?)?;
        let end = at.checked_add(len).ok_or(Errno::Fbig)?;
        Ok(view.allocate(handle, end)?)
    }

    /// `fd_close`.
    pub fn fd_close(&mut self, fd: u32) -> CallResult {
        self.descriptor(fd)?;
        self.descriptors[fd as usize] = None;
        Ok(())
    }

    /// `fd_datasync`.
    pub fn fd_datasync(&mut self, fd: u32) -> CallResult {
        self.view.begin("fd_datasync");
        let (view, handle) = real(self.file(fd)?)?;
        Ok(view.check_open(handle, Rights::FD_DATASYNC)?)
    }

    /// `fd_sync`.
    pub fn fd_sync(&mut self, fd: u32) -> CallResult {
        self.view.begin("fd_sync");
        let (view, handle) = real(self.file(fd)?)?;
        Ok(view.check_open(handle, Rights::FD_SYNC)?)
    }

    /// `fd_fdstat_get`.
    pub fn fd_fdstat_get(&mut self, guest: &mut Guest<'_>, fd: u32, at: u32) -> CallResult {
        let (kind, flags, rights) = match self.descriptor(fd)? {
            Descriptor::Null => (FILETYPE_CHARACTER_DEVICE, 0, Rights::FD_READ | Rights::FD_WRITE),
            Descriptor::Open(handle) => {
                let flags = if handle.is_append() { FLAG_APPEND } else { 0 };
                (filetype(handle.kind()), flags, handle.rights() & WASI_RIGHTS)
            }
        };
        let inheriting = if kind == FILETYPE_DIRECTORY { WASI_RIGHTS } else { Rights::NONE };
        let base = if fd == ROOT_FD { WASI_RIGHTS } else { rights };
        let mut bytes = [0; 24];
        bytes[0] = kind;
        bytes[2..4].copy_from_slice(&flags.to_le_bytes());
        bytes[8..16].copy_from_slice(&u64::from(base.bits()).to_le_bytes());
        bytes[16..24].copy_from_slice(&u64::from(inheriting.bits()).to_le_bytes());
        Ok(guest.put(at, &bytes)?)
    }

    /// `fd_fdstat_set_flags`.
    pub fn fd_fdstat_set_flags(&mut self, fd: u32, flags: u32) -> CallResult {
        self.view.begin("fd_fdstat_set_flags");
        let flags =
            u16::try_from(flags).ok().filter(|flags| flags & !FLAGS_KNOWN == 0).ok_or(Errno::Inval)?;
        let (view, handle) = real(self.file(fd)?)?;
        Ok(view.set_append(handle, flags & FLAG_APPEND != 0)?)
    }

    /// `fd_fdstat_set_rights`: gives rights up, and never adds any.
    pub fn fd_fdstat_set_rights(&mut self, fd: u32, base: u64) -> CallResult {
        let (view, handle) = self.file(fd)?;
        view.begin("fd_fdstat_set_rights");
        if let Some(handle) = handle {
            let wanted = Rights::from_bits_truncated(base);
            if fd != ROOT_FD && !handle.rights().contains(wanted & WASI_RIGHTS) {
                return Err(Errno::Notcapable.into());
            }
            handle.restrict(wanted);
        }
        Ok(())
    }

    /// `fd_filestat_get`.
    pub fn fd_filestat_get(&mut self, guest: &mut Guest<'_>, fd: u32, at: u32) -> CallResult {
        self.view.begin("fd_filestat_get");
        match self.file(fd)? {
            (view, Some(handle)) => {
                let stat = view.stat(handle)?;
                put_stat(guest, at, &stat)
            }
            (_, None) => {
                let mut bytes = [0; 64];
                bytes[16] = FILETYPE_CHARACTER_DEVICE;
                Ok(guest.put(at, &bytes)?)
            }
        }
    }

    /// `fd_filestat_set_size`.
    pub fn fd_filestat_set_size(&mut self, fd: u32, len: u64) -> CallResult {
        self.view.begin("fd_filestat_set_size");
        let (view, handle) = real(self.file(fd)?)?;
        Ok(view.set_len(handle, len)?)
    }

    /// `fd_filestat_set_times`.
    pub fn fd_filestat_set_times(&mut self, fd: u32, accessed: u64, modified: u64, flags: u32) -> CallResult {
        self.view.begin("fd_filestat_set_times");
        let (view, handle) = real(self.file(fd)?)?;
        view.check_open(handle, Rights::FD_FILESTAT_SET_TIMES)?;
        let change = self.time_change(accessed, modified, flags)?;
        let (view, handle) = real(self.file(fd)?)?;
        Ok(view.set_times(handle, change)?)
    }

    pub(super) fn time_change(&self, accessed: u64, modified: u64, flags: u32) -> Result<TimeChange, Errno> {
        let flags = u16::try_from(flags).ok().filter(|flags| flags & !0b1111 == 0).ok_or(Errno::Inval)?;
        let pick = |given: u16, now: u16, value: u64| match (flags & given != 0, flags & now != 0) {
            (true, true) => Err(Errno::Inval),
            (true, false) => Ok(Some(value)),
            (false, true) => self.time.realtime_ns().map(Some),
            (false, false) => Ok(None),
        };
        Ok(TimeChange {
            accessed_ns: pick(SET_ACCESSED, SET_ACCESSED_NOW, accessed)?,
            modified_ns: pick(SET_MODIFIED, SET_MODIFIED_NOW, modified)?,
        })
    }

    /// `fd_read`. The bytes go from the file straight into the program's memory.
    pub fn fd_read(&mut self, guest: &mut Guest<'_>, fd: u32, list: u32, count: u32, out: u32) -> CallResult {
        self.view.begin("fd_read");
        check_count(count)?;
        let (view, handle) = self.file(fd)?;
        let mut total: u32 = 0;
        if let Some(handle) = handle {
            if count == 0 {
                view.check_open(handle, Rights::FD_READ)?;
            }
            for index in 0..count {
                let (at, len) = guest.buffer(list, index)?;
                let buffer = guest.bytes_mut(at, len)?;
                let read = view.read(handle, std::iter::once(buffer))?;
                total = total.checked_add(read as u32).ok_or(Errno::Overflow)?;
                if read < len as usize {
                    break;
                }
            }
        }
        Ok(guest.put_u32(out, total)?)
    }

    /// `fd_pread`.
    pub fn fd_pread(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        list: u32,
        count: u32,
        at: u64,
        out: u32,
    ) -> CallResult {
        self.view.begin("fd_pread");
        check_count(count)?;
        let (view, handle) = real(self.file(fd)?)?;
        view.check_open(handle, Rights::FD_READ | Rights::FD_SEEK)?;
        let mut total: u32 = 0;
        for index in 0..count {
            let (place, len) = guest.buffer(list, index)?;
            let from = at.checked_add(u64::from(total)).ok_or(Errno::Inval)?;
            let read = view.read_at(handle, from, guest.bytes_mut(place, len)?)?;
            total = total.checked_add(read as u32).ok_or(Errno::Overflow)?;
            if read < len as usize {
                break;
            }
        }
        Ok(guest.put_u32(out, total)?)
    }

    /// `fd_write`. The bytes go from the program's memory straight into the file.
    pub fn fd_write(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        list: u32,
        count: u32,
        out: u32,
    ) -> CallResult {
        self.view.begin("fd_write");
        check_count(count)?;
        let (view, mut handle) = self.file(fd)?;
        if let Some(handle) = handle.as_deref_mut().filter(|_| count == 0) {
            view.check_open(handle, Rights::FD_WRITE)?;
        }
        let mut total: u32 = 0;
        for index in 0..count {
            let (at, len) = guest.buffer(list, index)?;
            let bytes = guest.bytes(at, len)?;
            let written = match handle.as_deref_mut() {
                Some(handle) => view.write(handle, bytes).map_err(or_end)?,
                None => bytes.len(),
            };
            total = total.checked_add(written as u32).ok_or(Errno::Overflow)?;
            if written < len as usize {
                break;
            }
        }
        Ok(guest.put_u32(out, total)?)
    }

    /// `fd_pwrite`.
    pub fn fd_pwrite(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        list: u32,
        count: u32,
        at: u64,
        out: u32,
    ) -> CallResult {
        self.view.begin("fd_pwrite");
        check_count(count)?;
        let (view, handle) = real(self.file(fd)?)?;
        view.check_open(handle, Rights::FD_WRITE | Rights::FD_SEEK)?;
        let mut total: u32 = 0;
        for index in 0..count {
            let (place, len) = guest.buffer(list, index)?;
            let to = at.checked_add(u64::from(total)).ok_or(Errno::Inval)?;
            let written = view.write_at(handle, to, guest.bytes(place, len)?).map_err(or_end)?;
            total = total.checked_add(written as u32).ok_or(Errno::Overflow)?;
            if written < len as usize {
                break;
            }
        }
        Ok(guest.put_u32(out, total)?)
    }

    /// `fd_prestat_get`.
    pub fn fd_prestat_get(&mut self, guest: &mut Guest<'_>, fd: u32, at: u32) -> CallResult {
        self.check_preopen(fd)?;
        guest.put_u32(at, 0)?;
        Ok(guest.put_u32(offset(at, 4)?, 1)?)
    }

    /// `fd_prestat_dir_name`.
    pub fn fd_prestat_dir_name(&mut self, guest: &mut Guest<'_>, fd: u32, at: u32, len: u32) -> CallResult {
        self.check_preopen(fd)?;
        if len < 1 {
            return Err(Errno::Nametoolong.into());
        }
        Ok(guest.put(at, b"/")?)
    }

    fn check_preopen(&self, fd: u32) -> Result<(), Errno> {
        match self.descriptor(fd)? {
            Descriptor::Open(handle) if fd == ROOT_FD && handle.path().is_root() => Ok(()),
            _ => Err(Errno::Badf),
        }
    }

    /// `fd_readdir`.
    pub fn fd_readdir(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        at: u32,
        len: u32,
        cookie: u64,
        out: u32,
    ) -> CallResult {
        self.view.begin("fd_readdir");
        let (view, handle) = self.file(fd)?;
        let handle = handle.filter(|handle| handle.kind() == NodeKind::Directory).ok_or(Errno::Notdir)?;
        let entries = view.read_directory(handle)?;
        let start = usize::try_from(cookie).unwrap_or(usize::MAX);
        let mut used: u32 = 0;
        for (index, entry) in entries.iter().enumerate().skip(start) {
            let mut record = [0; 24];
            record[0..8].copy_from_slice(&(index as u64 + 1).to_le_bytes());
            record[8..16].copy_from_slice(&entry.inode.to_le_bytes());
            record[16..20].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
            record[20] = filetype(entry.kind);
            for piece in [&record[..], entry.name.as_bytes()] {
                let step = piece.len().min((len - used) as usize);
                guest.put(offset(at, used)?, &piece[..step])?;
                used += step as u32;
            }
            if used == len {
                break;
            }
        }
        Ok(guest.put_u32(out, used)?)
    }

    /// `fd_renumber`.
    pub fn fd_renumber(&mut self, from: u32, to: u32) -> CallResult {
        self.descriptor(from)?;
        self.descriptor(to)?;
        if from != to {
            self.descriptors[to as usize] = self.descriptors[from as usize].take();
        }
        Ok(())
    }

    /// `fd_seek`.
    pub fn fd_seek(&mut self, guest: &mut Guest<'_>, fd: u32, by: i64, whence: u32, out: u32) -> CallResult {
        self.view.begin("fd_seek");
        let whence = match whence {
            0 => Whence::Set,
            1 => Whence::Current,
            2 => Whence::End,
            _ => return Err(Errno::Inval.into()),
        };
        let (view, handle) = real(self.file(fd)?)?;
        let position = view.seek(handle, by, whence)?;
        Ok(guest.put_u64(out, position)?)
    }

    /// `fd_tell`.
    pub fn fd_tell(&mut self, guest: &mut Guest<'_>, fd: u32, out: u32) -> CallResult {
        self.view.begin("fd_tell");
        let (view, handle) = real(self.file(fd)?)?;
        let position = view.tell(handle)?;
        Ok(guest.put_u64(out, position)?)
    }

    /// `sock_shutdown`: there are no sockets, so that it fails with or without the right, differently.
    pub fn sock_shutdown(&mut self, fd: u32) -> CallResult {
        self.view.begin("sock_shutdown");
        if let (view, Some(handle)) = self.file(fd)? {
            view.check_open(handle, Rights::SOCK_SHUTDOWN)?;
        }
        Err(Errno::Notsock.into())
    }

    /// `sock_recv`.
    pub fn sock_recv(&mut self, fd: u32) -> CallResult {
        self.view.begin("sock_recv");
        if let (view, Some(handle)) = self.file(fd)? {
            view.check_open(handle, Rights::FD_READ)?;
        }
        Err(Errno::Notsock.into())
    }

    /// `sock_send`.
    pub fn sock_send(&mut self, fd: u32) -> CallResult {
        self.view.begin("sock_send");
        if let (view, Some(handle)) = self.file(fd)? {
            view.check_open(handle, Rights::FD_WRITE)?;
        }
        Err(Errno::Notsock.into())
    }

    /// `sock_accept`.
    pub fn sock_accept(&mut self, fd: u32) -> CallResult {
        self.descriptor(fd)?;
        Err(Errno::Notsock.into())
    }
}

fn check_count(count: u32) -> Result<(), Stop> {
    if count > BUFFERS_MAX { Err(Errno::Inval.into()) } else { Ok(()) }
}
