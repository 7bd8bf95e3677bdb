//! Words that may not be committed.
//!
//! The words are written in two halves here, so that this file passes its own rule.

use super::{Finding, SourceFile};

/// Where a word is forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Rust,
    Sources,
    Everywhere,
}

struct Word {
    text: &'static str,
    scope: Scope,
    advice: &'static str,
}

const WORDS: &[Word] = &[
    Word {
        text: concat!("TO", "DO"),
        scope: Scope::Sources,
        advice: "do it, or open an issue and leave no note",
    },
    Word {
        text: concat!("FIX", "ME"),
        scope: Scope::Sources,
        advice: "fix it, or open an issue and leave no note",
    },
    Word {
        text: concat!("#[ign", "ore"),
        scope: Scope::Rust,
        advice: "make the test run always, or remove it",
    },
    Word {
        text: concat!("tokio::", "spawn("),
        scope: Scope::Rust,
        advice: "tasks are named and owned: use cm_runtime::Tasks::spawn",
    },
    Word {
        text: concat!("tokio::task::", "spawn("),
        scope: Scope::Rust,
        advice: "tasks are named and owned: use cm_runtime::Tasks::spawn",
    },
    Word { text: concat!("index.", "crates.io"), scope: Scope::Everywhere, advice: REGISTRY },
    Word { text: concat!("static.", "crates.io"), scope: Scope::Everywhere, advice: REGISTRY },
    Word { text: concat!("registry.", "npmjs.org"), scope: Scope::Everywhere, advice: REGISTRY },
    Word { text: concat!("files.", "pythonhosted.org"), scope: Scope::Everywhere, advice: REGISTRY },
    Word { text: concat!("pypi.", "org/simple"), scope: Scope::Everywhere, advice: REGISTRY },
    Word { text: concat!("proxy.", "golang.org"), scope: Scope::Everywhere, advice: REGISTRY },
    Word { text: concat!("/arti", "factory/"), scope: Scope::Everywhere, advice: REGISTRY },
];

const REGISTRY: &str = "registries and mirrors are a matter of each machine's own configuration: name none";

/// The one source that a lock file may name.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Objects to forbidden words, and to lock files with other registries.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    files.iter().flat_map(check_file).collect()
}

fn check_file(file: &SourceFile) -> Vec<Finding> {
    let ending = file.path.extension().unwrap_or_default().to_string_lossy();
    let rust = ending == "rs";
    let sources =
        rust || ["toml", "sh", "py", "js", "css", "html", "yml", "yaml", "sql", "proto"].contains(&&*ending);
    let lock = file.path.ends_with("Cargo.lock");
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for word in WORDS {
            let applies = match word.scope {
                Scope::Rust => rust,
                Scope::Sources => sources,
                Scope::Everywhere => true,
            };
            if applies && contains_word(line, word.text) {
                findings.push(Finding::error(
                    &file.path,
                    index + 1,
                    format!("`{}`: {}", word.text, word.advice),
                ));
            }
        }
        if lock && line.starts_with("source = ") && !line.contains(CRATES_IO) {
            findings.push(Finding::error(&file.path, index + 1, "take dependencies from crates.io only"));
        }
    }
    findings
}

/// Whether the line contains the word, and not as a part of a longer one.
fn contains_word(line: &str, word: &str) -> bool {
    let part_of_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts_inside = part_of_word(word.as_bytes()[0]);
    let ends_inside = word.bytes().last().is_some_and(part_of_word);
    line.match_indices(word).any(|(start, _)| {
        let before = line.as_bytes()[..start].last().copied();
        let after = line.as_bytes().get(start + word.len()).copied();
        let joined_before = starts_inside && before.is_some_and(part_of_word);
        let joined_after = ends_inside && after.is_some_and(part_of_word);
        !joined_before && !joined_after
    })
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn every_word_is_found_where_it_is_forbidden() {
        for word in WORDS {
            let text = format!("fine\n// {} here\n", word.text);
            let findings = check(&[file("crates/a/src/lib.rs", &text)]);
            assert_eq!((findings.len(), findings[0].line), (1, 2), "{}", word.text);
            let in_prose = check(&[file("docs/a.md", &text)]).len();
            assert_eq!(in_prose == 1, word.scope == Scope::Everywhere, "{}", word.text);
        }
    }

    #[test]
    fn parts_of_longer_words_are_not_words() {
        assert!(!contains_word(concat!("MAS", "TO", "DON"), concat!("TO", "DO")));
        assert!(!contains_word(concat!("TO", "DO_LIST"), concat!("TO", "DO")));
        assert!(contains_word(concat!("(TO", "DO: x)"), concat!("TO", "DO")));
    }

    #[test]
    fn a_lock_file_names_one_registry() {
        let lock = |source: &str| check(&[file("Cargo.lock", &format!("source = \"{source}\"\n"))]).len();
        assert_eq!(lock(CRATES_IO), 0);
        assert_eq!(lock("git+https://example.org/x"), 1);
        assert_eq!(lock("registry+https://example.org/index"), 1);
    }
}
