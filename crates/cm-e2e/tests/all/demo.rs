//! `cryptomesh demo` does what the README says, on its own data and on the user's.

use cm_e2e::run;

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
