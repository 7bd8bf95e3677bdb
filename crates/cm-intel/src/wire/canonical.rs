//! Texts as Python's `json.dumps` writes them with its defaults: only ASCII, `", "` between members, `": "` behind names.

/// Appends a text as a JSON string: everything outside of 0x20 to 0x7e is escaped, above the basic plane as a pair of surrogates, with
/// lower-case digits. DEL is escaped, the slash is not.
pub fn string(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        if matches!(c, ' '..='~') && c != '"' && c != '\\' {
            continue;
        }
        out.push_str(&text[plain..at]);
        plain = at + c.len_utf8();
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    escape(*unit, out);
                }
            }
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

fn escape(unit: u16, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        out.push(char::from(DIGITS[usize::from(unit >> shift) & 0xf]));
    }
}

/// Appends an object of texts, its members in the order in which they are given.
pub fn object(members: &[(&str, &str)], out: &mut String) {
    out.push('{');
    for (position, (name, value)) in members.iter().enumerate() {
        if position > 0 {
            out.push_str(", ");
        }
        string(name, out);
        out.push_str(": ");
        string(value, out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dumps(text: &str) -> String {
        let mut out = String::new();
        string(text, &mut out);
        out
    }

    /// What CPython 3.11 prints for these.
    #[test]
    fn texts_are_written_as_python_writes_them() {
        for (text, expected) in [
            ("", r#""""#),
            ("a/b", r#""a/b""#),
            ("\"\\\n\r\t\u{8}\u{c}", r#""\"\\\n\r\t\b\f""#),
            ("\0\u{1f}\u{7f}", r#""\u0000\u001f\u007f""#),
            ("è“🔒\u{10ffff}", r#""\u00e8\u201c\ud83d\udd12\udbff\udfff""#),
            ("\u{80}\u{ffff}\u{2028}", r#""\u0080\uffff\u2028""#),
        ] {
            assert_eq!(dumps(text), expected);
        }
    }

    proptest! {
        #[test]
        fn every_text_reads_back_and_is_ascii(text in any::<String>()) {
            let dumped = dumps(&text);
            prop_assert!(dumped.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert_eq!(serde_json::from_str::<String>(&dumped).unwrap(), text);
        }

        /// The rule of Python's encoder said in another way: what `ensure_ascii` escapes, unit by unit.
        #[test]
        fn every_unit_is_written_by_the_rule(text in "[\\x00-\\x{ff}a-z\"\\\\/\\x{d7ff}\\x{e000}\\x{1f512}]{0,40}") {
            let short = [(8, 'b'), (9, 't'), (10, 'n'), (12, 'f'), (13, 'r'), (34, '"'), (92, '\\')];
            let expected: String = text.encode_utf16().map(|unit| {
                match short.iter().find(|(code, _)| *code == unit) {
                    Some((_, letter)) => format!("\\{letter}"),
                    None if (32..127).contains(&unit) => char::from(unit as u8).to_string(),
                    None => format!("\\u{unit:04x}"),
                }
            }).collect();
            prop_assert_eq!(dumps(&text), format!("\"{expected}\""));
        }
    }
}
