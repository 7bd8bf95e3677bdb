use super::*;

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn open(dir: &Path, recorded: Option<&str>) -> Result<NodeKeys, NodeKeyError> {
    NodeKeys::open_or_create(dir, recorded, now())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn keys_are_created_once_and_stay_the_same() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data/keys");
    let first = open(&dir, None).unwrap();
    assert_eq!(mode(&dir), 0o700);
    for file in FILES {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
    let again = open(&dir, Some(&first.key_id())).unwrap();
    assert_eq!(again.verifying(), first.verifying());
    assert_eq!(again.ca().certificate_der(), first.ca().certificate_der());
    assert_eq!(again.sealing_key().expose(), first.sealing_key().expose());
    let siblings: Vec<_> = fs::read_dir(dir.parent().unwrap()).unwrap().collect();
    assert_eq!(siblings.len(), 1, "the unfinished directory is gone");
}

#[test]
fn an_empty_directory_is_used() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("keys");
    fs::create_dir(&dir).unwrap();
    open(&dir, None).unwrap();
    assert_eq!(mode(&dir), 0o700);
}

#[test]
fn every_node_has_keys_of_its_own() {
    let temp = tempfile::tempdir().unwrap();
    let (a, b) = (open(&temp.path().join("a"), None).unwrap(), open(&temp.path().join("b"), None).unwrap());
    assert_ne!(a.key_id(), b.key_id());
    assert_ne!(a.sealing_key().expose(), b.sealing_key().expose());
    assert!(!format!("{a:?}").contains("BEGIN"));
}

#[test]
fn keys_that_vanished_are_not_replaced() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("keys");
    let first = open(&dir, None).unwrap().key_id();
    fs::remove_dir_all(&dir).unwrap();
    let error = open(&dir, Some(&first)).unwrap_err();
    assert!(matches!(error, NodeKeyError::Missing { .. }), "{error}");
    assert!(!dir.exists(), "nothing was created");
}

#[test]
fn keys_of_another_node_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let mine = open(&temp.path().join("mine"), None).unwrap().key_id();
    let other = open(&temp.path().join("other"), None).unwrap().key_id();
    let error = open(&temp.path().join("other"), Some(&mine)).unwrap_err().to_string();
    assert!(error.contains(&mine) && error.contains(&other), "{error}");
}

#[test]
fn files_that_others_may_read_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("keys");
    open(&dir, None).unwrap();
    for file in FILES {
        for loose in [0o640, 0o604, 0o620, 0o666] {
            set_mode(&dir.join(file), loose);
            let error = open(&dir, None).unwrap_err();
            let named = matches!(&error, NodeKeyError::Permissions { path, mode } if path.ends_with(file) && *mode == loose);
            assert!(named && error.to_string().contains("chmod go-rwx"), "{error}");
        }
        set_mode(&dir.join(file), 0o600);
    }
    set_mode(&dir, 0o755);
    assert!(matches!(open(&dir, None), Err(NodeKeyError::Permissions { .. })));
    set_mode(&dir, 0o700);
    open(&dir, None).unwrap();
}

#[test]
fn a_missing_or_damaged_file_is_named() {
    for file in FILES {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("keys");
        open(&dir, None).unwrap();
        fs::write(dir.join(file), "damaged").unwrap();
        let error = open(&dir, None).unwrap_err();
        assert!(matches!(error, NodeKeyError::Content { .. }), "{file}: {error}");
        fs::remove_file(dir.join(file)).unwrap();
        let error = open(&dir, None).unwrap_err();
        assert!(matches!(&error, NodeKeyError::Incomplete { path } if path.ends_with(file)), "{error}");
    }
}

#[test]
fn a_bundle_gives_another_node_the_same_keys() {
    let temp = tempfile::tempdir().unwrap();
    let first = open(&temp.path().join("a/keys"), None).unwrap();
    let joining = temp.path().join("b/keys");
    assert_eq!(NodeKeys::install(&joining, &first.bundle()).unwrap(), first.key_id());
    assert_eq!(mode(&joining), 0o700);
    let second = open(&joining, Some(&first.key_id())).unwrap();
    assert_eq!(second.bundle().expose(), first.bundle().expose());
    assert_eq!(NodeKeys::install(&joining, &first.bundle()).unwrap(), first.key_id(), "again");
    let other = open(&temp.path().join("c/keys"), None).unwrap();
    let refused = NodeKeys::install(&joining, &other.bundle());
    assert!(matches!(refused, Err(NodeKeyError::Mismatch { .. })), "{refused:?}");
    let half = Secret::new("no bundle".to_owned());
    assert!(NodeKeys::install(&temp.path().join("d/keys"), &half).is_err());
    assert!(!temp.path().join("d/keys").exists());
}
