use clap::Parser;

use super::*;
use crate::key_files::{ExchangeArgs, KeygenArgs};

#[derive(Parser)]
enum Line {
    Seal(SealArgs),
    Open(OpenArgs),
    Keygen(KeygenArgs),
    Exchange(ExchangeArgs),
}

#[derive(Parser)]
struct Quiet {
    #[command(flatten)]
    connection: Connection,
}

/// Runs a command in a directory; `{}` in its words is the directory. The exit code, or 99 for an error.
async fn run(dir: &Path, line: &str) -> u8 {
    let words = line.split(' ').map(|word| word.replace("{}", dir.to_str().unwrap()));
    let connection = Quiet::parse_from(["x", "--quiet"]).connection;
    let parsed = Line::try_parse_from(std::iter::once("x".to_owned()).chain(words));
    let outcome = match parsed.unwrap_or_else(|error| panic!("{line}: {error}")) {
        Line::Seal(args) => seal(args, &connection).await,
        Line::Open(args) => open(args, &connection).await,
        Line::Keygen(args) => crate::key_files::keygen(args, &connection),
        Line::Exchange(args) => crate::key_files::exchange(args, &connection),
    };
    match outcome {
        Ok(code) if code == ExitCode::SUCCESS => 0,
        Ok(code) if code == ExitCode::from(REFUSED) => REFUSED,
        Ok(_) => 98,
        Err(_) => 99,
    }
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn files_are_sealed_and_opened_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let plaintext: Vec<u8> = (0..3_000_000u32).map(|at| (at / 7) as u8).collect();
    std::fs::write(dir.join("scan"), &plaintext).unwrap();
    for line in ["keygen {}/alice", "keygen {}/bob", "keygen {}/aes --kind aes192"] {
        assert_eq!(run(dir, line).await, 0, "{line}");
    }
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(dir.join("alice")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(run(dir, "keygen {}/alice").await, 99, "a key is never overwritten");
    let exchange = "exchange --raw --key {}/alice --peer {}/bob.pub --to-file {}/shared";
    assert_eq!(run(dir, exchange).await, 0);
    for (seal, open) in [
        ("--for {}/bob.pub --for {}/alice.pub", "--key {}/bob"),
        ("--compat file --key {}/aes", "--compat file --key {}/aes"),
        ("--compat blob --key {}/aes --aad ct", "--compat blob --key {}/aes --aad ct"),
        ("--compat file --key {}/alice --peer {}/bob.pub", "--compat file --key {}/bob --peer {}/alice.pub"),
        ("--compat file --key {}/shared", "--compat file --key {}/bob --peer {}/alice.pub"),
    ] {
        let (seal, open) =
            (format!("seal {{}}/scan -f {{}}/s {seal}"), format!("open {{}}/s -f {{}}/o {open}"));
        assert_eq!(run(dir, &seal).await, 0, "{seal}");
        assert_eq!(run(dir, &open).await, 0, "{open}");
        assert!(std::fs::read(dir.join("o")).unwrap() == plaintext, "{open}");
        assert_eq!(run(dir, &open).await, 99, "what is there stays");
        let sealed = std::fs::read(dir.join("s")).unwrap();
        std::fs::remove_file(dir.join("o")).unwrap();
        let before = files(dir);
        let cut = sealed[..sealed.len() - 1].to_vec();
        let flipped = |at: usize| {
            let mut altered = sealed.clone();
            altered[at] ^= 0x10;
            altered
        };
        let mut reordered = sealed.clone();
        reordered[400_000..].rotate_left(65_552);
        let extended = [&sealed[..], b"x"].concat();
        for wrong in [cut, flipped(300), flipped(2_900_000), flipped(sealed.len() - 1), reordered, extended] {
            std::fs::write(dir.join("s"), wrong).unwrap();
            assert_eq!(run(dir, &open).await, REFUSED, "{open}");
            assert_eq!(files(dir), before, "nothing is left of what was refused");
        }
        std::fs::remove_file(dir.join("s")).unwrap();
    }
}

#[tokio::test]
async fn what_is_not_for_the_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("scan"), b"x").unwrap();
    for line in ["keygen {}/alice", "keygen {}/bob", "seal {}/scan --for {}/alice.pub"] {
        assert_eq!(run(dir, line).await, 0, "{line}");
    }
    assert_eq!(run(dir, "open {}/scan.sealed -f {}/o --key {}/bob").await, REFUSED);
    assert_eq!(run(dir, "open {}/scan -f {}/o --key {}/alice").await, 99, "it is not sealed");
    assert_eq!(run(dir, "open {}/scan.sealed --key {}/alice").await, 99, "the file is there");
    let line = ["x", "open", "missing"];
    let Ok(Line::Open(args)) = Line::try_parse_from(line) else { panic!("{line:?}") };
    let error = open(args, &Quiet::parse_from(["x", "--quiet"]).connection).await.unwrap_err();
    assert!(error.to_string().contains("cannot read missing"), "what is absent is asked nothing: {error:#}");
    std::fs::remove_file(dir.join("scan")).unwrap();
    assert_eq!(run(dir, "open {}/scan.sealed --key {}/alice").await, 0);
    assert_eq!(std::fs::read(dir.join("scan")).unwrap(), b"x");
}

#[test]
fn stopping_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let watch = Watch::new(std::sync::Arc::new(|_| {}));
    watch.stop();
    let mut destination = Destination::create(&dir.path().join("out"), 0o600, false).unwrap();
    let error = copy(&mut &[7u8; 100][..], &mut destination, &watch).unwrap_err();
    assert!(!is_refusal(&error) && error.to_string().contains("interrupted"), "{error:#}");
    drop(destination);
    assert!(files(dir.path()).is_empty());
}
