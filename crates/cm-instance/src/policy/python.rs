//! JSON to the byte as Python's `json.dumps(document, indent=4, sort_keys=True)` writes it: clients of the earlier services
//! compare hashes of such texts.

use std::io::{self, Write};

use serde_json::ser::{Formatter, PrettyFormatter};

/// Four spaces for each level, and no character that is not printable ASCII.
pub(super) struct Python(PrettyFormatter<'static>);

impl Python {
    pub(super) fn new() -> Self {
        Self(PrettyFormatter::with_indent(b"    "))
    }
}

/// Methods that are those of the formatter within.
macro_rules! passed_on {
    ($($method:ident($($argument:ident: $kind:ty)?)),* $(,)?) => {$(
        fn $method<W: ?Sized + Write>(&mut self, writer: &mut W $(, $argument: $kind)?) -> io::Result<()> {
            self.0.$method(writer $(, $argument)?)
        }
    )*};
}

impl Formatter for Python {
    passed_on!(
        begin_array(),
        end_array(),
        begin_array_value(first: bool),
        end_array_value(),
        begin_object(),
        end_object(),
        begin_object_key(first: bool),
        end_object_key(),
        begin_object_value(),
        end_object_value(),
    );

    /// Quotes, backslashes and control characters come otherwise, and are written alike by both languages.
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let printable = |character: char| matches!(character, ' '..='~');
        for piece in fragment.split_inclusive(|character| !printable(character)) {
            let plain = piece.trim_end_matches(|character| !printable(character));
            writer.write_all(plain.as_bytes())?;
            for unit in piece[plain.len()..].encode_utf16() {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::full::sorted_text;

    fn check(document: &Value, expected: &str) {
        assert_eq!(sorted_text(document), expected);
    }

    /// The expected texts are what Python 3.11 wrote.
    #[test]
    fn texts_are_those_of_python() {
        check(
            &json!({ "b": [], "a": {}, "c": [1, -2, true, null] }),
            "{\n    \"a\": {},\n    \"b\": [],\n    \"c\": [\n        1,\n        -2,\n        true,\n        null\n    ]\n}",
        );
        check(
            &json!("gr\u{f6}\u{df}e \u{7f}\u{80}\u{2028}\u{1f600}\u{1f600}!"),
            "\"gr\\u00f6\\u00dfe \\u007f\\u0080\\u2028\\ud83d\\ude00\\ud83d\\ude00!\"",
        );
        check(&json!("\"\\/\u{8}\u{c}\n\r\t\u{0}\u{1f}"), "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\"");
    }
}
