//! Each call with exactly the rights it needs, and with all others.

use cm_runtime::SystemClock;

use super::*;

/// One right and a call that it governs, on the path `/d/f` or, for calls on directories, `/d/n`.
struct Case {
    call: &'static str,
    right: Rights,
    /// What else the call needs, given in both runs.
    also: Rights,
    run: fn(&mut World) -> CallResult,
}

const ENTRIES: [&str; 3] = ["/d", "/d/f", "/d/"];

fn world(rights: Rights) -> World {
    let entries: Vec<(&str, Rights)> = ENTRIES.iter().map(|name| (*name, rights)).collect();
    let world = World::alone(&entries);
    world.vfs.store(&path("/d/f"), b"content").unwrap();
    world
}

/// Opens `/d/f`. The right to open is part of every case that does.
fn file(world: &mut World) -> u32 {
    world.open(ROOT, "/d/f", 0, 1).expect("the case has the right to open")
}

fn at(world: &mut World, name: &str) -> (u32, u32) {
    let len = world.put(NAME, name);
    (NAME, len)
}

macro_rules! on_file {
    (|$w:ident, $g:ident, $fd:ident| $body:expr) => {
        |world| {
            let $fd = file(world);
            world.buffer(4);
            world.with(|$w, $g| {
                let _ = &$g;
                $body
            })
        }
    };
}

macro_rules! on_name {
    ($name:literal, |$w:ident, $g:ident, $at:ident, $len:ident| $body:expr) => {
        |world| {
            let ($at, $len) = at(world, $name);
            world.with(|$w, $g| $body)
        }
    };
}

fn cases() -> Vec<Case> {
    let open = Rights::PATH_OPEN;
    let none = Rights::NONE;
    let case = |call, right, also, run| Case { call, right, also, run };
    vec![
        case("fd_datasync", Rights::FD_DATASYNC, open, on_file!(|w, _g, fd| w.fd_datasync(fd))),
        case("fd_read", Rights::FD_READ, open, on_file!(|w, g, fd| w.fd_read(g, fd, LIST, 1, OUT))),
        case("fd_read", Rights::FD_READ, open, on_file!(|w, g, fd| w.fd_read(g, fd, LIST, 0, OUT))),
        case(
            "fd_pread",
            Rights::FD_READ,
            open | Rights::FD_SEEK,
            on_file!(|w, g, fd| w.fd_pread(g, fd, LIST, 1, 0, OUT)),
        ),
        case(
            "fd_pread",
            Rights::FD_SEEK,
            open | Rights::FD_READ,
            on_file!(|w, g, fd| w.fd_pread(g, fd, LIST, 1, 0, OUT)),
        ),
        case("fd_seek", Rights::FD_SEEK, open, on_file!(|w, g, fd| w.fd_seek(g, fd, 1, 0, OUT))),
        case(
            "fd_fdstat_set_flags",
            Rights::FD_FDSTAT_SET_FLAGS,
            open,
            on_file!(|w, _g, fd| w.fd_fdstat_set_flags(fd, 1)),
        ),
        case("fd_sync", Rights::FD_SYNC, open, on_file!(|w, _g, fd| w.fd_sync(fd))),
        case("fd_write", Rights::FD_WRITE, open, on_file!(|w, g, fd| w.fd_write(g, fd, LIST, 1, OUT))),
        case("fd_write", Rights::FD_WRITE, open, on_file!(|w, g, fd| w.fd_write(g, fd, LIST, 0, OUT))),
        case(
            "fd_pwrite",
            Rights::FD_WRITE,
            open | Rights::FD_SEEK,
            on_file!(|w, g, fd| w.fd_pwrite(g, fd, LIST, 1, 0, OUT)),
        ),
        case(
            "fd_pwrite",
            Rights::FD_SEEK,
            open | Rights::FD_WRITE,
            on_file!(|w, g, fd| w.fd_pwrite(g, fd, LIST, 1, 0, OUT)),
        ),
        case("fd_advise", Rights::FD_ADVISE, open, on_file!(|w, _g, fd| w.fd_advise(fd, 0))),
        case("fd_allocate", Rights::FD_ALLOCATE, open, on_file!(|w, _g, fd| w.fd_allocate(fd, 0, 100))),
        case(
            "fd_filestat_get",
            Rights::FD_FILESTAT_GET,
            open,
            on_file!(|w, g, fd| w.fd_filestat_get(g, fd, NAME)),
        ),
        case(
            "fd_filestat_set_size",
            Rights::FD_FILESTAT_SET_SIZE,
            open,
            on_file!(|w, _g, fd| w.fd_filestat_set_size(fd, 1)),
        ),
        case(
            "fd_filestat_set_times",
            Rights::FD_FILESTAT_SET_TIMES,
            open,
            on_file!(|w, _g, fd| w.fd_filestat_set_times(fd, 1, 1, 5)),
        ),
        case("path_open", Rights::PATH_OPEN, none, |world| world.open(ROOT, "/d/f", 0, 1).map(drop)),
        case("path_open", Rights::PATH_CREATE_FILE, open, |world| world.open(ROOT, "/d/n", 1, 1).map(drop)),
        case("path_open", Rights::PATH_FILESTAT_SET_SIZE, open, |world| {
            world.open(ROOT, "/d/f", 8, 1).map(drop)
        }),
        case("fd_readdir", Rights::FD_READDIR, open, |world| {
            let fd = world.open(ROOT, "/d", 2, 1)?;
            world.with(|w, g| w.fd_readdir(g, fd, BUFFER, BUFFER_LEN, 0, OUT))
        }),
        case(
            "path_create_directory",
            Rights::PATH_CREATE_DIRECTORY,
            none,
            on_name!("/d/n", |w, g, at, len| w.path_create_directory(g, ROOT, at, len)),
        ),
        case("path_link", Rights::PATH_LINK_SOURCE, Rights::PATH_LINK_TARGET, link),
        case("path_link", Rights::PATH_LINK_TARGET, Rights::PATH_LINK_SOURCE, link),
        case("path_rename", Rights::PATH_RENAME_SOURCE, Rights::PATH_RENAME_TARGET, rename),
        case("path_rename", Rights::PATH_RENAME_TARGET, Rights::PATH_RENAME_SOURCE, rename),
        case("path_readlink", Rights::PATH_READLINK, Rights::PATH_SYMLINK, |world| {
            let len = world.put(NAME, "/d/s");
            world.with(|w, g| w.path_symlink(g, (NAME, len), ROOT, (NAME, len)))?;
            world.with(|w, g| w.path_readlink(g, ROOT, (NAME, len), (BUFFER, BUFFER_LEN), OUT))
        }),
        case(
            "path_filestat_get",
            Rights::PATH_FILESTAT_GET,
            none,
            on_name!("/d/f", |w, g, at, len| w.path_filestat_get(g, ROOT, 1, at, len, BUFFER)),
        ),
        case(
            "path_filestat_set_times",
            Rights::PATH_FILESTAT_SET_TIMES,
            none,
            on_name!("/d/f", |w, g, at, len| w.path_filestat_set_times(g, ROOT, 1, at, len, 1, 1, 5)),
        ),
        case(
            "path_symlink",
            Rights::PATH_SYMLINK,
            none,
            on_name!("/d/n", |w, g, at, len| w.path_symlink(g, (at, len), ROOT, (at, len))),
        ),
        case(
            "path_remove_directory",
            Rights::PATH_REMOVE_DIRECTORY,
            Rights::PATH_CREATE_DIRECTORY,
            |world| {
                let len = world.put(NAME, "/d/n");
                world.with(|w, g| w.path_create_directory(g, ROOT, NAME, len))?;
                world.with(|w, g| w.path_remove_directory(g, ROOT, NAME, len))
            },
        ),
        case(
            "path_unlink_file",
            Rights::PATH_UNLINK_FILE,
            none,
            on_name!("/d/f", |w, g, at, len| w.path_unlink_file(g, ROOT, at, len)),
        ),
        case("poll_oneoff", Rights::POLL_FD_READWRITE, open, |world| {
            let fd = file(world);
            world.memory[BUFFER as usize..][..48].fill(0);
            world.memory[BUFFER as usize + 8] = 1;
            world.memory[BUFFER as usize + 16] = u8::try_from(fd).unwrap();
            world.with(|w, g| w.poll_oneoff(g, BUFFER, NAME, 1, OUT))?;
            match u16::from_le_bytes(world.memory[NAME as usize + 8..][..2].try_into().unwrap()) {
                0 => Ok(()),
                76 => Err(Errno::Notcapable.into()),
                other => panic!("{other}"),
            }
        }),
        case(
            "sock_shutdown",
            Rights::SOCK_SHUTDOWN,
            open,
            on_file!(|w, _g, fd| match w.sock_shutdown(fd) {
                // With the right the call gets as far as finding out that there are no sockets.
                Err(Stop::Errno(Errno::Notsock)) => Ok(()),
                other => other,
            }),
        ),
    ]
}

fn link(world: &mut World) -> CallResult {
    let from = world.put(NAME, "/d/f");
    let to = world.put(NAME_2, "/d/n");
    world.with(|w, g| w.path_link(g, (ROOT, 0, NAME, from), (ROOT, NAME_2, to)))
}

fn rename(world: &mut World) -> CallResult {
    let from = world.put(NAME, "/d/f");
    let to = world.put(NAME_2, "/d/n");
    world.with(|w, g| w.path_rename(g, (ROOT, NAME, from), (ROOT, NAME_2, to)))
}

#[test]
fn every_call_works_with_its_rights_and_with_no_others() {
    for Case { call, right, also, run } in cases() {
        let mut enough = world(right | also);
        assert_eq!(run(&mut enough), Ok(()), "{call} with {right} and {also}");
        assert_eq!(enough.wasi.view().denied(), []);

        let mut all_others = world(Rights::ALL.difference(right));
        assert_eq!(run(&mut all_others), Err(Errno::Notcapable.into()), "{call} without {right}");
        let denied = all_others.wasi.view().denied();
        assert_eq!(denied.len(), 1, "{call}: {denied:?}");
        assert_eq!((denied[0].right, denied[0].call.as_str()), (right, call));
    }
}

#[test]
fn every_right_of_wasi_has_a_case() {
    let covered = cases().iter().fold(Rights::NONE, |sum, case| sum | case.right);
    // FD_TELL is an alternative of FD_SEEK and has its own test; executing is no call.
    assert_eq!(Rights::ALL.difference(covered), Rights::FD_TELL | Rights::FILE_EXECUTE);
}

#[test]
fn telling_the_position_needs_one_of_two_rights() {
    for (rights, expected) in [
        (Rights::FD_TELL, Ok(())),
        (Rights::FD_SEEK, Ok(())),
        (WASI_RIGHTS.difference(Rights::FD_TELL | Rights::FD_SEEK), Err(Errno::Notcapable.into())),
    ] {
        let mut world = world(rights | Rights::PATH_OPEN);
        let fd = file(&mut world);
        assert_eq!(world.with(|w, g| w.fd_tell(g, fd, OUT)), expected, "{rights}");
        assert_eq!(world.with(|w, g| w.fd_seek(g, fd, 0, 1, OUT)), expected, "{rights}");
    }
}

#[test]
fn calls_that_need_no_right_work_without_any() {
    let mut world = world(Rights::PATH_OPEN);
    let fd = file(&mut world);
    world.with(|w, g| {
        assert_eq!(w.fd_fdstat_get(g, fd, BUFFER), Ok(()));
        assert_eq!(w.fd_prestat_get(g, ROOT, BUFFER), Ok(()));
        assert_eq!(w.fd_prestat_dir_name(g, ROOT, BUFFER, 1), Ok(()));
        assert_eq!(w.fd_prestat_get(g, fd, BUFFER), Err(Errno::Badf.into()));
        assert_eq!(w.random_get(g, BUFFER, 32), Ok(()));
        assert_eq!(w.args_sizes_get(g, BUFFER, NAME), Ok(()));
        assert_eq!(w.fd_renumber(fd, fd), Ok(()));
        assert_eq!(w.fd_close(fd), Ok(()));
        assert_eq!(w.fd_close(fd), Err(Errno::Badf.into()));
        assert_eq!(w.sock_accept(ROOT), Err(Errno::Notsock.into()));
    });
    assert_eq!(world.wasi.view().denied_count(), 0);
}

#[test]
fn a_descriptor_never_has_more_than_the_policy_gives() {
    let mut world = world(Rights::READER);
    let fd = file(&mut world);
    world.with(|w, g| w.fd_fdstat_get(g, fd, BUFFER)).unwrap();
    let base = u64::from_le_bytes(world.memory[BUFFER as usize + 8..][..8].try_into().unwrap());
    assert_eq!(base, u64::from(Rights::READER.bits()));
    assert_eq!(world.with(|w, _| w.fd_fdstat_set_rights(fd, u64::MAX)), Err(Errno::Notcapable.into()));
    let less = u64::from(Rights::FD_SEEK.bits());
    assert_eq!(world.with(|w, _| w.fd_fdstat_set_rights(fd, less)), Ok(()));
    assert_eq!(world.read(fd), Err(Errno::Notcapable.into()));
}

#[test]
fn a_clock_is_there_only_if_the_policy_enables_one() {
    let mut without = world(Rights::ALL);
    without.memory[BUFFER as usize..][..48].fill(0);
    without.with(|w, g| {
        for id in 0..4 {
            assert_eq!(w.clock_time_get(g, id, OUT), Err(Errno::Acces.into()));
            assert_eq!(w.clock_res_get(g, id, OUT), Err(Errno::Acces.into()));
        }
        assert_eq!(w.poll_oneoff(g, BUFFER, NAME, 1, OUT), Ok(()));
    });
    assert_eq!(without.memory[NAME as usize + 8], Errno::Acces as u8);
    let fd = file(&mut without);
    let now = without.with(|w, _| w.fd_filestat_set_times(fd, 0, 0, 2));
    assert_eq!(now, Err(Errno::Acces.into()));

    let mut with = World::new(RightsTable::default(), Some(Arc::new(SystemClock)));
    with.with(|w, g| {
        assert_eq!(w.clock_time_get(g, 0, OUT), Ok(()));
        assert_eq!(w.clock_time_get(g, 1, OUT), Ok(()));
        assert_eq!(w.clock_time_get(g, 2, OUT), Err(Errno::Inval.into()));
    });
}

#[test]
fn a_wait_ends_with_the_run() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let subscribe = |world: &mut World| {
        world.memory[BUFFER as usize..][..48].fill(0);
        world.memory[BUFFER as usize + 24..][..8].copy_from_slice(&u64::MAX.to_le_bytes());
        world.with(|w, g| w.poll_oneoff(g, BUFFER, NAME, 1, OUT))
    };
    let mut late = World::new(RightsTable::default(), Some(clock.clone()));
    late.wasi.time = Time::new(Some(clock.clone()), Instant::now(), Interrupt::new());
    assert_eq!(subscribe(&mut late), Err(End::Limit(Limit::Time).into()));
    let interrupt = Interrupt::new();
    let mut cancelled = World::new(RightsTable::default(), None);
    cancelled.wasi.time = Time::new(Some(clock), Instant::now() + Duration::from_secs(60), interrupt.clone());
    interrupt.cancel();
    assert_eq!(subscribe(&mut cancelled), Err(End::Cancelled.into()));
}

#[test]
fn arguments_arrive_as_they_were_given() {
    let mut world = World::alone(&[]);
    let arguments = ["p.wasm".to_owned(), String::new(), "größer".to_owned()];
    let view = View::new(world.vfs.clone(), Arc::new(RightsTable::default()), &me());
    let time = Time::new(None, Instant::now(), Interrupt::new());
    world.wasi = Wasi::new(view, &[], &arguments, time);
    world.with(|w, g| w.args_sizes_get(g, OUT, OUT + 4)).unwrap();
    let len: usize = arguments.iter().map(|argument| argument.len() + 1).sum();
    assert_eq!(world.memory[..8], [[3, 0, 0, 0], (len as u32).to_le_bytes()].concat());
    world.with(|w, g| w.args_get(g, LIST, BUFFER)).unwrap();
    assert_eq!(&world.memory[BUFFER as usize..][..len], "p.wasm\0\0größer\0".as_bytes());
    let third = &world.memory[LIST as usize + 8..][..4];
    assert_eq!(third, (BUFFER + 8).to_le_bytes());
    world.with(|w, g| w.environ_sizes_get(g, OUT, OUT + 4)).unwrap();
    assert_eq!(world.memory[..8], [0; 8]);
    assert_eq!(world.with(|w, g| w.args_get(g, LIST, MEMORY_LEN as u32 - 3)), Err(Errno::Fault.into()));
}

#[test]
fn streams_are_files_and_have_the_rights_of_their_names() {
    use cm_instance::policy::FileRight;
    let entries = [("stdin", Rights::READER), ("stdout", Rights::WRITER), ("stderr", Rights::FD_WRITE)];
    let [stdin, stdout, stderr] =
        entries.map(|(name, rights)| FileRight { file_name: FileName::parse(name).unwrap(), rights });
    let streams = [StreamEntry::Stdin(stdin), StreamEntry::Stdout(stdout), StreamEntry::Stderr(stderr)];
    let mut table = RightsTable::default();
    table.insert(me(), grants(&entries));
    let table = Arc::new(table);
    let vfs = Vfs::new(VfsLimits::default(), &table);
    vfs.store(&path("stdin"), b"in").unwrap();
    let view = View::new(vfs.clone(), table, &me());
    let mut world = World::alone(&[]);
    world.wasi = Wasi::new(view, &streams, &[], Time::new(None, Instant::now(), Interrupt::new()));
    assert_eq!(world.read(0), Ok(b"in".to_vec()));
    assert_eq!(world.write(0, b"x"), Err(Errno::Notcapable.into()));
    for text in [b"o", b"k"] {
        assert_eq!(world.write(1, text), Ok(()));
    }
    assert_eq!(vfs.load(&path("stdout")).unwrap(), b"ok");
    assert_eq!(world.read(1), Err(Errno::Notcapable.into()));
    // It may be written, but not opened: what goes in is gone.
    assert_eq!(world.write(2, b"lost"), Ok(()));
    assert!(!vfs.exists(&path("stderr")));
}

#[test]
fn listing_a_directory_names_only_what_may_be_known() {
    let mut world = World::alone(&[("/", Rights::PATH_OPEN | Rights::FD_READDIR), ("/a/b", Rights::FD_READ)]);
    for name in ["/secret", "/a/b", "/a/c"] {
        world.vfs.store(&path(name), b"").unwrap();
    }
    // `/` as a directory of everything would grant everything, hence the exact name of the test.
    let mut exact =
        World::alone(&[("/a/b", Rights::FD_READ), ("/x/", Rights::FD_READDIR | Rights::PATH_OPEN)]);
    exact.vfs.store(&path("/x/y"), b"").unwrap();
    let fd = exact.open(ROOT, "x", 0, 0).unwrap();
    exact.with(|w, g| w.fd_readdir(g, fd, BUFFER, BUFFER_LEN, 0, OUT)).unwrap();
    assert_eq!(exact.out(), 25);
    assert_eq!(
        exact.with(|w, g| w.fd_readdir(g, ROOT, BUFFER, BUFFER_LEN, 0, OUT)),
        Err(Errno::Notcapable.into())
    );
    let fd = world.open(ROOT, ".", 2, 0).unwrap();
    world.with(|w, g| w.fd_readdir(g, fd, BUFFER, BUFFER_LEN, 0, OUT)).unwrap();
    assert_eq!(world.out(), 2 * 24 + 1 + 6);
}

#[test]
fn no_pointer_of_a_program_can_hurt() {
    let entries = [("/f", Rights::ALL)];
    for at in [0, 1, MEMORY_LEN as u32 - 1, MEMORY_LEN as u32, u32::MAX - 3, u32::MAX] {
        let mut world = World::alone(&entries);
        world.vfs.store(&path("/f"), b"x").unwrap();
        let fd = world.open(ROOT, "f", 0, 0).unwrap();
        world.with(|w, g| {
            for len in [0, 1, 8, 65_536, u32::MAX] {
                let _ = w.fd_read(g, fd, at, len, at);
                let _ = w.fd_write(g, 1, at, len, at);
                let _ = w.fd_pread(g, fd, at, len.min(1024), u64::MAX, at);
                let _ = w.fd_pwrite(g, fd, at, len.min(1024), u64::MAX, at);
                let _ = w.fd_readdir(g, ROOT, at, len, u64::MAX, at);
                let _ = w.fd_filestat_get(g, fd, at);
                let _ = w.fd_fdstat_get(g, fd, at);
                let _ = w.fd_seek(g, fd, i64::MIN, 2, at);
                let _ = w.fd_allocate(fd, u64::MAX, u64::from(len));
                let _ = w.fd_filestat_set_size(fd, u64::MAX);
                let _ = w.poll_oneoff(g, at, at, len, at);
                let _ = w.random_get(g, at, len.min(65_536));
                let _ = w.path_filestat_get(g, ROOT, 1, at, len, at);
                let _ = w.path_link(g, (ROOT, 1, at, len), (ROOT, at, len));
                let _ = w.path_rename(g, (ROOT, at, len), (ROOT, at, len));
                let _ = w.path_symlink(g, (at, len), ROOT, (at, len));
                let _ = w.path_readlink(g, ROOT, (at, len), (at, len), at);
                let _ = w.path_unlink_file(g, ROOT, at, len);
                let call =
                    PathOpen { fd: ROOT, lookup: 1, at, len, oflags: len, rights: 0, fdflags: 0, out: at };
                let _ = w.path_open(g, call);
                let _ = w.fd_prestat_dir_name(g, ROOT, at, len);
                let _ = w.fd_close(at);
                let _ = w.fd_renumber(at, at);
            }
        });
    }
}
