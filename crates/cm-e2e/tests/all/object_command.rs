//! `cryptomesh object`: names that look like ways to other places, targets that are no files, output that nobody takes, and what
//! is said when something is missing or damaged.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use cm_client::upload::PART_BYTES;
use cm_e2e::{Node, NodeOptions, cryptomesh};
use cm_types::{BucketName, ObjectKey};
use serde_json::Value;

/// A node with the bucket `bb1`, whose object `k1` is `kept`, and a directory of one's own.
pub(crate) struct Desk {
    pub(crate) node: Node,
    root: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Desk {
        let root = tempfile::tempdir().unwrap();
        let node = Node::start(&root.path().join("node"), &NodeOptions::default());
        let desk = Desk { node, root };
        desk.put("kept", &["bb1/k1", "--create-bucket"]);
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn line(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cryptomesh());
        command.arg("--data-dir").arg(self.node.data_dir()).args(arguments).current_dir(self.root.path());
        command.env_clear().env("HOME", self.root.path()).stdin(Stdio::null());
        command
    }

    /// Demands an exit code, and returns what was said on standard output and standard error.
    pub(crate) fn ends(&self, arguments: &[&str], code: i32) -> (String, String) {
        ends(&self.line(arguments).output().unwrap(), code)
    }

    fn put(&self, content: &str, arguments: &[&str]) {
        std::fs::write(self.path("source"), content).unwrap();
        self.ends(&[&["object", "put", "source"], arguments].concat(), 0);
    }

    fn get(&self, object: &str) -> String {
        self.ends(&["object", "get", object, "-"], 0).0
    }
}

fn ends(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{}{}", said.0, said.1);
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_with_steps_names_itself_and_nothing_else() {
    let desk = Desk::new();
    desk.put("kept", &["q1/b", "--create-bucket"]);
    desk.ends(&["create", "principal", "id=vic"], 0);
    // What such keys led to once is there, and is not what they name.
    for elsewhere in ["bb1/x/../../../q1/objects/b", "bb1/x/../../../../principals/vic", "bb1/a/../k1"] {
        desk.ends(&["object", "get", elsewhere, "-"], 4);
        desk.ends(&["object", "rm", elsewhere], 4);
    }
    desk.put("own", &["bb1/a/../k1"]);
    desk.put("far", &["bb1/x/../../../q1/objects/b"]);
    desk.ends(&["object", "cp", "bb1/a/../k1", "bb1/./copy"], 0);
    let large = vec![b'x'; usize::try_from(PART_BYTES).unwrap() + 1];
    std::fs::write(desk.path("large"), &large).unwrap();
    desk.ends(&["object", "put", "large", "bb1/../large"], 0);
    desk.ends(&["object", "get", "bb1/../large", "back"], 0);
    assert!(std::fs::read(desk.path("back")).unwrap() == large);
    for (object, content) in [
        ("bb1/a/../k1", "own"),
        ("bb1/./copy", "own"),
        ("bb1/x/../../../q1/objects/b", "far"),
        ("bb1/k1", "kept"),
        ("q1/b", "kept"),
    ] {
        assert_eq!(desk.get(object), content, "{object}");
    }
    let listed: Vec<Value> =
        serde_json::from_str(&desk.ends(&["object", "ls", "bb1", "-o", "json"], 0).0).unwrap();
    let keys: Vec<_> = listed.iter().map(|object| object["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["../large", "./copy", "a/../k1", "k1", "x/../../../q1/objects/b"]);
    // URLs to share name them or are not made.
    let (bucket, folder) = (BucketName::parse("bb1").unwrap(), ObjectKey::parse("a/").unwrap());
    let body = std::io::Cursor::new(b"folder".to_vec());
    desk.node.admin().put_object(&bucket, &folder, body, Some(6), None).await.unwrap();
    let key = desk.node.admin().create_s3_key("admin", "share").await.unwrap();
    let share = |object: &str| {
        let mut share = desk.line(&["object", "share", object]);
        share.env("AWS_ACCESS_KEY_ID", &key.id).env("AWS_SECRET_ACCESS_KEY", &key.key).output().unwrap()
    };
    let said = ends(&share("bb1/a/../k1"), 2).1;
    assert!(said.contains("cannot be shared"), "{said}");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (object, content) in [("bb1/a/", "folder"), ("bb1/k1", "kept")] {
        let url = ends(&share(object), 0).0;
        let answer = http.get(url.trim()).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), content, "{url}");
    }
    desk.ends(&["object", "rm", "bb1/a/../k1"], 0);
    desk.ends(&["object", "get", "bb1/a/../k1", "-"], 4);
    assert_eq!(desk.get("bb1/k1"), "kept");
    desk.ends(&["get", "principal", "vic"], 0);
    // What cannot be named at all is not sent.
    for lost in
        [&["object", "rm", "bb1/.."][..], &["object", "put", "source", "bb1/."], &["get", "principal", ".."]]
    {
        let said = desk.ends(lost, 2).1;
        assert!(said.contains("no URL leads to"), "{lost:?}: {said}");
    }
    desk.ends(&["delete", "principal", "..", "--yes"], 2);
}

#[test]
fn what_is_there_already_stays_what_it_is() {
    let desk = Desk::new();
    let get = |target: &str| desk.ends(&["object", "get", "bb1/k1", target, "--no-cache"], 0);
    let content = |name: &str| std::fs::read_to_string(desk.path(name)).unwrap();
    let made = Command::new("mkfifo").arg(desk.path("pipe")).status().unwrap();
    assert!(made.success());
    let pipe = desk.path("pipe");
    let reader = std::thread::spawn(move || std::fs::read_to_string(pipe).unwrap());
    get("pipe");
    assert_eq!(reader.join().unwrap(), "kept");
    assert!(desk.path("pipe").metadata().unwrap().file_type().is_fifo());
    assert_eq!(get("/dev/stdout").0, "kept");

    std::fs::create_dir(desk.path("folder")).unwrap();
    std::os::unix::fs::symlink("folder/real", desk.path("link")).unwrap();
    for old in [None, Some("old")] {
        if let Some(old) = old {
            std::fs::write(desk.path("folder/real"), old).unwrap();
        }
        get("link");
        assert!(desk.path("link").is_symlink());
        assert_eq!(content("folder/real"), "kept");
    }
    std::fs::set_permissions(desk.path("folder/real"), PermissionsExt::from_mode(0o640)).unwrap();
    get("link");
    assert_eq!(desk.path("folder/real").metadata().unwrap().permissions().mode() & 0o777, 0o640);
    std::fs::remove_file(desk.path("folder/real")).unwrap();
    get("folder/");
    assert_eq!(content("folder/k1"), "kept");
    let names = std::fs::read_dir(desk.path("folder")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["k1"], "no helper is left");
    get(".");
    assert_eq!(content("k1"), "kept");
    let said = desk.ends(&["object", "get", "bb1/folder/", "folder"], 2).1;
    assert!(said.contains("name the file"), "{said}");
    // Sealed objects, which are written another way.
    let public = desk.ends(&["keys", "seal", "secret"], 0).0;
    desk.put("sealed", &["bb1/sealed", "--seal-to", public.trim()]);
    desk.ends(&["object", "get", "bb1/sealed", "link", "--open-with", "secret"], 0);
    assert_eq!(content("folder/real"), "sealed");
    assert!(desk.path("link").is_symlink());
}

#[test]
fn what_cannot_be_printed_is_no_success() {
    let desk = Desk::new();
    for arguments in [
        &["object", "ls", "bb1"][..],
        &["object", "get", "bb1/k1", "-"],
        &["-o", "json", "whoami"],
        &["completions", "bash"],
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = desk.line(arguments).stdout(full).output().unwrap();
        assert!(ends(&output, 1).1.contains("No space left"), "{arguments:?}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = desk.line(arguments).stdout(writer).output().unwrap();
        assert_eq!(ends(&output, 141).1, "", "{arguments:?}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let desk = Desk::new();
    let missing = |arguments: &[&str], remedy: bool| {
        let said = desk.ends(arguments, 4).1;
        assert!(said.contains("bucket `absent` does not exist"), "{arguments:?}: {said}");
        assert_eq!(said.contains("--create-bucket"), remedy, "{arguments:?}: {said}");
    };
    missing(&["object", "put", "source", "absent/key"], true);
    missing(&["object", "cp", "bb1/k1", "absent/"], true);
    for command in [
        &["get", "absent/key", "-"][..],
        &["rm", "absent/key"],
        &["ls", "absent"],
        &["describe", "absent/key"],
    ] {
        missing(&[&["object"], command].concat(), false);
    }
    missing(&["object", "cp", "absent/key", "bb1/"], false);
    let said = desk.ends(&["object", "get", "bb1/absent", "-"], 4).1;
    assert!(said.contains("object `bb1/absent` does not exist"), "{said}");
    desk.ends(&["object", "cp", "bb1/k1", "archive/", "--create-bucket"], 0);
    assert_eq!(desk.get("archive/k1"), "kept");
    desk.ends(&["object", "ls", "bb1", "--limit", "0"], 2);
    let said = desk.ends(&["object", "uploads", "bb1/k1", "--abort", "abc"], 4).1;
    assert!(said.contains("upload `abc` of bb1/k1"), "{said}");
    let said = desk.ends(&["object", "get", "bb1/absent", "-", "-o", "json"], 4).1;
    let document: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(
        (&document["error"]["code"], &document["error"]["status"]),
        (&"not-found".into(), &404.into())
    );
}

/// All files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn damage_within_an_object_is_said_to_be_that() {
    let desk = Desk::new();
    let content: Vec<u8> =
        (0..6_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(desk.path("film"), &content).unwrap();
    desk.ends(&["object", "put", "film", "bb1/film"], 0);
    // One that is neither the first of a part nor the last.
    let middle = &content[13 << 20..][..64];
    let chunk = files(&desk.node.data_dir().join("objects/chunks"))
        .into_iter()
        .find(|path| std::fs::read(path).unwrap().starts_with(middle));
    let chunk = chunk.expect("content is cut every MiB");
    let mut bytes = std::fs::read(&chunk).unwrap();
    bytes[77] ^= 1;
    std::fs::write(&chunk, bytes).unwrap();
    for target in ["-", "back"] {
        let output = desk.line(&["object", "get", "bb1/film", target, "--no-cache"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("damaged") && said.contains("object verify"), "{said}");
        assert!(!said.contains("node running") && !said.contains("goes on where it was"), "{said}");
        assert!(content.starts_with(&output.stdout), "altered bytes were served");
    }
    assert!(!desk.path("back").exists());
    let said = desk.ends(&["object", "cp", "bb1/film", "bb1/copy"], 1).1;
    assert!(said.contains("damaged"), "{said}");
    desk.ends(&["object", "get", "bb1/copy", "-"], 4);
}
