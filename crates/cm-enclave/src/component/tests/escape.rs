//! No sequence of calls gets bytes out of, or into, a path without the right.

use proptest::prelude::*;

use super::*;

/// What a sequence of calls may do; names and places are chosen by number.
#[derive(Clone, Debug)]
enum Op {
    Open(usize, u8),
    Read(usize),
    Stream(usize),
    Write(usize),
    SetSize(usize),
    Rename(usize, usize),
    Link(usize, usize),
    Symlink(usize, usize),
    Unlink(usize),
}

const NAMES: [&str; 10] =
    ["in", "out", "hidden", "/hidden", "rw/f", "rw/l", "../hidden", "rw/../hidden", "wo/f", "rw/l/f"];

fn op() -> impl Strategy<Value = Op> {
    let name = || 0..NAMES.len();
    let fd = || 0usize..6;
    prop_oneof![
        6 => (name(), any::<u8>()).prop_map(|(name, flags)| Op::Open(name, flags)),
        4 => fd().prop_map(Op::Read),
        4 => fd().prop_map(Op::Stream),
        3 => fd().prop_map(Op::Write),
        1 => fd().prop_map(Op::SetSize),
        3 => (name(), name()).prop_map(|(from, to)| Op::Rename(from, to)),
        2 => (name(), name()).prop_map(|(from, to)| Op::Link(from, to)),
        3 => (name(), name()).prop_map(|(target, name)| Op::Symlink(target, name)),
        1 => name().prop_map(Op::Unlink),
    ]
}

/// Carries one call out and gives back the bytes that it brought to light.
fn carry_out(world: &mut World, fds: &mut Vec<This>, root: &This, op: &Op) -> Vec<u8> {
    let name = |name: usize| NAMES[name].to_owned();
    let held = |fd: usize| fds.get(fd).map(again);
    match *op {
        Op::Open(at, flags) => {
            let (mut how, mut wanted) = (OpenFlags::empty(), DescriptorFlags::empty());
            for (bit, flag) in [(1, OpenFlags::CREATE), (2, OpenFlags::EXCLUSIVE), (4, OpenFlags::TRUNCATE)] {
                if flags & bit != 0 {
                    how |= flag;
                }
            }
            for (bit, flag) in [(8, DescriptorFlags::READ), (16, DescriptorFlags::WRITE)] {
                if flags & bit != 0 {
                    wanted |= flag;
                }
            }
            let opened = world.open_at(again(root), PathFlags::SYMLINK_FOLLOW, name(at), how, wanted);
            fds.extend(opened);
        }
        Op::Read(fd) => {
            let read = held(fd).and_then(|fd| HostDescriptor::read(world, fd, 100, 0).ok());
            return read.map_or(Vec::new(), |(bytes, _)| bytes);
        }
        Op::Stream(fd) => {
            let stream = held(fd).and_then(|fd| world.read_via_stream(fd, 0).ok());
            return stream
                .and_then(|stream| HostInputStream::read(world, stream, 100).ok())
                .unwrap_or_default();
        }
        Op::Write(fd) => {
            let _ = held(fd).map(|fd| HostDescriptor::write(world, fd, b"WRITTEN".to_vec(), 0));
        }
        Op::SetSize(fd) => {
            let _ = held(fd).map(|fd| world.set_size(fd, 3));
        }
        Op::Rename(from, to) => {
            let _ = world.rename_at(again(root), name(from), again(root), name(to));
        }
        Op::Link(from, to) => {
            let _ = world.link_at(again(root), PathFlags::SYMLINK_FOLLOW, name(from), again(root), name(to));
        }
        Op::Symlink(target, at) => {
            let _ = world.symlink_at(again(root), name(target), name(at));
        }
        Op::Unlink(at) => {
            let _ = world.unlink_file_at(again(root), name(at));
        }
    }
    Vec::new()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn no_sequence_of_calls_crosses_a_missing_right(ops in prop::collection::vec(op(), 1..50)) {
        let mut table = RightsTable::default();
        table.insert(me(), grants(&[
            ("/in", Rights::READER | Rights::PATH_LINK_SOURCE | Rights::PATH_SYMLINK),
            ("/out", Rights::WRITER | Rights::PATH_RENAME_TARGET | Rights::PATH_LINK_TARGET),
            ("/hidden", Rights::PATH_OPEN | Rights::PATH_RENAME_SOURCE | Rights::PATH_LINK_SOURCE),
            ("/rw/", Rights::ALL),
            ("/wo/", Rights::ALL.difference(Rights::FD_READ)),
        ]));
        table.insert(Principal::Identity(0), grants(&[("/out", Rights::READER), ("/rw/", Rights::READER)]));
        let (mut world, vfs) = world_of(table, timeless());
        for name in ["/in", "/out", "/hidden", "/rw/f", "/wo/f"] {
            vfs.store(&path(name), format!("first {name}").as_bytes()).unwrap();
        }
        let root = root(&mut world);
        let mut fds = Vec::new();
        for op in &ops {
            let seen = carry_out(&mut world, &mut fds, &root, op);
            for unreadable in ["first /hidden", "first /out", "first /wo/f"] {
                prop_assert!(seen != unreadable.as_bytes(), "{op:?} read {unreadable}");
            }
            prop_assert!(vfs.load(&path("/in")).is_ok_and(|bytes| bytes == b"first /in"), "{op:?} changed /in");
            for reachable in ["/out", "/rw/f", "/rw/l"] {
                let there = vfs.load(&path(reachable)).unwrap_or_default();
                prop_assert!(there != b"first /hidden", "{op:?} carried /hidden to {reachable}");
            }
        }
    }
}
