//! Tables of numbers in CSV.
//!
//! Fields are separated by commas; there are no quotes. A first line without any number is a heading. A column is
//! numbers or text on every line; text is left out, so that a label may stand beside its numbers.

use std::fmt;

/// Why a text is no table of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsvError {
    /// The text has no numbers.
    Empty,
    /// A line has no numbers, or not in the columns in which the first one has them.
    Line {
        /// Which line, counted from one.
        number: usize,
    },
}

impl fmt::Display for CsvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there are no numbers"),
            Self::Line { number } => {
                write!(f, "line {number} does not have finite numbers in the same columns as the first one")
            }
        }
    }
}

impl std::error::Error for CsvError {}

/// The numbers of each line; all lines have equally many, at least one. Empty lines are skipped.
pub fn numbers(text: &str) -> Result<Vec<Vec<f64>>, CsvError> {
    let mut columns: Option<Vec<bool>> = None;
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let fields: Vec<Option<f64>> = line.split(',').map(number).collect();
        let numeric: Vec<bool> = fields.iter().map(Option::is_some).collect();
        if !numeric.contains(&true) {
            if index == 0 {
                continue;
            }
            return Err(CsvError::Line { number: index + 1 });
        }
        if columns.get_or_insert_with(|| numeric.clone()) != &numeric {
            return Err(CsvError::Line { number: index + 1 });
        }
        rows.push(fields.into_iter().flatten().collect());
    }
    if rows.is_empty() { Err(CsvError::Empty) } else { Ok(rows) }
}

fn number(field: &str) -> Option<f64> {
    field.trim().parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[&[f64]], CsvError>) {
        let expected = expected.map(|rows| rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>());
        assert_eq!(numbers(text), expected, "{text:?}");
    }

    #[test]
    fn headings_and_labels_are_left_out() {
        check("x,y\n1,2\n3,4\n", Ok(&[&[1.0, 2.0], &[3.0, 4.0]]));
        check("1, 2\r\n\r\n3,4", Ok(&[&[1.0, 2.0], &[3.0, 4.0]]));
        check("width,species\n1.5,setosa\n", Ok(&[&[1.5]]));
    }

    #[test]
    fn a_gap_in_the_numbers_is_an_error_with_its_line() {
        for text in
            ["x,y\n1,2\n3,\n", "x,y\n1,2\n3,four\n", "x,y\n1,2\n3,4,5\n", "x,y\n1,2\nx,y\n", "1\n2\ninf"]
        {
            check(text, Err(CsvError::Line { number: 3 }));
        }
        check("x,y\n", Err(CsvError::Empty));
        check("", Err(CsvError::Empty));
    }
}
