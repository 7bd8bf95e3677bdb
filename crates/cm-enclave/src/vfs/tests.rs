use std::sync::Arc;

use cm_instance::{FileName, Grants, Principal, Rights};

use super::*;

const STORAGE: u64 = 4096;
const NODES: usize = 32;

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).unwrap()
}

/// Files, and the view of a program with every right below /rw.
fn world() -> (Vfs, View) {
    let program = Principal::Program(path("p"));
    let mut grants = Grants::default();
    grants.add(&FileName::parse("/rw/").unwrap(), Rights::ALL);
    let mut table = RightsTable::default();
    table.insert(program.clone(), grants);
    let table = Arc::new(table);
    let limits = VfsLimits { storage_bytes: STORAGE, file_bytes: STORAGE / 2, nodes: NODES };
    let vfs = Vfs::new(limits, &table);
    let view = View::new(vfs.clone(), table, &program);
    (vfs, view)
}

#[test]
fn what_is_stored_is_loaded_in_whole_and_in_part() {
    let (vfs, _) = world();
    vfs.append(&path("a/b/file"), b"01234").unwrap();
    vfs.append(&path("a/b/file"), b"56789").unwrap();
    assert_eq!(vfs.load(&path("a/b/file")).unwrap(), b"0123456789");
    for (at, len, expected) in [(0, 3, "012"), (8, 9, "89"), (10, 1, ""), (u64::MAX, 1, "")] {
        let part = vfs.load_part(&path("a/b/file"), at, len).unwrap();
        assert_eq!(part, (expected.as_bytes().to_vec(), 10), "{at} {len}");
    }
    vfs.store(&path("a/b/file"), b"x").unwrap();
    assert_eq!(vfs.files(), [(path("a/b/file"), 1)]);
    assert_eq!((vfs.file_len(&path("a")), vfs.file_len(&path("none"))), (None, None));
    assert!(vfs.store(&path("a/b"), b"x").is_err(), "a directory was replaced");
    assert!(vfs.store(&path("a/b/file/c"), b"x").is_err(), "a file became a directory");
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let (vfs, _) = world();
    let file = path("file");
    vfs.store(&file, &[1; 2000]).unwrap();
    assert_eq!(vfs.store(&file, &[2; 2049]), Err(Errno::Fbig));
    assert_eq!(vfs.append(&file, &[2; 49]), Err(Errno::Fbig));
    assert_eq!(vfs.load(&file).unwrap(), [1; 2000]);
    vfs.store(&path("second"), &[1; 2000]).unwrap();
    assert_eq!(vfs.store(&path("third"), &[1; 97]), Err(Errno::Nospc));
    assert_eq!(vfs.used_bytes(), 4000);
    assert!(!vfs.exists(&path("third")));
}

#[test]
fn a_program_cannot_turn_a_client_elsewhere_with_a_symbolic_link() {
    let (vfs, mut view) = world();
    vfs.store(&path("secret/file"), b"secret").unwrap();
    view.symlink("/secret", None, "/rw/directory").unwrap();
    view.symlink("/secret/file", None, "/rw/file").unwrap();
    for name in ["rw/directory/file", "rw/file"] {
        let name = path(name);
        assert!(vfs.load(&name).is_err() && vfs.load_part(&name, 0, 9).is_err(), "{name} was followed");
        assert!(vfs.store(&name, b"x").is_err() && vfs.append(&name, b"x").is_err(), "{name} was followed");
        assert_eq!(vfs.file_len(&name), None);
    }
    assert_eq!(vfs.load(&path("secret/file")).unwrap(), b"secret");
    assert_eq!(vfs.files(), [(path("secret/file"), 6)]);
}

#[test]
fn names_are_limited_also_those_of_one_file() {
    let (vfs, mut view) = world();
    vfs.store(&path("rw/file"), b"x").unwrap();
    let mut link = |number: usize| view.link((None, "/rw/file", false), (None, &format!("/rw/{number}")));
    let made = (0..2 * NODES).take_while(|number| link(*number).is_ok()).count();
    assert_eq!(made, NODES - 2, "besides the directory and the file's first name");
    assert_eq!(link(NODES), Err(Errno::Nospc));
    view.unlink(None, "/rw/0").unwrap();
    view.link((None, "/rw/file", false), (None, "/rw/again")).unwrap();
}
