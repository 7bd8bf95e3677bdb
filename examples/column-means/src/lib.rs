//! Means of the columns of a table.
//!
//! The table is CSV without quotes. A first line without numbers is a heading and names the columns. Columns that hold
//! anything but numbers are left out; so are rows that are shorter than the first.

use std::fmt::Write as _;

/// The means of a table, one line per column of numbers: its name or its place, and the mean with six digits.
pub fn means(table: &str) -> String {
    let mut rows: Vec<Vec<&str>> =
        table.lines().filter(|line| !line.trim().is_empty()).map(|line| line.split(',').collect()).collect();
    let heading = match rows.first() {
        Some(first) if first.iter().all(|cell| number(cell).is_none()) => rows.remove(0),
        _ => Vec::new(),
    };
    let width = rows.first().map_or(0, Vec::len);
    rows.retain(|row| row.len() >= width);
    let mut out = String::new();
    for column in 0..width {
        let numbers: Option<Vec<f64>> = rows.iter().map(|row| number(row[column])).collect();
        if let Some(numbers) = numbers {
            let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
            let name = heading.get(column).map_or_else(|| column.to_string(), |name| name.trim().to_owned());
            // Writing to a text does not fail.
            let _ = writeln!(out, "{name},{mean:.6}");
        }
    }
    out
}

fn number(cell: &str) -> Option<f64> {
    cell.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_means_of_the_irises_are_the_published_ones() {
        let means = means(include_str!("../../data/iris.csv"));
        let numbers: Vec<&str> = means.lines().filter_map(|line| line.split(',').nth(1)).collect();
        assert_eq!(numbers, ["5.843333", "3.057333", "3.758000", "1.199333"]);
    }

    #[test]
    fn columns_of_words_and_short_rows_are_left_out() {
        assert_eq!(means("a,b,c\n1,x,2\n3,y,4\n5\n"), "a,2.000000\nc,3.000000\n");
        assert_eq!(means("1,2\n3,4"), "0,2.000000\n1,3.000000\n");
        assert_eq!(means(""), "");
    }
}
