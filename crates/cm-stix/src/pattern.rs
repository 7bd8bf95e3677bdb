//! STIX patterns (STIX 2.1, section 9): written for what events name, and read as far as they name single values.
//!
//! Reading is no evaluation. A comparison with `=` or `IN` of a value that we can act on yields that value, wherever it stands; negated comparisons and
//! everything else yield nothing. A pattern that demands two things at once therefore names both.

use std::net::IpAddr;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObservableKind {
    /// An IPv4 address or network.
    Ipv4,
    /// An IPv6 address or network.
    Ipv6,
    /// A domain name.
    Domain,
    /// An address on the web.
    Url,
    /// An e-mail address.
    Email,
    /// The SHA-256 of a file.
    Sha256,
    /// Whatever an event names besides.
    Other,
}

impl ObservableKind {
    /// The object path of the value.
    pub fn path(self) -> &'static str {
        match self {
            ObservableKind::Ipv4 => "ipv4-addr:value",
            ObservableKind::Ipv6 => "ipv6-addr:value",
            ObservableKind::Domain => "domain-name:value",
            ObservableKind::Url => "url:value",
            ObservableKind::Email => "email-addr:value",
            ObservableKind::Sha256 => "file:hashes.'SHA-256'",
            ObservableKind::Other => "x-cryptomesh-source:value",
        }
    }

    const ALL: [ObservableKind; 7] = [
        ObservableKind::Ipv4,
        ObservableKind::Ipv6,
        ObservableKind::Domain,
        ObservableKind::Url,
        ObservableKind::Email,
        ObservableKind::Sha256,
        ObservableKind::Other,
    ];
}

/// Something that can be looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observable {
    /// What it is.
    pub kind: ObservableKind,
    /// Its value.
    pub value: String,
}

/// Longest pattern that is read, in bytes.
const PATTERN_LEN_MAX: usize = 64 << 10;
/// Most values that one pattern yields.
const VALUES_MAX: usize = 1000;

/// What an event's source is, by its looks.
pub fn observable(source: &str) -> Observable {
    let trimmed = source.trim();
    let kind = match trimmed.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => ObservableKind::Ipv4,
        Ok(IpAddr::V6(_)) => ObservableKind::Ipv6,
        Err(_) if trimmed.starts_with("http://") || trimmed.starts_with("https://") => ObservableKind::Url,
        Err(_) if trimmed.len() == 64 && trimmed.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            ObservableKind::Sha256
        }
        Err(_) if trimmed.split_once('@').is_some_and(|(user, host)| !user.is_empty() && is_domain(host)) => {
            ObservableKind::Email
        }
        Err(_) if is_domain(trimmed) => ObservableKind::Domain,
        Err(_) => return Observable { kind: ObservableKind::Other, value: source.to_owned() },
    };
    Observable { kind, value: trimmed.to_owned() }
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let top = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.contains('.')
        && text.split('.').all(label)
        && top.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// The pattern that finds it.
pub fn pattern(observable: &Observable) -> String {
    let mut literal = String::with_capacity(observable.value.len() + 2);
    for character in observable.value.chars() {
        if matches!(character, '\'' | '\\') {
            literal.push('\\');
        }
        literal.push(character);
    }
    format!("[{} = '{literal}']", observable.kind.path())
}

/// What a pattern names, without repetition.
pub fn observables(pattern: &str) -> Vec<Observable> {
    let mut found: Vec<Observable> = Vec::new();
    if pattern.len() > PATTERN_LEN_MAX {
        return found;
    }
    let tokens = tokens(pattern);
    for (at, token) in tokens.iter().enumerate() {
        let Token::Path(path) = token else { continue };
        let Some(kind) = ObservableKind::ALL.into_iter().find(|kind| kind.path() == path) else { continue };
        let values: Vec<&String> = match &tokens[at + 1..] {
            [Token::Word("="), Token::Text(value), ..] => vec![value],
            [Token::Word("IN"), Token::Word("("), rest @ ..] => {
                // Up to the first that does not belong into a list: one without an end is not gone through for each other.
                let belongs = |token: &&Token<'_>| matches!(token, Token::Text(_) | Token::Word(","));
                let listed = rest.iter().take_while(belongs);
                listed
                    .filter_map(|token| if let Token::Text(value) = token { Some(value) } else { None })
                    .collect()
            }
            _ => continue,
        };
        for value in values {
            let observable = Observable { kind, value: value.clone() };
            if !found.contains(&observable) {
                found.push(observable);
            }
            if found.len() >= VALUES_MAX {
                return found;
            }
        }
    }
    found
}

#[derive(Debug, PartialEq)]
enum Token<'a> {
    Text(String),
    Path(String),
    Word(&'a str),
}

/// Texts in quotes, object paths (which may contain texts themselves), words and signs.
fn tokens(pattern: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = pattern.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            let (text, length) = quoted(rest);
            tokens.push(Token::Text(text));
            rest = &rest[length..];
        } else if first.is_ascii_alphanumeric() {
            let length = word(rest);
            let found = &rest[..length];
            tokens.push(if found.contains(':') { Token::Path(found.to_owned()) } else { Token::Word(found) });
            rest = &rest[length..];
        } else {
            let two = ["!=", ">=", "<="].into_iter().find(|sign| rest.starts_with(sign));
            let length = two.map_or(first.len_utf8(), str::len);
            tokens.push(Token::Word(&rest[..length]));
            rest = &rest[length..];
        }
        rest = rest.trim_start();
    }
    tokens
}

/// The text in quotes that `rest` begins with, and how long it is as written.
fn quoted(rest: &str) -> (String, usize) {
    let mut text = String::new();
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            character if escaped => {
                text.push(character);
                escaped = false;
            }
            '\\' => escaped = true,
            '\'' => return (text, at + 1),
            character => text.push(character),
        }
    }
    (text, rest.len())
}

/// How long the word or path is that `rest` begins with.
fn word(rest: &str) -> usize {
    let mut at = 0;
    while let Some(character) = rest[at..].chars().next() {
        // Names of hashes stand in quotes within a path.
        if character == '\'' && rest[..at].ends_with('.') {
            at += quoted(&rest[at..]).1;
        } else if character.is_ascii_alphanumeric()
            || "-_:.[]*".contains(character) && (character != ']' || rest[..at].contains('['))
        {
            at += 1;
        } else {
            break;
        }
    }
    at.max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(given: &str, expected: &[(ObservableKind, &str)]) {
        let found = observables(given);
        let found: Vec<(ObservableKind, &str)> =
            found.iter().map(|each| (each.kind, each.value.as_str())).collect();
        assert_eq!(found, expected, "{given}");
    }

    #[test]
    fn patterns_name_single_values() {
        use ObservableKind::*;
        check("[ipv4-addr:value = '198.51.100.23']", &[(Ipv4, "198.51.100.23")]);
        check(
            "[ipv4-addr:value='198.51.100.0/24' OR ipv6-addr:value = '2001:db8::1']",
            &[(Ipv4, "198.51.100.0/24"), (Ipv6, "2001:db8::1")],
        );
        check(
            "[domain-name:value IN ('a.example', 'b.example')] FOLLOWEDBY [url:value = 'http://x/?a=\\'']",
            &[(Domain, "a.example"), (Domain, "b.example"), (Url, "http://x/?a='")],
        );
        check("[file:hashes.'SHA-256' = 'ab' AND file:size > 3]", &[(Sha256, "ab")]);
        check("[file:hashes.MD5 = 'ab']", &[]);
        check("[ipv4-addr:value != '198.51.100.23']", &[]);
        check("[ipv4-addr:value NOT = '198.51.100.23']", &[]);
        check("[ipv4-addr:value LIKE '198.%']", &[]);
        check("[file:name = 'ipv4-addr:value = \\'198.51.100.23\\'']", &[]);
        check("", &[]);
        check("[ipv4-addr:value = '198", &[(Ipv4, "198")]);
    }

    #[test]
    fn sources_are_known_by_their_looks() {
        for (source, kind) in [
            (" 198.51.100.23 ", ObservableKind::Ipv4),
            ("2001:db8::1", ObservableKind::Ipv6),
            ("evil.example", ObservableKind::Domain),
            ("https://evil.example/x", ObservableKind::Url),
            ("eve@evil.example", ObservableKind::Email),
            (&"ab".repeat(32), ObservableKind::Sha256),
            ("999.999.1.1", ObservableKind::Other),
            ("edge node 7", ObservableKind::Other),
            ("", ObservableKind::Other),
        ] {
            assert_eq!(observable(source).kind, kind, "{source}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(source in "\\PC{0,40}") {
            let observable = observable(&source);
            prop_assert_eq!(observables(&pattern(&observable)), vec![observable]);
        }

        #[test]
        fn no_text_is_too_strange(text in ".{0,200}") {
            let _ = observables(&text);
        }
    }
}
