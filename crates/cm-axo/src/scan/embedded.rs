//! A source as the parser sees it, and what stands in f-strings.

use std::borrow::Cow;
use std::ops::Range;

use super::{Mask, Scan};

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
            text.push_str(&masked(source, range.clone(), &self.masks));
            // The blank is the place of an error at the end.
            text.push_str(" )\n");
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

/// A part of the source with the masks that lie in it, byte by byte.
pub(super) fn masked<'s>(source: &'s str, part: Range<usize>, masks: &[Mask]) -> Cow<'s, str> {
    let first = masks.partition_point(|mask| mask.range.start < part.start);
    let mut text = String::new();
    let mut copied = part.start;
    for Mask { range, shown } in masks[first..].iter().take_while(|mask| mask.range.start < part.end) {
        // One within another has been covered with it.
        if range.start >= copied {
            text.push_str(&source[copied..range.start]);
            text.extend(std::iter::repeat_n(*shown, range.len()));
            copied = range.end;
        }
    }
    if copied == part.start {
        return Cow::Borrowed(&source[part]);
    }
    // The comment that ends a field's expression reaches beyond it.
    text.push_str(source.get(copied..part.end).unwrap_or_default());
    Cow::Owned(text)
}
