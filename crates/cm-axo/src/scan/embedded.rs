//! A source without the insides of its f-strings, and what stands in those.

use std::borrow::Cow;
use std::ops::Range;

use super::Scan;

/// The expressions of all f-strings, each a statement of a module.
pub(crate) struct Embedded {
    /// The module.
    pub(crate) text: String,
    /// Where in the text an expression begins, and where in the source.
    starts: Vec<(usize, usize)>,
}

impl Scan<'_> {
    /// F-strings in these expressions are blanked out as in [`Scan::code`]; what stands in them is a statement, too.
    pub(crate) fn embedded(&self, source: &str) -> Embedded {
        let mut text = String::new();
        let mut starts = Vec::with_capacity(self.expressions.len());
        for range in &self.expressions {
            text.push('(');
            starts.push((text.len(), range.start));
            text.push_str(&masked(source, range.clone(), &self.insides));
            // The expression may end with a comment.
            text.push_str("\n)\n");
        }
        Embedded { text, starts }
    }
}

impl Embedded {
    /// The byte of the source that a byte of the text is from, or near to it.
    pub(crate) fn original(&self, offset: usize) -> usize {
        let place = self.starts.partition_point(|(start, _)| *start <= offset);
        let (start, original) = place.checked_sub(1).map_or((0, 0), |place| self.starts[place]);
        original + offset.saturating_sub(start)
    }
}

/// A part of the source with the insides that lie in it blanked out, byte by byte.
pub(super) fn masked<'s>(source: &'s str, part: Range<usize>, insides: &[Range<usize>]) -> Cow<'s, str> {
    let first = insides.partition_point(|inside| inside.start < part.start);
    let mut masked = String::new();
    let mut copied = part.start;
    for inside in insides[first..].iter().take_while(|inside| inside.start < part.end) {
        // One within another has been blanked out with it.
        if inside.start >= copied {
            masked.push_str(&source[copied..inside.start]);
            masked.extend(std::iter::repeat_n('x', inside.len()));
            copied = inside.end;
        }
    }
    if copied == part.start {
        return Cow::Borrowed(&source[part]);
    }
    masked.push_str(&source[copied..part.end]);
    Cow::Owned(masked)
}
