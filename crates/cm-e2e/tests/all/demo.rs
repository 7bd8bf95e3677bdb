//! `cryptomesh demo` does what the README says, on its own data and on the user's.

use cm_e2e::run;

use crate::tools::{ends, repository};

#[test]
fn the_demonstration_ends_well() {
    let output = run(&["demo"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let result = String::from_utf8_lossy(&output.stdout);
    assert!(result.starts_with("y = -17.57909"), "{result}");
    assert!(result.contains("3.93240"), "{result}");
    assert!(said.matches("refused, ").count() >= 7, "{said}");
}

#[test]
fn it_takes_the_users_own_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("numbers.csv");
    std::fs::write(&file, "x,y\n1,5\n2,7\n3,9\n4,11\n").unwrap();
    let output = run(&["demo", "--input", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result = String::from_utf8_lossy(&output.stdout);
    assert!(result.contains("y = 3 + 2 x"), "{result}");
}

/// The numbered steps, each with what it says; a step that a terminal would break is one line here.
fn steps(said: &str) -> Vec<&str> {
    let numbered = said.lines().filter_map(|line| line.trim_start().split_once(".  "));
    let mut steps = Vec::new();
    for (number, text) in numbered.filter(|(number, _)| number.parse::<usize>().is_ok()) {
        steps.push(text);
        assert_eq!(number.parse(), Ok(steps.len()), "{said}");
    }
    steps
}

#[test]
fn the_story_of_the_video_has_its_steps_and_ends_with_what_is_known_of_the_clip() {
    let output = run(&["demo", "--scenario", "video"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let steps = steps(&said);
    assert_eq!(steps.len(), 21, "{said}");
    let read = |name: &str| std::fs::read(repository(&format!("examples/motion/{name}"))).unwrap();
    let digest = cm_crypto::digest::sha256(&read("motion.wasm"));
    let encrypted = read("data/clip.y4m.aes").len();
    let refused = steps.iter().filter(|step| step.contains("was refused")).count();
    assert_eq!(refused, 1, "{said}");
    for (number, part) in [
        (1, format!("motion.wasm is SHA-256 {digest}")),
        (2, format!("{encrypted} encrypted bytes")),
        (6, "hands the policy to VaaS".to_owned()),
        (12, "its certificate names this policy".to_owned()),
        (16, "OK video file copied".to_owned()),
        (17, "tried to read the key, and was refused".to_owned()),
        (18, "motion.wasm decrypted and watched it".to_owned()),
        (21, "free for the next".to_owned()),
    ] {
        assert!(steps[number - 1].contains(&part), "step {number} lacks `{part}`: {said}");
    }
    // What the example's library finds natively in the same clip.
    assert_eq!(output.stdout, read("data/detections"));
}

#[test]
fn the_detections_are_a_document_for_programs_and_nothing_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(cm_e2e::cryptomesh())
        .args(["--quiet", "demo", "--scenario", "video", "--output", "json"])
        .env_clear()
        .env("TMPDIR", dir.path())
        .output()
        .unwrap();
    let said = ends(&output, 0);
    let document: serde_json::Value = serde_json::from_str(&said.0).unwrap();
    let known = std::fs::read_to_string(repository("examples/motion/data/detections")).unwrap();
    assert_eq!(document["detections"], serde_json::json!(known.lines().collect::<Vec<_>>()));
    assert_eq!(said.1, "", "quiet");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "a directory is left");
}

#[test]
fn numbers_are_not_ignored_by_a_story_without_any() {
    let output = run(&["demo", "--scenario", "video", "--input", "numbers.csv"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--input"));
}

#[test]
fn numbers_that_make_no_line_are_refused_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("numbers.csv");
    std::fs::write(&file, "1,5\n1,six\n").unwrap();
    let output = run(&["demo", "--input", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 2"));
}
