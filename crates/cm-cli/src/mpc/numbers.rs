//! Numbers of files and of the command line.

use std::path::Path;

use anyhow::{Context, bail};
use cm_computation::Literal;

/// Most numbers that are read.
const NUMBERS_MAX: usize = 1 << 24;

/// Numbers: a CSV file, one column of it (`FILE:COLUMN`), or the numbers themselves with commas between. Row by row; a first
/// row without a number is taken for names of columns.
pub(super) fn read(text: &str) -> anyhow::Result<Vec<Literal>> {
    if let Ok(numbers) = text.split(',').map(|part| part.trim().parse()).collect::<Result<Vec<Literal>, _>>()
    {
        return Ok(numbers);
    }
    let (path, column) = match text.rsplit_once(':') {
        Some((path, column)) if !Path::new(text).exists() => (path, Some(column)),
        _ => (text, None),
    };
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {path}"))?;
    of_csv(file, column).with_context(|| path.to_owned())
}

pub(super) fn of_csv(file: impl std::io::Read, column: Option<&str>) -> anyhow::Result<Vec<Literal>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(file);
    let mut wanted: Option<usize> = None;
    let mut numbers = Vec::new();
    for (row, record) in reader.records().enumerate() {
        let record = record?;
        let is_head = row == 0 && record.iter().all(|field| field.parse::<Literal>().is_err());
        if row == 0
            && let Some(column) = column
        {
            let place = record.iter().position(|field| field == column);
            let counted = column.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            wanted = place.or(counted.filter(|at| *at < record.len()));
            if wanted.is_none() {
                bail!("there is no column `{column}`");
            }
        }
        if is_head {
            continue;
        }
        for (at, field) in record.iter().enumerate() {
            if wanted.is_some_and(|wanted| wanted != at) {
                continue;
            }
            let number = field.parse::<Literal>();
            let number = number.with_context(|| format!("row {}, column {}: `{field}`", row + 1, at + 1))?;
            numbers.push(number);
            if numbers.len() > NUMBERS_MAX {
                bail!("more than {NUMBERS_MAX} numbers");
            }
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, column: Option<&str>, expected: Result<&str, &str>) {
        let found = of_csv(text.as_bytes(), column).map_err(|error| error.to_string());
        let found =
            found.map(|numbers| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
    }

    #[test]
    fn tables_are_read_by_row_and_by_column() {
        check("1,2\n3,4.5\n", None, Ok("1 2 3 4.5"));
        check("age,dose\n61,2\n47,3\n", None, Ok("61 2 47 3"));
        check("age,dose\n61,2\n47,3\n", Some("dose"), Ok("2 3"));
        check("age,dose\n61,2\n47,3\n", Some("1"), Ok("61 47"));
        check("age\n61\n", Some("weight"), Err("there is no column `weight`"));
        check("1\nx\n", None, Err("row 2, column 1: `x`"));
        assert_eq!(read("1, -2,3").unwrap().len(), 3);
    }
}
