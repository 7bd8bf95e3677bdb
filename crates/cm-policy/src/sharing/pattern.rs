//! Patterns with `*` for any text and `?` for any one character.

/// Whether the text fits the pattern, in time proportional to the product of their lengths at worst.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at_pattern, mut at_text) = (0, 0);
    // Where the last `*` stands, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while at_text < text.len() {
        match pattern.get(at_pattern) {
            Some('*') => {
                star = Some((at_pattern, at_text));
                at_pattern += 1;
            }
            Some(expected) if *expected == '?' || *expected == text[at_text] => {
                at_pattern += 1;
                at_text += 1;
            }
            _ => {
                let Some((position, taken)) = star else { return false };
                star = Some((position, taken + 1));
                at_pattern = position + 1;
                at_text = taken + 1;
            }
        }
    }
    pattern[at_pattern..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_take_any_text_and_question_marks_one_character() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        };
        check("*", "", true);
        check("", "", true);
        check("", "a", false);
        check("a*b*c", "aXXbYYbZc", true);
        check("a*b*c", "aXXbYYbZ", false);
        check("a?c", "abc", true);
        check("a?c", "ac", false);
        check("a/*", "a/b/c", true);
        check("ä?", "äö", true);
        check("*a", "aaaaab", false);
    }
}
