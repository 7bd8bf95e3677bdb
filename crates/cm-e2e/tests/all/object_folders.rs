//! `cryptomesh object … --recursive`: directories into folders of buckets and back, over and over again.

use std::path::{Path, PathBuf};

use cm_client::unfinished;
use cm_client::upload::PART_BYTES;
use cm_types::{BucketName, ObjectKey};
use serde_json::{Value, json};

use crate::object_command::Desk;

impl Desk {
    fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Demands an exit code of an `object` command, and returns what was said on standard output and standard error.
    fn object(&self, arguments: &[&str], code: i32) -> (String, String) {
        self.ends(&[&["object"], arguments].concat(), code)
    }

    /// How many objects a command changed, and how many it found to be as they should.
    fn counts(&self, arguments: &[&str], code: i32) -> (u64, u64, Vec<String>) {
        let said = self.object(&[arguments, &["-o", "json"]].concat(), code).0;
        let tally: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        let failed = tally["failed"].as_array().unwrap().iter();
        let failed = failed.map(|failure| failure["name"].as_str().unwrap().to_owned()).collect();
        (tally["changed"].as_u64().unwrap(), tally["unchanged"].as_u64().unwrap(), failed)
    }

    fn keys(&self, folder: &str) -> Vec<String> {
        let listed: Vec<Value> =
            serde_json::from_str(&self.object(&["ls", folder, "-o", "json"], 0).0).unwrap();
        listed.iter().map(|object| object["key"].as_str().unwrap().to_owned()).collect()
    }
}

/// The names and contents of all files below a directory.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    fn add(root: &Path, dir: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => add(root, &path, found),
                false => {
                    found.push((path.strip_prefix(root).unwrap().to_owned(), std::fs::read(&path).unwrap()));
                }
            }
        }
    }
    let mut found = Vec::new();
    add(dir, dir, &mut found);
    found.sort();
    found
}

#[test]
fn a_directory_goes_to_a_folder_and_back_and_what_is_there_stays() {
    let desk = Desk::new();
    desk.write("tree/top", b"1");
    desk.write("tree/empty", b"");
    desk.write("tree/a/b/c d.txt", "ä".as_bytes());
    desk.write("tree/a/large", &vec![7; usize::try_from(PART_BYTES).unwrap() + 3]);
    assert_eq!(desk.counts(&["put", "tree", "box/x", "-r", "--create-bucket"], 0), (4, 0, vec![]));
    assert_eq!(desk.keys("box"), ["x/a/b/c d.txt", "x/a/large", "x/empty", "x/top"]);
    assert_eq!(desk.counts(&["put", "tree/", "box/x/", "-r"], 0), (0, 4, vec![]));
    // As long as before, but something else.
    desk.write("tree/top", b"2");
    assert_eq!(desk.counts(&["put", "tree", "box/x", "-r"], 0), (1, 3, vec![]));

    assert_eq!(desk.counts(&["get", "box/x", "back", "-r"], 0), (4, 0, vec![]));
    assert_eq!(contents(&desk.path("back")), contents(&desk.path("tree")));
    desk.write("back/top", b"3");
    std::fs::remove_file(desk.path("back/a/large")).unwrap();
    assert_eq!(desk.counts(&["get", "box/x/", "back", "-r"], 0), (2, 2, vec![]));
    assert_eq!(contents(&desk.path("back")), contents(&desk.path("tree")));

    assert_eq!(desk.counts(&["cp", "box/x/a", "box/y", "-r"], 0), (2, 0, vec![]));
    assert_eq!(desk.counts(&["cp", "box/x/a", "box/y", "-r"], 0), (0, 2, vec![]));
    assert_eq!(desk.keys("box/y"), ["y/b/c d.txt", "y/large"]);
    // Without end, if it were done.
    assert!(desk.object(&["cp", "box/x", "box/x/again", "-r"], 2).1.contains("part of what would be copied"));

    // People are asked, and there is nobody to ask.
    assert!(desk.object(&["rm", "box/x", "-r"], 2).1.contains("--yes"));
    assert_eq!(desk.keys("box/x").len(), 4);
    desk.object(&["put", "tree/top", "box/xx"], 0);
    assert_eq!(desk.counts(&["rm", "box/x", "-r", "--yes"], 0), (4, 0, vec![]));
    assert_eq!(desk.keys("box"), ["xx", "y/b/c d.txt", "y/large"]);
    assert_eq!(desk.counts(&["rm", "box", "-r", "--yes"], 0), (3, 0, vec![]));
    assert_eq!(desk.counts(&["rm", "box", "-r", "--yes"], 0), (0, 0, vec![]));
}

#[test]
fn what_fails_is_named_and_the_rest_is_done() {
    let desk = Desk::new();
    desk.write("tree/a", b"a");
    desk.write("tree/b", b"b");
    let said = desk.object(&["put", "tree", "box/x"], 2).1;
    assert!(said.contains("is a directory") && said.contains("--recursive"), "{said}");
    let said = desk.object(&["put", "tree", "box/x", "-r"], 4).1;
    assert!(said.contains("bucket `box` does not exist") && said.contains("--create-bucket"), "{said}");
    // Nothing is made for a directory that is not there.
    desk.object(&["put", "nowhere", "box/x", "-r", "--create-bucket"], 1);
    desk.object(&["get", "absent/x", "back", "-r"], 4);
    desk.counts(&["put", "tree", "box/x", "-r", "--create-bucket"], 0);

    // Keys are strangers' texts.
    desk.object(&["put", "tree/a", "box/x/../../out"], 0);
    desk.object(&["put", "tree/a", "box/x//root"], 0);
    let lost = vec!["box/x/../../out".to_owned(), "box/x//root".to_owned()];
    assert_eq!(desk.counts(&["get", "box/x", "in/back", "-r"], 1), (2, 0, lost));
    assert_eq!(contents(&desk.path("in")).len(), 2);
    assert!(!desk.path("out").exists());

    // A directory stands where a file should.
    std::fs::remove_file(desk.path("in/back/a")).unwrap();
    std::fs::create_dir(desk.path("in/back/a")).unwrap();
    desk.object(&["rm", "box/x/../../out"], 0);
    desk.object(&["rm", "box/x//root"], 0);
    let (said, why) = desk.object(&["get", "box/x", "in/back", "-r", "-o", "json"], 1);
    let tally: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&tally["changed"], &tally["unchanged"]), (&json!(0), &json!(1)));
    assert!(why.contains("box/x/a") && desk.path("in/back/a").is_dir(), "{why}");
}

#[test]
fn names_that_fail_for_good_keep_nothing_from_being_done() {
    let desk = Desk::new();
    for number in 0..12 {
        desk.write(&format!("tree/a\n{number}"), b"no key has such letters");
    }
    desk.write("tree/z", b"z");
    let (changed, unchanged, failed) = desk.counts(&["put", "tree", "box", "-r", "--create-bucket"], 1);
    assert_eq!((changed, unchanged, failed.len()), (1, 0, 12));
    // As long as names can be.
    let long = "n".repeat(255);
    desk.write(&format!("long/{long}"), b"long");
    assert_eq!(desk.counts(&["put", "long", "box/long", "-r"], 0).0, 1);
    assert_eq!(desk.counts(&["get", "box/long", "back", "-r"], 0).0, 1);
    desk.object(&["get", &format!("box/long/{long}"), "again/"], 1);
    std::fs::create_dir(desk.path("again")).unwrap();
    desk.object(&["get", &format!("box/long/{long}"), "again/"], 0);
    assert_eq!(contents(&desk.path("again")), contents(&desk.path("long")));
    assert_eq!(contents(&desk.path("back")), contents(&desk.path("long")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_downloads_keep_meanwhile_is_no_file_of_a_folder() {
    let desk = Desk::new();
    desk.write("tree/x", b"content");
    let helper = unfinished(&desk.path("tree/x")).unwrap();
    std::fs::write(&helper, "unfinished").unwrap();
    assert_eq!(desk.counts(&["put", "tree", "box/h", "-r", "--create-bucket"], 0), (1, 0, vec![]));
    // Somebody else may name objects so.
    let name = helper.file_name().unwrap().to_str().unwrap();
    desk.object(&["put", "tree/x", &format!("box/h/{name}")], 0);
    let (bucket, folder) = (BucketName::parse("box").unwrap(), ObjectKey::parse("h/folder/").unwrap());
    let body = std::io::Cursor::new(b"content".to_vec());
    desk.node.admin().put_object(&bucket, &folder, body, Some(7), None).await.unwrap();
    let lost = vec![format!("box/h/{name}"), "box/h/folder/".to_owned()];
    assert_eq!(desk.counts(&["get", "box/h", "back", "-r"], 1), (1, 0, lost));
    assert_eq!(contents(&desk.path("back")), [(PathBuf::from("x"), b"content".to_vec())]);

    // A link in the place of a helper leads the bytes nowhere.
    desk.write("victim", b"victim");
    std::fs::create_dir(desk.path("shared")).unwrap();
    let planted = unfinished(&desk.path("shared/x")).unwrap();
    std::os::unix::fs::symlink(desk.path("victim"), &planted).unwrap();
    desk.object(&["get", "box/h/x", "shared/x", "--no-cache"], 1);
    assert_eq!(std::fs::read(desk.path("victim")).unwrap(), b"victim");
    assert!(!desk.path("shared/x").exists());
}
