//! Lines of logs, and the addresses in them: patterns as fail2ban has them, without regular expressions.

use std::net::IpAddr;

/// What stands for the address.
const HOST: &str = "<HOST>";

/// A pattern such as `Failed password for * from <HOST> port`: `*` stands for any text, `<HOST>` for an address. A line matches if it
/// contains the pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinePattern {
    before: Vec<String>,
    after: Vec<String>,
}

/// The text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pattern has `<HOST>` once, and some text before or behind it")]
pub(crate) struct NoPattern;

impl std::str::FromStr for LinePattern {
    type Err = NoPattern;

    fn from_str(text: &str) -> Result<Self, NoPattern> {
        let (before, after) = text.split_once(HOST).ok_or(NoPattern)?;
        let pieces = |text: &str| -> Vec<String> { text.split('*').map(str::to_owned).collect() };
        let pattern = Self { before: pieces(before), after: pieces(after) };
        let says_something =
            pattern.before.iter().chain(&pattern.after).any(|piece| !piece.trim().is_empty());
        if after.contains(HOST) || !says_something { Err(NoPattern) } else { Ok(pattern) }
    }
}

impl LinePattern {
    /// The address in a line that matches.
    pub(crate) fn address(&self, line: &str) -> Option<IpAddr> {
        // Every place where an address begins, the last first: what a log quotes of an attacker's own words stands before it as a rule.
        let starts = line.char_indices().map(|(at, _)| at).rev();
        starts.filter_map(|at| self.address_at(line, at)).next()
    }

    fn address_at(&self, line: &str, at: usize) -> Option<IpAddr> {
        let (before, rest) = line.split_at(at);
        if before.ends_with(is_of_address) || !ends_with(before, &self.before) {
            return None;
        }
        let end = rest.find(|c| !is_of_address(c)).unwrap_or(rest.len());
        let address = rest[..end].trim_end_matches([':', '.']);
        let behind = &rest[address.len()..];
        let address: IpAddr = address.parse().ok()?;
        contains_from_start(behind, &self.after).then_some(address)
    }
}

fn is_of_address(c: char) -> bool {
    c.is_ascii_hexdigit() || matches!(c, '.' | ':')
}

/// Whether a text has the pieces in their order, the last at its end.
fn ends_with(text: &str, pieces: &[String]) -> bool {
    let Some((last, others)) = pieces.split_last() else { return true };
    let Some(mut text) = text.strip_suffix(last.as_str()) else { return false };
    for piece in others.iter().rev() {
        match text.rfind(piece.as_str()) {
            Some(at) => text = &text[..at],
            None => return false,
        }
    }
    true
}

/// Whether a text has the pieces in their order, the first at its beginning.
fn contains_from_start(text: &str, pieces: &[String]) -> bool {
    let Some((first, others)) = pieces.split_first() else { return true };
    let Some(mut text) = text.strip_prefix(first.as_str()) else { return false };
    for piece in others {
        match text.find(piece.as_str()) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_where_the_pattern_says() {
        let check = |pattern: &str, line: &str, expected: Option<&str>| {
            let found = pattern.parse::<LinePattern>().unwrap().address(line);
            assert_eq!(found.map(|address| address.to_string()).as_deref(), expected, "{line}");
        };
        let ssh = "Failed password for * from <HOST> port";
        check(ssh, "sshd[1]: Failed password for root from 198.51.100.7 port 22 ssh2", Some("198.51.100.7"));
        check(ssh, "Failed password for invalid user x from 2001:db8::1 port 22", Some("2001:db8::1"));
        check(ssh, "Accepted password for root from 198.51.100.7 port 22", None);
        check(ssh, "Failed password for root from nowhere port 22", None);
        // A name that quotes the pattern does not choose the address.
        let forged = "Failed password for a from 192.0.2.1 port 1 from 198.51.100.7 port 22";
        check(ssh, forged, Some("198.51.100.7"));
        check("client <HOST>: denied", "client 198.51.100.7: denied", Some("198.51.100.7"));
        check("banned <HOST>", "banned 198.51.100.7.", Some("198.51.100.7"));
    }

    #[test]
    fn what_matches_everything_is_no_pattern() {
        for bad in ["", "from", "<HOST>", " * <HOST> *", "from <HOST> to <HOST>"] {
            assert_eq!(bad.parse::<LinePattern>(), Err(NoPattern), "{bad}");
        }
    }
}
