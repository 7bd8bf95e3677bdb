//! No sequence of calls gets bytes out of, or into, a path without the right.

use proptest::prelude::*;

use super::*;

/// What every file holds at first: its name, and an end that no other file has, so that a leak tells where it
/// came from even if a write damaged its beginning.
fn canary(name: &str) -> Vec<u8> {
    let end = cm_crypto::digest::sha256(name.as_bytes()).to_string();
    format!("CANARY{name}!{}", &end[..CANARY_END_LEN]).into_bytes()
}

const CANARY_END_LEN: usize = 8;

const FILES: [&str; 8] = ["/in", "/out", "/hidden", "/locked", "/fixed", "/rw/f", "/wo/f", "/ro/f"];
/// Files whose first content the program may never get to see, wherever it goes.
const UNREADABLE: [&str; 5] = ["/hidden", "/locked", "/fixed", "/wo/f", "/out"];
/// Files that the program may never change, move or replace.
const UNCHANGEABLE: [&str; 4] = ["/in", "/hidden", "/fixed", "/ro/f"];

const MOVES: Rights = Rights::PATH_LINK_SOURCE
    .union(Rights::PATH_LINK_TARGET)
    .union(Rights::PATH_RENAME_SOURCE)
    .union(Rights::PATH_RENAME_TARGET);
const CHANGES: Rights = Rights::FD_WRITE
    .union(Rights::FD_ALLOCATE)
    .union(Rights::FD_FILESTAT_SET_SIZE)
    .union(Rights::PATH_FILESTAT_SET_SIZE)
    .union(Rights::PATH_UNLINK_FILE)
    .union(Rights::PATH_RENAME_SOURCE)
    .union(Rights::PATH_RENAME_TARGET);

/// A policy made to tempt: wherever reading or changing is not granted, nearly everything else is.
fn tempting(extra: &[(&str, Rights)]) -> World {
    let open = Rights::PATH_OPEN;
    let mut own = grants(&[
        ("/", open | Rights::FD_READDIR),
        ("/in", Rights::READER | Rights::PATH_LINK_SOURCE | Rights::PATH_SYMLINK),
        ("/out", Rights::WRITER | MOVES | Rights::PATH_UNLINK_FILE),
        ("/hidden", Rights::NONE),
        ("/locked", MOVES | open | Rights::PATH_FILESTAT_GET | Rights::PATH_SYMLINK),
        ("/fixed", Rights::ALL.difference(CHANGES | Rights::FD_READ)),
        ("/rw/", Rights::ALL),
        ("/wo/", Rights::ALL.difference(Rights::FD_READ)),
        ("/ro/", Rights::ALL.difference(CHANGES)),
        ("/ro/f", Rights::ALL.difference(CHANGES)),
    ]);
    for (name, rights) in extra {
        own.add(&FileName::parse(*name).unwrap(), *rights);
    }
    let mut table = RightsTable::default();
    table.insert(me(), own);
    let receiver = [("/out", Rights::READER), ("/wo/", Rights::READER), ("/rw/shared", Rights::READER)];
    table.insert(Principal::Identity(0), grants(&receiver));
    let world = World::new(table, None);
    for name in FILES {
        world.vfs.store(&path(name), &canary(name)).unwrap();
    }
    world
}

#[derive(Clone, Debug)]
enum Op {
    Open { fd: u32, name: usize, oflags: u32, follow: bool },
    Read { fd: u32 },
    PositionedRead { fd: u32 },
    Write { fd: u32 },
    PositionedWrite { fd: u32 },
    Seek { fd: u32 },
    SetSize { fd: u32, len: u64 },
    Allocate { fd: u32 },
    Close { fd: u32 },
    Renumber { from: u32, to: u32 },
    SetRights { fd: u32, rights: u64 },
    List { fd: u32 },
    Rename { from: (u32, usize), to: (u32, usize) },
    Link { from: (u32, usize), to: (u32, usize), follow: bool },
    Symlink { target: usize, name: usize },
    ReadLink { name: usize },
    Unlink { fd: u32, name: usize },
    MakeDirectory { name: usize },
    RemoveDirectory { name: usize },
    Stat { name: usize },
}

const NAMES: [&str; 34] = [
    "/in",
    "in",
    "/out",
    "out",
    "hidden",
    "/hidden",
    "/locked",
    "locked",
    "fixed",
    "/fixed",
    "rw",
    "/rw/f",
    "rw/g",
    "/rw/d",
    "rw/d/x",
    "rw/shared",
    "wo",
    "wo/f",
    "wo/g",
    "wo/d",
    "ro/f",
    "/ro/g",
    "ro",
    "rw/l",
    "rw/l/f",
    "rw/m",
    "../hidden",
    "rw/../hidden",
    "rw/l/../hidden",
    "rw/d/../../in",
    ".",
    "/",
    "f",
    "../wo/f",
];

fn op() -> impl Strategy<Value = Op> {
    let fd = || prop_oneof![3 => Just(ROOT), 5 => 4u32..8];
    let name = || 0..NAMES.len();
    let place = || (prop_oneof![6 => Just(ROOT), 1 => 4u32..8], 0..NAMES.len());
    let oflags = prop_oneof![4 => Just(0u32), 2 => Just(1), 1 => Just(2), 1 => 0u32..16];
    prop_oneof![
        8 => (fd(), name(), oflags, any::<bool>())
            .prop_map(|(fd, name, oflags, follow)| Op::Open { fd, name, oflags, follow }),
        5 => fd().prop_map(|fd| Op::Read { fd }),
        2 => fd().prop_map(|fd| Op::PositionedRead { fd }),
        4 => fd().prop_map(|fd| Op::Write { fd }),
        1 => fd().prop_map(|fd| Op::PositionedWrite { fd }),
        1 => fd().prop_map(|fd| Op::Seek { fd }),
        1 => (fd(), 0u64..40).prop_map(|(fd, len)| Op::SetSize { fd, len }),
        1 => fd().prop_map(|fd| Op::Allocate { fd }),
        1 => fd().prop_map(|fd| Op::Close { fd }),
        1 => (fd(), fd()).prop_map(|(from, to)| Op::Renumber { from, to }),
        1 => (fd(), any::<u64>()).prop_map(|(fd, rights)| Op::SetRights { fd, rights }),
        1 => fd().prop_map(|fd| Op::List { fd }),
        6 => (place(), place()).prop_map(|(from, to)| Op::Rename { from, to }),
        4 => (place(), place(), any::<bool>()).prop_map(|(from, to, follow)| Op::Link { from, to, follow }),
        4 => (name(), name()).prop_map(|(target, name)| Op::Symlink { target, name }),
        1 => name().prop_map(|name| Op::ReadLink { name }),
        1 => (fd(), name()).prop_map(|(fd, name)| Op::Unlink { fd, name }),
        2 => name().prop_map(|name| Op::MakeDirectory { name }),
        1 => name().prop_map(|name| Op::RemoveDirectory { name }),
        1 => name().prop_map(|name| Op::Stat { name }),
    ]
}

impl World {
    /// Carries one call out and gives back whatever bytes of files it brought to light.
    fn carry_out(&mut self, op: &Op) -> Vec<u8> {
        let mut named = |at: u32, name: usize| (at, self.put(at, NAMES[name]));
        let _ = match *op {
            Op::Open { fd, name, oflags, follow } => {
                self.open(fd, NAMES[name], oflags, u32::from(follow)).map(drop)
            }
            Op::Read { fd } => return self.read(fd).unwrap_or_default(),
            Op::PositionedRead { fd } => {
                self.buffer(BUFFER_LEN);
                if self.with(|w, g| w.fd_pread(g, fd, LIST, 1, 0, OUT)).is_ok() {
                    return self.memory[BUFFER as usize..][..self.out() as usize].to_vec();
                }
                Ok(())
            }
            Op::Write { fd } => self.write(fd, b"WRITTEN"),
            Op::PositionedWrite { fd } => {
                self.buffer(3);
                self.with(|w, g| w.fd_pwrite(g, fd, LIST, 1, 0, OUT))
            }
            Op::Seek { fd } => self.with(|w, g| w.fd_seek(g, fd, 0, 0, OUT)),
            Op::SetSize { fd, len } => self.with(|w, _| w.fd_filestat_set_size(fd, len)),
            Op::Allocate { fd } => self.with(|w, _| w.fd_allocate(fd, 0, 50)),
            Op::Close { fd } if fd != ROOT => self.with(|w, _| w.fd_close(fd)),
            Op::Close { .. } => Ok(()),
            Op::Renumber { from, to } => self.with(|w, _| w.fd_renumber(from, to)),
            Op::SetRights { fd, rights } => self.with(|w, _| w.fd_fdstat_set_rights(fd, rights)),
            Op::List { fd } => self.with(|w, g| w.fd_readdir(g, fd, BUFFER, BUFFER_LEN, 0, OUT)),
            Op::Rename { from, to } => {
                let (a, b) = (named(NAME, from.1), named(NAME_2, to.1));
                self.with(|w, g| w.path_rename(g, (from.0, a.0, a.1), (to.0, b.0, b.1)))
            }
            Op::Link { from, to, follow } => {
                let (a, b) = (named(NAME, from.1), named(NAME_2, to.1));
                let lookup = u32::from(follow);
                self.with(|w, g| w.path_link(g, (from.0, lookup, a.0, a.1), (to.0, b.0, b.1)))
            }
            Op::Symlink { target, name } => {
                let (a, b) = (named(NAME, target), named(NAME_2, name));
                self.with(|w, g| w.path_symlink(g, a, ROOT, b))
            }
            Op::ReadLink { name } => {
                let at = named(NAME, name);
                self.with(|w, g| w.path_readlink(g, ROOT, at, (BUFFER, BUFFER_LEN), OUT))
            }
            Op::Unlink { fd, name } => {
                let at = named(NAME, name);
                self.with(|w, g| w.path_unlink_file(g, fd, at.0, at.1))
            }
            Op::MakeDirectory { name } => {
                let at = named(NAME, name);
                self.with(|w, g| w.path_create_directory(g, ROOT, at.0, at.1))
            }
            Op::RemoveDirectory { name } => {
                let at = named(NAME, name);
                self.with(|w, g| w.path_remove_directory(g, ROOT, at.0, at.1))
            }
            Op::Stat { name } => {
                let at = named(NAME, name);
                self.with(|w, g| w.path_filestat_get(g, ROOT, 1, at.0, at.1, BUFFER))
            }
        };
        Vec::new()
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Carries the calls out and says what went wrong, if anything did.
fn outcome(mut world: World, ops: &[Op]) -> Result<(), String> {
    for (index, op) in ops.iter().enumerate() {
        let seen = world.carry_out(op);
        for name in UNREADABLE {
            let whole = canary(name);
            if contains(&seen, &whole[whole.len() - CANARY_END_LEN..]) {
                return Err(format!("call {index} read {name}"));
            }
        }
        for name in UNCHANGEABLE {
            if world.vfs.load(&path(name)).as_deref() != Ok(canary(name).as_slice()) {
                return Err(format!("call {index} changed {name}"));
            }
        }
        // What the receiver can read must not come to hold what the program could not have copied there.
        for (reachable, unreadable) in [("/out", "/locked"), ("/out", "/fixed"), ("/rw/shared", "/locked")] {
            let bytes = world.vfs.load(&path(reachable)).unwrap_or_default();
            let whole = canary(unreadable);
            if contains(&bytes, &whole[whole.len() - CANARY_END_LEN..]) {
                return Err(format!("call {index} carried {unreadable} to {reachable}"));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn no_sequence_of_calls_crosses_a_missing_right(ops in prop::collection::vec(op(), 1..60)) {
        prop_assert_eq!(outcome(tempting(&[]), &ops), Ok(()));
    }
}

fn name(text: &str) -> usize {
    NAMES.iter().position(|name| *name == text).unwrap()
}

/// The same check on policies that do give the right: it must find what happens then.
#[test]
fn the_check_can_fail() {
    let open = |text| Op::Open { fd: ROOT, name: name(text), oflags: 0, follow: true };
    let read = [open("/hidden"), Op::Read { fd: 4 }];
    let found = outcome(tempting(&[("/hidden", Rights::READER)]), &read);
    assert_eq!(found, Err("call 1 read /hidden".into()));

    let write = [open("/in"), Op::Write { fd: 4 }];
    let found = outcome(tempting(&[("/in", Rights::FD_WRITE)]), &write);
    assert_eq!(found, Err("call 1 changed /in".into()));

    let linked =
        [Op::Symlink { target: name("/fixed"), name: name("rw/l") }, open("rw/l"), Op::Read { fd: 4 }];
    assert_eq!(outcome(tempting(&[]), &linked), Ok(()));
    let found = outcome(tempting(&[("/fixed", Rights::FD_READ)]), &linked);
    assert_eq!(found, Err("call 2 read /fixed".into()));

    let moved = [Op::Rename { from: (ROOT, name("/locked")), to: (ROOT, name("/out")) }];
    assert_eq!(outcome(tempting(&[]), &moved), Ok(()));
    let found = outcome(tempting(&[("/locked", Rights::FD_READ)]), &moved);
    assert_eq!(found, Err("call 0 carried /locked to /out".into()));
}

#[test]
fn an_open_file_loses_the_rights_that_its_new_place_lacks() {
    let mut world = tempting(&[]);
    let fd = world.open(ROOT, "/rw/f", 0, 1).unwrap();
    assert_eq!(world.read(fd), Ok(canary("/rw/f")));
    let (from, to) = (world.put(NAME, "/rw/f"), world.put(NAME_2, "/wo/g"));
    world.with(|w, g| w.path_rename(g, (ROOT, NAME, from), (ROOT, NAME_2, to))).unwrap();
    assert_eq!(world.write(fd, b"x"), Ok(()));
    assert_eq!(world.read(fd), Err(Errno::Notcapable.into()));
}

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    let mut world = tempting(&[]);
    let fd = world.open(ROOT, "/rw/f", 0, 1).unwrap();
    let used = world.vfs.used_bytes();
    let len = world.put(NAME, "/rw/f");
    world.with(|w, g| w.path_unlink_file(g, ROOT, NAME, len)).unwrap();
    assert!(!world.vfs.exists(&path("/rw/f")));
    assert_eq!(world.read(fd), Ok(canary("/rw/f")));
    world.with(|w, _| w.fd_close(fd)).unwrap();
    assert_eq!(world.vfs.used_bytes(), used - canary("/rw/f").len() as u64);
}

#[test]
fn loops_of_links_end() {
    let mut world = tempting(&[]);
    for (target, link) in [("rw/m", "rw/l"), ("/rw/l", "rw/m"), ("l", "rw/d")] {
        let (a, b) = (world.put(NAME, target), world.put(NAME_2, link));
        world.with(|w, g| w.path_symlink(g, (NAME, a), ROOT, (NAME_2, b))).unwrap();
    }
    assert!(matches!(world.open(ROOT, "rw/m", 0, 1), Err(Stop::Errno(Errno::Loop | Errno::Noent))));
    assert_eq!(world.open(ROOT, "rw/d", 0, 0), Err(Errno::Loop.into()));
}
