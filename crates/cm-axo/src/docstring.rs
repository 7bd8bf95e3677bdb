//! What a docstring says of parameters, in the three styles in use.
//!
//! ```text
//! :param rounds: how often        Args:                          Parameters
//!                                     rounds (int): how often    ----------
//!                                                                rounds : int
//!                                                                    how often
//! ```
//!
//! A reader of prose, not of a grammar: what does not look like one of these is no description.

use std::collections::HashMap;

use ruff_python_ast::{Expr, Stmt};

/// The docstring of a body.
pub(crate) fn text(body: &[Stmt]) -> Option<&str> {
    match &**body.first()?.as_expr_stmt().map(|statement| &statement.value)? {
        Expr::StringLiteral(literal) => Some(literal.value.to_str()),
        _ => None,
    }
}

/// One entry of whichever style: what its continuation lines must be indented deeper than.
struct Entry {
    name: String,
    indent: usize,
    text: String,
}

enum Section {
    None,
    /// After `Args:` at this indentation; entries lie deeper, all at the indentation of the first.
    Google {
        header: usize,
        entries: Option<usize>,
    },
    /// After an underlined `Parameters`; entries lie at its indentation.
    Numpy {
        header: usize,
    },
}

/// The descriptions by the name of the parameter, in one line each.
pub(crate) fn descriptions(docstring: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let mut section = Section::None;
    let mut entry: Option<Entry> = None;
    let mut lines = docstring.lines().peekable();
    while let Some(line) = lines.next() {
        let text = line.trim();
        let indent = line.len() - line.trim_start().len();
        if text.is_empty() {
            continue;
        }
        if let Some(open) = &mut entry
            && indent > open.indent
            && !text.starts_with(':')
        {
            if !open.text.is_empty() {
                open.text.push(' ');
            }
            open.text.push_str(text);
            continue;
        }
        close(&mut found, entry.take());
        let underlined = lines.peek().is_some_and(|next| is_underline(next.trim()));
        if let Some((name, text)) = field(text) {
            entry = Some(Entry { name, indent, text });
        } else if underlined {
            lines.next();
            section = if text == "Parameters" { Section::Numpy { header: indent } } else { Section::None };
        } else if matches!(text, "Args:" | "Arguments:" | "Parameters:" | "Params:") {
            section = Section::Google { header: indent, entries: None };
        } else {
            entry = section_entry(&mut section, indent, text);
        }
    }
    close(&mut found, entry);
    found
}

/// An empty description is none, and the first one stands.
fn close(found: &mut HashMap<String, String>, entry: Option<Entry>) {
    if let Some(entry) = entry.filter(|entry| !entry.text.is_empty()) {
        found.entry(entry.name).or_insert(entry.text);
    }
}

fn section_entry(section: &mut Section, indent: usize, text: &str) -> Option<Entry> {
    match section {
        Section::Google { header, .. } if indent <= *header => *section = Section::None,
        Section::Google { entries, .. } => {
            if indent == *entries.get_or_insert(indent) {
                let (head, text) = text.split_once(':')?;
                let name = head.split_once('(').map_or(head, |(name, _)| name).trim();
                return is_name(name).then(|| Entry {
                    name: name.to_owned(),
                    indent,
                    text: text.trim().to_owned(),
                });
            }
        }
        Section::Numpy { header } if indent == *header => {
            let name = text.split_once(':').map_or(text, |(name, _)| name).trim();
            return is_name(name).then(|| Entry { name: name.to_owned(), indent, text: String::new() });
        }
        Section::Numpy { .. } | Section::None => {}
    }
    None
}

/// `:param rounds: ..` and `:param int rounds: ..`.
fn field(text: &str) -> Option<(String, String)> {
    let (head, text) = text.strip_prefix(':')?.split_once(':')?;
    let mut words = head.split_whitespace();
    if !matches!(words.next()?, "param" | "parameter" | "arg" | "argument") {
        return None;
    }
    let name = words.last()?;
    is_name(name).then(|| (name.to_owned(), text.trim().to_owned()))
}

fn is_underline(text: &str) -> bool {
    text.len() >= 3 && text.bytes().all(|byte| byte == b'-')
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|char| char == '_' || char.is_alphanumeric())
}
