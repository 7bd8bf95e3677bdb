//! Each call of a component with exactly the rights that it needs, and with all others; what was open when the tree
//! moved; and time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cm_instance::{FileName, Grants, GuestPath, Principal, Rights, RightsTable};
use cm_runtime::SystemClock;
use wasmtime::component::Resource;

use super::bindings::wasi::filesystem::types::{
    Advice, DescriptorFlags, Host as _, HostDescriptor, HostDirectoryEntryStream, NewTimestamp, OpenFlags,
    PathFlags,
};
use super::bindings::wasi::io::streams::{Host as _, HostInputStream, HostOutputStream, StreamError};
use super::bindings::wasi::{clocks, filesystem::preopens::Host as _, io::poll, random};
use super::descriptors::Descriptor;
use super::failure::{FileFailure, StreamFailure};
use super::*;
use crate::engine::Interrupt;
use crate::vfs::{Errno, Vfs, VfsLimits};
use crate::wasi::End;

mod escape;

type This = Resource<Descriptor>;
type Outcome = Result<(), Errno>;

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).unwrap()
}

fn me() -> Principal {
    Principal::Program(path("p.wasm"))
}

fn grants(entries: &[(&str, Rights)]) -> Grants {
    let mut grants = Grants::default();
    for (name, rights) in entries {
        grants.add(&FileName::parse(*name).unwrap(), *rights);
    }
    grants
}

fn world_of(table: RightsTable, time: Time) -> (World, Vfs) {
    let table = Arc::new(table);
    let limits = VfsLimits { storage_bytes: 1 << 20, file_bytes: 1 << 19, nodes: 200 };
    let vfs = Vfs::new(limits, &table);
    (World::new(View::new(vfs.clone(), table, &me()), &[], &[], time), vfs)
}

fn timeless() -> Time {
    Time::new(None, Instant::now() + Duration::from_secs(60), Interrupt::new())
}

/// A world in which these rights hold on `/d`, `/d/f` and everything else in it.
fn world(rights: Rights) -> (World, Vfs) {
    let mut table = RightsTable::default();
    table.insert(me(), grants(&[("/d", rights), ("/d/f", rights), ("/d/", rights)]));
    let (world, vfs) = world_of(table, timeless());
    vfs.store(&path("/d/f"), b"content").unwrap();
    (world, vfs)
}

/// The same resource once more: a call takes its own.
fn again<T: 'static>(resource: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(resource.rep())
}

fn errno<T>(result: Result<T, FileFailure>) -> Outcome {
    match result {
        Ok(_) => Ok(()),
        Err(FileFailure::Code(errno)) => Err(errno),
        Err(FileFailure::End(end)) => panic!("the run ended: {end}"),
    }
}

fn stream_errno<T>(result: Result<T, StreamFailure>) -> Outcome {
    match result {
        Ok(_) | Err(StreamFailure::Closed) => Ok(()),
        Err(StreamFailure::Failed(errno)) => Err(errno),
        Err(StreamFailure::End(end)) => panic!("the run ended: {end}"),
    }
}

fn root(world: &mut World) -> This {
    let (root, name) = world.get_directories().unwrap().pop().unwrap();
    assert_eq!(name, "/");
    root
}

fn open(world: &mut World, name: &str, open_flags: OpenFlags) -> Result<This, FileFailure> {
    let root = root(world);
    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    world.open_at(root, PathFlags::SYMLINK_FOLLOW, name.to_owned(), open_flags, flags)
}

/// Opens `/d/f`. The right to open is part of every case that does.
fn file(world: &mut World) -> This {
    open(world, "d/f", OpenFlags::empty()).expect("the case has the right to open")
}

/// One right and a call that it governs.
struct Case {
    call: &'static str,
    right: Rights,
    /// What else the call needs, given in both runs.
    also: Rights,
    run: fn(&mut World) -> Outcome,
}

macro_rules! on_file {
    (|$w:ident, $fd:ident| $body:expr) => {
        |$w| {
            let $fd = file($w);
            errno($body)
        }
    };
}

macro_rules! on_name {
    (|$w:ident, $root:ident| $body:expr) => {
        |$w| {
            let $root = root($w);
            errno($body)
        }
    };
}

fn cases() -> Vec<Case> {
    let open_right = Rights::PATH_OPEN;
    let none = Rights::NONE;
    let case = |call, right, also, run| Case { call, right, also, run };
    vec![
        case("open-at", open_right, none, |w| errno(open(w, "d/f", OpenFlags::empty()))),
        case("open-at, new", Rights::PATH_CREATE_FILE, open_right, |w| {
            errno(open(w, "d/n", OpenFlags::CREATE))
        }),
        case("open-at, emptied", Rights::PATH_FILESTAT_SET_SIZE, open_right, |w| {
            errno(open(w, "d/f", OpenFlags::TRUNCATE))
        }),
        case(
            "read",
            Rights::FD_READ,
            open_right | Rights::FD_SEEK,
            on_file!(|w, fd| HostDescriptor::read(w, fd, 4, 0)),
        ),
        case(
            "read elsewhere",
            Rights::FD_SEEK,
            open_right | Rights::FD_READ,
            on_file!(|w, fd| HostDescriptor::read(w, fd, 4, 1)),
        ),
        case(
            "write",
            Rights::FD_WRITE,
            open_right | Rights::FD_SEEK,
            on_file!(|w, fd| HostDescriptor::write(w, fd, vec![1], 0)),
        ),
        case("read-via-stream", Rights::FD_READ, open_right, |w| {
            let fd = file(w);
            let stream = w.read_via_stream(fd, 0).map_err(|_| Errno::Inval)?;
            stream_errno(HostInputStream::read(w, stream, 4))
        }),
        case(
            "a stream from elsewhere",
            Rights::FD_SEEK,
            open_right,
            on_file!(|w, fd| w.read_via_stream(fd, 1)),
        ),
        case("write-via-stream", Rights::FD_WRITE, open_right, |w| {
            let fd = file(w);
            let stream = w.write_via_stream(fd, 0).map_err(|_| Errno::Inval)?;
            stream_errno(HostOutputStream::write(w, stream, vec![1]))
        }),
        case("append-via-stream", Rights::FD_WRITE, open_right, |w| {
            let fd = file(w);
            let stream = w.append_via_stream(fd).map_err(|_| Errno::Inval)?;
            stream_errno(w.blocking_write_and_flush(stream, vec![1]))
        }),
        case("advise", Rights::FD_ADVISE, open_right, on_file!(|w, fd| w.advise(fd, 0, 1, Advice::Normal))),
        case("sync-data", Rights::FD_DATASYNC, open_right, on_file!(|w, fd| w.sync_data(fd))),
        case("sync", Rights::FD_SYNC, open_right, on_file!(|w, fd| w.sync(fd))),
        case("set-size", Rights::FD_FILESTAT_SET_SIZE, open_right, on_file!(|w, fd| w.set_size(fd, 3))),
        case(
            "set-times",
            Rights::FD_FILESTAT_SET_TIMES,
            open_right,
            on_file!(|w, fd| w.set_times(fd, NewTimestamp::NoChange, NewTimestamp::NoChange)),
        ),
        case("stat", Rights::FD_FILESTAT_GET, open_right, on_file!(|w, fd| HostDescriptor::stat(w, fd))),
        case("read-directory", Rights::FD_READDIR, open_right, |w| {
            let fd = open(w, "d", OpenFlags::DIRECTORY).expect("the case has the right to open");
            errno(w.read_directory(fd))
        }),
        case(
            "stat-at",
            Rights::PATH_FILESTAT_GET,
            none,
            on_name!(|w, root| HostDescriptor::stat_at(w, root, PathFlags::SYMLINK_FOLLOW, "d/f".to_owned())),
        ),
        case(
            "metadata-hash-at",
            Rights::PATH_FILESTAT_GET,
            none,
            on_name!(|w, root| w.metadata_hash_at(root, PathFlags::SYMLINK_FOLLOW, "d/f".to_owned())),
        ),
        case(
            "set-times-at",
            Rights::PATH_FILESTAT_SET_TIMES,
            none,
            on_name!(|w, root| {
                let (old, new) = (NewTimestamp::NoChange, NewTimestamp::NoChange);
                w.set_times_at(root, PathFlags::SYMLINK_FOLLOW, "d/f".to_owned(), old, new)
            }),
        ),
        case(
            "create-directory-at",
            Rights::PATH_CREATE_DIRECTORY,
            none,
            on_name!(|w, root| w.create_directory_at(root, "d/n".to_owned())),
        ),
        case(
            "symlink-at",
            Rights::PATH_SYMLINK,
            none,
            on_name!(|w, root| w.symlink_at(root, "f".to_owned(), "d/n".to_owned())),
        ),
        case(
            "unlink-file-at",
            Rights::PATH_UNLINK_FILE,
            none,
            on_name!(|w, root| w.unlink_file_at(root, "d/f".to_owned())),
        ),
        case("link-at, source", Rights::PATH_LINK_SOURCE, Rights::PATH_LINK_TARGET, link),
        case("link-at, target", Rights::PATH_LINK_TARGET, Rights::PATH_LINK_SOURCE, link),
        case("rename-at, source", Rights::PATH_RENAME_SOURCE, Rights::PATH_RENAME_TARGET, rename),
        case("rename-at, target", Rights::PATH_RENAME_TARGET, Rights::PATH_RENAME_SOURCE, rename),
    ]
}

fn link(world: &mut World) -> Outcome {
    let root = root(world);
    let to = again(&root);
    errno(world.link_at(root, PathFlags::empty(), "d/f".to_owned(), to, "d/n".to_owned()))
}

fn rename(world: &mut World) -> Outcome {
    let root = root(world);
    let to = again(&root);
    errno(world.rename_at(root, "d/f".to_owned(), to, "d/n".to_owned()))
}

#[test]
fn each_call_needs_its_right_and_nothing_more() {
    for Case { call, right, also, run } in cases() {
        let (mut with, _) = world(right | also);
        assert_eq!(run(&mut with), Ok(()), "{call} with {right}");
        assert!(with.view().denied().is_empty(), "{call}: {:?}", with.view().denied());
        let (mut without, _) = world(Rights::ALL.difference(right));
        assert_eq!(run(&mut without), Err(Errno::Notcapable), "{call} without {right}");
        let denied = without.view().denied().last().unwrap().clone();
        assert_eq!(denied.right, right, "{call}");
    }
}

/// A number of a file comes with its right or, as in preview 1, with that to list the directory.
#[test]
fn numbers_of_files_are_told_to_who_may_list_them() {
    for (rights, expected) in [
        (Rights::NONE, Err(Errno::Notcapable)),
        (Rights::FD_READDIR, Ok(())),
        (Rights::FD_FILESTAT_GET | Rights::PATH_FILESTAT_GET, Ok(())),
    ] {
        let (mut world, _) = world(rights | Rights::PATH_OPEN);
        let directory = open(&mut world, "d", OpenFlags::DIRECTORY).unwrap();
        assert_eq!(errno(world.metadata_hash(again(&directory))), expected, "{rights}");
        let named = world.metadata_hash_at(directory, PathFlags::empty(), "f".to_owned());
        assert_eq!(errno(named), expected, "{rights}");
    }
}

#[test]
fn removing_a_directory_and_reading_a_link_need_their_rights() {
    let made = Rights::PATH_CREATE_DIRECTORY | Rights::PATH_SYMLINK;
    for (further, expected) in [
        (Rights::NONE, Err(Errno::Notcapable)),
        (Rights::PATH_REMOVE_DIRECTORY | Rights::PATH_READLINK, Ok(())),
    ] {
        let (mut world, _) = world(made | further);
        let root = root(&mut world);
        world.create_directory_at(again(&root), "d/n".to_owned()).unwrap();
        world.symlink_at(again(&root), "f".to_owned(), "d/l".to_owned()).unwrap();
        assert_eq!(errno(world.readlink_at(again(&root), "d/l".to_owned())), expected);
        assert_eq!(errno(world.remove_directory_at(root, "d/n".to_owned())), expected);
    }
}

#[test]
fn flags_of_a_descriptor_leave_rights_out() {
    let (mut world, _) = world(Rights::ALL);
    let root = root(&mut world);
    let mut opened = |flags| {
        world.open_at(again(&root), PathFlags::empty(), "d/f".to_owned(), OpenFlags::empty(), flags).unwrap()
    };
    let (reads, writes) = (opened(DescriptorFlags::READ), opened(DescriptorFlags::WRITE));
    assert_eq!(errno(HostDescriptor::write(&mut world, again(&reads), vec![1], 0)), Err(Errno::Notcapable));
    assert_eq!(errno(world.set_size(again(&reads), 0)), Err(Errno::Notcapable));
    assert_eq!(errno(HostDescriptor::read(&mut world, again(&writes), 1, 0)), Err(Errno::Notcapable));
    assert_eq!(world.get_flags(again(&reads)).unwrap(), DescriptorFlags::READ);
    assert!(world.is_same_object(reads, writes).unwrap());
}

#[test]
fn nothing_leads_out_of_the_root_or_to_what_is_not_granted() {
    let (mut world, vfs) = world(Rights::ALL);
    vfs.store(&path("/secret"), b"secret").unwrap();
    let root = root(&mut world);
    for target in ["/secret", "../secret", "../../secret"] {
        let name = format!("d/link{}", target.len());
        world.symlink_at(again(&root), target.to_owned(), name.clone()).unwrap();
        assert_eq!(errno(open(&mut world, &name, OpenFlags::empty())), Err(Errno::Notcapable), "{target}");
    }
    for name in ["secret", "/secret", "d/../secret", "d/../../secret", "d/f/../../secret"] {
        assert!(errno(open(&mut world, name, OpenFlags::empty())).is_err(), "{name}");
    }
    assert_eq!(
        errno(world.link_at(again(&root), PathFlags::empty(), "secret".into(), again(&root), "d/x".into())),
        Err(Errno::Notcapable)
    );
    assert_eq!(
        errno(world.rename_at(again(&root), "secret".into(), root, "d/x".into())),
        Err(Errno::Notcapable)
    );
}

#[test]
fn a_directory_is_listed_as_far_as_it_may_be_known() {
    let mut table = RightsTable::default();
    table.insert(me(), grants(&[("/d", Rights::PATH_OPEN | Rights::FD_READDIR), ("/d/f", Rights::FD_READ)]));
    let (mut world, vfs) = world_of(table, timeless());
    vfs.store(&path("/d/f"), b"").unwrap();
    vfs.store(&path("/d/hidden"), b"").unwrap();
    let directory = open(&mut world, "d", OpenFlags::DIRECTORY).unwrap();
    let entries = world.read_directory(directory).unwrap();
    let mut names = Vec::new();
    while let Some(entry) = world.read_directory_entry(again(&entries)).unwrap() {
        names.push(entry.name);
    }
    assert_eq!(names, ["f"]);
}

#[test]
fn a_stream_loses_the_rights_that_its_files_new_place_lacks() {
    let mut table = RightsTable::default();
    table.insert(me(), grants(&[("/rw/", Rights::ALL), ("/wo/", Rights::ALL.difference(Rights::FD_READ))]));
    let (mut world, vfs) = world_of(table, timeless());
    vfs.store(&path("/rw/f"), b"bytes").unwrap();
    let fd = open(&mut world, "rw/f", OpenFlags::empty()).unwrap();
    let stream = world.read_via_stream(again(&fd), 0).unwrap();
    assert_eq!(HostInputStream::read(&mut world, again(&stream), 2).unwrap(), b"by");
    // The stream lives without the descriptor that it came from.
    HostDescriptor::drop(&mut world, fd).unwrap();
    let root = root(&mut world);
    world.rename_at(again(&root), "rw/f".to_owned(), root, "wo/f".to_owned()).unwrap();
    let refused = HostInputStream::read(&mut world, stream, 2);
    assert_eq!(stream_errno(refused), Err(Errno::Notcapable));
}

#[test]
fn a_failed_stream_tells_why_to_programs_that_ask() {
    let (mut world, _) = world(Rights::PATH_OPEN);
    let fd = file(&mut world);
    let stream = world.read_via_stream(fd, 0).unwrap();
    let failure = HostInputStream::read(&mut world, stream, 1).unwrap_err();
    let StreamError::LastOperationFailed(error) = world.convert_stream_error(failure).unwrap() else {
        panic!("the stream is not closed");
    };
    let code = world.filesystem_error_code(error).unwrap();
    assert_eq!(code, Some(super::failure::code(Errno::Notcapable)));
}

#[test]
fn writing_beyond_the_storage_ends_the_run() {
    let (mut world, vfs) = world(Rights::ALL);
    let fd = file(&mut world);
    let stream = world.append_via_stream(fd).unwrap();
    let end = loop {
        match HostOutputStream::write(&mut world, again(&stream), vec![1; 100_000]) {
            Ok(()) => {}
            Err(StreamFailure::End(end)) => break end,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert!(matches!(end.downcast_ref::<End>(), Some(End::Limit(_))), "{end}");
    assert!(vfs.used_bytes() <= 1 << 20);
}

#[test]
fn there_is_no_end_of_descriptors() {
    let (mut world, _) = world(Rights::ALL);
    let mut kept = Vec::new();
    let refused = loop {
        match open(&mut world, "d/f", OpenFlags::empty()) {
            Ok(fd) => kept.push(fd),
            Err(failure) => break failure,
        }
        // The root that `open` begins at stays too, and may be what finds no place.
        if kept.len() * 2 >= RESOURCES_MAX - 2 {
            return;
        }
    };
    panic!("{refused:?} after {}", kept.len());
}

#[test]
fn time_is_there_only_if_the_policy_enables_a_clock() {
    let (mut without, _) = world(Rights::ALL);
    let ends = [
        clocks::monotonic_clock::Host::now(&mut without).unwrap_err(),
        clocks::wall_clock::Host::now(&mut without).unwrap_err(),
        clocks::monotonic_clock::Host::subscribe_duration(&mut without, 1).unwrap_err(),
    ];
    for end in ends {
        assert_eq!(end.downcast_ref::<End>(), Some(&End::NoClock));
    }
    let fd = file(&mut without);
    let now = without.set_times(fd, NewTimestamp::Now, NewTimestamp::NoChange);
    assert_eq!(errno(now), Err(Errno::Acces));

    let interrupt = Interrupt::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    let time = Time::new(Some(Arc::new(SystemClock)), deadline, interrupt.clone());
    let (mut with, _) = world_of(RightsTable::default(), time);
    assert_eq!(clocks::monotonic_clock::Host::now(&mut with).unwrap() % 1_000_000, 0);
    let soon = clocks::monotonic_clock::Host::subscribe_duration(&mut with, 1).unwrap();
    let never = clocks::monotonic_clock::Host::subscribe_duration(&mut with, u64::MAX).unwrap();
    let ready = poll::Host::poll(&mut with, vec![again(&never), soon]).unwrap();
    assert_eq!(ready, [1]);
    interrupt.cancel();
    let end = poll::HostPollable::block(&mut with, never).unwrap_err();
    assert_eq!(end.downcast_ref::<End>(), Some(&End::Cancelled));
}

#[test]
fn randomness_is_bounded_and_not_constant() {
    let (mut world, _) = world(Rights::NONE);
    let bytes = random::random::Host::get_random_bytes(&mut world, 32).unwrap();
    assert_ne!(bytes, random::random::Host::get_random_bytes(&mut world, 32).unwrap());
    assert!(random::random::Host::get_random_bytes(&mut world, u64::MAX).is_err());
}
